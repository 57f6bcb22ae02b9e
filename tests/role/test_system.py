"""The installation of packages is tried again when another one was under way, and only then."""

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.render import find_plugins
from tests.role_files import load_yaml

LOCKED = "E:Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)"
UNDER_EACH_OTHER = (
    "E:Problem renaming the file /var/cache/apt/pkgcache.bin.pUXLhA to "
    "/var/cache/apt/pkgcache.bin - rename (2: No such file or directory), "
    "W:You may want to run apt-get update to correct these problems, "
    "E:The package cache file is corrupted"
)


@pytest.mark.parametrize(
    ("result", "over"),
    [
        ({"failed": False}, True),
        ({"failed": True, "msg": LOCKED}, False),
        ({"failed": True, "msg": UNDER_EACH_OTHER}, False),
        ({"failed": True, "msg": "No package matching 'ngnix' is available"}, True),
    ],
    ids=["installed", "locked", "under each other", "for good"],
)
def test_packages_are_tried_again_when_another_installation_is_in_the_way(result, over):
    find_plugins()
    task = load_yaml("tasks/packages.yml")[0]
    template = trust_as_template("{{ " + task["until"] + " }}")
    templar = Templar(DataLoader(), {task["register"]: result})
    assert templar.template(template) is over
