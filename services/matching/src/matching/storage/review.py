"""What a person is shown of payments in review: what was decided, and what is known of the items that may have been meant."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.rows import fetch

LISTED = (
    "SELECT p.payment_id AS at, p.*, d.rule AS decided_rule, d.decided_at, CAST(d.evidence AS text) AS evidence FROM payment p "
    "LEFT JOIN LATERAL (SELECT rule, decided_at, evidence FROM decision d WHERE d.tenant_id = p.tenant_id "
    "AND d.payment_id = p.payment_id ORDER BY payment_version DESC LIMIT 1) d ON true WHERE p.tenant_id = :tenant "
    "AND p.status IN ('unapplied', 'partly_matched') AND (CAST(:entity_id AS uuid) IS NULL OR p.entity_id = :entity_id) "
    # an advance is where it belongs until it is invoiced: it is shown to who asks for it
    "AND (p.unapplied_reason = :reason OR CAST(:reason AS text) IS NULL AND p.unapplied_reason IS DISTINCT FROM 'advance')"
)


class Decided(NamedTuple):
    """A payment's latest decision; `evidence` is JSON."""

    payment_id: UUID
    unapplied_minor: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Meant:
    """An item that may have been meant by a payment in `payment_currency`. `open_minor`: what was written off, `written_off_minor` of
    it, is owed again for money.
    """

    payment_id: UUID
    item_id: UUID
    customer_id: UUID
    invoice_number: str
    due_date: date
    open_minor: int
    written_off_minor: int
    kind: str
    currency: str
    payment_currency: str


async def decided(conn: AsyncConnection, tenant_id: UUID, payments: Collection[UUID]) -> list[Decided]:
    """The latest decisions on payments."""
    rows = await fetch(
        conn,
        "SELECT p.payment_id, p.unapplied_minor, CAST(d.evidence AS text) FROM payment p "
        "CROSS JOIN LATERAL (SELECT evidence FROM decision d "
        "WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id ORDER BY payment_version DESC LIMIT 1) d "
        "WHERE p.tenant_id = :tenant AND p.payment_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(payments),
    )
    return [Decided(*row) for row in rows]


async def meant(conn: AsyncConnection, tenant_id: UUID, pairs: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Meant]:
    """Of pairs of payment and item those whose item owes something still, and that nobody has dismissed."""
    rows = await fetch(
        conn,
        "SELECT w.payment_id, i.item_id, i.customer_id, i.invoice_number, i.due_date, i.open_minor + i.written_off_minor, "
        "i.written_off_minor, i.kind, i.currency, p.currency "
        "FROM unnest(CAST(:payments AS uuid[]), "
        "CAST(:items AS uuid[])) AS w(payment_id, item_id) JOIN open_item i ON i.tenant_id = :tenant AND i.item_id = w.item_id "
        "JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = w.payment_id "
        "WHERE i.open_minor + i.written_off_minor > 0 AND i.close_cause IS DISTINCT FROM 'cancelled' "
        "AND NOT EXISTS (SELECT 1 FROM dismissed_pair d "
        "WHERE d.tenant_id = :tenant AND d.payment_id = w.payment_id AND d.item_id = w.item_id)",
        tenant=tenant_id,
        payments=[pair[0] for pair in pairs],
        items=[pair[1] for pair in pairs],
    )
    return {(row[0], row[1]): Meant(*row) for row in rows}


async def known_with(conn: AsyncConnection, payment: Key, items: Sequence[UUID]) -> set[UUID]:
    """Those of the items that are there, where the payment is, which is locked: nothing of it is allocated meanwhile."""
    rows = await fetch(
        conn,
        "SELECT i.item_id FROM payment p JOIN open_item i ON i.tenant_id = p.tenant_id AND i.item_id = ANY(CAST(:items AS uuid[])) "
        "WHERE p.tenant_id = :tenant AND p.payment_id = :payment FOR UPDATE OF p",
        tenant=payment[0],
        payment=payment[1],
        items=list(items),
    )
    return {row[0] for row in rows}


async def allocated(conn: AsyncConnection, payment: Key, items: Sequence[UUID]) -> bool:
    """Whether the payment is allocated to one of the items."""
    return bool(
        await fetch(
            conn,
            "SELECT 1 FROM allocation WHERE tenant_id = :tenant AND payment_id = :payment AND item_id = ANY(CAST(:items AS uuid[]))",
            tenant=payment[0],
            payment=payment[1],
            items=list(items),
        )
    )


async def look_now(conn: AsyncConnection, payment: Key, at: datetime) -> None:
    """What is left of a payment is looked at again. `at`: the machine's clock."""
    await run(
        conn,
        "UPDATE payment SET next_look_at = :now WHERE tenant_id = :tenant AND payment_id = :payment "
        "AND status IN ('unapplied', 'partly_matched')",
        tenant=payment[0],
        payment=payment[1],
        now=at,
    )
