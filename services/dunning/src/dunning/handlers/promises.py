"""Promises: made and cancelled by people, kept or broken by what the bank says.

Invariant: what is cancelled stays so, all else says what stands: what was kept is open again once its money goes back; broken only
through the freshness gate of every entity concerned (`domain.promise`).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from contracts.dunning import PromiseBroken, PromiseCancelled, PromiseKept, PromiseMade, PromiseState
from shared.aliases import stands_for
from shared.days import business_day
from shared.jobs import JobContext
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.promise import judge, received, to_pay, turn
from dunning.storage import gate as gates
from dunning.storage import promises as storage

SLICE = 500
_EVENTS: Mapping[str, type[PromiseState]] = {
    "open": PromiseMade,
    "kept": PromiseKept,
    "broken": PromiseBroken,
    "cancelled": PromiseCancelled,
}


class RefusedError(ValueError):
    """A promise, plan or dispute that cannot be. `code` is stable, the text says what is wrong, `pointer` where in the request."""

    def __init__(self, code: str, text: str, pointer: str | None = None) -> None:
        super().__init__(text)
        self.code, self.pointer = code, pointer


async def make(
    conn: AsyncConnection,
    tenant_id: UUID,
    promise_id: UUID,
    *,
    customer_id: UUID,
    item_ids: Sequence[UUID],
    amount_minor: int,
    currency: str,
    due_on: date,
    now: datetime,
) -> Row[Any]:
    """A new promise. Raises RefusedError where its day is past or an item is not an open debt of the customer in that currency."""
    today = business_day(now)
    customer_id = await stands_for(conn, tenant_id, customer_id)
    if due_on < today:
        raise RefusedError("due-in-the-past", "a promise is for today or later")
    owed = {row.item_id: row for row in await storage.debts(conn, tenant_id, [customer_id]) if row.currency == currency and row.open_minor}
    wrong = [item_id for item_id in item_ids if item_id not in owed]
    if wrong or not owed:
        raise RefusedError("nothing-owed", "an item is not open, not this customer's, or in another currency")
    wanted = {item_id: owed[item_id] for item_id in item_ids} or owed
    if amount_minor > sum(row.open_minor for row in wanted.values()):
        raise RefusedError("more-than-open", "the amount promised is more than is open")
    values = {
        "promise_id": promise_id,
        "customer_id": customer_id,
        "item_ids": sorted(set(item_ids)),
        "amount_minor": amount_minor,
        "currency": currency,
        "made_on": today,
        "due_on": due_on,
        "baseline": {str(row.item_id): [row.version, row.paid_minor] for row in wanted.values()},
    }
    await storage.insert(conn, tenant_id, values)
    promise = await storage.get(conn, tenant_id, promise_id)
    assert promise is not None  # noqa: S101 - inserted above
    await _publish(conn, tenant_id, [promise])
    return promise


async def cancel(conn: AsyncConnection, tenant_id: UUID, promise_id: UUID, *, reason: str, by: str) -> Row[Any] | None:
    """Takes a promise back; None where there is none. Raises RefusedError where it is no longer open."""
    promise = await storage.get(conn, tenant_id, promise_id)
    if promise is None:
        return None
    if promise.status != "open":
        raise RefusedError("promise-closed", "the promise is no longer open")
    [closed] = await storage.decide(conn, tenant_id, [(promise_id, "cancelled", {"by": by, "reason": reason})])
    await _publish(conn, tenant_id, [closed])
    return closed


async def judge_promises(context: JobContext, tenant_id: UUID) -> None:
    """The job: judges what changed, or has passed its day, in slices."""
    await judge_in_slices(context, tenant_id, storage.to_judge, _judge)


async def judge_in_slices(
    context: JobContext,
    tenant_id: UUID,
    find: Callable[[AsyncConnection, UUID, date, UUID | None, int], Awaitable[Sequence[Row[Any]]]],
    judge_slice: Callable[[AsyncConnection, UUID, Sequence[Row[Any]], datetime], Awaitable[None]],
) -> None:
    """Judges all that `find` finds to judge today: rows by their first column, an id, each slice in a transaction of its own."""
    after: UUID | None = None
    while True:
        async with context.database.transaction(tenant_id) as conn:
            slice_ = await find(conn, tenant_id, business_day(context.now), after, SLICE)
            if slice_:
                await judge_slice(conn, tenant_id, slice_, context.now)
        if len(slice_) < SLICE:
            return
        after = slice_[-1][0]


async def _judge(conn: AsyncConnection, tenant_id: UUID, slice_: Sequence[Row[Any]], now: datetime) -> None:
    owed, progress = await progress_of(conn, tenant_id, slice_)
    open_through = await gates.gates(conn, tenant_id)
    in_hand = await storage.in_hand(conn, tenant_id, [promise.debtor_id for promise in slice_])
    verdicts = []
    for promise in slice_:
        gate = _least(open_through, {row.entity_id for row in owed[promise.promise_id]})
        verdict = judge(
            amount_minor=to_pay(
                promise.amount_minor,
                {row.item_id: row.open_minor + row.paid_minor for row in owed[promise.promise_id]},
                _baseline(promise),
            ),
            received_minor=progress[promise.promise_id],
            due_on=promise.due_on,
            gate=gate,
            maybe_covered=promise.debtor_id in in_hand,
        )
        status = turn(promise.status, verdict)
        if status != promise.status:
            inputs = {
                "received_minor": progress[promise.promise_id],
                "gate": gate,
                "items": {str(row.item_id): row.version for row in owed[promise.promise_id]},
                "now": now,
            }
            verdicts.append((promise.promise_id, status, inputs))
    await storage.looked_at(conn, tenant_id, [promise.promise_id for promise in slice_])
    if verdicts:
        await _publish(conn, tenant_id, await storage.decide(conn, tenant_id, verdicts))


def _least(open_through: Mapping[UUID, date], entities: Iterable[UUID]) -> date | None:
    """The day through which the gate of every entity is open; None where one is shut, or there is none."""
    days = [open_through.get(entity) for entity in entities]
    known = [day for day in days if day is not None]
    return min(known) if known and len(known) == len(days) else None


async def progress_of(
    conn: AsyncConnection, tenant_id: UUID, promises: Sequence[Row[Any]]
) -> tuple[dict[UUID, list[Row[Any]]], dict[UUID, int]]:
    """For each promise its items as they are now, and how much came in time."""
    debts = await storage.debts(
        conn, tenant_id, [promise.debtor_id for promise in promises], [item for promise in promises for item in promise.item_ids]
    )
    scopes = {promise.promise_id: list(_scope(promise, debts)) for promise in promises}
    history = await storage.histories(conn, tenant_id, sorted({row.item_id for rows in scopes.values() for row in rows}))
    progress = {
        promise.promise_id: received(
            history,
            {row.item_id: row.paid_minor for row in scopes[promise.promise_id]},
            _baseline(promise),
            due_on=promise.due_on,
        )
        for promise in promises
    }
    return scopes, progress


def _baseline(promise: Row[Any]) -> dict[UUID, tuple[int, int]]:
    """Version and paid amount of each item when the promise was made."""
    return {UUID(item): (version, paid) for item, (version, paid) in promise.baseline.items()}


def _scope(promise: Row[Any], debts: Iterable[Row[Any]]) -> Iterable[Row[Any]]:
    """The items a promise is about: those it names; else what the customer owed then, and what was issued since."""
    for row in debts:
        if promise.item_ids:
            if row.item_id in promise.item_ids:
                yield row
        elif (row.customer_id, row.currency) == (promise.debtor_id, promise.currency) and (
            str(row.item_id) in promise.baseline or row.issue_date >= promise.made_on
        ):
            yield row


async def _publish(conn: AsyncConnection, tenant_id: UUID, promises: Sequence[Row[Any]]) -> None:
    await publish(
        conn,
        [
            Outgoing(
                tenant_id,
                _EVENTS[row.status](
                    version=row.version,
                    promise_id=row.promise_id,
                    customer_id=row.customer_id,
                    item_ids=list(row.item_ids),
                    amount_minor=row.amount_minor,
                    currency=row.currency,
                    due_on=row.due_on,
                    status=row.status,
                ),
            )
            for row in promises
        ],
    )
