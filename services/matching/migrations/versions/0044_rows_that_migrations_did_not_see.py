"""What 0007, 0008, 0022 and 0033 were to change of rows, but saw none of under forced row-level security"""

from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

REPAIRS = {
    # since when one rests is not known any more: from now on, and no party's money reaches another
    "virtual_iban": "UPDATE virtual_iban SET released_at = now() WHERE status = 'released' AND released_at IS NULL",
    # all were statements to it; no code since has called these so
    "statement": "UPDATE statement SET role = CASE kind WHEN 'camt.052' THEN 'report' ELSE 'notification' END "
    "WHERE role = 'statement' AND kind IN ('camt.052', 'camt.054')",
    # who withdrew since has written how much; of the others, as in 0022, nothing came after it. Money booked after all meanwhile stayed
    # out of the books: it comes in once the bank says it again
    "payment": "UPDATE payment p SET withdrawn_minor = l.amount_minor FROM (SELECT DISTINCT ON (tenant_id, payment_id) tenant_id, payment_id, "
    "amount_minor FROM ledger_entry WHERE debit = 'unapplied' AND credit = 'bank' ORDER BY tenant_id, payment_id, entry_id DESC) l "
    "WHERE p.return_reason = 'withdrawn' AND p.withdrawn_minor = 0 AND l.amount_minor <= p.returned_minor "
    "AND l.tenant_id = p.tenant_id AND l.payment_id = p.payment_id",
    # whatever was settled before 0033 was at its own amount
    "recall": "UPDATE recall SET settled_minor = amount_minor WHERE status = 'settled' AND settled_minor IS NULL",
}


def upgrade() -> None:
    """Forward only."""
    for table in (*REPAIRS, "ledger_entry"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for statement in REPAIRS.values():
        op.execute(statement)
    secure(op, "matching", METADATA)
