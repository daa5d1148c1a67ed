"""Open items: new ones, their terms and references, and which others they meet (credit notes, disputes, waiting payments)."""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from shared.db import records, run
from shared.failures import UnavailableError
from shared.money import MAX_MINOR
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Item, Key
from matching.storage.account_balances import ASKED
from matching.storage.rows import by_keys, fetch

LISTED = (
    "SELECT item_id AS at, least(contested_minor, open_minor) AS disputed_minor, open_item.* FROM open_item "  # noqa: S608 - our own text
    "WHERE tenant_id = :tenant "
    f"AND (CAST(:customer_id AS uuid) IS NULL OR customer_id = {ASKED}) AND (CAST(:status AS text) IS NULL OR status = :status) "
    "AND (CAST(:invoice_number AS text) IS NULL OR invoice_number = :invoice_number)"
)
_COLUMNS = {
    "tenant_id": "uuid",
    "item_id": "uuid",
    "version": "bigint",
    "invoice_version": "bigint",
    "entity_id": "uuid",
    "account_id": "uuid",
    "customer_id": "uuid",
    "kind": "text",
    "currency": "text",
    "source_system": "text",
    "invoice_number": "text",
    "issue_date": "date",
    "due_date": "date",
    "instalment_dues": "text",
    "instalment_amounts": "text",
    "credited_item_id": "uuid",
    "original_minor": "bigint",
    "open_minor": "bigint",
    "credit_minor": "bigint",
    "contested_minor": "bigint",
    "status": "text",
    "close_cause": "text",
}
_CAST = {"instalment_dues": "CAST(instalment_dues AS date[])", "instalment_amounts": "CAST(instalment_amounts AS bigint[])"}
_UNNEST = "unnest(" + ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items()) + f") AS t({', '.join(_COLUMNS)})"
_VALUES = ", ".join(_CAST.get(name, name) for name in _COLUMNS)
_INSERT = f"INSERT INTO open_item ({', '.join(_COLUMNS)}) SELECT {_VALUES} FROM {_UNNEST} ON CONFLICT DO NOTHING"  # noqa: S608 - names are ours
_TERMS = (
    "currency",
    "source_system",
    "invoice_number",
    "issue_date",
    "due_date",
    "instalment_dues",
    "instalment_amounts",
    "credited_item_id",
)
_UPDATE_TERMS = (
    "UPDATE open_item SET "  # noqa: S608 - names are ours
    + ", ".join(f"{name} = {_CAST.get(name, 't.' + name).replace('(', '(t.')}" for name in _TERMS)
    + " "
    + by_keys(_UNNEST, "item_id", "open_item", "item_id", tenant="tenant_id", key="item_id")
)


def _parameters(items: Sequence[Item]) -> dict[str, list[object]]:
    parameters: dict[str, list[object]] = {name: [getattr(item, name) for item in items] for name in _COLUMNS}
    parameters["instalment_dues"] = [_dates(item.instalment_dues) for item in items]
    parameters["instalment_amounts"] = ["{" + ",".join(map(str, item.instalment_amounts)) + "}" for item in items]
    return parameters


def _dates(days: Iterable[date]) -> str:
    """An array as PostgreSQL writes it: arrays of arrays do not pass through unnest."""
    return "{" + ",".join(day.isoformat() for day in days) + "}"


async def insert_items(conn: AsyncConnection, items: Sequence[Item]) -> None:
    """Stores new items. Raises UnavailableError when another worker has just stored one of them: try again and see it."""
    if await run(conn, _INSERT, **_parameters(items)) != len(items):
        raise UnavailableError("an item was opened by another worker at the same moment")


async def change_terms(conn: AsyncConnection, items: Sequence[Item]) -> None:
    """Writes what an invoice says beside amounts: number, dates, instalments, what it credits."""
    if items:
        await run(conn, _UPDATE_TERMS, **_parameters(items))


async def set_references(conn: AsyncConnection, replaced: Sequence[Key], rows: Sequence[tuple[UUID, UUID, str, str, UUID]]) -> None:
    """Replaces the references of some items by rows of (tenant, entity, value, kind, item)."""
    if replaced:
        await run(
            conn,
            "DELETE FROM item_reference WHERE (tenant_id, item_id) IN (SELECT * FROM unnest(CAST(:tenants AS "
            "uuid[]), CAST(:ids AS uuid[])))",
            tenants=[key[0] for key in replaced],
            ids=[key[1] for key in replaced],
        )
    if rows:
        await run(
            conn,
            "INSERT INTO item_reference (tenant_id, entity_id, value, kind, item_id) SELECT * FROM unnest(CAST(:tenants AS uuid[]), "
            "CAST(:entities AS uuid[]), CAST(:values AS text[]), CAST(:kinds AS text[]), CAST(:items AS uuid[])) ON CONFLICT DO NOTHING",
            tenants=[row[0] for row in rows],
            entities=[row[1] for row in rows],
            values=[row[2] for row in rows],
            kinds=[row[3] for row in rows],
            items=[row[4] for row in rows],
        )


async def set_discounts(conn: AsyncConnection, replaced: Sequence[Key], rows: Sequence[tuple[UUID, UUID, date, int]]) -> None:
    """Replaces the discounts of some items by rows of (tenant, item, until, hundredths of a percent)."""
    if replaced:
        await run(
            conn,
            "DELETE FROM item_discount WHERE (tenant_id, item_id) IN "
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
            tenants=[key[0] for key in replaced],
            ids=[key[1] for key in replaced],
        )
    if rows:
        await run(
            conn,
            "INSERT INTO item_discount (tenant_id, item_id, until, percent_bp) SELECT tenant, item, until, max(percent) FROM "
            "unnest(CAST(:tenants AS uuid[]), CAST(:items AS uuid[]), CAST(:untils AS date[]), CAST(:percents AS bigint[])) "
            "AS t(tenant, item, until, percent) GROUP BY 1, 2, 3",
            tenants=[row[0] for row in rows],
            items=[row[1] for row in rows],
            untils=[row[2] for row in rows],
            percents=[row[3] for row in rows],
        )


async def accounts_of(conn: AsyncConnection, items: Iterable[Key]) -> dict[Key, UUID]:
    """The accounts that items are on now, unlocked: which they may be added to."""
    listed = list(items)
    rows = await fetch(
        conn,
        "SELECT tenant_id, item_id, account_id FROM open_item WHERE (tenant_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in listed],
        ids=[key[1] for key in listed],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def settled_beyond(conn: AsyncConnection, said: Mapping[Key, tuple[str, int]]) -> list[Key]:
    """Of items those of which more is settled than so much, in its currency, unlocked: nothing is in another one."""
    rows = await fetch(
        conn,
        "SELECT i.tenant_id, i.item_id FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:currencies AS text[]), "
        "CAST(:amounts AS bigint[])) AS t(tenant_id, item_id, currency, amount) JOIN open_item i USING (tenant_id, item_id) "
        "WHERE i.original_minor - i.open_minor > CASE WHEN i.currency = t.currency THEN t.amount ELSE 0 END",
        tenants=[key[0] for key in said],
        ids=[key[1] for key in said],
        currencies=[currency for currency, _ in said.values()],
        amounts=[amount for _, amount in said.values()],
    )
    return [(row[0], row[1]) for row in rows]


async def contested(conn: AsyncConnection, items: Iterable[Key]) -> dict[Key, int]:
    """What open disputes contest of items, in minor units, at most what any amount may be; items without are left out."""
    listed = list(items)
    rows = await fetch(
        conn,
        f"SELECT tenant_id, item_id, CAST(least(sum(amount_minor), {MAX_MINOR}) AS bigint) FROM dispute WHERE status = 'open' "  # noqa: S608 - ours
        "AND (tenant_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) GROUP BY 1, 2",
        tenants=[key[0] for key in listed],
        ids=[key[1] for key in listed],
    )
    return {(row[0], row[1]): row[2] for row in rows}


_MAY_BE_CREDITED = (
    "i.kind <> 'credit_note' AND c.currency = i.currency AND c.entity_id = i.entity_id "
    "AND (i.status = 'open' OR i.written_off_minor > 0 AND i.close_cause IS DISTINCT FROM 'cancelled')"
)
"""A credit note `c` may be set off against the item `i` that it names."""


async def credit_pairs(conn: AsyncConnection, items: Iterable[Key]) -> list[tuple[UUID, UUID, UUID]]:
    """Open credit notes and the items they credit, which owe something or were written off, where either is among `items`.

    Each as tenant, credit note and item.
    """
    listed = list(items)
    rows = await fetch(
        conn,
        # each step is a lookup by whole key: OFFSET 0 keeps the planner from reading every open item instead
        "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, item_id)), pair AS ("  # noqa: S608 - ours
        "SELECT k.tenant_id, k.item_id AS credit_id, n.credited_item_id AS item_id FROM k CROSS JOIN LATERAL (SELECT credited_item_id "
        "FROM open_item WHERE tenant_id = k.tenant_id AND item_id = k.item_id OFFSET 0) n WHERE n.credited_item_id IS NOT NULL UNION "
        "SELECT k.tenant_id, n.item_id, k.item_id FROM k CROSS JOIN LATERAL (SELECT item_id FROM open_item "
        "WHERE tenant_id = k.tenant_id AND credited_item_id = k.item_id OFFSET 0) n) "
        "SELECT pair.tenant_id, credit_id, pair.item_id FROM pair "
        "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = pair.tenant_id AND item_id = pair.credit_id OFFSET 0) c "
        "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = pair.tenant_id AND item_id = pair.item_id OFFSET 0) i "
        f"WHERE c.kind = 'credit_note' AND c.status = 'open' AND {_MAY_BE_CREDITED} "
        "ORDER BY pair.tenant_id, c.issue_date, credit_id, pair.item_id",
        tenants=[key[0] for key in listed],
        ids=[key[1] for key in listed],
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def hold_credits(conn: AsyncConnection, tenants: Iterable[UUID], alone: Container[UUID]) -> None:
    """Until the end of the transaction: whoever opens items that credit others is `alone` in a tenant, all others are side by side."""
    held = sorted(tenants)
    await records(
        conn,
        "SELECT CASE WHEN alone THEN CAST(pg_advisory_xact_lock(id) AS text) ELSE CAST(pg_advisory_xact_lock_shared(id) AS text) END "
        "FROM (SELECT hashtextextended(CAST(tenant AS text), 5) AS id, alone FROM unnest(CAST(:tenants AS uuid[]), CAST(:alone AS bool[])) "
        "AS t(tenant, alone) ORDER BY tenant) k",
        tenants=held,
        alone=[tenant in alone for tenant in held],
    )


async def set_offs_of(conn: AsyncConnection, items: Iterable[Key]) -> dict[tuple[UUID, UUID, UUID], int]:
    """The set-offs that items take part in, on either side: (tenant, credit note, item) to amount."""
    listed = list(items)
    rows = await fetch(
        conn,
        "SELECT tenant_id, credit_item_id, item_id, amount_minor FROM set_off WHERE (tenant_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) OR (tenant_id, credit_item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY 1, 2, 3",
        tenants=[key[0] for key in listed],
        ids=[key[1] for key in listed],
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def payments_on(conn: AsyncConnection, items: Iterable[Key]) -> list[tuple[UUID, UUID, UUID]]:
    """The allocations on items, unlocked: (tenant, payment, item)."""
    listed = list(items)
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, item_id FROM allocation WHERE (tenant_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY 1, 2, 3",
        tenants=[key[0] for key in listed],
        ids=[key[1] for key in listed],
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def waiting_payments(
    conn: AsyncConnection, items: Sequence[Item], references: Sequence[tuple[UUID, UUID, str, str, UUID]]
) -> list[Key]:
    """Payments with an unapplied part that new or changed items may settle: by virtual IBAN, structured reference or account."""
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, p.booking_date FROM unnest(CAST(:r_tenants AS uuid[]), CAST(:r_entities AS uuid[]), "
        "CAST(:r_values AS text[])) AS r(tenant_id, entity_id, value) JOIN payment p ON p.tenant_id = r.tenant_id "
        "AND p.structured_reference = r.value AND p.entity_id = r.entity_id AND p.status IN ('unapplied', 'partly_matched') UNION "
        "SELECT p.tenant_id, p.payment_id, p.booking_date FROM unnest(CAST(:tenants AS uuid[]), CAST(:accounts AS uuid[])) AS i(tenant_id, "
        "account_id) JOIN payment p ON p.tenant_id = i.tenant_id AND p.account_id = i.account_id AND "
        "p.status IN ('unapplied', 'partly_matched') "
        "UNION SELECT p.tenant_id, p.payment_id, p.booking_date FROM unnest(CAST(:tenants AS uuid[]), "
        "CAST(:ids AS uuid[])) AS i(tenant_id, "
        "item_id) JOIN virtual_iban v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.item_id AND v.status = 'assigned' JOIN payment p "
        "ON p.tenant_id = v.tenant_id AND p.virtual_iban_id = v.virtual_iban_id AND p.status IN ('unapplied', 'partly_matched') "
        "ORDER BY 1, 3, 2",
        tenants=[item.tenant_id for item in items],
        ids=[item.item_id for item in items],
        accounts=[item.account_id for item in items],
        r_tenants=[row[0] for row in references],
        r_entities=[row[1] for row in references],
        r_values=[row[2] for row in references],
    )
    return [(row[0], row[1]) for row in rows]


async def item_numbered(
    conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, customer_id: UUID, source_system: str, invoice_number: str
) -> UUID | None:
    """The item that a source gave a number, None where there is none yet."""
    rows = await fetch(
        conn,
        "SELECT item_id FROM open_item WHERE tenant_id = :tenant AND customer_id = :customer AND entity_id = :entity "
        "AND source_system = :source AND invoice_number = :number",
        tenant=tenant_id,
        customer=customer_id,
        entity=entity_id,
        source=source_system,
        number=invoice_number,
    )
    return rows[0][0] if rows else None


async def owed_of(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, currency: str, items: Sequence[UUID]
) -> list[tuple[UUID, UUID, int]]:
    """Those of the items that are open in a currency; without any, all of the customer's: item, entity, open amount."""
    rows = await fetch(
        conn,
        "SELECT item_id, entity_id, open_minor FROM open_item WHERE tenant_id = :tenant AND currency = :currency AND status = 'open' "
        "AND kind <> 'credit_note' AND (item_id = ANY(CAST(:items AS uuid[])) OR (cardinality(CAST(:items AS uuid[])) = 0 "
        "AND customer_id = :customer)) ORDER BY item_id",
        tenant=tenant_id,
        currency=currency,
        items=list(items),
        customer=customer_id,
    )
    return [(row[0], row[1], row[2]) for row in rows]


_OPEN_CREDITS = "kind = 'credit_note' AND status = 'open' AND credited_item_id IS NOT NULL"
LATE_DUE = (
    "EXISTS (SELECT 1 FROM dispute WHERE tenant_id = t.tenant_id) "  # noqa: S608 - ours
    f"OR EXISTS (SELECT 1 FROM open_item WHERE tenant_id = t.tenant_id AND {_OPEN_CREDITS})"
)
"""For `Job.due`: there is something that may have missed its item (`wrongly_contested`, `open_credit_notes`)."""


async def wrongly_contested(conn: AsyncConnection, tenant_id: UUID, limit: int) -> list[Key]:
    """Items whose disputes say another amount than what is contested of them."""
    rows = await fetch(
        conn,
        "SELECT i.tenant_id, i.item_id FROM dispute d JOIN open_item i USING (tenant_id, item_id) WHERE d.tenant_id = :tenant "  # noqa: S608 - ours
        "GROUP BY i.tenant_id, i.item_id, i.contested_minor HAVING "
        f"least(coalesce(sum(d.amount_minor) FILTER (WHERE d.status = 'open'), 0), {MAX_MINOR}) "
        "<> i.contested_minor ORDER BY 1, 2 LIMIT :limit",
        tenant=tenant_id,
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


async def open_credit_notes(conn: AsyncConnection, tenant_id: UUID, limit: int) -> list[Key]:
    """Credit notes with something left that may be set off against the invoice which they credit."""
    rows = await fetch(
        conn,
        f"SELECT tenant_id, item_id FROM open_item c WHERE tenant_id = :tenant AND {_OPEN_CREDITS} AND EXISTS (SELECT 1 FROM "  # noqa: S608 - ours
        "(SELECT * FROM open_item WHERE tenant_id = c.tenant_id AND item_id = c.credited_item_id OFFSET 0) i "  # as above
        f"WHERE {_MAY_BE_CREDITED}) ORDER BY item_id LIMIT :limit",
        tenant=tenant_id,
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


async def debtors_of(conn: AsyncConnection, tenant_id: UUID, items: Sequence[UUID]) -> set[UUID]:
    """The customers that items are with."""
    rows = await fetch(
        conn,
        "SELECT DISTINCT customer_id FROM open_item WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[]))",
        tenant=tenant_id,
        items=list(items),
    )
    return {row[0] for row in rows}
