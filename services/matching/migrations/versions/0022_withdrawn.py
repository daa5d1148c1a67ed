"""what a withdrawal took of a payment stands by itself: only that comes back when the payment is booked after all"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("payment", sa.Column("withdrawn_minor", sa.BigInteger(), server_default="0", nullable=False))
    # a withdrawal took all that was left, and nothing came after it: it is the last that the ledger has of its payment
    op.execute(
        "UPDATE payment p SET withdrawn_minor = l.amount_minor FROM (SELECT DISTINCT ON (tenant_id, payment_id) tenant_id, payment_id, "
        "amount_minor FROM ledger_entry WHERE debit = 'unapplied' AND credit = 'bank' ORDER BY tenant_id, payment_id, entry_id DESC) l "
        "WHERE p.return_reason = 'withdrawn' AND l.tenant_id = p.tenant_id AND l.payment_id = p.payment_id"
    )
    op.create_check_constraint("payment_withdrawn", "payment", "withdrawn_minor BETWEEN 0 AND returned_minor")
