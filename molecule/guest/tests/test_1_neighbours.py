"""Nobody else on the host notices that the site has come."""

import http.client
from urllib.parse import urlsplit

import pytest

SITE = "site.example.org"
NEIGHBOUR = "neighbour.example.org"


@pytest.fixture(scope="module")
def ask(published):
    """Returns a function that asks a site by its name, as `ask("/", SITE)`: status and text."""

    def ask(path, name, port=80):
        connection = http.client.HTTPConnection(urlsplit(published(port)).netloc, timeout=10)
        connection.request("GET", path, headers={"Host": name})
        response = connection.getresponse()
        return response.status, response.read().decode()

    return ask


def test_the_site_answers_under_its_own_name(ask):
    assert ask("/", SITE) == (200, "edition first\n")
    assert ask("/admin", SITE) == (200, "administration of edition first\n")


def test_the_neighbours_answer_as_before(ask):
    assert ask("//x", NEIGHBOUR) == (200, "the neighbour answers //x\n")
    assert ask("/", "anything", port=8081) == (200, "the operator's own page\n")
