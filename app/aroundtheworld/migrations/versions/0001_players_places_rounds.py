"""Players, places and rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "players",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(30)),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_players"),
        sa.UniqueConstraint("name", name="uq_players_name"),
        sa.CheckConstraint(
            "(name IS NULL) = (password_hash IS NULL)", name="ck_players_named_has_password"
        ),
        sa.CheckConstraint("name IS NOT NULL OR NOT is_admin", name="ck_players_admin_is_named"),
    )
    op.create_table(
        "countries",
        sa.Column("code", sa.String(2), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("slug", sa.String(80), nullable=False),
        sa.Column("continent", sa.String(2), nullable=False),
        sa.Column("population", sa.BigInteger, nullable=False),
        sa.Column("area_km2", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_countries"),
        sa.UniqueConstraint("slug", name="uq_countries_slug"),
    )
    op.create_table(
        "cities",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("latitude", sa.Float, nullable=False),
        sa.Column("longitude", sa.Float, nullable=False),
        sa.Column("population", sa.BigInteger, nullable=False),
        sa.Column("is_capital", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cities"),
        sa.ForeignKeyConstraint(
            ["country"], ["countries.code"], name="fk_cities_country_countries"
        ),
    )
    op.create_index("ix_cities_country", "cities", ["country"])
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("player_id", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("score", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_rounds"),
        sa.ForeignKeyConstraint(["player_id"], ["players.id"], name="fk_rounds_player_id_players"),
    )
    op.create_index("ix_rounds_player_id", "rounds", ["player_id"])
    op.create_index("ix_rounds_started_at", "rounds", ["started_at"])
    op.create_table(
        "round_questions",
        sa.Column("round_id", sa.Integer, nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("prompt", sa.String(200), nullable=False),
        sa.Column("choices", sa.JSON, nullable=False),
        sa.Column("answer", sa.SmallInteger, nullable=False),
        sa.Column("fact", sa.String(200), nullable=False),
        sa.Column("asked_at", sa.BigInteger),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("chosen", sa.SmallInteger),
        sa.PrimaryKeyConstraint("round_id", "position", name="pk_round_questions"),
        sa.ForeignKeyConstraint(
            ["round_id"],
            ["rounds.id"],
            name="fk_round_questions_round_id_rounds",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["country"], ["countries.code"], name="fk_round_questions_country_countries"
        ),
        sa.CheckConstraint(
            "(chosen IS NULL) = (answered_at IS NULL)", name="ck_round_questions_answered_once"
        ),
    )
    op.create_index("ix_round_questions_country", "round_questions", ["country"])


def downgrade() -> None:
    """Drop every table, the referring ones first."""
    for table in ("round_questions", "rounds", "cities", "countries", "players"):
        op.drop_table(table)
