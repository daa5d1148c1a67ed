"""Payment plans of dunning: their instalments are expected payments, met when the money comes (`domain.plans`).

Rules:
- a living plan's expectations follow dunning's newest word and what is owed here: they are reckoned anew when either says something new
  of the plan, which is when a word comes and when a payment met one of them;
- an invoice that is lowered, cancelled, credited or written off takes from the last of them at once, as it will in dunning's next word;
  so does what is owed again before that word give back what was taken;
- money that goes back is expected again at once, as far as its items owe then and no write-off stands again: dunning, which may have read
  of its coming and its end together, has nothing to say then;
- money of just that amount that came before dunning's word, or before that, and waits is looked at again;
- they end with the plan: completed, broken or cancelled by dunning's word. Nothing here judges it, and nothing is published.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from contracts.dunning import PaymentPlanState
from contracts.envelope import Message
from shared.batches import Context
from shared.clock import machine_now
from shared.failures import PoisonError
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key
from matching.domain.plans import Instalment, cut, restore, through
from matching.storage import plans as storage
from matching.storage.expected import load, look_for
from matching.tables.expected import PAYMENT_PLAN

_ENDS = {"completed": "received", "broken": "expired", "cancelled": "cancelled"}
Plans = Sequence[Any]
"""Plans as they were locked."""


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
    await _look(conn, await expect(conn, [(key[0], key[1]) for key in applied], ctx.now))


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
    owed = await _owed(conn, living)
    found = {}
    for row in living:
        left, instalments = _left(row)
        mine = {item_id: owed[row[0], item_id] for item_id, _ in left if (row[0], item_id) in owed}
        found[row[0], row[1]] = (row, through(left, instalments, mine))
    return await storage.expect(conn, found, now)


async def hold(conn: AsyncConnection, customers: Iterable[Key]) -> Plans:
    """Locks the living plans of customers, which is done before all other rows."""
    found = await storage.living(conn, wanted) if (wanted := list(customers)) else []
    return [row for row in await storage.lock(conn, found) if row[7] == "active"] if found else []


async def hold_settled(conn: AsyncConnection, payments: Iterable[Key]) -> list[Key]:
    """Locks the plans that payments may have settled something of, before the payments themselves."""
    found = await storage.settled_by(conn, payments)
    if found:
        await storage.lock(conn, found)
    return found


async def expect_again(conn: AsyncConnection, plans: Sequence[Key], now: datetime) -> None:
    """Expects of locked plans what is owed of them now; money that waits may be it."""
    await _look(conn, await expect(conn, plans, now))


def owed_now(plans: Plans, books: Books) -> dict[Key, int]:
    """What is owed of the items that the caller has locked, for it is about to change them. Before that, others settle them."""
    return {key: item.open_minor - item.contested_minor for key, item in books.items.items()} if plans else {}


async def follow(conn: AsyncConnection, plans: Plans, before: Mapping[Key, int], now: datetime) -> None:
    """Expects of plans what is left of them, where less is owed of their items than `before`, though nobody has paid it, or
    that is owed again.
    """
    after = await _owed(conn, plans) if plans else {}
    changed = {}
    for row in plans:
        left, instalments = _left(row)
        taken = {UUID(each["item_id"]): each.get("taken_minor", 0) for each in row[5]}
        owed = {item_id: (before[key], after[key]) for item_id, _ in left for key in [(row[0], item_id)] if key in before}
        rest, kept = restore(*cut(left, instalments, owed), taken, owed)
        if rest != left:
            changed[row[0], row[1]] = (
                [
                    each | {"left_minor": amount, "taken_minor": taken[item_id] + was - amount}
                    for each, (item_id, was), (_, amount) in zip(row[5], left, rest, strict=True)
                ],
                [each | {"open_minor": one.open_minor, "taken_minor": one.taken_minor} for each, one in zip(row[6], kept, strict=True)],
            )
    if changed:
        await storage.say(conn, changed)
        await _look(conn, await expect(conn, changed, now))


async def _look(conn: AsyncConnection, changed: Sequence[Key]) -> None:
    if changed:
        await look_for(conn, list((await load(conn, changed, lock=False)).values()), machine_now())


async def _owed(conn: AsyncConnection, plans: Iterable[Any]) -> dict[Key, int]:
    return await storage.owed(conn, {(row[0], UUID(each["item_id"])) for row in plans for each in row[5]})


def _left(row: Any) -> tuple[list[tuple[UUID, int]], list[Instalment]]:
    """What is left of a plan by item, and its instalments."""
    left = [(UUID(each["item_id"]), each["left_minor"]) for each in row[5]]
    return left, [
        Instalment(each["number"], date.fromisoformat(each["due_on"]), each["open_minor"], each.get("taken_minor", 0)) for each in row[6]
    ]
