"""The events that changed books call for: every version drawn under its row's lock.

An item's change is OpenItemChanged, and with it InvoicePaid, InvoiceClosed or InvoiceReopened where its end or new
beginning came by it. A payment's events share one state and one version: that nothing of it is unapplied any more is told by
whichever event says what became of it, so PaymentUnapplied is published only while something is. Accounts are added to when all
else is done, and AccountBalanceChanged says what they hold then, once a transaction: two workers whose batches share a customer
wait for each other's commit alone. Payments that wait are looked at again when something that they may be for owes again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from contracts.envelope import MAX_EVENT_BYTES, Envelope
from contracts.items import (
    AccountBalanceChanged,
    InvoiceClosed,
    InvoicePaid,
    InvoiceReopened,
    ItemInstalment,
    OpenItemChanged,
    OpenItemState,
    Settled,
)
from contracts.payments import (
    Allocation,
    Exchange,
    PaymentMatched,
    PaymentReceived,
    PaymentRefunded,
    PaymentReturned,
    PaymentState,
    PaymentUnapplied,
    PaymentUnmatched,
)
from shared.db import at_end
from shared.outbox import Outgoing, prepare, publish, put
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Account, Books, Item, Key, Payment, instalments_open
from matching.domain.books import Allocation as Allocated
from matching.domain.returns import return_class
from matching.handlers.given_up import stand_again
from matching.storage.account_balances import Balance, add_to_accounts
from matching.storage.allocations import restore_value_dates
from matching.storage.books import Decided, Look, save
from matching.storage.payments import wake

_Written = TypeVar("_Written")
_Made = TypeVar("_Made")
TOLD_BYTES = MAX_EVENT_BYTES - 8_192
"""Of allocations in an event of a payment (ADR 19): what is left is for all else that it says."""
TOLD_SURELY = 16
"""Allocations that have room whatever they say: each has a text of 500 characters at most (2,000 bytes) and some 300 bytes more."""
_PAYMENT_EVENTS: tuple[tuple[str, type[PaymentState]], ...] = (
    ("received", PaymentReceived),
    ("unmatched", PaymentUnmatched),
    ("matched", PaymentMatched),
    ("unapplied", PaymentUnapplied),
    ("returned", PaymentReturned),
    ("refunded", PaymentRefunded),
)


async def save_and_publish(
    conn: AsyncConnection,
    books: Books,
    now: datetime,
    causes: Mapping[Key, Envelope],
    *,
    decisions: Sequence[Decided] = (),
    looks: Mapping[Key, Look] | None = None,
    keep_looks: bool = False,
) -> None:
    """Writes what was done to the books and publishes it. `causes`: envelopes by payment or item; the rest as `save`.

    The events are built and encoded while the database writes the rows: versions are drawn before either.
    """
    await stand_again(conn, books)
    if None in books.changed_allocations.values():
        await restore_value_dates(conn, books)
    why = _causes(books, causes)
    saving = save(conn, books, now, decisions=decisions, looks=looks, keep_looks=keep_looks)
    _, prepared = await meanwhile(saving, lambda: prepare(_events(books, why)))
    reopened = [books.items[key] for key, before in books.items_before.items() if before is not None and not before[0]]
    await wake(conn, [item for item in reopened if item.open_minor and item.kind != "credit_note"], books.acts)
    if added := books.added():
        at_end(conn, _tell_balances, (added, why))
    put(conn, prepared)


async def meanwhile(writing: Coroutine[Any, Any, _Written], make: Callable[[], _Made]) -> tuple[_Written, _Made]:
    """What the database answers to a statement, and what is made while it is at it."""
    task = asyncio.create_task(writing)
    try:
        for _ in range(3):  # lets the statement out: it is sent when the loop has come round
            await asyncio.sleep(0)
        made = make()
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return await task, made  # what the database says comes as it is: a group of errors would hide that it is only unavailable


async def _tell_balances(conn: AsyncConnection, changes: Sequence[tuple[Sequence[Account], Mapping[Key, Envelope]]]) -> None:
    """Adds to the accounts what all that was saved in this transaction adds to them."""
    sums: dict[Key, Account] = {}
    why: dict[Key, Envelope] = {}
    for accounts, causes in changes:
        for account in accounts:
            key = (account.tenant_id, account.account_id)
            if key in causes:
                why.setdefault(key, causes[key])
            if (known := sums.setdefault(key, account)) is not account:
                known.open_minor += account.open_minor
                known.unapplied_minor += account.unapplied_minor
                known.unused_credits_minor += account.unused_credits_minor
    events = [
        Outgoing(now.tenant_id, account_event(sums[now[:2]], now), sums[now[:2]].entity_id, why.get(now[:2]))
        for now in await add_to_accounts(conn, list(sums.values()))
    ]
    await publish(conn, events)


def _causes(books: Books, causes: Mapping[Key, Envelope]) -> Mapping[Key, Envelope]:
    """What led to each change: an item's is its payment's, an account's that of what changed on it first."""
    if not causes:
        return causes
    why = dict(causes)
    for tenant_id, payment_id, item_id in books.changed_allocations:
        if (cause := why.get((tenant_id, payment_id))) is not None:
            why.setdefault((tenant_id, item_id), cause)
    for key in books.acts:
        account_id = books.payments[key].account_id
        if account_id is not None and key in why:
            why.setdefault((key[0], account_id), why[key])
    for key in books.items_before:
        if key in why:
            why.setdefault((key[0], books.items[key].account_id), why[key])
    return why


def _events(books: Books, why: Mapping[Key, Envelope]) -> Iterator[Outgoing]:
    for key, acts in books.acts.items():
        payment = books.payments[key]
        for act, cls in _PAYMENT_EVENTS:
            if act in acts:
                yield Outgoing(payment.tenant_id, payment_event(cls, payment), payment.entity_id, why.get(key))
    for key, before in books.items_before.items():
        item = books.items[key]
        yield Outgoing(item.tenant_id, item_event(item), item.entity_id, why.get(key), turn(item, before))
        if before is not None and (before[1], item.status) == ("paid", "closed"):  # who was told that it is paid
            yield Outgoing(item.tenant_id, item_event(item, InvoiceReopened), item.entity_id, why.get(key))


def payment_event(cls: type[PaymentState], payment: Payment) -> PaymentState:
    """A payment's whole public state as an event of that class. Text, names and IBANs stay here."""
    allocations, further = _told(payment)
    return cls(
        version=payment.version,
        payment_id=payment.payment_id,
        bank_account_id=payment.bank_account_id,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        booking_date=payment.booking_date,
        value_date=payment.value_date,
        confirmation=payment.confirmation,  # type: ignore[arg-type] # the table's CHECK has the same two values
        source=payment.source,
        allocations=allocations,
        unapplied_minor=payment.unapplied_minor,
        returned_minor=payment.returned_minor,
        refunded_minor=payment.refunded_minor,
        virtual_iban_id=payment.virtual_iban_id,
        payer_customer_id=payment.payer_customer_id,
        unapplied_reason=payment.unapplied_reason,
        candidate_customer_ids=payment.candidate_customer_ids or [],
        return_reason=payment.return_reason,
        refund_pending_minor=payment.refund_pending_minor,
        return_class=return_class(payment.return_reason),
        further_allocations=further,
    )


def _told(payment: Payment) -> tuple[list[Allocation], int]:
    """The allocations that a payment's event names, by item where there are many, and how many more there are."""
    allocations = [_allocation(held) for held in payment.allocations.values()]
    if len(allocations) <= TOLD_SURELY:
        return allocations, 0
    allocations.sort(key=lambda one: one.item_id.int)
    sizes = accumulate(len(msgspec.json.encode(one)) + 1 for one in allocations)
    told = sum(size <= TOLD_BYTES for size in sizes)
    return allocations[:told], len(allocations) - told


def _allocation(held: Allocated) -> Allocation:
    return Allocation(
        item_id=held.item_id,
        debtor_id=held.debtor_id,
        invoice_number=held.invoice_number,
        amount_minor=held.amount_minor,
        rule=held.rule,
        exchange=None
        if held.exchange is None
        else Exchange(
            item_amount_minor=held.exchange.item_amount_minor,
            rate=f"{held.exchange.rate.normalize():f}",
            source=held.exchange.source,
        ),
    )


def turn(item: Item, before: tuple[int, str, str | None] | None) -> type[OpenItemState] | None:
    """The end or new beginning that came by a change; `before`: open amount, status and cause as they were."""
    if item.status == "open":
        return InvoiceReopened if before is not None and before[0] == 0 else None
    if before is None or before[1:] != (item.status, item.close_cause):
        return InvoicePaid if item.status == "paid" else InvoiceClosed
    return None


def item_event(item: Item, cls: type[OpenItemState] = OpenItemChanged) -> OpenItemState:
    """An item's whole public state."""
    dues, amounts = item.instalment_dues, item.instalment_amounts
    return cls(
        version=item.version,
        item_id=item.item_id,
        kind=item.kind,  # type: ignore[arg-type] # the table's CHECK has the same values
        customer_id=item.customer_id,
        source_system=item.source_system,
        invoice_number=item.invoice_number,
        currency=item.currency,
        issue_date=item.issue_date,
        original_minor=item.original_minor,
        open_minor=item.open_minor,
        disputed_minor=min(item.contested_minor, item.open_minor),
        settled=Settled(
            cash_minor=item.cash_minor,
            discount_minor=item.discount_minor,
            credit_minor=item.credit_minor,
            charges_minor=item.charges_minor,
            withheld_minor=item.withheld_minor,
            set_off_minor=item.set_off_minor,
            written_off_minor=item.written_off_minor,
        ),
        instalments=[
            ItemInstalment(number=at + 1, due_date=dues[at], amount_minor=amounts[at], open_minor=part)
            for at, part in enumerate(instalments_open(dues, amounts, item.open_minor))
        ],
        status=item.status,  # type: ignore[arg-type] # the table's CHECK has the same values
        close_cause=item.close_cause,
        value_date=item.value_date,
    )


def account_event(account: Account, now: Balance) -> AccountBalanceChanged:
    """What a customer owes an entity in a currency, as it is now."""
    return AccountBalanceChanged(
        version=now.version,
        account_id=now.account_id,
        customer_id=account.customer_id,
        currency=account.currency,
        open_minor=now.open_minor,
        unapplied_minor=now.unapplied_minor,
        unused_credits_minor=now.unused_credits_minor,
    )
