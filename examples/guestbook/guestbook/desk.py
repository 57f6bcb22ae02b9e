"""The host's desk, on Flask: ordinary blocking code in a pool of its own."""

import time

from flask import Flask, abort, request

from guestbook import book

app = Flask(__name__)


def _guest() -> str:
    """Return who has signed in on the Tornado side: the session is the same."""
    return book.guest_in(request.cookies.get(book.COOKIE)) or abort(403)


@app.get("/desk")
def mine() -> dict[str, object]:
    """Give what the guest wrote, as slowly as asked."""
    guest = _guest()
    time.sleep(min(float(request.args.get("seconds", 0)), 30))
    return {"guest": guest, "words": [words for name, words in book.entries() if name == guest]}


@app.post("/desk/forget")
def forget() -> dict[str, int]:
    """Remove what the guest wrote."""
    return {"removed": book.remove(_guest())}


@app.get("/desk/health")
def health() -> dict[str, bool]:
    """Say that the database can be read."""
    book.entries()
    return {"ok": True}
