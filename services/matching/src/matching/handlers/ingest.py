"""What a bank says becomes payments: files and single notifications.

Rules:
- one bank transaction is one payment, however often and in whatever file it arrives (the chain of identity is in
  `matching.domain.statements`); a notified payment is confirmed by the booked entry of the same identity;
- a bank that uses a reference again on another booking day means another transaction, and so do two entries of one statement;
- a notified payment says what its booked entry, or a later notification, says and it lacked; it counts on the day on which it was booked;
- a report of the day (camt.052, MT942, interim BAI2) and a pending entry notify; what statements of later days do not have is withdrawn;
- a batch total waits for its details (`matching.handlers.totals`);
- a return takes back the payment of its amount that it names; one that names none or several waits for a person;
- entries before the account's start date belong to what was before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from contracts.payments import PaymentReceived
from shared.clock import machine_now
from shared.failures import UnavailableError
from shared.ids import named_id
from shared.jobs import JobContext
from shared.outbox import Outgoing, prepare, put
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.bankfiles.schemes import as_issued
from matching.domain.books import Key
from matching.domain.rows import received
from matching.domain.statements import ROLES, Transaction
from matching.handlers.publishing import meanwhile, payment_event, save_and_publish
from matching.handlers.refunds import recognise
from matching.handlers.returns import meet_waiting, take_back, withdraw_payments
from matching.handlers.settling import settle_sure, tell
from matching.storage import bank, movements, payments
from matching.storage.bank import BankAccount
from matching.storage.books import lock, look_again
from matching.storage.confirmations import Said, fill_in, lacking
from matching.storage.reconciliation import reconciled
from matching.storage.told_before import ToldBefore, told_before

SLICE = 1000
"""Payments per statement of SQL."""
SAME_PAYMENT = timedelta(days=10)
"""How far apart a notification and its booked entry may be dated."""
WITHDRAW_AFTER = timedelta(days=5)
"""How many days the booked statements must have gone on without a notified payment until it is withdrawn."""


Line = tuple[str, Transaction]
"""A transaction and its key."""


class TouchedError(Exception):
    """What is told touches something that is known of the account: nothing else may be booked on it at the same moment."""


class Origin(NamedTuple):
    """The statement, report or notification that tells of transactions (a signed one has no id).

    `apart`: balances prove that no other has any of them. `beside`: others of it may be booked on the account at the same moment, and what
    is known of it is not to be touched (TouchedError).
    """

    statement_id: UUID | None
    kind: str
    apart: bool
    beside: bool = False


@dataclass(slots=True)
class Counts:
    """What became of transactions."""

    new_payments: int = 0
    confirmed: int = 0
    returns: int = 0


async def book_lines(
    conn: AsyncConnection, held: BankAccount, origin: Origin, lines: Sequence[Line], now: datetime, *, settle: bool = False
) -> Counts:
    """Books transactions of one statement, report or notification of an account that the caller holds.

    Booked is only what a statement says is booked; anything else is notified, and only money that came in is. `settle`: payments that
    name for sure what they pay are settled with it; what hinders that is raised.
    """
    result = Counts()
    final = ROLES[origin.kind] == "statement"
    ours = [(key, one) for key, one in lines if one.day >= held.start_date]
    await recognise(conn, held, ours)
    payments = [(key, one) for key, one in ours if one.kind == "payment"]
    _as_compared(held, [one for _, one in payments])
    for start in range(0, len(payments), SLICE):
        part = payments[start : start + SLICE]
        for confirmation in ("booked", "notified"):
            rows = [(key, one) for key, one in part if (final and one.status == "booked") == (confirmation == "booked")]
            if rows:
                await _book_payments(conn, held, origin, rows, confirmation, result, now, settle=settle)
    others = [(key, one) for key, one in ours if one.kind != "payment" and one.status == "booked"]
    if final and others:  # a notification of anything else waits for the statement
        if origin.beside:
            raise TouchedError("a refund comes back")
        await _book_others(conn, held, others, result, now)
    return result


def _as_compared(held: BankAccount, payments: Sequence[Transaction]) -> None:
    """References as invoices bear them. Which transaction it is stays as the bank wrote it.

    Of several references, one for each of the payer's invoices, none says what all of the money is for: they go with the text.
    """
    finnish = held.iban is not None and held.iban.startswith("FI")
    for one in payments:
        if finnish:
            one.references = [as_issued(reference) for reference in one.references]
        if len(values := dict.fromkeys(reference.value for reference in one.references)) > 1:
            said = " ".join(one.remittance).split()
            one.references, one.remittance = [], [*one.remittance, *(value for value in values if value not in said)]


async def _book_payments(
    conn: AsyncConnection,
    held: BankAccount,
    origin: Origin,
    rows: Sequence[Line],
    confirmation: str,
    result: Counts,
    now: datetime,
    *,
    settle: bool,
) -> None:
    source, statement = origin.kind.lower(), origin.statement_id
    known = await bank.known(conn, held.tenant_id, held.bank_account_id, [key for key, _ in rows])
    taken = {match.payment_id for match in known.values()}
    days = {  # the reference again on another day: another transaction
        key: f"{key}@{one.day.isoformat()}"
        for key, one in rows
        if confirmation == "booked" and key in known and known[key].confirmation == "booked" and known[key].booking_date != one.day
    }
    again = await bank.known(conn, held.tenant_id, held.bank_account_id, list(days.values())) if days else {}
    before = await told_before(conn, held, [one for _, one in rows])
    ibans = [one.virtual_iban for _, one in rows if one.virtual_iban]
    virtual = await bank.virtual_ibans(conn, held.tenant_id, held.bank_account_id, ibans) if ibans else {}
    new, said, confirmed = [], [], {}
    for told, one in rows:
        key = days.get(told, told)
        match = (again if told in days else known).get(key) or _told_before(before, one, taken, confirmation, origin)
        virtual_id = virtual.get(one.virtual_iban or "")
        if virtual_id is not None and one.counterparty_iban == one.virtual_iban:  # a file that names nobody but the creditor, who is us
            one.counterparty_name = one.counterparty_iban = None
        if match is None:
            new.append(new_payment(held, key, one, virtual_id, confirmation, source))
        elif match.confirmation == "notified":
            booked_key = key if confirmation == "booked" and key != match.transaction_key else None
            said.append(Said(match.payment_id, one, virtual_id, booked_key))
            if confirmation == "booked":
                confirmed[match.payment_id] = one.day
    if origin.beside and (known or len(new) < len(rows) or await movements.waiting_returns(conn, held, 1)):
        raise TouchedError("it tells of payments that are known, or returns wait for theirs")
    stored = await store(conn, held, new, now, statement_id=statement, settle=settle) if new else set()
    result.new_payments += len(stored)
    if confirmation == "booked" and not origin.beside:
        result.returns += await meet_waiting(conn, held, stored, now)
    result.confirmed += await confirm_notified(conn, held, confirmed, now, said, statement)


def _told_before(before: ToldBefore, one: Transaction, taken: set[UUID], confirmation: str, origin: Origin) -> bank.Known | None:
    """The same payment under another key: by its TxId or UETR, else by its EndToEndId; each is taken once.

    One of the two is booked and the other notified, a few days apart at most (the nearest one); or both are told in different ways on one
    day, and, where both are booked, by two statements that may have it both.
    """
    for by, match in sorted(before.of(one), key=lambda found: (found[0] != "transaction_id", abs(found[1].booking_date - one.day))):
        told_apart = match.transaction_key.startswith("ref:") and one.bank_reference
        mine = origin.statement_id is not None and match.statement_id == origin.statement_id  # an earlier slice's entry is another one
        if match.payment_id in taken or mine:
            continue
        if told_apart and by == "end_to_end_id":  # which payers use again
            continue
        if (confirmation == "notified") != (match.confirmation == "notified"):
            same = abs(match.booking_date - one.day) <= SAME_PAYMENT
        else:
            # where neither has a reference of the bank's, the key has told them apart
            same = match.booking_date == one.day and (match.transaction_key.startswith("ref:") or one.bank_reference is not None)
            same = same and not (origin.apart and confirmation == "booked" and by == "end_to_end_id")
        if same:
            taken.add(match.payment_id)
            return match
    return None


def new_payment(held: BankAccount, key: str, one: Transaction, virtual_iban_id: UUID | None, confirmation: str, source: str) -> bank.New:
    """A payment that nobody has looked at, of a transaction with its key."""
    payment = received(
        held.tenant_id,
        named_id("payment", held.tenant_id, held.bank_account_id, key),
        bank_account_id=held.bank_account_id,
        entity_id=held.entity_id,
        currency=one.currency,
        amount_minor=one.amount_minor,
        booking_date=one.day,
        value_date=one.value_date or one.day,
        confirmation=confirmation,
        source=source,
        virtual_iban_id=virtual_iban_id,
    )
    return bank.New(payment, key, one)


async def store(
    conn: AsyncConnection,
    held: BankAccount,
    new: Sequence[bank.New],
    now: datetime,
    *,
    statement_id: UUID | None = None,
    settle: bool = False,
) -> set[UUID]:
    """Stores new payments of an account, and tells of them; returns the ids of those that were not there. `settle` as in `book_lines`."""
    told = [payment_event(PaymentReceived, one.payment) for one in new]  # as it is before anything is decided
    settled = await settle_sure(conn, new) if settle else None
    done = settled.books.booked if settled else frozenset()
    events = [Outgoing(held.tenant_id, event, held.entity_id, done=(held.tenant_id, event.payment_id) in done) for event in told]
    storing = bank.insert_payments(conn, held, new, at=machine_now(), now=now, statement_id=statement_id)
    stored, prepared = await meanwhile(storing, lambda: prepare(events))
    if len(stored) < len(events):
        prepared = prepare(out for out, event in zip(events, told, strict=True) if event.payment_id in stored)
    put(conn, prepared)
    if settled is not None:
        await tell(conn, settled, stored, now)
    return stored


async def confirm_notified(
    conn: AsyncConnection,
    held: BankAccount,
    confirmed: Mapping[UUID, date],
    now: datetime,
    said: Sequence[Said] = (),
    statement_id: UUID | None = None,
) -> int:
    """Booked entries confirm payments that were notified (payment to day): their state is published again, by the event that fits it.

    `said` is what the bank says, in that statement, of these, or says once more of others that are notified: what they lacked is filled
    in, and what of them is unapplied is looked at anew. Returns how many were confirmed.
    """
    told = await lacking(conn, held.tenant_id, said) if said else set()
    payment_ids = [*dict.fromkeys([*confirmed, *(one.payment_id for one in said if one.payment_id in told)])]
    if not payment_ids:
        return 0
    accounts = await payments.withdrawn_on(conn, held.tenant_id, payment_ids)  # what was withdrawn counts there again
    books = await lock(conn, accounts=accounts, payments=[(held.tenant_id, payment_id) for payment_id in payment_ids])
    looks: dict[Key, tuple[int, datetime | None]] = {}
    count = 0
    virtual = {one.payment_id: one.virtual_iban_id for one in said}
    for key, payment in books.payments.items():
        withdrawn = payment.withdrawn_minor > 0
        confirms = key[1] in confirmed and (payment.confirmation == "notified" or withdrawn)
        if confirms:
            count += 1
            payment.confirmation = "booked"
            payment.booking_date = confirmed[key[1]]
            if withdrawn:  # it came after all
                if payment.account_id is not None and (key[0], payment.account_id) not in books.accounts:
                    raise UnavailableError("a payment was moved at the same moment")
                books.come_after_all(payment)
        if confirms or key[1] in told:
            payment.virtual_iban_id = payment.virtual_iban_id or virtual.get(key[1])
            unknown = payment.account_id is None  # what is booked may be no receivable
            if payment.status != "received" and payment.unapplied_minor and (withdrawn or unknown or key[1] in told):
                looks[key] = (payment.looks, machine_now())
            acts = {status: status for status in ("received", "matched", "returned", "refunded")}
            books.acts[key] = {acts.get(payment.status, "unapplied")}
    days = {key[1]: payment.booking_date for key, payment in books.payments.items() if key in books.acts}
    await fill_in(conn, held.tenant_id, days, [one for one in said if one.payment_id in days], statement_id)
    await save_and_publish(conn, books, now, {}, keep_looks=True)
    await look_again(conn, looks)
    return count


async def withdraw(context: JobContext, tenant_id: UUID) -> None:
    """Job: a notified payment that the statements of its days do not have has not come: all of it is taken back.

    Only statements withdraw: an account of which the bank sends notifications alone is left as it is.
    """
    async with context.database.transaction(tenant_id) as conn:
        accounts = await reconciled(conn, tenant_id)
    for bank_account_id in accounts:
        async with context.database.transaction(tenant_id) as conn:
            await bank.hold_account(conn, bank_account_id, alone=True)  # no statement confirms any of them meanwhile
            missing = await payments.not_come(conn, tenant_id, bank_account_id, WITHDRAW_AFTER.days, SLICE)
            await withdraw_payments(conn, tenant_id, missing, context.now)


async def _book_others(
    conn: AsyncConnection, held: BankAccount, rows: Sequence[tuple[str, Transaction]], result: Counts, now: datetime
) -> None:
    ids = [named_id("movement", held.tenant_id, held.bank_account_id, key) for key, _ in rows]
    # a bank that uses a reference again on another booking day means another movement
    again = [named_id("movement", held.tenant_id, held.bank_account_id, f"{key}@{one.day.isoformat()}") for key, one in rows]
    known = await movements.booked_on(conn, held.tenant_id, ids + again)
    which = [other if known.get(one_id, row[1].day) != row[1].day else one_id for one_id, other, row in zip(ids, again, rows, strict=True)]
    fresh = [(movement, one) for movement, (_, one) in zip(which, rows, strict=True) if movement not in known]
    resolved, returns = await take_back(conn, held, [one for _, one in fresh], now)
    await movements.insert(conn, held, [(*row, done) for row, done in zip(fresh, resolved, strict=True)], at=machine_now())
    result.returns += returns


async def book_notifications(
    conn: AsyncConnection, held: BankAccount, told: Sequence[tuple[Transaction, UUID | None]], now: datetime, *, settle: bool = False
) -> list[UUID]:
    """Stores payments of one account that a signed notification told of, each with its virtual IBAN's id; returns their ids in that order.

    Two with one identity are one payment, and so is one that a file told of before. `settle` as in `book_lines`.
    """
    await bank.hold_account(conn, held.bank_account_id, alone=False)
    _as_compared(held, [one for one, _ in told])
    rows = [new_payment(held, one.identity(), one, virtual_iban_id, "notified", "notification") for one, virtual_iban_id in told]
    known = await bank.known(conn, held.tenant_id, held.bank_account_id, [row.key for row in rows])
    before = await told_before(conn, held, [one for one, _ in told])
    origin, taken = Origin(None, "notification", apart=False), {match.payment_id for match in known.values()}
    new, said, ids = dict[str, bank.New](), list[Said](), dict[str, UUID]()
    for row, (_, virtual_iban_id) in zip(rows, told, strict=True):
        if row.key in ids:
            continue
        match = known.get(row.key) or _told_before(before, row.told, taken, "notified", origin)
        ids[row.key] = match.payment_id if match else row.payment.payment_id
        if match is None:
            new[row.key] = row
        elif match.confirmation == "notified" and row.key not in known:
            said.append(Said(match.payment_id, row.told, virtual_iban_id, None))
    if new:
        await store(conn, held, list(new.values()), now, settle=settle)
    if said:
        await confirm_notified(conn, held, {}, now, said)
    return [ids[row.key] for row in rows]
