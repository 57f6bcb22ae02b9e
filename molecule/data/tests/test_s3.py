"""A repository in S3, with a real server of it on the host."""

import json
import shlex

import pytest

from tests.waiting import until

pytestmark = pytest.mark.once

REPOSITORY = "s3:http://127.0.0.1:8333/backups/aroundtheworld"
KEY, SECRET = "AKIDSHOP", "s3cret-key-of-the-shop"
CONFIGURATION = {
    "identities": [
        {
            "name": "shop",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
    ]
}
SERVER = (
    "weed server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir=/var/lib/s3 -master.volumeSizeLimitMB=64 "
    "-volume.max=30 -s3 -s3.config=/var/lib/s3/configuration.json -s3.port=8333"
)
THERE = ["-e", f"aroundtheworld_backup_repository={REPOSITORY}"]


@pytest.fixture
def server(host, back_up):
    """An S3 server that takes one key; afterwards the site has its own repository again."""
    host.check_output("install -d -m 0700 /var/lib/s3")
    text = shlex.quote(json.dumps(CONFIGURATION))
    host.check_output(f"printf %s {text} >/var/lib/s3/configuration.json")
    host.check_output(f"systemd-run --quiet --collect --unit=s3 /usr/local/bin/{SERVER}")
    answers = "curl --silent --output /dev/null http://127.0.0.1:8333 || python3 -c %s"
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:8333/status')"
    until(lambda: host.run(answers, ask).rc == 0, bool, 60)
    yield
    run = back_up()
    host.check_output("systemctl stop s3.service && rm -r /var/lib/s3")
    assert run.returncode == 0


@pytest.mark.usefixtures("server")
def test_a_backup_goes_to_s3_is_tried_there_and_comes_back(site, host, back_up, ansible_playbook):
    row = site.write()
    run = back_up(*THERE)
    assert run.returncode == 0, run.output
    assert f"and is in {REPOSITORY}" in run.output
    host.check_output("systemctl start aroundtheworld-backup-drill.service")
    to = "aroundtheworld_restore_to=/root/beside"
    try:
        assert ansible_playbook("--tags", "restore", "-e", to, *THERE).returncode == 0
        query = f"select id from rounds where id = {row}"
        game = f"sqlite3 /root/beside/databases/game.sqlite '{query}'"
        assert host.check_output(game) == row
    finally:
        host.run("rm -rf /root/beside")
    for text in (run.output, host.check_output("journalctl --no-pager --output=cat")):
        assert SECRET not in text
