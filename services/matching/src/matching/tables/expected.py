"""Expected payments: lists, announced money, promises, payment plans, instructions given before the invoice."""

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Date, DateTime, Index, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from matching.tables.columns import METADATA, need, tenant

EXPECTED_PAYMENT = Table(
    "expected_payment",
    METADATA,
    tenant(),
    Column("expected_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("entity_id", UUID),
    need("kind", Text),
    Column("form", Text),
    Column("payer_customer_id", UUID),
    need("currency", Text),
    need("amount_minor", BigInteger),
    Column("reference", Text),
    Column("document_number", Text),
    Column("expected_on", Date),
    Column("holds_until", Date),
    need("lines", JSONB),
    need("missing", ARRAY(Text)),
    need("status", Text),
    Column("payment_id", UUID),
    need("created_by", Text),
    need("created_at", DateTime(timezone=True)),
    Column("rate", Numeric(19, 10)),
    Column("rate_currency", Text),
    Column("payment_plan_id", UUID),
    Index("expected_payment_plan", "tenant_id", "payment_plan_id", postgresql_where=text("payment_plan_id IS NOT NULL")),
    Index("expected_payment_met", "tenant_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
    Index(
        "expected_payment_waiting",
        "tenant_id",
        "entity_id",
        "amount_minor",
        postgresql_where=text("status IN ('waiting', 'partly', 'expired')"),
    ),
    Index(
        "expected_payment_listed",
        "tenant_id",
        "reference",
        postgresql_where=text("kind = 'remittance' AND status = 'waiting' AND reference IS NOT NULL"),
    ),
    Index(
        "expected_payment_promised",
        "tenant_id",
        "payer_customer_id",
        postgresql_where=text("kind = 'promise' AND status = 'waiting'"),
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
    tenant(),
    Column("instruction_id", UUID, primary_key=True),
    need("entity_id", UUID),
    need("bank_account_id", UUID),
    need("source_system", Text),
    need("invoice_number", Text),
    need("customer_id", UUID),
    need("virtual_iban_id", UUID),
    need("reference", Text),
    Column("invoice_id", UUID),
    need("created_at", DateTime(timezone=True)),
    Index("payment_instruction_number", "tenant_id", "entity_id", "source_system", "invoice_number", unique=True),
    Index("payment_instruction_reference", "tenant_id", "entity_id", "reference", unique=True),
    Index("payment_instruction_virtual", "tenant_id", "virtual_iban_id"),
)
"""Where an invoice is to be paid, asked before it exists; `invoice_id` once it has come."""

PROMISE = Table(
    "promise",
    METADATA,
    tenant(),
    Column("promise_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("status", Text),
)
"""Dunning's promises at their highest version; what is expected because of one is in `expected_payment` under the same id."""

PAYMENT_PLAN = Table(
    "payment_plan",
    METADATA,
    tenant(),
    Column("payment_plan_id", UUID, primary_key=True),
    need("version", BigInteger),
    need("entity_id", UUID),
    need("customer_id", UUID),
    need("currency", Text),
    need("items", JSONB),
    need("instalments", JSONB),
    need("status", Text),
    Index("payment_plan_living", "tenant_id", "customer_id", postgresql_where=text("status = 'active'")),
)
"""Dunning's payment plans at their highest version; what is expected of them is in `expected_payment` with their id."""

PAYMENT_SET_OFF = Table(
    "payment_set_off",
    METADATA,
    tenant(),
    Column("payment_id", UUID, primary_key=True),
    Column("credit_item_id", UUID, primary_key=True),
    Column("item_id", UUID, primary_key=True),
    need("amount_minor", BigInteger),
    CheckConstraint("amount_minor > 0", name="payment_set_off_above_zero"),
)
"""Which set-offs came with a payment's remittance list: unmatching the payment undoes them too."""
