"""Disputes: what the debtor contests is not dunned, the rest of the item is.

Rule: a dispute resolved as `justified` stays off what is asked until that much has been credited since; `rejected` and
`withdrawn` put the amount back at once.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from contracts.dunning import DisputeOpened, DisputeResolved
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.handlers.promises import RefusedError
from dunning.storage import disputes as storage


async def open_dispute(
    conn: AsyncConnection, tenant_id: UUID, dispute_id: UUID, *, item_id: UUID, amount_minor: int, currency: str, reason: str
) -> Row[Any] | None:
    """Opens a dispute; None where there is no such item. Raises RefusedError where it contests more than is open and undisputed."""
    item = await storage.item(conn, tenant_id, item_id)
    if item is None or item.kind == "credit_note":
        return None
    if item.currency != currency:
        raise RefusedError("currency-differs", "the item is in another currency")
    if amount_minor > item.open_minor - item.disputed_minor:
        raise RefusedError("more-than-open", "the amount is more than is open and not disputed yet")
    values = {
        "dispute_id": dispute_id,
        "item_id": item_id,
        "customer_id": item.customer_id,
        "entity_id": item.entity_id,
        "amount_minor": amount_minor,
        "currency": currency,
        "reason": reason,
    }
    row = await storage.insert(conn, tenant_id, values)
    await _publish(conn, tenant_id, row)
    return row


async def resolve(conn: AsyncConnection, tenant_id: UUID, dispute_id: UUID, *, resolution: str) -> Row[Any] | None:
    """Resolves a dispute; None where there is none. Raises RefusedError where it is resolved already."""
    dispute = await storage.get(conn, tenant_id, dispute_id)
    if dispute is None:
        return None
    if dispute.status != "open":
        raise RefusedError("dispute-closed", "the dispute is resolved")
    row = await storage.resolve(conn, tenant_id, dispute_id, resolution)
    await _publish(conn, tenant_id, row)
    return row


async def _publish(conn: AsyncConnection, tenant_id: UUID, row: Row[Any]) -> None:
    await publish(conn, [told(tenant_id, row)])


def told(tenant_id: UUID, row: Row[Any]) -> Outgoing:
    """The event about a dispute as it is now."""
    event = (DisputeOpened if row.status == "open" else DisputeResolved)(
        version=row.version,
        dispute_id=row.dispute_id,
        item_id=row.item_id,
        customer_id=row.customer_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        reason=row.reason,
        status=row.status,
        resolution=row.resolution,
        origin=row.origin,
    )
    return Outgoing(tenant_id, event, entity_id=row.entity_id)


def contested_minor(item: Row[Any], disputes: Sequence[Row[Any]]) -> int:
    """What is not asked of an item: what is disputed (ours, or matching's word, whichever is more) and what was conceded
    and not credited since.
    """
    ours = [row for row in disputes if row.item_id == item.item_id]
    disputed = sum(row.amount_minor for row in ours if row.status == "open")
    conceded = [row for row in ours if row.status == "resolved"]
    credited = item.credited_minor - min((row.credited_before_minor for row in conceded), default=item.credited_minor)
    standing: int = max(item.disputed_minor, disputed) + max(0, sum(row.amount_minor for row in conceded) - credited)
    return standing
