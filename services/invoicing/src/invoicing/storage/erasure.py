"""SQL about what hinders an erasure, and the erasure itself."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.erasure import Owed, Vouchers

_SIGN_MIN = 5
"""Shorter texts are in too many others to be looked for."""
_FAULTS = (
    "WITH who AS (SELECT name, address, addresses, contacts, known_ibans FROM customer_identity WHERE tenant_id = :tenant "  # noqa: S608 - our own text
    "AND customer_id = ANY(CAST(:ids AS uuid[])) UNION SELECT i->>'name', i->'address', i->'addresses', i->'contacts', i->'known_ibans' "
    "FROM customer_history CROSS JOIN LATERAL (SELECT identity AS i) h WHERE tenant_id = :tenant AND identity IS NOT NULL "
    "AND customer_id = ANY(CAST(:ids AS uuid[]))), signs AS (SELECT lower(sign) AS sign FROM who CROSS JOIN LATERAL (SELECT name AS sign "
    "UNION ALL SELECT jsonb_path_query(known_ibans, '$[*]')#>>'{}' UNION ALL SELECT jsonb_path_query(contacts, '$[*].name')#>>'{}' "
    "UNION ALL SELECT jsonb_path_query(contacts, '$[*].email')#>>'{}' UNION ALL SELECT jsonb_path_query(address, '$.lines[*]')#>>'{}' "
    "UNION ALL SELECT jsonb_path_query(addresses, '$[*].lines[*]')#>>'{}') t) "
    "UPDATE import_fault f SET detail = 'was erased' FROM signs "
    f"WHERE f.tenant_id = :tenant AND length(sign) >= {_SIGN_MIN} AND position(sign IN lower(f.detail)) > 0"
)
"""What error files of imports say of customers by their names, IBANs, addresses: no id is with it."""


async def owed(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID]) -> list[Owed]:
    """By currency what is open, unapplied and unused, as matching last said."""
    rows = await fetch(
        conn,
        "SELECT currency, CAST(sum(open_minor) AS bigint) AS open, CAST(sum(unapplied_minor) AS bigint) AS unapplied, "
        "CAST(sum(unused_credits_minor) AS bigint) AS unused FROM account_balance WHERE tenant_id = :tenant "
        "AND customer_id = ANY(CAST(:ids AS uuid[])) GROUP BY 1 ORDER BY 1",
        tenant=tenant_id,
        ids=list(customers),
    )
    return [Owed(row.currency, row.open, row.unapplied, row.unused) for row in rows]


async def untold(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID]) -> int:
    """How many of their invoices open an item of which matching has not told yet."""
    rows = await fetch(
        conn,
        "SELECT count(*) AS n FROM invoice i WHERE i.tenant_id = :tenant AND i.customer_id = ANY(CAST(:ids AS uuid[])) "
        "AND i.origin <> 'history' AND NOT EXISTS (SELECT 1 FROM invoice_balance b WHERE b.tenant_id = i.tenant_id "
        "AND b.invoice_id = i.invoice_id)",
        tenant=tenant_id,
        ids=list(customers),
    )
    return int(rows[0].n)


async def vouchers(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID]) -> list[Vouchers]:
    """By seller the invoices that came without a file."""
    rows = await fetch(
        conn,
        "SELECT e.country, e.retention_years, count(*) AS number, max(i.issue_date) AS last_issued FROM invoice i "
        "JOIN legal_entity e ON e.tenant_id = i.tenant_id AND e.entity_id = i.entity_id "
        "WHERE i.tenant_id = :tenant AND i.customer_id = ANY(CAST(:ids AS uuid[])) AND NOT i.details ? 'documents' "
        "GROUP BY e.entity_id, e.country, e.retention_years ORDER BY e.entity_id",
        tenant=tenant_id,
        ids=list(customers),
    )
    return [Vouchers(row.country, row.retention_years, row.number, row.last_issued) for row in rows]


async def erase(conn: AsyncConnection, tenant_id: UUID, customers: Sequence[UUID], day: date) -> Sequence[Row[Any]]:
    """Erases customers that the caller keeps others from merging; returns their rows at the version drawn, by id."""
    values = {"tenant": tenant_id, "ids": sorted(customers)}
    where = "tenant_id = :tenant AND customer_id = ANY(CAST(:ids AS uuid[]))"
    await fetch(conn, f"SELECT 1 FROM customer WHERE {where} ORDER BY customer_id FOR UPDATE", **values)  # noqa: S608 - our own text
    await run(conn, _FAULTS, **values)
    await run(conn, f"DELETE FROM customer_identity WHERE {where}", **values)  # noqa: S608 - our own text
    await run(conn, f"DELETE FROM customer_identifier WHERE {where}", **values)  # noqa: S608 - our own text
    await run(conn, f"UPDATE customer_history SET identity = NULL WHERE {where}", **values)  # noqa: S608 - our own text
    await run(conn, f"UPDATE invoice SET cancel_reason = NULL WHERE {where} AND cancel_reason IS NOT NULL", **values)  # noqa: S608 - our own text
    await run(
        conn,
        "UPDATE status_entry s SET note = NULL FROM invoice i WHERE i.tenant_id = :tenant AND i.customer_id = ANY(CAST(:ids AS uuid[])) "
        "AND s.tenant_id = i.tenant_id AND s.invoice_id = i.invoice_id AND s.note IS NOT NULL",
        **values,
    )
    rows = await fetch(
        conn,
        f"UPDATE customer SET version = version + 1, erased_on = :day WHERE {where} "  # noqa: S608 - our own text
        "RETURNING customer_id, version, source_system, customer_number",
        day=day,
        **values,
    )
    return sorted(rows, key=lambda row: row.customer_id)
