"""The site has come, and nobody else on the host notices."""

import json

import pytest

LOG = "/var/log/nginx/aroundtheworld.access.log"


def test_the_site_answers_under_its_own_name(ask):
    assert ask("/").text == "edition first\n"
    assert ask("/admin").text == "administration of edition first\n"


def test_everybody_else_is_as_before(neighbours_are_well):
    neighbours_are_well()


@pytest.mark.parametrize("person", ["ada", "deploy"])
def test_people_log_in_with_their_keys(log_in, person):
    shell = {"ada": "/bin/bash", "deploy": "/bin/sh"}[person]
    said = log_in(person, 'echo "$SHELL $HOME"; cat diary').splitlines()
    assert said == [f"{shell} /home/{person}", f"Only {person} reads this."]


@pytest.mark.parametrize("path", ["/admin", "//admin", "//admin/x", "/x//../admin", "/%61dmin"])
def test_every_spelling_of_an_admin_path_reaches_the_admin_pool(host, ask, path):
    # Beside a neighbour who merges no slashes, as the address's default server.
    ask(f"{path}?probe")
    logged = json.loads(host.check_output(f"tail --lines=1 {LOG}"))
    assert (logged["uri"], logged["upstream"]) == (f"{path}?probe", "127.0.0.1:10004")
