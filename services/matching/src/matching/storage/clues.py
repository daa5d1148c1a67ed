"""What payments that wait say, kept so that what comes later finds them: an item by its numbers, a customer by its name."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from shared.db import records, run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.rows import columns, fetch, keys

WAITING_MAX = 200
"""Payments that one value wakes up."""


async def note_clues(conn: AsyncConnection, rows: Sequence[tuple[UUID, str, str, UUID]], settled: Sequence[Key]) -> None:
    """Keeps what payments that wait say, (tenant, kind, value, payment), and forgets it of those that are settled."""
    if settled:
        await run(
            conn,
            "DELETE FROM payment_clue WHERE (tenant_id, payment_id) IN "
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
            **keys(settled),
        )
    if rows:
        await records(
            conn,
            "INSERT INTO payment_clue (tenant_id, kind, value, payment_id) SELECT * FROM unnest(CAST(:tenants AS uuid[]), "
            "CAST(:kinds AS text[]), CAST(:values AS text[]), CAST(:ids AS uuid[])) ON CONFLICT DO NOTHING",
            **columns(rows, "tenants", "kinds", "values", "ids"),
        )


async def forget_settled(conn: AsyncConnection, tenant_id: UUID) -> None:
    """Forgets what payments say that are settled. Reads what is kept of a tenant's waiting payments once."""
    await run(
        conn,
        "DELETE FROM payment_clue c USING payment p WHERE c.tenant_id = :tenant AND p.tenant_id = c.tenant_id "
        "AND p.payment_id = c.payment_id AND p.status NOT IN ('received', 'unapplied', 'partly_matched')",
        tenant=tenant_id,
    )


async def woken(conn: AsyncConnection, documents: Iterable[tuple[UUID, UUID, str]], debtors: Iterable[Key]) -> list[Key]:
    """Payments with an unapplied part that new items may settle: they say one of the values (tenant, entity, folded), or their
    payer's name begins as that of one of the items' debtors does.
    """
    asked, people = list(documents), list(debtors)
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id FROM (SELECT k.tenant_id, k.entity_id, c.payment_id FROM unnest(CAST(:tenants AS uuid[]), "  # noqa: S608 - our own text
        "CAST(:entities AS uuid[]), CAST(:values AS text[])) AS k(tenant_id, entity_id, value) CROSS JOIN LATERAL (SELECT payment_id "
        f"FROM payment_clue WHERE tenant_id = k.tenant_id AND kind = 'document' AND value = k.value LIMIT {WAITING_MAX}) c UNION "
        "SELECT k.tenant_id, NULL, c.payment_id FROM unnest(CAST(:d_tenants AS uuid[]), CAST(:d_ids AS uuid[])) "
        "AS k(tenant_id, customer_id) "
        "CROSS JOIN LATERAL (SELECT DISTINCT left(value, 7) AS start FROM customer_name WHERE tenant_id = k.tenant_id "
        "AND customer_id = k.customer_id OFFSET 0) n CROSS JOIN LATERAL (SELECT payment_id FROM payment_clue "
        f"WHERE tenant_id = k.tenant_id AND kind = 'name' AND value = n.start LIMIT {WAITING_MAX}) c) w "
        "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = w.tenant_id AND payment_id = w.payment_id OFFSET 0) p "
        "WHERE p.status IN ('unapplied', 'partly_matched') AND (w.entity_id IS NULL OR w.entity_id = p.entity_id) "
        "GROUP BY 1, 2, p.booking_date ORDER BY 1, p.booking_date, 2",
        **columns(asked, "tenants", "entities", "values"),
        **{f"d_{name}": values for name, values in keys(people).items()},
    )
    return [(row[0], row[1]) for row in rows]
