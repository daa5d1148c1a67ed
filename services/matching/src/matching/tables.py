"""The tables of the receivables sub-ledger.

Invariants the database itself holds: a payment is allocated + unapplied + returned + refunded; an item's original is open
plus what settled it; nothing is negative; an allocation is above zero; a ledger entry has both its sides (balanced by
construction). Amounts are minor units. Remittance text, names and IBANs of payers never leave these tables.
"""

from typing import Any

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)


def _amount(name: str) -> "Column[int]":
    return Column(name, BigInteger, nullable=False, server_default="0")


def _need(name: str, kind: Any, **options: Any) -> "Column[Any]":
    return Column(name, kind, nullable=False, **options)


def _tenant() -> "Column[Any]":
    return Column("tenant_id", UUID, primary_key=True)


BANK_ACCOUNT = Table(
    "bank_account",
    METADATA,
    _tenant(),
    Column("bank_account_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("entity_id", UUID),
    _need("iban", Text),
    _need("currency", Text),
    _need("holder_name", Text),
    _need("start_date", Date),
    _need("status", Text),
    Index("bank_account_iban", "tenant_id", "iban", unique=True),
)

VIRTUAL_IBAN = Table(
    "virtual_iban",
    METADATA,
    _tenant(),
    Column("virtual_iban_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("bank_account_id", UUID),
    _need("iban", Text),
    _need("status", Text),
    Column("customer_id", UUID),
    Column("invoice_id", UUID),
    Column("holder_name", Text),
    Column("released_at", DateTime(timezone=True)),
    Index("virtual_iban_iban", "tenant_id", "iban", unique=True),
    Index("virtual_iban_pool", "tenant_id", "bank_account_id", "virtual_iban_id", postgresql_where=text("status = 'pool'")),
    Index("virtual_iban_invoice", "tenant_id", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
    CheckConstraint("status IN ('pool', 'assigned', 'released')", name="virtual_iban_status"),
    CheckConstraint("status = 'pool' OR (customer_id IS NULL) <> (invoice_id IS NULL)", name="virtual_iban_names_one"),
)

STATEMENT = Table(
    "statement",
    METADATA,
    _tenant(),
    Column("statement_id", UUID, primary_key=True),
    _need("bank_account_id", UUID),
    _need("file_sha256", Text),
    _need("kind", Text),
    _need("number", Text),
    Column("sequence", BigInteger),
    Column("first_day", Date),
    Column("last_day", Date),
    Column("opening_minor", BigInteger),
    Column("closing_minor", BigInteger),
    _amount("entries_minor"),
    _need("verdict", Text),
    Column("reason", Text),
    _need("received_at", DateTime(timezone=True)),
    _need("role", Text),
    Column("detail", Text),
    _need("entries", BigInteger, server_default="0"),
    _need("uploaded_by", Text, server_default=""),
    Column("accepted_by", Text),
    Column("accepted_at", DateTime(timezone=True)),
    Column("accepted_reason", Text),
    Index("statement_days", "tenant_id", "bank_account_id", "last_day"),
    Index("statement_importing", "tenant_id", "received_at", postgresql_where=text("verdict = 'importing'")),
    CheckConstraint("verdict IN ('booked', 'rejected', 'importing')", name="statement_verdict"),
    CheckConstraint(
        "verdict <> 'booked' OR role <> 'statement' OR accepted_by IS NOT NULL OR opening_minor IS NULL OR closing_minor IS NULL "
        "OR opening_minor + entries_minor = closing_minor",
        name="statement_adds_up",
    ),
)

STATEMENT_SLICE = Table(
    "statement_slice",
    METADATA,
    _tenant(),
    Column("statement_id", UUID, primary_key=True),
    Column("slice", BigInteger, primary_key=True),
    _need("transactions", LargeBinary),
)
"""What waits to be booked: at most a thousand keyed transactions, as JSON."""

PAYMENT = Table(
    "payment",
    METADATA,
    _tenant(),
    Column("payment_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("bank_account_id", UUID),
    _need("entity_id", UUID),
    _need("transaction_key", Text),
    _need("currency", Text),
    _amount("amount_minor"),
    _amount("allocated_minor"),
    _amount("unapplied_minor"),
    _amount("returned_minor"),
    _amount("refunded_minor"),
    _need("booking_date", Date),
    _need("value_date", Date),
    _need("confirmation", Text),
    _need("source", Text),
    _need("status", Text),
    Column("virtual_iban_id", UUID),
    Column("bank_reference", Text),
    Column("entry_reference", Text),
    Column("end_to_end_id", Text),
    Column("transaction_id", Text),
    Column("structured_reference", Text),
    _need("remittance", ARRAY(Text)),
    Column("debtor_name", Text),
    Column("debtor_iban", Text),
    Column("payer_customer_id", UUID),
    # the payer before a merge moved the money, and the one since; it counts while the payer is still the latter
    Column("moved_from_customer_id", UUID),
    Column("moved_to_customer_id", UUID),
    Column("account_id", UUID),
    Column("rule", Text),
    Column("unapplied_reason", Text),
    Column("candidate_customer_ids", ARRAY(UUID)),
    Column("return_reason", Text),
    _need("looks", SmallInteger, server_default="0"),
    Column("next_look_at", DateTime(timezone=True)),
    _need("received_at", DateTime(timezone=True)),
    _amount("refund_pending_minor"),
    Index("payment_identity", "tenant_id", "bank_account_id", "transaction_key", unique=True),
    Index(
        "payment_end_to_end",
        "tenant_id",
        "bank_account_id",
        "end_to_end_id",
        postgresql_where=text("end_to_end_id IS NOT NULL"),
    ),
    Index("payment_moved", "tenant_id", "moved_from_customer_id", postgresql_where=text("moved_from_customer_id IS NOT NULL")),
    Index("payment_waiting", "tenant_id", "bank_account_id", postgresql_where=text("status = 'received'")),
    Index("payment_notified", "tenant_id", "bank_account_id", "booking_date", postgresql_where=text("confirmation = 'notified'")),
    Index("payment_due", "tenant_id", "next_look_at", postgresql_where=text("next_look_at IS NOT NULL")),
    *(
        Index(f"payment_open_{name}", "tenant_id", column, postgresql_where=text("status IN ('unapplied', 'partly_matched')"))
        for name, column in (
            ("account", "account_id"),
            ("reference", "structured_reference"),
            ("virtual_iban", "virtual_iban_id"),
            ("debtor", "debtor_iban"),
        )
    ),
    Index(
        "payment_open_amount",
        "tenant_id",
        "entity_id",
        "amount_minor",
        postgresql_where=text("status IN ('unapplied', 'partly_matched')"),
    ),
    CheckConstraint("amount_minor = allocated_minor + unapplied_minor + returned_minor + refunded_minor", name="payment_conserved"),
    CheckConstraint(
        "amount_minor > 0 AND allocated_minor >= 0 AND unapplied_minor >= 0 AND returned_minor >= 0 AND refunded_minor >= 0",
        name="payment_not_negative",
    ),
    CheckConstraint("status IN ('received', 'matched', 'partly_matched', 'unapplied', 'returned', 'refunded')", name="payment_status"),
    CheckConstraint("confirmation IN ('notified', 'booked')", name="payment_confirmation"),
    CheckConstraint("refund_pending_minor BETWEEN 0 AND refunded_minor", name="payment_refund_pending"),
    postgresql_with={"fillfactor": "80"},
)

MOVEMENT = Table(
    "movement",
    METADATA,
    _tenant(),
    Column("movement_id", UUID, primary_key=True),
    _need("bank_account_id", UUID),
    _need("kind", Text),
    _amount("amount_minor"),
    _need("booking_date", Date),
    Column("bank_reference", Text),
    Column("end_to_end_id", Text),
    _need("resolved", Boolean),
    Index("movement_waiting", "tenant_id", "bank_account_id", postgresql_where=text("NOT resolved")),
)

ACCOUNT_BALANCE = Table(
    "account_balance",
    METADATA,
    _tenant(),
    Column("account_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("entity_id", UUID),
    _need("customer_id", UUID),
    _need("currency", Text),
    _amount("open_minor"),
    _amount("unapplied_minor"),
    _amount("unused_credits_minor"),
    Index("account_balance_customer", "tenant_id", "customer_id"),
    CheckConstraint("open_minor >= 0 AND unapplied_minor >= 0 AND unused_credits_minor >= 0", name="account_not_negative"),
    postgresql_with={"fillfactor": "50"},
)

_SETTLED = ("cash_minor", "discount_minor", "credit_minor", "charges_minor", "withheld_minor", "set_off_minor", "written_off_minor")

OPEN_ITEM = Table(
    "open_item",
    METADATA,
    _tenant(),
    Column("item_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("invoice_version", BigInteger),
    _need("entity_id", UUID),
    _need("account_id", UUID),
    _need("customer_id", UUID),
    # whom the invoice names, where a merge has another stand for him
    Column("moved_from_customer_id", UUID),
    _need("kind", Text),
    _need("currency", Text),
    _need("source_system", Text),
    _need("invoice_number", Text),
    _need("issue_date", Date),
    _need("due_date", Date),
    _need("instalment_dues", ARRAY(Date)),
    _need("instalment_amounts", ARRAY(BigInteger)),
    Column("credited_item_id", UUID),
    _amount("original_minor"),
    _amount("open_minor"),
    *(_amount(name) for name in _SETTLED),
    _amount("contested_minor"),
    _need("status", Text),
    Column("close_cause", Text),
    Column("value_date", Date),
    Index("open_item_amount", "tenant_id", "entity_id", "open_minor", "account_id", postgresql_where=text("status = 'open'")),
    Index("open_item_customer", "tenant_id", "customer_id"),
    Index("open_item_moved", "tenant_id", "moved_from_customer_id", postgresql_where=text("moved_from_customer_id IS NOT NULL")),
    Index("open_item_credited", "tenant_id", "credited_item_id", postgresql_where=text("credited_item_id IS NOT NULL")),
    CheckConstraint("original_minor = open_minor + " + " + ".join(_SETTLED), name="item_conserved"),
    CheckConstraint(
        "open_minor >= 0 AND contested_minor >= 0 AND " + " AND ".join(f"{name} >= 0" for name in _SETTLED), name="item_not_negative"
    ),
    CheckConstraint("(status = 'open') = (open_minor > 0)", name="item_status_open"),
    CheckConstraint("status IN ('open', 'paid', 'closed')", name="item_status"),
    CheckConstraint("kind IN ('invoice', 'credit_note', 'deposit', 'late_charge')", name="item_kind"),
    postgresql_with={"fillfactor": "70"},
)

ITEM_REFERENCE = Table(
    "item_reference",
    METADATA,
    _tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    Index("item_reference_item", "tenant_id", "item_id"),
    CheckConstraint("kind IN ('structured', 'number')", name="item_reference_kind"),
)

ALLOCATION = Table(
    "allocation",
    METADATA,
    _tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    _need("amount_minor", BigInteger),
    _need("rule", Text),
    _amount("diff_minor"),
    Column("diff_reason", Text),
    Index("allocation_item", "tenant_id", "item_id"),
    CheckConstraint("amount_minor > 0", name="allocation_above_zero"),
    CheckConstraint("diff_minor >= 0 AND (diff_minor = 0 OR diff_reason IS NOT NULL)", name="allocation_difference"),
)

SET_OFF = Table(
    "set_off",
    METADATA,
    _tenant(),
    Column("credit_item_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    _need("amount_minor", BigInteger),
    Index("set_off_item", "tenant_id", "item_id"),
    CheckConstraint("amount_minor > 0", name="set_off_above_zero"),
)

DISMISSED = Table(
    "dismissed_pair",
    METADATA,
    _tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    _need("reason", Text),
    _need("dismissed_at", DateTime(timezone=True)),
)

LEDGER_ENTRY = Table(
    "ledger_entry",
    METADATA,
    _tenant(),
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    _need("entity_id", UUID),
    _need("currency", Text),
    _need("debit", Text),
    _need("credit", Text),
    _need("amount_minor", BigInteger),
    Column("payment_id", UUID),
    Column("item_id", UUID),
    _need("at", DateTime(timezone=True)),
    CheckConstraint("amount_minor > 0 AND debit <> credit", name="ledger_entry_both_sides"),
)

DECISION = Table(
    "decision",
    METADATA,
    _tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("payment_version", BigInteger, primary_key=True),
    _need("rule", Text),
    _need("evidence", JSONB),
    _need("decided_at", DateTime(timezone=True)),
)

ITEM_REVIEW = Table(
    "item_review",
    METADATA,
    _tenant(),
    Column("item_id", UUID, primary_key=True),
    Column("invoice_version", BigInteger, primary_key=True),
    _need("reason", Text),
    _need("payable_minor", BigInteger),
    _need("noted_at", DateTime(timezone=True)),
)

CUSTOMER = Table(
    "customer",
    METADATA,
    _tenant(),
    Column("customer_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("source_system", Text),
    _need("customer_number", Text),
)

CUSTOMER_IDENTITY = Table(
    "customer_identity",
    METADATA,
    _tenant(),
    Column("customer_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("name", Text),
)

PAYER_IBAN = Table(
    "payer_iban",
    METADATA,
    _tenant(),
    Column("iban", Text, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Index("payer_iban_customer", "tenant_id", "customer_id"),
)

DISPUTE = Table(
    "dispute",
    METADATA,
    _tenant(),
    Column("dispute_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("item_id", UUID),
    _need("amount_minor", BigInteger),
    _need("status", Text),
    Index("dispute_item", "tenant_id", "item_id"),
)

RECONCILIATION = Table(
    "reconciliation",
    METADATA,
    _tenant(),
    Column("bank_account_id", UUID, primary_key=True),
    _need("version", BigInteger),
    Column("booked_through", Date),
    Column("matched_through", Date),
    Column("gaps", JSONB),
    Column("next_booked_through", Date),
    Column("next_matched_through", Date),
    Column("next_gaps", JSONB),
    Column("after_outbox_id", BigInteger),
    _need("statements", BigInteger, server_default="0"),
)

HAND_WORK_LIMIT = Table(
    "hand_work_limit",
    METADATA,
    _tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("currency", Text, primary_key=True),
    _need("limit_minor", BigInteger),
    CheckConstraint("limit_minor >= 0", name="hand_work_limit_not_negative"),
)
"""Up to which amount one person may write off, forgive or refund alone; without a row: nothing."""

WRITE_OFF = Table(
    "write_off",
    METADATA,
    _tenant(),
    Column("write_off_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("entity_id", UUID),
    _need("item_id", UUID),
    _need("currency", Text),
    _need("amount_minor", BigInteger),
    _amount("reversed_minor"),
    _need("reason", Text),
    Column("note", Text),
    _need("status", Text),
    _need("requested_by", Text),
    Column("decided_by", Text),
    _need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Index("write_off_item", "tenant_id", "item_id"),
    CheckConstraint("amount_minor > 0 AND reversed_minor BETWEEN 0 AND amount_minor", name="write_off_amounts"),
    CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="write_off_status"),
)

REFUND = Table(
    "refund",
    METADATA,
    _tenant(),
    Column("refund_id", UUID, primary_key=True),
    _need("payment_id", UUID),
    _need("entity_id", UUID),
    _need("bank_account_id", UUID),
    _need("currency", Text),
    _need("amount_minor", BigInteger),
    _need("reason", Text),
    _need("creditor_name", Text),
    _need("creditor_iban", Text),
    _need("end_to_end_id", Text),
    _need("status", Text),
    _need("requested_by", Text),
    Column("decided_by", Text),
    _need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Column("refund_file_id", UUID),
    Index("refund_payment", "tenant_id", "payment_id"),
    Index("refund_end_to_end", "tenant_id", "bank_account_id", "end_to_end_id", unique=True),
    CheckConstraint("amount_minor > 0", name="refund_above_zero"),
    CheckConstraint("status IN ('requested', 'approved', 'sent', 'paid', 'refused', 'cancelled')", name="refund_status"),
)

REFUND_FILE = Table(
    "refund_file",
    METADATA,
    _tenant(),
    Column("refund_file_id", UUID, primary_key=True),
    _need("bank_account_id", UUID),
    _need("content", LargeBinary),
    _need("sha256", Text),
    _need("refunds", BigInteger),
    _need("amount_minor", BigInteger),
    _need("execution_date", Date),
    _need("created_by", Text),
    _need("created_at", DateTime(timezone=True)),
)

RECALL = Table(
    "recall",
    METADATA,
    _tenant(),
    Column("recall_id", UUID, primary_key=True),
    _need("payment_id", UUID),
    _need("entity_id", UUID),
    _need("bank_account_id", UUID),
    _need("currency", Text),
    _need("amount_minor", BigInteger),
    _need("reason", Text),
    _need("cancellation_id", Text),
    _need("allocations", JSONB),
    _need("status", Text),
    Column("decided_by", Text),
    _need("received_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Index("recall_payment", "tenant_id", "payment_id"),
    CheckConstraint("amount_minor > 0", name="recall_above_zero"),
    CheckConstraint("status IN ('open', 'accepted', 'refused', 'settled')", name="recall_status"),
)
"""A bank's request for money back (camt.056). `allocations`: what was undone because of it, to be restored when it is refused."""

PAYER_ALIAS = Table(
    "payer_alias",
    METADATA,
    _tenant(),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    _need("times", BigInteger),
    _need("learnt_by", Text),
    _need("learnt_at", DateTime(timezone=True)),
    Index("payer_alias_customer", "tenant_id", "customer_id"),
    CheckConstraint("kind IN ('iban', 'name')", name="payer_alias_kind"),
)
"""What persons taught by confirming: who pays from an IBAN, or under a name (upper case, single spaces), and how often they said so."""

EXPECTED_PAYMENT = Table(
    "expected_payment",
    METADATA,
    _tenant(),
    Column("expected_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("entity_id", UUID),
    _need("kind", Text),
    Column("form", Text),
    Column("payer_customer_id", UUID),
    _need("currency", Text),
    _need("amount_minor", BigInteger),
    Column("reference", Text),
    Column("document_number", Text),
    Column("expected_on", Date),
    Column("holds_until", Date),
    _need("lines", JSONB),
    _need("missing", ARRAY(Text)),
    _need("status", Text),
    Column("payment_id", UUID),
    _need("created_by", Text),
    _need("created_at", DateTime(timezone=True)),
    Index(
        "expected_payment_waiting",
        "tenant_id",
        "entity_id",
        "amount_minor",
        postgresql_where=text("status IN ('waiting', 'partly')"),
    ),
    CheckConstraint("amount_minor >= 0", name="expected_payment_not_negative"),
    CheckConstraint(
        "kind IN ('remittance', 'direct_debit', 'cheque', 'card', 'transfer', 'promise', 'plan_instalment')", name="expected_payment_kind"
    ),
    CheckConstraint("status IN ('waiting', 'partly', 'received', 'expired', 'cancelled', 'failed')", name="expected_payment_status"),
)
"""Remittance lists, announced money and promises: `lines` is the debtor's designation, `reference` (normalised) what the payment says."""

PAYMENT_INSTRUCTION = Table(
    "payment_instruction",
    METADATA,
    _tenant(),
    Column("instruction_id", UUID, primary_key=True),
    _need("entity_id", UUID),
    _need("bank_account_id", UUID),
    _need("source_system", Text),
    _need("invoice_number", Text),
    _need("customer_id", UUID),
    _need("virtual_iban_id", UUID),
    _need("reference", Text),
    Column("invoice_id", UUID),
    _need("created_at", DateTime(timezone=True)),
    Index("payment_instruction_number", "tenant_id", "entity_id", "source_system", "invoice_number", unique=True),
    Index("payment_instruction_reference", "tenant_id", "entity_id", "reference", unique=True),
    Index("payment_instruction_virtual", "tenant_id", "virtual_iban_id"),
)
"""Where an invoice is to be paid, asked before it exists; `invoice_id` once it has come."""

LEDGER_ACCOUNT = Table(
    "ledger_account",
    METADATA,
    _tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("ledger", Text, primary_key=True),
    _need("number", Text),
    _need("label", Text),
)
"""Numbers of an entity's own chart for ledger accounts; without a row the French general chart's."""

SETTLEMENT = Table(
    "settlement",
    METADATA,
    _tenant(),
    Column("settlement_id", UUID, primary_key=True),
    _need("entity_id", UUID),
    _need("customer_id", UUID),
    _need("kind", Text),
    _need("currency", Text),
    _need("amount_minor", BigInteger),
    _need("lines", JSONB),
    _need("proof_reference", Text),
    Column("proof_sha256", Text),
    _need("value_date", Date),
    _need("status", Text),
    Column("payment_id", UUID),
    _need("requested_by", Text),
    Column("decided_by", Text),
    _need("requested_at", DateTime(timezone=True)),
    Column("decided_at", DateTime(timezone=True)),
    Index("settlement_proof", "tenant_id", "entity_id", "kind", "proof_reference", unique=True),
    CheckConstraint("amount_minor > 0", name="settlement_above_zero"),
    CheckConstraint("kind IN ('netting', 'cash')", name="settlement_kind"),
    CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="settlement_status"),
)
"""Items settled beside the bank, with proof: netted with what we owe, or paid in cash (then `payment_id` is that payment)."""

PROMISE = Table(
    "promise",
    METADATA,
    _tenant(),
    Column("promise_id", UUID, primary_key=True),
    _need("version", BigInteger),
    _need("status", Text),
)
"""Dunning's promises at their highest version; what is expected because of one is in `expected_payment` under the same id."""

PULLED_FILE = Table(
    "pulled_file",
    METADATA,
    _tenant(),
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _need("file_sha256", Text),
    _need("outcome", Text),
    Column("detail", Text),
    _need("pulled_at", DateTime(timezone=True)),
    CheckConstraint("outcome IN ('taken', 'unreadable')", name="pulled_file_outcome"),
)
"""What was fetched from where; `unreadable` ones wait for a person and are not fetched again under that name."""

PAYMENT_SET_OFF = Table(
    "payment_set_off",
    METADATA,
    _tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("credit_item_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    _need("amount_minor", BigInteger),
    CheckConstraint("amount_minor > 0", name="payment_set_off_above_zero"),
)
"""Which set-offs came with a payment's remittance list: unmatching the payment undoes them too."""
