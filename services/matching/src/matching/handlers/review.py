"""The review queue: payments with money that no rule could place for certain, what may have been meant, and what a person says.

Rules:
- candidates are those of the latest decision, in its order, less what was dismissed or is settled meanwhile; what was
  written off is one too, for money that comes after all reverses it;
- what is in another currency is one where the engine saw it settled whole by what was received: at the bank's own rate, or near the
  ones seen lately; at any other it is allocated by hand, with a rate;
- confirming one allocates it as it is shown, and is learnt: the payer's IBAN and name are the customer's from now on;
- dismissing one is final: this pair is never proposed again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.clock import machine_now
from shared.db import run
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key, Payment
from matching.domain.exchange import BANK_RATE, implied
from matching.handlers import allocations
from matching.storage.parties import learn_payer
from matching.storage.rows import fetch

RULE = "confirmed"
WHOLE = (":rate", ":exchanged")
"""How the engine says that items in another currency are settled whole."""
_OF_ITEMS = frozenset({"item_id", "lines", "set_offs"})


@dataclass(slots=True)
class CandidateLine:
    """What a candidate settles of an item, and what is known of the item now.

    `open_minor` is in `currency`, the item's; where that is not the payment's, so is `item_amount_minor`, which `amount_minor` settles.
    """

    item_id: UUID
    customer_id: UUID
    invoice_number: str
    due_date: date
    open_minor: int
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
    rows = await fetch(
        conn,
        "SELECT p.payment_id, p.unapplied_minor, CAST(d.evidence AS text) FROM payment p "
        "CROSS JOIN LATERAL (SELECT evidence FROM decision d "
        "WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id ORDER BY payment_version DESC LIMIT 1) d "
        "WHERE p.tenant_id = :tenant AND p.payment_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(payments),
    )
    said = {row[0]: (row[1], json.loads(row[2]).get("candidates", [])) for row in rows}
    wanted = {(payment, UUID(line["item_id"])) for payment, (_, found) in said.items() for one in found for line in _named(one)}
    items = {
        (row[0], row[1]): row
        for row in await fetch(
            conn,
            "SELECT w.payment_id, i.item_id, i.customer_id, i.invoice_number, i.due_date, i.open_minor + i.written_off_minor, i.kind, "
            "i.currency, p.currency "
            "FROM unnest(CAST(:payments AS uuid[]), "
            "CAST(:items AS uuid[])) AS w(payment_id, item_id) JOIN open_item i ON i.tenant_id = :tenant AND i.item_id = w.item_id "
            "JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = w.payment_id "
            "WHERE i.open_minor + i.written_off_minor > 0 AND i.close_cause IS DISTINCT FROM 'cancelled' "
            "AND NOT EXISTS (SELECT 1 FROM dismissed_pair d "
            "WHERE d.tenant_id = :tenant AND d.payment_id = w.payment_id AND d.item_id = w.item_id)",
            tenant=tenant_id,
            payments=[pair[0] for pair in wanted],
            items=[pair[1] for pair in wanted],
        )
    }
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


def _known(payment: UUID, one: dict[str, Any], items: dict[tuple[UUID, UUID], Any], unapplied: int) -> list[CandidateLine]:
    """The lines of a candidate with what is known of their items; none where one of them is settled or dismissed."""
    if any(row[7] != row[8] for line in _named(one) if (row := items.get((payment, UUID(line["item_id"])))) is not None):
        return _exchanged(payment, one, items, unapplied)
    lines = []
    set_offs = _set_offs(one)
    for held in set_offs:
        credit = items.get((payment, held.credit_item_id))
        if credit is None or credit[5] < sum(other.amount_minor for other in set_offs if other.credit_item_id == held.credit_item_id):
            return []
    for line in _lines(one):
        row = items.get((payment, UUID(line["item_id"])))
        if row is None or row[6] == "credit_note":
            return []
        difference = int(line.get("difference_minor", 0))
        amount = int(line.get("amount_minor", min(unapplied, row[5])))
        beside = sum(held.amount_minor for held in set_offs if held.item_id == row[1])
        if not amount + beside > 0 or amount > unapplied or amount + difference + beside > row[5]:
            return []
        reason = line.get("reason") if difference else None
        lines.append(CandidateLine(row[1], row[2], row[3], row[4], row[5], amount, row[7], difference, reason))
    return lines


def _exchanged(payment: UUID, one: dict[str, Any], items: dict[tuple[UUID, UUID], Any], unapplied: int) -> list[CandidateLine]:
    """The lines of a candidate whose items, all in one other currency, what was received settles whole: each has its part of it."""
    rows = [items.get((payment, UUID(line["item_id"]))) for line in _lines(one)]
    amounts = [int(line.get("amount_minor", 0)) for line in _lines(one)]
    plain = str(one.get("rule", "")).endswith(WHOLE) and not one.get("set_offs") and not any(x.get("difference_minor") for x in _lines(one))
    if not plain or any(row is None or row[6] == "credit_note" or not 0 < n <= row[5] for row, n in zip(rows, amounts, strict=True)):
        return []
    if len({row[7] for row in rows if row is not None}) > 1:
        return []
    lines, reached, given = [], 0, 0
    for row, amount in zip(rows, amounts, strict=True):
        reached += amount
        part, given = unapplied * reached // sum(amounts) - given, unapplied * reached // sum(amounts)
        lines.append(CandidateLine(row[1], row[2], row[3], row[4], row[5], part, row[7], item_amount_minor=amount))  # type: ignore[index] # there, as was looked at
    return lines if all(line.amount_minor > 0 for line in lines) else []


async def confirm(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, rank: int, *, version: int, by: str, now: datetime) -> Payment:
    """Allocates a candidate as it is shown. Raises a 409 Problem where the payment moved on since it was (`version`)."""
    found = [one for one in (await candidates(conn, tenant_id, [payment_id])).get(payment_id, []) if one.rank == rank]
    if not found:
        raise Problem(404, "candidate-unknown", "There is no such candidate, or its item is settled or dismissed")
    across = await _across(conn, (tenant_id, payment_id), found[0])
    lines = [
        allocations.Line(one.item_id, one.amount_minor, one.difference_minor, one.reason, across.get(one.item_id))
        for one in found[0].lines
        if one.amount_minor
    ]
    payment = await allocations.allocate(
        conn, tenant_id, payment_id, lines, set_offs=found[0].set_offs, customer_id=None, by=by, now=now, rule=RULE, version=version
    )
    await learn_payer(conn, tenant_id, payment_id, payment.payer_customer_id, by=by)
    return payment


async def _across(conn: AsyncConnection, payment: Key, found: Candidate) -> dict[UUID, allocations.Across]:
    """What lines in another currency settle, at the rate that follows: the bank's own, or a person's who has seen it."""
    if all(line.item_amount_minor is None for line in found.lines):
        return {}
    rows = await fetch(
        conn, "SELECT currency FROM payment WHERE tenant_id = :tenant AND payment_id = :id", tenant=payment[0], id=payment[1]
    )
    source = BANK_RATE if str(found.evidence.get("rule", "")).endswith(":exchanged") else RULE
    return {
        line.item_id: allocations.Across(
            line.item_amount_minor, implied(line.amount_minor, rows[0][0], line.item_amount_minor, line.currency), source
        )
        for line in found.lines
        if line.item_amount_minor is not None
    }


async def dismiss(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, items: Sequence[UUID], reason: str) -> int:
    """These items are not what the payment is for, now or ever; returns how many pairs are new. The rest is looked at again."""
    known = await fetch(
        conn,
        "SELECT i.item_id FROM payment p JOIN open_item i ON i.tenant_id = p.tenant_id AND i.item_id = ANY(CAST(:items AS uuid[])) "
        "WHERE p.tenant_id = :tenant AND p.payment_id = :payment",
        tenant=tenant_id,
        payment=payment_id,
        items=list(items),
    )
    if len(known) != len(set(items)):
        raise Problem(404, "pair-unknown", "There is no such payment, or one of the items is not there")
    new = await run(
        conn,
        "INSERT INTO dismissed_pair (tenant_id, payment_id, item_id, reason, dismissed_at) SELECT :tenant, :payment, "
        "unnest(CAST(:items AS uuid[])), :reason, :now ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        payment=payment_id,
        items=sorted(set(items)),
        reason=reason,
        now=machine_now(),
    )
    await run(
        conn,
        "UPDATE payment SET next_look_at = :now WHERE tenant_id = :tenant AND payment_id = :payment "
        "AND status IN ('unapplied', 'partly_matched')",
        tenant=tenant_id,
        payment=payment_id,
        now=machine_now(),
    )
    return new
