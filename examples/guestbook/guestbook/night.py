"""Every night: signs the list of all entries and puts it into a file, for whoever keeps it."""

import hashlib
import hmac
import json
import os
import time
from pathlib import Path

from guestbook import book


def main() -> None:
    """Write the file, and what was done into a log beside it."""
    directory = Path(os.environ["DATABASE"]).parent
    release = os.environ["AROUNDTHEWORLD_RELEASE"]
    with (directory / "nights.log").open("a") as log:
        print("began", release, file=log, flush=True)
        entries = json.dumps(book.entries())
        time.sleep(float(os.environ.get("SECONDS_A_NIGHT", "0")))
        signature = hmac.new(book.secret().encode(), entries.encode(), hashlib.sha256).hexdigest()
        (directory / "entries.json").write_text(f"{entries}\n{signature}\n")
        print("ended", release, file=log, flush=True)


if __name__ == "__main__":
    main()
