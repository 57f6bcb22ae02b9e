"""Calls one hook of a package's build backend (PEP 517), and writes what it returns.

It runs in the package's directory, under a Python that has the backend and what that needs.

    call_hook.py BACKEND BACKEND_PATH HOOK REPLY [DIRECTORY]

BACKEND is ``module:object``, BACKEND_PATH a JSON list of directories in which the package brings
it, and REPLY the file for the hook's value as JSON. A backend without that hook returns nothing.
"""

import importlib
import json
import sys
from pathlib import Path


def main(backend: str, backend_path: str, hook: str, reply: str, *arguments: str) -> None:
    """Call the hook."""
    sys.path[:0] = [str(Path(directory).resolve()) for directory in json.loads(backend_path)]
    module, _, name = backend.partition(":")
    found: object = importlib.import_module(module)
    for part in filter(None, name.split(".")):
        found = getattr(found, part)
    function = getattr(found, hook, None)
    value = function(*arguments) if function else None
    Path(reply).write_text(json.dumps(value))


if __name__ == "__main__":
    main(*sys.argv[1:])
