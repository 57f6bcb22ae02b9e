from __future__ import annotations

import pytest

from aroundtheworld.app import make_app
from aroundtheworld.config import Config, ConfigError

GOOD = {"DATABASE_URL": "sqlite:////nowhere/game.db", "COOKIE_SECRET": "s" * 32}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "game.db"}, "DATABASE_URL cannot be read as postgresql://"),
        (
            {"DATABASE_URL": "postgres://u:48@1@h/x"},
            "DATABASE_URL cannot be .* @ is written as %40",
        ),
        ({"DATABASE_URL": "postgres://u:p@h:48a/x"}, "DATABASE_URL cannot be read"),
        ({"DATABASE_URL": "mysql://u:4815@h/x"}, "DATABASE_URL begins with 'mysql'. It must be"),
        ({"DATABASE_URL": "postgres://h/x?pgbouncer=4815"}, "the option 'pgbouncer', which Post"),
        ({"COOKIE_SECRET": ""}, "Neither COOKIE_SECRET_FILE nor COOKIE_SECRET is set"),
        ({"COOKIE_SECRET": "short"}, "has 5 characters; at least 32"),
        ({"COOKIE_SECRET_FILE": "/nowhere/secret"}, "COOKIE_SECRET_FILE cannot be read"),
        (
            {"COUNTRY_FACTS_URL": "ftp://facts.example"},
            "COUNTRY_FACTS_URL is 'ftp://facts.example'",
        ),
        ({"COUNTRY_FACTS_URL": "https://me@facts.example"}, "http or https URL without user"),
    ],
)
def test_what_is_missing_is_said(change, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        Config.from_environment(GOOD | change)
    assert "48" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada:love@db.example/game?sslmode=require&channel_binding=require",
        "postgresql+psycopg://ada@/game?host=/run/postgresql&application_name=game",
        "postgresql:///game?host=a&host=b&target_session_attrs=read-write",
        "sqlite:///game.db?timeout=3",
    ],
)
def test_a_database_is_named_as_its_provider_does(url):
    assert Config.from_environment(GOOD | {"DATABASE_URL": url}).database_url == url


def test_the_secret_comes_from_a_file_before_the_environment(tmp_path):
    file = tmp_path / "secret"
    file.write_text("f" * 40 + "\n")
    config = Config.from_environment(GOOD | {"COOKIE_SECRET_FILE": str(file)})
    assert config.cookie_secret == "f" * 40
    assert "fff" not in repr(config)


def test_a_secret_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"\xff" * 40)
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.from_environment(GOOD | {"COOKIE_SECRET_FILE": str(file)})


@pytest.mark.parametrize(
    ("pool", "serves"), [(None, True), ("", True), ("admin", True), ("public", False), ("x", False)]
)
def test_only_the_admin_pool_and_development_serve_admin(pool, serves):
    environ = GOOD | ({} if pool is None else {"AROUNDTHEWORLD_POOL": pool})
    assert Config.from_environment(environ).serves_admin is serves


def test_making_the_app_needs_no_database():
    make_app(Config.from_environment(GOOD)).database.close()
