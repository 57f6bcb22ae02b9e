"""What the JSON API takes and answers: an OpenAPI 3.1 document, the source of its page too."""

from __future__ import annotations

from typing import Any

from aroundtheworld.db.players import NAME_RULE
from aroundtheworld.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH
from aroundtheworld.quiz import CHOICES, QUESTIONS_PER_ROUND
from aroundtheworld.world import CONTINENTS

JSON = "application/json"
# As many digits as the addresses take; PostgreSQL's own limit is a little higher.
LARGEST_ID = 999_999_999

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ID: Schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
POSITION: Schema = {"type": "integer", "minimum": 0, "maximum": QUESTIONS_PER_ROUND - 1}
CHOICE: Schema = {"type": "integer", "minimum": 0, "maximum": CHOICES - 1}


def one_of(values: list[str]) -> Schema:
    """Return the schema of a word out of several."""
    return {"type": "string", "enum": values}


def or_null(schema: Schema) -> Schema:
    """Return the schema that takes null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def thing(**properties: Schema) -> Schema:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def named(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


CITY = {
    "id": ID,
    "name": TEXT,
    "latitude": {"type": "number", "minimum": -90, "maximum": 90},
    "longitude": {"type": "number", "minimum": -180, "maximum": 180},
    "population": COUNT,
    "is_capital": {"type": "boolean"},
    "country": {**TEXT, "description": "the country's slug"},
}
COUNTRY = {
    "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
    "name": TEXT,
    "slug": {"type": "string", "pattern": "^[a-z-]+$"},
    "continents": list_of(one_of(list(CONTINENTS.values()))),
    "population": COUNT,
    "area_km2": {"type": "number", "minimum": 0},
    "neighbours": {**list_of(TEXT), "description": "slugs"},
}
QUESTION = {
    "position": POSITION,
    "kind": {**TEXT, "description": "what it is about"},
    "prompt": TEXT,
    "choices": list_of(TEXT),
}

SCHEMAS: dict[str, Schema] = {
    "Error": thing(
        error=thing(
            status={"type": "integer", "minimum": 400, "maximum": 599},
            title=TEXT,
            detail={**TEXT, "description": "a sentence for people"},
        )
    ),
    "City": thing(**CITY),
    "Country": thing(**COUNTRY),
    "CountryWithCities": thing(**COUNTRY, cities=list_of(named("City"))),
    "Question": thing(**QUESTION),
    "AnsweredQuestion": thing(
        **QUESTION, chosen=CHOICE, answer=CHOICE, fact=TEXT, coins={**COUNT, "maximum": 20}
    ),
    "Round": thing(
        id=ID,
        score={**COUNT, "maximum": QUESTIONS_PER_ROUND},
        coins=COUNT,
        answered=list_of(named("AnsweredQuestion")),
        question={
            **or_null(named("Question")),
            "description": "the question to be answered, null at the end",
        },
    ),
    "Journey": thing(city=named("City"), coins=COUNT, earned=COUNT, km=COUNT),
    "Flight": thing(city=named("City"), km=COUNT, fare=COUNT),
    "Leader": thing(
        name={**or_null(TEXT), "description": "null for a guest"}, earned=COUNT, km=COUNT
    ),
    "Player": thing(name=TEXT, is_admin={"type": "boolean"}),
    "Answer": thing(position=POSITION, choice=CHOICE),
    "Ticket": thing(**{"from": ID, "to": ID}),
    "Credentials": thing(
        name={"type": "string", "maxLength": 100},
        password={"type": "string", "maxLength": MAXIMUM_LENGTH},
    ),
    "NewPlayer": thing(
        name={
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9_-]{1,29}$",
            "description": NAME_RULE,
        },
        password={"type": "string", "minLength": MINIMUM_LENGTH, "maxLength": MAXIMUM_LENGTH},
    ),
}

REFUSALS = {
    400: "The body is no JSON, or not what is described here: the answer says what is wrong",
    403: "The name and the password do not belong together",
    404: "There is no such thing, or it is somebody else's",
    405: "The address has no such method",
    409: "What is asked for does not fit how things stand now; nothing was changed",
    413: "The body is too large",
    415: f"The body is not called {JSON}",
    429: "Too many wrong passwords: wait for as many seconds as Retry-After says",
    503: "The database is busy or gone; nothing was changed",
}


def answer(description: str, schema: Schema | None) -> dict[str, Any]:
    """Return what OpenAPI calls a response."""
    content = {"content": {JSON: {"schema": schema}}} if schema else {}
    return {"description": description, **content}


def operation(
    name: str,
    summary: str,
    gives: tuple[int, str, Schema | None],
    refuses: tuple[int, ...] = (),
    takes: str | None = None,
) -> dict[str, Any]:
    """Return what OpenAPI calls an operation.

    Args:
        name: what code generated from the document calls it.
        summary: what it does.
        gives: status, description and schema of the answer if all goes well.
        refuses: the statuses of `REFUSALS` that are its own.
        takes: the schema of the body.
    """
    status, description, schema = gives
    body_refusals = (400, 413, 415) if takes else ()
    statuses = sorted({*refuses, *body_refusals, 503})
    refusals = {str(code): answer(REFUSALS[code], named("Error")) for code in statuses}
    body = {
        "requestBody": {"required": True, "content": {JSON: {"schema": named(takes)}}}
    } if takes else {}  # fmt: skip
    return {
        "operationId": name,
        "summary": summary,
        **body,
        "responses": {str(status): answer(description, schema), **refusals},
    }


def parameter(name: str, schema: Schema) -> list[dict[str, Any]]:
    """Return the parameter of a path."""
    return [{"name": name, "in": "path", "required": True, "schema": schema}]


def document(release: str | None) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        release: id of the release that serves it, which is the API's version.
    """
    journey = (200, "Where you are now", named("Journey"))
    stands = (200, "The round as it stands", named("Round"))
    player = named("Player")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Around The World",
            "version": release or "development",
            "description": (
                "What the pages do, for programs. Who you are is kept in a signed cookie: send"
                " back what you get. A first round makes you a guest; no account is needed."
                f" Bodies are {JSON} and are refused from pages of other sites."
            ),
        },
        "paths": {
            "/api/ping": {
                "get": operation(
                    "ping", "Answer at once",
                    (200, "The worker answers", thing(ping={"const": "pong"})),
                )
            },
            "/api/countries": {
                "get": operation(
                    "listCountries", "All countries", (200, "By name", list_of(named("Country")))
                )
            },
            "/api/countries/{slug}": {
                "parameters": parameter("slug", COUNTRY["slug"]),
                "get": operation(
                    "getCountry", "One country and its cities",
                    (200, "The country", named("CountryWithCities")), refuses=(404,),
                ),
            },
            "/api/cities/{id}": {
                "parameters": parameter("id", ID),
                "get": operation(
                    "getCity", "One city", (200, "The city", named("City")), refuses=(404,)
                ),
            },
            "/api/leaderboard": {
                "get": operation(
                    "listLeaders", "Who earned most",
                    (200, "First who earned most", list_of(named("Leader"))),
                )
            },
            "/api/rounds": {
                "post": operation(
                    "beginRound", "Begin a round of questions about where you are",
                    (201, "The new round", named("Round")),
                )
            },
            "/api/rounds/{id}": {
                "parameters": parameter("id", ID),
                "get": operation("getRound", "One of your rounds", stands, refuses=(404,)),
            },
            "/api/rounds/{id}/answers": {
                "parameters": parameter("id", ID),
                "post": operation(
                    "answer", "Answer the question that is due; once, and in order",
                    stands, refuses=(404, 409), takes="Answer",
                ),
            },
            "/api/journey": {
                "get": operation(
                    "getJourney", "Where you are and what you own; 404 before your first round",
                    journey, refuses=(404,),
                )
            },
            "/api/journey/flights": {
                "get": operation(
                    "listFlights", "The flights that you can pay",
                    (200, "The cheapest first", list_of(named("Flight"))), refuses=(404,),
                ),
                "post": operation(
                    "fly", "Fly from where you are to another city",
                    journey, refuses=(404, 409), takes="Ticket",
                ),
            },
            "/api/players": {
                "post": operation(
                    "signUp", "Give the guest that you are a name and a password",
                    (201, "You are logged in", player), refuses=(409,), takes="NewPlayer",
                )
            },
            "/api/session": {
                "get": operation(
                    "whoAmI", "Your name; 404 for a guest", (200, "You", player), refuses=(404,)
                ),
                "post": operation(
                    "logIn", "Log in", (200, "You are logged in", player),
                    refuses=(403, 429), takes="Credentials",
                ),
                "delete": operation("logOut", "Log out", (204, "You are nobody now", None)),
            },
        },
        "components": {"schemas": SCHEMAS},
    }  # fmt: skip
