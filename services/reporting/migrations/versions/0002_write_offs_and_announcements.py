"""what was written off, and payments that are announced"""

import sqlalchemy as sa
from alembic import op
from reporting.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "write_off",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("write_off_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("item_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("source_system", sa.Text(), nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reversed_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_minor >= 0"),
        sa.CheckConstraint("reversed_minor >= 0"),
        sa.PrimaryKeyConstraint("tenant_id", "write_off_id"),
    )
    op.create_index("write_off_of", "write_off", ["tenant_id", "customer_id"])
    op.create_table(
        "payment_announcement",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("announcement_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("expected_on", sa.Date(), nullable=False),
        sa.Column("holds_until", sa.Date(), nullable=False),
        sa.Column("items", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.CheckConstraint("amount_minor >= 0"),
        sa.PrimaryKeyConstraint("tenant_id", "announcement_id"),
    )
    op.create_index("payment_announcement_of", "payment_announcement", ["tenant_id", "customer_id"])
    secure(op, "reporting", METADATA)


def downgrade() -> None:
    op.drop_table("payment_announcement")
    op.drop_table("write_off")
