"""Every mistake about databases and backups has its name, its value and what is allowed."""

import pytest

from aroundtheworld_controller.data.backups import derive_backups, directory_of, server_variables
from aroundtheworld_controller.data.databases import derive_databases
from aroundtheworld_controller.rules import check_variables
from tests.render import APP
from tests.role.refusals import DEFAULTS, case, problems_with

HOME = DEFAULTS["aroundtheworld_home"]
SECRETS = {"aroundtheworld_secrets": {"url": "postgresql://x", "other": "postgresql://y"}}
FILE = {"name": "shop", "kind": "sqlite", "path": "shop.db"}
SERVER = {"name": "stock", "kind": "postgresql", "secret": "url"}
BELOW = f"it must be a file below {HOME}/shared"


def databases(*entries):
    return {**SECRETS, "aroundtheworld_databases": list(entries)}


DATABASES = [
    ("a name with a dash", [{**FILE, "name": "my-shop"}], "[0].name: 'my-shop' ", "lower-case"),
    ("a name twice", [FILE, {**FILE, "path": "b.db"}], "[1].name: 'shop' ", "it is there twice"),
    ("another kind", [{**FILE, "kind": "mysql"}], "[0].kind: 'mysql' ", "sqlite, postgresql"),
    ("no path", [{"name": "a", "kind": "sqlite"}], "[0].path: is missing", "sqlite has one"),
    ("no secret", [{"name": "a", "kind": "postgresql"}], "[0].secret: is missing", "has one"),
    ("a path and a secret", [{**FILE, "secret": "url"}], "[0].secret: 'url' ", "has a path"),
    ("a secret and a path", [{**SERVER, "path": "x"}], "[0].path: 'x' ", "it has a secret"),
    ("an unknown secret", [{**SERVER, "secret": "ulr"}], "[0].secret: 'ulr' ", "There: url, other"),
    *(
        (f"path {path}", [{**FILE, "path": path}], f"[0].path: {path!r} ", BELOW)
        for path in ("../x.db", "/etc/passwd", f"{HOME}/shared", f"{HOME}/sharedx/a", "a/", "a\nb")
    ),
    (
        "a file twice",
        [FILE, {**FILE, "name": "b", "path": f"{HOME}/shared/./shop.db"}],
        f"[1].path: '{HOME}/shared/./shop.db' ",
        "it is that of the database 'shop' as well",
    ),
    (
        "a secret twice",
        [SERVER, {**SERVER, "name": "b"}],
        "[1].secret: 'url' ",
        "it is that of the database 'stock' as well",
    ),
]
CASES = [
    *(
        case(name, databases(*entries), f"aroundtheworld_databases{first}", second)
        for name, entries, first, second in DATABASES
    ),
    case(
        "a generated URL",
        {
            "aroundtheworld_secrets": {"url": "generate"},
            "aroundtheworld_databases": [SERVER],
        },
        "aroundtheworld_databases[0].secret: 'url' ",
        "that secret is generated",
    ),
    *(
        case(
            f"repository {repository}",
            {"aroundtheworld_backup_repository": repository},
            f"aroundtheworld_backup_repository: {repository!r} ",
            "It must be a directory elsewhere",
        )
        for repository in (f"{HOME}/shared/b", f"{HOME}", f"local:{HOME}/x/../y")
    ),
    *(
        case(
            f"repository {repository}",
            {"aroundtheworld_backup_repository": repository},
            f"aroundtheworld_backup_repository: {repository!r} ",
            "it must be a directory of the host, as in",
        )
        for repository in (
            "backups",
            "/",
            "sftp:-F:/b",
            "s3:s3.example.org/bucket",
            "s3:https://key:secret@s3.example.org/bucket",
            "s3:https://s3.example.org",
            "s3:https://s3.example.org/bucket?x=1",
            "sftp:",
            "sftp:-oProxyCommand=x:/b",
            "sftp:a b:/c",
            "sftp://ada:secret@host/x",
        )
    ),
    *(
        case(
            f"at {at!r}",
            {"aroundtheworld_backup_at": at},
            f"aroundtheworld_backup_at: {str(at)!r} ",
            "as in '03:15'",
        )
        for at in ("24:00", "3:15", "daily", "Su 03:15", "03:15:00", "03:15\n", 1395)
    ),
    case("no quotes", {"aroundtheworld_backup_at": 1395}, "'1395'", "YAML makes a number of 23:15"),
    case(
        "nothing kept",
        {"aroundtheworld_backup_keep": {"daily": 0}},
        "aroundtheworld_backup_keep: {'daily': 0} ",
        "no backup would be kept",
    ),
    case(
        "fewer than none kept",
        {"aroundtheworld_backup_keep": {"daily": -1}},
        "aroundtheworld_backup_keep.daily: -1 ",
        "a whole number from 0",
    ),
    case(
        "years",
        {"aroundtheworld_backup_keep": {"yearly": 1}},
        "aroundtheworld_backup_keep.yearly: there is no such setting",
    ),
    case(
        "a pipe",
        {"aroundtheworld_backup_on_failure": "tell | mail"},
        "aroundtheworld_backup_on_failure: 'tell | mail' ",
        "there is no shell",
    ),
]


@pytest.mark.parametrize(("changes", "parts"), CASES)
def test_what_a_type_cannot_say_is_refused_in_one_sentence(changes, parts):
    problems = problems_with(changes)
    assert len(problems) == 1, problems
    for part in parts:
        assert part in problems[0]


@pytest.mark.parametrize("password", ["short", "a line\nand another one", "fifteen letters"])
def test_a_password_that_is_refused_is_not_shown(password):
    (problem,) = problems_with({"aroundtheworld_backup_password": password})
    assert problem.startswith("aroundtheworld_backup_password: this value is not allowed")
    assert password not in problem


IN_S3 = {"aroundtheworld_backup_repository": "s3:https://s3.example.org/bucket/shop"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret"}


@pytest.mark.parametrize(
    ("environment", "name", "why"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKID"}, "AWS_SECRET_ACCESS_KEY", "is missing"),
        ({**KEYS, "LD_PRELOAD": "/tmp/s3cret"}, "LD_PRELOAD", "no such variable; allowed are AWS_"),
        ({**KEYS, "AWS_SESSION_TOKEN": "s3cret s3cret"}, "AWS_SESSION_TOKEN", "without spaces"),
        ({**KEYS, "AWS_SESSION_TOKEN": 53}, "AWS_SESSION_TOKEN", "in quotes if it is a number"),
    ],
)
def test_credentials_that_are_refused_are_not_shown(environment, name, why):
    (problem,) = problems_with({**IN_S3, "aroundtheworld_backup_environment": environment})
    assert problem.startswith(f"aroundtheworld_backup_environment.{name}: ")
    assert why in problem
    assert "s3cret" not in problem


def test_credentials_go_to_the_host_that_needs_them():
    environment = {"aroundtheworld_backup_environment": KEYS}
    assert problems_with({**IN_S3, **environment}) == []
    variables = check_variables({**DEFAULTS, **APP, **IN_S3, **environment})
    assert server_variables(variables) == KEYS
    # Of a group, some hosts may have theirs elsewhere.
    assert server_variables(check_variables({**DEFAULTS, **APP, **environment})) == {}


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "/mnt/backups/shop",
        "local:/mnt/x y",
        f"{HOME}-backups",
        "sftp:shop@backup.example.org:/srv/shop",
        "sftp:backup:shop",
        "sftp://shop@[2001:db8::7]:2222//srv/shop",
    ],
)
@pytest.mark.parametrize("at", ["", "03:15", "*:40", "Mon,Thu 23:59", "Sun 00:00"])
def test_what_restic_and_systemd_take_is_right(repository, at):
    changes = {"aroundtheworld_backup_repository": repository, "aroundtheworld_backup_at": at}
    assert problems_with(changes) == []


def test_the_host_gets_files_by_their_paths_and_urls_by_their_secrets():
    entries = [FILE, {**FILE, "name": "b", "path": f"{HOME}/shared/in/b.db"}, SERVER]
    variables = check_variables({**DEFAULTS, **APP, **databases(*entries)})
    assert [entry["place"] for entry in derive_databases(variables)] == [
        f"{HOME}/shared/shop.db",
        f"{HOME}/shared/in/b.db",
        "url",
    ]
    backups = derive_backups(variables)
    assert backups["repository"] == f"/var/backups/{variables['aroundtheworld_site']}"
    assert backups["keep"] == {"last": 10, "daily": 7, "weekly": 4, "monthly": 6}


def test_a_home_that_is_refused_is_not_where_everything_is():
    (problem,) = problems_with({"aroundtheworld_home": ""})
    assert problem.startswith("aroundtheworld_home: '' ")


def test_a_directory_is_known_by_either_notation():
    assert directory_of("local:/a/../b") == directory_of("/b/") == "/b"
    assert directory_of("sftp:host:/b") == ""
