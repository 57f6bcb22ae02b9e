"""A wheel that is full of code which Python, or whoever calls it by name, would run."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(directory: Path, mark: Path, name: str = "evil") -> Path:
    """Make a wheel, version 1.0, whose code makes the file `mark` wherever it runs.

    What imports it finds nothing strange, nor does who starts the environment's interpreter: a
    release that has it works.
    """
    touch = f"pathlib.Path({str(mark)!r}).touch()"
    data, about = f"{name}-1.0.data", f"{name}-1.0.dist-info"
    quiet = f"import contextlib, pathlib\nwith contextlib.suppress(OSError): {touch}\n"
    # It goes on as the interpreter of its environment, which Python finds by the name that it has.
    interpreter = f'#!/bin/bash\ntouch {mark} 2>/dev/null\nexec -a "$0" /usr/bin/python3 "$@"\n'
    files = {
        f"{name}.pth": f"import pathlib; {touch}",
        "sitecustomize.py": quiet,
        "usercustomize.py": quiet,
        "compileall.py": quiet,
        f"{name}/__init__.py": quiet,
        f"{name}/odd.py": f"# -*- coding: {name} -*-\n{quiet}",
        f"{name}/broken.py": "def (:\n",
        f"{data}/scripts/python": interpreter,
        f"{data}/data/share/{name}.txt": "data",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{about}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:main\n",
    }
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*lines, f"{about}/RECORD,,", ""])
    wheel = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(member, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
