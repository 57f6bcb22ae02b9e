"""Root trusts nothing that came with a release, and a command is the words that were meant."""

import hashlib
import json
import os
import re

from aroundtheworld_controller.commands import unit_text
from tests.hostile_wheel import make_wheel

MARK = "/root/ran"  # a place where nobody but root can write


def test_code_in_a_wheel_never_runs_as_root(
    app, ansible_playbook, host, tmp_path, monkeypatch, release_in
):
    wheel = make_wheel(tmp_path, MARK)
    monkeypatch.setenv("PIP_FIND_LINKS", f"{os.environ.get('PIP_FIND_LINKS', '')} {tmp_path}")
    arguments = app()
    lock = tmp_path / "app-0" / "requirements.txt"
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"{lock.read_text()}\nevil==1.0 --hash=sha256:{checksum}\n")

    dry = ansible_playbook(arguments, "--check")
    assert dry.returncode == 0
    assert not host.file(MARK).exists

    done = ansible_playbook(arguments, "--diff")
    assert done.returncode == 0
    assert not host.file(MARK).exists
    # It is there, and runs where it should: as the site's user, whose trace this is.
    release = f"/var/lib/tornado/aroundtheworld/releases/{release_in(done.output)}"
    seen = host.run(f"runuser -u tornado -- {release}/venv/bin/python -c 'import evil'")
    assert f"Permission denied: '{MARK}'" in seen.stderr
    again = ansible_playbook(arguments)
    assert (again.changed, again.returncode) == (0, 0)
    assert not host.file(MARK).exists


SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"
ODD = {
    "'a b' \"c\\\\d\" e\\ f ''": ["a b", "c\\d", "e f", ""],
    "'$HOME' \\${HOME} $ 100% %h %%": ["$HOME", "${HOME}", "$", "100%", "%h", "%%"],
    "';' '|' a;b '&&' \"it's\" 'say \"x\"'": [";", "|", "a;b", "&&", "it's", 'say "x"'],
    '"$HOME" x${HOME}y $HOME café': ["/a b", "x/a by", "/a", "b", "café"],
}


def test_systemd_runs_the_words_that_were_meant(host):
    command = f"python3 -c '{SHOW}' "
    lines = [f"ExecStart=/usr/bin/env {unit_text(command + words)}" for words in ODD]
    unit = "\n".join(["[Service]", "Type=oneshot", 'Environment="HOME=/a b"', *lines, ""])
    host.run_test("cat > /run/systemd/system/odd-words.service <<'END'\n%s\nEND" % unit)  # noqa: UP031
    try:
        host.check_output("systemctl daemon-reload && systemctl start odd-words.service")
        journal = host.check_output("journalctl --unit=odd-words.service --output=cat --boot")
    finally:
        host.run("rm /run/systemd/system/odd-words.service; systemctl daemon-reload")
    printed = [json.loads(line) for line in re.findall(r"^\[.*\]$", journal, re.MULTILINE)]
    assert printed == list(ODD.values())


def test_the_apps_own_commands_get_the_words_that_were_typed(host):
    typed = ["$HOME", "${HOME}", "a  b", "it's", "$$", "", "two\nlines\n"]
    arguments = " ".join("'" + word.replace("'", "'\\''") + "'" for word in typed)
    printed = host.check_output(f"aroundtheworld-run python -c '{SHOW}' {arguments}")
    assert json.loads(printed) == typed
