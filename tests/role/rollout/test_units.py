"""The texts of unit files, and the id that stands for a worker's settings."""

from pathlib import Path

from ansible.module_utils.aroundtheworld.rollout import units


def test_the_id_of_settings_tells_nothing_to_who_does_not_have_the_key(host, run):
    run()
    key = host.secrets.parent / "settings.key"
    assert (key.stat().st_mode & 0o777, len(key.read_text())) == (0o600, 64)
    texts, watched = ["a"], [host.secrets / "cookie_secret"]
    ids = {units.settings_id(texts, watched, other) for other in (key.read_bytes(), b"", b"guess")}
    assert len(ids) == 3
    assert units.settings_id(texts, watched, b"1") == units.settings_id(texts, watched, b"1")


def test_what_moves_from_one_setting_to_another_makes_another_id(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("x")
    second.write_text("")
    before = units.settings_id(["p", "q"], [first, second], b"k")
    first.write_text("")
    second.write_text("x")
    assert units.settings_id(["p", "q"], [first, second], b"k") != before
    assert units.settings_id(["pq", ""], [], b"k") != units.settings_id(["p", "q"], [], b"k")


def test_units_are_split_at_their_paths():
    text = "# /a/x.service\n[Unit]\n# a comment\nA=1\n\n# /a/y.socket\n[Socket]\nB=2\n"
    assert units.split_units(text) == {
        Path("/a/x.service"): "[Unit]\n# a comment\nA=1\n",
        Path("/a/y.socket"): "[Socket]\nB=2\n",
    }
