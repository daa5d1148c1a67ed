"""Money that comes after all for what was written off: the write-off is reversed as far as the money goes.

Only where the payer says the item for certain, by its structured reference, which no other item bears; anything weaker waits in the
review queue with the item as its candidate. What a person took off the payment is left alone.
"""

from datetime import date
from uuid import UUID

from shared import failures
from shared.failures import UnavailableError
from shared.jobs import JobContext
from shared.logging import log
from shared.web.problems import Problem

from matching.handlers import allocations
from matching.storage.payments import for_written_off

RULE = "after_write_off"
SLICE = 200


async def allocate_late_money(context: JobContext, tenant_id: UUID) -> None:
    """Job: payments whose reference names an item that was written off; a payment a commit, all of them slice after slice: what cannot be
    booked keeps no other waiting.
    """
    after: tuple[date, UUID] | None = None
    while True:
        async with context.database.transaction(tenant_id) as conn:
            waiting = await for_written_off(conn, tenant_id, SLICE, after)
        for row in waiting:
            await _allocate(context, tenant_id, row.payment_id, allocations.Line(row.item_id, row.amount_minor))
        if len(waiting) < SLICE:
            return
        after = (waiting[-1].booking_date, waiting[-1].payment_id)


async def _allocate(context: JobContext, tenant_id: UUID, payment_id: UUID, line: allocations.Line) -> None:
    try:
        async with context.database.transaction(tenant_id) as conn:
            await allocations.allocate(conn, tenant_id, payment_id, [line], customer_id=None, by="matching", now=context.now, rule=RULE)
    except UnavailableError as error:  # somebody is at one of the two: the next time
        log.info("late money waits", payment_id=str(payment_id), why=failures.told(error))
    except Problem as problem:
        if problem.status != 409:  # noqa: PLR2004 - somebody has decided on one of the two meanwhile
            raise
