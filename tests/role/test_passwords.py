"""Passwords become hashes that nginx can ask for, and the same ones in each run."""

import pytest

from aroundtheworld_controller.nginx.passwords import hashed, password_files, sha512_crypt
from tests.role.refusals import pools, problems_with


@pytest.mark.parametrize(
    ("password", "expected"),
    [  # from the C library
        ("Hello world!", "$6$rounds=5000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBn"
         "IFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
        ("This is just a test", "$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoN"
         "eKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0"),
        ("a very much longer text to encrypt.  This one even stretches over morethan one line.",
         "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs6"
         "6x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1"),
    ],
)  # fmt: skip
def test_a_hash_is_that_of_the_c_library(password, expected):
    _, _, rounds, salt, _ = expected.split("$")
    assert sha512_crypt(password, salt, int(rounds.removeprefix("rounds="))) == expected


def test_a_password_has_the_same_hash_in_each_run_and_another_one_for_each_person():
    assert hashed("secret", "shop:ada") == hashed("secret", "shop:ada")
    hashes = {hashed("secret", person) for person in ("shop:ada", "shop:grace", "blog:ada")}
    assert len({text.split("$")[3] for text in hashes}) == 3
    assert hashed("$2y$05$abc", "shop:ada") == "$2y$05$abc"


def test_a_pool_that_asks_for_passwords_has_a_file_of_its_own():
    asks = [{"name": "admin", "basic_auth": ["ada"]}, {"name": "public", "basic_auth": []}]
    passwords = {"ada": "secret", "grace": "of another pool"}
    (file,) = password_files("shop", asks, passwords).items()
    assert file == ("/etc/shop/passwords/admin", f"ada:{hashed('secret', 'shop:ada')}\n")


SECRET = "48151623"


@pytest.mark.parametrize(
    ("passwords", "expected"),
    [
        ({}, "aroundtheworld_pools[1].basic_auth[0]: 'ada' has no password; add the name to"),
        ({"Ada": SECRET}, "aroundtheworld_pools[1].basic_auth[0]: 'ada' has no password"),
        ({"ada": SECRET, "a:b": SECRET}, "aroundtheworld_passwords: the name 'a:b' is not allowed"),
        ({"ada": int(SECRET)}, "aroundtheworld_passwords.ada: it must be a text of one line"),
        ({"ada": ""}, "aroundtheworld_passwords.ada: it must be a text of one line"),
        ({"ada": f"{SECRET}\n"}, "aroundtheworld_passwords.ada: it must be a text of one line"),
        ({"ada": f"$1${SECRET}"}, "aroundtheworld_passwords.ada: it begins as a hash does"),
        ({"ada": f"{{SHA}}{SECRET}"}, "aroundtheworld_passwords.ada: it begins as a hash does"),
        ({"ada": SECRET * 64}, "aroundtheworld_passwords.ada: it is too long; at most 511 bytes"),
        ([SECRET], "aroundtheworld_passwords: a value of type list is not allowed"),
    ],
)
def test_a_mistake_is_named_without_the_password(passwords, expected):
    changes = pools(admin={"basic_auth": ["ada"]}) | {"aroundtheworld_passwords": passwords}
    (problem,) = problems_with(changes)
    assert problem.startswith(expected)
    assert SECRET not in problem


def test_passwords_and_hashes_are_accepted():
    passwords = {"ada": "pässword with $ and {", "grace@home": "$y$j9T$abc$def", "b": "x" * 511}
    changes = pools(admin={"basic_auth": ["ada", "grace@home", "b"]})
    assert problems_with(changes | {"aroundtheworld_passwords": passwords}) == []
