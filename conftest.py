"""What the tests of all directories share with pytest."""

from __future__ import annotations

import hashlib

# Beyond this, a value does not say at a glance which case it is.
LONGEST_ID = 60


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Return a short id for a long text, and None for pytest's own.

    pytest takes a text itself as the id of its case, sends the ids to all of its processes, and
    puts that of the running test into the environment, where one of more than 128 KiB keeps any
    program from being started (`MAX_ARG_STRLEN` in execve(2)).
    """
    if not isinstance(val, (str, bytes)) or len(val) <= LONGEST_ID:
        return None
    content = val.encode(errors="surrogatepass") if isinstance(val, str) else val
    return f"{argname}-{len(val)}-{hashlib.sha256(content).hexdigest()[:8]}"
