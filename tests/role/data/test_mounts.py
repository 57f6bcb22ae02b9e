"""A disk that is not mounted does not count as an empty directory."""

from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data.mounts import missing_mounts

SHARED = Path("/srv/shop/shared")
FSTAB = """\
# /dev/x /srv/shop/shared/comment ext4
UUID=1 / ext4 defaults 0 1
UUID=2 none swap sw 0 0
UUID=3 /srv ext4 defaults 0 2
nas:/photos /srv/shop/shared/my\\040photos nfs noauto 0 0
nas:/else /mnt/else nfs defaults 0 0
"""


@pytest.fixture
def host(tmp_path):
    """Returns a function that tells what is missing when these places are mounted."""
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    (tmp_path / "proc" / "1").mkdir(parents=True)
    (tmp_path / "etc" / "fstab").write_text(FSTAB)
    unit = "[Mount]\nWhat=tank/invoices\nWhere=/srv/shop/shared/invoices\n"
    (tmp_path / "etc" / "systemd" / "system" / "srv-shop.mount").write_text(unit)

    def missing(*mounted):
        lines = [f"36 35 98:0 / {place} rw - ext4 /dev/x rw\n" for place in ("/", *mounted)]
        (tmp_path / "proc" / "1" / "mountinfo").write_text("".join(lines))
        return [str(path) for path in missing_mounts(SHARED, tmp_path)]

    return missing


ALL = ("/srv", "/srv/shop/shared/my\\040photos", "/srv/shop/shared/invoices")


def test_what_is_mounted_is_not_missing(host):
    assert host(*ALL) == []


def test_what_leads_to_the_data_and_what_is_in_it_counts(host):
    assert host(*ALL[1:]) == ["/srv"]
    assert host(ALL[0], ALL[2]) == ["/srv/shop/shared/my photos"]
    assert host(*ALL[:2]) == ["/srv/shop/shared/invoices"]
