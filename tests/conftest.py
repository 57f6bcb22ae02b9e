"""What the tests of all parts share."""

import gc
import sys
from pathlib import Path

import ansible.module_utils

CHECKOUT = Path(__file__).resolve().parents[1]

# Test modules are imported by path, so what they share has to be made importable.
sys.path.insert(0, str(CHECKOUT))
# Where Ansible would put the role's module_utils when it runs one of its modules.
ansible.module_utils.__path__.append(str(CHECKOUT / "roles" / "aroundtheworld" / "module_utils"))


def pytest_collection_finish() -> None:
    """Leave what all tests share, some million objects, out of each search for garbage."""
    gc.freeze()


def pytest_report_header() -> str:
    """Return which cases of a matrix are taken."""
    from tests.matrix import about  # importable only by now

    return about()
