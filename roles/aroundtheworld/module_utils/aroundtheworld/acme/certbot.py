"""certbot: what it is asked for, and why it did not do it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines

# A CA that takes requests and does not answer them must not keep a run for ever.
SECONDS = "240"
TIMED_OUT = 124  # the exit status of timeout(1)
# certbot's own lock: its timer, or another site, may be at work.
BUSY = "Another instance of Certbot is already running"
BUSY_SECONDS = 90.0
AGAIN_SECONDS = 2.0

FAILED_NAME = re.compile(r"^\s*Domain: (\S+)\n\s*Type: +\S+\n\s*Detail: (.+)$", re.MULTILINE)
UNEXPECTED = re.compile(
    r"An unexpected error occurred:\n(.+?)(?:\n(?:Ask for help|$)|\Z)", re.DOTALL
)


def command(
    lineage: Lineage, names: Sequence[str], *, directory: str, email: str, webroot: Path
) -> list[str]:
    """Return the words that have certbot ask a CA for the site's certificate, also a second time.

    Args:
        lineage: The site's.
        names: What it is for.
        directory: The CA's, a URL.
        email: Where the CA can reach the operator; an empty text for nowhere.
        webroot: What is below ``/`` of the challenges' URLs.
    """
    words = [
        *("timeout", SECONDS, "certbot", "certonly", "--non-interactive", "--agree-tos"),
        *("--webroot", "--webroot-path", str(webroot), "--cert-name", lineage.name),
        *("--server", directory, "--deploy-hook", str(lineage.hook), "--key-type", "ecdsa"),
        # It is asked only when there is a reason for a new certificate.
        *("--force-renewal", "--renew-with-new-domains"),
        # The hooks of a neighbour may be for the neighbour's certificates only.
        "--no-directory-hooks",
        *(("--email", email) if email else ("--register-unsafely-without-email",)),
    ]
    if len(known := accounts(lineage.directory, directory)) > 1:
        words += ["--account", known[0]]
    for name in names:
        words += ["--domain", name]
    return words


def accounts(letsencrypt: Path, directory: str) -> list[str]:
    """Return the ids of the host's accounts at a CA; of several, certbot wants one to be named."""
    place = letsencrypt / "accounts" / directory.partition("://")[2]
    return sorted(path.parent.name for path in place.glob("*/regr.json"))


def ask(run: Run, words: Sequence[str]) -> str:
    """Run certbot, and return why it failed, or an empty text; wait while another one runs."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        code, out, error = run([*words])
        if not code:
            return ""
        if BUSY not in out + error:
            return reason(code, out + "\n" + error)
        if time.monotonic() > deadline:
            return "another certbot is running on the host"
        time.sleep(AGAIN_SECONDS)


def reason(code: int, output: str) -> str:
    """Return the reason in what certbot printed: of each name, or of all."""
    if code == TIMED_OUT:
        return f"it had not come after {SECONDS} s"
    return str(printable_lines("; ".join(_reasons(output)), 10))


def _reasons(output: str) -> Iterator[str]:
    failed = FAILED_NAME.findall(output)
    for name, detail in failed:
        yield f"{name}: {detail}"
    if not failed:
        unexpected = UNEXPECTED.search(output)
        lines = (unexpected[1] if unexpected else output).strip().splitlines()
        yield " ".join(lines) if unexpected else lines[-1] if lines else "certbot did not say why"


def delete(run: Run, lineage: Lineage) -> None:
    """Delete the certificate with its keys, without revoking it; raises `HostError`."""
    words = ("timeout", SECONDS, "certbot", "delete", "--non-interactive")
    if problem := ask(run, [*words, "--cert-name", lineage.name]):
        raise HostError(f"certbot does not delete the certificate {lineage.name}: {problem}")
