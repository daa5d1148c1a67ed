"""What is said again of money to come: one list, or one announcement, however often it is sent and under whichever id of its payer.

Rules:
- a list that says its reference is the same where all that it says is the same, in whatever form and order, however its documents' numbers
  are written, and under whatever number of its own it is sent;
- an announcement that says its reference is the same where payer and kind are, while it waits, and for the day for which it has come; after
  that, or where it was taken back or has failed, it is another one: a debit of each month, a cheque presented again. Said again otherwise
  (another day, amount or item) it is refused: nothing tells a correction from a message that comes late;
- without a reference nothing tells two equal ones apart but the Idempotency-Key under which they are sent;
- a merged customer's ids are one payer; what is new is named by the one that stands for him.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from shared.aliases import members, stands_for
from shared.ids import named_id
from shared.web.problems import FieldError, Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.references import normalised
from matching.storage import expected as stored
from matching.storage.expected import Expected, lines_json


async def known_as(conn: AsyncConnection, held: Expected) -> UUID:
    """The id of what says its reference: that under which it is known, or a new one."""
    tenant, payers = held.tenant_id, await _payers(conn, held)
    turn, free = 0, None
    while True:
        ids = [_id(held, payer, turn) for payer in payers]
        before = await stored.load(conn, [(tenant, one) for one in ids], lock=False)
        for known in before.values():
            if held.kind == "remittance" or known.status == "waiting" or (_came(known) and known.expected_on == held.expected_on):
                return known.expected_id
        if free is None and (tenant, ids[0]) not in before:
            free = ids[0]
        if not before and free is not None:
            return free
        turn += 1


def same(held: Expected, known: Expected) -> None:
    """Raises a 409 Problem where money that is announced under a reference is announced otherwise."""
    if known.kind == "remittance":
        return
    told = {
        "/amount_minor": (held.amount_minor, known.amount_minor),
        "/currency": (held.currency, known.currency),
        "/expected_on": (held.expected_on, known.expected_on),
        "/holds_until": (held.holds_until, known.holds_until),
        "/lines": (_items(held), _items(known)),
    }
    errors = [
        FieldError(place, "announced-otherwise", "differs from what was announced") for place, (now, was) in told.items() if now != was
    ]
    if errors:
        how = (
            "It has come: announce other money under another reference"
            if _came(known)
            else f"End it first (POST /v1/expected-payments/{known.expected_id}/end), then announce it anew"
        )
        title = "Money of this payer, kind and reference is announced otherwise already"
        raise Problem(409, "announced-otherwise", title, how, errors=errors)


def _came(known: Expected) -> bool:
    return known.status in {"partly", "received"}


def _items(held: Expected) -> list[tuple[UUID | None, int]]:
    return sorted(((line.item_id, line.net_minor) for line in held.lines), key=str)


def _id(held: Expected, payer: UUID | None, turn: int) -> UUID:
    if held.kind != "remittance":
        return named_id("announcement", held.tenant_id, held.entity_id, payer, held.kind, held.reference, turn)
    said = (held.reference, held.form, payer, held.currency, held.amount_minor, held.rate and held.rate.normalize(), held.rate_currency)
    lines = [replace(line, document_number=normalised(line.document_number or "")) for line in held.lines]
    told = json.dumps([str(one) for one in said] + sorted(lines_json([line]) for line in lines))
    return named_id("remittance", held.tenant_id, held.entity_id, hashlib.sha256(told.encode()).hexdigest())


async def _payers(conn: AsyncConnection, held: Expected) -> Sequence[UUID | None]:
    """The ids that are the payer, the one that stands for him first."""
    if held.payer_customer_id is None:
        return [None]
    payer = await stands_for(conn, held.tenant_id, held.payer_customer_id)
    return [payer, *sorted(set(await members(conn, held.tenant_id, [payer])) - {payer})]
