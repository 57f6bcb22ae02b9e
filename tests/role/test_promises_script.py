"""What the command SITE-run and the pages promise: the script runs, and systemd-run is a stub."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.migration_check import Process

from tests.render import ADMIN, PUBLIC, RELEASE_ID, evaluate, render, variables_for
from tests.role.process_promises import (
    HOME,
    PROCESS,
    RELEASE,
    RELEASES,
    SANDBOX,
    VIRTUAL_ENVIRONMENT,
    properties,
)
from tests.role_files import CHECKOUT

STUB = f"""#!{sys.executable}
import json, os, sys
json.dump({{"words": sys.argv, "process": os.getpid()}}, open(os.environ["CALLED"], "w"))
sys.exit(7)
"""

# What systemd-run gets; HOME and RELEASE are paths, UNIT the transient unit's name.
PLACES = {
    RELEASE: "RELEASE",
    VIRTUAL_ENVIRONMENT: "RELEASE/venv/bin",
    HOME: "HOME",
    "%d": "/run/credentials/UNIT.service",
}
OPTIONS = {
    "its output is the command's only": ["--quiet"],
    "it ends with the command, and with its status": ["--wait"],
    "it leaves no failed unit behind": ["--collect"],
    "what is piped in and out is the command's": ["--pipe"],
    "two of them at once have units of their own": ["--unit=UNIT"],
} | {promise: properties(text, PLACES) for promise, text in (RELEASES | PROCESS | SANDBOX).items()}


class Script:
    """The command SITE-run of a site on this machine."""

    def __init__(self, directory, variables=None):
        self.home = directory / "home"
        self.release = self.home / "releases" / RELEASE_ID
        self.release.mkdir(parents=True)
        self.current = self.home / "current"
        self.current.symlink_to(self.release)
        self.called = directory / "called.json"
        self.path = directory / "aroundtheworld-run"
        self.path.write_text(
            render(
                "run.sh.j2",
                variables_for({"aroundtheworld_home": str(self.home), **(variables or {})}),
            )
        )
        stub = directory / "bin" / "systemd-run"
        stub.parent.mkdir()
        stub.write_text(STUB)
        for program in (self.path, stub):
            program.chmod(0o755)
        self.environment = {"PATH": f"{stub.parent}:/usr/bin:/bin", "CALLED": str(self.called)}

    def run(self, *words, program=None):
        """Return the options and the command that systemd-run got, and how the script ended."""
        self.done = subprocess.run(
            program or [self.path, *words],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if not self.called.exists():
            return [], []
        call = json.loads(self.called.read_text())
        unit = f"aroundtheworld-run-{call['process']}"
        known = {str(self.release): "RELEASE", str(self.home): "HOME", unit: "UNIT"}
        options = []
        for word in call["words"][1 : call["words"].index("--")]:
            for text, name in known.items():
                word = word.replace(text, name)
            options.append(word)
        return options, call["words"][call["words"].index("--") + 1 :]


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    return Script(tmp_path_factory.mktemp("script"))


@pytest.fixture(scope="module")
def options(script):
    return script.run("python", "-m", "shop")[0]


@pytest.mark.parametrize("promise", OPTIONS)
def test_a_command_runs_as_workers_do(options, promise):
    assert set(OPTIONS[promise]) <= set(options)


def test_each_option_has_a_promise(options):
    assert sorted(options) == sorted(option for each in OPTIONS.values() for option in each)


def test_what_opens_the_sandbox_of_a_pool_opens_it_for_a_command_too(tmp_path):
    paths = ["/srv/a b", "/srv/$c", "/srv/$(id)${id}", "'/srv/`id`'", r'"/srv/\"d\\e"', "/50%%"]
    unit = {"MemoryDenyWriteExecute": False, "BindReadOnlyPaths": paths}
    script = Script(tmp_path, {"aroundtheworld_pools": [PUBLIC, {**ADMIN, "unit": unit}]})
    options, _ = script.run("python")
    # Signs of the shell mean themselves, and systemd-run reads the quotes.
    opened = [f"BindReadOnlyPaths={path.replace('%%', '%')}" for path in paths]
    lines = [*opened, "MemoryDenyWriteExecute=no"]
    assert options[-len(lines) :] == [f"--property={line}" for line in lines]


def test_what_opens_the_sandbox_of_a_pool_opens_it_for_the_check_of_a_migration():
    unit = {"BindReadOnlyPaths": ["/srv/a b", "/srv/$c", "/srv/${id}", '"/srv/d"', "/50%%"]}
    variables = variables_for({"aroundtheworld_pools": [PUBLIC, {**ADMIN, "unit": unit}]})
    process = Process(evaluate("__aroundtheworld_transient", variables), [])
    found = process.properties("unit", Path("/r"), Path("/r/venv"), RELEASE_ID)
    opened = [path.replace("%%", "%") for path in unit["BindReadOnlyPaths"]]
    assert found[-5:] == [f"--property=BindReadOnlyPaths={path}" for path in opened]


@pytest.mark.parametrize(
    "words",
    [
        ["python", "-m", "shop"],
        ["sh", "-c", 'echo "$HOME" ${X} $$'],
        ["-i", "A=b", "--", "%h", "ä", "a$$b", "$", "\x01"],
        ["say", "", "two words", "a\n", "\n\n", "*", "a\\nb", "'", '"'],
    ],
)
def test_the_words_of_a_command_arrive_as_they_were(script, words):
    _, command = script.run(*words)
    # systemd reads $$ as $.
    assert [word.replace("$$", "$") for word in command] == ["/usr/bin/env", "--", *words]
    assert all(word.count("$") % 2 == 0 for word in command)
    assert script.done.returncode == 7


def test_what_systemd_cannot_pass_on_is_refused_in_a_sentence(script):
    script.called.unlink(missing_ok=True)
    assert script.run("python", b"caf\xe9.txt") == ([], [])
    assert (script.done.returncode, script.done.stdout) == (2, "")
    assert script.done.stderr.startswith("aroundtheworld-run: an argument is not UTF-8")


def test_a_terminal_is_the_commands(script):
    options, _ = script.run(program=["script", "-qec", f"{script.path} sh", "/dev/null"])
    assert "--pty" in options
    assert "--pipe" not in options


def test_without_a_command_it_says_how_it_is_used(script):
    script.called.unlink(missing_ok=True)
    assert script.run() == ([], [])
    assert (script.done.returncode, script.done.stdout) == (2, "")
    assert script.done.stderr.startswith("usage: aroundtheworld-run COMMAND")


def test_before_the_first_deployment_it_says_what_is_missing(tmp_path):
    script = Script(tmp_path)
    script.current.unlink()
    assert script.run("sh") == ([], [])
    assert (script.done.returncode, script.done.stdout) == (1, "")
    assert script.done.stderr == (
        f"aroundtheworld-run: nothing is deployed yet: {script.home}/current is missing\n"
    )


def test_a_step_that_fails_does_not_run_half_a_command(tmp_path):
    script = Script(tmp_path)
    sed = tmp_path / "bin" / "sed"
    sed.write_text("#!/bin/sh\nexit 3\n")
    sed.chmod(0o755)
    assert script.run("rm", "-r", "old") == ([], [])
    assert script.done.returncode == 3


# --- Pages ---


class Page(HTMLParser):
    """The elements of a page with their attributes, its text and its styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], {}, []
        self.feed(text)

    def handle_decl(self, declaration):
        self.elements.append((declaration, {}))

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.open.append(name)

    def handle_endtag(self, name):
        # Of what HTML closes at the end, only these are in the pages.
        while self.open.pop() != name:
            pass

    def handle_data(self, text):
        name = self.open[-1] if self.open else ""
        self.text[name] = self.text.get(name, "") + " ".join(text.split())


PAGE = {
    "it is read by the standard": ("doctype html", {}),
    "a screen reader speaks its language": ("html", {"lang": "en"}),
    "its characters are those that were written": ("meta", {"charset": "utf-8"}),
    "a telephone does not shrink it": (
        "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"},
    ),
    "no search engine keeps it": ("meta", {"name": "robots", "content": "noindex"}),
    "a reader can go to the content": ("main", {}),
}  # fmt: skip
OPEN_ENDED = {"maintenance": {"reason": "", "until": ""}}
BUSY = ("This part of the site is busy", "Please try again in a few seconds.")
# The role's own pages, and the game's.
WORDS = {
    "error.html.j2": BUSY,
    "maintenance.html.j2": ("We are working on this site", "It will be back in a few minutes."),
    f"{CHECKOUT}/app/error.html.j2": BUSY,
    f"{CHECKOUT}/app/maintenance.html.j2": (
        "All flights are grounded", "It will be back in a few minutes."
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=WORDS)
def page(request):
    error = {"status": "503", "title": BUSY[0], "sentence": BUSY[1], "request_id": "0123"}
    return request.param, Page(
        render(request.param, {**variables_for({}), "error": error, **OPEN_ENDED})
    )


@pytest.mark.parametrize("promise", PAGE)
def test_a_page_keeps_its_promise(page, promise):
    assert PAGE[promise] in [(name.lower(), more) for name, more in page[1].elements]


def test_a_page_says_what_is_the_matter_in_the_visitors_colours(page):
    name, read = page
    heading, sentence = WORDS[name]
    assert read.text["h1"] == heading
    assert sentence in read.text["p"]
    assert read.text["title"]
    assert "color-scheme: light dark" in read.text["style"]
    # Nothing has to be loaded from a site that is closed, and no icon is asked for.
    fetched = [more for _, more in read.elements if {"src", "href"} & more.keys()]
    assert fetched == [{"rel": "icon", "href": "data:,"}]
