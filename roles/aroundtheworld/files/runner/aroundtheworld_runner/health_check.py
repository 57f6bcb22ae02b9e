"""How a new process proves itself: by the response to a visitor's request.

The role's modules use it, and so does the trial of a pool's own command: the runner has a link to
this file. So the import is relative.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .bounded_http import NoAnswerError, request

# The body of the response to a health check is discarded, and an app's start page may be large. A
# longer response counts as an answer.
DISCARD_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class HealthCheck:
    """How a new process proves itself: by a request, and by which statuses are right.

    Attributes:
        path: The URL path.
        host: The site's own host name, with the port where visitors name it.
        scheme: By which visitors come, as nginx passes it to the app.
        statuses: The right ones, each a status such as ``204`` or a class such as ``2xx``.
        timeout: Seconds for the whole response.
    """

    path: str = "/"
    host: str = "localhost"
    scheme: str = "http"
    statuses: tuple[str, ...] = ("2xx", "3xx")
    timeout: float = 5.0

    def allows(self, status: int) -> bool:
        """Tell whether this status is right."""
        return not {str(status), f"{status // 100}xx"}.isdisjoint(self.statuses)

    def ask(self, to: Path | str) -> int:
        """Return the status of the response to a visitor's request, as nginx passes it on.

        Raises:
            NoAnswerError: There is no response in time.
        """
        headers = {
            "Host": self.host,
            "X-Real-IP": "127.0.0.1",
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": self.scheme,
            "X-Request-ID": os.urandom(16).hex(),
            "User-Agent": "aroundtheworld-health-check",
            "Accept": "*/*",
        }
        return request(
            to, "GET", self.path,
            timeout=self.timeout, headers=headers, limit=DISCARD_LIMIT, keep=False,
        ).status  # fmt: skip

    def problem(self, to: Path | str) -> str:
        """Return what is wrong with the response, or an empty text."""
        try:
            status = self.ask(to)
        except NoAnswerError as error:
            return f"it does not answer {self.path} ({error})"
        return "" if self.allows(status) else self.wrong(status)

    def wrong(self, status: int) -> str:
        """Return a sentence about a status that is not right, and what can be done about it."""
        return (
            f"it answers {self.path} with status {status}, requested as "
            f"{self.scheme}://{self.host}{self.path}; allowed: {', '.join(self.statuses)}. If that "
            "answer is right, allow it in aroundtheworld_health_status (or the pool's "
            "health_status); if another path tells better, name it in aroundtheworld_health_path "
            "(or the pool's health_path)"
        )
