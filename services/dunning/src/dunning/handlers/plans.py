"""Payment plans: agreed and cancelled by people, met, completed or broken by what the bank says (`domain.plan`).

Invariant: broken and cancelled it has ended, completed until something of it is owed again (its money went back): then it goes on; broken
only through the freshness gate of its entity. Each change of what is left is told at the next
version, so whoever reads the newest one knows what is expected. The items' due dates stand: what a plan means for interest is a term of
the agreement between the parties, not a rule of ours.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from contracts.dunning import (
    PaymentPlanAgreed,
    PaymentPlanBroken,
    PaymentPlanCancelled,
    PaymentPlanCompleted,
    PaymentPlanState,
    PlanInstalment,
    PlanItem,
)
from shared.aliases import stands_for
from shared.days import business_day
from shared.jobs import JobContext
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.plan import Instalment, Owed, Standing, deadlines, judge, standing
from dunning.domain.promise import received_on
from dunning.handlers.disputes import contested_minor
from dunning.handlers.promises import RefusedError, judge_in_slices
from dunning.storage import disputes as dispute_storage
from dunning.storage import gate as gates
from dunning.storage import plans as storage
from dunning.storage import promises as promise_storage

_EVENTS: Mapping[str, type[PaymentPlanState]] = {
    "active": PaymentPlanAgreed,
    "completed": PaymentPlanCompleted,
    "broken": PaymentPlanBroken,
    "cancelled": PaymentPlanCancelled,
}


async def agree(
    conn: AsyncConnection,
    tenant_id: UUID,
    plan_id: UUID,
    *,
    customer_id: UUID,
    items: Sequence[UUID | str],
    currency: str,
    instalments: Sequence[tuple[date, int]],
    grace_days: int,
    now: datetime,
) -> Row[Any]:
    """A new plan about all that is open and uncontested of some items, each by its id or its number, in the order in which money is meant
    for them; instalments by (date, amount), dates rising. Raises RefusedError where that cannot be, with a pointer to what is wrong.
    """
    today = business_day(now)
    customer_id = await stands_for(conn, tenant_id, customer_id)
    if instalments[0][0] < today:
        raise RefusedError("due-in-the-past", "the first instalment is for today or later", "/instalments/0/due_on")
    debts = [row for row in await promise_storage.debts(conn, tenant_id, [customer_id]) if row.currency == currency and row.open_minor]
    named = [_named(debts, name, at) for at, name in enumerate(items)]
    rows = {row.item_id: row for row in await promise_storage.debts(conn, tenant_id, [], named, lock=True)}
    entities = {row.entity_id for row in rows.values()}
    if len(entities) > 1:
        raise RefusedError("several-entities", "the items are owed to several legal entities: each has a plan of its own", "/items")
    entity_id = entities.pop()
    near = await storage.living(conn, tenant_id, [customer_id], entity_id)
    stand = await standings(conn, tenant_id, near)
    covered = {UUID(each["item_id"]) for plan in near if lives(plan, stand[plan.payment_plan_id]) for each in plan.items}
    disputes = await dispute_storage.standing(conn, tenant_id, named)
    amounts: dict[UUID, int] = {}
    for at, item_id in enumerate(named):
        if item_id in covered:
            raise RefusedError("already-in-a-plan", f"{rows[item_id].invoice_number} is in a payment plan already", f"/items/{at}")
        if item_id in amounts:
            raise RefusedError("named-twice", f"{rows[item_id].invoice_number} is named twice", f"/items/{at}")
        amounts[item_id] = rows[item_id].open_minor - contested_minor(rows[item_id], disputes)
        if amounts[item_id] <= 0:
            raise RefusedError("nothing-owed", f"nothing of {rows[item_id].invoice_number} is open and uncontested", f"/items/{at}")
    total, wanted = sum(amounts.values()), sum(amount for _, amount in instalments)
    if total != wanted:
        text = f"the instalments add up to {wanted}, open and uncontested of the items is {total} (minor units)"
        raise RefusedError("instalments-do-not-add-up", text, "/instalments")
    agreed = [Instalment(number, due_on, amount) for number, (due_on, amount) in enumerate(instalments, 1)]
    values = {
        "payment_plan_id": plan_id,
        "customer_id": customer_id,
        "entity_id": entity_id,
        "currency": currency,
        "agreed_on": today,
        "grace_days": grace_days,
        "items": [
            {"item_id": item, "invoice_number": rows[item].invoice_number, "amount_minor": amount, "left_minor": amount}
            for item, amount in amounts.items()
        ],
        "instalments": [_shown(each, each.amount_minor) for each in agreed],
        "baseline": {str(item): [rows[item].version, rows[item].paid_minor] for item in amounts},
        "next_on": deadlines(agreed, grace_days)[0],
    }
    await storage.insert(conn, tenant_id, values)
    plan = await storage.get(conn, tenant_id, plan_id)
    assert plan is not None  # noqa: S101 - inserted above
    await _publish(conn, tenant_id, [plan])
    return plan


def _named(debts: Sequence[Row[Any]], name: UUID | str, at: int) -> UUID:
    """The open debt that is meant by an id or a number."""
    found: list[UUID] = [row.item_id for row in debts if name in (row.item_id, row.invoice_number)]
    if not found:
        raise RefusedError("nothing-owed", f"{name} is not open, not this customer's, or in another currency", f"/items/{at}")
    if len(found) > 1:
        raise RefusedError("number-not-unique", f"{len(found)} items carry the number {name}: name the one meant by its id", f"/items/{at}")
    return found[0]


async def cancel(conn: AsyncConnection, tenant_id: UUID, plan_id: UUID, *, reason: str, by: str) -> Row[Any] | None:
    """Ends a living plan; None where there is none of this id. Raises RefusedError where it has ended already."""
    plan = await storage.get(conn, tenant_id, plan_id)
    if plan is None:
        return None
    if plan.status != "active":
        raise RefusedError("payment-plan-closed", f"the payment plan is {plan.status}")
    change = (plan_id, "cancelled", json.dumps(plan.items), json.dumps(plan.instalments), None, None, None)
    [closed] = await storage.store(conn, tenant_id, [(*change, json.dumps({"by": by, "reason": reason}))])
    await _publish(conn, tenant_id, [closed])
    return closed


async def judge_plans(context: JobContext, tenant_id: UUID) -> None:
    """The job: looks at plans whose items changed, or an instalment's last day has passed, in slices."""
    await judge_in_slices(context, tenant_id, storage.to_judge, _judge)


async def _judge(conn: AsyncConnection, tenant_id: UUID, slice_: Sequence[Row[Any]], now: datetime) -> None:
    found = await standings(conn, tenant_id, slice_)
    open_through = await gates.gates(conn, tenant_id)
    in_hand = await promise_storage.in_hand(conn, tenant_id, [plan.debtor_id for plan in slice_])
    changes = []
    for plan in slice_:
        seen, agreed = found[plan.payment_plan_id], _agreed(plan)
        days, gate = deadlines(agreed, plan.grace_days), open_through.get(plan.entity_id)
        status, missed = judge(seen, days, gate=gate, maybe_covered=plan.debtor_id in in_hand) or ("active", None)
        if (plan.status, status) == ("completed", "broken"):  # it goes on before it breaks, as a promise is open again before that
            status, missed = "active", None
        items = [each | {"left_minor": seen.left[UUID(each["item_id"])]} for each in plan.items]
        instalments = [_shown(each, open_minor) for each, open_minor in zip(agreed, seen.open, strict=True)]
        inputs = {"missing_minor": seen.missing, "gate": gate, "days": days, "now": now}
        changed = status != plan.status or items != plan.items or instalments != plan.instalments
        changes.append(
            (
                plan.payment_plan_id,
                status,
                json.dumps(items),
                json.dumps(instalments),
                next((day for day, missing in zip(days, seen.missing, strict=True) if missing), None),
                None if missed is None else agreed[missed].number,
                None if missed is None else seen.missing[missed],
                json.dumps(inputs, default=str) if changed else None,
            )
        )
    await _publish(conn, tenant_id, await storage.store(conn, tenant_id, changes))


def lives(plan: Row[Any], now: Standing) -> bool:
    """Whether a plan covers its items: a living one, and one that was completed and of which something is owed again."""
    return plan.status == "active" or (plan.status == "completed" and not now.settled)


async def standings(conn: AsyncConnection, tenant_id: UUID, plans: Sequence[Row[Any]]) -> dict[UUID, Standing]:
    """How each plan stands now, by its id. A fixed number of statements, none where there is no plan."""
    if not plans:
        return {}
    named = sorted({UUID(each["item_id"]) for plan in plans for each in plan.items})
    rows = {row.item_id: row for row in await promise_storage.debts(conn, tenant_id, [], named)}
    disputes = await dispute_storage.standing(conn, tenant_id, named, lock=False)
    history = await promise_storage.histories(conn, tenant_id, named)
    owed = {item_id: Owed(row.open_minor, contested_minor(row, disputes)) for item_id, row in rows.items()}

    def paid(plan: Row[Any], through: date) -> dict[UUID, int]:
        return {
            item_id: received_on(history.get(item_id, ()), rows[item_id].paid_minor, *before, due_on=through)
            for item, before in plan.baseline.items()
            if (item_id := UUID(item)) in rows
        }

    return {
        plan.payment_plan_id: standing(
            {UUID(each["item_id"]): each["amount_minor"] for each in plan.items},
            _agreed(plan),
            paid=paid(plan, date.max),
            in_time=[paid(plan, day) for day in deadlines(_agreed(plan), plan.grace_days)],
            owed=owed,
        )
        for plan in plans
    }


def _agreed(plan: Row[Any]) -> list[Instalment]:
    return [Instalment(each["number"], date.fromisoformat(each["due_on"]), each["amount_minor"]) for each in plan.instalments]


def _shown(each: Instalment, open_minor: int) -> dict[str, Any]:
    """An instalment as it is stored and told."""
    return {"number": each.number, "due_on": each.due_on.isoformat(), "amount_minor": each.amount_minor, "open_minor": open_minor}


async def _publish(conn: AsyncConnection, tenant_id: UUID, plans: Sequence[Row[Any]]) -> None:
    await publish(
        conn,
        [
            Outgoing(
                tenant_id,
                _EVENTS[row.status](
                    version=row.version,
                    payment_plan_id=row.payment_plan_id,
                    customer_id=row.customer_id,
                    currency=row.currency,
                    agreed_on=row.agreed_on,
                    grace_days=row.grace_days,
                    items=[PlanItem(**each | {"item_id": UUID(each["item_id"])}) for each in row.items],
                    instalments=[PlanInstalment(**each | {"due_on": date.fromisoformat(each["due_on"])}) for each in row.instalments],
                    status=row.status,
                    broken_instalment=row.broken_instalment,
                    missing_minor=row.missing_minor,
                ),
                row.entity_id,
            )
            for row in plans
        ],
    )
