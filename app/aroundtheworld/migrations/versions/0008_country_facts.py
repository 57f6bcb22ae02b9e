"""Facts about countries, from an outside service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "country_facts",
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True)),
        sa.Column("fetched_at", sa.BigInteger),
        sa.Column("tried_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("country", name="pk_country_facts"),
        sa.ForeignKeyConstraint(
            ["country"], ["countries.code"], name="fk_country_facts_country_countries"
        ),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("country_facts")
