"""payment plans"""

import sqlalchemy as sa
from alembic import op
from reporting.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "payment_plan",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_plan_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=True),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("agreed_on", sa.Date(), nullable=False),
        sa.Column("grace_days", sa.Integer(), nullable=False),
        sa.Column("items", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("instalments", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("broken_instalment", sa.Integer(), nullable=True),
        sa.Column("missing_minor", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("missing_minor >= 0"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_plan_id"),
    )
    op.create_index("payment_plan_of", "payment_plan", ["tenant_id", "customer_id"])
    secure(op, "reporting", METADATA)
