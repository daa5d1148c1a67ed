"""Which items the lines of expected payments name, and which payments' lists wait for one."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from shared.db import arrays, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.engine.text import fold
from matching.domain.references import normalised
from matching.storage.clues import WAITING_MAX
from matching.storage.expected import PAYER, Expected
from matching.storage.rows import fetch, keys


async def items_elsewhere(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, items: Iterable[UUID]) -> set[UUID]:
    """Those of the items that are there and another entity's."""
    rows = await fetch(
        conn,
        "SELECT item_id FROM open_item WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[])) AND entity_id <> :entity",
        tenant=tenant_id,
        items=list(items),
        entity=entity_id,
    )
    return {row[0] for row in rows}


async def resolve(conn: AsyncConnection, held: Expected) -> dict[int, UUID]:
    """The items of lines, by the line's number from 0: named by id, or by a number that one item alone carries.

    Where several carry a number, those in the list's own currency are meant, then the payer's own (of the one that stands for him).
    Credit notes are looked for among those of the same customers.
    """
    numbers = {normalised(line.document_number or "") for line in held.lines} - {""}
    rows = await fetch(
        conn,
        f"SELECT r.value, i.item_id, i.customer_id, i.currency, {PAYER} AS payer FROM item_reference r JOIN open_item i "  # noqa: S608 - ours
        "ON i.tenant_id = r.tenant_id AND i.item_id = r.item_id WHERE r.tenant_id = :tenant AND r.entity_id = :entity "
        "AND r.value = ANY(CAST(:values AS text[])) AND r.kind <> 'folded' UNION "
        f"SELECT '', item_id, customer_id, currency, {PAYER} FROM open_item WHERE tenant_id = :tenant "
        "AND item_id = ANY(CAST(:items AS uuid[])) AND entity_id = :entity",
        tenant=held.tenant_id,
        entity=held.entity_id,
        values=sorted(numbers),
        items=[line.item_id for line in held.lines if line.item_id],
        payer=held.payer_customer_id,
    )
    payer = rows[0].payer if rows else held.payer_customer_id
    by_number: dict[str, dict[UUID, UUID]] = {}
    own_currency = {(row[0], row[3] == held.currency) for row in rows}
    for value, item_id, customer, currency, _ in rows:
        if not value or currency == held.currency or (value, True) not in own_currency:
            by_number.setdefault(value, {})[item_id] = customer
    found: dict[int, UUID] = {}
    for at, line in enumerate(held.lines):
        if line.item_id is not None:
            if line.item_id in by_number.get("", {}):
                found[at] = line.item_id
            continue
        named = by_number.get(normalised(line.document_number or ""), {})
        own = [item for item, customer in named.items() if customer == payer]
        choice = list(named) if len(named) == 1 else own
        if len(choice) == 1 and line.gross_minor > 0:
            found[at] = choice[0]
    credits_ = [at for at, line in enumerate(held.lines) if at not in found and line.gross_minor < 0]
    if credits_:
        customers = {customer for named in by_number.values() for customer in named.values()} | {payer}
        found |= await _credit_notes(conn, held, credits_, [one for one in customers if one is not None])
    return found


async def _credit_notes(conn: AsyncConnection, held: Expected, lines: Sequence[int], customers: Sequence[UUID]) -> dict[int, UUID]:
    """The open credit notes that lines name, each by a number that one of the customers' alone carries."""
    notes: dict[str, list[UUID]] = {}
    for item_id, number in await fetch(
        conn,
        "SELECT item_id, invoice_number FROM open_item WHERE tenant_id = :tenant AND customer_id = ANY(CAST(:customers AS uuid[])) "
        "AND entity_id = :entity AND currency = ANY(CAST(:currencies AS text[])) AND kind = 'credit_note' AND status = 'open'",
        tenant=held.tenant_id,
        customers=list(customers),
        entity=held.entity_id,
        currencies=sorted({held.currency, held.rate_currency or held.currency, *(x.item_currency for x in held.lines if x.item_currency)}),
    ):
        notes.setdefault(normalised(number), []).append(item_id)
    named = {at: notes.get(normalised(held.lines[at].document_number or ""), []) for at in lines}
    return {at: one[0] for at, one in named.items() if len(one) == 1}


async def settled_by(conn: AsyncConnection, payments: Iterable[Key]) -> dict[Key, dict[UUID, int]]:
    """What those of the payments that have met no list have given to which items, in minor units."""
    rows = await fetch(
        conn,
        "SELECT a.tenant_id, a.payment_id, a.item_id, a.amount_minor FROM allocation a WHERE (a.tenant_id, a.payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) AND NOT EXISTS (SELECT 1 FROM expected_payment e "
        "WHERE e.tenant_id = a.tenant_id AND e.payment_id = a.payment_id AND e.kind = 'remittance') ORDER BY 1, 2, 3",
        **keys(payments),
    )
    found: dict[Key, dict[UUID, int]] = {}
    for tenant, payment, item, amount in rows:
        found.setdefault((tenant, payment), {})[item] = amount
    return found


_WAITS = "e.kind = 'remittance' AND e.status = 'waiting' AND e.reference IS NOT NULL"


async def texts_beside_lists(conn: AsyncConnection, payments: Iterable[Key]) -> Sequence[Row[Any]]:
    """What payments say of tenants who have a list that waits and has a reference: tenant_id, payment_id, structured_reference,
    end_to_end_id, remittance.
    """
    return await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, p.structured_reference, p.end_to_end_id, p.remittance FROM unnest(CAST(:tenants AS uuid[]), "  # noqa: S608 - ours
        "CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) JOIN payment p USING (tenant_id, payment_id) WHERE p.unapplied_minor > 0 "
        f"AND EXISTS (SELECT 1 FROM expected_payment e WHERE e.tenant_id = k.tenant_id AND {_WAITS})",
        **keys(payments),
    )


async def lists_said(conn: AsyncConnection, said: Sequence[tuple[UUID, UUID, str]]) -> dict[Key, list[UUID]]:
    """The lists of another amount that payments say the reference of: by (tenant, payment, value as references are compared)."""
    columns = {"tenant": "uuid", "payment": "uuid", "value": "text"}
    rows = await fetch(
        conn,
        f"SELECT DISTINCT p.tenant_id, p.payment_id, e.expected_id FROM {unnest(columns)} JOIN payment p ON p.tenant_id = tenant "  # noqa: S608 - ours
        f"AND p.payment_id = payment JOIN expected_payment e ON e.tenant_id = tenant AND e.reference = value AND {_WAITS} "
        "AND e.entity_id = p.entity_id AND e.currency = p.currency AND e.amount_minor <> p.amount_minor ORDER BY 1, 2, 3",
        **arrays(said, list(columns)),
    )
    found: dict[Key, list[UUID]] = {}
    for tenant, payment, expected_id in rows:
        found.setdefault((tenant, payment), []).append(expected_id)
    return found


async def saying(conn: AsyncConnection, held: Expected, end_to_end_id: str) -> list[Key]:
    """Payments of another amount than a list has that wait and may say its reference: in a field for it, or by a word that was kept."""
    rows = await fetch(
        conn,
        "SELECT p.payment_id FROM (SELECT payment_id FROM payment WHERE tenant_id = :tenant AND structured_reference = :reference "  # noqa: S608 - ours
        "AND status IN ('unapplied', 'partly_matched') UNION SELECT o.payment_id FROM bank_account b JOIN payment o "
        "ON o.tenant_id = b.tenant_id AND o.bank_account_id = b.bank_account_id AND o.end_to_end_id = :e2e "
        "WHERE b.tenant_id = :tenant AND b.entity_id = :entity UNION (SELECT payment_id FROM payment_clue WHERE tenant_id = :tenant "
        f"AND kind = 'document' AND value = :folded LIMIT {WAITING_MAX})) w JOIN payment p ON p.tenant_id = :tenant "
        "AND p.payment_id = w.payment_id WHERE p.entity_id = :entity AND p.currency = :currency AND p.amount_minor <> :amount "
        "AND p.status IN ('unapplied', 'partly_matched') ORDER BY 1",
        tenant=held.tenant_id,
        entity=held.entity_id,
        currency=held.currency,
        amount=held.amount_minor,
        reference=held.reference,
        folded=fold(held.reference or ""),
        e2e=end_to_end_id,
    )
    return [(held.tenant_id, row[0]) for row in rows]


async def waiting_for(conn: AsyncConnection, numbers: Iterable[tuple[UUID, str]]) -> list[Key]:
    """Payments whose remittance list misses an item of one of these (tenant, normalised number)."""
    listed = list(numbers)
    rows = await fetch(
        conn,
        "SELECT DISTINCT e.tenant_id, e.payment_id FROM unnest(CAST(:tenants AS uuid[]), CAST(:values AS text[])) AS r(tenant_id, value) "
        "JOIN expected_payment e ON e.tenant_id = r.tenant_id AND e.status = 'partly' AND e.missing @> ARRAY[r.value] ORDER BY 1, 2",
        tenants=[row[0] for row in listed],
        values=[row[1] for row in listed],
    )
    return [(row[0], row[1]) for row in rows]
