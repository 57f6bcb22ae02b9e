"""What a run brings along is on the host for as long as the run needs it."""

import pytest
from ansible.module_utils.aroundtheworld.data.workspace import workspace


def test_it_is_roots_alone_and_goes(tmp_path):
    with workspace("shop", tmp_path) as work:
        assert work.stat().st_mode & 0o777 == 0o700
        (work / "password").write_text("a very long password")
    assert not any(tmp_path.iterdir())


def test_it_goes_when_the_run_fails(tmp_path):
    with pytest.raises(OSError, match="full"), workspace("shop", tmp_path):
        raise OSError("full")
    assert not any(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_with_the_next_one(tmp_path):
    (tmp_path / "shop.restore" / "cache").mkdir(parents=True)
    (tmp_path / "shop.restore" / "password").write_text("of another run")
    with workspace("shop", tmp_path) as work:
        assert not any(work.iterdir())
