"""What goes with a site, what stays, and what a run that was cut off leaves to the next."""

import fnmatch
import json
from functools import partial
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import accounts, belongings, claims
from ansible.module_utils.aroundtheworld.layout import SiteLayout

from tests.role_files import load_python

remove = load_python("library/aroundtheworld_remove.py")

UNITS = "etc/systemd/system"
# What a deployed site has on its host, beside what stays.
GOES = (
    f"{UNITS}/shop@.service",
    f"{UNITS}/shop@.socket",
    f"{UNITS}/shop-handover@.service",
    f"{UNITS}/shop-handover@10001.service.d/pool.conf",
    f"{UNITS}/shop-prepare.service",
    f"{UNITS}/shop-metrics.service",
    f"{UNITS}/shop-metrics.socket",
    f"{UNITS}/sockets.target.wants/shop-metrics.socket",
    f"{UNITS}/shop-maintenance.service",
    f"{UNITS}/shop-maintenance.timer",
    f"{UNITS}/timers.target.wants/shop-maintenance.timer",
    "var/lib/systemd/timers/stamp-shop-maintenance.timer",
    f"{UNITS}/shop-job-nightly.service",
    f"{UNITS}/shop-job-nightly.timer",
    f"{UNITS}/timers.target.wants/shop-job-nightly.timer",
    "var/lib/systemd/timers/stamp-shop-job-nightly.timer",
    f"{UNITS}/shop@mail-1.service.d/pool.conf",
    f"{UNITS}/multi-user.target.wants/shop@mail-1.service",
    f"{UNITS}/shop-public.slice",
    f"{UNITS}/shop@10001.service.d/pool.conf",
    "etc/nginx/sites-available/shop.conf",
    f"{UNITS}/multi-user.target.wants/shop@10001.service",
    f"{UNITS}/sockets.target.wants/shop@10001.socket",
    "etc/shop/environment",
    "usr/local/sbin/shop-run",
    "etc/logrotate.d/shop",
    "run/shop/10001/control.sock",
    "srv/shop/releases/111111111111/app/web.py",
    "srv/shop/environments/e/.whole",
    "srv/shop/assets/index.json",
    "srv/shop/.before/shop@.service",
    "srv/shop/.current.new",
    "srv/shop/maintenance.html",
    "srv/shop/maintenance/state.json",
    "srv/shop/.lock",
    "srv/shop/backup/state.json",
    "etc/shop/backup/password",
)
DATA = (
    "srv/shop/shared/shop.db",
    "srv/shop/deploys.jsonl",
    "srv/shop/backup/replaced/shared/shop.db",
    "srv/shop/backup/undo/20261127/shop.sqlite",
    "etc/shop/secrets/cookie_secret",
    "var/log/nginx/shop/access.log",
    "var/log/nginx/shop/access.log.14.gz",
    "var/log/nginx/shop.access.log",
    "var/log/nginx/shop.error.log.1",
)
# Of others, with names that are near.
OTHERS = (
    f"{UNITS}/shopping@.service",
    f"{UNITS}/shopping-public.slice",
    f"{UNITS}/shop-backup.timer",
    f"{UNITS}/shop.service",
    f"{UNITS}/shop-backup.service",
    f"{UNITS}/shop-backup.slice",
    f"{UNITS}/shop.slice.d/override.conf",
    f"{UNITS}/shop-public.slice.d/override.conf",
    f"{UNITS}/shop@.service.d/override.conf",
    f"{UNITS}/shop@10001.service.d/override.conf",
    f"{UNITS}/shop@10002.service.d/pool.conf",
    f"{UNITS}/sockets.target.wants/shop-backup.timer",
    "etc/systemd/system.control/shop.slice.d/50-CPUWeight.conf",
    "etc/shop/backup.conf",
    "etc/nginx/sites-available/shop-blog.conf",
    "var/log/nginx/shop.access.log.report.html",
    "var/log/nginx/access.log",
    "var/log/nginx/shopping/access.log",
    "etc/shopping/environment",
    "usr/local/sbin/shopping-run",
    "var/log/nginx/shopping.access.log",
    "srv/shopping/shared/data",
)


class CutOffError(Exception):
    """The run ended here, as by a broken connection."""


class Host:
    """What of a host the module sees."""

    def __init__(self, root):
        self.root = root
        self.active = {
            "shop@10001.socket": "active",
            "shop-maintenance.timer": "active",
            "shop@10001.service": "failed",
            "shop-public.slice": "active",
            "shop-handover@10001.service": "inactive",
        }
        self.calls = []
        self.module = self
        self.users = {"shopkeeper": claims.MADE_BY, "tornado": ""}
        self.busy = False
        self.properties = {}
        self.cut_off_at = None

    def call(self, *arguments, check=True):
        if arguments[0] == "list-units":
            patterns = [pattern for pattern in arguments[1:] if not pattern.startswith("-")]
            found = {n for pattern in patterns for n in fnmatch.filter(self.active, pattern)}
            return "".join(f"{n} loaded {self.active[n]} x Some text\n" for n in sorted(found))
        if arguments[0] == "show":
            return self.properties.get(arguments[-1], "")
        self._do(" ".join(word for word in arguments if word != "--"))
        if arguments[0] == "stop":
            for name in arguments[1:]:
                self.active.pop(name, None)
        return ""

    def _do(self, command):
        if self.cut_off_at == len(self.calls):
            raise CutOffError
        self.calls.append(command)

    def run_command(self, command):
        self._do(" ".join(command))
        if self.busy:
            return 8, "", "user shopkeeper is currently used by process 812\n"
        self.users.pop(command[1])
        return 0, "", ""

    def make(self, *paths):
        for name in paths:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if ".wants/" in name:
                file = path.name.replace("@10001.", "@.")
                path.symlink_to(self.root / UNITS / file)
            else:
                path.write_text("")

    def claim(self, site, home, user, has=()):
        path = self.root / "etc" / site / "aroundtheworld.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        sockets = [{"address": "127.0.0.1", "port": 10001, "variable": "aroundtheworld_pools"}]
        rest = {"http_port": 80, "server_names": ["_"], "pools": ["public"], "sockets": sockets}
        logs = self.root / "var/log/nginx" / site
        directories = [self.root / home, path.parent, logs]
        outside = ("etc/sys", "usr", "etc/ngi", "etc/log", "var/lib")
        files = [self.root / file for file in has if file.startswith(outside)]
        listed = {"files": files, "directories": directories}
        rest["has"] = {"users": [], **{kind: [*map(str, of)] for kind, of in listed.items()}}
        home = str(self.root / home)
        path.write_text(json.dumps({"site": site, "home": home, "user": user, **rest}))

    def left(self):
        """Returns every file and every empty directory."""
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file() or not any(path.iterdir())
        )


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path / "host")
    host.make(*GOES, *DATA, *OTHERS)
    host.claim("shop", "srv/shop", "shopkeeper", has=GOES)
    host.claim("shopping", "srv/shopping", "shopper")
    (host.root / "srv/shop/current").symlink_to("releases/111111111111")

    def user(name):
        return SimpleNamespace(pw_gecos=host.users[name], pw_uid=999)

    monkeypatch.setattr(accounts.pwd, "getpwnam", user)
    return host


@pytest.fixture
def run(host, run_module, monkeypatch):
    monkeypatch.setattr(remove, "Systemd", lambda module: host)
    monkeypatch.setattr(remove, "SiteLayout", partial(SiteLayout, root=host.root))

    def run(*, data=False, home="srv/shop", check=False, site="shop"):
        home = str(host.root / home)
        arguments = {"site": site, "home": home, "user": "shopkeeper", "who": "ada"}
        return run_module(remove, data=data, check=check, **arguments)

    run.failed = run_module.failed
    return run


EMPTIED = ["run", "etc/logrotate.d", "var/lib/systemd/timers"]
OTHERS_LEFT = [*OTHERS, "etc/shopping/aroundtheworld.json", *EMPTIED]


def test_all_but_the_data_goes(host, run):
    result = run()
    assert host.left() == sorted([*OTHERS_LEFT, *DATA, "etc/shop/aroundtheworld.json"])
    assert host.users.keys() == {"shopkeeper", "tornado"}
    assert host.active.keys() == {"shop-handover@10001.service"}
    paths = ("srv/shop/shared", "etc/shop/secrets", "var/log/nginx/shop")
    stays = [f"{host.root / path} stays." for path in paths]
    assert set(stays) < set(result["kept"])
    assert "remove_data=true" in result["kept"][-1]
    assert run()["changed"] is False


@pytest.mark.parametrize("data", [False, True])
def test_where_the_backups_are_that_stay_is_told(host, run, data):
    state = {"repository": "/var/backups/shop"}
    (host.root / "srv/shop/backup/state.json").write_text(json.dumps(state))
    assert "The backups in /var/backups/shop stay." in run(data=data)["kept"]


def test_data_goes_too_when_that_is_wanted(host, run):
    result = run(data=True)
    assert host.left() == sorted(OTHERS_LEFT)
    assert host.users.keys() == {"tornado"}
    others = ("etc/shop/backup.conf", f"{UNITS}/shop@10001.service.d/override.conf")
    stays = [f"{host.root / path} is not the role's, and stays." for path in others]
    assert result["kept"] == stays
    assert run(data=True)["changed"] is False


def test_data_that_was_kept_goes_later(host, run):
    run()
    assert run(data=True)["changed"]
    assert host.left() == sorted(OTHERS_LEFT)
    assert "shopkeeper" not in host.users


def test_a_removed_site_keeps_only_home_and_user_to_itself(host, run):
    run()
    claim = json.loads((host.root / "etc/shop/aroundtheworld.json").read_text())
    assert claim["home"] == str(host.root / "srv/shop")
    assert (claim["user"], claim["sockets"], claim["server_names"]) == ("shopkeeper", [], [])


def test_the_log_says_who_removed_what(host, run):
    run()
    (line,) = (host.root / "srv/shop/deploys.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["who"], entry["verb"], entry["from"]) == ("ada", "remove", "111111111111")


def test_sockets_stop_before_services_and_files_go_before_systemd_reads_them(host, run):
    run(data=True)
    assert host.calls == [
        "stop shop-maintenance.timer shop@10001.socket",
        "reset-failed shop-maintenance.timer shop@10001.socket",
        "stop shop@10001.service",
        "reset-failed shop@10001.service",
        "stop shop-public.slice",
        "reset-failed shop-public.slice",
        "daemon-reload",
        "userdel shopkeeper",
    ]


def test_check_mode_says_everything_and_does_nothing(host, run):
    before = host.left(), dict(host.active)
    result = run(data=True, check=True)
    assert (host.left(), dict(host.active)) == before
    assert host.calls == []
    assert f"remove {host.root / 'srv/shop/shared'}" in result["steps"]
    assert result["steps"] == run(data=True)["steps"]


@pytest.mark.parametrize("data", [False, True])
def test_a_run_that_was_cut_off_anywhere_is_completed(host, run, data):
    for cut_off_at in range(8):
        host.cut_off_at = cut_off_at
        try:
            run(data=data)
        except CutOffError:
            host.cut_off_at = None
            host.calls.clear()
            run(data=data)
        kept = [] if data else [*DATA, "etc/shop/aroundtheworld.json"]
        assert host.left() == sorted([*OTHERS_LEFT, *kept])
        assert run(data=data)["changed"] is False
        host.calls.clear()
        host.make(*GOES, *DATA)
        host.claim("shop", "srv/shop", "shopkeeper", has=GOES)
        host.active |= {"shop@10001.socket": "active", "shop@10001.service": "active"}
        host.users["shopkeeper"] = claims.MADE_BY


@pytest.mark.parametrize("path", [*GOES, *DATA])
def test_a_site_of_which_there_is_only_this_goes(tmp_path, host, run, path, monkeypatch):
    host.root = tmp_path / "half"
    host.make(path)
    host.claim("shop", "srv/shop", "shopkeeper", has=GOES)
    host.active.clear()
    monkeypatch.setattr(remove, "SiteLayout", partial(SiteLayout, root=host.root))
    assert run(data=True)["changed"]
    assert [left for left in host.left() if (host.root / left).is_file()] == []
    assert "shopkeeper" not in host.users


def test_where_there_never_was_a_site_nothing_is_done(tmp_path, host, run, monkeypatch):
    host.root = tmp_path / "bare"
    host.root.mkdir()
    host.active.clear()
    host.users.clear()
    monkeypatch.setattr(remove, "SiteLayout", partial(SiteLayout, root=host.root))
    assert run()["steps"] == run(data=True)["steps"] == []
    assert list(host.root.iterdir()) == []


def test_what_others_put_into_the_home_stays_and_so_does_the_user(host, run):
    host.make("srv/shop/notes.txt")
    result = run(data=True)
    assert host.left() == sorted(
        [*OTHERS_LEFT, "srv/shop/notes.txt", "etc/shop/aroundtheworld.json"]
    )
    assert run(data=True)["changed"] is False
    assert f"{host.root / 'srv/shop/notes.txt'} is not the role's, and stays." in result["kept"]
    assert "shopkeeper" in host.users
    (host.root / "srv/shop/notes.txt").unlink()
    run(data=True)
    assert "shopkeeper" not in host.users
    assert not (host.root / "srv/shop").exists()


def test_a_user_that_the_role_did_not_make_stays(host, run):
    host.users["shopkeeper"] = "A person"
    run(data=True)
    assert "shopkeeper" in host.users


def test_a_user_that_another_site_has_stays(host, run):
    host.claim("shopping", "srv/shopping", "shopkeeper")
    run(data=True)
    assert "shopkeeper" in host.users


def test_a_user_that_still_runs_something_is_told_and_removed_later(host, run):
    host.busy = True
    with pytest.raises(run.failed, match="currently used by process 812"):
        run(data=True)
    host.busy = False
    run(data=True)
    assert "shopkeeper" not in host.users
    assert host.left() == sorted(OTHERS_LEFT)


def test_another_home_than_the_sites_is_refused(host, run):
    before = host.left()
    with pytest.raises(run.failed, match=r"aroundtheworld_home: '.*/srv/other' is not where"):
        run(home="srv/other", data=True)
    assert host.left() == before


def test_where_nothing_is_written_down_only_what_carries_the_mark_goes(host, run):
    (host.root / "etc/shop/aroundtheworld.json").unlink()
    (host.root / UNITS / "shop@.service").write_text(belongings.mark("shop") + "\n[Unit]\n")
    run(data=True)
    left = host.left()
    assert f"{UNITS}/shop@.service" not in left
    rest = {*GOES, *DATA, *OTHERS} - {f"{UNITS}/shop@.service"}
    assert rest - set(left) == {
        f"{UNITS}/multi-user.target.wants/shop@10001.service"  # led to it
    }
    assert "shopkeeper" in host.users


def test_services_of_the_moment_go_that_have_the_sites_environment(host, run):
    environment = f"EnvironmentFiles={host.root}/etc/shop/environment (ignore_errors=no)\n"
    for name in ("shop-run-12.service", "shop-run-backup.service", "migration-check-7.service"):
        host.active[name] = "active"
    host.properties = {"shop-run-12.service": environment, "migration-check-7.service": environment}
    run()
    assert {"shop-run-12.service", "migration-check-7.service"}.isdisjoint(host.active)
    assert "shop-run-backup.service" in host.active


@pytest.mark.parametrize(
    ("properties", "goes"),
    [
        ("FragmentPath=\nRequiredBy=shop-public.slice shop-metrics.service\n", True),
        ("FragmentPath=\nRequiredBy=shop-public.slice shop-backup.service\n", False),
        ("FragmentPath=/etc/systemd/system/shop.slice\nRequiredBy=shop-public.slice\n", False),
    ],
    ids=["of the site alone", "with an operator's service in it", "of the operator"],
)
def test_the_slice_around_the_site_stops_unless_it_is_somebodys(host, run, properties, goes):
    host.active |= {"shop.slice": "active", "shop-backup.service": "active"}
    host.properties = {"shop.slice": properties}
    run()
    assert ("shop.slice" not in host.active) is goes
    assert "shop-backup.service" in host.active


def test_a_pools_slice_with_an_operators_service_in_it_goes_on(host, run):
    host.active |= {"shop-backup.service": "active"}
    host.properties = {"shop-public.slice": "RequiredBy=shop@10001.service shop-backup.service\n"}
    run()
    assert {"shop-public.slice", "shop-backup.service"} <= host.active.keys()


def test_a_site_that_an_older_role_called_system_leaves_the_system_alone(host, run, monkeypatch):
    host.make(f"{UNITS}/system@.service", f"{UNITS}/system-public.slice", "etc/system/environment")
    host.claim("system", "srv/system", "shopkeeper", has=[f"{UNITS}/system@.service"])
    listed = [f"{UNITS}/system-public.slice", f"{UNITS}/system@10001.service.d/pool.conf"]
    belongings.take("system", [host.root / path for path in listed], root=host.root)
    systems = ["system.slice", "system-getty.slice", "dbus.service", "system-own.slice"]
    host.active |= dict.fromkeys(
        [*systems, "system-public.slice", "system@10001.service"], "active"
    )
    host.properties = {"system.slice": "FragmentPath=\nRequiredBy=dbus.service system-own.slice\n"}
    run(site="system", home="srv/system")
    assert set(systems) <= host.active.keys()
    assert {"system-public.slice", "system@10001.service"}.isdisjoint(host.active)


def test_a_user_of_the_site_from_before_goes_as_well(host, run):
    host.users["seller"] = claims.MADE_BY
    users = [{"name": "seller", "uid": 999}]
    belongings.take("shop", users=users, root=host.root)
    run(data=True)
    assert host.users.keys() == {"tornado"}


def test_what_a_killed_run_was_just_writing_goes_as_well(host, run):
    halves = [
        f"{UNITS}/.shop@.service.a1b2c3d_",
        f"{UNITS}/shop@10001.service.d/.pool.conf.a1b2c3d_",
        "usr/local/sbin/.shop-run.a1b2c3d_",
        "etc/nginx/sites-available/.shop.conf.a1b2c3d_",
        "etc/shop/.aroundtheworld.json.a1b2c3d_",
        "etc/shop/.environment.a1b2c3d_",
    ]
    others = [f"{UNITS}/.shop@.service.swp", "usr/local/sbin/.shop-run.backup.sh"]
    host.make(*halves, *others)
    run(data=True)
    assert [path for path in halves if (host.root / path).exists()] == []
    assert [path for path in others if not (host.root / path).exists()] == []


def test_what_an_operator_keeps_beside_the_logs_stays(host, run):
    host.make("var/log/nginx/shop/report.html")
    report = host.root / "var/log/nginx/shop/report.html"
    assert f"{report} is not the role's, and stays." in run(data=True)["kept"]
    assert list(report.parent.iterdir()) == [report]


def test_operators_units_go_on(host, run):
    names = ("shop-backup.slice", "shop-backup.service", "shop@10002.service", "shop@10002.socket")
    host.active |= dict.fromkeys(names, "active")
    run(data=True)
    assert set(names) <= host.active.keys()


def test_directories_that_the_role_made_on_the_way_go_when_they_are_empty(host, run):
    for name in ("opt/sites", "opt"):
        belongings.take("shop", directories=[host.root / name], root=host.root)
    host.make("opt/tool")
    (host.root / "opt/sites").mkdir()
    run(data=True)
    assert (host.root / "opt/tool").exists()
    assert not (host.root / "opt/sites").exists()


def test_a_home_that_somebody_made_for_the_site_stays(host, run):
    belongings.give_up("shop", directories=[host.root / "srv/shop"], root=host.root)
    run(data=True)
    assert list((host.root / "srv/shop").iterdir()) == []
