"""Money that comes after all for what was written off: the write-off is reversed as far as the money goes.

Only where the payer says the item for certain, by its structured reference, which no other item bears; anything weaker waits in the
review queue with the item as its candidate. What a person took off the payment is left alone.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.jobs import JobContext
from shared.web.problems import Problem

from matching.handlers import allocations
from matching.storage.rows import fetch

RULE = "after_write_off"
SLICE = 200


async def allocate_late_money(context: JobContext, tenant_id: UUID) -> None:
    """Job: payments whose reference names an item that was written off; a payment a commit."""
    for row in await _waiting(context, tenant_id):
        async with context.database.transaction(tenant_id) as conn:
            line = allocations.Line(row.item_id, row.amount_minor)
            try:
                await allocations.allocate(
                    conn, tenant_id, row.payment_id, [line], customer_id=None, by="matching", now=context.now, rule=RULE
                )
            except Problem as problem:
                if problem.status != 409:  # noqa: PLR2004 - somebody has decided on one of the two meanwhile
                    raise


async def _waiting(context: JobContext, tenant_id: UUID) -> Sequence[Any]:
    async with context.database.transaction(tenant_id) as conn:
        return await fetch(
            conn,
            "SELECT p.payment_id, i.item_id, least(p.unapplied_minor, i.written_off_minor) AS amount_minor FROM payment p "
            "JOIN item_reference r ON r.tenant_id = p.tenant_id AND r.entity_id = p.entity_id AND r.value = p.structured_reference "
            "AND r.kind = 'structured' JOIN open_item i ON i.tenant_id = r.tenant_id AND i.item_id = r.item_id "
            "WHERE p.tenant_id = :tenant AND p.status IN ('unapplied', 'partly_matched') "
            "AND p.unapplied_reason IN ('already_paid', 'overpaid') "
            "AND i.written_off_minor > 0 AND i.open_minor = 0 AND i.close_cause IS DISTINCT FROM 'cancelled' "
            "AND i.kind <> 'credit_note' AND i.currency = p.currency "
            "AND NOT EXISTS (SELECT 1 FROM item_reference o WHERE o.tenant_id = r.tenant_id AND o.entity_id = r.entity_id "
            "AND o.value = r.value AND o.kind = r.kind AND o.item_id <> r.item_id) "
            "AND NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id "
            "AND d.item_id = i.item_id) ORDER BY p.booking_date, p.payment_id LIMIT :slice",
            tenant=tenant_id,
            slice=SLICE,
        )
