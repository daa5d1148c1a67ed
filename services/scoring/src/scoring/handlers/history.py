"""What others say: kept by version, and its contribution to how each customer pays.

Nothing is decided here. Each handler locks the customers it names and notes that they are to be reviewed; the review
(handlers/credit.py) comes a moment later and takes many events at once.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged, CustomerMergeState
from contracts.dunning import DisputeState, PaymentPlanState, PromiseState
from contracts.envelope import Message
from contracts.invoices import InvoiceState
from contracts.items import AccountBalanceChanged, OpenItemState
from contracts.payments import PaymentReturned
from shared import aliases, deadletters
from shared.batches import Context
from shared.states import keep
from shared.web.idempotency import erase_answers
from sqlalchemy.ext.asyncio import AsyncConnection

from scoring import tables
from scoring.domain import behaviour
from scoring.domain.behaviour import Contribution
from scoring.domain.observation import search_key
from scoring.storage import bureau
from scoring.storage.behaviour import Source, contribute, touch
from scoring.storage.credit import release_reservations


async def keep_customers(conn: AsyncConnection, messages: Sequence[Message[CustomerChanged]], context: Context) -> None:
    """Customers; one with a country and a company id that a bureau can search by is put down for it."""
    await touch(conn, {(message.tenant_id, message.data.customer_id) for message in messages})
    rows: list[dict[str, Any]] = [
        {
            "tenant_id": message.tenant_id,
            "customer_id": data.customer_id,
            "version": data.version,
            "source_system": data.source_system,
            "customer_number": data.customer_number,
            "status": data.status,
            "company_ids": [{"scheme": each.scheme, "value": each.value} for each in data.company_ids],
            "country": data.country,
            "currency": data.currency,
            "payment_terms_days": data.payment_terms_days,
            "segment": data.segment,
            "parent_customer_id": data.parent_customer_id,
        }
        for message in messages
        for data in [message.data]
    ]
    applied = await keep(conn, tables.CUSTOMER, rows)
    newest = {
        (message.tenant_id, message.data.customer_id): message.data for message in sorted(messages, key=lambda each: each.data.version)
    }
    subjects = []
    for (tenant_id, customer_id), data in newest.items():
        searched = search_key(data.country, [(each.scheme, each.value) for each in data.company_ids])
        if (tenant_id, customer_id) in applied and searched is not None:
            subjects.append((tenant_id, customer_id, searched))
    await bureau.put_down(conn, subjects, context.now)


async def keep_identities(conn: AsyncConnection, messages: Sequence[Message[CustomerIdentityChanged]], _: Context) -> None:
    """Names, which tell apart several companies that a bureau finds. Nothing is scored on a name."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "customer_id": message.data.customer_id,
            "version": message.data.version,
            "name": message.data.name,
            "country": message.data.address.country if message.data.address else None,
        }
        for message in messages
    ]
    await keep(conn, tables.IDENTITY, rows)


async def keep_merges(conn: AsyncConnection, messages: Sequence[Message[CustomerMergeState]], _: Context) -> None:
    """Duplicates: behaviour, exposure and observations stay under the customer they are about and are read together.

    Everybody concerned is reviewed. His own standing is locked as well: a credit check that waits there then sees the merge.
    """
    await touch(conn, {(m.tenant_id, customer) for m in messages for customer in (m.data.customer_id, m.data.into_customer_id)})
    rows = [
        {
            "tenant_id": message.tenant_id,
            "id": message.data.customer_id,
            "version": message.data.version,
            "into_id": message.data.into_customer_id if message.data.status == "merged" else None,
        }
        for message in messages
    ]
    changed = await aliases.keep(conn, rows)
    await touch(conn, {(tenant, one) for (tenant, own), pair in changed.items() for one in (own, *pair)})


async def keep_erasures(conn: AsyncConnection, messages: Sequence[Message[CustomerErased]], _: Context) -> None:
    """Forgets who customers are, what a bureau told beside its figures, and notes; no late identity event brings it back."""
    blank: list[dict[str, Any]] = [
        {"tenant_id": each.tenant_id, "customer_id": each.data.customer_id, "version": each.data.version, "name": "", "country": None}
        for each in messages
    ]
    await keep(conn, tables.IDENTITY, blank)
    erased = sorted({(message.tenant_id, message.data.customer_id) for message in messages})
    await bureau.forget(conn, erased)
    await deadletters.erase(conn, CustomerIdentityChanged.__name__, erased)
    for tenant, customer in erased:
        await erase_answers(conn, tenant, str(customer))


async def keep_invoices(conn: AsyncConnection, messages: Sequence[Message[InvoiceState]], _: Context) -> None:
    """Invoices and credit notes: history contributes, `credit_check_id` ends a reservation."""
    await touch(conn, {(message.tenant_id, message.data.customer_id) for message in messages})
    rows = [
        {
            "tenant_id": message.tenant_id,
            "invoice_id": data.invoice_id,
            "version": data.version,
            "customer_id": data.customer_id,
            "kind": data.kind,
            "origin": data.origin,
            "status": data.status,
            "currency": data.currency,
            "payable_minor": data.payable_minor,
            "credit_check_id": data.credit_check_id,
        }
        for message in messages
        for data in [message.data]
    ]
    await keep(conn, tables.INVOICE, rows)
    await contribute(conn, [_source(message, "history", message.data.invoice_id, _of_history(message.data)) for message in messages])
    await release_reservations(conn, [(message.tenant_id, message.data.invoice_id) for message in messages if message.data.credit_check_id])


async def keep_items(conn: AsyncConnection, messages: Sequence[Message[OpenItemState]], _: Context) -> None:
    """Open items: what is due next, and how settled ones were paid."""
    await touch(conn, {(message.tenant_id, message.data.customer_id) for message in messages})
    rows = [
        {
            "tenant_id": message.tenant_id,
            "item_id": data.item_id,
            "version": data.version,
            "customer_id": data.customer_id,
            "kind": data.kind,
            "currency": data.currency,
            "open_minor": data.open_minor,
            "disputed_minor": data.disputed_minor,
            "status": data.status,
            "next_due": _next_due(data),
        }
        for message in messages
        for data in [message.data]
    ]
    await keep(conn, tables.OPEN_ITEM, rows)
    await contribute(conn, [_source(message, "item", message.data.item_id, _of_item(message.data)) for message in messages])
    await release_reservations(conn, [(message.tenant_id, message.data.item_id) for message in messages])


async def keep_accounts(conn: AsyncConnection, messages: Sequence[Message[AccountBalanceChanged]], _: Context) -> None:
    """What customers owe, per entity and currency."""
    await touch(conn, {(message.tenant_id, message.data.customer_id) for message in messages})
    rows = [
        {
            "tenant_id": message.tenant_id,
            "account_id": data.account_id,
            "version": data.version,
            "customer_id": data.customer_id,
            "currency": data.currency,
            "open_minor": data.open_minor,
            "unapplied_minor": data.unapplied_minor,
            "unused_credits_minor": data.unused_credits_minor,
        }
        for message in messages
        for data in [message.data]
    ]
    await keep(conn, tables.ACCOUNT, rows)


async def keep_promises(conn: AsyncConnection, messages: Sequence[Message[PromiseState]], _: Context) -> None:
    """Promises, kept and broken."""
    sources = []
    for message in messages:
        data = message.data
        given = behaviour.promise(currency=data.currency, due_on=data.due_on, status=data.status)
        sources.append(_source(message, "promise", data.promise_id, given))
    await _take(conn, sources)


async def keep_plans(conn: AsyncConnection, messages: Sequence[Message[PaymentPlanState]], _: Context) -> None:
    """Payment plans, completed and broken: one counts as one promise."""
    sources = []
    for message in messages:
        data = message.data
        due = next((each.due_on for each in data.instalments if each.number == data.broken_instalment), data.instalments[-1].due_on)
        given = behaviour.plan(currency=data.currency, due_on=due, status=data.status)
        sources.append(_source(message, "payment_plan", data.payment_plan_id, given))
    await _take(conn, sources)


async def keep_disputes(conn: AsyncConnection, messages: Sequence[Message[DisputeState]], _: Context) -> None:
    """Disputes, but for those in which the debtor was right."""
    sources = []
    for message in messages:
        given = behaviour.dispute(currency=message.data.currency, resolution=message.data.resolution)
        sources.append(_source(message, "dispute", message.data.dispute_id, given))
    await _take(conn, sources)


async def keep_returns(conn: AsyncConnection, messages: Sequence[Message[PaymentReturned]], _: Context) -> None:
    """Returned payments of a known payer; of an unknown one nothing can be said."""
    sources = [
        Source(
            message.tenant_id,
            "payment",
            message.data.payment_id,
            message.data.version,
            message.data.payer_customer_id,
            behaviour.returned_payment(
                currency=message.data.currency, value_date=message.data.value_date, return_class=message.data.return_class
            ),
        )
        for message in messages
        if message.data.payer_customer_id is not None
    ]
    await _take(conn, sources)


async def _take(conn: AsyncConnection, sources: Sequence[Source]) -> None:
    await touch(conn, {(source.tenant_id, source.customer_id) for source in sources})
    await contribute(conn, sources)


def _source(
    message: Message[InvoiceState] | Message[OpenItemState] | Message[PromiseState] | Message[PaymentPlanState] | Message[DisputeState],
    kind: str,
    source_id: UUID,
    given: Contribution | None,
) -> Source:
    return Source(message.tenant_id, kind, source_id, message.data.version, message.data.customer_id, given)


def _of_history(data: InvoiceState) -> Contribution | None:
    """An invoice from before go-live opens no item here: it says itself when it was paid."""
    if data.origin != "history" or data.kind == "credit_note" or data.status == "cancelled" or data.paid_on is None or not data.instalments:
        return None
    due = max(instalment.due_date for instalment in data.instalments)
    return behaviour.settled_item(currency=data.currency, amount_minor=data.payable_minor, due=due, paid_on=data.paid_on)


def _of_item(data: OpenItemState) -> Contribution | None:
    if data.kind not in {"invoice", "deposit"}:
        return None
    if data.status == "paid" and data.value_date is not None and data.instalments:
        due = max(instalment.due_date for instalment in data.instalments)
        return behaviour.settled_item(currency=data.currency, amount_minor=data.original_minor, due=due, paid_on=data.value_date)
    return behaviour.unsettled_item(currency=data.currency, issued=data.issue_date, written_off=data.settled.written_off_minor > 0)


def _next_due(data: OpenItemState) -> date | None:
    """The earliest due date with something open; None while all that is open is disputed, and for what is no sale."""
    if data.kind not in {"invoice", "deposit"} or data.open_minor <= data.disputed_minor:
        return None
    return min((instalment.due_date for instalment in data.instalments if instalment.open_minor > 0), default=None)
