"""The tables. What creates and changes them is in `migrations`; the two are compared in a test.

Times are whole milliseconds since the epoch: the same in every database, and cheap to subtract.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Whoever plays: a guest has no name. Signing up gives the same row a name and a password, so a
# guest's progress is kept.
players = sa.Table(
    "players",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(30), unique=True),
    sa.Column("password_hash", sa.String(200)),
    sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.CheckConstraint("(name IS NULL) = (password_hash IS NULL)", name="named_has_password"),
    sa.CheckConstraint("name IS NOT NULL OR NOT is_admin", name="admin_is_named"),
)

countries = sa.Table(
    "countries",
    metadata,
    sa.Column("code", sa.String(2), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("slug", sa.String(80), nullable=False, unique=True),
    sa.Column("continent", sa.String(2), nullable=False),
    sa.Column("population", sa.BigInteger, nullable=False),
    sa.Column("area_km2", sa.Float, nullable=False),
)

# What an outside service says about countries; `content` is a `facts.CountryFacts`, null before
# its first answer.
country_facts = sa.Table(
    "country_facts",
    metadata,
    sa.Column("country", sa.ForeignKey("countries.code"), primary_key=True),
    sa.Column("content", sa.JSON(none_as_null=True)),
    sa.Column("fetched_at", sa.BigInteger),
    sa.Column("tried_at", sa.BigInteger, nullable=False),
)

cities = sa.Table(
    "cities",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("country", sa.ForeignKey("countries.code"), nullable=False, index=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("latitude", sa.Float, nullable=False),
    sa.Column("longitude", sa.Float, nullable=False),
    sa.Column("population", sa.BigInteger, nullable=False),
    sa.Column("is_capital", sa.Boolean, nullable=False),
)

# Questions that administrators write; they are asked beside the generated ones once published.
questions = sa.Table(
    "questions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("category", sa.String(20), nullable=False),
    sa.Column("country", sa.ForeignKey("countries.code"), nullable=False),
    sa.Column("difficulty", sa.String(10), nullable=False),
    sa.Column("published", sa.Boolean, nullable=False),
    sa.Column("prompt", sa.String(200), nullable=False, unique=True),
    sa.Column("right", sa.String(80), nullable=False),
    sa.Column("wrong_1", sa.String(80), nullable=False),
    sa.Column("wrong_2", sa.String(80), nullable=False),
    sa.Column("wrong_3", sa.String(80), nullable=False),
    sa.Column("fact", sa.String(200), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Index(None, "country", "published"),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("player_id", sa.ForeignKey("players.id"), nullable=False, index=True),
    sa.Column("started_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("score", sa.Integer, nullable=False, server_default="0"),
)

# The questions of a round as they were asked, so that history stays true when questions change.
round_questions = sa.Table(
    "round_questions",
    metadata,
    sa.Column("round_id", sa.ForeignKey("rounds.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("country", sa.ForeignKey("countries.code"), nullable=False, index=True),
    sa.Column("prompt", sa.String(200), nullable=False),
    sa.Column("choices", sa.JSON, nullable=False),
    sa.Column("answer", sa.SmallInteger, nullable=False),
    sa.Column("fact", sa.String(200), nullable=False),
    sa.Column("asked_at", sa.BigInteger),
    sa.Column("answered_at", sa.BigInteger),
    sa.Column("chosen", sa.SmallInteger),
    # The question of `questions` it is a copy of; null for a generated one.
    sa.Column("question_id", sa.ForeignKey("questions.id")),
    # Most rows are generated, and cost this index nothing.
    sa.Index(
        None,
        "question_id",
        sqlite_where=sa.text("question_id IS NOT NULL"),
        postgresql_where=sa.text("question_id IS NOT NULL"),
    ),
    sa.CheckConstraint("(chosen IS NULL) = (answered_at IS NULL)", name="answered_once"),
)

# Passwords that did not fit, for as long as they count.
failed_logins = sa.Table(
    "failed_logins",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("address", sa.String(45), nullable=False),
    sa.Column("name", sa.String(30), nullable=False),
    sa.Column("failed_at", sa.BigInteger, nullable=False, index=True),
    sa.Index(None, "address", "failed_at"),
)

# Photos of cities. A row is added when all of its files are there; their names begin with `token`.
photos = sa.Table(
    "photos",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("city_id", sa.ForeignKey("cities.id"), nullable=False, index=True),
    sa.Column("token", sa.String(32), nullable=False, unique=True),
    sa.Column("caption", sa.String(200), nullable=False),
    sa.Column("credit", sa.String(100), nullable=False),
    # Pixels of the largest file.
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("added_at", sa.BigInteger, nullable=False),
)

# Reports that were run; `content` is an `analysis.Report`.
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("finished_at", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
)

# Where a player is and what they own.
journeys = sa.Table(
    "journeys",
    metadata,
    sa.Column("player_id", sa.ForeignKey("players.id"), primary_key=True, autoincrement=False),
    sa.Column("city_id", sa.ForeignKey("cities.id"), nullable=False),
    sa.Column("coins", sa.Integer, nullable=False, server_default="0"),
    # Coins ever earned, for the leaderboard: flying does not lessen them.
    sa.Column("earned", sa.Integer, nullable=False, server_default="0", index=True),
    sa.Column("km", sa.Integer, nullable=False, server_default="0"),
    sa.CheckConstraint("coins >= 0", name="coins_not_negative"),
)

flights = sa.Table(
    "flights",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("player_id", sa.ForeignKey("players.id"), nullable=False, index=True),
    sa.Column("from_city_id", sa.ForeignKey("cities.id"), nullable=False),
    sa.Column("to_city_id", sa.ForeignKey("cities.id"), nullable=False),
    sa.Column("km", sa.Integer, nullable=False),
    sa.Column("fare", sa.Integer, nullable=False),
    sa.Column("flown_at", sa.BigInteger, nullable=False),
)

# What lately happened, for the live feed: only the newest are kept. The name is the one that the
# player had then.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("player_name", sa.String(30)),
    sa.Column("city_id", sa.ForeignKey("cities.id"), nullable=False),
    sa.Column("score", sa.SmallInteger),
    sa.Column("happened_at", sa.BigInteger, nullable=False),
)
