"""Tables of reporting: what it keeps of others' aggregates, and what it measured.

Invariants:
- a column of a kept table has the name of the event's field (`tenant_id` and `entity_id` come from the envelope), so that
  one handler fills them all; `version` is the aggregate's, and the row with the highest one stays;
- everything in `READ_MODELS` is a function of the set of events seen, whatever their order and repetition: a rebuild makes
  the same rows. `MEASURED` holds decisions, each taken once at its moment: no rebuild touches it;
- no foreign key ties rows that different topics feed.
"""

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
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.sql.schema import SchemaItem

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)

_JSON = JSONB(none_as_null=True)
_MONEY = Numeric(38, 0)
"""Minor units of a sum or a product, which a bigint may not hold."""


def _kept(name: str, key: str, *columns: SchemaItem) -> Table:
    """A table of others' aggregates: one row each, at the highest version seen."""
    return Table(
        name,
        METADATA,
        Column("tenant_id", UUID, primary_key=True),
        Column(key, UUID, primary_key=True),
        Column("version", BigInteger, nullable=False),
        *columns,
    )


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _id(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, UUID, nullable=nullable)


def _minor(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, CheckConstraint(f"{name} >= 0"), nullable=nullable)


def _date(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Date, nullable=nullable)


def _json(name: str) -> Column[object]:
    return Column(name, _JSON, nullable=False)


CUSTOMER = _kept(
    "customer",
    "customer_id",
    _text("source_system"),
    _text("customer_number"),
    _text("status"),
    _json("company_ids"),
    _text("country", nullable=True),
    _text("language", nullable=True),
    _text("currency", nullable=True),
    Column("payment_terms_days", Integer),
    _text("segment", nullable=True),
    _id("parent_customer_id", nullable=True),
)
CUSTOMER_IDENTITY = _kept("customer_identity", "customer_id", _text("name"), Column("address", _JSON), _json("contacts"))
INVOICE = _kept(
    "invoice",
    "invoice_id",
    _id("entity_id"),
    _text("source_system"),
    _text("invoice_number"),
    _text("kind"),
    _text("origin"),
    _text("status"),
    _id("customer_id"),
    _text("customer_number"),
    _date("issue_date"),
    _text("currency"),
    _minor("total_minor"),
    Column("tax_minor", BigInteger, nullable=False),
    Column("prepaid_minor", BigInteger, nullable=False),
    _minor("payable_minor"),
    _json("instalments"),
    _id("credited_invoice_id", nullable=True),
    _minor("opening_open_minor", nullable=True),
    _date("paid_on", nullable=True),
    Index("invoice_sales", "tenant_id", "entity_id", "issue_date"),
)
OPEN_ITEM = _kept(
    "open_item",
    "item_id",
    _id("entity_id"),
    _text("kind"),
    _id("customer_id"),
    _text("source_system"),
    _text("invoice_number"),
    _text("currency"),
    _date("issue_date"),
    _minor("original_minor"),
    _minor("open_minor"),
    _minor("disputed_minor"),
    _json("settled"),
    _json("instalments"),
    _text("status"),
    _text("close_cause", nullable=True),
    _date("value_date", nullable=True),
    Index("open_item_open", "tenant_id", "customer_id", postgresql_where=Column("open_minor", BigInteger) > 0),
)
PAYMENT = _kept(
    "payment",
    "payment_id",
    _id("entity_id"),
    _id("bank_account_id"),
    _minor("amount_minor"),
    _text("currency"),
    _date("booking_date"),
    _date("value_date"),
    _text("confirmation"),
    _text("source"),
    _json("allocations"),
    _minor("unapplied_minor"),
    _minor("returned_minor"),
    _minor("refunded_minor"),
    _id("virtual_iban_id", nullable=True),
    _id("payer_customer_id", nullable=True),
    _text("unapplied_reason", nullable=True),
    Column("candidate_customer_ids", ARRAY(UUID), nullable=False),
    _text("return_reason", nullable=True),
    Index("payment_unapplied", "tenant_id", "booking_date", "payment_id", postgresql_where=Column("unapplied_minor", BigInteger) > 0),
    Index("payment_payer", "tenant_id", "payer_customer_id", "booking_date"),
)
ACCOUNT_BALANCE = _kept(
    "account_balance",
    "account_id",
    _id("entity_id"),
    _id("customer_id"),
    _text("currency"),
    _minor("open_minor"),
    _minor("unapplied_minor"),
    _minor("unused_credits_minor"),
    Index("account_balance_of", "tenant_id", "customer_id"),
)
COLLECTION_ACCOUNT = _kept(
    "collection_account",
    "bank_account_id",
    _id("entity_id"),
    _text("iban", nullable=True),
    _text("currency"),
    _text("holder_name"),
    _date("start_date"),
    _text("status"),
)
RECONCILIATION = _kept(
    "reconciliation", "bank_account_id", _id("entity_id"), _date("booked_through"), _date("matched_through"), _json("gaps")
)
VIRTUAL_IBAN = _kept(
    "virtual_iban",
    "virtual_iban_id",
    _id("entity_id", nullable=True),
    _text("virtual_iban"),
    _id("bank_account_id"),
    _text("assigned_to"),
    _id("customer_id", nullable=True),
    _id("invoice_id", nullable=True),
    _text("status"),
    Index("virtual_iban_of", "tenant_id", "customer_id"),
)
SCORE = _kept(
    "score",
    "customer_id",
    Column("score", SmallInteger, nullable=False),
    _text("band"),
    _json("factors"),
    Column("bureau", _JSON),
    _text("reason"),
    Column("as_of", DateTime(timezone=True), nullable=False),
)
CREDIT_TERMS = _kept(
    "credit_terms",
    "customer_id",
    _minor("limit_minor"),
    _text("currency"),
    Column("payment_terms_days", Integer, nullable=False),
    Column("down_payment_bp", Integer, nullable=False),
    _text("reason"),
)
CREDIT_HOLD = _kept(
    "credit_hold",
    "customer_id",
    Column("active", Boolean, nullable=False),
    _text("reason"),
    Column("exposure_minor", BigInteger, nullable=False),
    _minor("limit_minor"),
    _text("currency"),
    Column("decided_at", DateTime(timezone=True), nullable=False),
)
PROMISE = _kept(
    "promise",
    "promise_id",
    _id("entity_id", nullable=True),
    _id("customer_id"),
    Column("item_ids", ARRAY(UUID), nullable=False),
    _minor("amount_minor"),
    _text("currency"),
    _date("due_on"),
    _text("status"),
    Index("promise_of", "tenant_id", "customer_id"),
)
PAYMENT_PLAN = _kept(
    "payment_plan",
    "payment_plan_id",
    _id("entity_id", nullable=True),
    _id("customer_id"),
    _text("currency"),
    _date("agreed_on"),
    Column("grace_days", Integer, nullable=False),
    _json("items"),
    _json("instalments"),
    _text("status"),
    Column("broken_instalment", Integer),
    _minor("missing_minor", nullable=True),
    Index("payment_plan_of", "tenant_id", "customer_id"),
)
DISPUTE = _kept(
    "dispute",
    "dispute_id",
    _id("entity_id", nullable=True),
    _id("item_id"),
    _id("customer_id"),
    _minor("amount_minor"),
    _text("currency"),
    _text("reason"),
    _text("status"),
    _text("resolution", nullable=True),
    Index("dispute_of", "tenant_id", "customer_id"),
)
WRITE_OFF = _kept(
    "write_off",
    "write_off_id",
    _id("entity_id"),
    _id("item_id"),
    _id("customer_id"),
    _text("source_system"),
    _text("invoice_number"),
    _text("currency"),
    _minor("amount_minor"),
    _minor("reversed_minor"),
    _text("reason"),
    Index("write_off_of", "tenant_id", "customer_id"),
)
PAYMENT_ANNOUNCEMENT = _kept(
    "payment_announcement",
    "announcement_id",
    _id("entity_id"),
    _id("customer_id"),
    _text("kind"),
    _minor("amount_minor"),
    _text("currency"),
    _date("expected_on"),
    _date("holds_until"),
    _json("items"),
    _text("status"),
    _id("payment_id", nullable=True),
    Index("payment_announcement_of", "tenant_id", "customer_id"),
)
INVOICE_STATUS = _kept(
    "invoice_status",
    "invoice_id",
    _id("customer_id"),
    _text("invoice_number"),
    Column("status", SmallInteger),
    _text("origin", nullable=True),
    Column("outside", _JSON),
    Column("ours", _JSON),
    Index("invoice_status_of", "tenant_id", "customer_id"),
)
# facts: one row each under their own id, never changed
REMINDER = Table(
    "reminder",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("reminder_id", UUID, primary_key=True),
    _id("entity_id", nullable=True),
    _id("customer_id"),
    _text("step"),
    Column("level", Integer, nullable=False),
    _text("channel"),
    _text("currency"),
    _json("items"),
    _minor("interest_minor"),
    _minor("compensation_minor"),
    _date("as_of"),
    Column("sent_at", DateTime(timezone=True), nullable=False),
    Index("reminder_of", "tenant_id", "customer_id", "sent_at"),
)
REJECTED_STATEMENT = Table(
    "rejected_statement",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("statement_id", UUID, primary_key=True),
    _id("entity_id", nullable=True),
    _id("bank_account_id", nullable=True),
    _text("file_sha256"),
    _text("statement_number"),
    _text("reason"),
    _text("detail"),
)
EVENT_SEEN = Table(
    "event_seen",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("event_id", UUID, primary_key=True),
)

# --- measured once, at its moment -------------------------------------------------------------------------------
MEASURED_DAY = Table(
    "measured_day",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("day", Date, primary_key=True),
    # where the topics ended when the bank's word for the day was in: {"topic:partition": offset}
    Column("ends", JSONB, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False),
    Column("taken_at", DateTime(timezone=True)),
    Column("rows", Integer),
    Index("measured_day_waiting", "tenant_id", postgresql_where=Column("taken_at", DateTime(timezone=True)).is_(None)),
)
AGEING_DAY = Table(
    "ageing_day",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("currency", Text, primary_key=True),
    # the nil UUID stands for payers that nobody knows
    Column("customer_id", UUID, primary_key=True),
    *(
        Column(f"{name}_minor", _MONEY, nullable=False)
        for name in (
            "not_due",
            "days_1_30",
            "days_31_60",
            "days_61_90",
            "days_91_plus",
            "disputed",
            "late_charges",
            "credit_notes",
            "unapplied",
        )
    ),
    Index("ageing_day_of", "tenant_id", "customer_id", "day"),
)
KPI = Table(
    "kpi",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("kpi", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("numerator", _MONEY, nullable=False),
    Column("denominator", _MONEY, nullable=False),
)

MEASURED = (MEASURED_DAY, AGEING_DAY, KPI)
READ_MODELS = (
    ALIAS,
    CUSTOMER,
    CUSTOMER_IDENTITY,
    INVOICE,
    INVOICE_STATUS,
    OPEN_ITEM,
    PAYMENT,
    ACCOUNT_BALANCE,
    COLLECTION_ACCOUNT,
    RECONCILIATION,
    VIRTUAL_IBAN,
    SCORE,
    CREDIT_TERMS,
    CREDIT_HOLD,
    PROMISE,
    PAYMENT_PLAN,
    DISPUTE,
    WRITE_OFF,
    PAYMENT_ANNOUNCEMENT,
    REMINDER,
    REJECTED_STATEMENT,
    EVENT_SEEN,
)
