"""The stored reports: plain computation over whole tables, for the admin side only.

Each returns a `Report`: what was found, as tables, charts and a map, ready to be kept as JSON.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import exp
from typing import TypedDict

import sqlalchemy as sa

from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import flights, journeys, players, questions, round_questions, rounds
from aroundtheworld.travel import coins_for
from aroundtheworld.world import CONTINENTS, World
from aroundtheworld.written import CATEGORIES, DIFFICULTIES

WEEK_MS = 7 * 24 * 60 * 60 * 1000

Cell = str | int | float


class Table(TypedDict):
    """A table: its first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


class Chart(TypedDict):
    """A chart: `kind` is "bars" or "lines"; every series has a value for each label, or None."""

    title: str
    kind: str
    labels: list[str]
    series: list[tuple[str, list[float | None]]]


class Report(TypedDict):
    """What a report found; `legs` are flights to draw on the map: from, to (city ids), how many."""

    summary: list[tuple[str, str]]
    charts: list[Chart]
    tables: list[Table]
    legs: list[tuple[int, int, int]]


def _rows(connection: sa.Connection, query: sa.Select[*tuple[object, ...]]) -> Iterator[Row]:
    """Yield rows a few thousand at a time: a whole table need not fit into memory."""
    yield from connection.execute(query, execution_options={"yield_per": 5000})


def _week(milliseconds: int) -> str:
    """Return the Monday of that time's week, in UTC."""
    day = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return (day - timedelta(days=day.weekday())).strftime("%Y-%m-%d")


def _weeks(first_ms: int | None, last_ms: int | None) -> list[str]:
    if first_ms is None or last_ms is None:
        return []
    return list(dict.fromkeys(_week(at) for at in (*range(first_ms, last_ms, WEEK_MS), last_ms)))


def rasch(
    answers: list[tuple[int, int, bool]], passes: int = 15
) -> tuple[list[float], list[float]]:
    """Fit Rasch's model: that an answer is right depends on skill minus difficulty.

    So a question is not called hard because weak players happened to get it.

    Args:
        answers: index of the player, index of the question, whether it was right.
        passes: over all answers.

    Returns:
        Skill of every player and difficulty of every question, in logits; difficulties average 0.
    """
    skills = [0.0] * (1 + max((p for p, _, _ in answers), default=-1))
    difficulties = [0.0] * (1 + max((q for _, q, _ in answers), default=-1))
    for _ in range(passes):
        for values, sign in ((difficulties, -1.0), (skills, 1.0)):
            # A prior of variance 4 keeps those finite who were always right, or never.
            gradient = [-value / 4 for value in values]
            curvature = [0.25] * len(values)
            for player, question, right in answers:
                chance = 1 / (1 + exp(difficulties[question] - skills[player]))
                i = question if sign < 0 else player
                gradient[i] += sign * (right - chance)
                curvature[i] += chance * (1 - chance)
            for i in range(len(values)):
                # No step beyond 1: far from the answer, Newton's steps are too long.
                values[i] += max(-1.0, min(1.0, gradient[i] / curvature[i]))
    mean = sum(difficulties) / len(difficulties) if difficulties else 0.0
    return [skill - mean for skill in skills], [value - mean for value in difficulties]


def difficulty(connection: sa.Connection, world: World) -> Report:
    """Set the difficulty that answers show against the share of right ones and what authors say."""
    q = round_questions.c
    player_index: dict[int, int] = {}
    item_index: dict[tuple[object, ...], int] = {}
    answers: list[tuple[int, int, bool]] = []
    for row in _rows(
        connection,
        sa.select(rounds.c.player_id, q.kind, q.country, q.question_id, q.chosen == q.answer)
        .join(rounds, rounds.c.id == q.round_id)
        .where(q.chosen.is_not(None)),
    ):
        player_id, kind, country, written, right = row
        item = item_index.setdefault((kind, country, written), len(item_index))
        answers.append((player_index.setdefault(player_id, len(player_index)), item, bool(right)))
    _, fitted = rasch(answers)
    asked, right_ones = Counter(i for _, i, _ in answers), Counter(i for _, i, r in answers if r)
    declared = {
        row.id: row.difficulty
        for row in _rows(connection, sa.select(questions.c.id, questions.c.difficulty))
    }

    def grouped(label: Callable[[tuple[object, ...]], str | None]) -> list[list[Cell]]:
        """Return label, answers, share of right ones and mean difficulty, the hardest first."""
        groups: dict[str, list[int]] = defaultdict(list)
        for item, i in item_index.items():
            name = label(item)
            if name is not None:
                groups[name].append(i)
        rows: list[list[Cell]] = []
        for name, items in groups.items():
            count = sum(asked[i] for i in items)
            weighted = sum(fitted[i] * asked[i] for i in items) / count
            share = sum(right_ones[i] for i in items) / count
            rows.append([name, count, round(100 * share, 1), round(weighted, 2)])
        return sorted(rows, key=lambda row: -float(row[3]))

    def item_name(item: tuple[object, ...]) -> str:
        kind, country, written = item
        place = world.by_code[str(country)].name if country in world.by_code else country
        return f"{CATEGORIES.get(str(kind), kind)}, {place}" + (
            f", no. {written}" if written else ""
        )

    kinds = grouped(lambda item: CATEGORIES.get(str(item[0]), str(item[0])))
    authors = grouped(lambda item: declared.get(item[2]))
    authors.sort(key=lambda row: DIFFICULTIES.index(str(row[0])))
    columns = ["Answers", "Right, %", "Difficulty"]
    tables: list[Table] = [
        {"title": "By category", "columns": ["Category", *columns], "rows": kinds}
    ]
    charts = [_bars("Right answers by category, %", kinds, 2), _bars("Difficulty", kinds, 3)]
    if authors:
        title = "Questions that somebody wrote, by what the author expected"
        tables.append({"title": title, "columns": ["Expected", *columns], "rows": authors})
        charts.append(_bars(title + ", % right", authors, 2))
    hardest = [row for row in grouped(item_name) if float(row[1]) >= 10]
    for title, rows in (("Hardest", hardest[:15]), ("Easiest", hardest[::-1][:15])):
        tables.append(
            {"title": f"{title}, of those answered ten times", "columns": ["About", *columns],
             "rows": rows}
        )  # fmt: skip
    return {
        "summary": [
            ("Answers", f"{len(answers):,}"),
            ("Players", f"{len(player_index):,}"),
            ("Questions", f"{len(item_index):,}"),
        ],
        "charts": charts,
        "tables": tables,
        "legs": [],
    }


def _bars(title: str, rows: list[list[Cell]], column: int) -> Chart:
    return {
        "title": title,
        "kind": "bars",
        "labels": [str(row[0]) for row in rows],
        "series": [("", [float(row[column]) for row in rows])],
    }


def growth(connection: sa.Connection, _world: World) -> Report:
    """Count new and returning players and rounds for every week."""
    new = Counter(
        _week(row.created_at) for row in _rows(connection, sa.select(players.c.created_at))
    )
    begun: Counter[str] = Counter()
    active: dict[str, set[int]] = defaultdict(set)
    first_week: dict[int, str] = {}
    first_ms = last_ms = None
    for row in _rows(
        connection,
        sa.select(rounds.c.player_id, rounds.c.started_at).order_by(rounds.c.started_at),
    ):
        week = _week(row.started_at)
        first_ms, last_ms = first_ms or row.started_at, row.started_at
        begun[week] += 1
        active[week].add(row.player_id)
        first_week.setdefault(row.player_id, week)
    weeks = _weeks(first_ms, last_ms)
    returning = {week: sum(first_week[p] != week for p in active[week]) for week in weeks}
    rows: list[list[Cell]] = [
        [week, new[week], len(active[week]), returning[week], begun[week]] for week in weeks
    ]
    names = ["New players", "Players", "Of them back again", "Rounds"]
    return {
        "summary": [
            ("Weeks", str(len(weeks))),
            ("Players", f"{sum(new.values()):,}"),
            ("Rounds", f"{sum(begun.values()):,}"),
        ],
        "charts": [
            _lines("Players per week", rows, names[:3]),
            _lines("Rounds per week", rows, names),
        ],
        "tables": [{"title": "Weeks", "columns": ["Week from", *names], "rows": rows}],
        "legs": [],
    }


def _lines(title: str, rows: list[list[Cell]], names: list[str]) -> Chart:
    return {
        "title": title,
        "kind": "lines",
        "labels": [str(row[0]) for row in rows],
        "series": [(name, [float(row[i]) for row in rows]) for i, name in enumerate(names, 1)],
    }


LEGS_DRAWN = 200


def travel(connection: sa.Connection, world: World) -> Report:
    """Count flights by leg, city and length."""
    legs: Counter[tuple[int, int]] = Counter()
    arrivals: Counter[int] = Counter()
    lengths: Counter[int] = Counter()
    km = 0
    f = flights.c
    for row in _rows(connection, sa.select(f.from_city_id, f.to_city_id, f.km)):
        legs[row.from_city_id, row.to_city_id] += 1
        arrivals[row.to_city_id] += 1
        lengths[row.km // 500] += 1
        km += row.km
    known = world.by_city_id
    top: list[list[Cell]] = [
        [known[city][1].name, known[city][0].name, count]
        for city, count in arrivals.most_common(25)
        if city in known
    ]
    bins = range(max(lengths, default=-1) + 1)
    return {
        "summary": [
            ("Flights", f"{arrivals.total():,}"),
            ("Kilometres", f"{km:,}"),
            ("Cities reached", f"{len(arrivals):,}"),
            ("Legs", f"{len(legs):,}"),
        ],
        "charts": [
            {
                "title": "Flights by length, km",
                "kind": "bars",
                "labels": [f"{500 * i:,} to {500 * (i + 1):,}" for i in bins],
                "series": [("", [lengths[i] for i in bins])],
            }
        ],
        "tables": [
            {"title": "Most visited", "columns": ["City", "Country", "Arrivals"], "rows": top}
        ],
        "legs": [
            (a, b, count)
            for (a, b), count in legs.most_common(LEGS_DRAWN)
            if a in known and b in known
        ],
    }


def coverage(connection: sa.Connection, world: World) -> Report:
    """Count the questions of rounds about each country, by category, and those written about it."""
    q = round_questions.c
    asked: Counter[tuple[str, str]] = Counter()
    for row in _rows(connection, sa.select(q.country, q.kind)):
        asked[row.country, row.kind] += 1
    written: Counter[str] = Counter()
    for row in _rows(connection, sa.select(questions.c.country).where(questions.c.published)):
        written[row.country] += 1
    present = [kind for kind in CATEGORIES if any(key[1] == kind for key in asked)]
    rows: list[list[Cell]] = [
        [c.name, *(asked[c.code, kind] for kind in present), written[c.code]]
        for c in world.countries
    ]
    rows.sort(key=lambda row: sum(int(cell) for cell in row[1:-1]))
    never = sum(not any(row[1:-1]) for row in rows)
    continents = {code: world.on(code) for code in CONTINENTS}
    return {
        "summary": [
            ("Questions asked", f"{asked.total():,}"),
            ("Countries never asked about", str(never)),
            ("Countries somebody wrote about", str(sum(1 for n in written.values() if n))),
        ],
        "charts": [
            {
                "title": "Questions asked for each country, by continent and category",
                "kind": "stacked",
                "labels": list(CONTINENTS.values()),
                "series": [
                    (
                        CATEGORIES[kind],
                        [
                            round(sum(asked[c.code, kind] for c in countries) / len(countries), 2)
                            for countries in continents.values()
                        ],
                    )
                    for kind in present
                ],
            }
        ],
        "tables": [
            {
                "title": "Countries, least asked about first",
                "columns": ["Country", *(CATEGORIES[kind] for kind in present), "Written"],
                "rows": rows,
            }
        ],
        "legs": [],
    }


def economy(connection: sa.Connection, _world: World) -> Report:
    """Follow the coins: earned by answers and spent on flights each week, and who holds them."""
    earned: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    q, f = round_questions.c, flights.c
    first_ms, last_ms = connection.execute(
        sa.select(sa.func.min(q.answered_at), sa.func.max(q.answered_at))
    ).one()
    for row in _rows(
        connection,
        sa.select(q.chosen == q.answer, q.asked_at, q.answered_at).where(q.chosen.is_not(None)),
    ):
        right, asked_at, answered_at = row
        earned[_week(answered_at)] += coins_for(bool(right), answered_at - asked_at)
    for row in _rows(connection, sa.select(f.flown_at, f.fare)):
        spent[_week(row.flown_at)] += row.fare
    held = sorted(row.coins for row in _rows(connection, sa.select(journeys.c.coins)))
    weeks = sorted({*_weeks(first_ms, last_ms), *spent})
    rows: list[list[Cell]] = [[w, earned[w], spent[w], earned[w] - spent[w]] for w in weeks]
    size = max(50, -(-max(held, default=0) // 15))
    purses = Counter(coins // size for coins in held)
    bins = range(max(purses, default=-1) + 1)
    names = ["Earned", "Spent", "Left over"]
    return {
        "summary": [
            ("Earned", f"{earned.total():,}"),
            ("Spent", f"{spent.total():,}"),
            ("Held now", f"{sum(held):,}"),
            ("Median purse", str(held[len(held) // 2] if held else 0)),
            ("Inequality (Gini)", f"{gini(held):.2f}"),
        ],
        "charts": [
            _lines("Coins per week", rows, names),
            {
                "title": "Players by coins held",
                "kind": "bars",
                "labels": [f"{size * i:,} to {size * (i + 1) - 1:,}" for i in bins],
                "series": [("", [purses[i] for i in bins])],
            },
        ],
        "tables": [{"title": "Weeks", "columns": ["Week from", *names], "rows": rows}],
        "legs": [],
    }


def gini(held: list[int]) -> float:
    """Return how unevenly something is held: 0 if all hold the same, towards 1 if a holder has all.

    Args:
        held: what each holds, sorted upwards.
    """
    total = sum(held)
    if not total:
        return 0.0
    n = len(held)
    return 2 * sum(i * h for i, h in enumerate(held, 1)) / (n * total) - (n + 1) / n


KINDS: dict[str, tuple[str, Callable[[sa.Connection, World], Report]]] = {
    "difficulty": ("Difficulty against actual answers", difficulty),
    "growth": ("Growth per week", growth),
    "travel": ("Travel map", travel),
    "coverage": ("Coverage of categories by country", coverage),
    "economy": ("Economy", economy),
}
