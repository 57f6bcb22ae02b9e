"""Events: what lately happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("player_name", sa.String(30)),
        sa.Column("city_id", sa.Integer, nullable=False),
        sa.Column("score", sa.SmallInteger),
        sa.Column("happened_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["city_id"], ["cities.id"], name="fk_events_city_id_cities"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("events")
