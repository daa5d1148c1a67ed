"""The e-invoice life cycle: statuses from outside, and ours, which follow from disputes and from money.

Invariants:
- the log is append-only and a message is in it once; what stands is `domain.lifecycle.stands` of the whole log, one answer for
  what was said outside and one for ours, so order and repetition make no difference;
- InvoiceStatusChanged is published under the lock of the invoice's status, exactly when one of the two answers changed;
- a dispute that a status from outside opened sets no status: nothing goes back to whoever said it first;
- the amounts of all 212 (MEN) of an invoice add up to the cash that its open item last reported as in.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from contracts.dunning import DisputeState
from contracts.envelope import Message
from contracts.invoices import InvoiceStatusChanged, StatusAmount, StatusEntry, StatusReason
from contracts.items import OpenItemState
from shared import audit
from shared.batches import Context
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.lifecycle import COLLECTED, IN_DISPUTE, Logged, stands
from invoicing.handlers import kept
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import entities as entity_storage
from invoicing.storage import statuses as storage
from invoicing.storage.statuses import Entry, Key

AHEAD = timedelta(days=1)
"""How far a status' date may lie ahead of us: a clock that runs wild would silence everybody else for as long."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A status as somebody outside sends it. Amounts are in `currency`, where they have one (a message names it)."""

    source: str
    message_id: str
    status: int
    at: datetime
    reasons: tuple[StatusReason, ...] = ()
    amounts: tuple[StatusAmount, ...] = ()
    note: str | None = None
    currency: str | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a status: its line in the log, whether it is new there, and what stands of the invoice now."""

    entry: Entry
    created: bool
    status: int | None
    origin: str | None
    version: int


def entry_id_of(tenant_id: UUID, invoice_id: UUID, origin: str, message_id: str) -> UUID:
    """The id of a line of the log."""
    return named_id("status", tenant_id, invoice_id, origin, message_id)


async def record(conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, said: Said, *, now: datetime, actor: str) -> Recorded:
    """Enters a status from outside. The same message again changes nothing.

    Raises Refusal: 404 no such invoice; 409 the message is known with other content; 422 a date ahead of ours, or amounts in
    another currency than the invoice's.
    """
    invoice = (await storage.invoices(conn, [(tenant_id, invoice_id)])).get((tenant_id, invoice_id))
    if invoice is None:
        raise Refusal(404, "invoice-unknown", "there is no such invoice")
    if said.at > now + AHEAD:
        raise refused_at("/at", "status-in-future", "the status is dated more than a day ahead")
    if said.currency is not None and said.currency != invoice.currency:
        raise refused_at("/amounts", "currency-differs", "the amounts are in another currency than the invoice")
    for ours in ("outside", "ours"):
        known = await storage.entry(conn, tenant_id, entry_id_of(tenant_id, invoice_id, ours, said.message_id))
        if known is not None:
            if ours == "outside" and not _same(known, said):
                raise Refusal(409, "message-id-reused", "this message is known with other content")
            head = (await storage.lock(conn, [(tenant_id, invoice_id)]))[tenant_id, invoice_id]
            return Recorded(entry=known, created=False, status=head.status, origin=head.origin, version=head.version)
    entry = Entry(
        tenant_id=tenant_id,
        entry_id=entry_id_of(tenant_id, invoice_id, "outside", said.message_id),
        invoice_id=invoice_id,
        origin="outside",
        source=said.source,
        message_id=said.message_id,
        status=said.status,
        at=said.at,
        reasons=said.reasons,
        amounts=said.amounts,
        note=said.note,
        received_at=now,
    )
    added = await append(conn, [entry])
    if added:
        await audit.record(conn, tenant_id, [(actor, f"invoice.status.{said.status}", str(invoice_id), {"message": said.message_id})])
    head = (await storage.lock(conn, [(tenant_id, invoice_id)]))[tenant_id, invoice_id]
    return Recorded(entry=entry, created=bool(added), status=head.status, origin=head.origin, version=head.version)


def _same(known: Entry, said: Said) -> bool:
    return (known.status, known.at, known.reasons, known.amounts) == (said.status, said.at, said.reasons, said.amounts)


async def find_invoice(conn: AsyncConnection, tenant_id: UUID, *, invoice_number: str, issue_date: Any, seller: Sequence[str]) -> UUID:
    """The invoice that a message means, by its own number (BT-1), day of issue and seller (identifiers as `scheme:value`).

    Raises Refusal with status 422 where there is none, or more than one.
    """
    entities = [row.entity_id for row in await entity_storage.entities_with(conn, tenant_id, seller)] if seller else None
    rows = await storage.named(conn, tenant_id, invoice_number=invoice_number, issue_date=issue_date, entities=entities)
    where = "/AcknowledgementDocument/ReferenceReferencedDocument"
    if not rows:
        raise refused_at(where, "invoice-unknown", "none of our invoices has this number, day of issue and seller")
    if len(rows) > 1:
        raise refused_at(where, "invoice-ambiguous", "several of our invoices have this number, day of issue and seller")
    invoice_id: UUID = rows[0].invoice_id
    return invoice_id


async def append(conn: AsyncConnection, entries: Sequence[Entry]) -> set[UUID]:
    """Adds lines to the logs of invoices that exist and publishes what changed; returns the ids of the lines that are new.

    A fixed number of statements, whatever the number of lines.
    """
    known = await storage.invoices(conn, {_key(entry) for entry in entries})
    entries = [entry for entry in entries if _key(entry) in known]
    if not entries:
        return set()
    heads = await storage.lock(conn, known)
    added = await storage.insert(conn, entries)
    touched = sorted({_key(entry) for entry in entries if entry.entry_id in added})
    if not touched:
        return added
    rows: list[tuple[Any, ...]] = []
    events: list[Outgoing] = []
    for key, log in sorted((await storage.logs(conn, touched)).items()):
        head = heads[key]
        outside, ours = (_standing(log, origin) for origin in ("outside", "ours"))
        if (outside, ours) == (_decoded(head.outside), _decoded(head.ours)):
            continue
        event = _event(known[key], head.version + 1, outside, ours)
        rows.append((*key, event.version, event.status, event.origin, _encoded(outside), _encoded(ours)))
        events.append(Outgoing(key[0], event, known[key].entity_id))
    if rows:
        await storage.write(conn, rows)
        await publish(conn, events)
    return added


def _key(entry: Entry) -> Key:
    return entry.tenant_id, entry.invoice_id


def _standing(log: Iterable[Entry], origin: str) -> StatusEntry | None:
    lines = {entry.message_id: entry for entry in log if entry.origin == origin}
    found = stands(Logged(each.message_id, each.at, each.status, each.lifts) for each in lines.values())
    if found is None or found.status is None:
        return None
    entry = lines[found.message_id]
    return StatusEntry(
        status=found.status, at=entry.at, message_id=entry.message_id, reasons=list(entry.reasons), amounts=list(entry.amounts)
    )


def _event(invoice: Row[Any], version: int, outside: StatusEntry | None, ours: StatusEntry | None) -> InvoiceStatusChanged:
    newer = max((each for each in (outside, ours) if each is not None), key=lambda each: each.at, default=None)
    return InvoiceStatusChanged(
        version=version,
        invoice_id=invoice.invoice_id,
        customer_id=invoice.customer_id,
        source_system=invoice.source_system,
        invoice_number=invoice.invoice_number,
        currency=invoice.currency,
        status=newer.status if newer else None,
        origin=None if newer is None else "outside" if newer is outside else "ours",
        outside=outside,
        ours=ours,
    )


def _encoded(entry: StatusEntry | None) -> str | None:
    return None if entry is None else msgspec.json.encode(entry).decode()


def _decoded(text: str | None) -> StatusEntry | None:
    return None if text is None else msgspec.json.decode(text, type=StatusEntry)


async def note_disputes(conn: AsyncConnection, messages: Sequence[Message[DisputeState]], ctx: Context) -> None:
    """Our own dispute sets the status 207; once it is resolved, that line is taken back."""
    await append(conn, [_disputed(message, ctx.now) for message in messages if message.data.origin == "ours"])


def _disputed(message: Message[DisputeState], now: datetime) -> Entry:
    dispute = message.data
    opened = f"dispute:{dispute.dispute_id}:opened"
    is_open = dispute.status == "open"
    message_id = opened if is_open else f"dispute:{dispute.dispute_id}:resolved"
    code = "".join(char if char.isalnum() else "_" for char in dispute.reason.upper())[:40]
    return Entry(
        tenant_id=message.tenant_id,
        entry_id=entry_id_of(message.tenant_id, dispute.item_id, "ours", message_id),
        invoice_id=dispute.item_id,
        origin="ours",
        source="dispute",
        message_id=message_id,
        status=IN_DISPUTE if is_open else None,
        lifts=None if is_open else opened,
        at=now,
        reasons=(StatusReason(code=code),) if is_open else (),
        amounts=(StatusAmount(kind="MNATTC", amount_minor=dispute.amount_minor),) if is_open else (),
        received_at=now,
    )


async def note_collected(conn: AsyncConnection, messages: Sequence[Message[OpenItemState]], ctx: Context) -> None:
    """Balances are kept; the money that came in since the last report goes out as status 212 (what went back: below zero).

    An older version of an item than was reported says nothing new.
    """
    await kept.keep_balances(conn, messages, ctx)
    newest: dict[Key, OpenItemState] = {}
    for message in messages:
        key, item = (message.tenant_id, message.data.item_id), message.data
        if item.kind in {"invoice", "deposit"} and (key not in newest or newest[key].version < item.version):
            newest[key] = item
    known = await storage.invoices(conn, newest) if newest else {}
    if not known:
        return
    heads = await storage.lock(conn, known)
    news = {key: newest[key] for key in known if newest[key].version > heads[key].item_version}
    entries = [
        _collected(key, item, change, ctx.now)
        for key, item in news.items()
        if (change := item.settled.cash_minor - heads[key].reported_minor)
    ]
    if news:
        await storage.note_reported(conn, [(*key, item.settled.cash_minor, item.version) for key, item in sorted(news.items())])
    if entries:
        await append(conn, entries)


def _collected(key: Key, item: OpenItemState, change: int, now: datetime) -> Entry:
    message_id = f"collected:{item.version}"
    return Entry(
        tenant_id=key[0],
        entry_id=entry_id_of(*key, "ours", message_id),
        invoice_id=key[1],
        origin="ours",
        source="payment",
        message_id=message_id,
        status=COLLECTED,
        at=now,
        amounts=(StatusAmount(kind="MEN", amount_minor=change), StatusAmount(kind="RAP", amount_minor=item.open_minor)),
        received_at=now,
    )
