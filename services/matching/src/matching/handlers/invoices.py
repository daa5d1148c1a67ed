"""Invoices and credit notes of invoicing: they open, change and close items.

Rules:
- origin `history` opens nothing; `opening` opens with what was still open on take-over; else payable opens the item;
- a change that leaves less than what is settled gives the rest back (`lowered`); one that a netting forbids is held up, and followed
  when the netting is taken back, if no newer one has come;
- a cancelled invoice owes nothing: what was given up of it is no loss, what was allocated goes back to the payments, set-offs go back
  to the credit notes; a netting stays until its proof is taken back;
- a credit note that names an invoice is set off against it as far as both are open, or the invoice was written off, whichever comes
  first; the two are never taken in side by side, where neither would see the other;
- payments that wait for an item are matched when it comes.
Whatever the order of arrival, an item stands at the highest version of its invoice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from contracts.envelope import Envelope, Message
from contracts.invoices import InvoiceState
from shared.batches import Context
from shared.clock import machine_now
from shared.failures import PoisonError, UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Account, Books, Item, Key
from matching.domain.engine.index import document_keys
from matching.domain.engine.text import fold
from matching.domain.references import normalised
from matching.handlers.credit_notes import set_off_pairs
from matching.handlers.customers import billed
from matching.handlers.instructions import meet_instructions
from matching.handlers.lowered import release
from matching.handlers.matching import match
from matching.handlers.plans import follow, hold, owed_now
from matching.handlers.publishing import save_and_publish
from matching.storage import held_up
from matching.storage import items as stored
from matching.storage.account_balances import account_id
from matching.storage.books import Open, by_key, lock
from matching.storage.clues import woken
from matching.storage.expected_items import waiting_for
from matching.storage.parties import note_named
from matching.storage.payments import payers_accounts

Reference = tuple[UUID, UUID, str, str, UUID]


async def keep_invoices(conn: AsyncConnection, messages: Sequence[Message[InvoiceState]], ctx: Context) -> None:
    """InvoiceIssued, InvoiceChanged, InvoiceCancelled, CreditNoteIssued: the item of each as its newest version says."""
    told = _newest(messages)
    said, named = await billed(conn, list(told.values()))
    newest = _newest(said)
    if not newest:
        return
    await stored.hold_credits(conn, {key[0] for key in newest}, {key[0] for key, one in newest.items() if one.data.credited_invoice_id})
    waits = await by_key(conn, (key[0] for key in newest))
    plans = await hold(conn, _debtors([*told.values(), *newest.values()]))
    books = await lock_said(conn, newest, _credited(newest) if plans else ())
    owed = owed_now(plans, books)
    contested = await stored.contested(conn, [key for key in newest if key not in books.items])
    changed: list[Item] = []
    unfollowed = []
    freed: dict[Key, None] = {}
    references: list[Reference] = []
    discounts: list[tuple[UUID, UUID, date, int]] = []
    for key in sorted(newest, key=lambda pair: (str(pair[0]), str(pair[1]))):
        message, item = newest[key], books.items.get(key)
        data = message.data
        if item is None:
            item = _new_item(message, contested.get(key, 0))
            books.open(item)
            if data.status == "cancelled":
                books.cancel(item)
        elif data.version > item.invoice_version:
            if data.status == "cancelled":
                freed.update(await _cancel(conn, books, item))
            elif not await change(conn, books, item, message, freed):
                unfollowed.append((told[key], "payable_below_settled", _original(data)))
            item.invoice_version = data.version
            books.touch(item)
        else:
            continue
        changed.append(item)
        references += _references(message)
        discounts += [(*key, term.until, term.percent_bp) for term in data.discounts]
    if not changed:
        return
    references += await meet_instructions(conn, changed if waits.invoices_instructed else [])
    causes: dict[Key, Envelope] = {key: message.envelope for key, message in newest.items()}
    renewed = [item for item in changed if books.items_before[item.tenant_id, item.item_id] is not None]
    await save_and_publish(conn, books, ctx.now, causes, looks=dict.fromkeys(freed, machine_now() + timedelta(seconds=1)))
    await stored.change_terms(conn, renewed)
    whom = {(item.tenant_id, item.item_id): named.get((item.tenant_id, item.item_id)) for item in changed}
    await note_named(conn, whom if named else {key: whom[key] for key in whom if books.items_before[key] is not None})
    again = [(item.tenant_id, item.item_id) for item in renewed]
    await stored.set_references(conn, again, references)
    await stored.set_discounts(conn, again, discounts)
    await _note_held_up(conn, renewed, unfollowed, ctx.now)
    await set_off_pairs(conn, await stored.credit_pairs(conn, [(item.tenant_id, item.item_id) for item in changed]), ctx.now, causes)
    await follow(conn, plans, owed, ctx.now)
    await _meet_waiting(conn, [item for item in changed if item.open_minor], references, ctx, waits)


async def _note_held_up(
    conn: AsyncConnection, renewed: Sequence[Item], unfollowed: Sequence[tuple[Message[InvoiceState], str, int]], now: datetime
) -> None:
    """Notes the versions that nettings hold up, and forgets those that were before them."""
    if netted := [(item.tenant_id, item.item_id) for item in renewed if item.set_off_minor]:
        await held_up.drop(conn, netted)
        await held_up.keep(conn, unfollowed, now)


def _debtors(messages: Iterable[Message[InvoiceState]]) -> set[Key]:
    """Whose payment plans may cover what the messages say anew: no plan knows an invoice before its first version."""
    return {(one.tenant_id, one.data.customer_id) for one in messages if one.data.version > 1 or one.data.credited_invoice_id}


def _credited(newest: Mapping[Key, Message[InvoiceState]]) -> list[Key]:
    """What credit notes are set off against in the same transaction."""
    return [(key[0], of) for key, one in newest.items() if (of := one.data.credited_invoice_id)]


async def _meet_waiting(conn: AsyncConnection, payable: Sequence[Item], references: Sequence[Reference], ctx: Context, waits: Open) -> None:
    """Matches payments that waited for one of these items: by what names it, by whom it is of, by their remittance list."""
    if not payable:
        return
    mine = {(item.tenant_id, item.item_id) for item in payable}
    named = [row for row in references if (row[0], row[4]) in mine]
    waiting = await stored.waiting_payments(conn, payable, [row for row in named if row[3] == "structured"])
    beside = [(tenant, normalised(str(item))) for tenant, item in sorted(mine, key=str)]
    beside += [(item.tenant_id, normalised(item.invoice_number)) for item in payable if item.kind == "credit_note"]  # has no references
    waiting += await waiting_for(conn, [*((row[0], row[2]) for row in named), *(beside if waits.payments_expected else [])])
    if waits.payment_clues:
        values = sorted({(row[0], row[1], fold(row[2])) for row in named})
        waiting += await woken(conn, values, sorted({(item.tenant_id, item.customer_id) for item in payable}))
    if waiting:
        await match(conn, list(dict.fromkeys(waiting)), ctx.now, {})


def _newest(messages: Sequence[Message[InvoiceState]]) -> dict[Key, Message[InvoiceState]]:
    """The highest version of each invoice that opens an item."""
    newest: dict[Key, Message[InvoiceState]] = {}
    for message in messages:
        key = (message.tenant_id, message.data.invoice_id)
        if message.data.origin != "history" and (key not in newest or message.data.version > newest[key].data.version):
            newest[key] = message
    return newest


async def lock_said(conn: AsyncConnection, newest: Mapping[Key, Message[InvoiceState]], beside: Iterable[Key] = ()) -> Books:
    """The books that the messages need, with the set-offs of what is cancelled or lowered below what is settled; and items `beside`.

    Raises UnavailableError when an item moved between looking and locking.
    """
    items = dict.fromkeys((*newest, *beside))
    held = await stored.accounts_of(conn, items)
    meant = [key for key in newest if key in held]
    less = [key for key in meant if newest[key].data.status == "cancelled"]
    if said := {key: (newest[key].data.currency, _original(newest[key].data)) for key in meant if key not in less}:
        less += await stored.settled_beyond(conn, said)
    allocated = await stored.payments_on(conn, less) if less else []
    set_offs = await stored.set_offs_of(conn, less) if less else {}
    partners = [pair for tenant, credit, item in set_offs for pair in ((tenant, credit), (tenant, item))]
    payments = list(dict.fromkeys((tenant, payment) for tenant, payment, _ in allocated))
    accounts = {(key[0], account) for key, account in held.items()}
    if partners:
        accounts |= {(key[0], account) for key, account in (await stored.accounts_of(conn, partners)).items()}
    if payments:
        accounts |= await payers_accounts(conn, payments)
    books = await lock(
        conn,
        accounts=accounts,
        new_accounts=[_account(message) for message in newest.values()],
        payments=payments,
        items=[*items, *partners],
    )
    books.set_offs = set_offs
    for key in items:
        item = books.items.get(key)
        if item is not None and (item.tenant_id, item.account_id) not in books.accounts:
            raise UnavailableError("an item moved to another account at the same moment")
    if any(p.account_id is not None and (p.tenant_id, p.account_id) not in books.accounts for p in books.payments.values()):
        raise UnavailableError("a payment moved to another account at the same moment")
    for key in less:
        item = books.items[key]
        cash = sum(p.allocations[item.item_id].settled_minor for p in books.payments.values() if item.item_id in p.allocations)
        credit = sum(amount for (tenant, one, other), amount in set_offs.items() if key in {(tenant, one), (tenant, other)})
        if cash != item.cash_minor or (credit != item.credit_minor and item.close_cause != "cancelled"):
            raise UnavailableError("an item was settled at the same moment")
    return books


def _account(message: Message[InvoiceState]) -> tuple[UUID, UUID, UUID, UUID, str]:
    entity, data = _entity(message), message.data
    return (
        message.tenant_id,
        account_id(message.tenant_id, data.customer_id, entity, data.currency),
        entity,
        data.customer_id,
        data.currency,
    )


def _entity(message: Message[InvoiceState]) -> UUID:
    if message.envelope.entityid is None:
        raise PoisonError("the envelope of an invoice names no entity")
    return message.envelope.entityid


def _original(data: InvoiceState) -> int:
    """What the item is for: payable, or for an opening balance what was open on take-over."""
    return data.opening_open_minor if data.origin == "opening" and data.opening_open_minor is not None else data.payable_minor


def _terms(data: InvoiceState) -> tuple[list[object], list[int]]:
    ordered = sorted(data.instalments, key=lambda part: part.number)
    if not ordered:
        return [data.issue_date], [_original(data)]
    return [part.due_date for part in ordered], [part.amount_minor for part in ordered]


def _new_item(message: Message[InvoiceState], contested: int) -> Item:
    data = message.data
    dues, amounts = _terms(data)
    tenant, account, entity, customer, currency = _account(message)
    return Item(
        tenant_id=tenant,
        item_id=data.invoice_id,
        version=0,
        invoice_version=data.version,
        entity_id=entity,
        account_id=account,
        customer_id=customer,
        kind=data.kind,
        currency=currency,
        source_system=data.source_system,
        invoice_number=data.invoice_number,
        issue_date=data.issue_date,
        due_date=min(dues),  # type: ignore[type-var,arg-type] # days
        instalment_dues=dues,  # type: ignore[arg-type] # days
        instalment_amounts=amounts,
        credited_item_id=data.credited_invoice_id,
        original_minor=_original(data),
        open_minor=0,
        cash_minor=0,
        discount_minor=0,
        credit_minor=0,
        charges_minor=0,
        withheld_minor=0,
        set_off_minor=0,
        written_off_minor=0,
        contested_minor=contested,
        status="closed",
        close_cause=None,
        value_date=None,
    )


async def change(conn: AsyncConnection, books: Books, item: Item, message: Message[InvoiceState], freed: dict[Key, None]) -> bool:
    """Brings an item to what a newer version of its invoice says; False when the amounts cannot follow.

    `freed` takes the payments that have money again.
    """
    data = message.data
    if item.close_cause == "cancelled":
        books.reinstate(item)
    account: Account = books.accounts[item.tenant_id, _account(message)[1]]
    most = _original(data) if data.currency == item.currency else 0
    followed = item.set_off_minor <= most
    if followed and item.original_minor - item.open_minor > most:
        freed.update(await release(conn, books, item, most, "overpaid"))
        if item.original_minor - item.open_minor > most:
            raise UnavailableError("an item was settled at the same moment")
    if data.currency == item.currency:
        if account.account_id != item.account_id:
            books.move(item, account)
        followed = followed and books.change_payable(item, _original(data))
    elif followed:
        books.change_payable(item, 0)
        books.move(item, account)
        item.currency = data.currency
        books.change_payable(item, _original(data))
    dues, amounts = _terms(data)
    item.source_system, item.invoice_number, item.issue_date = data.source_system, data.invoice_number, data.issue_date
    item.credited_item_id = data.credited_invoice_id
    if followed:
        item.instalment_dues, item.instalment_amounts = dues, amounts  # type: ignore[assignment] # days
        item.due_date = min(item.instalment_dues)
    return followed


async def _cancel(conn: AsyncConnection, books: Books, item: Item) -> dict[Key, None]:
    """Closes an item whose invoice was withdrawn; returns the payments that have money again."""
    if item.close_cause == "cancelled":
        return {}
    freed = await release(conn, books, item, item.set_off_minor, "item_cancelled")
    books.cancel(item)
    return freed


def _references(message: Message[InvoiceState]) -> Iterable[Reference]:
    """What a payer may name the item by. A credit note is not paid, so it has none."""
    data = message.data
    if data.kind == "credit_note":
        return
    entity = _entity(message)
    found: dict[str, str] = {}
    if data.payment_reference and (value := normalised(data.payment_reference)):
        found[value] = "structured"
        yield message.tenant_id, entity, value, "structured", data.invoice_id
    numbers = [value for number in (data.invoice_number, *data.references, *data.order_numbers) if (value := normalised(number))]
    for value in dict.fromkeys(numbers):
        found[value] = "number"
        yield message.tenant_id, entity, value, "number", data.invoice_id
    for value in sorted(document_keys(data.invoice_number, [fold(number) for number in numbers[1:]], fold(data.payment_reference or ""))):
        if value not in found:
            yield message.tenant_id, entity, value, "folded", data.invoice_id
