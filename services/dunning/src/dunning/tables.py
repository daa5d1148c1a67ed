"""The tables of dunning: what it keeps of others, and what it decides itself.

Invariants: `tenant_id` leads every key; replicas hold their aggregate's `version` and no foreign key ties them, for they
are fed by different topics; money is an integer of minor units that no row lets fall below zero.
"""

from typing import Any

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)


def _key(name: str, kind: type[TypeEngine[Any]] = UUID) -> Column[Any]:
    return Column(name, kind, primary_key=True)


def _tenant() -> Column[Any]:
    return _key("tenant_id")


def _minor(name: str) -> Column[int]:
    return Column(name, BigInteger, CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative"), nullable=False)


def _version() -> Column[int]:
    return Column("version", BigInteger, nullable=False)


# --- replicas: one row per aggregate of another service, at the highest version seen ---------------------------------
CUSTOMER = Table(
    "customer",
    METADATA,
    _tenant(),
    _key("customer_id"),
    _version(),
    Column("customer_number", Text, nullable=False),
    Column("language", Text),
    Column("country", Text),
)
IDENTITY = Table(
    "customer_identity",
    METADATA,
    _tenant(),
    _key("customer_id"),
    _version(),
    Column("name", Text, nullable=False),
    Column("contacts", JSONB, nullable=False),
)
INVOICE = Table(
    "invoice",
    METADATA,
    _tenant(),
    _key("invoice_id"),
    _version(),
    Column("customer_id", UUID, nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("payment_reference", Text),
    Column("payment_account", Text),
    Column("reminder_level", Integer),
    # the document that a reminder may carry: the invoice as people read it
    Column("copy_sha256", Text),
)
INVOICE_STATUS = Table(
    "invoice_status",
    METADATA,
    _tenant(),
    _key("invoice_id"),
    _version(),
    Column("outside", JSONB(none_as_null=True)),
    Column("settled_version", BigInteger, nullable=False, server_default="0"),
    Index("invoice_status_waiting", "tenant_id", "invoice_id", postgresql_where="settled_version < version"),
)
"""What buyer or platform last said of an e-invoice; `settled_version`: the version whose dispute is opened or lifted."""
ITEM = Table(
    "item",
    METADATA,
    _tenant(),
    _key("item_id"),
    _version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("issue_date", Date, nullable=False),
    _minor("open_minor"),
    _minor("disputed_minor"),
    _minor("paid_minor"),
    _minor("credited_minor"),
    Column("status", Text, nullable=False),
    Index("item_customer", "tenant_id", "customer_id"),
)
"""`paid_minor`: settled by money, agreed discount and tolerance included; `credited_minor`: credit, set-off, write-off."""
INSTALMENT = Table(
    "instalment",
    METADATA,
    _tenant(),
    _key("item_id"),
    _key("number", Integer),
    Column("due_date", Date, nullable=False),
    _minor("open_minor"),
    Index("instalment_due", "tenant_id", "due_date", postgresql_where="open_minor > 0"),
)
"""The instalments of the item's kept version: written with it, under its row's lock."""
SETTLEMENT = Table(
    "settlement",
    METADATA,
    _tenant(),
    _key("item_id"),
    _key("version", BigInteger),
    _minor("paid_minor"),
    Column("value_date", Date),
)
"""What was paid of an item at each of its versions: which money came by which day, whatever the order of arrival."""
BALANCE = Table(
    "balance",
    METADATA,
    _tenant(),
    _key("account_id"),
    _version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    _minor("unapplied_minor"),
    _minor("unused_credits_minor"),
    Index("balance_customer", "tenant_id", "customer_id"),
)
PAYMENT = Table(
    "payment",
    METADATA,
    _tenant(),
    _key("payment_id"),
    _version(),
    Column("entity_id", UUID),
    Column("currency", Text, nullable=False),
    _minor("unapplied_minor"),
    Column("customer_ids", ARRAY(UUID), nullable=False),
    Index("payment_in_review", "customer_ids", postgresql_using="gin", postgresql_where="unapplied_minor > 0"),
)
"""Payments; those with `unapplied_minor` are in review. `customer_ids`: the payer, where known, and the candidates."""
ANNOUNCEMENT = Table(
    "payment_announcement",
    METADATA,
    _tenant(),
    _key("announcement_id"),
    _version(),
    Column("entity_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    _minor("amount_minor"),
    Column("items", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Index("payment_announcement_of", "tenant_id", "customer_id", postgresql_where="status = 'announced'"),
)
"""Money on its way: what is being collected is not asked for. `items`: what of it is for which item."""
BANK_ACCOUNT = Table(
    "bank_account",
    METADATA,
    _tenant(),
    _key("bank_account_id"),
    _version(),
    Column("entity_id", UUID, nullable=False),
    Column("iban", Text),
    Column("holder_name", Text, nullable=False),
    Column("status", Text, nullable=False),
)
VIRTUAL_IBAN = Table(
    "virtual_iban",
    METADATA,
    _tenant(),
    _key("virtual_iban_id"),
    _version(),
    Column("iban", Text, nullable=False),
    Column("entity_id", UUID),
    Column("customer_id", UUID),
    Column("invoice_id", UUID),
    Column("status", Text, nullable=False),
    Index("virtual_iban_customer", "tenant_id", "customer_id"),
    Index("virtual_iban_invoice", "tenant_id", "invoice_id"),
)
SCORE = Table("score", METADATA, _tenant(), _key("customer_id"), _version(), Column("band", Text, nullable=False))
TERMS = Table(
    "credit_terms",
    METADATA,
    _tenant(),
    _key("customer_id"),
    _version(),
    _minor("limit_minor"),
    Column("currency", Text, nullable=False),
)
HOLD = Table(
    "credit_hold",
    METADATA,
    _tenant(),
    _key("customer_id"),
    _version(),
    Column("active", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
)
REJECTED = Table(
    "statement_rejected",
    METADATA,
    _tenant(),
    _key("statement_id"),
    Column("bank_account_id", UUID),
    Column("statement_number", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rejected_at", DateTime(timezone=True), nullable=False),
    Index("statement_rejected_account", "tenant_id", "bank_account_id"),
)

# --- the freshness gate -----------------------------------------------------------------------------------------------
RECONCILIATION = Table(
    "reconciliation",
    METADATA,
    _tenant(),
    _key("bank_account_id"),
    _version(),
    Column("booked_through", Date, nullable=False),
    Column("matched_through", Date, nullable=False),
    Column("gaps", JSONB, nullable=False),
)
MARK = Table(
    "gate_mark",
    METADATA,
    _tenant(),
    _key("bank_account_id"),
    _key("version", BigInteger),
    Column("matched_through", Date, nullable=False),
    Column("ends", JSONB, nullable=False),
    Column("opened_at", DateTime(timezone=True)),
    Index("gate_mark_shut", "tenant_id", "bank_account_id", postgresql_where="opened_at IS NULL"),
)
"""The topics' ends when a version of the reconciliation was read: it opens once our committed positions are there."""

# --- policy and runs --------------------------------------------------------------------------------------------------
POLICY = Table(
    "policy",
    METADATA,
    _tenant(),
    _key("version", BigInteger),
    Column("document", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("enabled_from", Date),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("NOT enabled OR enabled_from IS NOT NULL", name="enabled_has_a_first_day"),
)
RUN = Table(
    "run",
    METADATA,
    _tenant(),
    _key("day", Date),
    _key("entity_id"),
    Column("gate_through", Date, nullable=False),
    Column("done_at", DateTime(timezone=True), nullable=False),
)
"""A legal entity's run of a business day that is done: nothing more is decided for it on that day."""
DECISION = Table(
    "decision",
    METADATA,
    _tenant(),
    _key("day", Date),
    _key("entity_id"),
    _key("customer_id"),
    _key("currency", Text),
    Column("reminder_id", UUID, nullable=False),
    Column("outcome", Text, CheckConstraint("outcome IN ('send', 'held', 'withdrawn')", name="outcome_known"), nullable=False),
    Column("reason", Text),
    Column("step", Text),
    Column("level", Integer),
    Column("policy_version", BigInteger, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("gate_through", Date, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("asked", JSONB, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("as_of <= gate_through", name="as_of_within_gate"),
    CheckConstraint("(outcome = 'send') = (reason IS NULL)", name="reason_unless_sent"),
    Index("decision_reminder", "tenant_id", "reminder_id", unique=True),
    Index("decision_customer", "tenant_id", "customer_id", "day"),
)
"""`inputs`: ids, versions and amounts the decision was taken on; `asked`: its lines. Replaying the rule gives it again."""
REACHED = Table(
    "level_reached",
    METADATA,
    _tenant(),
    _key("item_id"),
    _key("instalment", Integer),
    _key("level", Integer),
    Column("reminder_id", UUID, nullable=False),
    Index("level_reached_reminder", "tenant_id", "reminder_id"),
)
"""Each level of an instalment is taken by one reminder: the key is the promise that none is sent twice."""
DISPATCH = Table(
    "dispatch",
    METADATA,
    _tenant(),
    _key("reminder_id"),
    Column("customer_id", UUID, nullable=False),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('planned', 'sending', 'sent', 'failed', 'in_doubt', 'withdrawn')", name="state_known"),
        nullable=False,
    ),
    Column("message_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("mail", LargeBinary, nullable=False),
    Column("interest_minor", BigInteger, nullable=False),
    Column("compensation_minor", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("told", Integer, nullable=False, server_default="0"),
    Column("attempt_at", DateTime(timezone=True), nullable=False),
    Column("claimed_at", DateTime(timezone=True)),
    Column("sent_at", DateTime(timezone=True)),
    Column("detail", Text),
    Index("dispatch_waiting", "tenant_id", "attempt_at", postgresql_where="state IN ('planned', 'sending')"),
    Index("dispatch_state", "tenant_id", "state", "reminder_id"),
)
"""What leaves the house, noted before and after. `told`: how often ReminderSent went into the outbox.

`attempt_at` and `claimed_at` are machine time, `sent_at` is business time.
"""

# --- promises, plans and disputes -------------------------------------------------------------------------------------
PROMISE = Table(
    "promise",
    METADATA,
    _tenant(),
    _key("promise_id"),
    _version(),
    Column("customer_id", UUID, nullable=False),
    Column("item_ids", ARRAY(UUID), nullable=False),
    _minor("amount_minor"),
    Column("currency", Text, nullable=False),
    Column("made_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("status", Text, CheckConstraint("status IN ('open', 'kept', 'broken', 'cancelled')", name="status_known"), nullable=False),
    Column("baseline", JSONB, nullable=False),
    Column("recheck", Boolean, nullable=False),
    Column("decision", JSONB),
    Index("promise_customer", "tenant_id", "customer_id"),
    Index("promise_open", "tenant_id", "due_on", postgresql_where="status = 'open'"),
)
"""`baseline`: version and paid amount of each item when the promise was made. `decision`: on what it was kept or broken."""
PAYMENT_PLAN = Table(
    "payment_plan",
    METADATA,
    _tenant(),
    _key("payment_plan_id"),
    _version(),
    Column("customer_id", UUID, nullable=False),
    Column("entity_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    Column("agreed_on", Date, nullable=False),
    Column("grace_days", Integer, nullable=False),
    Column("items", JSONB, nullable=False),
    Column("instalments", JSONB, nullable=False),
    Column(
        "status",
        Text,
        CheckConstraint("status IN ('active', 'completed', 'broken', 'cancelled')", name="payment_plan_status_known"),
        nullable=False,
    ),
    Column("broken_instalment", Integer),
    Column("missing_minor", BigInteger),
    Column("baseline", JSONB, nullable=False),
    Column("recheck", Boolean, nullable=False),
    Column("next_on", Date),
    Column("decision", JSONB),
    CheckConstraint("(status = 'broken') = (broken_instalment IS NOT NULL)", name="broken_by_an_instalment"),
    Index("payment_plan_customer", "tenant_id", "customer_id"),
    Index("payment_plan_active", "tenant_id", "next_on", postgresql_where="status = 'active'"),
)
"""`items`, `instalments`: as agreed, and what is left of each; `baseline`: version and paid amount of each item when it was agreed;
`next_on`: the last day of the first instalment that is not met."""
DISPUTE = Table(
    "dispute",
    METADATA,
    _tenant(),
    _key("dispute_id"),
    _version(),
    Column("item_id", UUID, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("entity_id", UUID, nullable=False),
    _minor("amount_minor"),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, CheckConstraint("status IN ('open', 'resolved')", name="dispute_status_known"), nullable=False),
    Column("resolution", Text),
    Column("credited_before_minor", BigInteger, nullable=False),
    Column(
        "origin", Text, CheckConstraint("origin IN ('ours', 'outside')", name="dispute_origin_known"), nullable=False, server_default="ours"
    ),
    Index("dispute_item", "tenant_id", "item_id"),
    Index("dispute_customer", "tenant_id", "customer_id"),
)
"""`credited_before_minor`: what was credited on the item when the dispute was resolved; a credit after it is the concession."""
