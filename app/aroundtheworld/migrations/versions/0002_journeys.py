"""Journeys: where players are, what they own, and the flights they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; what the release before uses stays as it is."""
    op.create_table(
        "journeys",
        sa.Column("player_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("city_id", sa.Integer, nullable=False),
        sa.Column("coins", sa.Integer, nullable=False, server_default="0"),
        sa.Column("earned", sa.Integer, nullable=False, server_default="0"),
        sa.Column("km", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("player_id", name="pk_journeys"),
        sa.ForeignKeyConstraint(
            ["player_id"], ["players.id"], name="fk_journeys_player_id_players"
        ),
        sa.ForeignKeyConstraint(["city_id"], ["cities.id"], name="fk_journeys_city_id_cities"),
        sa.CheckConstraint("coins >= 0", name="ck_journeys_coins_not_negative"),
    )
    op.create_index("ix_journeys_earned", "journeys", ["earned"])
    op.create_table(
        "flights",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("player_id", sa.Integer, nullable=False),
        sa.Column("from_city_id", sa.Integer, nullable=False),
        sa.Column("to_city_id", sa.Integer, nullable=False),
        sa.Column("km", sa.Integer, nullable=False),
        sa.Column("fare", sa.Integer, nullable=False),
        sa.Column("flown_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flights"),
        sa.ForeignKeyConstraint(["player_id"], ["players.id"], name="fk_flights_player_id_players"),
        sa.ForeignKeyConstraint(
            ["from_city_id"], ["cities.id"], name="fk_flights_from_city_id_cities"
        ),
        sa.ForeignKeyConstraint(["to_city_id"], ["cities.id"], name="fk_flights_to_city_id_cities"),
    )
    op.create_index("ix_flights_player_id", "flights", ["player_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("flights")
    op.drop_table("journeys")
