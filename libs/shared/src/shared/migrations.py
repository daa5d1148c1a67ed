"""Alembic per service, and what every migration needs for tenants and roles.

Invariants: tables belong to the owner's role; the application's role reads and writes them under forced row-level
security, and so does the owner's, whose tenants are none: a migration that reads or changes rows lifts it from their tables before
(`NO FORCE`), and `secure` puts it back; the relay's role reaches the outbox alone; the check's role reads everything and writes
nothing. A process refuses to start on a schema that is not its own newest.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from contracts.catalogue import topics
from sqlalchemy import Connection, MetaData, Row, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.db import async_url
from shared.recordbatches import Record, build, partition_of
from shared.tables import WITHOUT_TENANT_SCOPE

POLICY = "tenant_id IN (SELECT unnest(current_setting('app.tenants')::uuid[]))"
"""Measured at 500 rows over 400 tenants: no slower than without."""

_INBOX_FUNCTION = """
CREATE FUNCTION inbox_days(first date, last date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE day date; old text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('inbox_days'));
  FOR old IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'inbox'::regclass
      AND c.relname < 'inbox_' || to_char(first, 'YYYYMMDD') LOOP
    EXECUTE format('DROP TABLE %I', old);
  END LOOP;
  FOR day IN SELECT generate_series(first, last, interval '1 day')::date LOOP
    IF to_regclass('inbox_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF inbox FOR VALUES FROM (%L) TO (%L)',
        'inbox_' || to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
  END LOOP;
END $$
"""


_ONE_TENANT = """
SELECT pg_restore_attribute_stats('schemaname', n.nspname::text, 'relname', c.relname::text, 'attname', 'tenant_id',
  'inherited', false, 'null_frac', 0::real, 'avg_width', 16, 'n_distinct', 1::real)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.reltuples < 0
"""
"""Of a table that was never analysed the planner believes that a tenant is one row in two hundred. In a young database it
then takes an index of which a statement binds nothing but the tenant for as good as the primary key, keeps that plan, and
every batch reads the whole table, until autovacuum has been by: the first minute of an import."""
_STATS_SINCE = 180000  # server_version_num: before, statistics could not be given
_MAINTAIN_SINCE = 170000  # before, only its owner could vacuum a table


def secure(op: Operations, service: str, metadata: MetaData) -> None:
    """At the end of a migration: row-level security, forced, on every tenant's table, and the grants of the roles."""
    there = set(inspect(op.get_bind()).get_table_names())  # an older migration does not have the newest tables yet
    for table in metadata.sorted_tables:
        if table.name in there and table.name not in WITHOUT_TENANT_SCOPE:
            op.execute(f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY")
            op.execute(f"DROP POLICY IF EXISTS tenant ON {table.name}")
            op.execute(f"CREATE POLICY tenant ON {table.name} USING ({POLICY}) WITH CHECK ({POLICY})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {service}")
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON audit, audit_seal FROM {service}")
    op.execute(f"GRANT UPDATE (sealed_by) ON audit TO {service}")
    op.execute(f"GRANT SELECT, DELETE ON outbox TO {service}_relay")
    op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {service}_check")


def inbox_partitions(op: Operations, service: str) -> None:
    """In a service's first migration: the function that makes and drops the inbox's days, for a role that owns nothing."""
    op.execute(_INBOX_FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION inbox_days(date, date) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION inbox_days(date, date) TO {service}")


def fold_outbox(op: Operations) -> None:
    """In one migration of each service: a row of the outbox holds the events of a transaction that have most headers in common.

    What waits becomes rows of one event. Nothing is compressed: rows live for milliseconds, and it would take longer than writing them.
    """
    op.execute(
        "ALTER TABLE outbox ADD COLUMN tenant_id uuid, ADD COLUMN events integer NOT NULL DEFAULT 1, "
        "ADD COLUMN common text NOT NULL DEFAULT '{}'"
    )
    op.execute("UPDATE outbox SET tenant_id = CAST(split_part(key, ':', 1) AS uuid), value = coalesce(value, 'null')")
    op.execute("ALTER TABLE outbox RENAME COLUMN envelope TO own")
    op.execute("ALTER TABLE outbox RENAME COLUMN value TO data")
    op.execute(
        "ALTER TABLE outbox DROP COLUMN key, ALTER COLUMN tenant_id SET NOT NULL, ALTER COLUMN data SET NOT NULL, "
        "ALTER COLUMN events DROP DEFAULT, ALTER COLUMN common DROP DEFAULT, "
        "ALTER COLUMN own SET STORAGE EXTERNAL, ALTER COLUMN data SET STORAGE EXTERNAL"
    )


def batch_outbox(op: Operations, service: str) -> None:
    """In one migration of each service: a row of the outbox holds the events of a transaction as Kafka's record batches.

    What waits is made batches of, in the rows where it is. Nothing is compressed a second time. The relay, who empties the table, may
    clean it up, too, where the server knows that privilege.
    """
    op.execute(
        "ALTER TABLE outbox ADD COLUMN tenants uuid[], ADD COLUMN topics text[], ADD COLUMN partitions integer[], "
        "ADD COLUMN batches bytea[], ADD COLUMN trace text"
    )
    bind = op.get_bind()
    waiting = text("SELECT * FROM outbox WHERE topics IS NULL ORDER BY id LIMIT 500")  # after an outage there may be more than memory has
    while rows := bind.execute(waiting).fetchall():
        for row in rows:
            _make_batches(bind, row)
    op.execute("ALTER TABLE outbox DROP COLUMN topic, DROP COLUMN tenant_id, DROP COLUMN common, DROP COLUMN own, DROP COLUMN data")
    for column in ("tenants", "topics", "partitions", "batches", "trace"):
        op.alter_column("outbox", column, nullable=False)
    op.execute("ALTER TABLE outbox ALTER COLUMN batches SET STORAGE EXTERNAL")
    if bind.scalar(text("SELECT current_setting('server_version_num')::int")) >= _MAINTAIN_SINCE:
        op.execute(f"GRANT MAINTAIN ON outbox TO {service}_relay")


def _make_batches(bind: Connection, row: Row[Any]) -> None:
    """Fills a row's new columns from its old ones."""
    at, shared = int(row.created_at.timestamp() * 1000), json.loads(row.common)
    lanes: dict[int, list[Record]] = {}
    for own, value in zip(row.own.split("\n"), row.data.split("\n"), strict=True):
        texts = shared | json.loads(own)
        key = f"{row.tenant_id}:{texts['ce_subject']}".encode()
        headers = [(name, each.encode()) for name, each in texts.items()]
        lane = lanes.setdefault(partition_of(key, topics()[row.topic].partitions), [])
        lane.append((at, key, None if value == "null" else value.encode(), headers))
    batches = [(partition, batch) for partition, records in lanes.items() for batch in build(records)]
    bind.execute(
        text(
            "UPDATE outbox SET tenants = :tenants, topics = :topics, partitions = :partitions, batches = :batches, trace = :trace "
            "WHERE id = :id"
        ),
        {
            "id": row.id,
            "tenants": [row.tenant_id],
            "topics": [row.topic] * len(batches),
            "partitions": [partition for partition, _ in batches],
            "batches": [batch for _, batch in batches],
            "trace": shared.get("ce_traceparent", ""),
        },
    )


def directory(service: str) -> Path:
    """Where a service's migrations lie: beside its sources in a checkout, inside the package when installed."""
    package = Path(str(sys.modules[service].__file__)).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory(service)))
    return config


def run_env(metadata: MetaData) -> None:
    """The body of every service's migrations/env.py."""

    def include(_: object, name: str | None, kind: str, *__: object) -> bool:
        return not (kind == "table" and name is not None and name.startswith("inbox_"))

    def configure(connection: Connection) -> None:
        context.configure(connection=connection, target_metadata=metadata, include_object=include, compare_type=True)
        with context.begin_transaction():
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            context.run_migrations()

    connection = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("run migrations through `python -m SERVICE migrate`")
    configure(connection)


async def upgrade(service: str, owner_url: str) -> None:
    """Brings a database to the newest schema. The URL is the owner's."""
    await _with_connection(owner_url, lambda connection: _command(service, connection, "upgrade"))


async def check_unchanged(service: str, owner_url: str) -> None:
    """Raises alembic.util.AutogenerateDiffsDetected when the tables in code and the migrated database differ."""
    await _with_connection(owner_url, lambda connection: _command(service, connection, "check"))


def _command(service: str, connection: Connection, what: str) -> None:
    config = _config(service)
    config.attributes["connection"] = connection
    if what == "upgrade":
        command.upgrade(config, "head")
        if connection.scalar(text("SELECT current_setting('server_version_num')::int")) >= _STATS_SINCE:
            connection.execute(text(_ONE_TENANT))
    else:
        command.check(config)


async def is_current(service: str, connection_url: str) -> bool:
    """Whether the database has the newest schema of this code."""
    head = ScriptDirectory.from_config(_config(service)).get_current_head()
    found: list[str | None] = []
    await _with_connection(connection_url, lambda connection: found.append(MigrationContext.configure(connection).get_current_revision()))
    return found == [head]


async def _with_connection(url: str, work: Callable[[Connection], object]) -> None:
    engine = create_async_engine(async_url(url), poolclass=NullPool)
    try:
        async with asyncio.timeout(120), engine.begin() as conn:
            await conn.run_sync(work)
    finally:
        await engine.dispose()
