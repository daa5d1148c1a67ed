"""payment plans"""

import sqlalchemy as sa
from alembic import op
from dunning.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "payment_plan",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_plan_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("agreed_on", sa.Date(), nullable=False),
        sa.Column("grace_days", sa.Integer(), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("instalments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("broken_instalment", sa.Integer(), nullable=True),
        sa.Column("missing_minor", sa.BigInteger(), nullable=True),
        sa.Column("baseline", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recheck", sa.Boolean(), nullable=False),
        sa.Column("next_on", sa.Date(), nullable=True),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("status IN ('active', 'completed', 'broken', 'cancelled')", name="payment_plan_status_known"),
        sa.CheckConstraint("(status = 'broken') = (broken_instalment IS NOT NULL)", name="broken_by_an_instalment"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_plan_id"),
    )
    op.create_index("payment_plan_customer", "payment_plan", ["tenant_id", "customer_id"])
    op.create_index("payment_plan_active", "payment_plan", ["tenant_id", "next_on"], postgresql_where=sa.text("status = 'active'"))
    secure(op, "dunning", METADATA)
