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

from shared.clock import machine_now
from shared.ids import named_id
from shared.outbox import publish
from shared.web.problems import Problem
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction
from matching.handlers.ingest import SAME_PAYMENT, Line, confirm_notified, received
from matching.handlers.returns import give_back, withdraw_payments
from matching.storage import bank
from matching.storage.bank import BankAccount
from matching.storage.rows import fetch

REPLACED = "replaced_by_details"
DETAILS = (
    "SELECT payment_id, amount_minor, booking_date FROM payment WHERE tenant_id = m.tenant_id AND bank_account_id = m.bank_account_id "
    "AND entry_reference = m.bank_reference OFFSET 0"
)
"""The payments that bear the reference of a total `m`, looked up by it: a join may read all of the account."""


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
    rows = await fetch(
        conn,
        f"SELECT m.movement_id, array_agg(d.payment_id) FROM movement m CROSS JOIN LATERAL ({DETAILS}) d WHERE m.tenant_id = :tenant "  # noqa: S608 - ours
        "AND m.bank_account_id = :account AND NOT m.resolved AND m.kind = 'total' GROUP BY m.tenant_id, m.movement_id, m.amount_minor "
        "HAVING sum(d.amount_minor) = m.amount_minor",
        tenant=held.tenant_id,
        account=held.bank_account_id,
    )
    if not rows:
        return
    await bank.resolve_movements(conn, held.tenant_id, [row[0] for row in rows])
    await confirm_notified(conn, held, [payment_id for row in rows for payment_id in row[1]], now)


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
    payment_id = named_id("payment", tenant_id, held.bank_account_id, key)
    row = (payment_id, key, one, None)
    await bank.insert_payments(conn, held, [row], confirmation="booked", source="statement", at=machine_now(), now=now)
    await publish(conn, [received(held, row, "booked", "statement")])
    await bank.resolve_movements(conn, tenant_id, [movement_id], payment_id)
    if total.bank_reference:
        await _details(conn, held, [total.bank_reference], now)  # some may be here already
    return BookedTotal(
        movement_id, held.bank_account_id, total.amount_minor, held.currency, total.booking_date, total.bank_reference, payment_id
    )


async def details_after_all(conn: AsyncConnection, held: BankAccount, lines: Iterable[Line], now: datetime) -> None:
    """Of what was just booked: details of totals that were booked by hand before."""
    references = {one.entry_reference for _, one in lines if one.kind == "payment" and one.entry_reference}
    if references:
        await _details(conn, held, sorted(references), now)


async def _details(conn: AsyncConnection, held: BankAccount, references: Sequence[str], now: datetime) -> None:
    totals = await fetch(
        conn,
        # details are those of one total, though another one has the same reference
        "SELECT DISTINCT ON (m.bank_reference) m.movement_id, m.payment_id, m.amount_minor, "  # noqa: S608 - ours
        "t.returned_minor + t.refunded_minor = 0 AS whole, "
        "sum(d.amount_minor) = m.amount_minor AS complete, array_agg(d.payment_id) AS details FROM movement m JOIN payment t "
        f"ON t.tenant_id = m.tenant_id AND t.payment_id = m.payment_id CROSS JOIN LATERAL ({DETAILS}) d "
        "WHERE abs(d.booking_date - m.booking_date) <= CAST(:days AS int) AND m.tenant_id = :tenant AND m.bank_account_id = :account "
        "AND m.payment_id IS NOT NULL AND m.bank_reference = ANY(CAST(:references AS text[])) "
        "GROUP BY m.tenant_id, m.movement_id, t.tenant_id, t.payment_id "
        "ORDER BY m.bank_reference, complete DESC, whole DESC, m.movement_id",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        references=list(references),
        days=SAME_PAYMENT.days,
    )
    replaced = [total for total in totals if total.complete and total.whole]
    if replaced:
        await give_back(conn, held.tenant_id, {total.payment_id: (REPLACED, total.amount_minor) for total in replaced}, now)
        await bank.resolve_movements(conn, held.tenant_id, [total.movement_id for total in replaced])
        await confirm_notified(conn, held, [detail for total in replaced for detail in total.details], now)
    for stays in (total for total in totals if total not in replaced):
        await _withdraw(conn, held, stays, now)


async def _withdraw(conn: AsyncConnection, held: BankAccount, total: Row[Any], now: datetime) -> None:
    """The total's payment stands: what of its details is only notified, or all of them where they are complete, counts for nothing."""
    rows = await fetch(
        conn,
        "SELECT payment_id FROM payment WHERE tenant_id = :tenant AND payment_id = ANY(CAST(:ids AS uuid[])) "
        "AND (confirmation = 'notified' OR :complete) AND allocated_minor + unapplied_minor > 0",
        tenant=held.tenant_id,
        ids=total.details,
        complete=total.complete,
    )
    await withdraw_payments(conn, held.tenant_id, [row.payment_id for row in rows], now, booked=bool(total.complete))


async def _waiting(conn: AsyncConnection, tenant_id: UUID, movement_id: UUID) -> tuple[BankAccount, Row[Any]]:
    """A total that waits and its account, which is held as for a statement: nothing else is booked on it meanwhile."""
    found = await bank.waiting_movement(conn, tenant_id, movement_id, total=True)
    if found is None:
        raise Problem(404, "batch-total-unknown", "There is no such batch total")
    held, total = found
    if total.resolved:
        raise Problem(409, "batch-total-resolved", "The batch total waits no more: its details are here, or it was booked")
    return held, total
