"""The tables of invoicing.

Invariants: the tenant leads every key; no foreign key ties rows fed by different topics; what other services say
(`invoice_balance`, `account_balance`, `credit_hold`, `credit_terms`) lies in rows of its own, at the highest version seen.
"""

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)

LEGAL_ENTITY = Table(
    "legal_entity",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("entity_id", UUID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("vat_id", Text),
    Column("company_ids", JSONB, nullable=False),
    # `scheme:value` and `:value` of each register number, letters and digits only: what a file's seller is looked up by
    Column("identifiers", ARRAY(Text), nullable=False),
    Column("unknown_buyer", Text, nullable=False),
    Column("on_hold", Text, nullable=False),
    Column("payment_terms_days", SmallInteger, nullable=False),
    Column("on_duplicate", Text, nullable=False, server_default="warn"),
    Column("on_missing_order", Text, nullable=False, server_default="warn"),
    # the scheme of references we make; null: by country
    Column("reference_scheme", Text),
    Column("reference_prefix", Text, nullable=False, server_default=""),
    # how long its invoices must be kept, where the product does not know the law of its country
    Column("retention_years", SmallInteger),
    CheckConstraint("unknown_buyer IN ('create', 'refuse')", name="legal_entity_unknown_buyer"),
    CheckConstraint("on_hold IN ('warn', 'block')", name="legal_entity_on_hold"),
    CheckConstraint("on_duplicate IN ('warn', 'refuse') AND on_missing_order IN ('warn', 'refuse')", name="legal_entity_cautions"),
)

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
    Column("language", Text),
    Column("currency", Text),
    Column("payment_terms_days", Integer),
    Column("segment", Text),
    Column("parent_customer_id", UUID),
    Column("policy", Text),
    Column("requires_order_number", Boolean, nullable=False, server_default="false"),
    Column("erased_on", Date),
    CheckConstraint("version >= 1", name="customer_version"),
    CheckConstraint("status IN ('confirmed', 'unconfirmed')", name="customer_status"),
    Index("customer_number", "tenant_id", "source_system", "customer_number", unique=True),
    Index("customer_parent", "tenant_id", "parent_customer_id", postgresql_where=Column("parent_customer_id", UUID).is_not(None)),
)

CUSTOMER_IDENTIFIER = Table(
    "customer_identifier",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    # letters and digits of a register number, without its scheme: a file may leave the scheme out
    Column("value", Text, primary_key=True),
    Column("scheme", Text, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Index("customer_identifier_of", "tenant_id", "customer_id"),
)

CUSTOMER_IDENTITY = Table(
    "customer_identity",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", JSONB),
    Column("contacts", JSONB, nullable=False),
    Column("known_ibans", JSONB, nullable=False),
    Column("addresses", JSONB, nullable=False, server_default="[]"),
)

CUSTOMER_HISTORY = Table(
    "customer_history",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("into_customer_id", UUID),
    Column("customer", JSONB, nullable=False),
    # null where nothing is known of who it is, and once that was erased
    Column("identity", JSONB),
)

INVOICE = Table(
    "invoice",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("invoice_id", UUID, primary_key=True),
    Column("entity_id", UUID, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("source_system", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("source_version", Integer, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("customer_number", Text, nullable=False),
    Column("issue_date", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("prepaid_minor", BigInteger, nullable=False),
    Column("payable_minor", BigInteger, nullable=False),
    Column("payment_reference", Text),
    # whether the reference is ours: the source printed none
    Column("reference_made", Boolean, nullable=False),
    Column("instalments", JSONB, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("content", LargeBinary, nullable=False),
    # what its sender was told, as [code, sentence]
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("cancel_reason", Text),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("version >= 1 AND source_version >= 1", name="invoice_versions"),
    CheckConstraint("kind IN ('invoice', 'credit_note', 'deposit')", name="invoice_kind"),
    CheckConstraint("origin IN ('issued', 'opening', 'history')", name="invoice_origin"),
    CheckConstraint("status IN ('issued', 'cancelled')", name="invoice_status"),
    CheckConstraint("total_minor >= 0 AND payable_minor >= 0 AND payable_minor = total_minor - prepaid_minor", name="invoice_payable"),
    Index("invoice_source", "tenant_id", "source_id", "source_system"),
    Index("invoice_number", "tenant_id", "invoice_number", "invoice_id"),
    Index("invoice_customer", "tenant_id", "customer_id", "invoice_id"),
    Index("invoice_customer_number", "tenant_id", "customer_number", "invoice_id"),
    Index("invoice_reference", "tenant_id", "payment_reference"),
    Index(
        "invoice_credits",
        "tenant_id",
        text("(details ->> 'credited_invoice_id')"),
        postgresql_where=text("kind = 'credit_note'"),
    ),
    # an order or another reference is looked for by its own text, and most invoices have none
    Index(
        "invoice_orders", text("(details -> 'order_numbers')"), postgresql_using="gin", postgresql_where=text("details ? 'order_numbers'")
    ),
    Index("invoice_mentions", text("(details -> 'references')"), postgresql_using="gin", postgresql_where=text("details ? 'references'")),
)

INVOICE_BALANCE = Table(
    "invoice_balance",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("invoice_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("original_minor", BigInteger, nullable=False),
    Column("open_minor", BigInteger, nullable=False),
    Column("disputed_minor", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("close_cause", Text),
    Column("value_date", Date),
    CheckConstraint("open_minor >= 0 AND disputed_minor >= 0", name="invoice_balance_amounts"),
)

ACCOUNT_BALANCE = Table(
    "account_balance",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("account_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("customer_id", UUID, nullable=False),
    Column("currency", Text, nullable=False),
    Column("open_minor", BigInteger, nullable=False),
    Column("unapplied_minor", BigInteger, nullable=False),
    Column("unused_credits_minor", BigInteger, nullable=False),
    Index("account_balance_customer", "tenant_id", "customer_id"),
)

CREDIT_HOLD = Table(
    "credit_hold",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
)

CREDIT_TERMS = Table(
    "credit_terms",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("customer_id", UUID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("limit_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("payment_terms_days", Integer, nullable=False),
    Column("down_payment_bp", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

IMPORT_MAPPING = Table(
    "import_mapping",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
)

IMPORT_RUN = Table(
    "import_run",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("import_id", UUID, primary_key=True),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("as_of", Date),
    Column("dry_run", Boolean, nullable=False),
    Column("format", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # empty and 0 where e-invoices alone are imported
    Column("mapping", Text, nullable=False),
    Column("mapping_version", Integer, nullable=False),
    Column("source_system", Text, nullable=False),
    # who handed the file in: `api`, or a drop's own name for it
    Column("source", Text, nullable=False),
    # whether the same file again is a duplicate of this import: not of a dry run, a repetition, or one that came to nothing
    Column("once", Boolean, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # where the next slice begins: member of an archive, byte, line
    Column("member", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("busy_ms", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("duplicate", BigInteger, nullable=False),
    # received without a readable amount, so in no control sum
    Column("unvalued", BigInteger, nullable=False),
    Column("faults", BigInteger, nullable=False),
    # currency to {received, accepted, rejected, duplicate} in minor units, as text: sums may pass 64 bits
    Column("sums", JSONB, nullable=False),
    Column("failure", JSONB),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name="import_run_state"),
    CheckConstraint("kind IN ('invoices', 'customers')", name="import_run_kind"),
    CheckConstraint("mode IN ('issued', 'opening', 'history')", name="import_run_mode"),
    CheckConstraint("received = accepted + rejected + duplicate", name="import_run_counters"),
    Index("import_run_once", "tenant_id", "sha256", "mapping", "mapping_version", "mode", unique=True, postgresql_where=text("once")),
    Index("import_run_source", "tenant_id", "source", unique=True, postgresql_where=text("source <> 'api'")),
    Index("import_run_waiting", "tenant_id", "import_id", postgresql_where=text("state IN ('waiting', 'running')")),
)

IMPORT_FAULT = Table(
    "import_fault",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("import_id", UUID, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("member", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("column_name", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

INVOICE_STATUS = Table(
    "invoice_status",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("invoice_id", UUID, primary_key=True),
    # 0 until the first status is published
    Column("version", BigInteger, nullable=False),
    Column("status", SmallInteger),
    Column("origin", Text),
    Column("outside", JSONB),
    Column("ours", JSONB),
    # money that was reported by status 212 so far, and the version of the open item that it was read from
    Column("reported_minor", BigInteger, nullable=False),
    Column("item_version", BigInteger, nullable=False),
    CheckConstraint("status BETWEEN 200 AND 213", name="invoice_status_code"),
    CheckConstraint("(status IS NULL) = (origin IS NULL)", name="invoice_status_origin"),
)

STATUS_ENTRY = Table(
    "status_entry",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    # drawn from invoice, origin and message: the same message twice is one row
    Column("entry_id", UUID, primary_key=True),
    Column("invoice_id", UUID, nullable=False),
    Column("origin", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("status", SmallInteger),
    Column("lifts", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("amounts", JSONB, nullable=False),
    Column("note", Text),
    Column("received_at", DateTime(timezone=True), nullable=False),
    # when whoever passes our statuses on has taken this one
    Column("acknowledged_at", DateTime(timezone=True)),
    CheckConstraint("origin IN ('outside', 'ours')", name="status_entry_origin"),
    CheckConstraint("status BETWEEN 200 AND 213", name="status_entry_code"),
    CheckConstraint("(status IS NULL) = (lifts IS NOT NULL)", name="status_entry_says_something"),
    Index("status_entry_invoice", "tenant_id", "invoice_id", "at", "entry_id"),
    Index(
        "status_entry_outgoing",
        "tenant_id",
        "entry_id",
        postgresql_where="origin = 'ours' AND status IS NOT NULL AND acknowledged_at IS NULL",
    ),
)
"""The log of an invoice's life cycle: rows are added, never changed but for `acknowledged_at`, and erased notes."""
