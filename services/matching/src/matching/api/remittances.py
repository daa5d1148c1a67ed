"""Remittance lists: JSON, CSV, XLSX, EDIFACT REMADV."""

import hashlib
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Body, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import Field
from shared.ids import named_id, new_id
from shared.money import MAX_MINOR
from shared.web.idempotency import KEYED
from shared.web.models import AmountMinor, Command, CurrencyCode, Id, Lax, PositiveMinor, Text
from shared.web.problems import FieldError, Problem
from shared.web.route import Router

from matching import remittance_files
from matching.api.commands import tried
from matching.api.expected import ExpectedDetail, Writer, checked, new, receive, reference_of, take
from matching.domain.exchange import rate_of
from matching.domain.remittances import RemittanceLine

ROUTER = Router(prefix="/v1", tags=["expected payments"])
Form = Literal["debtor", "parent", "psp", "card", "cheque_deposit", "factor", "agency", "insurer"]
Deduction = Literal[
    "discount", "bank_charges", "commission", "rounding", "withholding", "retention", "dispute", "return_of_goods", "bonus", "other"
]
_MEDIA = {"text/csv", remittance_files.XLSX_TYPE, "application/edifact", "application/edi-consent"}


class RemittanceLineCommand(Command):
    """What is paid of a document: gross less deduction is net; all below zero for a credit note that is deducted.

    A deduction is granted by the item's terms (`discount`) and, beyond them, up to the entity's limit for hand work; else it stays open.
    `item_amount_minor` of `item_currency` is what that settles of an item in another currency than the list's.
    """

    document_number: Text | None = None
    item_id: Annotated[Id | None, Lax] = None
    gross_minor: AmountMinor
    deduction_minor: AmountMinor = 0
    deduction_reason: Deduction | None = None
    net_minor: AmountMinor
    item_amount_minor: AmountMinor | None = None
    item_currency: CurrencyCode | None = None


class RemittanceCommand(Command):
    """A remittance list: who pays what by one payment of `total_minor` that carries `reference`.

    It is in the payment's currency; `rate` is how many units of `rate_currency`, which the items are in, one of its own is worth. Or it
    is in the items' currency, and the bank says that its total was sent, whatever it credited.
    """

    entity_id: Id
    form: Form = "debtor"
    payer_customer_id: Annotated[Id | None, Lax] = None
    reference: Text | None = None
    document_number: Text | None = None
    currency: CurrencyCode
    total_minor: PositiveMinor
    rate: Annotated[str | None, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,10})?$")] = None
    rate_currency: CurrencyCode | None = None
    lines: Annotated[list[RemittanceLineCommand], Field(min_length=1, max_length=remittance_files.MOST)]


def _rate(body: RemittanceCommand) -> Decimal | None:
    """The list's rate. Raises a 422 Problem for one of zero, without its currency, or of the list's own."""
    if (body.rate is None) != (body.rate_currency is None) or body.rate_currency == body.currency:
        error = FieldError("/rate_currency", "rate-currency", "a rate has the currency of the items, another than the list's")
        raise Problem(422, "rate-currency", "A rate and the items' currency come together", errors=[error])
    try:
        return None if body.rate is None else rate_of(body.rate)
    except ValueError as wrong:
        raise Problem(422, "rate-invalid", "A rate is above zero", errors=[FieldError("/rate", "rate-invalid", str(wrong))]) from None


@ROUTER.post("/remittances", status_code=201, response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_remittance(request: Request, caller: Writer, body: RemittanceCommand) -> Response:
    """Takes a remittance list in: the payment that it is about is settled as it says, whichever comes first.

    The same list again, under the same reference, changes nothing.
    """
    lines = [
        RemittanceLine(
            x.document_number,
            x.item_id,
            x.gross_minor,
            x.deduction_minor,
            x.deduction_reason,
            x.net_minor,
            x.item_amount_minor,
            x.item_currency,
        )
        for x in body.lines
    ]
    checked(lines, body.total_minor)
    held = new(request, caller, new_id(), body.entity_id, body.form, body.payer_customer_id, body.currency, body.total_minor, lines)
    held.reference, held.document_number = reference_of(body.reference), body.document_number
    held.rate, held.rate_currency = _rate(body), body.rate_currency
    return await receive(request, caller, held, body.reference)


@ROUTER.post("/remittances/file", status_code=201, response_model=ExpectedDetail, max_body_size=remittance_files.MAX_BYTES)
async def post_file(
    request: Request,
    caller: Writer,
    body: Annotated[bytes, Body(media_type="text/csv")],
    entity_id: Id,
    currency: CurrencyCode | None = None,
    form: Form = "debtor",
    reference: Annotated[Text | None, Query()] = None,
    payer_customer_id: Annotated[UUID | None, Lax] = None,
) -> Response:
    """Takes a list in as text/csv, XLSX or application/edifact (REMADV). The same file again changes nothing."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _MEDIA:
        raise Problem(415, "media-type-unsupported", "A remittance list is text/csv, XLSX or application/edifact")
    try:
        found = await run_in_threadpool(remittance_files.read, body, media, currency)
    except remittance_files.RemittanceError as error:
        raise Problem(422, "remittance-unreadable", "The file is no readable remittance list", str(error)[:300]) from None
    total = sum(line.net_minor for line in found.lines) if found.total_minor is None else found.total_minor
    checked(found.lines, total, places=found.places)
    if not 0 < total <= MAX_MINOR:
        raise Problem(422, "remittance-differs", "The list does not add up", "nothing is paid by it, or more than any amount that is kept")
    digest = hashlib.sha256(body).hexdigest()
    expected_id = named_id("remittance", caller.tenant_id, entity_id, digest)
    held = new(request, caller, expected_id, entity_id, form, payer_customer_id, found.currency, total, found.lines)
    held.reference, held.document_number = reference_of(reference or found.reference), found.document_number
    held.rate, held.rate_currency = found.rate, found.rate_currency
    return await tried(request, caller, lambda conn: take(conn, request, caller, held, reference or found.reference))
