"""One change of a site's certificate: a CA is asked only when there is a reason."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.acme import certbot, preflight
from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.certificate import Certificate, served
from ansible.module_utils.aroundtheworld.commands import Run, run_or_fail
from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically
from ansible.module_utils.aroundtheworld.layout import SiteLayout

TIMER = "certbot.timer"
HOOK_MODE = 0o755
READ_SECONDS = 2.0  # until nginx shows a certificate, once the hook has reloaded it
AGAIN_SECONDS = 0.1


class CertificateChange:
    """The change after which a site has a CA's certificate for its names, or none any more."""

    def __init__(self, run: Run, layout: SiteLayout, parameters: Mapping[str, Any]) -> None:
        """Read the state; nothing is changed yet, and nobody is asked.

        Args:
            run: Runs a command.
            layout: Where everything of the site is.
            parameters: The module's: ``names``, none when the site is to have no certificate,
                ``directory`` of the CA, ``email``, ``hook``, and ``port`` of HTTPS.
        """
        self.run, self.layout = run, layout
        self.names: Sequence[str] = parameters["names"]
        self.directory, self.email = parameters["directory"], parameters["email"]
        self.hook, self.port = parameters["hook"], parameters["port"]
        self.lineage = Lineage(layout.name, layout.root)
        self.current = self.lineage.current()

    # --- What there is to do

    @property
    def request(self) -> str:
        """Return what a CA is asked for, as a sentence, if there is a reason to ask."""
        names = {name.lower() for name in self.names}
        same = self.current and {*self.current.names} == names
        if not names or (same and self.lineage.option("server") == self.directory):
            return ""
        return f"ask {self.directory} for a certificate for {', '.join(self.names)}"

    @property
    def hook_is_stale(self) -> bool:
        """Tell whether the command after a renewal is not as it should be."""
        path = self.lineage.hook
        if not self.names or not path.exists():
            return bool(self.names)
        return bool(read_exactly(path) != self.hook or path.stat().st_mode & 0o777 != HOOK_MODE)

    @property
    def is_unread(self) -> bool:
        """Tell whether nginx shows another certificate than there is: a reload failed, or is due.

        Where it shows none, that is not for this change to mend.
        """
        return self.current is not None and self._is_unread(self.current)

    def _is_unread(self, certificate: Certificate) -> bool:
        try:
            shown = served(self.port, self.names[0])
        except OSError:
            return False
        return bool(shown.der != certificate.der)

    def steps(self) -> list[str]:
        """Return what `carry_out` will do, in order, each a sentence."""
        if not self.names:
            return self._removal_steps()
        steps = [f"write {self.lineage.hook}"] if self.hook_is_stale else []
        if self.request:
            return [*steps, self.request]
        return [*steps, "reload nginx.service"] if self.is_unread else steps

    def _removal_steps(self) -> list[str]:
        steps = [f"delete the certificate {self.lineage.name}"] if self.lineage.is_own else []
        paths = (self.lineage.hook, self.layout.acme)
        return [*steps, *(f"remove {path}" for path in paths if path.exists())]

    def warnings(self) -> Iterator[str]:
        """Yield what keeps the certificate from being renewed in time, each a sentence."""
        if not self.current:
            return
        if self.run(["systemctl", "is-active", "--quiet", TIMER])[0]:
            yield (
                f"{TIMER} does not run, so nothing renews the certificate: systemctl enable --now "
                f"{TIMER}"
            )
        if self.current.late(time.time()):
            yield (
                "the certificate was not renewed, and half of the last third of its lifetime is "
                f"gone. Why: certbot renew --cert-name {self.lineage.name} --dry-run"
            )

    # --- Doing it

    def carry_out(self) -> str:
        """Do it; return why there is no new certificate, or an empty text.

        Raises:
            HostError: The host is not as it should be.
        """
        if not self.names:
            self._remove()
            return ""
        if self.hook_is_stale:
            write_atomically(self.lineage.hook, self.hook, HOOK_MODE)
        problem = self._ask() if self.request else ""
        self.current = self.lineage.current()
        self._have_nginx_read_it()
        return problem

    def _have_nginx_read_it(self) -> None:
        """Reload nginx, unless the hook has done that, or nginx has no use for it yet."""
        deadline = time.monotonic() + READ_SECONDS
        while self.is_unread:
            if time.monotonic() > deadline:
                run_or_fail(self.run, "nginx", "-t", "-q")
                run_or_fail(self.run, "systemctl", "reload", "nginx.service")
                return
            time.sleep(AGAIN_SECONDS)

    def _ask(self) -> str:
        if problems := preflight.problems(self.names, self.layout.acme):
            return "; ".join(problems)
        belongings.take(self.layout.name, [self.lineage.renewal], root=self.layout.root)
        words = certbot.command(
            self.lineage,
            self.names,
            directory=self.directory,
            email=self.email,
            webroot=self.layout.acme,
        )
        return str(certbot.ask(self.run, words))

    def _remove(self) -> None:
        lineage = self.lineage
        if lineage.is_own:
            keys = {read_exactly(path) for path in lineage.archive.glob("privkey*.pem")}
            certbot.delete(self.run, lineage)
            for path in (lineage.directory / "keys").glob("*.pem"):  # certbot 2 leaves copies
                if read_exactly(path) in keys:
                    path.unlink()
        lineage.hook.unlink(missing_ok=True)
        shutil.rmtree(self.layout.acme, ignore_errors=True)
        belongings.give_up(self.layout.name, [lineage.renewal], root=self.layout.root)
