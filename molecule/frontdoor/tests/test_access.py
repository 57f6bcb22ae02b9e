"""Who may ask the game's admin side for what, on a host whose operator limits it."""

import base64
import json

import pytest

OFFICE = "admin.example.org"
PASSWORD = "a long password for tests only"
POOLS = [
    {
        "name": "public",
        "ports": [10001, 10002, 10003],
        "paths": ["/"],
        "rate": "100/s",
        "burst": 1000,
        "max_body_size": "1k",
    },
    {
        "name": "admin",
        "ports": [10004],
        "paths": ["/admin"],
        "blocking": True,
        "server_names": [OFFICE],
        "allow": ["127.0.0.0/8", "::1"],
        "basic_auth": ["ada"],
        "rate": "1/m",
        "burst": 9,
    },
]
FILE = "/etc/aroundtheworld/passwords/admin"


@pytest.fixture(scope="module")
def limits(variables):
    """Return what makes the operator's wishes an option of ansible-playbook."""
    names = ["www.example.org", "example.org", OFFICE]
    return variables(pools=POOLS, server_names=names, passwords={"ada": PASSWORD})


@pytest.fixture(scope="module")
def unlimited_afterwards(host, ansible_playbook):
    """Have the site without limits again, whatever the tests do."""
    yield
    if host.file(FILE).exists:
        assert ansible_playbook().returncode == 0


@pytest.fixture
def limited(host, ansible_playbook, limits, unlimited_afterwards):
    """Have the site with these limits."""
    if not host.file(FILE).exists:
        assert ansible_playbook(limits).returncode == 0


@pytest.fixture
def unlimited(host, ansible_playbook, unlimited_afterwards):
    """Have the site without limits."""
    if host.file(FILE).exists:
        assert ansible_playbook().returncode == 0


# Requests paths on the host itself, from an address and with a password of the test's choice.
ASK = """
import base64, http.client, json, sys
statuses = []
for path, name, source, person in json.loads(sys.argv[1]):
    connection = http.client.HTTPConnection("127.0.0.1", 80, 10, (source, 0))
    headers = {"Host": name}
    if person:
        headers["Authorization"] = "Basic " + base64.b64encode(person.encode()).decode()
    connection.request("GET", path, headers=headers)
    statuses.append(connection.getresponse().status)
    connection.close()
print(json.dumps(statuses))
"""


@pytest.fixture
def on_the_host(host):
    """Return a function that returns the statuses of requests for paths on the host itself."""

    def ask(*paths, name=OFFICE, source="127.0.0.1", person=""):
        requests = [[path, name, source, person] for path in paths]
        return json.loads(host.check_output("python3 -c %s %s", ASK, json.dumps(requests)))

    return ask


ADA = f"ada:{PASSWORD}"
LOGIN, STYLE = "/admin/login", "/admin/static/style.css"


def test_limits_come_without_a_lost_request_and_without_a_password_on_the_host(
    host, ansible_playbook, visited, http, limits, unlimited
):
    with visited(http, "/", headers={"Host": "www.example.org"}) as outcomes:
        run = ansible_playbook(limits, "--diff", "-v")
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    assert PASSWORD not in run.output
    assert "$6$" not in run.output
    again = ansible_playbook(limits, "--check", "--diff")
    assert (again.returncode, again.changed) == (0, 0)
    found = host.run("grep --recursive --fixed-strings --files-with-matches %s /etc /run /var/log "
                     "/var/lib/tornado", PASSWORD)  # fmt: skip
    assert found.stdout == ""
    file = host.file(FILE)
    assert (file.mode, file.user, file.group) == (0o640, "root", "www-data")
    assert file.content_string.startswith("ada:$6$rounds=")


def test_the_admin_side_is_on_its_own_name_for_its_own_people(limited, get, on_the_host):
    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}):
        for path in (LOGIN, STYLE):
            assert get(path, name=OFFICE, headers=headers).status == 403
    assert on_the_host(LOGIN, STYLE) == [401, 401]
    assert on_the_host(LOGIN, person="ada:guessed") == [401]
    assert on_the_host(LOGIN, STYLE, "/", person=ADA) == [200, 200, 404]
    assert on_the_host(LOGIN, STYLE, person=ADA, name="www.example.org") == [404, 404]
    assert on_the_host("/", name="www.example.org") == [200]


def test_who_guesses_passwords_is_slowed_down(limited, on_the_host):
    found = on_the_host(*[LOGIN] * 12, source="127.0.0.7", person="ada:guessed")
    assert found == [401] * 10 + [429] * 2
    assert on_the_host(LOGIN, source="127.0.0.8", person=ADA) == [200]


def test_a_body_of_the_public_side_is_as_large_as_that_allows(limited, get):
    credentials = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    headers = {"Content-Length": "1025", "Authorization": f"Basic {credentials}"}
    assert get("/login", method="POST", headers=headers).status == 413


def test_limits_go_without_a_lost_request(limited, host, ansible_playbook, visited, http, get):
    with visited(http, "/", headers={"Host": "www.example.org"}) as outcomes:
        run = ansible_playbook()
    assert (run.returncode, set(outcomes)) == (0, {"200"})
    assert not host.file(FILE).exists
    assert get("/admin/login").status == 200
