"""Questions about the world. Pure: no database, no clock, no requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from random import Random

from aroundtheworld.geo import great_circle_km
from aroundtheworld.world import CONTINENTS, Country, World

QUESTIONS_PER_ROUND = 10
CHOICES = 4
# With so many right answers a round is won, which is an event of the feed.
WINNING_SCORE = 6
# So many at most were written by somebody; the others are made up from the world's figures.
MOST_WRITTEN = 5

# Two numbers must differ by this factor to be asked about: figures age, and a question whose
# answer depends on the year of the census is no question about the world.
CLEAR_RATIO = 1.5


class Kind(StrEnum):
    """What a question is about."""

    CAPITAL = "capital"
    COUNTRY = "country"
    CONTINENT = "continent"
    POPULATION = "population"
    AREA = "area"
    NEIGHBOUR = "neighbour"
    NEAREST = "nearest"


KIND_NAMES = {
    Kind.CAPITAL: "Capitals",
    Kind.COUNTRY: "Which country",
    Kind.CONTINENT: "Continents",
    Kind.POPULATION: "Population",
    Kind.AREA: "Area",
    Kind.NEIGHBOUR: "Neighbours",
    Kind.NEAREST: "Distances",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its choices.

    Attributes:
        kind: what it is about; of a question that somebody wrote, its category.
        country: code of the country it is about.
        prompt: the question.
        choices: what may be answered, all different.
        answer: index of the right choice.
        fact: a sentence that tells the answer, shown afterwards.
        written_id: of the question that somebody wrote; None for a generated question.
    """

    kind: str
    country: str
    prompt: str
    choices: tuple[str, ...]
    answer: int
    fact: str
    written_id: int | None = None


def _question(
    rng: Random, kind: Kind, country: Country, prompt: str, right: str, wrong: list[str], fact: str
) -> Question:
    """Return a question with its choices shuffled."""
    choices = [right, *wrong]
    rng.shuffle(choices)
    return Question(kind, country.code, prompt, tuple(choices), choices.index(right), fact)


def _others_nearby(rng: Random, world: World, country: Country, count: int) -> list[Country]:
    """Return `count` other countries of the same continent that have a single capital."""
    nearby = [
        other
        for other in world.on(country.continents[0])
        if other.code != country.code and len(other.capitals) == 1
    ]
    return rng.sample(nearby, count)


def _ask_capital(rng: Random, world: World, country: Country) -> Question | None:
    if len(country.capitals) != 1:
        return None
    capital = country.capital.name
    wrong = [other.capital.name for other in _others_nearby(rng, world, country, CHOICES - 1)]
    return _question(
        rng,
        Kind.CAPITAL,
        country,
        f"What is the capital of {country.the_name}?",
        capital,
        wrong,
        f"{capital} is the capital of {country.the_name}.",
    )


def _ask_country(rng: Random, world: World, country: Country) -> Question | None:
    capital = country.capital.name
    if len(country.capitals) != 1 or country.name in capital:
        return None
    wrong = [other.name for other in _others_nearby(rng, world, country, CHOICES - 1)]
    return _question(
        rng,
        Kind.COUNTRY,
        country,
        f"{capital} is the capital of which country?",
        country.name,
        wrong,
        f"{capital} is the capital of {country.the_name}.",
    )


def _ask_continent(rng: Random, world: World, country: Country) -> Question | None:
    if len(country.continents) != 1:
        return None
    right = CONTINENTS[country.continents[0]]
    wrong = rng.sample([name for name in CONTINENTS.values() if name != right], CHOICES - 1)
    return _question(
        rng,
        Kind.CONTINENT,
        country,
        f"On which continent is {country.the_name}?",
        right,
        wrong,
        f"{country.sentence_start} is in {right}.",
    )


def _largest(
    rng: Random,
    world: World,
    country: Country,
    measure: Callable[[Country], float],
) -> list[Country] | None:
    """Return smaller countries to set beside `country`, or None if there are too few."""
    smaller = [c for c in world.countries if measure(c) * CLEAR_RATIO <= measure(country)]
    # The largest of the smaller ones: neither obvious, nor too close to call.
    smaller.sort(key=measure, reverse=True)
    close = smaller[: 8 * CHOICES]
    return rng.sample(close, CHOICES - 1) if len(close) >= CHOICES - 1 else None


def _ask_population(rng: Random, world: World, country: Country) -> Question | None:
    smaller = _largest(rng, world, country, lambda c: c.population)
    if smaller is None:
        return None
    return _question(
        rng,
        Kind.POPULATION,
        country,
        "Which of these countries has the most people?",
        country.name,
        [other.name for other in smaller],
        f"{country.sentence_start} has about {rounded(country.population)} people.",
    )


def _ask_area(rng: Random, world: World, country: Country) -> Question | None:
    smaller = _largest(rng, world, country, lambda c: c.area_km2)
    if smaller is None:
        return None
    return _question(
        rng,
        Kind.AREA,
        country,
        "Which of these countries is the largest?",
        country.name,
        [other.name for other in smaller],
        f"{country.sentence_start} covers about {rounded(country.area_km2)} square kilometres.",
    )


def _ask_neighbour(rng: Random, world: World, country: Country) -> Question | None:
    if not country.neighbours:
        return None
    right = world.by_code[rng.choice(country.neighbours)]
    strangers = [
        other
        for other in _by_distance(world, country.code)
        if country.continents[0] in other.continents and other.code not in country.neighbours
    ]
    if len(strangers) < CHOICES - 1:
        return None
    # Of the continent's other countries, the nearer half: the far ones give the answer away.
    nearer = strangers[: max(CHOICES, len(strangers) // 2)]
    return _question(
        rng,
        Kind.NEIGHBOUR,
        country,
        f"Which of these countries borders {country.the_name}?",
        right.name,
        [other.name for other in rng.sample(nearer, CHOICES - 1)],
        f"{right.sentence_start} shares a border with {country.the_name}.",
    )


def _ask_nearest(rng: Random, world: World, country: Country) -> Question | None:
    others = [c for c in _by_distance(world, country.code) if len(c.capitals) == 1]
    # Drawn from the nearest ones only: cities at the other end of the world are no choice.
    drawn = rng.sample(others[: 12 * CHOICES], CHOICES)
    right, *wrong = sorted(drawn, key=lambda other: _distance(country, other))
    near, next_near = _distance(country, right), _distance(country, wrong[0])
    if next_near < near * CLEAR_RATIO:
        return None
    return _question(
        rng,
        Kind.NEAREST,
        country,
        f"Which of these cities is nearest to {country.capital.name}?",
        right.capital.name,
        [other.capital.name for other in wrong],
        f"{right.capital.name} is {rounded(near)} kilometres from {country.capital.name}.",
    )


# Each returns None when it cannot ask about that country, or not fairly with what was drawn.
_ASK: dict[Kind, Callable[[Random, World, Country], Question | None]] = {
    Kind.CAPITAL: _ask_capital,
    Kind.COUNTRY: _ask_country,
    Kind.CONTINENT: _ask_continent,
    Kind.POPULATION: _ask_population,
    Kind.AREA: _ask_area,
    Kind.NEIGHBOUR: _ask_neighbour,
    Kind.NEAREST: _ask_nearest,
}


def make_round(world: World, rng: Random, near: Country | None = None) -> list[Question]:
    """Return a round of `QUESTIONS_PER_ROUND` questions, no two about the same country.

    Every kind is asked at least once, in random order.

    Args:
        world: what to ask about.
        rng: where chance comes from.
        near: where the player is. The first question is about that country if it can be, and the
            others are about its continent, as far as that has enough to ask about; on which
            continent that is, is not asked then.
    """
    kinds = [kind for kind in Kind if near is None or kind is not Kind.CONTINENT]
    chosen_kinds = [kinds[i % len(kinds)] for i in range(QUESTIONS_PER_ROUND)]
    rng.shuffle(chosen_kinds)
    subjects = list(world.countries)
    rng.shuffle(subjects)
    if near is not None:
        # A stable sort: by nearness, and at random within.
        subjects.sort(key=lambda c: (c.code != near.code, near.continents[0] not in c.continents))
    questions: list[Question] = []
    for kind in chosen_kinds:
        for position, country in enumerate(subjects):
            question = _ASK[kind](rng, world, country)
            if question is not None:
                questions.append(question)
                del subjects[position]
                break
    return questions


def with_written(questions: Sequence[Question], written: Sequence[Question]) -> list[Question]:
    """Return the round with `written` questions in place of those about the same countries."""
    by_country = {question.country: question for question in written}
    return [by_country.get(question.country, question) for question in questions]


def rounded(number: float) -> str:
    """Return `number` to two or three digits, in words where it is large: '1.4 billion'."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{float(f'{number / size:.2g}'):g} {word}"
    digits = 2 if number >= 100 else 1
    return f"{int(float(f'{number:.{digits}g}')):,}"


@cache
def _by_distance(world: World, code: str) -> tuple[Country, ...]:
    """Return all other countries, the nearest capital first; sorting them takes the longest."""
    here = world.by_code[code]
    others = [country for country in world.countries if country is not here]
    others.sort(key=lambda other: _distance(here, other))
    return tuple(others)


def _distance(a: Country, b: Country) -> float:
    """Return the kilometres between two capitals."""
    return great_circle_km(a.capital.position, b.capital.position)
