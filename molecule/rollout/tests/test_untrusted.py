"""Root trusts nothing that came with a release, and a command is the words that were meant."""

import hashlib
import json
import os
import re
import uuid

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


def test_no_secret_is_shown_and_everything_else_is(app, ansible_playbook, host):
    """With all the words that Ansible has, in a dry run and a real run, and in the journal."""
    number = uuid.uuid4().hex  # other values than those of a run before
    secret, private = f"{number} and 42", f"postgresql://ada:love/{number}@db/shop"
    variables = {
        # A value that is a word of the site's paths, and another of a single letter.
        "aroundtheworld_environment": {"SITE": "aroundtheworld", "LETTER": "e", "URL": private},
        "aroundtheworld_secrets": {"mail": secret, "site": "aroundtheworld", "letter": "e"},
    }
    arguments = [app(), f"-e{json.dumps(variables)}", "-vvv", "--diff"]
    dry, done = ansible_playbook(*arguments, "--check"), ansible_playbook(*arguments)
    assert (dry.returncode, done.returncode) == (0, 0)
    for run in (dry, done):
        assert "content of /etc/aroundtheworld/secrets/mail (not shown)" in run.output
        assert "content of /etc/aroundtheworld/environment (not shown)" in run.output
        # Ansible's mark for what it hides is eight stars; longer rows of them end its headings.
        assert re.findall(r"[^\s*]\*{8}(?!\*)|(?<!\*)\*{8}[^\s*]", run.output) == []
        for value in (secret, private, number):
            assert value not in run.output
    journal = host.check_output("journalctl --boot --output=cat")
    assert "Invoked with" in journal
    assert number not in journal
    assert "/etc/********" not in journal
    assert host.file("/etc/aroundtheworld/secrets/mail").content_string == secret
    variables = {name: {} for name in variables}
    assert ansible_playbook(app(), f"-e{json.dumps(variables)}").returncode == 0
