"""What an invoice is seen beside: who bears a number, who bills the same, and the invoices it refers to.

Invariant: two statements at most, whatever the number of drafts; what refers to an unknown invoice is told of, never refused,
for messages come in any order, but for an invoice that is to be replaced.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from contracts.invoices import InvoiceState
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.drafts import Draft
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import invoices as storage
from invoicing.storage.invoices import Kept

Likeness = tuple[UUID, UUID, str, str, str, int, date]
"""What two invoices share that bill the same: entity, customer, kind, number, currency, total, day of issue."""


class Books(msgspec.Struct, kw_only=True):
    """What is known beside the invoices themselves: who bears a number, who bills the same, what is referred to by id.

    `ties`: (entity, number) to the one invoice that bears it. `twins` and `current` grow as a batch is decided.
    """

    ties: Mapping[tuple[UUID, str], Row[Any]]
    twins: dict[Likeness, tuple[UUID, str]]
    referred: Mapping[UUID, Row[Any]]


async def look_up(conn: AsyncConnection, tenant_id: UUID, drafts: Sequence[Draft]) -> Books:
    """What the drafts' numbers and ids lead to. Two statements at most."""
    bearers: dict[tuple[UUID, str], list[Row[Any]]] = {}
    twins: dict[Likeness, tuple[UUID, str]] = {}
    numbers = {number for draft in drafts for number in (draft.invoice_number, *draft.preceding)}
    for row in await storage.numbered(conn, tenant_id, numbers) if numbers else ():
        if row.kind != "credit_note":
            bearers.setdefault((row.entity_id, row.invoice_number), []).append(row)
        who = (row.entity_id, row.customer_id)
        likeness = (*who, row.kind, row.invoice_number, row.currency, row.total_minor, row.issue_date)
        twins.setdefault(likeness, (row.invoice_id, f"{row.source_system} {row.source_id}"))
    ties = {key: found[0] for key, found in bearers.items() if len(found) == 1}
    ids = {each for draft in drafts for each in (*draft.deposit_invoice_ids, *some(draft.credited_invoice_id))}
    ids |= {each for draft in drafts for each in some(draft.replaces_invoice_id)}
    ids |= {ties[key].invoice_id for draft in drafts for number in draft.preceding if (key := (draft.entity_id, number)) in ties}
    refers = ids or any(draft.preceding for draft in drafts)
    referred = {row.invoice_id: row for row in await storage.referred(conn, tenant_id, ids)} if refers else {}
    return Books(ties=ties, twins=twins, referred=referred)


def replaced(draft: Draft, books: Books) -> UUID | None:
    """The invoice that a draft takes the place of: named by id, or the one that a corrected invoice (384) names by number."""
    if draft.replaces_invoice_id is not None or not draft.corrects or len(draft.preceding) != 1:
        return draft.replaces_invoice_id
    row = books.ties.get((draft.entity_id, draft.preceding[0]))
    return None if row is None else row.invoice_id


class Tied:
    """The invoices that one refers to by id: those of its own batch first."""

    def __init__(self, state: InvoiceState, current: Mapping[UUID, Kept], books: Books) -> None:
        self._state = state
        self._found = {
            invoice_id: (kept.state.kind, kept.state.status, kept.state.currency, kept.entity_id, kept.state.payable_minor, 0)
            for invoice_id in (*state.deposit_invoice_ids, *some(state.credited_invoice_id), *some(state.replaces_invoice_id))
            if (kept := current.get(invoice_id)) is not None
        }
        for row in books.referred.values():
            said = (row.kind, row.status, row.currency, row.entity_id, row.payable_minor, row.open_minor or 0)
            self._found.setdefault(row.invoice_id, said)

    @property
    def unknown(self) -> list[tuple[str, str]]:
        """What it refers to and we do not know yet: messages come in any order."""
        absent = [("deposit-unknown", "deposit") for each in self._state.deposit_invoice_ids if each not in self._found]
        absent += [("credited-unknown", "credited") for each in some(self._state.credited_invoice_id) if each not in self._found]
        return [(code, f"a {what} invoice that is named is not known yet") for code, what in dict.fromkeys(absent)]

    def fault(self) -> Refusal | None:
        """Why what it refers to cannot be what it says."""
        for place, each in enumerate(self._state.deposit_invoice_ids):
            if each in self._found and self._found[each][:3] != ("deposit", "issued", self._state.currency):
                return refused_at(
                    f"/deposit_invoice_ids/{place}", "deposit-mismatch", "is no deposit invoice in this currency that still stands"
                )
        replaced = self._state.replaces_invoice_id
        if replaced is not None and replaced not in self._found:
            return refused_at("/replaces_invoice_id", "replaced-unknown", "there is no such invoice to be replaced")
        if replaced is not None and (self._found[replaced][0], self._found[replaced][2]) != (self._state.kind, self._state.currency):
            return refused_at("/replaces_invoice_id", "replaced-mismatch", "an invoice replaces one of its own kind and currency")
        return None

    def deposits(self) -> tuple[int | None, int]:
        """What the known deposits were payable by, and what of them is open; None where one is unknown, or there is none."""
        ids = self._state.deposit_invoice_ids
        if not ids or any(each not in self._found for each in ids):
            return None, 0
        return sum(self._found[each][4] for each in ids), sum(self._found[each][5] for each in ids)


def some(invoice_id: UUID | None) -> tuple[UUID, ...]:
    return () if invoice_id is None else (invoice_id,)
