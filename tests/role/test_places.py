"""Where a site's home may be, and where it may not."""

import json
import os
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.host import places


@pytest.fixture
def root(tmp_path):
    for name in ("srv", "opt", "var/lib/dpkg", "var/www", "etc", "home/ada", "usr/lib"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


PACKAGES = {"/var/lib/dpkg": "dpkg", "/var/www/html": "nginx-common"}


def dpkg(command):
    lines = [f"{PACKAGES[path]}: {path}" for path in command[2:] if path in PACKAGES]
    return (0 if lines else 1), "".join(f"{line}\n" for line in lines), ""


def problems(root, home, site="shop"):
    return list(places.home_problems(home, site, dpkg, root))


def claim(root, home, *, deployed=True):
    path = root / "etc/shop/aroundtheworld.json"
    path.parent.mkdir(exist_ok=True)
    has = {"has": belongings.nothing()}
    about = {"site": "shop", "home": home, "user": "shop", "pools": [], "sockets": []}
    path.write_text(json.dumps(about | has))
    place = root / home.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    if deployed:
        (place / "current").symlink_to("releases/1")


@pytest.mark.parametrize(
    "home",
    [
        "/srv/shop",
        "/srv/sites/shop",
        "/opt/shop",
        "/var/lib/shop",
        "/var/lib/tornado/shop",
        "/var/www/shop",
        "/var/opt/shop",
        "/data/shop",
        "/mnt/disk/shop",
    ],
)
def test_a_directory_of_its_own_is_a_home(root, home):
    assert problems(root, home) == []


@pytest.mark.parametrize(
    ("home", "reason"),
    [
        ("/home/ada/site", "the workers' sandbox hides it from them"),
        ("/home/shop", "the workers' sandbox hides it from them"),
        ("/root/site", "the workers' sandbox hides it from them"),
        ("/run/shop", "it is empty after the next boot"),
        ("/run/user/1000/shop", "it is empty after the next boot"),
        ("/var/run/shop", "it is empty after the next boot"),
        ("/tmp/shop", "it is cleaned at every boot"),
        ("/var/tmp/shop", "it is cleaned from time to time"),
        ("/etc/ssh", "the system's configuration is there"),
        ("/etc/shop/home", "the system's configuration is there"),
        ("/usr/lib", "it belongs to Debian's packages"),
        ("/usr/local/shop", "it belongs to Debian's packages"),
        ("/lib/shop", "it belongs to Debian's packages"),
        ("/boot/shop", "the kernel is there"),
        ("/proc/1", "the kernel shows its processes there"),
        ("/sys/fs", "the kernel shows its devices there"),
        ("/dev/shm", "the kernel's devices are there"),
        ("/var/lib", "other programs keep things there as well"),
        ("/var/www", "other programs keep things there as well"),
        ("/var/log/shop", "logs are there"),
        ("/var/cache/shop", "what is there may be removed at any time"),
        ("/var/spool/shop", "other programs' queues are there"),
        ("/var/www/html/shop", "a web server of this host may show everybody what is there"),
        ("/var/shop", "/var/shop is not for what programs keep"),
        ("/var/lib/dpkg", "there is"),
        ("/var/lib/dpkg/shop", "/var/lib/dpkg belongs to Debian's package dpkg"),
    ],
)
def test_what_others_have_is_refused_with_what_is_allowed(root, home, reason):
    (root / "var/lib/dpkg/status").touch()
    (problem,) = problems(root, home)
    assert f"aroundtheworld_home: {home!r} is not allowed; " in problem
    assert reason in problem
    assert "below /srv, /opt, /var/lib, /var/www or a file system of your own" in problem


def test_a_directory_with_somebodys_things_is_refused(root):
    (root / "srv/shop").mkdir()
    (root / "srv/shop/photos").mkdir()
    (problem,) = problems(root, "/srv/shop")
    assert "the role did not make it, and there is photos in it" in problem


def test_a_file_is_refused(root):
    (root / "srv/shop").touch()
    (problem,) = problems(root, "/srv/shop")
    assert "/srv/shop is not a directory" in problem


@pytest.mark.parametrize("inside", [(), ("lost+found",)])
def test_an_empty_directory_of_roots_is_taken_as_it_is(root, inside):
    (root / "srv/shop").mkdir(mode=0o755)
    for name in inside:
        (root / "srv/shop" / name).mkdir()
    assert problems(root, "/srv/shop") == []


@pytest.mark.parametrize("mode", [0o700, 0o775, 0o777, 0o750])
def test_an_empty_directory_that_is_not_roots_alone_is_refused(root, mode):
    (root / "srv/shop").mkdir()
    (root / "srv/shop").chmod(mode)
    (problem,) = problems(root, "/srv/shop")
    assert f"with mode {mode:04o}; it has to be root's with 0755" in problem


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (0o775, "others may write to /srv/sites (mode 0775)"),
        (0o1777, "others may write to /srv/sites (mode 1777)"),
        (0o700, "the site's user and nginx cannot enter /srv/sites (mode 0700)"),
    ],
)
def test_a_way_that_others_change_or_nobody_may_go_is_refused(root, mode, reason):
    (root / "srv/sites").mkdir()
    (root / "srv/sites").chmod(mode)
    (problem,) = problems(root, "/srv/sites/shop")
    assert reason in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_way_that_belongs_to_somebody_is_refused(root):
    (root / "srv/sites").mkdir()
    os.chown(root / "srv/sites", 12345, 12345)
    (problem,) = problems(root, "/srv/sites/shop")
    assert "/srv/sites belongs to the user id 12345, who could put something else there" in problem


@pytest.mark.parametrize("link", ["srv/sites", "srv/shop"])
def test_a_link_is_refused(root, link):
    (root / link).symlink_to("/home/ada")
    (problem,) = problems(root, f"/{link}/x" if link == "srv/sites" else "/srv/shop")
    assert f"/{link} is a link to /home/ada; give the path that it leads to" in problem


def test_a_home_that_the_site_has_stays_its_home(root):
    claim(root, "/srv/shop")
    (root / "srv/shop/releases").mkdir()
    assert problems(root, "/srv/shop") == []


def test_a_site_that_runs_goes_on_where_it_is(root):
    claim(root, "/var/lib/dpkg/shop")
    assert problems(root, "/var/lib/dpkg/shop") == []


def test_a_home_in_which_nothing_ever_ran_is_no_reason_to_go_on(root):
    claim(root, "/home/ada/site", deployed=False)
    (problem,) = problems(root, "/home/ada/site")
    assert "the workers' sandbox hides it from them" in problem


def test_a_first_run_that_was_cut_off_goes_on(root):
    claim(root, "/srv/shop", deployed=False)
    (root / "srv/shop/shared").mkdir()
    assert problems(root, "/srv/shop") == []


def test_the_claim_of_another_site_says_nothing(root):
    claim(root, "/srv/shop")
    (problem,) = problems(root, "/srv/shop", site="game")
    assert "the role did not make it" in problem


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize(
    ("flag", "words"),
    [(os.ST_NOEXEC, "'noexec', so that no release"), (os.ST_RDONLY, "'ro', so that nothing")],
)
def test_a_file_system_where_nothing_runs_is_refused(root, monkeypatch, flag, words, deployed):
    if deployed:
        claim(root, "/srv/shop")
    seen = []

    def statvfs(path):
        seen.append(path)
        return SimpleNamespace(f_flag=flag | os.ST_NOSUID | os.ST_NODEV)

    monkeypatch.setattr(places.os, "statvfs", statvfs)
    (problem,) = problems(root, "/srv/shop")
    assert words in problem
    assert seen == [root / ("srv/shop" if deployed else "srv")]
    flag = 0
    assert problems(root, "/srv/shop") == []
