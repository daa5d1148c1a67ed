"""Payment plans of dunning: their instalments are expected payments, met when the money comes (`domain.plans`).

Rules:
- a living plan's expectations follow dunning's newest word and what is owed here: they are reckoned anew when either says something new
  of the plan, which is when a word comes and when a payment met one of them;
- money of just that amount that came before dunning's word and waits is looked at again;
- they end with the plan: completed, broken or cancelled by dunning's word. Nothing here judges it, and nothing is published.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec
from contracts.dunning import PaymentPlanState
from contracts.envelope import Message
from shared.batches import Context
from shared.clock import machine_now
from shared.failures import PoisonError
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.plans import Instalment, through
from matching.storage import plans as storage
from matching.storage.expected import load, look_for
from matching.tables.expected import PAYMENT_PLAN

_ENDS = {"completed": "received", "broken": "expired", "cancelled": "cancelled"}


async def keep_plans(conn: AsyncConnection, messages: Sequence[Message[PaymentPlanState]], ctx: Context) -> None:
    """PaymentPlanAgreed, PaymentPlanCompleted, PaymentPlanBroken, PaymentPlanCancelled: what is expected as the newest version says."""
    rows = []
    for message in messages:
        if message.envelope.entityid is None:
            raise PoisonError(f"{message.envelope.type}: the envelope names no legal entity")
        plan = message.data
        rows.append(
            {
                "tenant_id": message.tenant_id,
                "payment_plan_id": plan.payment_plan_id,
                "version": plan.version,
                "entity_id": message.envelope.entityid,
                "customer_id": plan.customer_id,
                "currency": plan.currency,
                "items": msgspec.to_builtins(plan.items),
                "instalments": msgspec.to_builtins(plan.instalments),
                "status": plan.status,
            }
        )
    applied = await keep(conn, PAYMENT_PLAN, rows)
    if changed := await expect(conn, [(key[0], key[1]) for key in applied], ctx.now):
        await look_for(conn, list((await load(conn, changed, lock=False)).values()), machine_now())


async def expect(conn: AsyncConnection, plans: Iterable[Key], now: datetime) -> list[Key]:
    """Reckons anew what is expected of some plans; returns what is expected now that was not, or otherwise. A fixed number of statements,
    none without a plan.
    """
    wanted = list(plans)
    rows = await storage.lock(conn, wanted) if wanted else []
    living = [row for row in rows if row[7] == "active"]
    ended = {(row[0], row[1]): _ENDS[row[7]] for row in rows if row[7] in _ENDS}
    if ended:
        await storage.end(conn, ended)
    if not living:
        return []
    owed = await storage.owed(conn, {(row[0], UUID(each["item_id"])) for row in living for each in row[5]})
    found = {}
    for row in living:
        left = [(UUID(each["item_id"]), each["left_minor"]) for each in row[5]]
        instalments = [Instalment(each["number"], date.fromisoformat(each["due_on"]), each["open_minor"]) for each in row[6]]
        mine = {item_id: owed[row[0], item_id] for item_id, _ in left if (row[0], item_id) in owed}
        found[row[0], row[1]] = (row, through(left, instalments, mine))
    return await storage.expect(conn, found, now)
