"""When a CA is asked, for what, and what becomes of a failure; the real certbot is in Molecule."""

import datetime
import json
import shutil

import pytest
from ansible.module_utils.aroundtheworld.acme import certbot, preflight
from ansible.module_utils.aroundtheworld.acme import change as change_module
from ansible.module_utils.aroundtheworld.acme.change import CertificateChange
from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.belongings import files, take
from ansible.module_utils.aroundtheworld.certificate import parse
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.role.acme.certificates import make
from tests.role_files import load_python

module = load_python("library/aroundtheworld_certificate.py")

CA, OTHER_CA = "https://ca.example/dir", "https://other.example/dir"
CONF = """\
version = 4.0.0
[renewalparams]
account = 0123
renew_hook = {hook}
server = {server}
"""
FAILED = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for www.example.org and new.example.org

Certbot failed to authenticate some domains. The CA reported these problems:
  Domain: new.example.org
  Type:   unauthorized
  Detail: 192.0.2.9: Invalid response from http://new.example.org/.well-known/x: 404

Hint: The Certificate Authority failed to download the temporary challenge files.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
LIMITED = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for www.example.org
An unexpected error occurred:
Error creating new order :: too many certificates (5) already issued for this exact set of
identifiers in the last 168h0m0s, retry after 2026-11-27
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
GONE = "An unexpected error occurred:\nValueError: Requesting localhost/dir: Connection refused\n"


class Host:
    """A host with a certbot that writes what the real one would."""

    def __init__(self, root):
        self.root, self.layout = root, SiteLayout(root / "srv/shop", "shop", root)
        self.lineage = Lineage("shop", root)
        self.commands, self.fails, self.shown, self.timer = [], [], None, 0
        for directory in (self.layout.etc, self.layout.home, self.lineage.renewal.parent,
                          self.lineage.certificate.parent, self.lineage.archive):  # fmt: skip
            directory.mkdir(parents=True)
        claim = {"home": str(self.layout.home), "sockets": [], "pools": [], "site": "shop"}
        has = {"files": [], "directories": [], "users": []}
        self.layout.claim.write_text(json.dumps(claim | {"has": has}))

    def run(self, command):
        if "is-active" in command:
            return self.timer, "", ""
        self.commands.append(command)
        if "certonly" in command:
            if self.fails and not callable(self.fails[0]):
                return self.fails.pop(0)
            names = [command[at + 1] for at, word in enumerate(command) if word == "--domain"]
            self.issue(names, command[command.index("--server") + 1])
            if self.fails:
                return self.fails.pop(0)()
        if "delete" in command:
            if self.fails:
                return self.fails.pop(0)
            for path in (self.lineage.certificate.parent, self.lineage.archive):
                shutil.rmtree(path)
            self.lineage.renewal.unlink()
        return 0, "", ""

    def issue(self, names, server, hook=None, age=0):
        begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
        made = make(names, 90, begin)
        self.lineage.certificate.write_text(made.pem)
        self.lineage.key.write_text(made.key)
        (self.lineage.archive / "privkey1.pem").write_text(made.key)
        hook = hook or self.lineage.hook
        self.lineage.renewal.write_text(CONF.format(hook=hook, server=server))
        return made

    def change(self, names=("www.example.org",), directory=CA, email=""):
        parameters = {
            "names": list(names), "directory": directory, "email": email, "hook": "#!/bin/sh\n",
            "port": 443,
        }  # fmt: skip
        return CertificateChange(self.run, self.layout, parameters)

    def reads(self, certificate):
        self.shown = certificate and parse(certificate.der)


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)

    def served(port, name):
        if host.shown is None:
            raise ConnectionRefusedError
        return host.shown

    monkeypatch.setattr(change_module, "served", served)
    monkeypatch.setattr(change_module, "READ_SECONDS", 0)
    monkeypatch.setattr(preflight, "addresses_of", lambda name: [])
    monkeypatch.setattr(certbot, "AGAIN_SECONDS", 0)
    return host


def test_the_first_time_the_ca_is_asked_and_the_second_time_not(host):
    change = host.change()
    assert change.steps() == [
        f"write {host.lineage.hook}",
        f"ask {CA} for a certificate for www.example.org",
    ]
    assert host.commands == []
    assert change.carry_out() == ""
    assert host.lineage.describe(["www.example.org", "Example.org"]) == {
        "waiting": ["Example.org"],
        "certificate": str(host.lineage.certificate),
        "key": str(host.lineage.key),
        "is_own": True,
        "is_foreign": False,
    }
    assert host.lineage.hook.stat().st_mode & 0o777 == 0o755
    assert files("shop", host.root) == {host.lineage.renewal}
    assert len(host.commands) == 1
    again = host.change()
    assert (again.steps(), again.carry_out(), len(host.commands)) == ([], "", 1)


@pytest.mark.parametrize(
    ("names", "directory", "asks"),
    [
        (("www.example.org", "example.org"), CA, False),
        (("example.org", "WWW.example.org"), CA, False),
        (("www.example.org",), CA, True),
        (("www.example.org", "example.org", "new.example.org"), CA, True),
        (("www.example.org", "example.org"), OTHER_CA, True),
    ],
)
def test_other_names_and_another_ca_are_reasons_to_ask_and_nothing_else_is(
    host, names, directory, asks
):
    host.issue(["www.example.org", "example.org"], CA)
    change = host.change(names, directory, email="ada@example.org")
    assert bool(change.request) == asks
    assert change.carry_out() == ""
    assert any("certonly" in command for command in host.commands) == asks


def test_nothing_of_a_neighbour_takes_part(host):
    for account in ("b" * 32, "a" * 32):
        path = host.lineage.directory / "accounts/ca.example/dir" / account / "regr.json"
        path.parent.mkdir(parents=True)
        path.touch()
    host.change().carry_out()
    (command,) = host.commands
    assert "--no-directory-hooks" in command
    assert command[command.index("--cert-name") + 1] == "aroundtheworld-shop"
    assert command[command.index("--account") + 1] == "a" * 32
    assert "--register-unsafely-without-email" in command


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (FAILED, "new.example.org: 192.0.2.9: Invalid response from http://new.example.org/"
                 ".well-known/x: 404"),
        (LIMITED, "Error creating new order :: too many certificates (5) already issued for this "
                  "exact set of identifiers in the last 168h0m0s, retry after 2026-11-27"),
        (GONE, "ValueError: Requesting localhost/dir: Connection refused"),
        ("", "certbot did not say why"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_its_reason_and_the_next_run_asks_again(host, output, reason):
    host.issue(["www.example.org"], CA)
    host.fails = [(1, output, "")]
    names = ("www.example.org", "new.example.org")
    assert host.change(names).carry_out() == reason
    assert host.lineage.current().names == ("www.example.org",)
    assert host.change(names).carry_out() == ""
    assert host.lineage.current().names == names


def test_a_ca_that_does_not_answer_ends(host):
    host.fails = [(124, "", "")]
    assert host.change().carry_out() == "it had not come after 240 s"


def test_another_certbot_is_waited_for(host):
    host.fails = [(1, "", "Another instance of Certbot is already running.")] * 2
    assert host.change().carry_out() == ""
    assert len(host.commands) == 3


def test_a_name_that_leads_elsewhere_is_told_and_the_ca_not_asked(host, monkeypatch):
    monkeypatch.setattr(preflight, "problems", lambda names, webroot: [f"{names[0]} leads off"])
    assert host.change().carry_out() == "www.example.org leads off"
    assert host.commands == []


def test_what_nginx_does_not_show_yet_it_reads_if_its_configuration_is_right(host):
    host.reads(host.issue(["www.example.org"], CA))
    assert host.change().carry_out() == ""
    assert host.commands == []
    host.issue(["www.example.org"], CA)  # renewed, and the hook failed
    assert "reload nginx.service" in host.change().steps()
    host.change().carry_out()
    assert [command[0] for command in host.commands] == ["nginx", "systemctl"]
    host.run = lambda command: (1, "", "nginx: [emerg] a neighbour's mistake")
    with pytest.raises(HostError, match="a neighbour's mistake"):
        host.change().carry_out()


def test_a_certificate_that_is_not_the_roles_is_left_alone(host):
    made = host.issue(["www.example.org"], CA, hook="/root/mine")
    assert host.lineage.describe()["is_foreign"]
    assert host.change(names=()).steps() == []
    assert host.lineage.certificate.read_text() == made.pem


def test_a_site_without_names_has_its_certificate_deleted_and_not_revoked(host):
    host.change().carry_out()
    keys = host.lineage.directory / "keys"
    keys.mkdir()
    (keys / "0000_key-certbot.pem").write_text(host.lineage.key.read_text())
    (keys / "0001_key-certbot.pem").write_text("a neighbour's")
    host.layout.acme.mkdir(exist_ok=True)
    change = host.change(names=())
    assert change.steps() == [
        "delete the certificate aroundtheworld-shop",
        f"remove {host.lineage.hook}",
        f"remove {host.layout.acme}",
    ]
    change.carry_out()
    assert host.commands[-1][2:] == [
        "certbot", "delete", "--non-interactive", "--cert-name", "aroundtheworld-shop"
    ]  # fmt: skip
    assert [path.name for path in keys.iterdir()] == ["0001_key-certbot.pem"]
    assert not host.lineage.hook.exists()
    assert not host.layout.acme.exists()
    assert files("shop", host.root) == set()
    assert host.change(names=()).steps() == []


def test_a_deletion_waits_for_another_certbot_and_names_what_keeps_it(host):
    host.change().carry_out()
    missing = "timeout: failed to run command 'certbot': No such file or directory\n"
    host.fails = [(1, "", f"{certbot.BUSY}\n"), (127, "", missing)]
    with pytest.raises(
        HostError, match=r"certificate aroundtheworld-shop: timeout: .*No such file"
    ):
        host.change(names=()).carry_out()
    assert host.lineage.is_own
    host.fails = [(1, "", f"{certbot.BUSY}\n")]
    host.change(names=()).carry_out()
    assert not host.lineage.exists


def test_the_module_warns_and_does_not_fail_when_the_ca_does(host, run_module, monkeypatch):
    monkeypatch.setattr(module, "SiteLayout", lambda home, site: host.layout)
    warnings = []
    monkeypatch.setattr(module.AnsibleModule, "run_command", lambda _, command: host.run(command))
    monkeypatch.setattr(module.AnsibleModule, "warn", lambda _, text: warnings.append(text))
    arguments = {
        "site": "shop", "home": str(host.layout.home), "host": "www1",
        "names": ["www.example.org"], "directory": CA,
    }  # fmt: skip
    check = run_module(module, check=True, **arguments)
    assert (check["changed"], check["is_wider"], host.commands) == (True, False, [])
    host.fails = [(1, GONE, "")]
    failed = run_module(module, **arguments)
    assert warnings == [
        f"www1: no certificate from {CA}: ValueError: Requesting localhost/dir: Connection "
        "refused. The site goes on as it is; the next run asks again."
    ]
    assert (failed["is_wider"], failed["certificate"]) == (False, "")
    host.fails = [lambda: (124, "", "")]  # while the hook ran, after the certificate was there
    done = run_module(module, **arguments)
    assert (done["changed"], done["is_wider"]) == (True, True)
    again = run_module(module, **arguments)
    assert (again["changed"], again["is_wider"]) == (False, False)
    assert again["certificate"] == str(host.lineage.certificate)
    arguments["names"] = ["www.example.org", "example.org"]
    host.fails = [(1, GONE, "")]
    wider = [run_module(module, **arguments)["is_wider"] for _ in range(3)]
    assert wider == [False, True, False]
    arguments["names"] = ["example.org"]
    assert run_module(module, **arguments)["is_wider"] is False


def test_until_there_is_a_first_one_nginx_goes_on_with_the_certificate_that_it_has(host):
    file = host.root / "etc/nginx/sites-available/shop.conf"
    file.parent.mkdir(parents=True)
    take("shop", [file], root=host.root)
    paths = {"certificate": host.layout.etc / "c.pem", "key": host.layout.etc / "k.pem"}
    text = "    ssl_certificate {certificate};\n    ssl_certificate_key {key};\n".format(**paths)
    file.write_text(text)
    assert host.lineage.describe()["certificate"] == ""
    for path in paths.values():
        path.touch()
    described = host.lineage.describe()
    assert {name: described[name] for name in paths} == {name: str(paths[name]) for name in paths}
    # Whatever nginx can read of it, it is not for fewer names than before.
    assert described["waiting"] == []
    paths["certificate"].write_text(make(["*.example.org"])[0])
    names = ["www.example.org", "example.org", "a.b.example.org"]
    assert host.lineage.describe(names)["waiting"] == names[1:]
    host.issue(["www.example.org"], CA)
    assert host.lineage.describe()["certificate"] == str(host.lineage.certificate)


def test_a_run_warns_of_what_keeps_the_certificate_from_being_renewed(host):
    assert list(host.change().warnings()) == []
    host.issue(["www.example.org"], CA, age=74)
    assert list(host.change().warnings()) == []
    host.timer = 3
    (warning,) = host.change().warnings()
    assert warning.startswith("certbot.timer does not run, so nothing renews the certificate")
    host.timer = 0
    host.issue(["www.example.org"], CA, age=76)
    (warning,) = host.change().warnings()
    assert "certbot renew --cert-name aroundtheworld-shop --dry-run" in warning
