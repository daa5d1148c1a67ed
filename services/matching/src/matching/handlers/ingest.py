"""What a bank says becomes payments: files and single notifications.

Rules:
- one bank transaction is one payment, however often and in whatever file it arrives (the chain of identity is in
  `matching.domain.statements`); a notified payment is confirmed by the booked entry of the same identity;
- a bank that uses a reference again on another booking day means another transaction;
- a statement that does not add up is stored as rejected, told of, and nothing of it is booked;
- a batch total waits for its details; details whose sum is the total resolve it;
- a return takes back the payment of its amount that it names; one that names none or several waits for a person;
- entries before the account's start date belong to what was before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.payments import PaymentReceived, StatementRejected
from shared.clock import machine_now
from shared.db import run
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Entry, Statement, Transaction, numbered
from matching.handlers.publishing import save_and_publish
from matching.handlers.returns import take_back
from matching.storage import bank
from matching.storage.bank import BankAccount
from matching.storage.books import lock
from matching.storage.rows import fetch

SLICE = 1000
"""Payments per statement of SQL."""


@dataclass(slots=True)
class Booked:
    """What became of a statement."""

    statement_id: UUID
    iban: str
    verdict: str
    reason: str | None = None
    detail: str | None = None
    entries: int = 0
    new_payments: int = 0
    confirmed: int = 0
    returns: int = 0


async def book_statement(
    conn: AsyncConnection, held: BankAccount, statement: Statement, entries: Sequence[Entry], file_sha256: str, now: datetime
) -> Booked:
    """Books one statement or notification of an account in the caller's transaction. The same one again is a duplicate."""
    await bank.hold_account(conn, held.bank_account_id, alone=True)
    statement_id = named_id(
        "statement", held.tenant_id, held.bank_account_id, file_sha256, statement.kind, statement.identification, statement.number
    )
    result = Booked(statement_id, held.iban, "booked", entries=statement.entries)
    if await fetch(
        conn, "SELECT 1 FROM statement WHERE tenant_id = :tenant AND statement_id = :id", tenant=held.tenant_id, id=statement_id
    ):
        result.verdict = "duplicate"
        return result
    wrong = statement.verdict()
    if wrong is None and statement.currency not in {None, held.currency}:
        wrong = ("currency_differs", f"the statement is in {statement.currency}, the account in {held.currency}")
    if wrong:
        result.verdict, (result.reason, result.detail) = "rejected", wrong
    await bank.put_statement(
        conn,
        tenant_id=held.tenant_id,
        statement_id=statement_id,
        bank_account_id=held.bank_account_id,
        file_sha256=file_sha256,
        kind=statement.kind,
        number=statement.number,
        sequence=statement.sequence,
        first_day=statement.first_day,
        last_day=statement.last_day,
        opening_minor=statement.opening_minor,
        closing_minor=statement.closing_minor,
        entries_minor=statement.booked_minor,
        verdict=result.verdict,
        reason=result.reason,
        received_at=machine_now(),
    )
    if wrong:
        await publish(conn, [Outgoing(held.tenant_id, _rejected(held, statement, result, file_sha256), held.entity_id)])
        return result
    if statement.role == "report":
        return result  # an interim report says nothing that the statement will not say
    confirmation = "booked" if statement.role == "statement" else "notified"
    await _book(conn, held, statement, entries, confirmation, result, now)
    return result


def _rejected(held: BankAccount, statement: Statement, result: Booked, file_sha256: str) -> StatementRejected:
    return StatementRejected(
        statement_id=result.statement_id,
        bank_account_id=held.bank_account_id,
        file_sha256=file_sha256,
        statement_number=statement.number,
        reason=result.reason or "unreadable",
        detail=(result.detail or "it does not add up")[:500],
    )


async def _book(
    conn: AsyncConnection,
    held: BankAccount,
    statement: Statement,
    entries: Sequence[Entry],
    confirmation: str,
    result: Booked,
    now: datetime,
) -> None:
    keyed = list(numbered(one for entry in entries if entry.status == "booked" for one in entry.transactions))
    ours = [(key, one) for key, one in keyed if one.day >= held.start_date]
    payments = [(key, one) for key, one in ours if one.kind == "payment"]
    for start in range(0, len(payments), SLICE):
        await _book_payments(conn, held, payments[start : start + SLICE], confirmation, statement.kind, result, now)
    others = [(key, one) for key, one in ours if one.kind != "payment"]
    if confirmation == "booked" and others:  # a notification of anything else waits for the statement
        await _book_others(conn, held, others, result, now)
    await _resolve_totals(conn, held, now)


async def _book_payments(
    conn: AsyncConnection,
    held: BankAccount,
    rows: Sequence[tuple[str, Transaction]],
    confirmation: str,
    source: str,
    result: Booked,
    now: datetime,
) -> None:
    days = {key: f"{key}@{one.day.isoformat()}" for key, one in rows}
    known = await bank.known(conn, held.tenant_id, held.bank_account_id, [*days, *days.values()])
    ends = [one.end_to_end_id for _, one in rows if one.end_to_end_id]
    by_end = await bank.notified(conn, held.tenant_id, held.bank_account_id, ends) if ends and confirmation == "booked" else {}
    virtual = await bank.virtual_ibans(
        conn, held.tenant_id, held.bank_account_id, [one.virtual_iban for _, one in rows if one.virtual_iban]
    )
    new, confirm = [], []
    for key, one in rows:
        match = known.get(key)
        if match is not None and match.confirmation == "booked" and match.booking_date != one.day and confirmation == "booked":
            key = days[key]  # noqa: PLW2901 - the reference again on another day: another transaction
            match = known.get(key)
        if match is None and one.end_to_end_id:
            match = _by_end(by_end, one)
        if match is None:
            new.append((named_id("payment", held.tenant_id, held.bank_account_id, key), key, one, virtual.get(one.virtual_iban or "")))
        elif confirmation == "booked" and match.confirmation == "notified":
            confirm.append(match.payment_id)
    stored = (
        await bank.insert_payments(conn, held, new, confirmation=confirmation, source=source, at=machine_now(), now=now) if new else set()
    )
    await publish(conn, [_received(held, row, confirmation, source) for row in new if row[0] in stored])
    result.new_payments += len(stored)
    result.confirmed += await _confirm(conn, held, confirm, now)


def _by_end(by_end: dict[tuple[str, int], list[bank.Known]], one: Transaction) -> bank.Known | None:
    """A payment notified without the bank's reference, or with one that the statement lacks, taken once by its EndToEndId."""
    found = by_end.get((one.end_to_end_id or "", one.amount_minor), [])
    for at, match in enumerate(found):
        if not (match.transaction_key.startswith("ref:") and one.bank_reference):
            return found.pop(at)
    return None


def _received(held: BankAccount, row: tuple[UUID, str, Transaction, UUID | None], confirmation: str, source: str) -> Outgoing:
    payment_id, _, one, virtual = row
    return Outgoing(
        held.tenant_id,
        PaymentReceived(
            version=1,
            payment_id=payment_id,
            bank_account_id=held.bank_account_id,
            amount_minor=one.amount_minor,
            currency=one.currency,
            booking_date=one.day,
            value_date=one.value_date or one.day,
            confirmation="booked" if confirmation == "booked" else "notified",
            source=source,
            allocations=[],
            unapplied_minor=one.amount_minor,
            returned_minor=0,
            refunded_minor=0,
            virtual_iban_id=virtual,
        ),
        held.entity_id,
    )


async def _confirm(conn: AsyncConnection, held: BankAccount, payment_ids: Sequence[UUID], now: datetime) -> int:
    """The booked entry confirms payments that were notified: their state is published again, by the event that fits it."""
    if not payment_ids:
        return 0
    books = await lock(conn, payments=[(held.tenant_id, payment_id) for payment_id in payment_ids])
    for key, payment in books.payments.items():
        if payment.confirmation == "notified":
            payment.confirmation = "booked"
            acts = {"received": "received", "matched": "matched", "returned": "returned"}
            books.acts[key] = {acts.get(payment.status, "unapplied")}
    await save_and_publish(conn, books, now, {}, keep_looks=True)
    return len(books.acts)


async def _book_others(
    conn: AsyncConnection, held: BankAccount, rows: Sequence[tuple[str, Transaction]], result: Booked, now: datetime
) -> None:
    ids = [named_id("movement", held.tenant_id, held.bank_account_id, key) for key, _ in rows]
    there = await fetch(
        conn,
        "SELECT movement_id FROM movement WHERE tenant_id = :tenant AND movement_id = ANY(CAST(:ids AS uuid[]))",
        tenant=held.tenant_id,
        ids=ids,
    )
    known = {row[0] for row in there}
    fresh = [(movement, one) for movement, (_, one) in zip(ids, rows, strict=True) if movement not in known]
    explained, returns = await take_back(conn, held, [one for _, one in fresh], now)
    outcomes = zip(fresh, explained, strict=True)
    await bank.insert_movements(conn, held, [(movement, one, one.kind == "other" or known) for (movement, one), known in outcomes])
    result.returns += returns


async def _resolve_totals(conn: AsyncConnection, held: BankAccount, now: datetime) -> None:
    """Batch totals whose details are all here: the details are booked with them."""
    rows = await fetch(
        conn,
        "SELECT m.movement_id, array_agg(p.payment_id) FROM movement m JOIN payment p ON p.tenant_id = m.tenant_id "
        "AND p.bank_account_id = m.bank_account_id AND p.entry_reference = m.bank_reference WHERE m.tenant_id = :tenant "
        "AND m.bank_account_id = :account AND NOT m.resolved AND m.kind = 'total' GROUP BY m.tenant_id, m.movement_id, m.amount_minor "
        "HAVING sum(p.amount_minor) = m.amount_minor",
        tenant=held.tenant_id,
        account=held.bank_account_id,
    )
    if not rows:
        return
    await run(
        conn,
        "UPDATE movement SET resolved = true WHERE tenant_id = :tenant AND movement_id = ANY(CAST(:ids AS uuid[]))",
        tenant=held.tenant_id,
        ids=[row[0] for row in rows],
    )
    await _confirm(conn, held, [payment_id for row in rows for payment_id in row[1]], now)


async def book_notifications(
    conn: AsyncConnection, held: BankAccount, told: Sequence[tuple[Transaction, UUID | None]], now: datetime
) -> list[UUID]:
    """Stores payments of one account that a signed notification told of, each with its virtual IBAN's id.

    Returns their ids in the order told, whether they are new or were there. Two with one identity are one payment.
    """
    await bank.hold_account(conn, held.bank_account_id, alone=False)
    rows = []
    for one, virtual_iban_id in told:
        key = one.identity()
        rows.append((named_id("payment", held.tenant_id, held.bank_account_id, key), key, one, virtual_iban_id))
    new = list({row[0]: row for row in rows}.values())
    stored = await bank.insert_payments(conn, held, new, confirmation="notified", source="notification", at=machine_now(), now=now)
    await publish(conn, [_received(held, row, "notified", "notification") for row in new if row[0] in stored])
    return [row[0] for row in rows]
