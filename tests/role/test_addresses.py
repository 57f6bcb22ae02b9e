"""What is secret in an address is not shown; everything else is."""

import pytest

from aroundtheworld_controller.addresses import shown, shown_with


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://host/shop.git", "https://host/shop.git"),
        ("https://host:8443/shop.git", "https://host:8443/shop.git"),
        ("https://ada:lovelace@host/shop.git", "https://host/shop.git"),
        ("https://ghp_token@host/shop.git", "https://host/shop.git"),
        ("https://ada:love/lace@host/shop.git", "https://host/shop.git"),
        ("https://ada:12/34@host/shop.git", "https://host/shop.git"),
        ("https://to/ken@host/shop.git", "https://host/shop.git"),
        ("https://ada:l@ve/l@ce@host:8443/shop.git", "https://host:8443/shop.git"),
        ("https://ada:love?l#ce@host/shop.git", "https://host/shop.git"),
        ("https://ada:lo%40ve%2Flace@host/shop.git", "https://host/shop.git"),
        ("ssh://git@host:2222/shop.git", "ssh://host:2222/shop.git"),
        ("git@host:shop.git", "git@host:shop.git"),
        ("ada:lovelace@host:shop.git", "host:shop.git"),
        ("ada:love/lace@host:shop.git", "host:shop.git"),
        ("https://host/shop.tgz?token=abc", "https://host/shop.tgz?token=…"),
        ("https://host/shop.tgz?a=b&token=abc=&c", "https://host/shop.tgz?a=…&token=…&…"),
        ("https://host/shop.tgz?abc", "https://host/shop.tgz?…"),
        ("https://host/shop.tgz#sha=abc", "https://host/shop.tgz#sha=…"),
        ("https://host/shop.tgz?mail=ada@example.org", "https://host/shop.tgz?mail=…"),
        ("https://host/shop@1.2.tgz", "https://host/shop@1.2.tgz"),
        ("https://ada:lovelace@host/x?token=abc#f", "https://host/x?token=…#…"),
        ("HTTPS://ada:lovelace@host/x", "HTTPS://host/x"),
        ("/srv/shop@home:1/x", "/srv/shop@home:1/x"),
        ("codecommit::eu-west-1://ada@shop", "codecommit::eu-west-1://shop"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address, expected):
    assert shown(address) == expected


def test_addresses_in_a_text_are_shown_so_and_the_text_stays():
    text = (
        "fatal: unable to access 'https://ada:love/lace@host/shop.git/': Could not resolve host\n"
        "Looking in links: /opt/wheels, https://token@index/simple?key=abc\n"
        "see also ada@example.org: 12:30"
    )
    assert shown(text) == (
        "fatal: unable to access 'https://host/shop.git/': Could not resolve host\n"
        "Looking in links: /opt/wheels, https://index/simple?key=…\n"
        "see also ada@example.org: 12:30"
    )


@pytest.mark.parametrize(
    "address",
    [
        "https://ada:love%2Flace@host/shop.git",
        "https://love%2Flace@host/shop.git",
        "https://host/shop.git?token=love%2Flace",
        "https://host/shop.git?love%2Flace",
        "ada:love%2Flace@host:shop.git",
    ],
)
@pytest.mark.parametrize("form", ["love%2Flace", "love/lace"])
def test_what_a_program_makes_of_a_secret_is_not_shown_either(address, form):
    message = shown_with(address, f"remote: {form} is not the password of ada")
    assert "love" not in message
    assert message.endswith("is not the password of ada")


def test_a_short_password_does_not_garble_the_text():
    assert shown_with("https://ada:a@host/", "a bad day") == "a bad day"
