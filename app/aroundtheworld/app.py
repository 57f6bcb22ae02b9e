"""The application: every route in one ordered list, and `make_app`, which a server calls."""

from __future__ import annotations

from pathlib import Path
from random import Random, SystemRandom

from tornado import web

from aroundtheworld import world
from aroundtheworld.config import Config
from aroundtheworld.db.engine import Database
from aroundtheworld.geo import project
from aroundtheworld.handlers import (
    admin,
    admin_photos,
    admin_questions,
    auth,
    pages,
    photos,
    quiz,
    travel,
)
from aroundtheworld.handlers.base import NotFoundHandler, StaticHandler
from aroundtheworld.passwords import Passwords
from aroundtheworld.photos import SERVED

PACKAGE = Path(__file__).parent

Routes = list[tuple[str, type[web.RequestHandler]]]

PUBLIC_ROUTES: Routes = [
    (r"/", pages.HomeHandler),
    (r"/quiz", quiz.QuizHandler),
    (r"/quiz/([0-9]{1,15})", quiz.RoundHandler),
    (r"/countries", pages.CountriesHandler),
    (r"/countries/([a-z-]+)", pages.CountryHandler),
    (r"/travel", travel.TravelHandler),
    (r"/cities/([0-9]{1,15})", travel.CityHandler),
    (rf"/photos/({SERVED})", photos.PhotoFileHandler),
    (r"/leaderboard", travel.LeaderboardHandler),
    (r"/signup", auth.SignupHandler),
    (r"/login", auth.LoginHandler),
    (r"/logout", auth.LogoutHandler),
    (r"/api/ping", pages.PingHandler),
]

ADMIN_ROUTES: Routes = [
    (r"/admin/?", admin.DashboardHandler),
    (r"/admin/reports/grand-tour", admin.GrandTourHandler),
    (r"/admin/photos", admin_photos.PhotosHandler),
    (r"/admin/photos/remake", admin_photos.RemakeHandler),
    (r"/admin/photos/([0-9]{1,9})/delete", admin_photos.DeletePhotoHandler),
    (r"/admin/questions", admin_questions.QuestionsHandler),
    (r"/admin/questions/new", admin_questions.NewQuestionHandler),
    (r"/admin/questions/import", admin_questions.ImportHandler),
    (r"/admin/questions\.csv", admin_questions.ExportHandler),
    (r"/admin/questions/([0-9]{1,9})", admin_questions.QuestionHandler),
    (r"/admin/questions/([0-9]{1,9})/publish", admin_questions.PublishHandler),
    (r"/admin/questions/([0-9]{1,9})/delete", admin_questions.DeleteHandler),
]


class AroundTheWorld(web.Application):
    """The application of one process, and what its handlers share.

    Attributes:
        config: what the environment says.
        database: its connections; nothing is opened before the first query.
        passwords: hashes and verifies them.
        world: countries and cities.
        city_positions: x and y of every city on the map, by its id.
        random: where chance comes from.
    """

    def __init__(self, config: Config) -> None:
        """Set everything up without touching the database."""
        self.config = config
        self.database = Database(config.database_url)
        self.passwords = Passwords()
        self.world = world.load()
        self.city_positions = {city.id: project(*city.position) for _, city in self.world.cities()}
        self.random: Random = SystemRandom()
        super().__init__(
            [*PUBLIC_ROUTES, *(ADMIN_ROUTES if config.serves_admin else [])],
            default_handler_class=NotFoundHandler,
            template_path=str(PACKAGE / "templates"),
            static_path=str(PACKAGE / "static"),
            static_handler_class=StaticHandler,
            cookie_secret=config.cookie_secret,
            xsrf_cookies=True,
            cross_origin_protection=True,
        )


def make_app(config: Config | None = None) -> AroundTheWorld:
    """Return the application, configured from the environment unless a `config` is given.

    Raises:
        aroundtheworld.config.ConfigError: the environment does not say what is needed.
    """
    return AroundTheWorld(config or Config.from_environment())
