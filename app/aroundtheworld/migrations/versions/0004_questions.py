"""Questions that administrators write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and let a question of a round name the question it is a copy of."""
    op.create_table(
        "questions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("category", sa.String(20), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("difficulty", sa.String(10), nullable=False),
        sa.Column("published", sa.Boolean, nullable=False),
        sa.Column("prompt", sa.String(200), nullable=False),
        sa.Column("right", sa.String(80), nullable=False),
        sa.Column("wrong_1", sa.String(80), nullable=False),
        sa.Column("wrong_2", sa.String(80), nullable=False),
        sa.Column("wrong_3", sa.String(80), nullable=False),
        sa.Column("fact", sa.String(200), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_questions"),
        sa.UniqueConstraint("prompt", name="uq_questions_prompt"),
        sa.ForeignKeyConstraint(
            ["country"], ["countries.code"], name="fk_questions_country_countries"
        ),
    )
    op.create_index("ix_questions_country_published", "questions", ["country", "published"])
    # Inline, so that SQLite adds the column without copying the table.
    op.add_column(
        "round_questions",
        sa.Column(
            "question_id",
            sa.Integer,
            sa.ForeignKey("questions.id", name="fk_round_questions_question_id_questions"),
        ),
        inline_references=True,
    )
    op.create_index(
        "ix_round_questions_question_id",
        "round_questions",
        ["question_id"],
        sqlite_where=sa.text("question_id IS NOT NULL"),
        postgresql_where=sa.text("question_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_round_questions_question_id", "round_questions")
    with op.batch_alter_table("round_questions") as batch:
        batch.drop_column("question_id")
    op.drop_table("questions")
