"""What reporting does with every event: it keeps the newest state of the aggregate, and notes that it saw the event.

Invariants: two statements per batch (more where a batch has more values than a statement takes), whatever its size; what
is kept is the same for every order and any repetition, facts included: those are rows under their own id.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.catalogue import topics
from contracts.envelope import Event, Message, StateEvent
from shared import aliases, deadletters, states
from shared.batches import Context
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts import accounts, credit, customers, dunning, invoices, items, payments
from reporting import tables
from reporting.storage import facts

KEPT: Mapping[type[Event], Table] = {
    customers.CustomerChanged: tables.customers.CUSTOMER,
    customers.CustomerIdentityChanged: tables.customers.CUSTOMER_IDENTITY,
    invoices.InvoiceIssued: tables.items.INVOICE,
    invoices.InvoiceChanged: tables.items.INVOICE,
    invoices.InvoiceCancelled: tables.items.INVOICE,
    invoices.CreditNoteIssued: tables.items.INVOICE,
    invoices.InvoiceStatusChanged: tables.items.INVOICE_STATUS,
    accounts.CollectionAccountChanged: tables.money.COLLECTION_ACCOUNT,
    accounts.VirtualIbanAssigned: tables.money.VIRTUAL_IBAN,
    accounts.VirtualIbanReleased: tables.money.VIRTUAL_IBAN,
    accounts.BankReconciliationAdvanced: tables.money.RECONCILIATION,
    payments.PaymentReceived: tables.money.PAYMENT,
    payments.PaymentMatched: tables.money.PAYMENT,
    payments.PaymentUnapplied: tables.money.PAYMENT,
    payments.PaymentUnmatched: tables.money.PAYMENT,
    payments.PaymentReturned: tables.money.PAYMENT,
    payments.PaymentRefunded: tables.money.PAYMENT,
    payments.PaymentAnnouncementChanged: tables.money.PAYMENT_ANNOUNCEMENT,
    payments.StatementRejected: tables.money.REJECTED_STATEMENT,
    items.OpenItemChanged: tables.items.OPEN_ITEM,
    items.InvoicePaid: tables.items.OPEN_ITEM,
    items.InvoiceClosed: tables.items.OPEN_ITEM,
    items.InvoiceReopened: tables.items.OPEN_ITEM,
    items.AccountBalanceChanged: tables.items.ACCOUNT_BALANCE,
    items.ReceivableWrittenOff: tables.items.WRITE_OFF,
    items.WriteOffReversed: tables.items.WRITE_OFF,
    credit.ScoreChanged: tables.customers.SCORE,
    credit.CreditTermsChanged: tables.customers.CREDIT_TERMS,
    credit.CreditHoldPlaced: tables.customers.CREDIT_HOLD,
    credit.CreditHoldReleased: tables.customers.CREDIT_HOLD,
    dunning.PromiseMade: tables.collection.PROMISE,
    dunning.PromiseKept: tables.collection.PROMISE,
    dunning.PromiseBroken: tables.collection.PROMISE,
    dunning.PromiseCancelled: tables.collection.PROMISE,
    dunning.PaymentPlanAgreed: tables.collection.PAYMENT_PLAN,
    dunning.PaymentPlanCompleted: tables.collection.PAYMENT_PLAN,
    dunning.PaymentPlanBroken: tables.collection.PAYMENT_PLAN,
    dunning.PaymentPlanCancelled: tables.collection.PAYMENT_PLAN,
    dunning.DisputeOpened: tables.collection.DISPUTE,
    dunning.DisputeResolved: tables.collection.DISPUTE,
    dunning.ReminderSent: tables.collection.REMINDER,
}
"""Which table keeps what an event says. Several events of one aggregate share a row, as they share its version."""


def _getters(table: Table) -> list[tuple[str, Callable[[Message[Event]], Any]]]:
    """How each column of a kept table is read off a message."""

    def getter(name: str, *, as_json: bool) -> Callable[[Message[Event]], Any]:
        if name == "tenant_id":
            return lambda message: message.tenant_id
        if name == "entity_id":
            return lambda message: message.envelope.entityid
        if as_json:
            return lambda message: msgspec.to_builtins(getattr(message.data, name))
        return lambda message: getattr(message.data, name)

    return [(column.name, getter(column.name, as_json=isinstance(column.type, JSONB))) for column in table.columns]


_GETTERS = {table.name: _getters(table) for table in KEPT.values()}


async def keep(conn: AsyncConnection, messages: Sequence[Message[Event]], ctx: Context) -> None:  # noqa: ARG001 - no rule here asks the time
    """Keeps what a batch of one topic says, and notes the events as seen."""
    event = type(messages[0].data)
    table = KEPT[event]
    getters = _GETTERS[table.name]
    rows = [{name: get(message) for name, get in getters} for message in messages]
    if issubclass(event, StateEvent):
        await states.keep(conn, table, rows)
    else:
        await facts.add_facts(conn, table, rows)
    await _note(conn, messages)


async def _note(conn: AsyncConnection, messages: Sequence[Message[Event]]) -> None:
    """Notes events of one name as seen: on a compacted topic, which forgets older ones, their aggregates, or no rebuild would agree."""
    event = type(messages[0].data).__name__
    compacted = topics()[event].retention == "compacted"
    seen = [(message.tenant_id, UUID(message.envelope.subject) if compacted else message.envelope.id) for message in messages]
    await facts.note_seen(conn, event, seen)


async def keep_merges(conn: AsyncConnection, messages: Sequence[Message[customers.CustomerMergeState]], ctx: Context) -> None:  # noqa: ARG001 - as above
    """Keeps which customer stands for which. Everything stays under the customer it is about; reports resolve it."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "id": message.data.customer_id,
            "version": message.data.version,
            "into_id": message.data.into_customer_id if message.data.status == "merged" else None,
        }
        for message in messages
    ]
    await aliases.keep(conn, rows)
    await _note(conn, messages)


async def keep_erasures(conn: AsyncConnection, messages: Sequence[Message[customers.CustomerErased]], ctx: Context) -> None:  # noqa: ARG001 - as above
    """Forgets who customers are, and keeps the version: no late word brings it back. Their key on the compacted topic stays counted."""
    blank: list[dict[str, Any]] = [
        {
            "tenant_id": message.tenant_id,
            "customer_id": message.data.customer_id,
            "version": message.data.version,
            "name": "",
            "address": None,
            "contacts": [],
        }
        for message in messages
    ]
    await states.keep(conn, tables.customers.CUSTOMER_IDENTITY, blank)
    identity = customers.CustomerIdentityChanged.__name__
    erased = [(message.tenant_id, message.data.customer_id) for message in messages]
    await deadletters.erase(conn, identity, erased)
    await facts.note_seen(conn, identity, erased)
    await _note(conn, messages)
