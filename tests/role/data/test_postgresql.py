"""A URL reaches PostgreSQL's programs without being in the list of processes."""

import subprocess
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld.data import copying, postgresql
from ansible.module_utils.aroundtheworld.data.postgresql import DumpError, connection

URLS = {
    "postgresql://ada:s%2Fcr%26t@db.example.org:5433/shop": {
        "PGHOST": "db.example.org",
        "PGPORT": "5433",
        "PGUSER": "ada",
        "PGPASSWORD": "s/cr&t",
        "PGDATABASE": "shop",
    },
    "postgres://[2001:db8::7]/shop?sslmode=verify-full&connect_timeout=5\n": {
        "PGHOST": "2001:db8::7",
        "PGDATABASE": "shop",
        "PGSSLMODE": "verify-full",
        "PGCONNECT_TIMEOUT": "5",
    },
    "postgresql+asyncpg:///shop?host=/run/postgresql": {
        "PGHOST": "/run/postgresql",
        "PGDATABASE": "shop",
    },
    "postgresql://a,b:5433/shop?target_session_attrs=read-write": {
        "PGHOST": "a,b",
        "PGPORT": ",5433",
        "PGDATABASE": "shop",
        "PGTARGETSESSIONATTRS": "read-write",
    },
    "postgresql://%2Frun%2Fpostgresql/shop": {"PGHOST": "/run/postgresql", "PGDATABASE": "shop"},
    "postgresql://ada@/": {"PGUSER": "ada"},
}


@pytest.mark.parametrize(("url", "variables"), URLS.items())
def test_a_url_becomes_the_variables_of_libpq(url, variables):
    patience = {"PGCONNECT_TIMEOUT": postgresql.CONNECT_SECONDS}
    assert connection(url) == {**patience, **variables}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://ada:secret@x/y", "its secret is not a URL such as postgresql://"),
        ("secret", "its secret is not a URL such as postgresql://"),
        ("postgresql://ada:sec/secret@host/z", "has a host that cannot be read"),
        ("postgresql://x:y:secret/z", "has a host that cannot be read"),
        ("postgresql://ada:secret@x/y?prepare=1", "its URL has 'prepare', for which"),
        ("postgresql://ada:secret%00@x/y", "its URL has a NUL character"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url, why):
    with pytest.raises(DumpError) as caught:
        connection(url)
    assert why in str(caught.value)
    assert "secret" not in str(caught.value).removeprefix("its secret")


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The calls of PostgreSQL's programs, each a command with its environment."""
    made = []

    def run(command, **options):
        made.append((command, options["env"]))
        return SimpleNamespace(returncode=0, stdout="8192\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "url").write_text("postgresql://ada:geheim@db/shop\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    return made


STOCK = {"name": "stock", "kind": "postgresql", "place": "url"}


def test_a_dump_is_made_by_what_the_secret_says(calls, tmp_path):
    task = {"shared": tmp_path, "target": tmp_path, "databases": [STOCK]}
    assert copying.copy_all(task)["problems"] == []
    programs = [command[0] for command, _ in calls]
    assert programs == ["psql", "pg_dump", "pg_restore"]
    for command, environment in calls:
        assert "geheim" not in str(command)
        assert environment["PATH"] == "/usr/bin:/bin"
    dump, environment = calls[1]
    assert environment["PGPASSWORD"] == "geheim"
    assert f"--file={tmp_path}/stock.pgdump" in dump
    assert any(word.startswith("--lock-wait-timeout=") for word in dump)


def test_a_server_that_refuses_is_told_by_its_own_words(calls, monkeypatch, tmp_path):
    words = "pg_dump: error: aborting because of server version mismatch"
    refused = SimpleNamespace(returncode=1, stdout="", stderr=words)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    task = {"shared": tmp_path, "target": tmp_path, "databases": [STOCK]}
    (problem,) = copying.copy_all(task)["problems"]
    assert problem.startswith("aroundtheworld_databases: there is no copy of 'stock': ")
    assert words in problem
    assert "Install the server's own programs on the host, such as postgresql-client-17" in problem


def test_a_user_who_may_not_read_all_is_told_with_what_to_do(postgres, tmp_path, monkeypatch):
    postgres.run("create database theirs")
    postgres.run("create role reader login")
    try:
        postgres.run_in("theirs", "create table hidden (x int)")
        (tmp_path / "url").write_text(f"postgresql://reader@/theirs?host={postgres.directory}")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        task = {"shared": tmp_path, "target": tmp_path, "databases": [STOCK]}
        (problem,) = copying.copy_all(task)["problems"]
    finally:
        postgres.run("drop database theirs with (force)")
        postgres.run("drop role reader")
    assert "permission denied for table hidden" in problem
    assert "grant pg_read_all_data to" in problem


def test_a_secret_that_is_not_on_the_host_is_told(calls, tmp_path):
    task = {"shared": tmp_path, "target": tmp_path, "databases": [{**STOCK, "place": "ulr"}]}
    (problem,) = copying.copy_all(task)["problems"]
    assert "the secret 'ulr' with its URL is not on the host" in problem
    assert calls == []


def test_a_program_that_is_not_there_is_named(monkeypatch):
    def nothing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", nothing)
    with pytest.raises(DumpError, match="psql is not on this host"):
        postgresql.database_bytes({})
