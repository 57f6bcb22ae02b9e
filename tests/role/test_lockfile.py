"""A lockfile is read, and names the virtual environment for a host's own Python."""

import pytest

from aroundtheworld_controller.packages.lockfile import environment_for, lock_for
from aroundtheworld_controller.packages.read_lock import read_lock
from aroundtheworld_controller.variables import BadInputError
from tests.role.host_python import HASHES, PYTHON, markers

LOCK = """\
# made by uv
greenlet==3.2 ; python_full_version < '3.13' \\
    --hash=sha256:{0}
tornado==6.5.2 \\
    --hash=sha256:{1} \\
    --hash=sha256:{0}
    # via -r requirements.in
colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:{0}
uvloop[dev]==0.21 --hash=sha256:{1}
""".format("0" * 64, "1" * 64)


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(LOCK)
    return read_lock(path, tmp_path).requirements


def test_a_lock_is_read_with_markers_and_hashes(requirements):
    assert requirements[1] == {
        "name": "tornado",
        "version": "6.5.2",
        "marker": "",
        "hashes": HASHES,
    }
    assert requirements[0]["marker"] == 'python_full_version < "3.13"'
    assert [requirement["name"] for requirement in requirements] == [
        "greenlet",
        "tornado",
        "colorama",
        "uvloop",
    ]


def test_a_lock_from_another_system_is_read_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_bytes(b"\xef\xbb\xbf" + LOCK.replace("\n", "\r\n").encode())
    assert [requirement["name"] for requirement in read_lock(path, tmp_path).requirements][:2] == [
        "greenlet",
        "tornado",
    ]
    path.write_bytes(LOCK.encode("utf-16"))
    with pytest.raises(
        BadInputError, match=r"aroundtheworld_requirements: requirements\.txt in .*"
    ):
        read_lock(path, tmp_path)


def test_markers_are_decided_for_the_hosts_python(requirements):
    assert lock_for(requirements, markers("3.11")).splitlines() == [
        f"greenlet==3.2 --hash={HASHES[0]}",
        f"tornado==6.5.2 --hash={HASHES[0]} --hash={HASHES[1]}",
        f"uvloop==0.21 --hash={HASHES[1]}",
    ]
    assert "greenlet" not in lock_for(requirements, markers("3.13"))


def test_an_environment_is_named_by_its_lock_and_its_python(requirements):
    environment = environment_for(requirements, PYTHON)
    assert environment == environment_for(list(reversed(requirements)), PYTHON)
    others = [
        environment_for(requirements[1:], PYTHON),
        environment_for(requirements, PYTHON | {"version": "3.13"}),
        environment_for(requirements, PYTHON | {"platform": "aarch64-glibc2.36"}),
    ]
    assert len({environment["id"], *(other["id"] for other in others)}) == 4
