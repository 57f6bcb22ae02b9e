"""Photos of cities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "photos",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("city_id", sa.Integer, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("caption", sa.String(200), nullable=False),
        sa.Column("credit", sa.String(100), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_photos"),
        sa.UniqueConstraint("token", name="uq_photos_token"),
        sa.ForeignKeyConstraint(["city_id"], ["cities.id"], name="fk_photos_city_id_cities"),
    )
    op.create_index("ix_photos_city_id", "photos", ["city_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("photos")
