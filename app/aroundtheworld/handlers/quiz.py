"""Playing a round."""

from __future__ import annotations

from http import HTTPStatus

from tornado import web

from aroundtheworld import quiz, written
from aroundtheworld.db import journeys, rounds
from aroundtheworld.db import questions as written_questions
from aroundtheworld.geo import project
from aroundtheworld.handlers.base import BaseHandler, Session


class PlayingHandler(BaseHandler):
    """What the page and the API do with rounds."""

    async def begin_round(self) -> tuple[int, int]:
        """Begin a round where the player is; return the ids of the player and of the round."""
        world, random = self.application.world, self.application.random
        player_id = self.session.player_id if self.session else None
        journey = (
            await self.database.read_async(journeys.by_player, player_id)
            if player_id is not None
            else None
        )
        here = world.by_city_id.get(journey.city_id) if journey else None
        country, city = here or random.choice(world.starting_places)
        made_up = quiz.make_round(world, random, near=country)
        drawn = await self.database.read_async(
            written_questions.draw, [q.country for q in made_up], quiz.MOST_WRITTEN, random
        )
        questions = quiz.with_written(made_up, [written.question(row, random) for row in drawn])
        new_id, round_id = await self.database.write_async(
            rounds.start, player_id, questions, city.id
        )
        if new_id != player_id:
            self.begin_session(Session(new_id))
        return new_id, round_id

    async def answer(self, round_id: int, position: int, chosen: int) -> bool:
        """Answer a question; return whether it counted.

        A round that is not the player's is a 404, a choice that does not exist a 400.
        """
        try:
            counted = await self.database.write_async(
                rounds.answer, round_id, self.player_id(), position, chosen
            )
        except ValueError as error:
            raise web.HTTPError(HTTPStatus.BAD_REQUEST, "%s", error) from error
        if counted is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        return counted

    def player_id(self) -> int:
        """Return who plays; without a session no round can be theirs."""
        if self.session is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        return self.session.player_id


class QuizHandler(PlayingHandler):
    """The way into a round."""

    async def get(self) -> None:
        """Go on with the round that is open, or offer to begin a round."""
        if self.session is not None:
            round_id = await self.database.read_async(rounds.latest_open, self.session.player_id)
            if round_id is not None:
                self.redirect(f"/quiz/{round_id}")
                return
        self.render("quiz_start.html")

    async def post(self) -> None:
        """Begin a round and go to its first question."""
        _, round_id = await self.begin_round()
        self.redirect(f"/quiz/{round_id}", status=HTTPStatus.SEE_OTHER)


class RoundHandler(PlayingHandler):
    """A round: the question that is due, or the result. Other players' rounds do not exist."""

    async def get(self, round_id: str) -> None:
        """Show where the round stands."""
        state = await self.database.read_async(rounds.load, int(round_id), self.player_id())
        if state is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        if state.current is not None:
            self.render(
                "question.html", state=state, question=state.current, coins_of=rounds.coins_of
            )
            return
        world = self.application.world
        self.render(
            "result.html",
            state=state,
            coins_of=rounds.coins_of,
            dots=[
                (*project(*world.by_code[q.country].capital.position), q.chosen == q.answer)
                for q in state.questions
                if q.country in world.by_code
            ],
        )

    async def post(self, round_id: str) -> None:
        """Take an answer; whether it counted or not, show where the round stands then."""
        position, chosen = self.number("position"), self.number("choice")
        await self.answer(int(round_id), position, chosen)
        self.redirect(f"/quiz/{round_id}", status=HTTPStatus.SEE_OTHER)

    def number(self, name: str) -> int:
        """Return a small whole number from the form, or answer 400."""
        value = self.get_body_argument(name)
        if not (value.isascii() and value.isdigit() and len(value) <= 3):
            raise web.HTTPError(HTTPStatus.BAD_REQUEST, "%s is no number: %r", name, value)
        return int(value)
