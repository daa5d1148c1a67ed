"""The books: payments, open items, allocations, account balances, the ledger, decisions.

Invariants the database itself holds: a payment is allocated + unapplied + returned + refunded; an item's original is open
plus what settled it; nothing is negative; an allocation is above zero; a ledger entry has both its sides (balanced by
construction).
"""

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Date, DateTime, Identity, Index, Numeric, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from matching.tables.columns import METADATA, minor, need, tenant

PAYMENT = Table(
    "payment",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("bank_account_id", UUID),
    need("entity_id", UUID),
    need("transaction_key", Text),
    need("currency", Text),
    minor("amount_minor"),
    minor("allocated_minor"),
    minor("unapplied_minor"),
    minor("returned_minor"),
    minor("refunded_minor"),
    need("booking_date", Date),
    need("value_date", Date),
    need("confirmation", Text),
    need("source", Text),
    need("status", Text),
    Column("virtual_iban_id", UUID),
    Column("bank_reference", Text),
    Column("entry_reference", Text),
    Column("end_to_end_id", Text),
    Column("transaction_id", Text),
    Column("structured_reference", Text),
    need("remittance", ARRAY(Text)),
    Column("debtor_name", Text),
    Column("debtor_iban", Text),
    Column("ultimate_debtor_name", Text),
    Column("payer_customer_id", UUID),
    # the payer before a merge moved the money, and the one since; it counts while the payer is still the latter
    Column("moved_from_customer_id", UUID),
    Column("moved_to_customer_id", UUID),
    Column("account_id", UUID),
    Column("rule", Text),
    Column("unapplied_reason", Text),
    Column("candidate_customer_ids", ARRAY(UUID)),
    Column("return_reason", Text),
    need("looks", SmallInteger, server_default="0"),
    Column("next_look_at", DateTime(timezone=True)),
    need("received_at", DateTime(timezone=True)),
    minor("refund_pending_minor"),
    minor("withdrawn_minor"),
    Column("instructed_minor", BigInteger),
    Column("instructed_currency", Text),
    Column("statement_id", UUID),  # that told of it last
    Column("booked_key", Text),  # what a statement knows it by, where it was told of under another transaction_key before
    Index("payment_identity", "tenant_id", "bank_account_id", "transaction_key", unique=True),
    *(  # what returns, later news of a payment and batch totals name it by
        Index(f"payment_{name}", "tenant_id", "bank_account_id", column, postgresql_where=text(f"{column} IS NOT NULL"))
        for name, column in (
            ("end_to_end", "end_to_end_id"),
            ("bank_reference", "bank_reference"),
            ("entry_reference", "entry_reference"),
            ("transaction", "transaction_id"),
            ("booked", "booked_key"),
        )
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
        )
    ),
    Index("payment_debtor", "tenant_id", "debtor_iban", "booking_date", postgresql_where=text("debtor_iban IS NOT NULL")),
    Index("payment_payer", "tenant_id", "payer_customer_id", "booking_date", postgresql_where=text("payer_customer_id IS NOT NULL")),
    Index(
        "payment_open_amount",
        "tenant_id",
        "entity_id",
        "amount_minor",
        postgresql_where=text("status IN ('unapplied', 'partly_matched')"),
    ),
    Index("payment_instructed", "tenant_id", "entity_id", "instructed_minor", postgresql_where=text("instructed_minor IS NOT NULL")),
    CheckConstraint("amount_minor = allocated_minor + unapplied_minor + returned_minor + refunded_minor", name="payment_conserved"),
    CheckConstraint(
        "amount_minor > 0 AND allocated_minor >= 0 AND unapplied_minor >= 0 AND returned_minor >= 0 AND refunded_minor >= 0",
        name="payment_not_negative",
    ),
    CheckConstraint("status IN ('received', 'matched', 'partly_matched', 'unapplied', 'returned', 'refunded')", name="payment_status"),
    CheckConstraint("confirmation IN ('notified', 'booked')", name="payment_confirmation"),
    CheckConstraint("refund_pending_minor BETWEEN 0 AND refunded_minor", name="payment_refund_pending"),
    CheckConstraint("withdrawn_minor BETWEEN 0 AND returned_minor", name="payment_withdrawn"),
    postgresql_with={"fillfactor": "80"},
)

ACCOUNT_BALANCE = Table(
    "account_balance",
    METADATA,
    tenant(),
    Column("account_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("entity_id", UUID),
    need("customer_id", UUID),
    need("currency", Text),
    minor("open_minor"),
    minor("unapplied_minor"),
    minor("unused_credits_minor"),
    Index("account_balance_customer", "tenant_id", "customer_id"),
    CheckConstraint("open_minor >= 0 AND unapplied_minor >= 0 AND unused_credits_minor >= 0", name="account_not_negative"),
    postgresql_with={"fillfactor": "50"},
)

_SETTLED = ("cash_minor", "discount_minor", "credit_minor", "charges_minor", "withheld_minor", "set_off_minor", "written_off_minor")

OPEN_ITEM = Table(
    "open_item",
    METADATA,
    tenant(),
    Column("item_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("invoice_version", BigInteger),
    need("entity_id", UUID),
    need("account_id", UUID),
    need("customer_id", UUID),
    # whom the invoice names, where a merge has another stand for him
    Column("moved_from_customer_id", UUID),
    need("kind", Text),
    need("currency", Text),
    need("source_system", Text),
    need("invoice_number", Text),
    need("issue_date", Date),
    need("due_date", Date),
    need("instalment_dues", ARRAY(Date)),
    need("instalment_amounts", ARRAY(BigInteger)),
    Column("credited_item_id", UUID),
    minor("original_minor"),
    minor("open_minor"),
    *(minor(name) for name in _SETTLED),
    minor("contested_minor"),
    need("status", Text),
    Column("close_cause", Text),
    Column("value_date", Date),
    Index("open_item_amount", "tenant_id", "entity_id", "open_minor", "account_id", postgresql_where=text("status = 'open'")),
    Index("open_item_customer", "tenant_id", "customer_id", "status", "due_date"),
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
    tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    Index("item_reference_item", "tenant_id", "item_id"),
    CheckConstraint("kind IN ('structured', 'number', 'folded')", name="item_reference_kind"),
)
"""What names an item: `structured` and `number` whole and normalised; `folded` what else a payer may write for these, with
letters read as digits, digits without their prefix (`domain.engine.index.document_keys`).
"""

ITEM_DISCOUNT = Table(
    "item_discount",
    METADATA,
    tenant(),
    Column("item_id", UUID, primary_key=True),
    Column("until", Date, primary_key=True),
    need("percent_bp", BigInteger),
)
"""Agreed discounts for early payment, in hundredths of a percent, until a day."""

ALLOCATION = Table(
    "allocation",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    need("amount_minor", BigInteger),
    need("rule", Text),
    minor("diff_minor"),
    Column("diff_reason", Text),
    Index("allocation_item", "tenant_id", "item_id"),
    Index("allocation_charges", "tenant_id", "payment_id", postgresql_where=text("diff_reason = 'bank_charges'")),
    CheckConstraint("amount_minor > 0", name="allocation_above_zero"),
    CheckConstraint("diff_minor >= 0 AND (diff_minor = 0 OR diff_reason IS NOT NULL)", name="allocation_difference"),
)

ALLOCATION_EXCHANGE = Table(
    "allocation_exchange",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    need("item_amount_minor", BigInteger),
    need("rate", Numeric(19, 10)),
    need("rate_source", Text),
    need("difference_minor", BigInteger),
    need("booking_date", Date),
    Index("allocation_exchange_day", "tenant_id", "booking_date"),
    CheckConstraint("item_amount_minor > 0 AND rate > 0", name="allocation_exchange_above_zero"),
)
"""Beside an allocation across currencies: what it settles of the item, in the item's currency, and what we gain (or, below zero, lose).

`booking_date` is the payment's: the usual rates are those of the last such days.
"""

SET_OFF = Table(
    "set_off",
    METADATA,
    tenant(),
    Column("credit_item_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    need("amount_minor", BigInteger),
    Index("set_off_item", "tenant_id", "item_id"),
    CheckConstraint("amount_minor > 0", name="set_off_above_zero"),
)

LEDGER_ENTRY = Table(
    "ledger_entry",
    METADATA,
    tenant(),
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    need("entity_id", UUID),
    need("currency", Text),
    need("debit", Text),
    need("credit", Text),
    need("amount_minor", BigInteger),
    Column("payment_id", UUID),
    Column("item_id", UUID),
    need("at", DateTime(timezone=True)),
    CheckConstraint("amount_minor > 0 AND debit <> credit", name="ledger_entry_both_sides"),
)

LEDGER_ACCOUNT = Table(
    "ledger_account",
    METADATA,
    tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("ledger", Text, primary_key=True),
    need("number", Text),
    need("label", Text),
)
"""Numbers of an entity's own chart for ledger accounts; without a row the French general chart's."""

LEDGER_RATE = Table(
    "ledger_rate",
    METADATA,
    tenant(),
    Column("entity_id", UUID, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("first_day", Date, primary_key=True),
    need("rate", Numeric(19, 10)),
    need("source", Text),
    CheckConstraint("rate > 0", name="ledger_rate_above_zero"),
)
"""What a unit of a currency is worth in euro from a day on, as an entity's accountant says: for exports in euro."""

DECISION = Table(
    "decision",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("payment_version", BigInteger, primary_key=True),
    need("rule", Text),
    need("evidence", JSONB),
    need("decided_at", DateTime(timezone=True)),
    Column("inputs", JSONB),
    Column("named_customers", ARRAY(UUID)),
)
"""`inputs` is all that the engine was given, to decide the same again; null where a direct hit decided, or `named_customers` is
not (somebody whose name is in it was erased)."""

PAYMENT_CLUE = Table(
    "payment_clue",
    METADATA,
    tenant(),
    Column("kind", Text, primary_key=True),
    Column("value", Text(collation="C"), primary_key=True),
    Column("payment_id", UUID, primary_key=True),
    Index("payment_clue_payment", "tenant_id", "payment_id"),
    CheckConstraint("kind IN ('document', 'name')", name="payment_clue_kind"),
)
"""What payments that wait say of their item and payer, folded: an item or customer that comes later looks here."""

ITEM_REVIEW = Table(
    "item_review",
    METADATA,
    tenant(),
    Column("item_id", UUID, primary_key=True),
    Column("invoice_version", BigInteger, primary_key=True),
    need("reason", Text),
    need("payable_minor", BigInteger),
    need("noted_at", DateTime(timezone=True)),
    Column("said", JSONB),
)
"""Versions of invoices that a netting keeps their items from following; `said` is the event."""
