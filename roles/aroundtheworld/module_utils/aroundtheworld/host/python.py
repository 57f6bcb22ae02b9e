"""The host's own Python, as far as wheels and requirements depend on it."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any


def describe_python() -> dict[str, Any]:
    """Describe this Python as wheels and PEP 508 markers name it.

    Ansible may run modules under another Python than the system's; the release uses the system's,
    which is the one that Debian supports, so this must run under /usr/bin/python3.
    """
    implementation = sys.implementation
    libc, libc_version = platform.libc_ver()
    return {
        "version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "implementation": {"cpython": "cp"}.get(implementation.name, implementation.name),
        "platform": f"{platform.machine()}-{libc}{libc_version}",
        "machine": platform.machine(),
        "libc_version": libc_version,
        # https://packaging.python.org/en/latest/specifications/dependency-specifiers/
        "markers": {
            "implementation_name": implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": "",
            "platform_system": platform.system(),
            "platform_version": "",
            "python_full_version": platform.python_version(),
            "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
            "sys_platform": sys.platform,
        },
    }
