"""A site of its own for every test that needs it, and a browser to visit it with."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from aroundtheworld.__main__ import main
from aroundtheworld.app import AroundTheWorld, make_app
from aroundtheworld.config import Config
from aroundtheworld.db import players
from aroundtheworld.db.engine import Database
from aroundtheworld.db.migrate import migrate
from aroundtheworld.passwords import Passwords
from tests.matrix import chosen, takes_all

# Test modules are imported by path, so what they share has to be made importable.
sys.path.insert(0, str(Path(__file__).parent))

from postgres_server import PostgresServer, serve

# The name conftest may mean another directory's.
sys.modules["site_conftest"] = sys.modules[__name__]

SECRET = "only for tests: " + "0123456789abcdef" * 2
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords as cheaply as argon2 can; what they really cost, test_passwords knows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "aroundtheworld.passwords.PasswordHasher",
            lambda **_: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
        )
        yield


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating takes longer than copying."""
    path = tmp_path_factory.mktemp("migrated") / "game.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; it takes two seconds to start, so all tests share it."""
    with serve() as server:
        yield server


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The URL of a migrated SQLite database, for what is about SQLite itself."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'game.db')}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of a migrated PostgreSQL database, for what is about PostgreSQL itself."""
    return postgres.emptied()


@pytest.fixture(params=["sqlite", "postgres"])
def own_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """As `database_url`, for a test that changes the schema or the world."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    else:
        with request.getfixturevalue("postgres").database("migrated") as url:
            yield url


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out two of three tests on PostgreSQL that run on SQLite too.

    The queries are SQLAlchemy's for both. Tests of schema and migrations (`own_url`) all run on
    both, and MATRIX=all leaves none out.
    """
    if takes_all():
        return
    on_both = [
        item
        for item in items
        if "database_url" in getattr(item, "fixturenames", ())
        and getattr(item, "callspec", None)
        and item.callspec.params.get("database_url") == "postgres"
    ]
    left_out = {*on_both} - {*chosen(on_both)}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database for a test, which runs once with each kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with contextlib.closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command in this process: a new process takes longer to start than the command."""

    def run(*arguments: str, stdin: str | bytes = "", **environ: str) -> Done:
        with monkeypatch.context() as patch:
            for name in ("DATABASE_URL", "COOKIE_SECRET", "COOKIE_SECRET_FILE"):
                patch.delenv(name, raising=False)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["aroundtheworld", *arguments])
            content = stdin if isinstance(stdin, bytes) else stdin.encode()
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            code, sentence = 0, ""
            try:
                main()
            except SystemExit as end:
                # As the interpreter does with what a program ends with.
                code, sentence = (end.code, "") if isinstance(end.code, int) else (1, end.code)
            output = capsys.readouterr()
            return Done(code, output.out, output.err + sentence)

    return run


class Browser:
    """Keeps cookies, follows no redirect by itself, and sends the XSRF token with forms."""

    def __init__(self, loop: asyncio.AbstractEventLoop, base: str) -> None:
        self.loop = loop
        self.base = base
        self.cookies: dict[str, str] = {}
        self.client = AsyncHTTPClient(force_instance=True)

    def request(self, method: str, path: str, body=None, headers=None) -> HTTPResponse:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self.loop.run_until_complete(
            self.client.fetch(
                self.base + path,
                method=method,
                body=body,
                headers={"Cookie": cookie} | (headers or {}),
                allow_nonstandard_methods=True,
                follow_redirects=False,
                raise_error=False,
            )
        )
        for line in response.headers.get_list("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.coded_value
        return response

    def get(self, path: str, **headers: str) -> HTTPResponse:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, **form: object) -> HTTPResponse:
        if "_xsrf" not in self.cookies:
            self.get("/login")
        return self.request("POST", path, urlencode({"_xsrf": self.cookies["_xsrf"], **form}))

    def page(self, path: str) -> str:
        """The text of a page that must be there."""
        response = self.get(path)
        assert response.code == 200, f"{path}: {response.code}"
        return response.body.decode()

    def log_in(self, name: str, password: str, **form: object) -> HTTPResponse:
        return self.post("/login", name=name, password=password, **form)

    def play(self, choose: Callable[[int], int]) -> str:
        """Begin a round, answer all of it, and return its address."""
        address = self.post("/quiz").headers["Location"]
        for position in range(10):
            self.post(address, position=position, choice=choose(position))
        return address


class Site:
    """A running application."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: AroundTheWorld) -> None:
        self.loop = loop
        self.app = app
        listener, self.port = bind_unused_port()
        self.server = HTTPServer(app, xheaders=True)
        self.server.add_sockets([listener])
        self.browsers: list[Browser] = []

    def browser(self) -> Browser:
        self.browsers.append(Browser(self.loop, f"http://127.0.0.1:{self.port}"))
        return self.browsers[-1]

    def add_admin(self, name: str = "ada") -> None:
        self.app.database.write(players.add_admin, name, Passwords().hashed(PASSWORD))

    def close(self) -> None:
        for browser in self.browsers:
            browser.client.close()
        self.server.stop()
        self.loop.run_until_complete(self.server.close_all_connections())
        self.app.database.close()


@pytest.fixture
def make_site(loop, database_url) -> Iterator[Callable[..., Site]]:
    """A function that starts a site on the test's database, for a pool."""
    with contextlib.ExitStack() as stack:

        def make(pool: str | None = None, url: str = database_url) -> Site:
            site = Site(loop, make_app(Config(url, SECRET, pool=pool)))
            stack.callback(site.close)
            return site

        yield make


@pytest.fixture
def site(make_site) -> Site:
    return make_site()


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()


@pytest.fixture
def admin(site: Site) -> Browser:
    """A browser that is logged in as an administrator."""
    site.add_admin()
    browser = site.browser()
    assert browser.log_in("ada", PASSWORD).code == 303
    return browser
