"""customers: history, own policy, order numbers, erasure; balances of accounts"""

import sqlalchemy as sa
from alembic import op
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

from invoicing.tables import METADATA

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("customer", sa.Column("policy", sa.Text(), nullable=True))
    op.add_column("customer", sa.Column("requires_order_number", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("customer", sa.Column("erased_on", sa.Date(), nullable=True))
    op.create_index(
        "customer_parent", "customer", ["tenant_id", "parent_customer_id"], postgresql_where=sa.text("parent_customer_id IS NOT NULL")
    )
    op.add_column("customer_identity", sa.Column("addresses", postgresql.JSONB(), server_default="[]", nullable=False))
    op.add_column("legal_entity", sa.Column("retention_years", sa.SmallInteger(), nullable=True))
    op.create_table(
        "customer_history",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("into_customer_id", sa.UUID(), nullable=True),
        sa.Column("customer", postgresql.JSONB(), nullable=False),
        sa.Column("identity", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "customer_id", "version"),
    )
    op.create_table(
        "account_balance",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("open_minor", sa.BigInteger(), nullable=False),
        sa.Column("unapplied_minor", sa.BigInteger(), nullable=False),
        sa.Column("unused_credits_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "account_id"),
    )
    op.create_index("account_balance_customer", "account_balance", ["tenant_id", "customer_id"])
    secure(op, "invoicing", METADATA)
