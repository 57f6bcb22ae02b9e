"""A dump takes the place of what is in a database, with a real server."""

import itertools
import os
import signal
import subprocess
import threading
import time

import pytest
from ansible.module_utils.aroundtheworld.data import postgresql, postgresql_restore
from ansible.module_utils.aroundtheworld.data.postgresql import DumpError
from ansible.module_utils.aroundtheworld.data.postgresql_restore import (
    UnchangedError,
    problem_with,
    put,
)

NUMBERS = itertools.count()


class Database:
    """A database with a role of its own, which is no superuser."""

    def __init__(self, server, directory):
        self.server, self.name = server, f"put_{next(NUMBERS)}"
        self.dump = directory / "shop.pgdump"
        server.run(f"create role {self.name} login")
        server.run(f"create database {self.name} owner {self.name} strategy file_copy")
        url = f"postgresql://{self.name}@/{self.name}?host={server.directory}"
        self.variables = postgresql.connection(url)

    def admin(self, *statements):
        return self.server.run_in(self.name, *statements)

    def own(self, *statements):
        return self.server.run_in(self.name, f"set role {self.name}", *statements)

    def back_up(self):
        postgresql.dump(self.variables, self.dump)

    def names(self):
        found = self.admin(
            "select string_agg(relname, ' ' order by relname) from pg_class "
            "where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'S', 'm')"
        )
        return (found or "").split()


@pytest.fixture
def database(postgres, tmp_path):
    """A database with a table, and a dump of it that has the row 'then'."""
    made = Database(postgres, tmp_path)
    made.own(
        "create table orders (id serial primary key, word text)",
        "insert into orders (word) values ('then')",
    )
    made.back_up()
    yield made
    postgres.run(f"drop database {made.name} with (force)")
    postgres.run(f"drop role {made.name}")


def word(database):
    return database.admin("select string_agg(word, ' ' order by id) from orders")


def test_rows_are_those_of_the_dump(database):
    database.own("update orders set word = 'now'", "insert into orders (word) values ('more')")
    assert problem_with(database.variables, database.dump) == ""
    assert put(database.variables, database.dump) == []
    assert word(database) == "then"
    # The sequence too: the next row gets the next number.
    database.own("insert into orders (word) values ('next')")
    assert database.admin("select max(id) from orders") == 2
    assert put(database.variables, database.dump) == []
    assert word(database) == "then"


# Of all kinds that a migration makes; in one database, because each test takes a second.
MORE = (
    "create table items (of int references orders)",
    "create view newest as select max(id) from orders",
    "create materialized view counted as select count(*) from orders",
    "alter table orders add column price int not null default 0",
    "create type pair as (x int); create domain number as int;"
    "create function f(pair) returns number as 'select 1' language sql;"
    "create table uses (a pair, b number default f(null))",
    "create type mood as enum ('a'); create table moods (mood mood);"
    "create aggregate total (int) (sfunc = int4pl, stype = int)",
    "create schema later; create table later.items (of int references orders)",
    "create table p (a int) partition by range (a);"
    "create table p1 partition of p for values from (1) to (2)",
    "create statistics s on id, word from orders;"
    'create text search configuration c (copy = simple); create collation x from "C"',
    "create sequence alone",
    "create function plus(text, text) returns text as 'select $1' language sql;"
    "create operator ## (leftarg = text, rightarg = text, function = plus)",
    "select lo_create(4711)",
    "create extension citext; create table names (name citext)",
)


@pytest.mark.parametrize(
    "statements",
    [
        MORE,
        ["alter table orders alter column word type varchar(9)"],
        ["drop table orders; create view orders as select 1 as id"],
        ["drop table orders"],
    ],
    ids=["more of all kinds", "another type", "a view instead", "gone"],
)
def test_what_was_made_since_is_not_in_the_way(database, statements):
    before = database.names()
    database.own(*statements)
    assert problem_with(database.variables, database.dump) == ""
    assert put(database.variables, database.dump) == []
    assert word(database) == "then"
    assert database.names() == before
    assert database.admin("select to_regnamespace('later') is null")
    assert not database.admin("select extname from pg_extension where extname = 'citext'")


def test_what_was_there_of_all_kinds_comes_back(database):
    database.own(*MORE)
    database.back_up()
    before = database.names()
    database.own("drop table orders cascade", "drop extension citext cascade")
    for _ in range(2):
        assert put(database.variables, database.dump) == []
        assert word(database) == "then"
        assert database.names() == before
        assert database.admin("select to_regclass('later.items') is not null")


def test_what_an_administrator_made_stays(database):
    database.admin(
        "create schema tools", "create extension pgcrypto schema tools",
        f"grant usage, create on schema tools to {database.name}",
        "comment on schema tools is 'of the administrator'",
    )  # fmt: skip
    database.own("create table tools.own (key bytea default tools.gen_random_bytes(4))")
    database.back_up()
    database.own("drop table tools.own")
    assert problem_with(database.variables, database.dump) == ""
    assert put(database.variables, database.dump) == []
    assert database.own("insert into tools.own default values returning length(key)") == 4
    assert database.admin("select extname from pg_extension where extname = 'pgcrypto'")


def test_rights_of_others_come_back_and_one_who_is_gone_is_told(database, postgres):
    roles = [f"{database.name}_{name}" for name in ("reader", "gone")]
    for role in roles:
        postgres.run(f"create role {role}")
    try:
        database.own(*(f"grant select on orders to {role}" for role in roles))
        database.back_up()
        database.own(f"revoke all on orders from {roles[1]}")
        postgres.run(f"drop role {roles[1]}")
        (note,) = put(database.variables, database.dump)
        assert f'role "{roles[1]}" does not exist' in note
        assert database.admin(f"select has_table_privilege('{roles[0]}', 'orders', 'select')")
        database.own(f"revoke all on orders from {roles[0]}")
    finally:
        postgres.run(f"drop role {roles[0]}")


def test_what_belongs_to_others_is_told_before_anything_is_changed(database):
    database.admin("create table of_admin (x int)")
    problem = problem_with(database.variables, database.dump)
    assert "its user owns not all of it (table public.of_admin of postgres)" in problem
    assert put(database.variables, database.dump) == []
    assert "of_admin" in database.names()
    database.admin("alter table orders owner to postgres")
    with pytest.raises(DumpError, match='relation "orders" already exists'):
        put(database.variables, database.dump)
    assert word(database) == "then"


def test_a_schema_in_which_nothing_may_be_made_is_told(database):
    database.admin("alter schema public owner to postgres")
    problem = problem_with(database.variables, database.dump)
    assert "may not create anything in the schema public" in problem


def test_a_server_that_takes_no_changes_is_told(database):
    database.admin(f"alter role {database.name} set default_transaction_read_only = on")
    assert "takes no changes" in problem_with(database.variables, database.dump)


@pytest.mark.parametrize(
    ("tool", "told", "why"),
    [
        ("psql", "psql (PostgreSQL) 12.3", "install postgresql-client-"),
        ("pg_restore", ";     Dumped from database version: 99.1", "the copy is of PostgreSQL 99"),
    ],
)
def test_versions_that_do_not_fit_are_told(database, monkeypatch, tool, told, why):
    real = postgresql_restore.run_client

    def run(command, variables):
        is_meant = command[0] == tool and {"--version", "--list"} & {*command}
        return told if is_meant else real(command, variables)

    monkeypatch.setattr(postgresql_restore, "run_client", run)
    assert why in problem_with(database.variables, database.dump)


def test_a_damaged_dump_changes_nothing(database):
    database.own("update orders set word = 'now'")
    content = database.dump.read_bytes()
    database.dump.write_bytes(content[: len(content) - 300])
    with pytest.raises(DumpError):
        put(database.variables, database.dump)
    assert word(database) == "now"


def test_a_lock_of_somebody_else_is_not_waited_for_without_end(database, monkeypatch):
    monkeypatch.setattr(postgresql_restore, "LOCK_SECONDS", 1)
    over = threading.Event()
    held = threading.Event()

    def hold():
        import psycopg

        where = f"host={database.server.directory} user=postgres dbname={database.name}"
        with psycopg.connect(where) as connection:
            connection.execute("lock table orders in access share mode")
            held.set()
            over.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        held.wait(10)
        with pytest.raises(UnchangedError, match="lock timeout"):
            put(database.variables, database.dump)
    finally:
        over.set()
        holder.join()
    assert word(database) == "then"


@pytest.mark.parametrize("victim", ["pg_restore", "psql"])
def test_a_process_that_is_killed_in_the_middle_changes_nothing(database, monkeypatch, victim):
    database.own("insert into orders (word) select repeat('x', 900) from generate_series(1, 9000)")
    database.back_up()
    database.own("truncate orders", "insert into orders (word) values ('now')")
    real, passed = subprocess.Popen, postgresql_restore._pass_on
    processes = {}

    def start(command, **options):
        processes[command[0]] = real(command, **options)
        return processes[command[0]]

    def kill(script, to):
        to.write(script.readline())
        to.flush()
        os.kill(processes[victim].pid, signal.SIGKILL)
        time.sleep(0.1)
        passed(script, to)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(postgresql_restore, "_pass_on", kill)
    with pytest.raises(DumpError):
        put(database.variables, database.dump)
    monkeypatch.undo()
    assert word(database) == "now"
