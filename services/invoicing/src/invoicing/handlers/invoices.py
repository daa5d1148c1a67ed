"""Invoices and credit notes: received, changed, cancelled. Whatever their number, a handful of statements.

Invariants:
- one invoice per source id, whoever sends it at the same moment: the insert decides, and who loses it looks again;
- a version is drawn under the row's lock and published with the whole state in the same transaction;
- each draft of a batch stands or falls by itself; what is the same again changes and publishes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from contracts.fields import Document
from contracts.invoices import CreditNoteIssued, InvoiceCancelled, InvoiceChanged, InvoiceIssued, InvoiceState
from shared import audit
from shared.db import savepoint
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from shared.references import Scheme
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.cautions import DUPLICATE, ORDER_MISSING, Billed, cautions
from invoicing.domain.changes import Known, RefusedError, judge
from invoicing.domain.reference import creditor_reference, numbered_reference, scheme_of
from invoicing.domain.totals import Amounts, faults
from invoicing.drafts import Draft
from invoicing.handlers.books import Books, Likeness, Tied, look_up, replaced
from invoicing.handlers.customers import find_buyers
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import entities as entity_storage
from invoicing.storage import invoices as storage
from invoicing.storage.invoices import Kept

ADDED = frozenset({"copy", "attachment"})
"""Kinds of documents that are added to an invoice after it came."""
_FIELDS = InvoiceState.__struct_fields__
_COPIED = tuple(name for name in Draft.__struct_fields__ if name in _FIELDS and name not in {"instalments", "references"})


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one draft. `warnings` are codes with a sentence; `refusal` is set exactly where it was refused."""

    status: Literal["created", "changed", "unchanged", "refused"]
    kept: Kept | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    refusal: Refusal | None = None


class _Sound(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that makes sense, with all that was looked up for it. `number` is drawn for a numeric reference, if it gets one."""

    place: int
    draft: Draft
    invoice_id: UUID
    entity: Row[Any]
    customer: Row[Any]
    content: bytes
    scheme: Scheme
    number: int | None = None

    @property
    def likeness(self) -> Likeness:
        draft = self.draft
        who = (draft.entity_id, self.customer.customer_id)
        return (*who, draft.kind, draft.invoice_number, draft.currency, draft.total_minor, draft.issue_date)


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
                scheme=scheme_of(entity.reference_scheme, entity.country, draft.payment_account),
            )
            pending.append(sound)
    pending = await _numbered(conn, pending)
    books = await look_up(conn, tenant_id, [sound.draft for sound in pending])
    events: list[Outgoing] = []
    while pending:
        lost = await _settle(conn, tenant_id, pending, books, now=now, outcomes=outcomes, events=events)
        pending = [sound for sound in pending if sound.invoice_id in lost]
    await _record(conn, tenant_id, outcomes.values(), actor)
    await publish(conn, events)
    return [outcomes[place] for place in range(len(drafts))]


async def would_receive(conn: AsyncConnection, tenant_id: UUID, draft: Draft, *, now: datetime, actor: str) -> Outcome:
    """What `receive` would make of a draft now. Nothing is left of it."""
    async with savepoint(conn) as trial:
        [outcome] = await receive(conn, tenant_id, [draft], now=now, actor=actor)
        await trial.rollback()
    return outcome


async def _settle(
    conn: AsyncConnection,
    tenant_id: UUID,
    pending: Sequence[_Sound],
    books: Books,
    *,
    now: datetime,
    outcomes: dict[int, Outcome],
    events: list[Outgoing],
) -> set[UUID]:
    """Decides and writes what is pending; returns the ids that another sender inserted meanwhile, to be decided anew."""
    wanted = {sound.invoice_id for sound in pending} | {found for sound in pending if (found := replaced(sound.draft, books))}
    stored = await storage.lock_invoices(conn, tenant_id, wanted)
    current: dict[UUID, Kept] = dict(stored)
    decided: list[tuple[_Sound, Outcome, list[Outgoing]]] = []
    replaced_by: dict[UUID, UUID] = {}
    for sound in pending:
        outcome = _decide(sound, current, books)
        told = []
        if outcome.kept is not None and outcome.status != "unchanged":
            current[sound.invoice_id] = outcome.kept
            books.twins.setdefault(sound.likeness, (sound.invoice_id, f"{sound.draft.source_system} {sound.draft.source_id}"))
            told.append(Outgoing(tenant_id, _event(outcome.kept.state, outcome.status), sound.draft.entity_id))
        old = current.get(replaced(sound.draft, books) or sound.invoice_id)
        if outcome.status == "created" and old is not None and old.state.status == "issued" and old.state.invoice_id != sound.invoice_id:
            old = _cancelled(old, f"replaced by {sound.draft.invoice_number}")
            current[old.state.invoice_id] = old
            replaced_by[old.state.invoice_id] = sound.invoice_id
            told.append(Outgoing(tenant_id, _as(InvoiceCancelled, old.state), old.entity_id))
        decided.append((sound, outcome, told))
    new = [kept for invoice_id, kept in current.items() if invoice_id not in stored]
    lost: set[UUID] = set()
    if new:
        lost = {kept.state.invoice_id for kept in new} - await storage.insert_invoices(conn, tenant_id, new, now)
    changed = [
        kept
        for invoice_id, kept in current.items()
        if invoice_id in stored and kept is not stored[invoice_id] and replaced_by.get(invoice_id) not in lost
    ]
    if changed:
        await storage.update_invoices(conn, tenant_id, changed, now)
    for sound, outcome, told in decided:
        if sound.invoice_id not in lost:
            outcomes[sound.place] = outcome
            events += told
    return lost


def _decide(sound: _Sound, current: Mapping[UUID, Kept], books: Books) -> Outcome:
    draft, known, kept = sound.draft, None, current.get(sound.invoice_id)
    if kept is not None:
        state = kept.state
        known = Known(state.source_version, kept.content, state.kind, state.origin, state.currency, state.status == "cancelled")
    offered = Known(draft.source_version, sound.content, draft.kind, draft.origin, draft.currency)
    try:
        verdict = judge(known, offered)
    except RefusedError as error:
        return _refuse(Refusal(409, error.code, error.detail))
    if verdict == "unchanged":
        return Outcome(status=verdict, kept=kept, warnings=kept.warnings if kept is not None else ())
    warnings: list[tuple[str, str]] = []
    if sound.customer.hold_reason and draft.kind != "credit_note" and draft.origin == "issued" and verdict == "created":
        held = held_detail(sound.customer.hold_reason)
        if sound.entity.on_hold == "block":
            return _refuse(Refusal(409, "customer-on-hold", held))
        warnings.append(("customer-on-hold", held))
    after = _next(sound, kept, books)
    tied = Tied(after.state, current, books)
    if (wrong := tied.fault()) is not None:
        return _refuse(wrong)
    warnings += tied.unknown
    if draft.corrects and after.state.replaces_invoice_id is None:
        warnings.append(("corrected-unknown", "the invoice that is corrected is not known, or not the only one of its number"))
    refusable = {DUPLICATE: sound.entity.on_duplicate, ORDER_MISSING: sound.entity.on_missing_order}
    for each in cautions(_billed(sound, after, tied, books)):
        if verdict == "created" and refusable.get(each.code) == "refuse":
            return _refuse(refused_at(each.pointer, each.code, each.detail, 409 if each.code == DUPLICATE else 422))
        warnings.append((each.code, each.detail))
    return Outcome(status=verdict, kept=msgspec.structs.replace(after, warnings=tuple(warnings)), warnings=tuple(warnings))


def held_detail(reason: str) -> str:
    """Why an invoice to a customer on hold is refused or warned of."""
    return f"new business with the customer is held: {reason}"


def _billed(sound: _Sound, after: Kept, tied: Tied, books: Books) -> Billed:
    draft, state = sound.draft, after.state
    twin = books.twins.get(sound.likeness)
    payable, still_open = tied.deposits()
    return Billed(
        kind=state.kind,
        origin=state.origin,
        country=sound.entity.country,
        issued=state.issue_date,
        due=max((each.due_date for each in state.instalments), default=None),
        has_order_number=bool(state.order_numbers),
        needs_order_number=sound.customer.requires_order_number,
        reference=draft.payment_reference,
        scheme=sound.entity.reference_scheme,
        prepaid_minor=state.prepaid_minor,
        twin=twin[1] if twin is not None and twin[0] != sound.invoice_id else None,
        deposits_minor=payable,
        deposits_open_minor=still_open,
    )


def _next(sound: _Sound, kept: Kept | None, books: Books) -> Kept:
    """The invoice after the draft: version, reference, and the invoices it is tied to."""
    draft = sound.draft
    tied = [books.ties[key] for number in draft.preceding if (key := (draft.entity_id, number)) in books.ties]
    fields: dict[str, Any] = {name: list(value) if isinstance(value := getattr(draft, name), tuple) else value for name in _COPIED}
    if draft.kind == "credit_note":
        fields["credited_invoice_id"] = draft.credited_invoice_id or next((row.invoice_id for row in tied), None)
    elif not draft.deposit_invoice_ids:
        fields["deposit_invoice_ids"] = [row.invoice_id for row in tied if row.kind == "deposit"]
    reference, made = draft.payment_reference, False
    if reference is None and draft.kind != "credit_note" and draft.origin != "history":
        made = True
        reference = kept.state.payment_reference if kept is not None and kept.reference_made else None
        reference = reference or _made_reference(sound)
    fields |= {
        "version": kept.state.version + 1 if kept is not None else 1,
        "invoice_id": sound.invoice_id,
        "status": "issued",
        # a changed invoice keeps the buyer it was issued to, though another may stand for him now
        "customer_id": sound.customer.named_id if _names(kept, sound.customer.named_id) else sound.customer.customer_id,
        "customer_number": sound.customer.customer_number,
        "payment_reference": reference,
        "replaces_invoice_id": replaced(draft, books) or (kept.state.replaces_invoice_id if kept is not None else None),
        "references": list(dict.fromkeys((*draft.references, *draft.preceding))),
        "documents": [*draft.documents, *_added(kept, draft)],
        "instalments": draft.schedule(_terms_days(sound.entity, sound.customer)),
    }
    return Kept(entity_id=draft.entity_id, state=InvoiceState(**fields), reference_made=made, content=sound.content)


def _added(kept: Kept | None, draft: Draft) -> list[Document]:
    """Documents that were added here and that the source's next version says nothing of."""
    own = {each.sha256 for each in draft.documents}
    return [] if kept is None else [each for each in kept.state.documents if each.kind in ADDED and each.sha256 not in own]


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


def _made_reference(sound: _Sound) -> str:
    if sound.number is None:
        return creditor_reference(sound.draft.invoice_number, sound.invoice_id)
    return numbered_reference(sound.scheme, sound.entity.reference_prefix, sound.number)


async def _numbered(conn: AsyncConnection, pending: Sequence[_Sound]) -> list[_Sound]:
    """Draws a number for each draft that may get a numeric reference. A statement, or none."""

    def may_need(sound: _Sound) -> bool:
        draft = sound.draft
        return sound.scheme != "RF" and draft.payment_reference is None and draft.kind != "credit_note" and draft.origin != "history"

    wanted = [sound for sound in pending if may_need(sound)]
    numbers = dict(zip((sound.place for sound in wanted), await storage.draw_numbers(conn, len(wanted)), strict=True)) if wanted else {}
    return [msgspec.structs.replace(sound, number=numbers.get(sound.place)) for sound in pending]


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


async def cancel(
    conn: AsyncConnection,
    tenant_id: UUID,
    invoice_id: UUID,
    reason: str,
    *,
    now: datetime,
    actor: str,
    seen: Callable[[int], None] = lambda _: None,
) -> Kept:
    """Cancels an invoice or credit note and publishes InvoiceCancelled; a cancelled one stays as it is.

    `seen` raises where the invoice is not at the version that the caller has seen.

    Raises Refusal with status 404 where there is no such invoice.
    """
    kept = (await storage.lock_invoices(conn, tenant_id, [invoice_id])).get(invoice_id)
    if kept is None:
        raise Refusal(404, "invoice-unknown", "there is no such invoice")
    seen(kept.state.version)
    if kept.state.status == "cancelled":
        return kept
    kept = _cancelled(kept, reason)
    await storage.update_invoices(conn, tenant_id, [kept], now)
    await audit.record(conn, tenant_id, [(actor, "invoice.cancelled", str(invoice_id), {"version": kept.state.version})])
    await publish(conn, [Outgoing(tenant_id, _as(InvoiceCancelled, kept.state), kept.entity_id)])
    return kept


def _cancelled(kept: Kept, reason: str) -> Kept:
    state = msgspec.structs.replace(kept.state, status="cancelled", version=kept.state.version + 1)
    return msgspec.structs.replace(kept, state=state, cancel_reason=reason)
