"""A bank file: its statements are proved, kept apart where they do not add up, and booked slice by slice.

Rules:
- the same file again, and a statement of it, is known by the file's digest and its place in the file;
- a statement that does not add up is stored as rejected, told of, and nothing of it is booked; a good file replaces it, or a second
  person accepts it with a reason, unless parts of it could not be read at all;
- up to a thousand transactions are booked at once; of a longer statement everything waits in slices (`matching.handlers.slices`).
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import BinaryIO
from uuid import UUID

from contracts.payments import StatementRejected
from shared.clock import machine_now
from shared.days import business_day
from shared.ids import named_id
from shared.money import MAX_MINOR
from shared.outbox import Outgoing, publish
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.bankfiles import read
from matching.domain.statements import CurrencyOf, Entry, Ordinals, Statement, is_local_number
from matching.handlers.apart import told_by
from matching.handlers.ingest import SAME_PAYMENT, SLICE, Counts, Line, book_lines
from matching.handlers.limits import second_person
from matching.handlers.slices import OTHERS, book_slice, packed
from matching.handlers.totals import details_after_all, resolve_totals
from matching.storage import bank, statements
from matching.storage.bank import BankAccount

ACCEPTABLE = frozenset({"balance_differs", "balance_missing", "count_differs", "sum_differs"})


@dataclass(slots=True)
class Booked:
    """What became of a statement."""

    statement_id: UUID
    account: str
    iban: str | None
    verdict: str
    reason: str | None = None
    detail: str | None = None
    entries: int = 0
    new_payments: int = 0
    confirmed: int = 0
    returns: int = 0


@dataclass(slots=True)
class _Part:
    """Some of a statement's transactions; the last part says that the statement is complete."""

    statement: Statement
    place: int
    payments: list[Line] = field(default_factory=list)
    others: list[Line] = field(default_factory=list)
    last: bool = False


@dataclass(slots=True)
class _Staged:
    """A statement on its way in: what of it is in memory, and how many slices were written."""

    held: BankAccount
    statement_id: UUID
    known: statements.Kept | None
    payments: list[Line] = field(default_factory=list)
    others: list[Line] = field(default_factory=list)
    slices: list[int] = field(default_factory=lambda: [0, OTHERS])

    def full(self, *, everything: bool) -> list[tuple[int, bytes]]:
        """The slices that are full, or everything there is, off the memory."""
        ready = []
        for index, lines in enumerate((self.payments, self.others)):
            while len(lines) >= SLICE or (everything and lines):
                ready.append((self.slices[index], packed(lines[:SLICE])))
                self.slices[index] += 1
                del lines[:SLICE]
        return ready


async def take_file(conn: AsyncConnection, tenant_id: UUID, file: BinaryIO, digest: str, *, by: str, now: datetime) -> list[Booked]:
    """Takes in every statement of a file. Raises BankFileError, and Problem where an account is none of ours: then nothing is kept."""
    found: list[Booked] = []
    staged: _Staged | None = None
    ours = await bank.accounts(conn, tenant_id)
    async with aclosing(_in_a_thread(_parts(file, lambda account: one.currency if (one := _named(ours, account)) else None))) as parts:
        async for part in parts:
            if staged is None:
                held = _account(ours, part.statement.account)
                staged = await _stage(conn, held, digest, part.place)
            if staged.known is None:
                staged.payments += part.payments
                staged.others += part.others
                if len(staged.payments) + len(staged.others) > SLICE:
                    await statements.put_slices(conn, tenant_id, staged.statement_id, staged.full(everything=False))
            if part.last:
                found.append(await _settle(conn, staged, part.statement, digest, by=by, now=now))
                staged = None
    return found


async def book_statement(
    conn: AsyncConnection, held: BankAccount, statement: Statement, entries: Sequence[Entry], file_sha256: str, now: datetime, by: str = ""
) -> Booked:
    """Takes in one statement whose entries are at hand, and books it at once whatever its size."""
    staged = await _stage(conn, held, file_sha256, 0)
    if staged.known is None:
        ordinals = Ordinals()
        for entry in entries:
            for one in entry.transactions:
                (staged.payments if one.kind == "payment" else staged.others).append((ordinals.key(one), one))
    return await _settle(conn, staged, statement, file_sha256, by=by, now=now, at_once=True)


async def accept(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, *, reason: str, by: str, now: datetime) -> statements.Kept:
    """A second person accepts a statement that does not add up: it is booked as it is. Raises Problem."""
    kept = await statements.kept(conn, tenant_id, statement_id, lock=True)
    if kept is None:
        raise Problem(404, "statement-unknown", "There is no such statement")
    if kept.verdict != "rejected":
        raise Problem(409, "statement-not-rejected", "The statement is not in quarantine")
    if kept.reason not in ACCEPTABLE:
        raise Problem(409, "statement-not-readable", "Parts of the statement could not be read: only a good file replaces it", kept.detail)
    if await statements.replaced(conn, tenant_id, statement_id):
        raise Problem(409, "statement-replaced", "Another statement has taken its place")
    second_person(kept.uploaded_by, by)
    await statements.accept(conn, tenant_id, statement_id, by=by, reason=reason, at=machine_now())
    for _ in range(3):  # a short one has a slice of payments, one of the rest, and the end
        if not await book_slice(conn, tenant_id, kept, now):
            break
    accepted = await statements.kept(conn, tenant_id, statement_id)
    if accepted is None:
        raise Problem(404, "statement-unknown", "There is no such statement")
    return accepted


async def _in_a_thread(parts: Generator[_Part]) -> AsyncGenerator[_Part]:
    """The parts, each read while the one before it is stored: all in one thread, for libxml2's memory belongs to the thread.

    Of a part's statement, which is still being read, only what its head says is known until the last one.
    """
    loop = asyncio.get_running_loop()
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank-file")
    reading = loop.run_in_executor(reader, next, parts, None)
    try:
        while (part := await reading) is not None:
            reading = loop.run_in_executor(reader, next, parts, None)
            yield part
    finally:
        await asyncio.wait([reading])
        reading.cancelled() or reading.exception()  # what is wrong with a part that nobody asks for any more
        await loop.run_in_executor(reader, parts.close)
        reader.shutdown(wait=False)


def _parts(file: BinaryIO, currency_of: CurrencyOf) -> Generator[_Part]:
    """The transactions of a file in parts of some hundreds, with their keys."""
    place, ordinals, part = 0, Ordinals(), None
    for statement, entry in read(file, currency_of):
        part = part or _Part(statement, place)
        if entry is None:
            part.last = True
            yield part
            place, ordinals, part = place + 1, Ordinals(), None
            continue
        for one in entry.transactions:
            (part.payments if one.kind == "payment" else part.others).append((ordinals.key(one), one))
        if len(part.payments) + len(part.others) >= SLICE:
            yield part
            part = None


def _account(ours: Sequence[BankAccount], account: str) -> BankAccount:
    found = _named(ours, account)
    if found is None:
        named = account if account.isalnum() and len(account) <= 34 else "without a number"  # noqa: PLR2004 - ISO 13616
        raise Problem(422, "account-unknown", "The file is about an account that is none of ours", f"account {named}")
    return found


def _named(ours: Sequence[BankAccount], account: str) -> BankAccount | None:
    """The one of our accounts that a file calls so; None where it is none of them, or may be several."""
    for one in ours:
        if one.number == account:
            return one
    others = [one for one in ours if _is(account, one)]
    return others[0] if len(others) == 1 else None


def _is(account: str, ours: BankAccount) -> bool:
    """Whether a file's way of naming an account means ours: a local number for an IBAN; for a number, leading zeros and a bank aside."""
    if ours.iban is not None:
        return is_local_number(account, ours.iban)
    return account.rpartition("/")[2].lstrip("0") == ours.number.lstrip("0")


async def _stage(conn: AsyncConnection, held: BankAccount, digest: str, place: int) -> _Staged:
    statement_id = named_id("statement", held.tenant_id, held.bank_account_id, digest, place)
    await bank.hold_account(conn, statement_id, alone=True)  # the same file brought twice at once; the account itself stays free
    return _Staged(held, statement_id, await statements.kept(conn, held.tenant_id, statement_id))


async def _settle(
    conn: AsyncConnection, staged: _Staged, statement: Statement, digest: str, *, by: str, now: datetime, at_once: bool = False
) -> Booked:
    """The statement is complete: its verdict, and what follows from it."""
    held, tenant_id, statement_id = staged.held, staged.held.tenant_id, staged.statement_id
    result = Booked(statement_id, held.number, held.iban, "booked", entries=statement.entries)
    if staged.known is not None:
        known = staged.known.verdict
        result.verdict, result.reason, result.detail = (
            ("duplicate" if known == "booked" else known),
            staged.known.reason,
            staged.known.detail,
        )
        return result
    wrong = statement.verdict()
    if wrong is None and (day := _ahead(statement, business_day(now))) is not None:
        wrong = ("day_absurd", f"it is of {day}: more than {SAME_PAYMENT.days} days ahead")
    if wrong is None and statement.currency not in {None, held.currency}:
        wrong = ("currency_differs", f"the statement is in {statement.currency}, the account in {held.currency}")
    if abs(statement.booked_minor) > MAX_MINOR:
        statement.booked_minor, wrong = 0, ("unreadable", "its entries sum to more than any account holds")
    if wrong:
        result.verdict, result.reason, result.detail = "rejected", wrong[0], _tidy(wrong[1])[:500]
    elif not at_once and (staged.slices != [0, OTHERS] or len(staged.payments) + len(staged.others) > SLICE):
        result.verdict = "importing"
    # one after the other: of two that tell the same the later one sees the earlier one
    await bank.hold_account(conn, named_id("statements", tenant_id, held.bank_account_id), alone=True)
    await statements.put(
        conn,
        tenant_id=tenant_id,
        statement_id=statement_id,
        bank_account_id=held.bank_account_id,
        file_sha256=digest,
        kind=statement.kind,
        role=statement.role,
        number=_tidy(statement.number),
        sequence=statement.sequence,
        first_day=statement.first_day,
        last_day=statement.last_day,
        opening_minor=statement.opening_minor,
        closing_minor=statement.closing_minor,
        entries_minor=statement.booked_minor,
        entries=statement.entries,
        days=statement.days,
        verdict=result.verdict,
        reason=result.reason,
        detail=result.detail,
        uploaded_by=by,
        received_at=machine_now(),
    )
    if result.verdict == "booked":
        await bank.hold_account(conn, held.bank_account_id, alone=True)
        origin, lines = await told_by(conn, held, statement_id, statement.kind, [*staged.payments, *staged.others])
        counts = await book_lines(conn, held, origin, lines, now)
        await details_after_all(conn, held, lines, now)
        await resolve_totals(conn, held, now)
        _count(result, counts)
        return result
    await statements.put_slices(conn, tenant_id, statement_id, staged.full(everything=True))
    if wrong:
        await publish(conn, [Outgoing(tenant_id, _rejected(held, statement, result, digest), held.entity_id)])
    return result


def _ahead(statement: Statement, today: date) -> date | None:
    """A day that no bank can have booked on yet, nor said that it has booked until then; None where there is none.

    What is pending may be of any day: banks tell of what is due, too.
    """
    until = statement.last_day if statement.role == "statement" else None
    last = max((day for day in (until, statement.last_booked_day) if day), default=today)
    return last if last > today + SAME_PAYMENT else None


def _tidy(text: str) -> str:
    """A text of the bank's on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _count(result: Booked, counts: Counts) -> None:
    result.new_payments, result.confirmed, result.returns = counts.new_payments, counts.confirmed, counts.returns


def _rejected(held: BankAccount, statement: Statement, result: Booked, digest: str) -> StatementRejected:
    return StatementRejected(
        statement_id=result.statement_id,
        bank_account_id=held.bank_account_id,
        file_sha256=digest,
        statement_number=_tidy(statement.number)[:500],
        reason=result.reason or "unreadable",
        detail=result.detail or "it does not add up",
    )
