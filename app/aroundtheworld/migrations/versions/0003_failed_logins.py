"""Failed logins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "failed_logins",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("name", sa.String(30), nullable=False),
        sa.Column("failed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failed_logins"),
    )
    op.create_index("ix_failed_logins_failed_at", "failed_logins", ["failed_at"])
    op.create_index("ix_failed_logins_address_failed_at", "failed_logins", ["address", "failed_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("failed_logins")
