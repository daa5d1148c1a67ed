"""The tables that every service has for the mechanics. `attach` adds them to the service's own metadata.

Invariants: every table leads its key with the tenant and is under row-level security, but for those in
`WITHOUT_TENANT_SCOPE`, which hold no tenant's data in clear reach of the API (ADR 0005).
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

WITHOUT_TENANT_SCOPE = frozenset({"outbox", "inbox", "tenant", "consumer_start", "dead_letter", "alembic_version"})
"""Reached by the worker and the relay, which serve all tenants at once, and by no API route."""


def attach(metadata: MetaData) -> None:
    """Adds the outbox, inbox, dead letters, tenants, consumer starts, idempotency keys and audit trail."""
    Table("tenant", metadata, Column("tenant_id", UUID, primary_key=True), Column("since", DateTime(timezone=True), nullable=False))
    Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("tenants", ARRAY(UUID), nullable=False),
        Column("events", Integer, nullable=False),
        Column("topics", ARRAY(Text), nullable=False),
        Column("partitions", ARRAY(Integer), nullable=False),
        Column("batches", ARRAY(LargeBinary), nullable=False),
        Column("trace", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        # a queue table: vacuum by count, not by share, or the relay wades through dead rows
        postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "5000", "fillfactor": "100"},
    )
    Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event", Text, primary_key=True),
        Column("event_id", UUID, primary_key=True),
        Column("ce_time", DateTime(timezone=True), primary_key=True),
        postgresql_partition_by="RANGE (ce_time)",
    )
    Table(
        "consumer_start",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("started_at", DateTime(timezone=True), nullable=False),
    )
    Table(
        "dead_letter",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("event", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("tenant_id", UUID),
        Column("key", LargeBinary),
        Column("headers", JSONB, nullable=False),
        Column("value", LargeBinary),
        Column("parked", Boolean, nullable=False),
        Column("reason", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("replayed_at", DateTime(timezone=True)),
        Index("dead_letter_once", "consumer", "event", "partition", "offset", unique=True),
    )
    Table(
        "audit",
        metadata,
        Column("tenant_id", UUID, primary_key=True),
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("detail", JSONB, nullable=False),
        Column("sealed_by", BigInteger),
        Index("audit_unsealed", "tenant_id", "id", postgresql_where=Column("sealed_by", BigInteger).is_(None)),
    )
    Table(
        "audit_seal",
        metadata,
        Column("tenant_id", UUID, primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("rows", Integer, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("sealed_at", DateTime(timezone=True), nullable=False),
    )
    Table(
        "idempotency_key",
        metadata,
        Column("tenant_id", UUID, primary_key=True),
        Column("client", Text, primary_key=True),
        Column("route", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("status", SmallInteger),
        Column("headers", JSONB),
        Column("body", LargeBinary),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Index("idempotency_key_age", "tenant_id", "created_at"),
    )
