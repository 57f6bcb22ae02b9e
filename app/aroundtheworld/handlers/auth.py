"""Logging in and out. Both sides of the site share it; the costly check is off the loop."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.exc import IntegrityError

from aroundtheworld.db import logins, players
from aroundtheworld.handlers.base import SESSION_COOKIE, BaseHandler, Refusal, Session
from aroundtheworld.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH


def local_path(address: str, otherwise: str) -> str:
    r"""Return `address` if it is on this site, else `otherwise`.

    Browsers take '//host' and, since they read a backslash as a slash, '/\host' for other sites;
    and they drop control characters before they look.
    """
    is_local = (
        address.startswith("/")
        and not address.startswith("//")
        and "\\" not in address
        and address.isprintable()
    )
    return address if is_local else otherwise


class AccountHandler(BaseHandler):
    """What the pages and the API do with accounts. Both raise `Refusal` with what is wrong."""

    async def log_in(self, entered: str, password: str, admins_only: bool = False) -> Session:
        """Log in by a name, as it was entered, and a password."""
        name = players.normalised_name(entered)
        address = self.request.remote_ip or ""
        attempt = None
        # Read first: a flood of guesses must not keep the database's only writer busy.
        if await self.database.read_async(logins.allowed, address, name or ""):
            attempt = await self.database.write_async(logins.begin, address, name or "")
        if attempt is None:
            self.set_header("Retry-After", str(logins.WINDOW_MS // 1000))
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong passwords. Please wait ten minutes."
            )
        player = await self.database.read_async(players.by_name, name) if name else None
        password_hash = player.password_hash if player else None
        if not await self.application.passwords.match(password_hash, password) or player is None:
            # Which of the two was wrong is nobody's business.
            raise Refusal(HTTPStatus.FORBIDDEN, "That name and password do not belong together.")
        await self.database.write_async(logins.succeeded, attempt)
        session = Session(player.id, player.name, bool(player.is_admin))
        if admins_only and not session.is_admin:
            raise Refusal(HTTPStatus.FORBIDDEN, "Only administrators log in here.")
        self.begin_session(session)
        return session

    async def sign_up(self, entered: str, password: str) -> Session:
        """Make an account, which keeps what a guest did, and log in."""
        name = players.normalised_name(entered)
        if name is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"A name is {players.NAME_RULE}.")
        if not MINIMUM_LENGTH <= len(password) <= MAXIMUM_LENGTH:
            problem = f"A password has {MINIMUM_LENGTH} to {MAXIMUM_LENGTH} characters."
            raise Refusal(HTTPStatus.BAD_REQUEST, problem)
        password_hash = await self.application.passwords.hashed_async(password)
        guest_id = self.session.player_id if self.session else None
        try:
            player_id = await self.database.write_async(
                players.sign_up, guest_id, name, password_hash
            )
        except IntegrityError:
            # Where transactions run side by side, somebody else was quicker.
            player_id = None
        if player_id is None:
            raise Refusal(HTTPStatus.CONFLICT, f"The name {name} is taken.")
        session = Session(player_id, name)
        self.begin_session(session)
        return session


class LoginHandler(AccountHandler):
    """The form to log in, and what it sends."""

    admins_only = False

    def get(self) -> None:
        """Show the form."""
        self.show_form()

    async def post(self) -> None:
        """Log in and go on to the page that needed it, or say why that failed."""
        entered = self.get_body_argument("name", "")
        try:
            password = self.get_body_argument("password", "", strip=False)
            session = await self.log_in(entered, password, self.admins_only)
        except Refusal as refusal:
            self.set_status(refusal.status_code)
            self.show_form(entered, refusal.detail)
            return
        home = "/admin" if session.is_admin else "/you"
        self.redirect(
            local_path(self.get_body_argument("next", ""), home), status=HTTPStatus.SEE_OTHER
        )

    def show_form(self, name: str = "", problem: str = "") -> None:
        """Render the form."""
        self.set_header("Cache-Control", "no-store")
        self.render(
            "login.html",
            name=name,
            problem=problem,
            next_path=local_path(self.get_argument("next", ""), ""),
        )


class AdminLoginHandler(LoginHandler):
    """The login of the admin side: there also while the public side is closed."""

    side = "/admin"
    admins_only = True


class SignupHandler(AccountHandler):
    """The form for an account, which keeps what the player did as a guest."""

    def get(self) -> None:
        """Show the form."""
        self.show_form()

    async def post(self) -> None:
        """Make the account and log in, or say what will not do."""
        entered = self.get_body_argument("name", "")
        try:
            await self.sign_up(entered, self.get_body_argument("password", "", strip=False))
        except Refusal as refusal:
            self.set_status(refusal.status_code)
            self.show_form(entered, refusal.detail)
            return
        self.redirect("/travel", status=HTTPStatus.SEE_OTHER)

    def show_form(self, name: str = "", problem: str = "") -> None:
        """Render the form."""
        self.set_header("Cache-Control", "no-store")
        self.render(
            "signup.html",
            name=name,
            problem=problem,
            name_rule=players.NAME_RULE,
            shortest=MINIMUM_LENGTH,
            longest=MAXIMUM_LENGTH,
        )


class LogoutHandler(BaseHandler):
    """Ends a session; by POST only, so that no link or picture can do it."""

    def post(self) -> None:
        """Forget who asks."""
        self.clear_cookie(SESSION_COOKIE)
        self.redirect(f"{self.side}/login" if self.side else "/", status=HTTPStatus.SEE_OTHER)


class AdminLogoutHandler(LogoutHandler):
    """The same on the admin side; who is not logged in just comes to the login."""

    side = "/admin"
