"""allocations across currencies, and what a payer was told to pay"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "allocation_exchange",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=False),
        sa.Column("item_id", sa.UUID(), nullable=False),
        sa.Column("item_amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Numeric(19, 10), nullable=False),
        sa.Column("rate_source", sa.Text(), nullable=False),
        sa.Column("difference_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("item_amount_minor > 0 AND rate > 0", name="allocation_exchange_above_zero"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_id", "item_id"),
    )
    op.add_column("payment", sa.Column("instructed_minor", sa.BigInteger(), nullable=True))
    op.add_column("payment", sa.Column("instructed_currency", sa.Text(), nullable=True))
    secure(op, "matching", METADATA)
