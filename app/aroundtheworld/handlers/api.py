"""The JSON API: what the pages do, for programs. `openapi` describes it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from tornado import escape, web

from aroundtheworld import openapi
from aroundtheworld.db import journeys, rounds
from aroundtheworld.db.engine import Row
from aroundtheworld.handlers.auth import AccountHandler
from aroundtheworld.handlers.base import SESSION_COOKIE, BaseHandler, Refusal
from aroundtheworld.handlers.quiz import PlayingHandler
from aroundtheworld.handlers.travel import TravelBaseHandler
from aroundtheworld.openapi import LARGEST_ID
from aroundtheworld.passwords import MAXIMUM_LENGTH
from aroundtheworld.quiz import CHOICES, QUESTIONS_PER_ROUND
from aroundtheworld.travel import flights_from
from aroundtheworld.world import CONTINENTS, City, Country, World

# Larger than any body described, however it is spelt.
LARGEST_BODY = 16 * 1024


class ApiHandler(BaseHandler):
    """The base of the API's handlers."""

    largest_body = LARGEST_BODY

    def check_xsrf_cookie(self) -> None:
        """Check no token, since a body must be JSON (see `body`).

        A form cannot send that, and a script of another site only after a preflight that nothing
        here answers. Requests without a body are left to `cross_origin_protection`.
        """

    def write_json(self, content: object, status: int = HTTPStatus.OK) -> None:
        """Answer; unlike `write`, lists too."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(json.dumps(content, ensure_ascii=False, separators=(",", ":")))

    def body(self, *names: str) -> dict[str, Any]:
        """Return the request's JSON object, which has exactly the members `names`."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != openapi.JSON:
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"The Content-Type must be {openapi.JSON}, not {kind[:60] or 'missing'}.",
            )
        try:
            content = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body is no JSON.") from None
        if not isinstance(content, dict) or set(content) != set(names):
            members = " and ".join(names)
            raise Refusal(
                HTTPStatus.BAD_REQUEST, f"The body must be an object with {members}, nothing else."
            )
        return content

    def credentials(self) -> tuple[str, str]:
        """Return the name and the password in the body."""
        content = self.body("name", "password")
        return text(content, "name", 100), text(content, "password", MAXIMUM_LENGTH)


def number(content: dict[str, Any], name: str, least: int, most: int) -> int:
    """Return a member of a body that must be a whole number; in JSON, 1.0 is the same as 1."""
    value = content[name]
    if type(value) not in (int, float) or value != value // 1 or not least <= value <= most:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"{name} must be a whole number from {least} to {most}."
        )
    return int(value)


def text(content: dict[str, Any], name: str, longest: int) -> str:
    """Return a member of a body that must be text."""
    value = content[name]
    if not isinstance(value, str) or len(value) > longest:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"{name} must be text of at most {longest} characters."
        )
    return value


class PingApi(ApiHandler):
    """Answers at once: no database, no cookie. What it costs is what the framework costs."""

    def compute_etag(self) -> None:
        """Compute none: no response is worth comparing with the previous."""

    def get(self) -> None:
        """Say that this worker answers."""
        self.write({"ping": "pong"})


def city_json(country: Country, city: City) -> dict[str, object]:
    """Return a `City` of the API."""
    return {
        "id": city.id,
        "name": city.name,
        "latitude": city.latitude,
        "longitude": city.longitude,
        "population": city.population,
        "is_capital": city.capital,
        "country": country.slug,
    }


def country_json(world: World, country: Country) -> dict[str, object]:
    """Return a `Country` of the API."""
    return {
        "code": country.code,
        "name": country.name,
        "slug": country.slug,
        "continents": [CONTINENTS[code] for code in country.continents],
        "population": country.population,
        "area_km2": country.area_km2,
        "neighbours": [world.by_code[code].slug for code in country.neighbours],
    }


class CountriesApi(ApiHandler):
    """All countries."""

    def get(self) -> None:
        """List them."""
        world = self.application.world
        self.write_json([country_json(world, country) for country in world.countries])


class CountryApi(ApiHandler):
    """One country."""

    def get(self, slug: str) -> None:
        """Show it, or 404."""
        world = self.application.world
        country = world.by_slug.get(slug)
        if country is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        cities = [city_json(country, city) for city in country.cities]
        self.write_json({**country_json(world, country), "cities": cities})


class CityApi(ApiHandler, TravelBaseHandler):
    """One city."""

    def get(self, city_id: str) -> None:
        """Show it, or 404."""
        self.write_json(city_json(*self.place(city_id)))


class LeaderboardApi(ApiHandler):
    """Who earned most."""

    async def get(self) -> None:
        """List them."""
        leaders = await self.database.read_async(journeys.leaders)
        self.write_json([{"name": r.name, "earned": r.earned, "km": r.km} for r in leaders])


def round_json(state: rounds.Round) -> dict[str, object]:
    """Return a `Round` of the API: without answers that are due and questions that come later."""

    def question_json(q: Row) -> dict[str, object]:
        return {"position": q.position, "kind": q.kind, "prompt": q.prompt, "choices": q.choices}

    answered = [q for q in state.questions if q.chosen is not None]
    return {
        "id": state.id,
        "score": state.score,
        "coins": sum(map(rounds.coins_of, answered)),
        "answered": [
            question_json(q)
            | {
                "chosen": q.chosen,
                "answer": q.answer,
                "fact": q.fact,
                "coins": rounds.coins_of(q),
            }
            for q in answered
        ],
        "question": question_json(state.current) if state.current is not None else None,
    }


class RoundApiBase(ApiHandler, PlayingHandler):
    """What the addresses of rounds share."""

    async def show(self, round_id: int, player_id: int, status: int = HTTPStatus.OK) -> None:
        """Answer with the round as it stands, or 404."""
        state = await self.database.read_async(rounds.load, round_id, player_id)
        if state is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        self.write_json(round_json(state), status)


class RoundsApi(RoundApiBase):
    """Rounds of questions."""

    async def post(self) -> None:
        """Begin a round."""
        player_id, round_id = await self.begin_round()
        await self.show(round_id, player_id, HTTPStatus.CREATED)


class RoundApi(RoundApiBase):
    """One round of who asks."""

    async def get(self, round_id: str) -> None:
        """Show where it stands."""
        await self.show(int(round_id), self.player_id())


class AnswersApi(RoundApiBase):
    """The answers to a round's questions."""

    async def post(self, round_id: str) -> None:
        """Take an answer; 409 if another question is due."""
        content = self.body("position", "choice")
        position = number(content, "position", 0, QUESTIONS_PER_ROUND - 1)
        choice = number(content, "choice", 0, CHOICES - 1)
        if not await self.answer(int(round_id), position, choice):
            raise Refusal(HTTPStatus.CONFLICT, f"Question {position} is not the one that is due.")
        await self.show(int(round_id), self.player_id())


class JourneyApi(ApiHandler, TravelBaseHandler):
    """Where who asks is."""

    async def get(self) -> None:
        """Show it, or 404 before the first round."""
        await self.show()

    async def known_journey(self) -> Row:
        """Return the journey of who asks, or answer 404."""
        journey = await self.journey()
        if journey is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "Your journey begins with your first round.")
        return journey

    async def show(self) -> None:
        """Answer with the journey as it is now."""
        journey = await self.known_journey()
        self.write_json(
            {
                "city": city_json(*self.application.world.by_city_id[journey.city_id]),
                "coins": journey.coins,
                "earned": journey.earned,
                "km": journey.km,
            }
        )


class FlightsApi(JourneyApi):
    """The flights of who asks."""

    async def get(self) -> None:
        """List those that can be paid."""
        journey = await self.known_journey()
        world = self.application.world
        _, here = world.by_city_id[journey.city_id]
        self.write_json(
            [
                {"city": city_json(f.country, f.city), "km": round(f.km), "fare": f.fare}
                for f in flights_from(world, here)
                if f.fare <= journey.coins
            ]
        )

    async def post(self) -> None:
        """Fly, or 409."""
        content = self.body("from", "to")
        start_id, end_id = (number(content, name, 1, LARGEST_ID) for name in ("from", "to"))
        _, start = self.place(str(start_id))
        _, end = self.place(str(end_id))
        await self.known_journey()
        if not await self.fly(start, end):
            raise Refusal(
                HTTPStatus.CONFLICT, f"You are not in {start.name}, or lack the coins for it."
            )
        await self.show()


class PlayersApi(ApiHandler, AccountHandler):
    """Accounts."""

    async def post(self) -> None:
        """Make an account and log in."""
        session = await self.sign_up(*self.credentials())
        self.write_json({"name": session.name, "is_admin": False}, HTTPStatus.CREATED)


class SessionApi(ApiHandler, AccountHandler):
    """Who asks."""

    def get(self) -> None:
        """Show the name, or 404 for a guest."""
        if self.session is None or not self.session.name:
            raise Refusal(HTTPStatus.NOT_FOUND, "You are not logged in.")
        self.write_json({"name": self.session.name, "is_admin": self.session.is_admin})

    async def post(self) -> None:
        """Log in."""
        session = await self.log_in(*self.credentials())
        self.write_json({"name": session.name, "is_admin": session.is_admin})

    def delete(self) -> None:
        """Log out."""
        self.clear_cookie(SESSION_COOKIE)
        self.set_status(HTTPStatus.NO_CONTENT)


class OpenApiHandler(ApiHandler):
    """The description, for programs."""

    def get(self) -> None:
        """Show it."""
        self.write_json(openapi.document(self.application.config.release))


class ApiPageHandler(BaseHandler):
    """The description, for people."""

    def get(self) -> None:
        """Show it."""
        self.render(
            "api.html",
            document=openapi.document(self.application.config.release),
            type_in_words=type_in_words,
        )


def type_in_words(schema: openapi.Schema) -> str:
    """Return HTML that says what a schema takes."""
    match schema:
        case {"$ref": reference}:
            name = escape.xhtml_escape(reference.split("/")[-1])
            return f'<a href="#{name}">{name}</a>'
        case {"anyOf": choices}:
            return " or ".join(map(type_in_words, choices))
        case {"const": value}:
            return f"<code>{escape.xhtml_escape(json.dumps(value))}</code>"
        case {"enum": values}:
            return ", ".join(f"<code>{escape.xhtml_escape(value)}</code>" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {type_in_words(items)}"
        case {"type": "object", "properties": properties}:
            return "; ".join(
                f"<code>{escape.xhtml_escape(name)}</code>: {type_in_words(its)}"
                for name, its in properties.items()
            )
    words = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most"}
    limits = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return " ".join([schema["type"], *limits])
