"""Tables of scoring.

Invariants: replicas (customer, customer_identity, invoice, open_item, account, contribution) are functions of the events
that fed them, in any order; no foreign key ties rows fed by different topics. `standing` is the row that is locked before
anything about a customer is decided. score, terms and hold are our own aggregates: `version` is drawn under that lock.
`decision` is append-only.
"""

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Index, Integer, MetaData, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from scoring.domain.behaviour import MEASURES

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)


def _at(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=null)


def _measures() -> list[Column[object]]:
    # numeric: an amount times days may exceed 64 bits
    return [Column(name, Numeric(38, 0), nullable=False, server_default="0") for name in MEASURES]


# --- what others own -------------------------------------------------------------------------------------------------
CUSTOMER = Table(
    "customer",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("source_system", Text, nullable=False),
    Column("customer_number", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("company_ids", JSONB, nullable=False),
    Column("country", Text),
    Column("currency", Text),
    Column("payment_terms_days", Integer),
    Column("segment", Text),
    Column("parent_customer_id", UUID),
)
IDENTITY = Table(
    "customer_identity",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("country", Text),
)
INVOICE = Table(
    "invoice",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("invoice_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("payable_minor", BigInteger, nullable=False),
    Column("credit_check_id", UUID),
    CheckConstraint("payable_minor >= 0", name="invoice_payable_not_negative"),
    Index("invoice_of_check", "tenant_id", "credit_check_id", postgresql_where=Column("credit_check_id", UUID).is_not(None)),
)
OPEN_ITEM = Table(
    "open_item",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("open_minor", BigInteger, nullable=False),
    Column("disputed_minor", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("next_due", Date),
    CheckConstraint("open_minor >= 0 AND disputed_minor >= 0", name="open_item_not_negative"),
    Index("open_item_due", "tenant_id", "customer_id", "next_due", postgresql_where=Column("next_due", Date).is_not(None)),
)
ACCOUNT = Table(
    "account",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("account_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    Column("open_minor", BigInteger, nullable=False),
    Column("unapplied_minor", BigInteger, nullable=False),
    Column("unused_credits_minor", BigInteger, nullable=False),
    CheckConstraint("open_minor >= 0 AND unapplied_minor >= 0 AND unused_credits_minor >= 0", name="account_not_negative"),
    Index("account_of_customer", "tenant_id", "customer_id"),
)
CONTRIBUTION = Table(
    "contribution",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("source_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("customer_id", UUID),
    Column("currency", Text),
    Column("month", Date),
    *_measures(),
    CheckConstraint(" AND ".join(f"{name} >= 0" for name in MEASURES), name="contribution_not_negative"),
    Index("contribution_bucket", "tenant_id", "customer_id", "currency", "month"),
)
BEHAVIOUR = Table(
    "behaviour",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    *_measures(),
    CheckConstraint(" AND ".join(f"{name} >= 0" for name in MEASURES), name="behaviour_not_negative"),
)

# --- what we decide --------------------------------------------------------------------------------------------------
STANDING = Table(
    "standing",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("review_on", Date, nullable=False),
    Column("policy_version", BigInteger, nullable=False, server_default="0"),
    Index("standing_due", "tenant_id", "review_on", "customer_id"),
    Index("standing_policy", "tenant_id", "policy_version", "customer_id"),
)
SCORE = Table(
    "score",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("score", Integer, nullable=False),
    Column("band", Text, nullable=False),
    Column("firm_band", Text, nullable=False),
    Column("factors", JSONB, nullable=False),
    Column("bureau", JSONB),
    Column("reason", Text, nullable=False),
    _at("as_of"),
    Column("decision_id", UUID, nullable=False),
    CheckConstraint("score BETWEEN 0 AND 100", name="score_range"),
)
TERMS = Table(
    "terms",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("limit_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("payment_terms_days", Integer, nullable=False),
    Column("down_payment_bp", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decision_id", UUID, nullable=False),
    CheckConstraint("limit_minor >= 0", name="limit_not_negative"),
)
HOLD = Table(
    "hold",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("automatic", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("note", Text),
    Column("placed_by", Text),
    Column("exposure_minor", BigInteger, nullable=False),
    Column("limit_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    _at("decided_at"),
    Column("released_through", Date),
    Column("decision_id", UUID, nullable=False),
)
POLICY = Table(
    "credit_policy",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("body", JSONB, nullable=False),
    Column("set_by", Text, nullable=False),
    _at("set_at"),
)
LIMIT_OVERRIDE = Table(
    "limit_override",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("limit_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("expires_on", Date),
    Column("note", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    _at("set_at"),
    CheckConstraint("limit_minor >= 0", name="override_not_negative"),
)
CREDIT_CHECK = Table(
    "credit_check",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("credit_check_id", UUID, primary_key=True),
    Column("customer_id", UUID, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("exposure_minor", BigInteger, nullable=False),
    Column("reserved_minor", BigInteger, nullable=False),
    Column("limit_minor", BigInteger, nullable=False),
    Column("limit_currency", Text, nullable=False),
    _at("decided_at"),
    _at("expires_at"),
    Column("invoice_id", UUID),
    CheckConstraint("amount_minor > 0 AND reserved_minor >= 0", name="credit_check_amounts"),
    CheckConstraint(
        "decision <> 'approved' OR (currency = limit_currency AND exposure_minor + reserved_minor + amount_minor <= limit_minor)",
        name="credit_check_within_limit",
    ),
    Index(
        "credit_check_reserving",
        "tenant_id",
        "customer_id",
        "expires_at",
        postgresql_where=(Column("decision", Text) == "approved") & Column("invoice_id", UUID).is_(None),
    ),
)
DECISION = Table(
    "decision",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("decision_id", UUID, primary_key=True),
    Column("customer_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("policy_version", BigInteger, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("outcome", JSONB, nullable=False),
    _at("decided_at"),
    Index("decision_of_customer", "tenant_id", "customer_id", "kind", "number", unique=True),
)

# --- bureau ----------------------------------------------------------------------------------------------------------
BUREAU_SUBJECT = Table(
    "bureau_subject",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("searched", Text, nullable=False),
    Column("reference", Text),
    Column("status", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    _at("next_attempt_at"),
    Index("bureau_subject_due", "tenant_id", "next_attempt_at"),
    Index("bureau_subject_reference", "tenant_id", "reference"),
)
OBSERVATION = Table(
    "bureau_observation",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("checksum", Text, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("raw_score", Text),
    Column("raw_min", Text),
    Column("raw_max", Text),
    Column("direction", Text, nullable=False),
    Column("company_status", Text, nullable=False),
    Column("band", Text),
    Column("advised_limit_minor", BigInteger),
    Column("advised_limit_currency", Text),
    _at("as_of"),
    _at("fetched_at"),
    Column("raw", JSONB, nullable=False),
    Index("bureau_observation_latest", "tenant_id", "customer_id", "fetched_at"),
)
BUREAU_NOTIFICATION = Table(
    "bureau_notification",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("notification_id", Text, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("event_at", Text, nullable=False),
    _at("seen_at"),
)
