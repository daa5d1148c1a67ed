"""expected payments, and what persons teach about payers"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('remittance', 'direct_debit', 'cheque', 'card', 'transfer', 'promise', 'plan_instalment')"


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "payer_alias",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("learnt_by", sa.Text(), nullable=False),
        sa.Column("learnt_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('iban', 'name')", name="payer_alias_kind"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "value", "customer_id"),
    )
    op.create_index("payer_alias_customer", "payer_alias", ["tenant_id", "customer_id"])
    op.create_table(
        "expected_payment",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("expected_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=True),
        sa.Column("payer_customer_id", sa.UUID(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("document_number", sa.Text(), nullable=True),
        sa.Column("expected_on", sa.Date(), nullable=True),
        sa.Column("holds_until", sa.Date(), nullable=True),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("missing", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name="expected_payment_not_negative"),
        sa.CheckConstraint(_KINDS, name="expected_payment_kind"),
        sa.CheckConstraint(
            "status IN ('waiting', 'partly', 'received', 'expired', 'cancelled', 'failed')", name="expected_payment_status"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "expected_id"),
    )
    op.create_index(
        "expected_payment_waiting",
        "expected_payment",
        ["tenant_id", "entity_id", "amount_minor"],
        postgresql_where=sa.text("status IN ('waiting', 'partly')"),
    )
    op.create_index(
        "payment_open_amount",
        "payment",
        ["tenant_id", "entity_id", "amount_minor"],
        postgresql_where=sa.text("status IN ('unapplied', 'partly_matched')"),
    )
    secure(op, "matching", METADATA)
