"""Bank accounts, virtual IBANs, files and statements, movements that are no payments, how far an account is reconciled."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from matching.tables.columns import METADATA, minor, need, tenant

BANK_ACCOUNT = Table(
    "bank_account",
    METADATA,
    tenant(),
    Column("bank_account_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("entity_id", UUID),
    Column("iban", Text),
    need("currency", Text),
    need("holder_name", Text),
    need("start_date", Date),
    need("status", Text),
    need("number", Text),
    Column("bank_id", Text),
    Index("bank_account_number", "tenant_id", "number", unique=True),
    CheckConstraint("(iban IS NULL) = (bank_id IS NOT NULL) AND (iban IS NULL OR iban = number)", name="bank_account_identified"),
)

VIRTUAL_IBAN = Table(
    "virtual_iban",
    METADATA,
    tenant(),
    Column("virtual_iban_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("bank_account_id", UUID),
    need("iban", Text),
    need("status", Text),
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
    tenant(),
    Column("statement_id", UUID, primary_key=True),
    need("bank_account_id", UUID),
    need("file_sha256", Text),
    need("kind", Text),
    need("number", Text),
    Column("sequence", BigInteger),
    Column("first_day", Date),
    Column("last_day", Date),
    Column("opening_minor", BigInteger),
    Column("closing_minor", BigInteger),
    minor("entries_minor"),
    need("verdict", Text),
    Column("reason", Text),
    need("received_at", DateTime(timezone=True)),
    need("role", Text),
    Column("detail", Text),
    need("entries", BigInteger, server_default="0"),
    need("uploaded_by", Text, server_default=""),
    Column("accepted_by", Text),
    Column("accepted_at", DateTime(timezone=True)),
    Column("accepted_reason", Text),
    need("days", JSONB, server_default="[]"),  # what it moves by day: entries, minor units, amounts
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
    tenant(),
    Column("statement_id", UUID, primary_key=True),
    Column("slice", BigInteger, primary_key=True),
    need("transactions", LargeBinary),
)
"""What waits to be booked: at most a thousand keyed transactions, as JSON."""

MOVEMENT = Table(
    "movement",
    METADATA,
    tenant(),
    Column("movement_id", UUID, primary_key=True),
    need("bank_account_id", UUID),
    need("kind", Text),
    minor("amount_minor"),
    need("booking_date", Date),
    Column("bank_reference", Text),
    Column("end_to_end_id", Text),
    need("resolved", Boolean),
    Column("payment_id", UUID),
    Column("received_at", DateTime(timezone=True)),
    Column("transaction_id", Text),
    Column("return_reason", Text),
    Index("movement_waiting", "tenant_id", "bank_account_id", postgresql_where=text("NOT resolved")),
    Index("movement_booked_by_hand", "tenant_id", "bank_account_id", "bank_reference", postgresql_where=text("payment_id IS NOT NULL")),
)
"""`payment_id`: the payment that a batch total was booked as by hand, until its details take its place."""

RECONCILIATION = Table(
    "reconciliation",
    METADATA,
    tenant(),
    Column("bank_account_id", UUID, primary_key=True),
    need("version", BigInteger),
    Column("booked_through", Date),
    Column("matched_through", Date),
    Column("gaps", JSONB),
    Column("next_booked_through", Date),
    Column("next_matched_through", Date),
    Column("next_gaps", JSONB),
    Column("after_outbox_id", BigInteger),
    need("statements", BigInteger, server_default="0"),
)

PULLED_FILE = Table(
    "pulled_file",
    METADATA,
    tenant(),
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    need("file_sha256", Text),
    need("outcome", Text),
    Column("detail", Text),
    need("pulled_at", DateTime(timezone=True)),
    CheckConstraint("outcome IN ('taken', 'unreadable')", name="pulled_file_outcome"),
)
"""What was fetched from where; `unreadable` ones wait for a person, and are not fetched again before he says so."""
