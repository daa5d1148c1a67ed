"""What always holds, as queries that find violations: property tests, the fault suite, the demo and `check` share them.

A check is SQL that returns one row per violation with a column `what`; no rows, no violation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import audit
from shared.db import fetch

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Check:
    """An invariant by name, with the query that finds what breaks it."""

    name: str
    query: str


async def verify(conn: AsyncConnection, checks: Sequence[Check]) -> dict[str, bool | str]:
    """Each invariant's name with True, or the first few violations in words. The audit chain is always among them.

    The connection must see every tenant (the check's role).
    """
    # Each is one pass over whole tables. For the few rows asked for, and with one tenant in them, the planner takes a join by the tenant
    # alone for the shortest: it compares each row of a table with each of the other.
    await fetch(conn, "SELECT set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true)")
    result: dict[str, bool | str] = {}
    for check in checks:
        rows = await fetch(conn, f"SELECT * FROM ({check.query}) AS violations LIMIT {SHOWN}")  # noqa: S608 - our own queries
        result[check.name] = not rows or "; ".join(str(row.what) for row in rows)
    broken = await audit.broken_seals(conn)
    result["audit_chain_verifies"] = not broken or "; ".join(broken[:SHOWN])
    return result
