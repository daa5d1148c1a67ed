"""payment plans, whose instalments are expected payments"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "payment_plan",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_plan_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("instalments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "payment_plan_id"),
    )
    op.add_column("expected_payment", sa.Column("payment_plan_id", sa.UUID(), nullable=True))
    op.create_index(
        "expected_payment_plan",
        "expected_payment",
        ["tenant_id", "payment_plan_id"],
        postgresql_where=sa.text("payment_plan_id IS NOT NULL"),
    )
    secure(op, "matching", METADATA)
