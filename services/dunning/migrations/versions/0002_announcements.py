"""payments that are announced: what is being collected is not asked for"""

import sqlalchemy as sa
from alembic import op
from dunning.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payment_announcement",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("announcement_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name="amount_minor_not_negative"),
        sa.PrimaryKeyConstraint("tenant_id", "announcement_id"),
    )
    op.create_index(
        "payment_announcement_of", "payment_announcement", ["tenant_id", "customer_id"], postgresql_where=sa.text("status = 'announced'")
    )
    secure(op, "dunning", METADATA)


def downgrade() -> None:
    op.drop_table("payment_announcement")
