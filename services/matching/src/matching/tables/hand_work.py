"""Hand work: limits of one person, write-offs, refunds, recalls, settlements beside the bank."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from matching.tables.columns import METADATA, minor, need, tenant

HAND_WORK_LIMIT = Table(
    "hand_work_limit",
    METADATA,
    tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("currency", Text, primary_key=True),
    need("limit_minor", BigInteger),
    CheckConstraint("limit_minor >= 0", name="hand_work_limit_not_negative"),
)
"""Up to which amount one person may write off, forgive or refund alone; without a row: nothing."""

IMPUTATION_SETTING = Table(
    "imputation_setting",
    METADATA,
    tenant(),
    Column("entity_id", UUID, primary_key=True),
    need("interest_first", Boolean),
    Column("after_days", BigInteger),
    CheckConstraint("after_days BETWEEN 0 AND 3650", name="imputation_setting_days"),
)
"""How an entity uses the law's order: interest before principal, and after how many days by itself; without days: never."""

WRITE_OFF = Table(
    "write_off",
    METADATA,
    tenant(),
    Column("write_off_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("entity_id", UUID),
    need("item_id", UUID),
    need("currency", Text),
    need("amount_minor", BigInteger),
    minor("reversed_minor"),
    need("reason", Text),
    Column("note", Text),
    need("status", Text),
    need("requested_by", Text),
    Column("decided_by", Text),
    need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Index("write_off_item", "tenant_id", "item_id"),
    CheckConstraint("amount_minor > 0 AND reversed_minor BETWEEN 0 AND amount_minor", name="write_off_amounts"),
    CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="write_off_status"),
)

WRITE_OFF_REVERSAL = Table(
    "write_off_reversal",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    Column("write_off_id", UUID, primary_key=True),
    need("amount_minor", BigInteger),
    CheckConstraint("amount_minor > 0", name="write_off_reversal_above_zero"),
)
"""What of a write-off is reversed because a payment settles its item: it stands again once that payment no longer does."""

REFUND = Table(
    "refund",
    METADATA,
    tenant(),
    Column("refund_id", UUID, primary_key=True),
    need("payment_id", UUID),
    need("entity_id", UUID),
    need("bank_account_id", UUID),
    need("currency", Text),
    need("amount_minor", BigInteger),
    need("reason", Text),
    need("creditor_name", Text),
    need("creditor_iban", Text),
    need("end_to_end_id", Text),
    need("status", Text),
    need("requested_by", Text),
    Column("decided_by", Text),
    need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Column("refund_file_id", UUID),
    Column("bank_reason", Text),
    Index("refund_payment", "tenant_id", "payment_id"),
    Index("refund_end_to_end", "tenant_id", "bank_account_id", "end_to_end_id", unique=True),
    CheckConstraint("amount_minor > 0", name="refund_above_zero"),
    CheckConstraint("status IN ('requested', 'approved', 'sent', 'paid', 'returned', 'refused', 'cancelled')", name="refund_status"),
)
"""Money that goes back by our own transfer. `bank_reason`: why the bank refused it (a code as of returns), where its report said so."""

REFUND_FILE = Table(
    "refund_file",
    METADATA,
    tenant(),
    Column("refund_file_id", UUID, primary_key=True),
    need("bank_account_id", UUID),
    need("content", LargeBinary),
    need("sha256", Text),
    need("refunds", BigInteger),
    need("amount_minor", BigInteger),
    need("execution_date", Date),
    need("created_by", Text),
    need("created_at", DateTime(timezone=True)),
)

RECALL = Table(
    "recall",
    METADATA,
    tenant(),
    Column("recall_id", UUID, primary_key=True),
    need("payment_id", UUID),
    need("entity_id", UUID),
    need("bank_account_id", UUID),
    need("currency", Text),
    need("amount_minor", BigInteger),
    need("reason", Text),
    need("cancellation_id", Text),
    need("allocations", JSONB),
    need("status", Text),
    Column("decided_by", Text),
    need("received_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Column("requested_by", Text),
    Column("settled_minor", BigInteger),
    Index("recall_payment", "tenant_id", "payment_id"),
    CheckConstraint("amount_minor > 0", name="recall_above_zero"),
    CheckConstraint("status IN ('open', 'requested', 'accepted', 'refused', 'settled')", name="recall_status"),
)
"""A bank's request for money back (camt.056). `allocations`: what was undone because of it, to be restored when it is refused.
`requested`: one person (`requested_by`) would let the bank have it, and another has to say so too.
`settled_minor`: how much the bank took, once it has.
"""

SETTLEMENT = Table(
    "settlement",
    METADATA,
    tenant(),
    Column("settlement_id", UUID, primary_key=True),
    need("entity_id", UUID),
    need("customer_id", UUID),
    need("kind", Text),
    need("currency", Text),
    need("amount_minor", BigInteger),
    need("lines", JSONB),
    need("proof_reference", Text),
    Column("proof_sha256", Text),
    Column("proof_key", Text),
    need("value_date", Date),
    need("status", Text),
    Column("payment_id", UUID),
    need("requested_by", Text),
    Column("decided_by", Text),
    need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Index(
        "settlement_proof",
        "tenant_id",
        "entity_id",
        "kind",
        "proof_key",
        unique=True,
        postgresql_where=text("status IN ('requested', 'booked')"),
    ),
    CheckConstraint("amount_minor > 0", name="settlement_above_zero"),
    CheckConstraint("kind IN ('netting', 'cash')", name="settlement_kind"),
    CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="settlement_status"),
)
"""Items settled beside the bank, with proof: netted with what we owe, or paid in cash (then `payment_id` is that payment). A proof
that was refused, or whose settlement was taken back, has settled nothing and may be given again. `proof_key`: its number as it is
compared; none where another settlement had the same paper before numbers were compared so.
"""
