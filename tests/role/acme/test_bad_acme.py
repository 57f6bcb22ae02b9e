"""What keeps a site from having a CA's certificate is said before anything is changed."""

import pytest

from aroundtheworld_controller.nginx.acme import lineage_problems
from tests.role.refusals import case, problems_with

GOOD = {
    "aroundtheworld_tls": "acme",
    "aroundtheworld_server_names": ["www.example.org", "example.org"],
    "aroundtheworld_acme_email": "ada@example.org",
}
NAMES = "Give host names that lead to the host, as in 'www.example.org'"


def named(name, why):
    return case(
        name,
        {"aroundtheworld_server_names": ["www.example.org", name]},
        f"aroundtheworld_server_names[1]: {name!r} is not allowed with aroundtheworld_tls 'acme'; ",
        f"{why}. {NAMES}",
    )


ONE_PROBLEM = [
    named("_", "a certificate is for names"),
    named("192.0.2.1", "a certificate is for names and not for addresses"),
    named("*.example.org", "for a wildcard, a CA wants a record in DNS and not a file"),
    named("localhost", "no CA gives a certificate for it"),
    named("_shop.example.org", "no CA gives a certificate for it"),
    case(
        "another port",
        {"aroundtheworld_http_port": 8080},
        "aroundtheworld_http_port: 8080 is not allowed with aroundtheworld_tls 'acme'; it must ",
        "where the CA looks whether the names lead to the host",
    ),
    *(
        case(
            f"the directory {url!r}",
            {"aroundtheworld_acme_directory": url},
            f"aroundtheworld_acme_directory: {url!r} is not allowed; it must be the URL of a CA's ",
        )
        for url in (
            "",
            "http://ca.example.org/directory",
            "https://ca.example.org/a b",
            "https:///directory",
            "https://ca.example.org/directory\n",
        )
    ),
    *(
        case(
            f"the address {email!r}",
            {"aroundtheworld_acme_email": email},
            f"aroundtheworld_acme_email: {email!r} is not allowed; it must be one address",
        )
        for email in ("ada", "@example.org", "ada@localhost", "ada@example.org bob@example.org")
    ),
]


@pytest.mark.parametrize(("changes", "parts"), ONE_PROBLEM)
def test_a_mistake_is_named_with_what_is_allowed(changes, parts):
    (problem,) = problems_with({**GOOD, **changes})
    for part in parts:
        assert part in problem


@pytest.mark.parametrize("email", ["", "ada@example.org"])
def test_a_site_with_names_may_have_a_certificate_with_and_without_an_address(email):
    assert problems_with({**GOOD, "aroundtheworld_acme_email": email}) == []


def test_without_acme_nothing_of_it_matters():
    changes = {"aroundtheworld_tls": "none", "aroundtheworld_server_names": ["_"]}
    assert problems_with({**GOOD, **changes, "aroundtheworld_acme_directory": ""}) == []


@pytest.mark.parametrize(("mode", "foreign", "count"), [
    ("acme", True, 1), ("acme", False, 0), ("none", True, 0),
])  # fmt: skip
def test_a_certificate_of_the_same_name_that_is_not_the_roles_is_named(mode, foreign, count):
    variables = {"aroundtheworld_tls": mode, "aroundtheworld_site": "shop"}
    problems = list(lineage_problems(variables, {"acme": {"is_foreign": foreign}}, "www1"))
    assert len(problems) == count
    for problem in problems:
        assert problem.startswith("www1: certbot has a certificate aroundtheworld-shop that")
