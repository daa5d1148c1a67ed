"""The review queue: payments with money that no rule could place for certain, what may have been meant, and what a person says.

Rules:
- candidates are those of the latest decision, in its order, less what was dismissed or is settled meanwhile; what was
  written off is one too, for money that comes after all reverses it;
- what is in another currency is one where the engine saw it settled whole by what was received: at the bank's own rate, or near the
  ones seen lately; at any other it is allocated by hand, with a rate;
- confirming one allocates it as it is shown, and is learnt: the payer's IBAN and name are the customer's from now on, until all of
  it is unmatched;
- dismissing one is final: this pair is never proposed again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.clock import machine_now
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key, Payment
from matching.domain.exchange import BANK_RATE, implied
from matching.handlers import allocations
from matching.handlers.payments import CONFIRMED
from matching.storage import review as stored
from matching.storage.parties import learn_payer
from matching.storage.payments import dismiss as dismiss_pairs
from matching.storage.payments import place_of
from matching.storage.review import Meant

WHOLE = (":rate", ":exchanged")
"""How the engine says that items in another currency are settled whole."""
_OF_ITEMS = frozenset({"item_id", "lines", "set_offs"})


@dataclass(slots=True)
class CandidateLine:
    """What a candidate settles of an item, and what is known of the item now.

    `open_minor` is in `currency`, the item's; where that is not the payment's, so is `item_amount_minor`, which `amount_minor` settles.
    `written_off_minor` of it was given up: confirming reverses that as far as the money goes.
    """

    item_id: UUID
    customer_id: UUID
    invoice_number: str
    due_date: date
    open_minor: int
    written_off_minor: int
    amount_minor: int
    currency: str
    difference_minor: int = 0
    reason: str | None = None
    item_amount_minor: int | None = None


@dataclass(slots=True)
class Candidate:
    """One reading of a payment. `rank` counts from 1 in the decision's order; `evidence` is what it said for or against it.

    `set_offs` are credit notes that it deducts.
    """

    rank: int
    lines: list[CandidateLine]
    set_offs: list[allocations.SetOff] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)


async def candidates(conn: AsyncConnection, tenant_id: UUID, payments: Sequence[UUID]) -> dict[UUID, list[Candidate]]:
    """What may have been meant by payments: two statements, however many there are."""
    said = {
        one.payment_id: (one.unapplied_minor, json.loads(one.evidence).get("candidates", []))
        for one in await stored.decided(conn, tenant_id, payments)
    }
    wanted = {(payment, UUID(line["item_id"])) for payment, (_, found) in said.items() for one in found for line in _named(one)}
    items = await stored.meant(conn, tenant_id, wanted)
    result: dict[UUID, list[Candidate]] = {}
    for payment, (unapplied, found) in said.items():
        result[payment] = [
            Candidate(rank, lines, _set_offs(one), {name: value for name, value in one.items() if name not in _OF_ITEMS})
            for rank, one in enumerate(found, 1)
            if (lines := _known(payment, one, items, unapplied))
        ]
    return result


def _lines(one: dict[str, Any]) -> list[dict[str, Any]]:
    """A candidate's lines: one item by itself, or several with their amounts."""
    lines: list[dict[str, Any]] = one.get("lines", [one])
    return lines


def _set_offs(one: dict[str, Any]) -> list[allocations.SetOff]:
    return [
        allocations.SetOff(UUID(held["credit_item_id"]), UUID(held["item_id"]), held["amount_minor"]) for held in one.get("set_offs", ())
    ]


def _named(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that names an item: lines, and the credit notes that are set off."""
    return [*_lines(one), *({"item_id": held["credit_item_id"]} for held in one.get("set_offs", ()))]


def _known(payment: UUID, one: dict[str, Any], items: Mapping[tuple[UUID, UUID], Meant], unapplied: int) -> list[CandidateLine]:
    """The lines of a candidate with what is known of their items; none where one of them is settled or dismissed."""
    there = [item for line in _named(one) if (item := items.get((payment, UUID(line["item_id"])))) is not None]
    if any(item.currency != item.payment_currency for item in there):
        return _exchanged(payment, one, items, unapplied)
    lines = []
    set_offs = _set_offs(one)
    for held in set_offs:
        credit = items.get((payment, held.credit_item_id))
        used = sum(other.amount_minor for other in set_offs if other.credit_item_id == held.credit_item_id)
        if credit is None or credit.open_minor < used:
            return []
    for line in _lines(one):
        item = items.get((payment, UUID(line["item_id"])))
        if item is None or item.kind == "credit_note":
            return []
        difference = int(line.get("difference_minor", 0))
        amount = int(line.get("amount_minor", min(unapplied, item.open_minor)))
        beside = sum(held.amount_minor for held in set_offs if held.item_id == item.item_id)
        if not amount + beside > 0 or amount > unapplied or amount + difference + beside > item.open_minor:
            return []
        lines.append(_line(item, amount, difference_minor=difference, reason=line.get("reason") if difference else None))
    return lines


def _exchanged(payment: UUID, one: dict[str, Any], items: Mapping[tuple[UUID, UUID], Meant], unapplied: int) -> list[CandidateLine]:
    """The lines of a candidate whose items, all in one other currency, what was received settles whole: each has its part of it."""
    told = _lines(one)
    found = [item for line in told if (item := items.get((payment, UUID(line["item_id"])))) is not None and item.kind != "credit_note"]
    amounts = [int(line.get("amount_minor", 0)) for line in told]
    plain = str(one.get("rule", "")).endswith(WHOLE) and not one.get("set_offs") and not any(line.get("difference_minor") for line in told)
    if not plain or len(found) != len(told) or len({item.currency for item in found}) > 1:
        return []
    if not all(0 < amount <= item.open_minor for item, amount in zip(found, amounts, strict=True)):
        return []
    lines, reached, given = [], 0, 0
    for item, amount in zip(found, amounts, strict=True):
        reached += amount
        part, given = unapplied * reached // sum(amounts) - given, unapplied * reached // sum(amounts)
        lines.append(_line(item, part, item_amount_minor=amount))
    return lines if all(line.amount_minor > 0 for line in lines) else []


def _line(
    item: Meant, amount: int, *, difference_minor: int = 0, reason: str | None = None, item_amount_minor: int | None = None
) -> CandidateLine:
    return CandidateLine(
        item.item_id,
        item.customer_id,
        item.invoice_number,
        item.due_date,
        item.open_minor,
        item.written_off_minor,
        amount,
        item.currency,
        difference_minor,
        reason,
        item_amount_minor,
    )


async def confirm(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, rank: int, *, version: int, by: str, now: datetime) -> Payment:
    """Allocates a candidate as it is shown. Raises a 409 Problem where the payment moved on since it was (`version`)."""
    found = [one for one in (await candidates(conn, tenant_id, [payment_id])).get(payment_id, []) if one.rank == rank]
    if not found:
        place = await place_of(conn, tenant_id, payment_id)
        if place is not None and place.version != version:
            raise Problem(409, "payment-moved-on", allocations.MOVED_ON)
        raise Problem(404, "candidate-unknown", "There is no such candidate, or its item is settled or dismissed")
    across = await _across(conn, (tenant_id, payment_id), found[0])
    lines = [
        allocations.Line(one.item_id, one.amount_minor, one.difference_minor, one.reason, across.get(one.item_id))
        for one in found[0].lines
        if one.amount_minor
    ]
    payment = await allocations.allocate(
        conn, tenant_id, payment_id, lines, set_offs=found[0].set_offs, customer_id=None, by=by, now=now, rule=CONFIRMED, version=version
    )
    await learn_payer(conn, tenant_id, payment_id, payment.payer_customer_id, by=by)
    return payment


async def _across(conn: AsyncConnection, payment: Key, found: Candidate) -> dict[UUID, allocations.Across]:
    """What lines in another currency settle, at the rate that follows: the bank's own, or a person's who has seen it."""
    if all(line.item_amount_minor is None for line in found.lines):
        return {}
    place = await place_of(conn, *payment)
    if place is None:
        raise Problem(404, "payment-unknown", "There is no such payment")
    source = BANK_RATE if str(found.evidence.get("rule", "")).endswith(":exchanged") else CONFIRMED
    return {
        line.item_id: allocations.Across(
            line.item_amount_minor, implied(line.amount_minor, place.currency, line.item_amount_minor, line.currency), source
        )
        for line in found.lines
        if line.item_amount_minor is not None
    }


async def dismiss(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, items: Sequence[UUID], reason: str) -> int:
    """These items are not what the payment is for, now or ever; returns how many pairs are new. The rest is looked at again.

    Raises Problem: 404, or 409 where the payment is allocated to one of them.
    """
    key = (tenant_id, payment_id)
    if await stored.known_with(conn, key, items) != set(items):
        raise Problem(404, "pair-unknown", "There is no such payment, or one of the items is not there")
    if await stored.allocated(conn, key, items):
        raise Problem(409, "item-is-allocated", "The payment is allocated to one of the items: unmatch it, which dismisses the pair, too")
    new = await dismiss_pairs(conn, key, sorted(set(items)), reason, machine_now())
    await stored.look_now(conn, key, machine_now())
    return new
