"""Kept of money: payments, what is announced, where it may come in, and how far the bank's word goes."""

from sqlalchemy import ARRAY, BigInteger, Column, Index, Integer, Table
from sqlalchemy.dialects.postgresql import UUID

from reporting.tables.columns import METADATA, date, json, kept, minor, text, uuid

PAYMENT = kept(
    "payment",
    "payment_id",
    uuid("entity_id"),
    uuid("bank_account_id"),
    minor("amount_minor"),
    text("currency"),
    date("booking_date"),
    date("value_date"),
    text("confirmation"),
    text("source"),
    json("allocations"),
    Column("further_allocations", Integer, nullable=False, server_default="0"),
    minor("unapplied_minor"),
    minor("returned_minor"),
    minor("refunded_minor"),
    uuid("virtual_iban_id", nullable=True),
    uuid("payer_customer_id", nullable=True),
    text("unapplied_reason", nullable=True),
    Column("candidate_customer_ids", ARRAY(UUID), nullable=False),
    text("return_reason", nullable=True),
    Index("payment_unapplied", "tenant_id", "booking_date", "payment_id", postgresql_where=Column("unapplied_minor", BigInteger) > 0),
    Index("payment_payer", "tenant_id", "payer_customer_id", "booking_date"),
)
PAYMENT_ANNOUNCEMENT = kept(
    "payment_announcement",
    "announcement_id",
    uuid("entity_id"),
    uuid("customer_id"),
    text("kind"),
    minor("amount_minor"),
    text("currency"),
    date("expected_on"),
    date("holds_until"),
    json("items"),
    text("status"),
    uuid("payment_id", nullable=True),
    Index("payment_announcement_of", "tenant_id", "customer_id"),
)
COLLECTION_ACCOUNT = kept(
    "collection_account",
    "bank_account_id",
    uuid("entity_id"),
    text("iban", nullable=True),
    text("currency"),
    text("holder_name"),
    date("start_date"),
    text("status"),
)
VIRTUAL_IBAN = kept(
    "virtual_iban",
    "virtual_iban_id",
    uuid("entity_id", nullable=True),
    text("virtual_iban"),
    uuid("bank_account_id"),
    text("assigned_to"),
    uuid("customer_id", nullable=True),
    uuid("invoice_id", nullable=True),
    text("status"),
    Index("virtual_iban_of", "tenant_id", "customer_id"),
)
RECONCILIATION = kept("reconciliation", "bank_account_id", uuid("entity_id"), date("booked_through"), date("matched_through"), json("gaps"))
REJECTED_STATEMENT = Table(
    "rejected_statement",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("statement_id", UUID, primary_key=True),
    uuid("entity_id", nullable=True),
    uuid("bank_account_id", nullable=True),
    text("file_sha256"),
    text("statement_number"),
    text("reason"),
    text("detail"),
)
