"""What a host gets to copy databases before a migration."""

import base64

import pytest
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.rollout.copies import undo_copies

from aroundtheworld_controller.data.program import program
from aroundtheworld_controller.data.undo import to_copy
from tests.render import evaluate, variables_for

DATABASES = [
    {"name": "shop", "kind": "sqlite", "path": "shop.db"},
    {"name": "stock", "kind": "postgresql", "secret": "stock_url"},
]
SITE = {
    "aroundtheworld_databases": DATABASES,
    "aroundtheworld_secrets": {"stock_url": "postgresql://stock:secret@127.0.0.1/stock"},
}


def brought(**more):
    return to_copy(evaluate("__aroundtheworld_data", variables_for({**SITE, **more})))


@pytest.mark.parametrize(("copy", "copied"), [(True, ["shop", "stock"]), (False, ["shop"])])
def test_sqlite_is_always_copied_and_postgresql_if_that_is_set(copy, copied):
    assert brought(aroundtheworld_migrate_copy=copy)["copied"] == copied


def test_the_host_can_make_copies_of_it_and_no_secret_is_in_it():
    data = brought()
    assert base64.b64decode(data["program"]) == program()
    settings = undo_copies(data).settings
    assert isinstance(settings, Settings)
    assert "User=tornado" in settings.process
    assert [database["place"] for database in settings.databases] == [
        f"{settings.home}/shared/shop.db",
        "stock_url",
    ]
    assert "secret@" not in str(data["settings"])


def test_a_site_without_databases_gets_nothing():
    assert brought(aroundtheworld_databases=[]) == {}


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, True),
        ({"aroundtheworld_migrate_copy": False}, False),
        ({"aroundtheworld_migrate_command": ""}, False),
        ({"aroundtheworld_databases": DATABASES[:1]}, False),
    ],
)
def test_what_makes_dumps_is_a_package_that_the_site_needs(values, there):
    packages = evaluate("__aroundtheworld_packages", variables_for({**SITE, **values}))
    assert ("postgresql-client" in packages) is there


def test_no_package_is_there_twice():
    variables = variables_for({**SITE, "aroundtheworld_backup_at": "03:15"})
    packages = evaluate("__aroundtheworld_packages", variables)
    assert packages.count("postgresql-client") == 1
