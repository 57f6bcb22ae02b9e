"""Which host names are said to lead elsewhere, and which the CA decides."""

import os
import socket

import pytest
from ansible.module_utils.aroundtheworld.acme import preflight

HERE, ELSEWHERE = "192.0.2.1", "2001:db8::1"
ADDRESSES = {
    "www.example.org": [HERE],
    "both.example.org": [HERE, ELSEWHERE],
}


@pytest.fixture(autouse=True)
def dns(monkeypatch):
    def addresses_of(name):
        if name == "slow.example.org":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if name not in ADDRESSES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ADDRESSES[name]

    monkeypatch.setattr(preflight, "addresses_of", addresses_of)


def answering(webroot, elsewhere):
    def fetch(address, name, path):
        if address == HERE:
            return 200, (webroot / path.lstrip("/")).read_text()
        if isinstance(elsewhere, Exception):
            raise elsewhere
        return elsewhere

    return fetch


def test_names_that_lead_here_are_no_problem_and_nothing_stays(tmp_path):
    webroot = tmp_path / "acme"
    assert preflight.problems(["www.example.org"], webroot, answering(webroot, None)) == []
    assert [path for path in webroot.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("response", [(404, "no"), (200, "another"), (200, "")])
def test_a_name_of_which_an_address_leads_elsewhere_is_named(tmp_path, response):
    names = ["www.example.org", "both.example.org"]
    problems = preflight.problems(names, tmp_path, answering(tmp_path, response))
    assert problems == [
        f"both.example.org leads to {ELSEWHERE}, where something else answers (with status "
        f"{response[0]})"
    ]


def test_a_name_without_an_address_is_named(tmp_path):
    problems = preflight.problems(["new.example.org"], tmp_path, answering(tmp_path, None))
    assert problems == ["new.example.org has no address in DNS"]


@pytest.mark.parametrize(
    "response", [TimeoutError(), ConnectionRefusedError(), (301, ""), (308, "https://")]
)
def test_what_this_host_cannot_know_the_ca_decides(tmp_path, response):
    names = ["both.example.org", "slow.example.org"]
    assert preflight.problems(names, tmp_path, answering(tmp_path, response)) == []


def test_the_challenges_are_readable_whatever_the_umask(tmp_path, umask_077):
    webroot = tmp_path / "acme"
    with preflight.token_file(webroot) as token:
        file = webroot / preflight.CHALLENGES / token
        paths = (file, *list(file.parents)[:3])
        assert [path.stat().st_mode & 0o777 for path in paths] == [0o644, 0o755, 0o755, 0o755]


@pytest.fixture
def umask_077():
    before = os.umask(0o077)
    yield
    os.umask(before)
