"""payment instructions, and when a virtual IBAN was released"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("virtual_iban", sa.Column("released_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE virtual_iban SET released_at = now() WHERE status = 'released'")
    op.create_table(
        "payment_instruction",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("instruction_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("bank_account_id", sa.UUID(), nullable=False),
        sa.Column("source_system", sa.Text(), nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("virtual_iban_id", sa.UUID(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "instruction_id"),
    )
    op.create_index(
        "payment_instruction_number", "payment_instruction", ["tenant_id", "entity_id", "source_system", "invoice_number"], unique=True
    )
    op.create_index("payment_instruction_reference", "payment_instruction", ["tenant_id", "entity_id", "reference"], unique=True)
    op.create_index("payment_instruction_virtual", "payment_instruction", ["tenant_id", "virtual_iban_id"])
    secure(op, "matching", METADATA)
