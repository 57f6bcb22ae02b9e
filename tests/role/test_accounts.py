"""Who may be the user of a site, and that the role leaves a user who exists alone."""

import grp
import os
import pwd
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import accounts, claims
from ansible.module_utils.aroundtheworld.host import users


class Host:
    """What of a host is looked at."""

    def __init__(self, root):
        self.root = root
        self.users = {}
        self.groups = {}
        self.shadow = {}
        self.keys = ".ssh/authorized_keys .ssh/authorized_keys2"
        self.commands = []
        self.make("etc/shells", "# valid login shells\n/bin/sh\n/bin/bash\n")
        self.make("etc/login.defs", "#UID_MIN 7\nUID_MIN\t\t\t 1000\nSYS_UID_MIN 100\n")
        self.make("usr/sbin/sshd")
        self.make("proc/self/comm", "x")

    def make(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def add(self, name, **more):
        about = {"pw_name": name, "pw_uid": 998, "pw_gid": 998, "pw_gecos": "", "pw_dir": "/srv/x"}
        self.users[name] = SimpleNamespace(**about | {"pw_shell": "/usr/sbin/nologin"} | more)
        self.shadow[name] = "!"

    def run(self, command):
        self.commands.append(command)
        if command[0].endswith("sshd"):
            return 0, f"port 22\nauthorizedkeysfile {self.keys}\n", ""
        if command[0] == "getent":
            name = command[2]
            known = name in self.shadow
            return (0, f"{name}:{self.shadow[name]}:19000::::::\n", "") if known else (2, "", "")
        return 0, "", ""

    def problems(self, name="shop", *, own=False, site="shop"):
        return list(users.user_problems(name, site, own=own, run=self.run, root=self.root))


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    host.add("shop")

    def user(name):
        return host.users[name]

    def group(name):
        return SimpleNamespace(gr_mem=host.groups[name])

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(grp, "getgrnam", group)
    return host


def test_a_system_user_of_nobody_else_is_taken_whatever_the_home(host):
    assert host.problems() == []


def test_a_user_who_does_not_exist_will_be_made(host):
    assert host.problems("other") == []


def test_a_group_that_exists_already_is_somebodys(host):
    host.groups["other"] = ["ada"]
    (problem,) = host.problems("other")
    assert "a group is called so already (its members: ada)" in problem


REASONS = {
    "a person": ({"pw_uid": 1000}, {}, "the user id is 1000, and those of system users are below"),
    "nobody": ({"pw_uid": 65534}, {}, "the user id is 65534"),
    "a shell": ({"pw_shell": "/bin/bash"}, {}, "the login shell is /bin/bash"),
    "no shell is /bin/sh": ({"pw_shell": ""}, {}, "the login shell is /bin/sh"),
    "keys": ({}, {"srv/x/.ssh/authorized_keys": "ssh-ed25519 A"}, "/srv/x/.ssh/authorized_keys"),
    "other keys": ({}, {"etc/ssh/keys/shop": "ssh-ed25519 A"}, "/etc/ssh/keys/shop lets somebody"),
    "a process": ({}, {"proc/812/comm": "redis\n"}, "processes run as that user: redis (812)"),
    "Debian's": (
        {},
        {"usr/share/base-passwd/passwd.master": "shop:*:33:33:shop:/var/www:/usr/sbin/nologin\n"},
        "it is a user that every Debian has",
    ),
    "nginx's": ({}, {"etc/nginx/nginx.conf": "user shop;\n"}, "nginx runs as that user"),
    "a name of somebody": (
        {},
        {"etc/passwd": "shop:x:998:998::/:/bin/false\nada:x:998:998::/:/bin/bash\n"},
        "ada has the same user id",
    ),
    "a package's": (
        {},
        {"usr/lib/sysusers.d/redis.conf": 'u shop - "Redis"\n'},
        "/usr/lib/sysusers.d/redis.conf declares it for another program",
    ),
    "a service's": (
        {},
        {"etc/systemd/system/queue.service": "[Service]\nUser=shop\n"},
        "/etc/systemd/system/queue.service runs as that user",
    ),
    "a crontab's": ({}, {"var/spool/cron/crontabs/shop": ""}, "starts processes as that user"),
    "a lingering session's": ({}, {"var/lib/systemd/linger/shop": ""}, "starts processes as that"),
    "the host's crontab's": (
        {},
        {"etc/cron.d/queue": "# shop\n*/5 * * * * shop /usr/bin/queue\n"},
        "/etc/cron.d/queue starts processes as that user",
    ),
    "a drop-in's": (
        {},
        {"etc/systemd/system/queue.service.d/user.conf": "[Service]\nUser=shop\n"},
        "/etc/systemd/system/queue.service.d/user.conf runs as that user",
    ),
}


@pytest.mark.parametrize(("user", "files", "reason"), REASONS.values(), ids=REASONS)
def test_somebody_else_is_refused_with_the_reason(host, monkeypatch, user, files, reason):
    host.add("shop", **user)
    host.keys = ".ssh/authorized_keys /etc/ssh/keys/%u"
    for name, text in files.items():
        host.make(name, text)
    stat = users.Path.stat

    def owned(path, **more):
        if path.parent.name == "proc":
            return SimpleNamespace(st_uid=998, st_mode=0o40555)
        return stat(path, **more)

    monkeypatch.setattr(users.Path, "stat", owned)
    if "proc/812/comm" not in files:
        monkeypatch.setattr(users, "running", lambda uid, root: [])
    (problem,) = host.problems()
    assert "aroundtheworld_user: 'shop' exists on this host and is somebody else: " in problem
    assert reason in problem
    assert "Name a user who does not exist" in problem
    assert host.problems(own=True) == []  # who has run the site goes on running it


@pytest.mark.parametrize("password", ["$y$j9T$abc", "", "x"])
def test_a_password_that_opens_the_account_is_a_reason(host, password):
    host.shadow["shop"] = password
    (problem,) = host.problems()
    assert "there is a password" in problem


@pytest.mark.parametrize("password", ["!", "!!", "*", "!*", "!$y$j9T$abc"])
def test_a_locked_password_is_not_one(host, password):
    host.shadow["shop"] = password
    assert host.problems() == []


def test_all_reasons_are_said_at_once(host):
    host.add("shop", pw_uid=1001, pw_shell="/bin/bash")
    host.shadow["shop"] = "$y$abc"
    (problem,) = host.problems()
    assert problem.count(";") >= 2


def test_an_empty_file_of_keys_lets_nobody_in(host):
    host.make("srv/x/.ssh/authorized_keys")
    assert host.problems() == []


def test_units_of_the_site_itself_may_have_the_user(host):
    for name in ("shop@.service", "shop-prepare.service", "shop@10001.service.d/user.conf"):
        host.make(f"etc/systemd/system/{name}", "[Service]\nUser=shop\n")
    assert host.problems() == []
    (problem,) = host.problems(site="game")
    assert "runs as that user" in problem


def test_whom_the_operator_declares_may_be_meant_for_this_site(host):
    host.make("etc/sysusers.d/shop.conf", 'u shop - "The shop"\n')
    assert host.problems() == []


def test_who_the_role_made_is_taken_though_they_run_something(host, monkeypatch):
    monkeypatch.setattr(users, "running", lambda uid, root: [(1, "python3")])
    host.add("shop", pw_gecos=claims.MADE_BY)
    assert host.problems() == []
    host.add("shop", pw_gecos="Somebody")
    assert host.problems() != []


@pytest.mark.parametrize("own", [False, True])
def test_root_is_refused_whoever_says_what(host, own):
    host.add("admin", pw_uid=0, pw_gecos=claims.MADE_BY)
    (problem,) = host.problems("admin", own=own)
    assert "is root, and workers must not be" in problem


def test_without_sshd_the_usual_files_are_looked_at(host):
    (host.root / "usr/sbin/sshd").unlink()
    host.make("srv/x/.ssh/authorized_keys2", "ssh-ed25519 A")
    (problem,) = host.problems()
    assert "/srv/x/.ssh/authorized_keys2" in problem
    assert not any("sshd" in command[0] for command in host.commands)


def test_nothing_about_a_user_is_ever_changed(host):
    host.add("shop", pw_uid=1001)
    host.problems()
    assert {command[0] for command in host.commands} <= {"/usr/sbin/sshd", "getent"}


@pytest.mark.parametrize(
    ("others", "members", "alone"), [((), [], True), (("ada",), [], False), ((), ["ada"], False)]
)
def test_a_group_is_the_users_alone_or_not(monkeypatch, others, members, alone):
    users = [SimpleNamespace(pw_name=name, pw_gid=998) for name in ("shop", *others)]
    monkeypatch.setattr(pwd, "getpwall", lambda: [*users, SimpleNamespace(pw_name="x", pw_gid=7)])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_mem=members, gr_gid=gid))
    assert accounts.is_alone("shop", 998) is alone


def test_a_site_with_data_keeps_its_user_until_the_data_is_the_other_ones(host, tmp_path):
    home = tmp_path / "home"
    (home / "shared").mkdir(parents=True)
    claim = {"home": str(home), "user": "shop"}
    before = claim | {"user": "tornado"}
    assert list(users.change_problems(claim, before)) == []  # nothing is in there
    (home / "shared/shop.db").touch()
    (problem,) = users.change_problems(claim, before)
    assert "'shop' is not the user of this site on this host, who is 'tornado'" in problem
    assert f"chown --recursive shop: {home}/shared" in problem
    host.add("shop", pw_uid=os.getuid())
    assert list(users.change_problems(claim, before)) == []
    for same in ({}, claim):
        assert list(users.change_problems(claim, same)) == []


# --- Making and removing --------------------------------------------------------------------------


def test_a_user_is_made_as_one_who_cannot_log_in():
    commands = []

    def run(command):
        commands.append(command)
        return 0, "", ""

    accounts.make_user("shop", "/srv/shop", run)
    (command,) = commands
    assert command[0] == "useradd"
    assert {"--system", "--no-create-home", "/usr/sbin/nologin", claims.MADE_BY} < set(command)
    assert command[-1] == "shop"


@pytest.mark.parametrize(
    ("members", "others", "commands"),
    [
        ([], [], ["usermod --gid nogroup shop", "groupdel shop", "userdel shop"]),
        (["shop"], [], ["usermod --gid nogroup shop", "groupdel shop", "userdel shop"]),
        (["ada"], [], ["userdel shop"]),
        ([], ["ada"], ["userdel shop"]),
        (None, [], ["userdel shop"]),
    ],
)
def test_a_group_goes_with_its_user_unless_others_are_in_it(monkeypatch, members, others, commands):
    def group(name):
        if members is None:
            raise KeyError(name)
        return SimpleNamespace(gr_gid=998, gr_mem=members)

    users = [SimpleNamespace(pw_name=name, pw_gid=998) for name in ["shop", *others]]
    monkeypatch.setattr(grp, "getgrnam", group)
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    run = []
    accounts.remove_user("shop", lambda command: (run.append(" ".join(command)), (0, "", ""))[1])
    assert run == commands


def test_another_program_that_changes_the_users_is_waited_for(monkeypatch):
    answers = [(1, "", "useradd: cannot lock /etc/passwd; try again later.\n")] * 2 + [(0, "", "")]
    monkeypatch.setattr(accounts.time, "sleep", lambda seconds: None)
    accounts.make_user("shop", "/srv/shop", lambda command: answers.pop(0))
    assert answers == []


def test_what_useradd_says_is_told():
    with pytest.raises(accounts.HostError, match="useradd said: invalid user name"):
        accounts.make_user("shop", "/srv/shop", lambda command: (3, "", "invalid user name"))
