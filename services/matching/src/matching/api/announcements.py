"""Money that is announced."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field
from shared.days import business_day
from shared.ids import new_id
from shared.web.idempotency import KEYED
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, PositiveMinor, Text
from shared.web.problems import FieldError, Problem
from shared.web.route import Router

from matching.api.expected import ExpectedDetail, Writer, checked, new, receive, reference_of
from matching.domain.remittances import RemittanceLine

ROUTER = Router(prefix="/v1", tags=["expected payments"])
HOLD_DAYS, HOLD_DAYS_MAX = 5, 120
"""Days after the expected one that an announcement holds reminders, where it does not say (banks settle within these), and at most."""
AHEAD_DAYS_MAX = 366
"""Days ahead that money may be announced for: it holds reminders all that time."""
LINES_MAX = 700
"""Items of an announcement: its event names all of them, in 90 bytes each, and has 64 KiB."""


class AnnouncedLine(Command):
    """What of the money is for an item."""

    item_id: Id
    amount_minor: PositiveMinor


class AnnouncementCommand(Command):
    """Money that is on its way: its items are not reminded of until it comes, or `holds_until` has passed."""

    entity_id: Id
    customer_id: Id
    kind: Literal["direct_debit", "cheque", "card", "transfer"]
    amount_minor: PositiveMinor
    currency: CurrencyCode
    expected_on: Date
    holds_until: Annotated[Date | None, Lax] = None
    reference: Text | None = None
    lines: Annotated[list[AnnouncedLine], Field(max_length=LINES_MAX)] = Field(default=[])


@ROUTER.post("/payment-announcements", status_code=201, response_model=ExpectedDetail, openapi_extra=KEYED)
async def post_announcement(request: Request, caller: Writer, body: AnnouncementCommand) -> Response:
    """Announces money: a direct debit handed in, a cheque in hand, a card payment pending, a transfer promised by its bank.

    The same again under the same reference of the payer and kind changes nothing while it waits, nor once it has come for that day; said
    otherwise under it (day, amount, items) it is refused (409), and the one that is known is ended first. Without a reference two equal
    ones under two Idempotency-Keys are two. What holds no reminder any more is refused (422), unless its money has come.
    """
    lines = [RemittanceLine(None, line.item_id, line.amount_minor, 0, None, line.amount_minor) for line in body.lines]
    checked(lines, body.amount_minor, "/amount_minor")
    if body.expected_on > business_day(request.app.state.runtime.clock.now()) + timedelta(days=AHEAD_DAYS_MAX):
        error = FieldError("/expected_on", "expected-ahead", f"is more than {AHEAD_DAYS_MAX} days ahead")
        raise Problem(422, "expected-ahead", f"Money is announced for at most {AHEAD_DAYS_MAX} days ahead", errors=[error])
    until = body.holds_until or body.expected_on + timedelta(days=HOLD_DAYS)
    if until < body.expected_on:
        error = FieldError("/holds_until", "holds-too-short", "is before the day on which the money is expected")
        raise Problem(422, "holds-too-short", "It holds at least until the day on which the money is expected", errors=[error])
    if (until - body.expected_on).days > HOLD_DAYS_MAX:
        error = FieldError("/holds_until", "holds-too-long", f"is more than {HOLD_DAYS_MAX} days after that day")
        title = f"It holds at most {HOLD_DAYS_MAX} days beyond the day on which the money is expected"
        raise Problem(422, "holds-too-long", title, errors=[error])
    held = new(request, caller, new_id(), body.entity_id, "debtor", body.customer_id, body.currency, body.amount_minor, lines)
    held.kind, held.form, held.reference = body.kind, None, reference_of(body.reference)
    held.expected_on, held.holds_until = body.expected_on, until
    return await receive(request, caller, held, body.reference)
