"""The same admin side in Flask, for gunicorn: `gunicorn desk:app`."""

from __future__ import annotations

import work
from flask import Flask, request

app = Flask(__name__)


@app.get("/admin/<kind>")
def admin(kind: str) -> dict[str, str]:
    """Work; gunicorn's worker waits."""
    work.KINDS[kind](float(request.args["seconds"]))
    return {"done": kind}
