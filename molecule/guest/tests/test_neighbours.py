"""The site has come, and nobody else on the host notices."""

import json
import re
import secrets

import pytest

LOG = "/var/log/nginx/aroundtheworld/access.log"


def test_the_site_answers_under_its_own_name(ask):
    assert ask("/").text == "edition first\n"
    assert ask("/admin").text == "administration of edition first\n"


def test_everybody_else_is_as_before(neighbours_are_well):
    neighbours_are_well()


@pytest.fixture(scope="module")
def promised(checkout):
    """The README's table: patterns of paths, each with its description. Each covers what is
    below it, too.
    """
    text = (checkout / "README.md").read_text()
    _, heading, section = text.partition("What it makes on the host\n")
    assert heading, "the README does not say what the role makes on the host"
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section.partition("\n#")[0], re.MULTILINE)
    return {path: text for cell, text in rows for path in re.findall(r"`(/[^`]+)`", cell)}


def pattern(path):
    """A path in which `<port>` and `*` stand for any name, as an expression."""
    parts = re.split(r"<\w+>|\*", path.replace("<site>", "aroundtheworld").rstrip("/"))
    return re.compile("[^/]+".join(map(re.escape, parts)) + "(/.*)?")


def test_the_role_makes_what_the_readme_says_and_nothing_else(promised, look, difference):
    made = difference(look())
    unlisted = [path for path in made if not any(pattern(row).fullmatch(path) for row in promised)]
    assert unlisted == []
    # Not looked for: what `look.py` leaves out, and what a site has only if it is set up so.
    listed = [
        row
        for row, text in promised.items()
        if not row.startswith(("/run/", "/var/log/")) and ", if " not in text
    ]
    missing = [row for row in listed if not any(pattern(row).fullmatch(path) for path in made)]
    assert missing == []


@pytest.mark.parametrize("person", ["ada", "deploy"])
def test_people_log_in_with_their_keys(log_in, person):
    shell = {"ada": "/bin/bash", "deploy": "/bin/sh"}[person]
    output = log_in(person, 'echo "$SHELL $HOME"; cat diary').splitlines()
    assert output == [f"{shell} /home/{person}", f"Only {person} reads this."]


@pytest.mark.parametrize("path", ["/admin", "//admin", "//admin/x", "/x/../admin", "/%61dmin"])
def test_every_spelling_of_an_admin_path_reaches_the_admin_pool(host, ask, path):
    # Beside a neighbour who merges no slashes, as the address's default server.
    query = f"probe={secrets.token_hex(8)}"
    ask(f"{path}?{query}")
    # nginx writes the line after the response.
    search = f"until grep {query} {LOG}; do sleep 0.05; done"
    logged = json.loads(host.check_output("timeout 10 sh -c %s", search))
    assert (logged["uri"], logged["upstream"]) == (f"{path}?{query}", "127.0.0.1:10004")
