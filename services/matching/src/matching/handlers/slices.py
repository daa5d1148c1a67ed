"""Long statements: what waits in slices is booked by a job, each slice with its own commit, so that a crash goes on where it was.

Rules:
- payments come before what takes payments back, and batch totals are looked at when all is booked;
- each worker books slices of payments, two at a time of one statement (`bank.hold_half`), where nothing of them is known yet: a slice that
  touches anything is begun again and booked alone, as what comes after the payments is;
- what payments name for sure is settled with it (ADR 18); what hinders deciding does not hinder money from coming in: then they are only
  booked, and decided on when their PaymentReceived comes round;
- while the outbox is full the job waits.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from shared import failures, outbox
from shared.clock import monotonic
from shared.jobs import JobContext
from shared.logging import log
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.engine.parties import compact
from matching.domain.statements import Transaction
from matching.handlers.apart import told_by
from matching.handlers.ingest import Line, TouchedError, book_lines
from matching.handlers.settling import LEFT
from matching.handlers.totals import details_after_all, resolve_totals
from matching.storage import bank, statements

OTHERS = 1_000_000_000
"""Slices of what is no payment are numbered from here: returns come after the payments that they take back."""
OUTBOX_FULL = 20_000
ROUND_SECONDS = 4.0
"""How long the job books for one tenant before the next one's turn."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[tuple[str, Transaction]])


def packed(lines: Sequence[Line]) -> bytes:
    """A slice as it is stored."""
    return _ENCODER.encode(lines)


async def import_slices(context: JobContext, tenant_id: UUID) -> None:
    """Job: books what waits, a slice at a time, for some seconds. Raises what hinders a slice from being booked."""
    until, more, beside = monotonic() + ROUND_SECONDS, True, True
    while more and monotonic() < until:
        try:
            more = await _book_next(context, tenant_id, beside=beside, settle=True)
        except Exception as error:  # noqa: BLE001 - it may be the deciding: what hinders the booking is raised by the last try
            if beside:  # it may be what others do at the same moment
                log.info("a slice is booked alone", why=failures.told(error))
                beside = False
                continue
            LEFT.labels("slice").inc()
            log.warning("payments of a statement could not be decided on as they are booked", error=failures.told(error))
            more = await _book_next(context, tenant_id, beside=False, settle=False)


async def _book_next(context: JobContext, tenant_id: UUID, *, beside: bool, settle: bool) -> bool:
    """Books the slice that is next; returns whether there may be more. Raises TouchedError for what is not to be booked beside others."""
    async with context.database.transaction(tenant_id) as conn:
        if await outbox.depth(conn, OUTBOX_FULL) >= OUTBOX_FULL:
            return False
        kept = await statements.importing(conn, tenant_id)
        if kept is not None:
            await book_slice(conn, tenant_id, kept, context.now, beside=beside, settle=settle)
        return kept is not None


async def book_slice(
    conn: AsyncConnection, tenant_id: UUID, kept: statements.Kept, now: datetime, *, beside: bool = False, settle: bool = False
) -> bool:
    """Books the next slice of a statement; after the last one the statement is booked.

    Returns whether there was one. `beside`: of payments that touch nothing, while others book such (TouchedError where there is none).
    `settle` as in `book_lines`.
    """
    held = await bank.account(conn, tenant_id, kept.account)
    if held is None:
        raise LookupError("the account of a statement is gone")
    if beside:
        await bank.hold_half(conn, held.bank_account_id)
        if await statements.importing(conn, tenant_id) != kept:  # whoever has the other half is at the same one
            raise TouchedError("another statement's turn has come")
    else:
        await bank.hold_account(conn, held.bank_account_id, alone=True)
    body = await statements.take_slice(conn, tenant_id, kept.statement_id, below=OTHERS if beside else None)
    if body is not None:
        lines = _DECODER.decode(body)
        origin, told = await told_by(conn, held, kept.statement_id, kept.kind, lines)
        if beside and [key for key, _ in told] != [key for key, _ in lines]:
            raise TouchedError("another statement has some of it")
        await book_lines(conn, held, origin._replace(beside=beside), told, now, settle=settle)
        await details_after_all(conn, held, told, now, beside=beside)
        return True
    if beside:
        raise TouchedError("no payments are left")
    await resolve_totals(conn, held, now)
    await statements.settle(conn, tenant_id, kept.statement_id, "booked")
    return False


async def forget_waiting(conn: AsyncConnection, tenant_id: UUID, ibans: Container[str], names: Iterable[str]) -> None:
    """Takes what tells of erased customers off the transactions that wait in slices. What each is known by was noted before."""
    wanted = {compact(name) for name in names} - {""}
    for statement_id, number in await statements.slices(conn, tenant_id):
        body = await statements.hold_slice(conn, tenant_id, statement_id, number)
        if body is None:  # booked meanwhile
            continue
        lines = _DECODER.decode(body)
        theirs = [
            one
            for _, one in lines
            if one.counterparty_iban in ibans
            or wanted.intersection(compact(name or "") for name in (one.counterparty_name, one.ultimate_name))
        ]
        for one in theirs:
            one.counterparty_name, one.counterparty_iban, one.ultimate_name, one.remittance = None, None, None, []
        if theirs:
            await statements.put_back(conn, tenant_id, statement_id, number, _ENCODER.encode(lines))
