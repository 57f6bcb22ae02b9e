"""A site's certificate as certbot keeps it on the host: which one it is, and what it is for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.certificate import Certificate, read_pem
from ansible.module_utils.aroundtheworld.files import read_exactly
from ansible.module_utils.aroundtheworld.layout import ROOT, SystemLayout

SSL_FILES = re.compile(r"^ *(ssl_certificate(?:_key)?) (/\S+);$", re.MULTILINE)


@dataclass(frozen=True)
class Lineage:
    """The certificate of a site, with those that it renews.

    Attributes:
        site: The site's name.
        root: Where the host's files are; tests have their own.
    """

    site: str
    root: Path = ROOT

    @property
    def name(self) -> str:
        """Return what certbot calls it; no operator has one of this name."""
        return f"aroundtheworld-{self.site}"

    @property
    def hook(self) -> Path:
        """Return the command that certbot runs when it has renewed it."""
        return Path(SystemLayout(self.site, self.root).certificate_hook)

    @property
    def directory(self) -> Path:
        """Return certbot's own directory."""
        return self.root / "etc" / "letsencrypt"

    @property
    def renewal(self) -> Path:
        """Return the file by which certbot renews it."""
        return self.directory / "renewal" / f"{self.name}.conf"

    @property
    def archive(self) -> Path:
        """Return the directory of this certificate and the former ones, with their keys."""
        return self.directory / "archive" / self.name

    @property
    def certificate(self) -> Path:
        """Return the certificate, with those that lead to its root."""
        return self.directory / "live" / self.name / "fullchain.pem"

    @property
    def key(self) -> Path:
        """Return the private key."""
        return self.certificate.with_name("privkey.pem")

    def option(self, name: str) -> str:
        """Return an option by which it is renewed, or an empty text."""
        found = re.search(rf"^{name} = (.*)$", read_exactly(self.renewal), re.MULTILINE)
        return found[1] if found else ""

    @property
    def exists(self) -> bool:
        """Tell whether certbot has a certificate of this name."""
        return self.renewal.exists()

    @property
    def is_own(self) -> bool:
        """Tell whether the role had it made: it has the site's hook."""
        return self.option("renew_hook") == str(self.hook)

    def current(self) -> Certificate | None:
        """Return the certificate that there is, if it is the role's."""
        if self.is_own:
            with contextlib.suppress(ValueError):
                return read_pem(read_exactly(self.certificate))
        return None

    def describe(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Return what a plan has to know.

        That is which certificate nginx can have now, with its ``key``: this one, or until it is
        there the one that nginx has, of whichever kind. Of the site's `names`, those are
        ``waiting`` that it is not for.
        """
        paths = (self.certificate, self.key) if self.current() else self.in_use()
        waiting: list[str] = []
        if paths:
            with contextlib.suppress(ValueError):
                waiting = read_pem(read_exactly(paths[0])).lacks(names)
        return {
            "waiting": waiting,
            "certificate": str(paths[0]) if paths else "",
            "key": str(paths[1]) if paths else "",
            "is_own": self.is_own,
            "is_foreign": self.exists and not self.is_own,
        }

    def in_use(self) -> tuple[Path, Path] | None:
        """Return the certificate and key of the site's nginx file, if both are there."""
        for file in sorted(belongings.files(self.site, self.root)):
            if file.is_relative_to(self.root / "etc" / "nginx"):
                found = dict(SSL_FILES.findall(read_exactly(file)))
                paths = [Path(found.get(f"ssl_certificate{end}", "")) for end in ("", "_key")]
                if all(path.is_file() for path in paths):
                    return paths[0], paths[1]
        return None
