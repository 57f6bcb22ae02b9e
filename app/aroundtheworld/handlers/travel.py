"""Where players are, and where they can go."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from tornado import web

from aroundtheworld.clock import when
from aroundtheworld.db import events, journeys, photos, rounds
from aroundtheworld.db.engine import Row
from aroundtheworld.geo import svg_path
from aroundtheworld.handlers.base import BaseHandler
from aroundtheworld.handlers.pages import map_view
from aroundtheworld.travel import Flight, flight, flights_from
from aroundtheworld.world import City, Country

# How many flights the page lists at once; the rest unfolds, and the map shows all.
LISTED_FLIGHTS = 36
SHOWN_EVENTS = 12


class TravelBaseHandler(BaseHandler):
    """What the pages about travelling share."""

    async def journey(self) -> Row | None:
        """Return the journey of who asks, or None before their first round."""
        if self.session is None:
            return None
        journey = await self.database.read_async(journeys.by_player, self.session.player_id)
        # A newer release may have known more cities; then this release sees no journey.
        return journey if journey and journey.city_id in self.application.world.by_city_id else None

    def place(self, city_id: str) -> tuple[Country, City]:
        """Return the city of that number and its country, or answer 404."""
        is_number = city_id.isascii() and city_id.isdigit() and len(city_id) < 16
        found = self.application.world.by_city_id.get(int(city_id)) if is_number else None
        if found is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        return found

    async def fly(self, start: City, end: City) -> bool:
        """Fly if the player is in `start` and can pay; return whether they are in `end` then."""
        journey = await self.journey()
        if journey is None or self.session is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        country, _ = self.application.world.by_city_id[end.id]
        way = flight(start, country, end)
        if end != start and await self.database.write_async(
            journeys.fly, self.session.player_id, start.id, end.id, way.km, way.fare
        ):
            return True
        # The request may have been sent twice, and the first request flew.
        journey = await self.journey()
        return journey is not None and journey.city_id == end.id

    def way(self, flown: Sequence[Row]) -> str:
        """Return the flights between cities that are known here, as a path for the map."""
        world = self.application.world
        legs = [
            [world.by_city_id[flight.from_city_id][1], world.by_city_id[flight.to_city_id][1]]
            for flight in flown
            if {flight.from_city_id, flight.to_city_id} <= world.by_city_id.keys()
        ]
        return "".join(svg_path([start.position, end.position]) for start, end in legs)

    def show_city(
        self,
        country: Country,
        city: City,
        journey: Row | None,
        problem: str = "",
        shown: Sequence[Row] = (),
    ) -> None:
        """Render the page of a city, with the way there."""
        world, positions = self.application.world, self.application.city_positions
        here = world.by_city_id[journey.city_id][1] if journey else None
        way: Flight | None = None
        places = [positions[city.id]]
        if here is not None and here != city:
            way = flight(here, country, city)
            places.append(positions[here.id])
        self.render(
            "city.html",
            country=country,
            city=city,
            journey=journey,
            here=here,
            flight=way,
            problem=problem,
            photos=shown,
            view=map_view(places),
            position=positions[city.id],
            here_position=positions[here.id] if here else None,
            path=svg_path([here.position, city.position]) if here and way else "",
        )


class TravelHandler(TravelBaseHandler):
    """The map of a journey, and the desk that sells tickets."""

    async def get(self) -> None:
        """Show where the player is, and where they can afford to go."""
        journey = await self.journey()
        if journey is None or self.session is None:
            self.render("quiz_start.html")
            return
        world = self.application.world
        country, here = world.by_city_id[journey.city_id]
        flights = flights_from(world, here)
        affordable = [f for f in flights if f.fare <= journey.coins]
        flown = await self.database.read_async(journeys.latest_flights, self.session.player_id)
        self.render(
            "travel.html",
            journey=journey,
            country=country,
            here=here,
            positions=self.application.city_positions,
            affordable=affordable,
            listed=affordable[:LISTED_FLIGHTS],
            next_flight=flights[len(affordable)] if len(affordable) < len(flights) else None,
            path=self.way(flown),
        )

    async def post(self) -> None:
        """Fly, or say why not."""
        country, city = self.place(self.get_body_argument("to"))
        _, start = self.place(self.get_body_argument("from"))
        if await self.fly(start, city):
            self.redirect("/travel", status=HTTPStatus.SEE_OTHER)
            return
        self.set_status(HTTPStatus.CONFLICT)
        self.show_city(
            country, city, await self.journey(), "That flight could not be booked: see below."
        )


class YouHandler(TravelBaseHandler):
    """A player's own page: what they own, played and saw."""

    async def get(self) -> None:
        """Show it; who has not begun may begin."""
        if self.session is None:
            self.render("quiz_start.html")
            return
        player_id, world = self.session.player_id, self.application.world
        journey = await self.journey()
        flown = [
            flight
            for flight in await self.database.read_async(journeys.latest_flights, player_id)
            if {flight.from_city_id, flight.to_city_id} <= world.by_city_id.keys()
        ]
        been = {city for flight in flown for city in (flight.from_city_id, flight.to_city_id)}
        if journey is not None:
            been.add(journey.city_id)
        self.render(
            "you.html",
            journey=journey,
            here=world.by_city_id[journey.city_id] if journey else None,
            record=await self.database.read_async(rounds.record, player_id),
            played=await self.database.read_async(rounds.latest, player_id),
            flown=flown,
            been=[world.by_city_id[city] for city in been],
            cities=world.by_city_id,
            positions=self.application.city_positions,
            path=self.way(flown),
            when=when,
        )


class LeaderboardHandler(BaseHandler):
    """Who earned most."""

    async def get(self) -> None:
        """Show them."""
        leaders = await self.database.read_async(journeys.leaders)
        happened = await self.database.read_async(events.latest, SHOWN_EVENTS)
        sentences = [(event.id, self.application.feed.sentence(event)) for event in happened]
        self.render("leaderboard.html", leaders=leaders, happened=sentences[::-1])


class CityHandler(TravelBaseHandler):
    """One city, and the flight there."""

    async def get(self, city_id: str) -> None:
        """Show it, or 404."""
        country, city = self.place(city_id)
        shown = await self.database.read_async(photos.of_city, city.id)
        self.show_city(country, city, await self.journey(), shown=shown)
