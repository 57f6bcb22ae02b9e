"""Packages that an app needs are installed with the role's, or refused before anything changed."""

import subprocess
import sys
from pathlib import Path

from ansible.module_utils.aroundtheworld.host import packages

from tests.waiting import until

POLICY = """\
{name}:
  Installed: (none)
  Candidate: {candidate}
  Version table:
"""
SHOW = """\
Package: {name}
Versions:

Reverse Depends:
  reportbug,{name}
Dependencies:
Provides:
Reverse Provides:
{providers}"""


class Apt:
    """Stands for apt and dpkg on a host.

    Attributes:
        there: Packages that it can install.
        new: Those that it has only after an update.
        provides: Names to the packages that stand for them.
        removes: What would be removed.
        works: Whether an update does.
    """

    def __init__(self, there=(), new=(), provides=(), removes=(), *, works=True):
        self.there, self.new, self.provides = [*there], [*new], dict(provides)
        self.removes, self.works, self.calls = removes, works, []

    def __call__(self, command):
        assert command[:2] == ["env", "LC_ALL=C"]
        program, *words = command[2:]
        fresh = any(word.startswith("Dir::State::Lists=/tmp") for word in words)
        words = words[4:] if fresh else words
        self.calls.append((program, words[0], fresh))
        there = self.there + self.new if fresh else self.there
        if words[-1] == "update":
            assert Path(command[4].partition("=")[2]).is_dir()
            return (not self.works) * 100, "", ""
        if words[0] == "policy":
            known = [name for name in words[1:] if name in [*there, *self.provides]]
            texts = [POLICY.format(name=name, candidate="1:2" if name in there else "(none)")
                     for name in known]  # fmt: skip
            return 0, "".join(texts), "N: Unable to locate package x"
        if words[0] == "showpkg":
            providers = "".join(f"{name} 1.0 (= )\n" for name in self.provides.get(words[1], ()))
            return 0, SHOW.format(name=words[1], providers=providers), ""
        if words[0] == "pkgnames":
            return 0, "".join(f"{name}\n" for name in there if name.startswith(words[1])), ""
        assert words[:3] == ["--simulate", "--no-install-recommends", "install"]
        return 0, "".join(f"Remv {name} [1.0]\n" for name in self.removes), ""


def problems(apt, *names):
    return list(packages.package_problems(names, "debian 12", apt))


def test_a_package_that_apt_can_install_is_not_looked_up_anew():
    apt = Apt(["ffmpeg", "libmagic1"])
    assert problems(apt, "ffmpeg", "libmagic1") == []
    assert [call[1] for call in apt.calls] == ["policy", "--simulate"]
    assert problems(apt) == []


def test_a_name_that_one_package_provides_is_right():
    assert (
        problems(Apt(provides={"libmagic1": ["libmagic1t64", "libmagic1t64"]}), "libmagic1") == []
    )


def test_a_name_that_several_packages_provide_is_refused_with_theirs():
    apt = Apt(provides={"mail-transport-agent": ["postfix", "exim4-daemon-light"]})
    assert problems(apt, "mail-transport-agent") == [
        "aroundtheworld_packages: 'mail-transport-agent' stands for any of exim4-daemon-light, "
        "postfix; name one of them."
    ]
    assert "--quiet=2" not in [call[1] for call in apt.calls]


def test_lists_that_are_old_or_missing_are_renewed_beside_the_hosts_own():
    apt = Apt(new=["ffmpeg"])
    assert problems(apt, "ffmpeg") == []
    assert ("apt-get", "--quiet=2", True) in apt.calls
    assert apt.calls[-1] == ("apt-get", "--simulate", True)


def test_a_package_that_there_is_not_is_refused_with_the_nearest():
    assert problems(Apt(["libmagic1", "ffmpeg"]), "libmagik1", "ffmpeg", "zzz") == [
        "aroundtheworld_packages: 'libmagik1' is no package that this host's apt (debian 12) can "
        "install; did you mean libmagic1?",
        "aroundtheworld_packages: 'zzz' is no package that this host's apt (debian 12) can "
        "install; look for it on packages.debian.org.",
    ]


def test_a_package_that_cannot_be_looked_up_is_refused_too():
    (problem,) = problems(Apt(new=["ffmpeg"], works=False), "ffmpeg")
    assert "can install, whose lists of packages could not be renewed; look for it" in problem


def test_a_package_that_would_take_another_off_the_host_is_refused():
    (problem,) = problems(Apt(["systemd-timesyncd"], removes=["chrony"]), "systemd-timesyncd")
    assert (
        "systemd-timesyncd cannot be on this host beside chrony, which apt would remove" in problem
    )


DPKG = """\
libc6 installed
linux-image-amd64 half-configured
nginx unpacked
python3-venv not-installed
restic config-files
virtual
"""


def test_what_an_upgrade_has_not_set_up_is_known():
    asked = []

    def run(command):
        asked.append(command)
        return 1, DPKG, "dpkg-query: no packages found matching x"

    states = packages.states(["nginx", "x"], run)
    assert {"nginx", "x", "python3-apt", "python3.*", "systemd"} <= {*asked[0]}
    assert packages.installed(states) == {"libc6"}
    assert packages.unfinished(states) == ["linux-image-amd64", "nginx"]


def test_an_upgrade_that_was_cut_off_is_told_and_not_one_under_way(tmp_path):
    lock, missing = tmp_path / "lock", tmp_path / "missing"
    lock.touch()

    def problems(output, *locks):
        return list(packages.upgrade_problems(lambda _: (0, output, ""), locks))

    many = "".join(f"p{number} unpacked\n" for number in range(7))
    (problem,) = problems(DPKG, lock, missing)
    assert "cut off, linux-image-amd64, nginx are unpacked and not set up" in problem
    assert "`dpkg --configure -a`" in problem
    assert "p0, p1, p2, p3, p4 and 2 more are" in problems(many, lock)[0]
    assert problems("nginx installed\n", lock) == []
    hold = "import fcntl, sys; fcntl.lockf(sys.stdout, fcntl.LOCK_EX); sys.stdin.read()"
    with lock.open("w") as handle:
        apt = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=handle)
        try:
            assert until(lambda: problems(DPKG, missing, lock), lambda found: not found, 10) == []
        finally:
            apt.communicate()
    assert problems(DPKG, lock) != []


def test_what_is_installed_is_known_by_every_name_it_has():
    listing = (
        "installed libmagic1t64, libmagic1 (= 1:5.46-5), libmagic1a\n"
        "installed mawk, awk\ninstalled adduser, \nconfig-files ffmpeg, \nnot-installed x, y\n"
    )
    names = packages.provided(lambda command: (0, listing, ""))
    assert names == {"libmagic1t64", "libmagic1", "libmagic1a", "mawk", "awk", "adduser"}
