"""Invoices and credit notes: received, changed, cancelled. Whatever their number, a handful of statements.

Invariants:
- one invoice per source id, whoever sends it at the same moment: the insert decides, and who loses it looks again;
- a version is drawn under the row's lock and published with the whole state in the same transaction;
- each draft of a batch stands or falls by itself; what is the same again changes and publishes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from contracts.invoices import CreditNoteIssued, InvoiceCancelled, InvoiceChanged, InvoiceIssued, InvoiceState
from shared import audit
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.changes import Known, RefusedError, judge
from invoicing.domain.reference import creditor_reference
from invoicing.domain.totals import Amounts, faults
from invoicing.drafts import Draft
from invoicing.handlers.customers import find_buyers
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import entities as entity_storage
from invoicing.storage import invoices as storage
from invoicing.storage.invoices import Kept

_FIELDS = InvoiceState.__struct_fields__
_COPIED = tuple(name for name in Draft.__struct_fields__ if name in _FIELDS and name not in {"instalments", "references"})
Ties = Mapping[tuple[UUID, str], tuple[UUID, str]]
"""(entity, invoice number) to (invoice id, kind), where exactly one invoice bears the number."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one draft. `warnings` are codes with a sentence; `refusal` is set exactly where it was refused."""

    status: Literal["created", "changed", "unchanged", "refused"]
    kept: Kept | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    refusal: Refusal | None = None


class _Sound(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that makes sense, with all that was looked up for it."""

    place: int
    draft: Draft
    invoice_id: UUID
    entity: Row[Any]
    customer: Row[Any]
    content: bytes


def invoice_id_of(tenant_id: UUID, draft: Draft) -> UUID:
    """The id of an invoice: drawn from its entity, source system and source id."""
    return named_id("invoice", tenant_id, draft.entity_id, draft.source_system, draft.source_id)


async def receive(
    conn: AsyncConnection,
    tenant_id: UUID,
    drafts: Sequence[Draft],
    *,
    now: datetime,
    actor: str,
    seller: Row[Any] | None = None,
) -> list[Outcome]:
    """Takes drafts into the books; one outcome for each, in order. Several versions of one invoice may be among them.

    `seller` is the entity's row where the caller has looked it up already and all drafts are its own.
    Publishes InvoiceIssued or CreditNoteIssued, InvoiceChanged, and the events of customers made on the way.
    """
    outcomes: dict[int, Outcome] = {}
    if seller is not None:
        entities = {seller.entity_id: seller}
    else:
        entities = await entity_storage.entities_by_id(conn, tenant_id, {draft.entity_id for draft in drafts})
    known = [(place, draft) for place, draft in enumerate(drafts) if draft.entity_id in entities]
    for place, draft in enumerate(drafts):
        if draft.entity_id not in entities:
            outcomes[place] = _refuse(refused_at("/entity_id", "entity-unknown", "the seller is none of our legal entities"))
    buyers = await find_buyers(conn, tenant_id, [draft for _, draft in known], entities, actor=actor) if known else []
    pending: list[_Sound] = []
    for (place, draft), customer in zip(known, buyers, strict=True):
        entity = entities[draft.entity_id]
        refusal = customer if isinstance(customer, Refusal) else _unsound(draft, entity, customer)
        if refusal is not None or isinstance(customer, Refusal):
            outcomes[place] = _refuse(refusal)
        else:
            sound = _Sound(
                place=place,
                draft=draft,
                invoice_id=invoice_id_of(tenant_id, draft),
                entity=entity,
                customer=customer,
                content=draft.content(),
            )
            pending.append(sound)
    ties = await _ties(conn, tenant_id, [sound.draft for sound in pending])
    events: list[Outgoing] = []
    while pending:
        lost = await _settle(conn, tenant_id, pending, ties, now=now, outcomes=outcomes, events=events)
        pending = [sound for sound in pending if sound.invoice_id in lost]
    await _record(conn, tenant_id, outcomes.values(), actor)
    await publish(conn, events)
    return [outcomes[place] for place in range(len(drafts))]


async def _settle(
    conn: AsyncConnection,
    tenant_id: UUID,
    pending: Sequence[_Sound],
    ties: Ties,
    *,
    now: datetime,
    outcomes: dict[int, Outcome],
    events: list[Outgoing],
) -> set[UUID]:
    """Decides and writes what is pending; returns the ids that another sender inserted meanwhile, to be decided anew."""
    stored = await storage.lock_invoices(conn, tenant_id, {sound.invoice_id for sound in pending})
    current: dict[UUID, Kept] = dict(stored)
    decided: list[tuple[_Sound, Outcome, Outgoing | None]] = []
    for sound in pending:
        outcome = _decide(sound, current.get(sound.invoice_id), ties)
        event = None
        if outcome.kept is not None and outcome.status != "unchanged":
            current[sound.invoice_id] = outcome.kept
            event = Outgoing(tenant_id, _event(outcome.kept.state, outcome.status), sound.draft.entity_id)
        decided.append((sound, outcome, event))
    new = [kept for invoice_id, kept in current.items() if invoice_id not in stored]
    changed = [kept for invoice_id, kept in current.items() if invoice_id in stored and kept is not stored[invoice_id]]
    lost: set[UUID] = set()
    if new:
        lost = {kept.state.invoice_id for kept in new} - await storage.insert_invoices(conn, tenant_id, new, now)
    if changed:
        await storage.update_invoices(conn, tenant_id, changed, now)
    for sound, outcome, event in decided:
        if sound.invoice_id not in lost:
            outcomes[sound.place] = outcome
            if event is not None:
                events.append(event)
    return lost


def _decide(sound: _Sound, kept: Kept | None, ties: Ties) -> Outcome:
    draft, known = sound.draft, None
    if kept is not None:
        state = kept.state
        known = Known(state.source_version, kept.content, state.kind, state.origin, state.currency, state.status == "cancelled")
    offered = Known(draft.source_version, sound.content, draft.kind, draft.origin, draft.currency)
    try:
        verdict = judge(known, offered)
    except RefusedError as error:
        return _refuse(Refusal(409, error.code, error.detail))
    warnings: tuple[tuple[str, str], ...] = ()
    if sound.customer.hold_reason and draft.kind != "credit_note" and draft.origin == "issued" and verdict == "created":
        held = f"new business with the customer is held: {sound.customer.hold_reason}"
        if sound.entity.on_hold == "block":
            return _refuse(Refusal(409, "customer-on-hold", held))
        warnings = (("customer-on-hold", held),)
    return Outcome(status=verdict, kept=kept if verdict == "unchanged" else _next(sound, kept, ties), warnings=warnings)


def _next(sound: _Sound, kept: Kept | None, ties: Ties) -> Kept:
    """The invoice after the draft: version, reference, and the invoices it is tied to."""
    draft = sound.draft
    tied = [ties[key] for number in draft.preceding if (key := (draft.entity_id, number)) in ties]
    fields: dict[str, Any] = {name: list(value) if isinstance(value := getattr(draft, name), tuple) else value for name in _COPIED}
    if draft.kind == "credit_note":
        fields["credited_invoice_id"] = draft.credited_invoice_id or next((invoice_id for invoice_id, _ in tied), None)
    elif not draft.deposit_invoice_ids:
        fields["deposit_invoice_ids"] = [invoice_id for invoice_id, kind in tied if kind == "deposit"]
    reference, made = draft.payment_reference, False
    if reference is None and draft.kind != "credit_note" and draft.origin != "history":
        made = True
        reference = kept.state.payment_reference if kept is not None and kept.reference_made else None
        reference = reference or creditor_reference(draft.invoice_number, sound.invoice_id)
    fields |= {
        "version": kept.state.version + 1 if kept is not None else 1,
        "invoice_id": sound.invoice_id,
        "status": "issued",
        # a changed invoice keeps the buyer it was issued to, though another may stand for him now
        "customer_id": sound.customer.named_id if _names(kept, sound.customer.named_id) else sound.customer.customer_id,
        "customer_number": sound.customer.customer_number,
        "payment_reference": reference,
        "references": list(dict.fromkeys((*draft.references, *draft.preceding))),
        "instalments": draft.schedule(_terms_days(sound.entity, sound.customer)),
    }
    return Kept(entity_id=draft.entity_id, state=InvoiceState(**fields), reference_made=made, content=sound.content)


def _names(kept: Kept | None, customer_id: UUID) -> bool:
    return kept is not None and kept.state.customer_id == customer_id


def _terms_days(entity: Row[Any], customer: Row[Any]) -> int:
    days: int = entity.payment_terms_days if customer.terms_days is None else customer.terms_days
    return days


def _unsound(draft: Draft, entity: Row[Any], customer: Row[Any]) -> Refusal | None:
    instalments = draft.schedule(_terms_days(entity, customer))
    found = faults(
        Amounts(
            total=draft.total_minor,
            tax=draft.tax_minor,
            prepaid=draft.prepaid_minor,
            payable=draft.payable_minor,
            instalments=[(each.number, each.due_date, each.amount_minor) for each in instalments],
            origin=draft.origin,
            opening_open=draft.opening_open_minor,
        )
    )
    return Refusal(422, "invoice-unsound", "the invoice contradicts itself", found) if found else None


async def _ties(conn: AsyncConnection, tenant_id: UUID, drafts: Iterable[Draft]) -> Ties:
    numbers = {number for draft in drafts for number in draft.preceding}
    if not numbers:
        return {}
    bearers: dict[tuple[UUID, str], list[tuple[UUID, str]]] = {}
    for row in await storage.numbered(conn, tenant_id, numbers):
        bearers.setdefault((row.entity_id, row.invoice_number), []).append((row.invoice_id, row.kind))
    return {key: found[0] for key, found in bearers.items() if len(found) == 1}


def _refuse(refusal: Refusal | None) -> Outcome:
    return Outcome(status="refused", refusal=refusal)


def _event(state: InvoiceState, status: str) -> InvoiceState:
    kind = InvoiceChanged if status == "changed" else CreditNoteIssued if state.kind == "credit_note" else InvoiceIssued
    return _as(kind, state)


def _as(kind: type[InvoiceState], state: InvoiceState) -> InvoiceState:
    return kind(**{name: getattr(state, name) for name in _FIELDS})


async def _record(conn: AsyncConnection, tenant_id: UUID, outcomes: Iterable[Outcome], actor: str) -> None:
    entries = [
        (actor, f"invoice.{each.status}", str(each.kept.state.invoice_id), {"version": each.kept.state.version})
        for each in outcomes
        if each.kept is not None and each.status != "unchanged"
    ]
    await audit.record(conn, tenant_id, entries)


async def cancel(conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, reason: str, *, now: datetime, actor: str) -> Kept:
    """Cancels an invoice or credit note and publishes InvoiceCancelled; a cancelled one stays as it is.

    Raises Refusal with status 404 where there is no such invoice.
    """
    kept = (await storage.lock_invoices(conn, tenant_id, [invoice_id])).get(invoice_id)
    if kept is None:
        raise Refusal(404, "invoice-unknown", "there is no such invoice")
    if kept.state.status == "cancelled":
        return kept
    state = msgspec.structs.replace(kept.state, status="cancelled", version=kept.state.version + 1)
    kept = msgspec.structs.replace(kept, state=state, cancel_reason=reason)
    await storage.update_invoices(conn, tenant_id, [kept], now)
    await storage.note_reason(conn, tenant_id, invoice_id, reason)
    await audit.record(conn, tenant_id, [(actor, "invoice.cancelled", str(invoice_id), {"version": state.version})])
    await publish(conn, [Outgoing(tenant_id, _as(InvoiceCancelled, state), kept.entity_id)])
    return kept
