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
from reporting import storage, tables

KEPT: Mapping[type[Event], Table] = {
    customers.CustomerChanged: tables.CUSTOMER,
    customers.CustomerIdentityChanged: tables.CUSTOMER_IDENTITY,
    invoices.InvoiceIssued: tables.INVOICE,
    invoices.InvoiceChanged: tables.INVOICE,
    invoices.InvoiceCancelled: tables.INVOICE,
    invoices.CreditNoteIssued: tables.INVOICE,
    invoices.InvoiceStatusChanged: tables.INVOICE_STATUS,
    accounts.CollectionAccountChanged: tables.COLLECTION_ACCOUNT,
    accounts.VirtualIbanAssigned: tables.VIRTUAL_IBAN,
    accounts.VirtualIbanReleased: tables.VIRTUAL_IBAN,
    accounts.BankReconciliationAdvanced: tables.RECONCILIATION,
    payments.PaymentReceived: tables.PAYMENT,
    payments.PaymentMatched: tables.PAYMENT,
    payments.PaymentUnapplied: tables.PAYMENT,
    payments.PaymentUnmatched: tables.PAYMENT,
    payments.PaymentReturned: tables.PAYMENT,
    payments.PaymentRefunded: tables.PAYMENT,
    payments.PaymentAnnouncementChanged: tables.PAYMENT_ANNOUNCEMENT,
    payments.StatementRejected: tables.REJECTED_STATEMENT,
    items.OpenItemChanged: tables.OPEN_ITEM,
    items.InvoicePaid: tables.OPEN_ITEM,
    items.InvoiceClosed: tables.OPEN_ITEM,
    items.InvoiceReopened: tables.OPEN_ITEM,
    items.AccountBalanceChanged: tables.ACCOUNT_BALANCE,
    items.ReceivableWrittenOff: tables.WRITE_OFF,
    items.WriteOffReversed: tables.WRITE_OFF,
    credit.ScoreChanged: tables.SCORE,
    credit.CreditTermsChanged: tables.CREDIT_TERMS,
    credit.CreditHoldPlaced: tables.CREDIT_HOLD,
    credit.CreditHoldReleased: tables.CREDIT_HOLD,
    dunning.PromiseMade: tables.PROMISE,
    dunning.PromiseKept: tables.PROMISE,
    dunning.PromiseBroken: tables.PROMISE,
    dunning.PromiseCancelled: tables.PROMISE,
    dunning.PaymentPlanAgreed: tables.PAYMENT_PLAN,
    dunning.PaymentPlanCompleted: tables.PAYMENT_PLAN,
    dunning.PaymentPlanBroken: tables.PAYMENT_PLAN,
    dunning.PaymentPlanCancelled: tables.PAYMENT_PLAN,
    dunning.DisputeOpened: tables.DISPUTE,
    dunning.DisputeResolved: tables.DISPUTE,
    dunning.ReminderSent: tables.REMINDER,
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
        await storage.add_facts(conn, table, rows)
    await _note(conn, messages)


async def _note(conn: AsyncConnection, messages: Sequence[Message[Event]]) -> None:
    """Notes events of one name as seen: on a compacted topic, which forgets older ones, their aggregates, or no rebuild would agree."""
    event = type(messages[0].data).__name__
    compacted = topics()[event].retention == "compacted"
    seen = [(message.tenant_id, UUID(message.envelope.subject) if compacted else message.envelope.id) for message in messages]
    await storage.note_seen(conn, event, seen)


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
    await states.keep(conn, tables.CUSTOMER_IDENTITY, blank)
    identity = customers.CustomerIdentityChanged.__name__
    erased = [(message.tenant_id, message.data.customer_id) for message in messages]
    await deadletters.erase(conn, identity, erased)
    await storage.note_seen(conn, identity, erased)
    await _note(conn, messages)
