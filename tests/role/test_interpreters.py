"""A virtual environment that was made for another Python than it starts is known."""

import pytest
from ansible.module_utils.aroundtheworld.interpreters import (
    Interpreter,
    broken_environments,
    interpreter_of,
    python_problems,
    version_of,
)
from ansible.module_utils.aroundtheworld.layout import HomeLayout

RELEASE = "0123456789ab"


class Host:
    """A home below a root with Debian's Pythons."""

    def __init__(self, root):
        self.root, self.programs = root, root / "usr" / "bin"
        self.programs.mkdir(parents=True)
        self.layout = HomeLayout(root / "home")
        self.unit = root / "pool.conf"

    def have(self, *versions):
        """Have these Pythons; the last one is Debian's own."""
        for program in self.programs.iterdir():
            program.unlink()
        for version in versions:
            (self.programs / f"python{version}").touch()
        (self.programs / "python3").symlink_to(f"python{versions[-1]}")

    def make(self, name, needed, program):
        """Make an environment whose interpreter is a link to a program."""
        environment = self.layout.environment(name)
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").symlink_to("python3")
        (environment / "bin" / "python3").symlink_to(self.programs / program)
        (environment / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {needed}.2\n")
        self.unit.write_text(f"ExecStart={environment}/bin/python -m runner\n")
        return environment

    def release(self, environment):
        self.layout.release(RELEASE).mkdir(parents=True)
        self.layout.environment_link(RELEASE).symlink_to(f"../../environments/{environment}")

    def problems(self):
        return list(python_problems(self.layout, [self.unit, self.root / "none"], self.root))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.mark.parametrize("program", ["python3", "python3.11"])
def test_before_an_upgrade_nothing_is_wrong(host, program):
    host.have("3.11")
    environment = host.make("e", "3.11", program)
    host.release("e")
    assert interpreter_of(environment) == Interpreter("3.11", "3.11")
    assert (host.problems(), broken_environments(host.layout)) == ([], {})


@pytest.mark.parametrize(
    ("program", "after", "why"),
    [
        ("python3", ("3.11", "3.13"), "for Python 3.11, which starts 3.13 now"),
        ("python3", ("3.13",), "for Python 3.11, which starts 3.13 now"),
        ("python3.11", ("3.13",), "for Python 3.11, which this host lost"),
    ],
)
def test_an_environment_that_does_not_find_its_packages_is_told(host, program, after, why):
    host.make("e", "3.11", program)
    host.release("e")
    host.have(*after)
    (problem,) = host.problems()
    assert why in problem
    assert "no worker can start any more" in problem
    assert "run `ansible-playbook site.yml`, which installs them for Python 3.13" in problem
    assert why in broken_environments(host.layout)["e"]


def test_an_environment_of_the_old_python_works_as_long_as_that_is_there(host):
    host.make("e", "3.11", "python3.11")
    host.release("e")
    host.have("3.11", "3.13")
    (problem,) = host.problems()
    assert "the workers run on Python 3.11, and this Debian's own is 3.13" in problem
    assert "before `apt autoremove` takes the old one away" in problem
    assert broken_environments(host.layout) == {}


def test_only_what_workers_are_started_with_counts(host):
    host.make("old", "3.11", "python3.11")
    host.make("new", "3.13", "python3.13")
    host.have("3.13")
    assert host.problems() == []


def test_what_does_not_say_its_version_is_nobodys_problem(host):
    host.have("3.13")
    environment = host.make("e", "3.11", "python3")
    host.release("e")
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert (interpreter_of(environment), host.problems()) == (None, [])
    (environment / "pyvenv.cfg").unlink()
    assert (interpreter_of(environment), broken_environments(host.layout)) == (None, {})


def test_an_interpreter_of_a_wheel_is_not_known(host):
    """A wheel's scripts go where the environment's interpreter is."""
    host.have("3.13")
    environment = host.make("e", "3.11", "python3")
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").touch()
    assert (interpreter_of(environment), host.problems()) == (None, [])


def test_a_link_to_itself_leads_nowhere(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert version_of(tmp_path / "loop") == version_of(tmp_path / "none") == ""
