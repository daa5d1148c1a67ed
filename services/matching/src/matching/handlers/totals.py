"""Batch totals: entries that stand for several payments whose details come elsewhere, or never.

Rules:
- a total waits for details of its reference; those whose sum is the total resolve it, and are booked with it;
- one whose details do not come is booked by a person, as one payment of nobody known yet;
- while that payment stands, details that come after all are withdrawn as long as they are not complete: they are counted already;
- complete, they take its place: it is given back (`replaced_by_details`), whatever it was allocated to is undone, they are booked;
- unless some of it was refunded or taken back: what went out is not there to be given back, and the details stay withdrawn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.web.problems import Problem
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.returns import REPLACED
from matching.domain.statements import Transaction
from matching.handlers.ingest import SAME_PAYMENT, Line, TouchedError, confirm_notified, new_payment, store
from matching.handlers.returns import give_back, withdraw_payments
from matching.storage import movements
from matching.storage.bank import BankAccount
from matching.storage.payments import to_withdraw


@dataclass(frozen=True, slots=True)
class BookedTotal:
    """A total, and the payment that it was booked as. Only money that came in makes totals."""

    batch_total_id: UUID
    bank_account_id: UUID
    amount_minor: int
    currency: str
    booking_date: date
    reference: str | None
    payment_id: UUID


async def resolve_totals(conn: AsyncConnection, held: BankAccount, now: datetime) -> None:
    """Batch totals that wait and whose details are all here: the details are booked with them."""
    complete = await movements.complete_totals(conn, held)
    if complete:
        await movements.resolve(conn, held.tenant_id, [total.movement_id for total in complete])
        await confirm_notified(conn, held, {detail: total.booking_date for total in complete for detail in total.details}, now)


async def book_total(conn: AsyncConnection, tenant_id: UUID, movement_id: UUID, now: datetime) -> BookedTotal:
    """Books a total that waits as one payment, which is matched like any other. Raises a 404 or 409 Problem where it does not wait."""
    held, total = await _waiting(conn, tenant_id, movement_id)
    # its own key: two totals that look alike are two. No entry reference: that is its details', and they are summed up by it
    key = f"total:{movement_id}"
    one = Transaction(
        kind="payment",
        credit=True,
        amount_minor=total.amount_minor,
        currency=held.currency,
        day=total.booking_date,
        bank_reference=total.bank_reference,
        end_to_end_id=total.end_to_end_id,
    )
    row = new_payment(held, key, one, None, "booked", "statement")
    payment_id = row.payment.payment_id
    await store(conn, held, [row], now)
    await movements.resolve(conn, tenant_id, [movement_id], payment_id)
    if total.bank_reference:
        await _details(conn, held, [total.bank_reference], now)  # some may be here already
    return BookedTotal(
        movement_id, held.bank_account_id, total.amount_minor, held.currency, total.booking_date, total.bank_reference, payment_id
    )


async def details_after_all(
    conn: AsyncConnection, held: BankAccount, lines: Iterable[Line], now: datetime, *, beside: bool = False
) -> None:
    """Of what was just booked: details of totals that were booked by hand before. `beside` others no such is touched: TouchedError."""
    references = sorted({one.entry_reference for _, one in lines if one.kind == "payment" and one.entry_reference})
    if beside and references and await movements.lacking_details(conn, held, references):
        raise TouchedError("they are details of a batch total")
    if references and not beside:
        await _details(conn, held, references, now)


async def _details(conn: AsyncConnection, held: BankAccount, references: Sequence[str], now: datetime) -> None:
    totals = await movements.booked_totals(conn, held, references, SAME_PAYMENT.days)
    replaced = [total for total in totals if total.complete and total.whole]
    if replaced:
        await give_back(conn, held.tenant_id, {total.payment_id: (REPLACED, total.amount_minor) for total in replaced}, now)
        await movements.resolve(conn, held.tenant_id, [total.movement_id for total in replaced])
        await confirm_notified(conn, held, {detail: total.booking_date for total in replaced for detail in total.details}, now)
    for stays in (total for total in totals if total not in replaced):
        # its payment stands: what of its details is only notified, or all of them where they are complete, counts for nothing
        details = await to_withdraw(conn, held.tenant_id, stays.details, booked=stays.complete)
        await withdraw_payments(conn, held.tenant_id, details, now, booked=stays.complete)


async def _waiting(conn: AsyncConnection, tenant_id: UUID, movement_id: UUID) -> tuple[BankAccount, Row[Any]]:
    """A total that waits and its account, which is held as for a statement: nothing else is booked on it meanwhile."""
    found = await movements.waiting(conn, tenant_id, movement_id, total=True)
    if found is None:
        raise Problem(404, "batch-total-unknown", "There is no such batch total")
    held, total = found
    if total.resolved:
        raise Problem(409, "batch-total-resolved", "The batch total waits no more: its details are here, or it was booked")
    return held, total
