"""settlements beside the bank, and numbers of an entity's own chart"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "ledger_account",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("ledger", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "entity_id", "ledger"),
    )
    op.create_table(
        "settlement",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("settlement_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("proof_reference", sa.Text(), nullable=False),
        sa.Column("proof_sha256", sa.Text(), nullable=True),
        sa.Column("value_date", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name="settlement_above_zero"),
        sa.CheckConstraint("kind IN ('netting', 'cash')", name="settlement_kind"),
        sa.CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="settlement_status"),
        sa.PrimaryKeyConstraint("tenant_id", "settlement_id"),
    )
    op.create_index("settlement_proof", "settlement", ["tenant_id", "entity_id", "kind", "proof_reference"], unique=True)
    secure(op, "matching", METADATA)
