"""What dunning keeps of others: one handler per topic, each a set-wise write by version.

Invariant: nothing is decided here; a decision reads the replicas later, under lock.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.accounts import CollectionAccountChanged, VirtualIbanState
from contracts.credit import CreditHoldState, CreditTermsChanged, ScoreChanged
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from contracts.envelope import Event, Message
from contracts.invoices import InvoiceState
from contracts.items import AccountBalanceChanged, OpenItemChanged
from contracts.payments import PaymentAnnouncementChanged, PaymentState, StatementRejected
from shared.batches import Context
from shared.failures import PoisonError
from shared.states import keep
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage import replicas as storage
from dunning.tables.customers import CUSTOMER, HOLD, IDENTITY, SCORE, TERMS
from dunning.tables.items import BALANCE, INVOICE
from dunning.tables.money import ANNOUNCEMENT, BANK_ACCOUNT, PAYMENT, VIRTUAL_IBAN


def entity_of(message: Message[Any]) -> UUID:
    """The legal entity an event belongs to. Raises PoisonError where its envelope names none."""
    if message.envelope.entityid is None:
        raise PoisonError(f"{message.envelope.type}: the envelope names no legal entity")
    return message.envelope.entityid


def _rows(messages: Sequence[Message[Any]], table: Table) -> list[dict[str, Any]]:
    """Each event's fields that the table has a column for."""
    columns = set(table.c.keys()) - {"tenant_id"}
    return [
        {"tenant_id": message.tenant_id, **{name: getattr(message.data, name) for name in columns & set(_fields(message.data))}}
        for message in messages
    ]


def _fields(event: Event) -> tuple[str, ...]:
    return event.__struct_fields__


async def keep_customers(conn: AsyncConnection, messages: Sequence[Message[CustomerChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Language and country of customers."""
    await keep(conn, CUSTOMER, _rows(messages, CUSTOMER))


async def keep_identities(conn: AsyncConnection, messages: Sequence[Message[CustomerIdentityChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Names and contacts."""
    await keep(
        conn,
        IDENTITY,
        [
            {
                "tenant_id": message.tenant_id,
                "customer_id": message.data.customer_id,
                "version": message.data.version,
                "name": message.data.name,
                "contacts": msgspec.to_builtins(message.data.contacts),
            }
            for message in messages
        ],
    )


async def keep_invoices(conn: AsyncConnection, messages: Sequence[Message[InvoiceState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """How invoices are to be paid, the level an opening balance had reached, and the copy that a reminder may carry."""
    rows = _rows(messages, INVOICE)
    await keep(conn, INVOICE, [row | {"copy_sha256": _copy_of(message.data)} for row, message in zip(rows, messages, strict=True)])


def _copy_of(invoice: InvoiceState) -> str | None:
    """The copy that was added to an invoice, else the PDF that it came in."""
    by_kind = {each.kind: each.sha256 for each in invoice.documents}
    return by_kind.get("copy") or by_kind.get("pdf")


async def keep_items(conn: AsyncConnection, messages: Sequence[Message[OpenItemChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Open items with their instalments, and what was paid of them at which version."""
    items, instalments, settlements = [], {}, []
    for message in messages:
        tenant, item = message.tenant_id, message.data
        settled = item.settled
        paid = settled.cash_minor + settled.discount_minor + settled.charges_minor
        items.append(
            {
                "tenant_id": tenant,
                "item_id": item.item_id,
                "version": item.version,
                "entity_id": entity_of(message),
                "customer_id": item.customer_id,
                "kind": item.kind,
                "invoice_number": item.invoice_number,
                "currency": item.currency,
                "issue_date": item.issue_date,
                "open_minor": item.open_minor,
                "disputed_minor": item.disputed_minor,
                "paid_minor": paid,
                "credited_minor": settled.credit_minor + settled.set_off_minor + settled.written_off_minor,
                "status": item.status,
            }
        )
        instalments[(tenant, item.item_id, item.version)] = [(each.number, each.due_date, each.open_minor) for each in item.instalments]
        if paid or item.value_date or item.version > 1:  # that nothing is paid any more is news, too
            settlements.append((tenant, item.item_id, item.version, paid, item.value_date))
    await storage.keep_items(conn, items, instalments, settlements)


async def keep_balances(conn: AsyncConnection, messages: Sequence[Message[AccountBalanceChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """What a customer has in hand: unapplied payments and unused credits."""
    rows = _rows(messages, BALANCE)
    await keep(conn, BALANCE, [row | {"entity_id": entity_of(message)} for row, message in zip(rows, messages, strict=True)])


async def keep_payments(conn: AsyncConnection, messages: Sequence[Message[PaymentState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Payments: who may have paid, and how much has no item; nothing left without one means that its review is over."""
    await keep(
        conn,
        PAYMENT,
        [
            {
                "tenant_id": message.tenant_id,
                "payment_id": message.data.payment_id,
                "version": message.data.version,
                "entity_id": message.envelope.entityid,
                "currency": message.data.currency,
                "unapplied_minor": message.data.unapplied_minor,
                "customer_ids": sorted({*message.data.candidate_customer_ids, *_known(message.data.payer_customer_id)}),
            }
            for message in messages
        ],
    )


async def keep_announcements(conn: AsyncConnection, messages: Sequence[Message[PaymentAnnouncementChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Money that is on its way: what of whose items is being collected."""
    await keep(
        conn,
        ANNOUNCEMENT,
        [
            {
                "tenant_id": message.tenant_id,
                "announcement_id": message.data.announcement_id,
                "version": message.data.version,
                "entity_id": entity_of(message),
                "customer_id": message.data.customer_id,
                "currency": message.data.currency,
                "amount_minor": message.data.amount_minor,
                "items": msgspec.to_builtins(message.data.items),
                "status": message.data.status,
            }
            for message in messages
        ],
    )


def _known(customer_id: UUID | None) -> tuple[UUID, ...]:
    return () if customer_id is None else (customer_id,)


async def keep_bank_accounts(conn: AsyncConnection, messages: Sequence[Message[CollectionAccountChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """The accounts on which an entity collects."""
    rows = _rows(messages, BANK_ACCOUNT)
    await keep(conn, BANK_ACCOUNT, [row | {"entity_id": entity_of(message)} for row, message in zip(rows, messages, strict=True)])


async def keep_virtual_ibans(conn: AsyncConnection, messages: Sequence[Message[VirtualIbanState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Virtual IBANs: where a customer is asked to pay."""
    await keep(
        conn,
        VIRTUAL_IBAN,
        [
            {
                "tenant_id": message.tenant_id,
                "virtual_iban_id": message.data.virtual_iban_id,
                "version": message.data.version,
                "iban": message.data.virtual_iban,
                "entity_id": message.envelope.entityid,
                "customer_id": message.data.customer_id,
                "invoice_id": message.data.invoice_id,
                "status": message.data.status,
            }
            for message in messages
        ],
    )


async def keep_scores(conn: AsyncConnection, messages: Sequence[Message[ScoreChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Risk bands: noted among a decision's inputs."""
    await keep(conn, SCORE, _rows(messages, SCORE))


async def keep_terms(conn: AsyncConnection, messages: Sequence[Message[CreditTermsChanged]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Credit limits."""
    await keep(conn, TERMS, _rows(messages, TERMS))


async def keep_holds(conn: AsyncConnection, messages: Sequence[Message[CreditHoldState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Credit holds: one for insolvency stops reminders."""
    await keep(conn, HOLD, _rows(messages, HOLD))


async def keep_rejections(conn: AsyncConnection, messages: Sequence[Message[StatementRejected]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Rejected statements: why a gate stays shut."""
    await storage.keep_rejections(
        conn,
        [
            (
                message.tenant_id,
                message.data.statement_id,
                message.data.bank_account_id,
                message.data.statement_number,
                message.data.reason,
                message.envelope.time,
            )
            for message in messages
        ],
    )
