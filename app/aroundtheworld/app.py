"""The application: every route in an ordered list, and `make_app`, which a server calls."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tornado import template, web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest

from aroundtheworld import world
from aroundtheworld.config import Config
from aroundtheworld.db.engine import Database
from aroundtheworld.facts import FactsService
from aroundtheworld.feed import Feed
from aroundtheworld.geo import project
from aroundtheworld.handlers import (
    admin,
    admin_people,
    admin_photos,
    admin_questions,
    admin_reports,
    api,
    auth,
    feed,
    pages,
    photos,
    quiz,
    travel,
)
from aroundtheworld.handlers.base import (
    AdminStaticHandler,
    BaseHandler,
    NotFoundHandler,
    StaticHandler,
    TooLargeHandler,
)
from aroundtheworld.passwords import Passwords
from aroundtheworld.photos import SERVED

PACKAGE = Path(__file__).parent

Routes = list[tuple[str, type[web.RequestHandler]]]

PUBLIC_ROUTES: Routes = [
    (r"/", pages.HomeHandler),
    (r"/quiz", quiz.QuizHandler),
    (r"/quiz/([0-9]{1,9})", quiz.RoundHandler),
    (r"/countries", pages.CountriesHandler),
    (r"/countries/([a-z-]+)", pages.CountryHandler),
    (r"/travel", travel.TravelHandler),
    (r"/cities/([0-9]{1,9})", travel.CityHandler),
    (rf"/photos/({SERVED})", photos.PhotoFileHandler),
    (r"/leaderboard", travel.LeaderboardHandler),
    (r"/feed", feed.FeedHandler),
    (r"/signup", auth.SignupHandler),
    (r"/you", travel.YouHandler),
    (r"/login", auth.LoginHandler),
    (r"/logout", auth.LogoutHandler),
    (r"/api", api.ApiPageHandler),
    (r"/api/openapi.json", api.OpenApiHandler),
    (r"/api/ping", api.PingApi),
    (r"/api/countries", api.CountriesApi),
    (r"/api/countries/([a-z-]+)", api.CountryApi),
    (r"/api/cities/([0-9]{1,9})", api.CityApi),
    (r"/api/leaderboard", api.LeaderboardApi),
    (r"/api/rounds", api.RoundsApi),
    (r"/api/rounds/([0-9]{1,9})", api.RoundApi),
    (r"/api/rounds/([0-9]{1,9})/answers", api.AnswersApi),
    (r"/api/journey", api.JourneyApi),
    (r"/api/journey/flights", api.FlightsApi),
    (r"/api/players", api.PlayersApi),
    (r"/api/session", api.SessionApi),
]

ADMIN_ROUTES: Routes = [
    (r"/admin/?", admin.DashboardHandler),
    (r"/admin/login", auth.AdminLoginHandler),
    (r"/admin/logout", auth.AdminLogoutHandler),
    (r"/admin/static/(.*)", AdminStaticHandler),
    (r"/admin/reports/grand-tour", admin.GrandTourHandler),
    (r"/admin/players", admin_people.PlayersHandler),
    (r"/admin/workers", admin_people.WorkersHandler),
    (r"/admin/reports", admin_reports.ReportsHandler),
    (r"/admin/reports/([0-9]{1,9})", admin_reports.ReportHandler),
    (r"/admin/reports/([0-9]{1,9})/([0-9])\.svg", admin_reports.ChartHandler),
    (r"/admin/photos", admin_photos.PhotosHandler),
    (rf"/admin/photos/({SERVED})", admin_photos.AdminPhotoFileHandler),
    (r"/admin/photos/remake", admin_photos.RemakeHandler),
    (r"/admin/photos/([0-9]{1,9})/delete", admin_photos.DeletePhotoHandler),
    (r"/admin/questions", admin_questions.QuestionsHandler),
    (r"/admin/questions/new", admin_questions.NewQuestionHandler),
    (r"/admin/questions/import", admin_questions.ImportHandler),
    (r"/admin/questions\.csv", admin_questions.ExportHandler),
    (r"/admin/questions/([0-9]{1,9})", admin_questions.QuestionHandler),
    (r"/admin/questions/([0-9]{1,9})/publish", admin_questions.PublishHandler),
    (r"/admin/questions/([0-9]{1,9})/delete", admin_questions.DeleteHandler),
    (r"/admin/.*", admin.NothingHandler),
]


@cache
def templates() -> template.Loader:
    """Return all templates, compiled: otherwise the first visitor of each page would wait for it.

    So would everybody else on that worker, for some 10 ms.
    """
    directory = PACKAGE / "templates"
    loader = template.Loader(str(directory))
    for path in directory.rglob("*.html"):
        loader.load(str(path.relative_to(directory)))
    return loader


class AroundTheWorld(web.Application):
    """The application of a process, and what its handlers share.

    Attributes:
        config: what the environment says.
        database: its connections; nothing is opened before the first query.
        passwords: hashes and verifies them.
        world: countries and cities.
        city_positions: x and y of every city on the map, by its id.
        random: where chance comes from.
        feed: tells listeners what happens, on whatever worker.
        facts: about countries, from an outside service.
    """

    def __init__(self, config: Config) -> None:
        """Set everything up without touching the database."""
        self.config = config
        self.database = Database(config.database_url)
        self.passwords = Passwords()
        self.world = world.load()
        self.city_positions = {city.id: project(*city.position) for _, city in self.world.cities()}
        self.random: Random = SystemRandom()
        self.feed = Feed(self.database, self.world)
        self.facts = FactsService(self.database, config.facts_url)
        super().__init__(
            [*PUBLIC_ROUTES, *(ADMIN_ROUTES if config.serves_admin else [])],
            default_handler_class=NotFoundHandler,
            template_loader=templates(),
            static_path=str(PACKAGE / "static"),
            static_handler_class=StaticHandler,
            cookie_secret=config.cookie_secret,
            xsrf_cookies=True,
            cross_origin_protection=True,
            # Oftener than proxies give up on a connection that says nothing (60 s in nginx).
            websocket_ping_interval=25,
            websocket_ping_timeout=20,
            websocket_max_message_size=1024,
        )

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[web.RequestHandler],
        *args: Any,  # noqa: ANN401 - handed on
        **kwargs: Any,  # noqa: ANN401
    ) -> web._HandlerDelegate:
        """Choose who answers once the headers have come, and limit the body that follows."""
        largest = getattr(target_class, "largest_body", BaseHandler.largest_body)
        length = request.headers.get("Content-Length", "0")
        # What is no number is left to Tornado, which refuses it.
        if length.isdigit() and int(length) > largest:
            return super().get_handler_delegate(request, TooLargeHandler)
        if isinstance(request.connection, HTTP1Connection):
            # For a body in chunks, which does not say how long it will be.
            request.connection.set_max_body_size(largest)
        return super().get_handler_delegate(request, target_class, *args, **kwargs)


def make_app(config: Config | None = None) -> AroundTheWorld:
    """Return the application, configured from the environment unless there is a `config`.

    Raises:
        aroundtheworld.config.ConfigError: the environment does not say what is needed.
    """
    return AroundTheWorld(config or Config.from_environment())
