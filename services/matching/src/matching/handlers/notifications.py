"""Payments that a bank's signed notifications tell of: booked, and settled as far as they name for sure what they pay (ADR 16, 18).

Invariants:
- what a notification tells of is booked all or not at all, and answered when that is committed;
- nothing that hinders deciding hinders money from coming in: it is booked without, and the worker decides when PaymentReceived comes round;
- notifications of one account that come while others of it are being booked are booked together after those, in the order in which they
  came: a transaction costs about the same for one payment and for twenty. No other account waits for them.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from uuid import UUID

import structlog
from shared import failures
from shared.clock import BusinessClock
from shared.days import business_day
from shared.db import Database
from shared.telemetry import links, traceparent, tracer
from shared.web.problems import FieldError, Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import VALUE_APART, Transaction
from matching.handlers.ingest import SAME_PAYMENT, book_notifications
from matching.handlers.settling import LEFT
from matching.storage import bank

TOGETHER = 1_000
"""Payments booked together, where one notification has no more."""
SETTLED = 500
"""Payments booked together that are settled with it: where more come at once, taking them in goes first, and the worker settles."""
log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """A payment as a bank tells of it: the account's IBAN (or the virtual one credited), or its number where it has none."""

    account: str
    is_iban: bool
    transaction: Transaction


@dataclass(slots=True, eq=False)
class _Asked:
    tenant_id: UUID
    told: Sequence[Told]
    trace: str
    answer: asyncio.Future[list[UUID]]


class Desk:
    """Where a process takes notifications in."""

    def __init__(self, database: Database, clock: BusinessClock) -> None:
        self._database, self._clock = database, clock
        self._waiting: dict[tuple[UUID, str], list[_Asked]] = {}  # by account; one is there for as long as somebody works for it
        self._work: set[asyncio.Task[None]] = set()

    async def take_in(self, tenant_id: UUID, told: Sequence[Told]) -> list[UUID]:
        """Books the payments that one notification tells of; returns their ids in its order, new or not.

        Raises Problem 422 where one is on an account that is none of ours, or cannot be one of its account.
        """
        asked = _Asked(tenant_id, told, traceparent(), asyncio.get_running_loop().create_future())
        account = (tenant_id, told[0].account)
        if (waiting := self._waiting.get(account)) is not None:
            waiting.append(asked)
        else:
            self._waiting[account] = [asked]
            # in a context of its own: the work outlives the request that began it
            work = asyncio.get_running_loop().create_task(self._work_for(account), context=Context())
            self._work.add(work)
            work.add_done_callback(self._work.discard)
        return await asked.answer

    async def _work_for(self, account: tuple[UUID, str]) -> None:
        waiting = self._waiting[account]
        group: list[_Asked] = []
        try:
            while waiting:
                group = _first(waiting)
                await self._answer(group)
        finally:
            del self._waiting[account]
            for asked in (*group, *waiting):  # called off: so are they
                asked.answer.cancel()

    async def _answer(self, group: Sequence[_Asked]) -> None:
        """Books a group's payments, and answers each of it: settled, else all of them alone, else each by itself, to find what is wrong."""
        with tracer.start_as_current_span("notifications", links=links(asked.trace for asked in group if asked.trace)):
            if sum(len(asked.told) for asked in group) <= SETTLED:
                if (error := await self._failed(group, settle=True)) is None:
                    return
                log.warning(
                    "notified payments could not be decided on as they are booked", notifications=len(group), error=failures.told(error)
                )
                LEFT.labels("notification").inc(len(group))
            error = await self._failed(group, settle=False)
            for asked in group:
                # another try of each finds no database that is not there: they would wait for it one after the other
                if error is not None and len(group) > 1 and not failures.is_unavailable(error):
                    _refuse(asked, await self._failed([asked], settle=False))
                else:
                    _refuse(asked, error)

    async def _failed(self, group: Sequence[_Asked], *, settle: bool) -> Exception | None:
        """Books those of a group that are not answered yet; returns what hindered it."""
        try:
            await self._book([asked for asked in group if not asked.answer.done()], settle=settle)
        except Exception as error:  # noqa: BLE001 - see the invariants: it is tried otherwise, or raised where the answer is waited for
            return error
        return None

    async def _book(self, group: Sequence[_Asked], *, settle: bool) -> None:
        """In one transaction, account by account in the order of their ids, as they are held."""
        if not group:
            return
        tenant_id, now = group[0].tenant_id, self._clock.now()
        today = business_day(now)
        located: dict[tuple[str, str | None], tuple[bank.BankAccount, UUID | None]] = {}
        fitting: list[_Asked] = []
        rows: list[tuple[bank.BankAccount, Transaction, UUID | None]] = []
        ids: dict[int, UUID] = {}
        async with self._database.transaction(tenant_id) as conn:
            for asked in group:
                try:
                    rows += await _placed(conn, asked, located, today)
                    fitting.append(asked)
                except Problem as problem:
                    _refuse(asked, problem)
            by_account: dict[UUID, list[int]] = {}
            for at, (held, _, _) in enumerate(rows):
                by_account.setdefault(held.bank_account_id, []).append(at)
            for account_id in sorted(by_account):
                numbers = by_account[account_id]
                booked = await book_notifications(conn, rows[numbers[0]][0], [rows[at][1:] for at in numbers], now, settle=settle)
                ids |= zip(numbers, booked, strict=True)
        first = 0
        for asked in fitting:
            if not asked.answer.done():  # its request may be gone
                asked.answer.set_result([ids[at] for at in range(first, first + len(asked.told))])
            first += len(asked.told)


def _first(waiting: list[_Asked]) -> list[_Asked]:
    """Takes out those that came first: up to TOGETHER payments, one notification at least."""
    count, payments = 1, len(waiting[0].told)
    while count < len(waiting) and payments + len(waiting[count].told) <= TOGETHER:
        payments += len(waiting[count].told)
        count += 1
    group = waiting[:count]
    del waiting[:count]
    return group


def _refuse(asked: _Asked, error: Exception | None) -> None:
    if error is not None and not asked.answer.done():
        asked.answer.set_exception(error)


async def _placed(
    conn: AsyncConnection, asked: _Asked, located: dict[tuple[str, str | None], tuple[bank.BankAccount, UUID | None]], today: date
) -> list[tuple[bank.BankAccount, Transaction, UUID | None]]:
    """Each payment with its account and the virtual IBAN credited. `located`: what is known already, added to."""
    found = []
    for at, one in enumerate(asked.told):
        place = (one.account, one.transaction.virtual_iban)
        if place not in located:
            located[place] = await _located(conn, asked.tenant_id, one)
        held, virtual_id = located[place]
        _fits(one.transaction, held, at if len(asked.told) > 1 else None, today)
        found.append((held, one.transaction, virtual_id))
    return found


async def _located(conn: AsyncConnection, tenant_id: UUID, told: Told) -> tuple[bank.BankAccount, UUID | None]:
    """The account that a payment is on and the virtual IBAN credited. Raises a 422 Problem where it is none of ours."""
    virtual_id = None
    held = await bank.account(conn, tenant_id, told.account)
    for iban in (told.transaction.virtual_iban, told.account if held is None and told.is_iban else None):
        if iban and (found := await bank.account_of_virtual(conn, tenant_id, iban)):
            if held is not None and held.bank_account_id != found[0].bank_account_id:
                raise Problem(422, "virtual-iban-elsewhere", "The virtual IBAN belongs to another account")
            held, virtual_id = found
    if held is None:
        raise Problem(422, "account-unknown", "The payment is on an account that is none of ours", f"account {told.account}")
    return held, virtual_id


def _fits(one: Transaction, held: bank.BankAccount, at: int | None, today: date) -> None:
    """Raises a 422 Problem where a payment cannot be one of the account; `at` is its number in a batch."""
    where = "" if at is None else f"/payments/{at}"
    if held.currency != one.currency:
        errors = [FieldError(f"{where}/currency", "currency-differs", "is not the account's", "body")]
        detail = f"account {held.number} is in {held.currency}"
        raise Problem(422, "currency-differs", "The account is kept in another currency", detail, errors=errors)
    if one.day < held.start_date:
        errors = [FieldError(f"{where}/booking_date", "before-start", "is before the account's start", "body")]
        raise Problem(422, "before-start", "The payment is from before the account's start date", errors=errors)
    if one.day > today + SAME_PAYMENT:
        errors = [FieldError(f"{where}/booking_date", "booking-ahead", f"is more than {SAME_PAYMENT.days} days ahead", "body")]
        raise Problem(422, "booking-ahead", "The payment is of a day on which no entry can be it", f"today is {today}", errors=errors)
    if one.value_date is not None and abs(one.value_date - one.day) > VALUE_APART:
        errors = [FieldError(f"{where}/value_date", "value-date-apart", "is more than a year from the booking date", "body")]
        raise Problem(422, "value-date-apart", "No bank gives a payment such a value date", errors=errors)
