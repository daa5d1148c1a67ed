"""Crediting an invoice by a command: a credit note of our making, tied to it.

Invariant: the credit notes tied to an invoice by this command never exceed its total; the invoice's row is locked meanwhile.
"""

from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.drafts import Buyer, Draft
from invoicing.handlers.invoices import Outcome, receive
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import invoices as storage


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A credit note as it is asked for; without amounts the whole invoice is credited."""

    invoice_number: str
    source_id: str
    issue_date: date
    total_minor: int | None
    tax_minor: int | None


async def credit(
    conn: AsyncConnection, tenant_id: UUID, invoice_id: UUID, asked: Asked, *, now: datetime, actor: str, seen: Callable[[int], None]
) -> Outcome:
    """Issues a credit note for an invoice. `seen` raises where the invoice is not at the version that the caller has seen.

    Raises Refusal: 404 no such invoice; 409 it cannot be credited, or is credited up to its total; 422 as `receive` says.
    """
    kept = (await storage.lock_invoices(conn, tenant_id, [invoice_id])).get(invoice_id)
    if kept is None:
        raise Refusal(404, "invoice-unknown", "there is no such invoice")
    state = kept.state
    seen(state.version)
    if state.kind == "credit_note":
        raise Refusal(409, "credits-a-credit-note", "a credit note is not credited: cancel it")
    if state.status == "cancelled":
        raise Refusal(409, "invoice-cancelled", "the invoice was cancelled: nothing is owed on it")
    if state.origin == "history":
        raise Refusal(409, "invoice-is-history", "the invoice was taken over as history: nothing is open on it")
    total = state.total_minor if asked.total_minor is None else asked.total_minor
    before = await storage.credited(conn, tenant_id, invoice_id, but=asked.source_id)
    if total > state.total_minor - before:
        raise refused_at("/total_minor", "more-than-billed", "the credit notes of the invoice would be more than its total", 409)
    draft = Draft(
        entity_id=kept.entity_id,
        source_system=state.source_system,
        source_id=asked.source_id,
        source_version=1,
        invoice_number=asked.invoice_number,
        kind="credit_note",
        origin="issued",
        buyer=Buyer(customer_id=state.customer_id),
        issue_date=asked.issue_date,
        currency=state.currency,
        total_minor=total,
        tax_minor=state.tax_minor if asked.tax_minor is None else asked.tax_minor,
        prepaid_minor=0,
        payable_minor=total,
        credited_invoice_id=invoice_id,
    )
    [outcome] = await receive(conn, tenant_id, [draft], now=now, actor=actor)
    return outcome
