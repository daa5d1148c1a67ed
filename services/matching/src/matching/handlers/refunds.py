"""Refunds: unapplied money goes back to its payer by our own transfer.

The way: requested; approved (alone up to the entity's limit, and only to the payer's own IBAN; else by another person), which
takes the money out of what can be allocated; sent, in a file for the bank, once that has booked the payment; paid, once the bank
has booked the debit with the refund's EndToEndId, or one that can only be it (`refund_names`); returned, once a credit has brought the
money back. A refund that is not sent yet can be taken back, one that the bank refused as well; one whose payment has not come is.
A debit that names a refund before that is approved waits: of its amount it closes the refund with the approval; any other one keeps it out
of files, or the money would go out twice. Rows are locked after their payment's.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from shared.clock import machine_now
from shared.days import business_day
from shared.ids import new_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.iban import is_valid

from matching import pain001
from matching.bankfiles.accounts import is_iban
from matching.domain.books import Books, Key, Payment
from matching.domain.statements import Transaction
from matching.handlers.limits import second_person
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.handlers.refund_names import END, MESSAGE_DIGITS, MESSAGES, find
from matching.handlers.refusals import refused
from matching.latin import readable
from matching.storage import bank, movements
from matching.storage import refunds as stored
from matching.storage.bank import BankAccount
from matching.storage.books import look_again
from matching.storage.erasure import forget_refunds
from matching.storage.limits import given_back_alone, limit_of
from matching.storage.refunds import Refund

FILE_MAX = 10_000
"""Refunds in one file."""
AHEAD = timedelta(days=360)
"""How far ahead a file may be executed: as far as a bank that says so takes SEPA files (Ulster Bank, Bankline help, "What is the Requested
Execution Date?"); others normally take 365 days (AMC Banking, "Payment date").
"""


async def request(
    conn: AsyncConnection,
    tenant_id: UUID,
    payment_id: UUID,
    amount: int | None,
    *,
    reason: str,
    creditor_name: str | None,
    creditor_iban: str | None,
    by: str,
    now: datetime,
) -> Refund:
    """Asks for a refund of `amount` of a payment, or of all that is unapplied; to its payer, or to the IBAN given."""
    books, payment = await _payment(conn, tenant_id, payment_id)
    amount = amount or payment.unapplied_minor
    if not 0 < amount <= payment.unapplied_minor:
        raise refused(409, "payment-has-less", "The payment has less than that unapplied", "/amount_minor")
    payer_name, payer_iban, known = await stored.payer_of(conn, tenant_id, payment_id)
    name, iban = creditor_name or payer_name, creditor_iban or (payer_iban if _is_payable(payer_iban or "") else None)
    if not known:
        title = "The payment did not come in on a bank account: the bank cannot give it back"
        raise refused(422, "payment-without-account", title, "/payment_id")
    if not name or not iban:
        lacking = [place for place, value in (("/creditor_name", name), ("/creditor_iban", iban)) if not value]
        raise refused(422, "creditor-unknown", "The payer's name or IBAN is not known: name them", *lacking)
    if not readable(name):
        title = "No letter of the creditor's name can be written in the Latin characters that banks take: name the creditor in these"
        raise refused(422, "creditor-name-unwritable", title, "/creditor_name")
    if await bank.account(conn, tenant_id, iban) or await bank.account_of_virtual(conn, tenant_id, iban):
        title = "The IBAN is one of our own: what is paid to it has not gone back, and comes in as a new payment"
        raise refused(422, "creditor-is-ours", title, "/creditor_iban")
    refund_id = new_id()
    given = Refund(
        refund_id,
        payment_id,
        payment.entity_id,
        payment.bank_account_id,
        payment.currency,
        amount,
        reason,
        name,
        iban,
        f"REFUND-{refund_id.hex[:28]}",
        "requested",
        by,
        None,
        now,
        None,
        None,
    )
    await stored.insert(conn, tenant_id, given)
    limit = await limit_of(conn, tenant_id, payment.entity_id, payment.currency)
    if iban == payer_iban and amount + await given_back_alone(conn, tenant_id, payment_id) <= limit:
        await _approve(conn, books, payment, given, by=by, now=now)
    return given


def _is_payable(account: str) -> bool:
    """Whether a payer's account, which a file tells as it likes, is an IBAN: for one that is not the bank would refuse all of our file."""
    return is_iban(account) and is_valid(account, check_country=False)


async def decide(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID, *, approve: bool, by: str, now: datetime) -> Refund:
    """Another person approves a requested refund, or anybody refuses it."""
    books, payment, given = await _locked(conn, tenant_id, refund_id)
    if given.status != "requested":
        raise Problem(409, "refund-decided", "The refund is decided already")
    if approve:
        second_person(given.requested_by, by)
        if given.amount_minor > payment.unapplied_minor:
            raise Problem(409, "payment-has-less", "The payment has less than that unapplied")
        await _approve(conn, books, payment, given, by=by, now=now)
    else:
        await _set(conn, tenant_id, given, "refused", by=by, now=now)
    return given


async def cancel(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID, *, bank_refused: bool, by: str, now: datetime) -> Refund:
    """An approved refund is taken back before it is sent, or after that because the bank refused it: the money is unapplied again."""
    books, payment, given = await _locked(conn, tenant_id, refund_id)
    if given.status != ("sent" if bank_refused else "approved"):
        raise Problem(409, "refund-not-so-far", "The refund is not at the state that this ends")
    await _set(conn, tenant_id, given, "cancelled", by=by, now=now)
    await _take_back(conn, tenant_id, books, [(payment.payment_id, refund_id, given.amount_minor)], now)
    return given


async def refused_by_bank(
    conn: AsyncConnection, tenant_id: UUID, refunds: Sequence[Refund], reasons: Mapping[UUID, str], *, by: str, now: datetime
) -> None:
    """The bank will not execute these refunds, for `reasons`: those that are still sent are taken back."""
    books = await lock_with_items(conn, sorted({(tenant_id, one.payment_id) for one in refunds}, key=str))
    await _take_back(conn, tenant_id, books, await stored.refuse(conn, tenant_id, reasons, by=by, now=now), now)


async def cancel_unsent(conn: AsyncConnection, books: Books, payments: Sequence[Payment]) -> None:
    """Payments have not come, or go back: approved refunds of them are taken back, and the money is unapplied again. They are locked."""
    if not payments:
        return
    cancelled = await stored.cancel_approved(conn, {one.tenant_id for one in payments}, [one.payment_id for one in payments])
    over: dict[UUID, list[UUID]] = {}
    for tenant_id, payment_id, refund_id, amount in cancelled:
        books.cancel_refund(books.payments[tenant_id, payment_id], amount)
        over.setdefault(tenant_id, []).append(refund_id)
    for tenant_id, ids in over.items():
        await forget_refunds(conn, tenant_id, ids)


async def write_file(
    conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, execution: date, *, by: str, now: datetime
) -> tuple[UUID, list[Refund]]:
    """Puts approved refunds of an account into one pain.001 file, at most FILE_MAX; returns its id and what is in it.

    Those that are SEPA credit transfers, or those that are not, whichever waits longest: the others are for the next file.

    What the bank has only told of is not given back yet: it may not come. Nor is that of which a return waits to be explained: the bank
    may have given it back already, and whoever looks at the return cancels the refund. Raises Problem where no bank would execute the
    file on that day: it refuses the file, or moves the day, and every refund in it would stand as sent.
    """
    today = business_day(now)
    if not today <= execution <= today + AHEAD:
        title = f"A file is executed today ({today}) at the earliest, and at most {AHEAD.days} days ahead"
        raise refused(422, "execution-date-unfit", title, "/execution_date")
    account = await bank.account_by_id(conn, tenant_id, bank_account_id)
    if account is None:
        raise Problem(404, "account-unknown", "There is no such bank account")
    if not readable(account.holder_name):
        title = "No letter of the account's holder can be written in the Latin characters that banks take: set the holder in these"
        raise refused(422, "holder-name-unwritable", title, "/bank_account_id")
    refunds = await stored.sendable(conn, tenant_id, bank_account_id, FILE_MAX)
    if not refunds:
        raise Problem(
            409, "nothing-to-send", "No approved refund waits of a payment that the account's bank has booked, and of which no return waits"
        )
    debtor = pain001.Debtor(account.holder_name, account.iban, account.number, account.bank_id, account.currency)
    refunds = [refunds[at] for at in pain001.together(debtor, [one.creditor_iban for one in refunds])]
    file_id = new_id()
    transfers = [
        pain001.Transfer(one.end_to_end_id, one.amount_minor, one.creditor_name, one.creditor_iban, f"Refund {one.end_to_end_id}")
        for one in refunds
    ]
    content = pain001.write(f"{MESSAGES}{file_id.hex[:MESSAGE_DIGITS]}", now, execution, debtor, transfers)
    await stored.insert_file(conn, tenant_id, file_id, bank_account_id, content, refunds, execution=execution, by=by, now=now)
    await stored.set_status(conn, tenant_id, [one.refund_id for one in refunds], "sent", file=file_id)
    return file_id, refunds


async def recognise(conn: AsyncConnection, held: BankAccount, lines: Sequence[tuple[str, Transaction]]) -> None:
    """A credit with the EndToEndId of a refund of the account is no payment: the refund comes back, though the file does not say so.

    `lines`: each with its key. What was notified as a payment stays the payment that it is.
    """
    back = [(key, one) for key, one in lines if one.kind == "payment" and END.fullmatch(one.end_to_end_id or "")]
    if not back:
        return
    known = await stored.named(conn, held.tenant_id, held.bank_account_id, {str(one.end_to_end_id) for _, one in back})
    ours = {given.end_to_end_id for given in known}
    told = await bank.known(conn, held.tenant_id, held.bank_account_id, [key for key, _ in back])
    for key, one in back:
        if one.end_to_end_id in ours and key not in told:
            one.kind = "other"


async def close(conn: AsyncConnection, held: BankAccount, moved: Sequence[Transaction], now: datetime) -> list[bool | None]:
    """Booked movements of an account close the refunds that they are (`refund_names`) and whose amount they have, or bring paid ones back.

    Says which of them did; None for one that is no refund's. What names one that it does not fit is for a person to look at, and so is
    what comes back before it has gone out: until the debit is booked, which it is met with. A debit of a whole file is all of its refunds.
    """
    found = await find(conn, held, moved)
    told = await _close(conn, held, [*moved, *(part for parts in found.files.values() for part in parts)], now)
    of_parts = iter(told[len(moved) :])
    for at, parts in found.files.items():
        closed = [next(of_parts) for _ in parts]
        told[at] = bool(closed) and all(closed)
    for at in found.doubtful:
        told[at] = False
    return told[: len(moved)]


async def _close(conn: AsyncConnection, held: BankAccount, moved: Sequence[Transaction], now: datetime) -> list[bool | None]:
    names = {one.end_to_end_id for one in moved if one.end_to_end_id}
    seen = await stored.named(conn, held.tenant_id, held.bank_account_id, names) if names else []
    if not seen:
        return [None] * len(moved)
    paid = {one.end_to_end_id for one in seen} & {one.end_to_end_id for one in moved if not one.credit}
    early = await movements.waiting_credits(conn, held, paid) if paid else []
    booked = [*(one for _, one in early), *moved]
    outcomes: list[bool | None] = [None] * len(booked)
    named: dict[str | None, list[int]] = {}
    for at, one in sorted(enumerate(booked), key=lambda pair: pair[1].credit):  # what goes out, before it comes back
        named.setdefault(one.end_to_end_id, []).append(at)
    books = await lock_with_items(conn, sorted({(held.tenant_id, one.payment_id) for one in seen}, key=str))
    over: dict[str, list[UUID]] = {"paid": [], "returned": []}
    looks: dict[Key, datetime | None] = {}
    for given in await stored.named(conn, held.tenant_id, held.bank_account_id, names, lock=True):
        payment = books.payments[held.tenant_id, given.payment_id]
        for at in named[given.end_to_end_id]:
            one = booked[at]
            outcomes[at] = one.amount_minor == given.amount_minor and given.status in ({"paid"} if one.credit else {"approved", "sent"})
            if not outcomes[at]:
                continue
            if one.credit:
                books.reverse_refund(payment, given.amount_minor)
                looks[held.tenant_id, given.payment_id] = machine_now()
            else:
                books.clear(payment, given.amount_minor, "refunds")
            given.status = "returned" if one.credit else "paid"
            over[given.status].append(given.refund_id)
    for status, ids in over.items():
        await stored.set_status(conn, held.tenant_id, ids, status)
    await forget_refunds(conn, held.tenant_id, over["paid"])
    await save_and_publish(conn, books, now, {}, keep_looks=True)
    await look_again(conn, {key: (books.payments[key].looks, at) for key, at in looks.items()})
    if met := [movement_id for (movement_id, _), outcome in zip(early, outcomes, strict=False) if outcome]:
        await movements.resolve(conn, held.tenant_id, met)
    return outcomes[len(early) :]


async def explained(conn: AsyncConnection, held: BankAccount, payment_id: UUID, moved: Transaction, now: datetime) -> int:
    """A movement is of a payment's refund, whose EndToEndId it bears, and of a fee, which is ours; or it bears none, and its amount is a
    refund's: how much of that it moved.

    A paid refund comes back less the fee, and is unapplied again whole; one that was sent went out, and the fee with it. 0 where it is not
    so. Raises a 403 Problem for a fee above what one person alone may give away.
    """
    ready = {"paid"} if moved.credit else {"approved", "sent"}
    if moved.end_to_end_id:
        named = await stored.named(conn, held.tenant_id, held.bank_account_id, [moved.end_to_end_id])
    else:
        known = await stored.of_amounts(conn, held.tenant_id, held.bank_account_id, [moved.amount_minor])
        named = [one for one in known if moved.kind != "return" and one.payment_id == payment_id and one.status in ready][:1]
    if not any(one.payment_id == payment_id for one in named):
        return 0
    books, payment = await _payment(conn, held.tenant_id, payment_id)
    [given] = await stored.named(conn, held.tenant_id, held.bank_account_id, [one.end_to_end_id for one in named], lock=True)
    fee = given.amount_minor - moved.amount_minor if moved.credit else moved.amount_minor - given.amount_minor
    if given.status not in ready or fee < 0:
        return 0
    if fee > await limit_of(conn, held.tenant_id, held.entity_id, held.currency):
        raise Problem(403, "difference-above-limit", "One person may not give away so much", f"a fee of {fee} beside the refund")
    if moved.credit:
        books.reverse_refund(payment, given.amount_minor, fee)
    else:
        books.clear(payment, given.amount_minor, "refunds", fee)
        await forget_refunds(conn, held.tenant_id, [given.refund_id])
    await stored.set_status(conn, held.tenant_id, [given.refund_id], "returned" if moved.credit else "paid")
    looks = {(held.tenant_id, payment_id): machine_now()} if moved.credit else None
    await save_and_publish(conn, books, now, {}, looks=looks, keep_looks=not moved.credit)
    return given.amount_minor


async def _payment(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> tuple[Books, Payment]:
    books = await lock_with_items(conn, [(tenant_id, payment_id)])
    payment = books.payments.get((tenant_id, payment_id))
    if payment is None:
        raise refused(404, "payment-unknown", "There is no such payment", "/payment_id")
    return books, payment


async def _locked(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID) -> tuple[Books, Payment, Refund]:
    """A refund and its payment, locked in this order: payment, refund."""
    first = await _known(conn, tenant_id, refund_id)
    books, payment = await _payment(conn, tenant_id, first.payment_id)
    return books, payment, await _known(conn, tenant_id, refund_id, lock=True)


async def _known(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID, *, lock: bool = False) -> Refund:
    given = await stored.find(conn, tenant_id, refund_id, lock=lock)
    if given is None:
        raise Problem(404, "refund-unknown", "There is no such refund")
    return given


async def _take_back(
    conn: AsyncConnection, tenant_id: UUID, books: Books, cancelled: Sequence[tuple[UUID, UUID, int]], now: datetime
) -> None:
    """What cancelled refunds (payment, refund, amount) had taken is unapplied again, and looked at anew."""
    for payment_id, _, amount in cancelled:
        books.cancel_refund(books.payments[tenant_id, payment_id], amount)
    await forget_refunds(conn, tenant_id, [refund_id for _, refund_id, _ in cancelled])
    await save_and_publish(conn, books, now, {}, looks={(tenant_id, payment_id): machine_now() for payment_id, _, _ in cancelled})


async def _approve(conn: AsyncConnection, books: Books, payment: Payment, given: Refund, *, by: str, now: datetime) -> None:
    """The money is nobody's to allocate any more; where somebody has sent it already, its debit closes the refund at once."""
    tenant_id = payment.tenant_id
    books.refund(payment, given.amount_minor)
    debit = await movements.waiting_debit(conn, tenant_id, given.bank_account_id, given.end_to_end_id, given.amount_minor)
    await _set(conn, tenant_id, given, "paid" if debit else "approved", by=by, now=now)
    if debit:
        books.clear(payment, given.amount_minor, "refunds")
        await movements.resolve(conn, tenant_id, [debit])
        await forget_refunds(conn, tenant_id, [given.refund_id])
    await save_and_publish(conn, books, now, {})


async def _set(conn: AsyncConnection, tenant_id: UUID, given: Refund, status: str, *, by: str, now: datetime) -> None:
    given.status, given.decided_by, given.decided_at = status, by, now
    await stored.save(conn, tenant_id, given)
