"""Refunds: unapplied money goes back to its payer by our own transfer.

The way: requested; approved (alone up to the entity's limit, and only to the payer's own IBAN; else by another person), which
takes the money out of what can be allocated; sent, in a file for the bank, once that has booked the payment; paid, once the bank
has booked the debit with the refund's EndToEndId; returned, once a credit with it has brought the money back. A refund that is not
sent yet can be taken back, one that the bank refused as well; one whose payment has not come is.
Rows are locked after their payment's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from shared.clock import machine_now
from shared.db import run
from shared.ids import new_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching import pain001
from matching.domain.books import Books, Key, Payment
from matching.domain.statements import Transaction
from matching.handlers.limits import given_back_alone, limit_of, second_person
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.handlers.refusals import refused
from matching.storage.bank import BankAccount
from matching.storage.books import look_again
from matching.storage.erasure import forget_refunds
from matching.storage.rows import fetch

FILE_MAX = 10_000
"""Refunds in one file."""


@dataclass(slots=True)
class Refund:
    """A refund as it stands."""

    refund_id: UUID
    payment_id: UUID
    entity_id: UUID
    bank_account_id: UUID
    currency: str
    amount_minor: int
    reason: str
    creditor_name: str
    creditor_iban: str
    end_to_end_id: str
    status: str
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None
    refund_file_id: UUID | None


COLUMNS = (
    "refund_id, payment_id, entity_id, bank_account_id, currency, amount_minor, reason, creditor_name, creditor_iban, end_to_end_id, "
    "status, requested_by, decided_by, requested_at, decided_at, refund_file_id"
)


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
    (payer_name, payer_iban, known), *_ = await fetch(
        conn,
        "SELECT debtor_name, debtor_iban, EXISTS (SELECT 1 FROM bank_account b WHERE b.tenant_id = p.tenant_id "
        "AND b.bank_account_id = p.bank_account_id) FROM payment p WHERE tenant_id = :tenant AND payment_id = :id",
        tenant=tenant_id,
        id=payment_id,
    )
    name, iban = creditor_name or payer_name, creditor_iban or payer_iban
    if not known:
        title = "The payment did not come in on a bank account: the bank cannot give it back"
        raise refused(422, "payment-without-account", title, "/payment_id")
    if not name or not iban:
        place = "/creditor_iban" if name else "/creditor_name"
        raise refused(422, "creditor-unknown", "The payer's name or IBAN is not known: name them", place)
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
    await run(
        conn,
        f"INSERT INTO refund (tenant_id, {COLUMNS}) VALUES (:tenant, :id, :payment, :entity, :account, :currency, :amount, :reason, :name, "  # noqa: S608 - ours
        ":iban, :e2e, 'requested', :by, NULL, :now, NULL, NULL)",
        tenant=tenant_id,
        id=refund_id,
        payment=payment_id,
        entity=given.entity_id,
        account=given.bank_account_id,
        currency=given.currency,
        amount=amount,
        reason=reason,
        name=name,
        iban=iban,
        e2e=given.end_to_end_id,
        by=by,
        now=now,
    )
    own = iban == payer_iban
    if own and amount + await given_back_alone(conn, tenant_id, payment_id) <= await limit_of(
        conn, tenant_id, payment.entity_id, payment.currency
    ):
        await _approve(conn, books, payment, given, by=by, now=now)
    return given


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
    books.cancel_refund(payment, given.amount_minor)
    await _set(conn, tenant_id, given, "cancelled", by=by, now=now)
    await forget_refunds(conn, tenant_id, [refund_id])
    await save_and_publish(conn, books, now, {})
    return given


async def cancel_unsent(conn: AsyncConnection, books: Books, payments: Sequence[Payment]) -> None:
    """Payments have not come: approved refunds of them are taken back, and the money is unapplied again. The payments are locked."""
    if not payments:
        return
    rows = await fetch(
        conn,
        "UPDATE refund SET status = 'cancelled' WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND payment_id = ANY(CAST(:ids AS uuid[])) "
        "AND status = 'approved' RETURNING tenant_id, payment_id, refund_id, amount_minor",
        tenants=sorted({payment.tenant_id for payment in payments}),
        ids=[payment.payment_id for payment in payments],
    )
    over: dict[UUID, list[UUID]] = {}
    for tenant_id, payment_id, refund_id, amount in rows:
        books.cancel_refund(books.payments[tenant_id, payment_id], amount)
        over.setdefault(tenant_id, []).append(refund_id)
    for tenant_id, ids in over.items():
        await forget_refunds(conn, tenant_id, ids)


async def write_file(
    conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, execution: date, *, by: str, now: datetime
) -> tuple[UUID, list[Refund]]:
    """Puts all approved refunds of an account into one pain.001 file, at most FILE_MAX; returns its id and what is in it.

    What the bank has only told of is not given back yet: it may not come.
    """
    account = await fetch(
        conn,
        "SELECT holder_name, iban, number, currency FROM bank_account WHERE tenant_id = :tenant AND bank_account_id = :id",
        tenant=tenant_id,
        id=bank_account_id,
    )
    if not account:
        raise Problem(404, "account-unknown", "There is no such bank account")
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM refund WHERE tenant_id = :tenant AND bank_account_id = :account AND status = 'approved' "  # noqa: S608 - ours
        "AND EXISTS (SELECT 1 FROM payment p WHERE p.tenant_id = refund.tenant_id AND p.payment_id = refund.payment_id "
        f"AND p.confirmation = 'booked') ORDER BY refund_id LIMIT {FILE_MAX} FOR UPDATE",
        tenant=tenant_id,
        account=bank_account_id,
    )
    refunds = [Refund(*row) for row in rows]
    if not refunds:
        raise Problem(409, "nothing-to-send", "No approved refund waits of a payment that this account's bank has booked")
    file_id = new_id()
    transfers = [
        pain001.Transfer(one.end_to_end_id, one.amount_minor, one.creditor_name, one.creditor_iban, f"Refund {one.end_to_end_id}")
        for one in refunds
    ]
    content = pain001.write(f"REFUNDS-{file_id.hex[:27]}", now, execution, pain001.Debtor(*account[0]), transfers)
    await run(
        conn,
        "INSERT INTO refund_file (tenant_id, refund_file_id, bank_account_id, content, sha256, refunds, amount_minor, execution_date, "
        "created_by, created_at) VALUES (:tenant, :id, :account, :content, :sha256, :refunds, :amount, :execution, :by, :now)",
        tenant=tenant_id,
        id=file_id,
        account=bank_account_id,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        refunds=len(refunds),
        amount=sum(one.amount_minor for one in refunds),
        execution=execution,
        by=by,
        now=now,
    )
    await run(
        conn,
        "UPDATE refund SET status = 'sent', refund_file_id = :file WHERE tenant_id = :tenant AND refund_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        file=file_id,
        ids=[one.refund_id for one in refunds],
    )
    return file_id, refunds


async def close(conn: AsyncConnection, held: BankAccount, moved: Sequence[Transaction], now: datetime) -> list[bool | None]:
    """Booked movements of an account close the refunds whose EndToEndId and amount they carry, or bring paid ones back.

    Says which of them did; None for one that names no refund. What names one that it does not fit is for a person to look at.
    """
    outcomes: list[bool | None] = [None] * len(moved)
    named: dict[str, list[int]] = {}
    for at, one in sorted(enumerate(moved), key=lambda pair: pair[1].credit):  # what goes out, before it comes back
        if one.end_to_end_id:
            named.setdefault(one.end_to_end_id, []).append(at)
    if not named:
        return outcomes
    query = (
        f"SELECT {COLUMNS} FROM refund WHERE tenant_id = :tenant AND bank_account_id = :account "  # noqa: S608 - ours
        "AND end_to_end_id = ANY(CAST(:ends AS text[])) ORDER BY refund_id"
    )
    keys = {"tenant": held.tenant_id, "account": held.bank_account_id, "ends": list(named)}
    rows = await fetch(conn, query, **keys)
    if not rows:
        return outcomes
    books = await lock_with_items(conn, sorted({(held.tenant_id, Refund(*row).payment_id) for row in rows}, key=str))
    over: dict[str, list[UUID]] = {"paid": [], "returned": []}
    looks: dict[Key, datetime | None] = {}
    for row in await fetch(conn, query + " FOR UPDATE", **keys):
        given = Refund(*row)
        payment = books.payments[held.tenant_id, given.payment_id]
        for at in named[given.end_to_end_id]:
            one = moved[at]
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
        await run(
            conn,
            "UPDATE refund SET status = :status WHERE tenant_id = :tenant AND refund_id = ANY(CAST(:ids AS uuid[]))",
            tenant=held.tenant_id,
            status=status,
            ids=ids,
        )
    await forget_refunds(conn, held.tenant_id, over["paid"])
    await save_and_publish(conn, books, now, {}, keep_looks=True)
    await look_again(conn, {key: (books.payments[key].looks, at) for key, at in looks.items()})
    return outcomes


async def _payment(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> tuple[Books, Payment]:
    books = await lock_with_items(conn, [(tenant_id, payment_id)])
    payment = books.payments.get((tenant_id, payment_id))
    if payment is None:
        raise refused(404, "payment-unknown", "There is no such payment", "/payment_id")
    return books, payment


async def _locked(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID) -> tuple[Books, Payment, Refund]:
    """A refund and its payment, locked in this order: payment, refund."""
    query = f"SELECT {COLUMNS} FROM refund WHERE tenant_id = :tenant AND refund_id = :id"  # noqa: S608 - ours
    rows = await fetch(conn, query, tenant=tenant_id, id=refund_id)
    if not rows:
        raise Problem(404, "refund-unknown", "There is no such refund")
    books, payment = await _payment(conn, tenant_id, Refund(*rows[0]).payment_id)
    rows = await fetch(conn, query + " FOR UPDATE", tenant=tenant_id, id=refund_id)
    return books, payment, Refund(*rows[0])


async def _approve(conn: AsyncConnection, books: Books, payment: Payment, given: Refund, *, by: str, now: datetime) -> None:
    books.refund(payment, given.amount_minor)
    await _set(conn, payment.tenant_id, given, "approved", by=by, now=now)
    await save_and_publish(conn, books, now, {})


async def _set(conn: AsyncConnection, tenant_id: UUID, given: Refund, status: str, *, by: str, now: datetime) -> None:
    given.status, given.decided_by, given.decided_at = status, by, now
    await run(
        conn,
        "UPDATE refund SET status = :status, decided_by = :by, decided_at = :now WHERE tenant_id = :tenant AND refund_id = :id",
        tenant=tenant_id,
        id=given.refund_id,
        status=status,
        by=by,
        now=now,
    )
