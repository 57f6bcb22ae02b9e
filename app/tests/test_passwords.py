from __future__ import annotations

import pytest

from aroundtheworld.passwords import Passwords

PASSWORDS = Passwords()
HASH = PASSWORDS.hashed("correct horse battery")


@pytest.mark.parametrize(
    ("password_hash", "password", "fits"),
    [
        pytest.param(HASH, "correct horse battery", True, id="the same"),
        pytest.param(HASH, "Correct horse battery", False, id="another"),
        pytest.param(HASH, "", False, id="none"),
        (None, "correct horse battery", False),
        # The hash that stands in for a missing hash is that of an empty password.
        (None, "", False),
        ("no hash at all", "correct horse battery", False),
    ],
)
def test_a_password_fits_its_own_hash_only(loop, password_hash, password, fits):
    assert loop.run_until_complete(PASSWORDS.match(password_hash, password)) is fits


def test_the_same_password_never_hashes_the_same():
    assert PASSWORDS.hashed("correct horse battery") != HASH
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
