"""The read models' second set of tables, in a schema of its own: made, compared with the live ones, put in their place."""

from shared.db import Database, fetch, run
from shared.migrations import POLICY
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting.tables import READ_MODELS

SCHEMA = "rebuild"
ROLE = "reporting"
SHOWN = 20
"""Differences of a table, and refused records, that are told."""
_LOCK = 0x7265626C  # "rebl": one rebuild per database


async def alone(conn: AsyncConnection) -> bool:
    """Whether no other rebuild is running: until its session ends, this connection is the one that does."""
    return bool((await fetch(conn, "SELECT pg_try_advisory_lock(:lock) AS held", lock=_LOCK))[0].held)


async def prepare(owner: Database) -> None:
    """Makes the empty tables, under the same row-level security as the live ones."""
    await drop(owner)
    async with owner.engine.begin() as conn:
        await run(conn, f"CREATE SCHEMA {SCHEMA}")
        await run(conn, f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE}")
        for table in READ_MODELS:
            new = f"{SCHEMA}.{table.name}"
            await run(conn, f"CREATE TABLE {new} (LIKE public.{table.name} INCLUDING ALL)")
            await run(conn, f"ALTER TABLE {new} ENABLE ROW LEVEL SECURITY")
            await run(conn, f"CREATE POLICY tenant ON {new} USING ({POLICY}) WITH CHECK ({POLICY})")
            await run(conn, f"GRANT SELECT, INSERT, UPDATE ON {new} TO {ROLE}")


async def drop(owner: Database) -> None:
    async with owner.engine.begin() as conn:
        await run(conn, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


async def hold_writers(conn: AsyncConnection) -> None:
    """Lets writers of the live tables wait until this transaction ends, and takes every tenant into its scope."""
    await run(conn, "SET LOCAL statement_timeout = 0")
    # in the order in which the handlers take them: a kept table, then the events seen
    tables = ", ".join(f"public.{table.name}" for table in READ_MODELS)
    await run(conn, f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
    await run(conn, "SELECT set_config('app.tenants', coalesce((SELECT array_agg(tenant_id) FROM tenant), '{}')::text, true)")


def _key(table: Table, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{column.name} = {right}.{column.name}" for column in table.primary_key)


async def differences(conn: AsyncConnection, table: Table) -> list[str]:
    """The first rows that differ: key and columns, never values. No row is the same as no difference."""
    key = ", '/', ".join(f"coalesce(l.{column.name}, r.{column.name})" for column in table.primary_key)
    rows = await fetch(
        conn,
        f"SELECT concat({key}) AS key, l.tenant_id IS NULL AS only_rebuilt, r.tenant_id IS NULL AS only_live, "  # noqa: S608 - names of ours
        "(SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(to_jsonb(l)) AS k "
        "WHERE to_jsonb(l) -> k IS DISTINCT FROM to_jsonb(r) -> k) AS columns, count(*) OVER () AS total "
        f"FROM public.{table.name} l FULL JOIN {SCHEMA}.{table.name} r ON {_key(table, 'l', 'r')} "
        f"WHERE to_jsonb(l) IS DISTINCT FROM to_jsonb(r) ORDER BY 1 LIMIT {SHOWN}",
    )
    found = [
        f"{row.key}: " + ("missing in the live table" if row.only_rebuilt else "not in the topics" if row.only_live else row.columns)
        for row in rows
    ]
    return found + ([f"and {rows[0].total - len(rows)} more"] if rows and rows[0].total > len(rows) else [])


async def replace(conn: AsyncConnection, table: Table) -> int:
    """Makes the live table equal to the rebuilt one; returns how many rows were written."""
    live, new = f"public.{table.name}", f"{SCHEMA}.{table.name}"
    await run(
        conn,
        f"DELETE FROM {live} l WHERE NOT EXISTS (SELECT 1 FROM {new} r WHERE {_key(table, 'l', 'r')} AND to_jsonb(r) = to_jsonb(l))",  # noqa: S608 - names of ours
    )
    return await run(conn, f"INSERT INTO {live} SELECT * FROM {new} ON CONFLICT DO NOTHING")  # noqa: S608 - as above
