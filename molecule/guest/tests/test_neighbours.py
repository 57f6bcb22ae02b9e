"""The site has come, and nobody else on the host notices."""

import json
import secrets

import pytest

from tests import readme

LOG = "/var/log/nginx/aroundtheworld/access.log"


def test_the_site_answers_under_its_own_name(ask):
    assert ask("/").text == "edition first\n"
    assert ask("/admin").text == "administration of edition first\n"


def test_everybody_else_is_as_before(neighbours_are_well):
    neighbours_are_well()


def test_the_role_makes_what_the_readme_says_and_nothing_else(look, difference):
    made = difference(look())

    def is_made(pattern):
        return any(readme.is_covered(path, pattern, "aroundtheworld") for path in made)

    unlisted = [
        path
        for path in made
        if not any(readme.is_covered(path, row, "aroundtheworld") for row in readme.promised())
    ]
    assert unlisted == []
    # Not looked for: what `look.py` leaves out.
    listed = [row for row in readme.always() if not row.startswith(("/run/", "/var/log/"))]
    assert [row for row in listed if not is_made(row)] == []


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
