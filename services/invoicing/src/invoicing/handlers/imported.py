"""What imports feed to the commands, set-wise: drafts in the order of the file, each with what became of it.

A slice goes in up to three steps, so that a final invoice finds its deposit and a credit note its invoice where both come in
one slice; versions of one invoice keep their order.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID

from contracts.invoices import Origin
from shared import documents
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.drafts import Draft
from invoicing.einvoices.drafting import draft_of
from invoicing.einvoices.reading import Reading
from invoicing.handlers import invoices
from invoicing.handlers.entities import find_sellers
from invoicing.handlers.refusals import Refusal
from invoicing.imports.invoices import Taken
from invoicing.imports.reading import FileTaken

Told = tuple[tuple[str, str, str], ...]
"""(column, rule, sentence) of each fault or warning."""
_STEPS = 3
_FIELDS = {"instalments": "instalment_amount", "opening_open": "open"}
_FILE_FAULTS = 20


class Outcome(NamedTuple):
    """What became of one document or customer. `amount` is signed, in minor units of `currency`, where it could be read."""

    status: Literal["created", "changed", "unchanged", "rejected"]
    line: int
    currency: str | None
    amount: int | None
    faults: Told = ()
    warnings: Told = ()
    member: str = ""
    subject: UUID | None = None

    @property
    def counts_as(self) -> Literal["accepted", "rejected", "duplicate"]:
        """The counter it belongs to."""
        match self.status:
            case "rejected":
                return "rejected"
            case "unchanged":
                return "duplicate"
            case _:
                return "accepted"


async def take_invoices(
    conn: AsyncConnection, tenant_id: UUID, taken: Sequence[Taken], label: Callable[[str], str], *, now: datetime, actor: str
) -> list[Outcome]:
    """Takes a slice of rows into the books; one outcome for each, in order."""
    drafts = {place: each.draft for place, each in enumerate(taken) if each.draft is not None}
    became = await _receive(conn, tenant_id, drafts, now=now, actor=actor)
    found = []
    for place, each in enumerate(taken):
        if each.draft is None:
            found.append(Outcome("rejected", each.line, each.currency, each.amount, each.faults))
        else:
            found.append(_outcome(became[place], each.line, each.currency, each.amount, label))
    return found


async def _receive(
    conn: AsyncConnection, tenant_id: UUID, drafts: dict[int, Draft], *, now: datetime, actor: str
) -> dict[int, invoices.Outcome]:
    steps: list[list[int]] = [[] for _ in range(_STEPS)]
    latest: dict[tuple[UUID, str, str], int] = {}
    for place, draft in drafts.items():
        own = 0 if not draft.preceding else 2 if draft.kind == "credit_note" else 1
        key = (draft.entity_id, draft.source_system, draft.source_id)
        latest[key] = step = max(own, latest.get(key, 0))
        steps[step].append(place)
    became: dict[int, invoices.Outcome] = {}
    for places in steps:
        if places:
            outcomes = await invoices.receive(conn, tenant_id, [drafts[place] for place in places], now=now, actor=actor)
            became |= dict(zip(places, outcomes, strict=True))
    return became


def _outcome(
    outcome: invoices.Outcome, line: int, currency: str | None, amount: int | None, label: Callable[[str], str], member: str = ""
) -> Outcome:
    warnings = tuple(("", code, detail) for code, detail in outcome.warnings)
    if outcome.refusal is not None:
        return Outcome("rejected", line, currency, amount, _told(outcome.refusal, label), warnings, member)
    status = "rejected" if outcome.status == "refused" else outcome.status
    subject = outcome.kept.state.invoice_id if outcome.kept is not None else None
    return Outcome(status, line, currency, amount, (), warnings, member, subject)


def _told(refusal: Refusal, label: Callable[[str], str]) -> Told:
    """A refusal's faults, at the file's own columns."""
    if not refusal.faults:
        return (("", refusal.code, refusal.detail),)
    return tuple((label(_field(fault.pointer)), fault.code, fault.detail) for fault in refusal.faults)


def _field(pointer: str) -> str:
    name = pointer.removeprefix("/").removesuffix("_minor")
    return _FIELDS.get(name, name)


async def take_files(
    conn: AsyncConnection,
    tenant_id: UUID,
    taken: Sequence[FileTaken],
    *,
    mode: Origin,
    source_system: str,
    folder: Path | None,
    now: datetime,
    actor: str,
) -> list[Outcome]:
    """Takes e-invoices into the books; those that change anything are stored under their digest (not without a `folder`)."""
    named = {place: each.reading.invoice.seller for place, each in enumerate(taken) if each.reading.invoice is not None}
    sellers = dict(zip(named, await find_sellers(conn, tenant_id, list(named.values())), strict=True))
    drafts: dict[int, Draft] = {}
    refused: dict[int, Told] = {}
    for place, each in enumerate(taken):
        reading, seller = each.reading, sellers.get(place)
        if mode != "issued":
            refused[place] = (("", "mode-needs-table", "an e-invoice does not say what is open or when it was paid"),)
        elif reading.verdict != "accepted":
            told = [(finding.xpath, finding.rule, finding.detail) for finding in reading.fatal[:_FILE_FAULTS]]
            refused[place] = tuple(told) or (("", "unreadable", reading.reason or "cannot be read"),)
        elif reading.booked is not None and reading.booked.obstacle is not None:
            obstacle = reading.booked.obstacle
            refused[place] = ((obstacle.xpath, obstacle.rule, obstacle.detail),)
        elif isinstance(seller, Refusal) or seller is None:
            refused[place] = _told(seller, str) if seller is not None else (("", "unreadable", "names no seller"),)
        else:
            drafts[place] = draft_of(reading, entity_id=seller.entity_id, source_system=source_system, source_version=1)
    became = await _receive(conn, tenant_id, drafts, now=now, actor=actor)
    found = []
    for place, each in enumerate(taken):
        currency, amount = _value(each.reading)
        if place in refused:
            found.append(Outcome("rejected", 0, currency, amount, refused[place], member=each.member))
            continue
        outcome = became[place]
        if folder is not None and outcome.status in {"created", "changed"}:
            await asyncio.to_thread(documents.store, folder, tenant_id, each.reading.sha256, each.data)
        found.append(_outcome(outcome, 0, currency, amount, str, each.member))
    return found


def _value(reading: Reading) -> tuple[str | None, int | None]:
    """What an e-invoice counts as in the control sums: what is payable, a credit note negative."""
    if reading.booked is None or reading.invoice is None:
        return None, None
    payable = reading.booked.payable
    return reading.invoice.currency, -payable if reading.booked.kind == "credit_note" else payable
