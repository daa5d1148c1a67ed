"""Payments: where one is, what is allocated of it, which of them wait, and which pairs a person has undone."""

from collections.abc import Container, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.clock import machine_now
from shared.db import run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Item, Key
from matching.storage.account_balances import ASKED_ALL
from matching.storage.rows import fetch, keys

LISTED = (
    "SELECT payment_id AS at, * FROM payment WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status) "  # noqa: S608 - ours
    f"AND (CAST(:customer_id AS uuid) IS NULL OR payer_customer_id IN {ASKED_ALL})"
)


class Place(NamedTuple):
    """Where a payment is at a version of it: its entity, currency, and the account of its payer where that is known."""

    entity_id: UUID
    currency: str
    account_id: UUID | None
    version: int


class Held(NamedTuple):
    """A payment with one of the items that it is allocated to, where there is any."""

    tenant_id: UUID
    account_id: UUID | None
    item_id: UUID | None
    item_account_id: UUID | None
    entity_id: UUID
    currency: str
    payment_id: UUID


async def place_of(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> Place | None:
    """Where a payment is, unlocked; None where there is no such payment."""
    rows = await fetch(
        conn,
        "SELECT entity_id, currency, account_id, version FROM payment WHERE tenant_id = :tenant AND payment_id = :id",
        tenant=tenant_id,
        id=payment_id,
    )
    return Place(*rows[0]) if rows else None


async def with_items(conn: AsyncConnection, payments: Sequence[Key]) -> list[Held]:
    """Payments with all that they are allocated to, unlocked: a row for each item, one for a payment without any."""
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.account_id, a.item_id, i.account_id, p.entity_id, p.currency, p.payment_id FROM payment p "
        "LEFT JOIN allocation a USING (tenant_id, payment_id) "
        "LEFT JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id WHERE (p.tenant_id, p.payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(payments),
    )
    return [Held(*row) for row in rows]


async def payers_accounts(conn: AsyncConnection, payments: Iterable[Key]) -> set[Key]:
    """The accounts that payments are on, of those whose payer is known."""
    rows = await fetch(
        conn,
        "SELECT tenant_id, account_id FROM payment WHERE account_id IS NOT NULL AND (tenant_id, payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(payments),
    )
    return {(row[0], row[1]) for row in rows}


async def set_off_with(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, list[tuple[UUID, UUID, int]]]:
    """The set-offs that were made together with payments: credit note, item, amount."""
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, credit_item_id, item_id, amount_minor FROM payment_set_off WHERE (tenant_id, payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY 1, 2, 3, 4",
        **keys(payments),
    )
    found: dict[Key, list[tuple[UUID, UUID, int]]] = {}
    for tenant, payment, credit, item, amount in rows:
        found.setdefault((tenant, payment), []).append((credit, item, amount))
    return found


async def drop_set_offs(conn: AsyncConnection, payment: Key, items: Sequence[UUID]) -> None:
    """Forgets that set-offs of these items were made together with a payment."""
    await run(
        conn,
        "DELETE FROM payment_set_off WHERE tenant_id = :tenant AND payment_id = :payment AND item_id = ANY(CAST(:items AS uuid[]))",
        tenant=payment[0],
        payment=payment[1],
        items=list(items),
    )


async def dismiss(conn: AsyncConnection, payment: Key, items: Sequence[UUID], reason: str, at: datetime) -> int:
    """A payment and these items are never matched automatically again; returns how many of the pairs are new. `at`: the machine's clock."""
    return await run(
        conn,
        "INSERT INTO dismissed_pair (tenant_id, payment_id, item_id, reason, dismissed_at) SELECT :tenant, :payment, "
        "unnest(CAST(:items AS uuid[])), :reason, :now ON CONFLICT DO NOTHING",
        tenant=payment[0],
        payment=payment[1],
        items=list(items),
        reason=reason,
        now=at,
    )


async def dismissed(conn: AsyncConnection, payments: Iterable[Key]) -> set[tuple[UUID, UUID, UUID]]:
    """The pairs that a person has undone: tenant, payment and item."""
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, item_id FROM dismissed_pair WHERE (tenant_id, payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(payments),
    )
    return {(row[0], row[1], row[2]) for row in rows}


async def undismiss(conn: AsyncConnection, payment: Key, items: Sequence[UUID]) -> None:
    """A person allocates after all what was dismissed."""
    await run(
        conn,
        "DELETE FROM dismissed_pair WHERE tenant_id = :tenant AND payment_id = :payment AND item_id = ANY(CAST(:items AS uuid[]))",
        tenant=payment[0],
        payment=payment[1],
        items=list(items),
    )


async def withdrawn_on(conn: AsyncConnection, tenant_id: UUID, payments: Sequence[UUID]) -> list[Key]:
    """The accounts of those of the payments that were withdrawn."""
    rows = await fetch(
        conn,
        "SELECT account_id FROM payment WHERE tenant_id = :tenant AND payment_id = ANY(CAST(:ids AS uuid[])) "
        "AND withdrawn_minor > 0 AND account_id IS NOT NULL",
        tenant=tenant_id,
        ids=list(payments),
    )
    return [(tenant_id, row[0]) for row in rows]


async def not_come(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, days: int, limit: int) -> list[UUID]:
    """Notified payments of an account that no statement has confirmed though those of so many days more are in."""
    rows = await fetch(
        conn,
        "SELECT p.payment_id FROM payment p JOIN reconciliation r USING (tenant_id, bank_account_id) WHERE p.tenant_id = :tenant "
        "AND p.bank_account_id = :account AND p.confirmation = 'notified' "
        "AND p.booking_date < r.booked_through - CAST(:days AS int) "
        "AND p.allocated_minor + p.unapplied_minor + p.refund_pending_minor > 0 "
        "AND p.status <> 'received' ORDER BY p.payment_id LIMIT :limit",
        tenant=tenant_id,
        account=bank_account_id,
        days=days,
        limit=limit,
    )
    return [row[0] for row in rows]


async def to_withdraw(conn: AsyncConnection, tenant_id: UUID, payments: Sequence[UUID], *, booked: bool) -> list[UUID]:
    """Those of the payments with money that are only notified; with `booked`, the booked ones as well."""
    rows = await fetch(
        conn,
        "SELECT payment_id FROM payment WHERE tenant_id = :tenant AND payment_id = ANY(CAST(:ids AS uuid[])) "
        "AND (confirmation = 'notified' OR :booked) AND allocated_minor + unapplied_minor > 0",
        tenant=tenant_id,
        ids=list(payments),
        booked=booked,
    )
    return [row[0] for row in rows]


async def wake(conn: AsyncConnection, items: Sequence[Item], but: Container[Key]) -> None:
    """Payments that wait and may be for items that owe again are looked at once more, but for some: those of the items' customers, those
    that bear their structured reference, and those on their virtual IBANs. One that is locked is being decided on, and looked at again.
    """
    if not items:
        return
    rows = await fetch(
        conn,
        "WITH i AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:accounts AS uuid[])) "
        "AS t(tenant_id, item_id, account_id)), p AS (SELECT p.tenant_id, p.payment_id FROM i JOIN payment p USING (tenant_id, account_id) "
        "WHERE p.status IN ('unapplied', 'partly_matched') UNION SELECT p.tenant_id, p.payment_id FROM i JOIN item_reference r "
        "USING (tenant_id, item_id) JOIN payment p ON p.tenant_id = r.tenant_id AND p.structured_reference = r.value "
        "AND p.entity_id = r.entity_id WHERE r.kind = 'structured' AND p.status IN ('unapplied', 'partly_matched') UNION "
        "SELECT p.tenant_id, p.payment_id FROM i JOIN virtual_iban v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.item_id "
        "AND v.status = 'assigned' JOIN payment p ON p.tenant_id = v.tenant_id AND p.virtual_iban_id = v.virtual_iban_id "
        "WHERE p.status IN ('unapplied', 'partly_matched')) SELECT tenant_id, payment_id FROM p ORDER BY 1, 2",
        **keys([(item.tenant_id, item.item_id) for item in items]),
        accounts=[item.account_id for item in items],
    )
    if waiting := [key for tenant, payment in rows if (key := (tenant, payment)) not in but]:
        await run(
            conn,
            "UPDATE payment p SET next_look_at = :now FROM (SELECT tenant_id, payment_id FROM payment WHERE (tenant_id, payment_id) IN "
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) AND status IN ('unapplied', 'partly_matched') "
            "ORDER BY 1, 2 FOR UPDATE SKIP LOCKED) w WHERE p.tenant_id = w.tenant_id AND p.payment_id = w.payment_id",
            **keys(waiting),
            now=machine_now(),
        )


async def for_written_off(conn: AsyncConnection, tenant_id: UUID, limit: int, after: tuple[date, UUID] | None = None) -> Sequence[Row[Any]]:
    """Money left of payments whose structured reference names one item, which was written off: payment_id, item_id, amount_minor,
    booking_date; the first booked first, those `after` a booking date and payment. What came again, or is left of what went back, is
    looked at anew: as if it had just come.
    """
    return await fetch(
        conn,
        "SELECT p.payment_id, i.item_id, least(p.unapplied_minor, i.written_off_minor) AS amount_minor, p.booking_date "
        "FROM payment p JOIN item_reference r ON r.tenant_id = p.tenant_id AND r.entity_id = p.entity_id "
        "AND r.value = p.structured_reference AND r.kind = 'structured' "
        "JOIN open_item i ON i.tenant_id = r.tenant_id AND i.item_id = r.item_id "
        "WHERE p.tenant_id = :tenant AND p.status IN ('unapplied', 'partly_matched') "
        "AND p.unapplied_reason IN ('written_off', 'already_paid', 'overpaid', 'partly_returned', 'return_reversed', 'recall_refused', "
        "'refund_cancelled') "
        "AND i.written_off_minor > 0 AND i.open_minor = 0 AND i.close_cause IS DISTINCT FROM 'cancelled' "
        "AND i.kind <> 'credit_note' AND i.currency = p.currency "
        "AND NOT EXISTS (SELECT 1 FROM item_reference o WHERE o.tenant_id = r.tenant_id AND o.entity_id = r.entity_id "
        "AND o.value = r.value AND o.kind = r.kind AND o.item_id <> r.item_id) "
        "AND NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id "
        "AND d.item_id = i.item_id) AND (CAST(:day AS date) IS NULL OR (p.booking_date, p.payment_id) > (:day, :payment)) "
        "ORDER BY p.booking_date, p.payment_id LIMIT :limit",
        tenant=tenant_id,
        day=after and after[0],
        payment=after and after[1],
        limit=limit,
    )


async def detail(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> Row[Any] | None:
    """All columns of a payment; None where there is no such."""
    rows = await fetch(conn, "SELECT * FROM payment WHERE tenant_id = :tenant AND payment_id = :id", tenant=tenant_id, id=payment_id)
    return rows[0] if rows else None


async def allocations_of(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> Sequence[Row[Any]]:
    """What of a payment is on which item, by due date, and at which rate where the item is in another currency."""
    return await fetch(
        conn,
        "SELECT a.item_id, i.invoice_number, a.amount_minor, a.rule, i.currency AS item_currency, x.item_amount_minor, "
        "trim_scale(x.rate) AS rate, x.rate_source FROM allocation a JOIN open_item i USING (tenant_id, item_id) "
        "LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
        "WHERE a.tenant_id = :tenant AND a.payment_id = :id ORDER BY i.due_date, a.item_id",
        tenant=tenant_id,
        id=payment_id,
    )


async def counts(conn: AsyncConnection, tenant_id: UUID) -> Sequence[Row[Any]]:
    """Numbers and sums of a tenant's payments by status, rule, reason and currency."""
    return await fetch(
        conn,
        "SELECT status, rule, unapplied_reason AS reason, currency, count(*) AS n, sum(amount_minor) AS amount, "
        "sum(allocated_minor) AS allocated, sum(unapplied_minor) AS unapplied FROM payment "
        "WHERE tenant_id = :tenant GROUP BY 1, 2, 3, 4",
        tenant=tenant_id,
    )
