"""which set-offs came with a payment's remittance list"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "payment_set_off",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=False),
        sa.Column("credit_item_id", sa.UUID(), nullable=False),
        sa.Column("item_id", sa.UUID(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="payment_set_off_above_zero"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_id", "credit_item_id", "item_id"),
    )
    secure(op, "matching", METADATA)
