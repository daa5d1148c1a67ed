"""A tenant's own books as a history: what the engine was given on its payments, and what these have settled since.

Invariants:
- what nobody objected to for STOOD counts as right; a person objects by undoing it, the debtor by a list that says otherwise;
- what was undone without either, as when its invoice was cancelled, tells nothing;
- an automatic decision counts as it was first, however often the payment was looked at afterwards; of what went to a person the last
  look counts, once the payment is settled whole;
- payments that were returned tell nothing, advances name no item, and what stays unapplied nobody has decided on;
- a discount that was over is granted or refused by what the payment has settled of its item, and an advance is none where it has settled an
  item that was there before.
"""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.db import Database

from matching.domain.engine.habits import Learnt, Past
from matching.domain.engine.inputs import Inputs, InputsError, from_stored, readings
from matching.domain.engine.records import Hypothesis, Id, Line, OpenItem
from matching.evaluation.history import TrueLine, Truth
from matching.evaluation.protocol import Case, is_right, true_key
from matching.storage import decisions
from matching.storage.decisions import Settled

STOOD = timedelta(days=30)
"""How long a decision has stood before it counts. An assumption: who is reminded of what he has paid complains within that."""
MOST = 20_000
"""Decisions that are looked at. Payments' ids are random, so the first of them are a random sample."""
SLICE = 500


async def own_cases(database: Database, tenant_id: UUID, now: datetime) -> tuple[list[Case], Past]:
    """The tenant's payments that the engine read and that have been settled for STOOD before `now` (business time), MOST at most, and what
    they tell of its discounts and advances.
    """
    found: list[Case] = []
    learnt = Learnt()
    after, seen = UUID(int=0), 0
    while seen < MOST:
        async with database.transaction(tenant_id) as conn:
            rows = await decisions.of_the_engine(conn, tenant_id, after=after, until=now - STOOD, limit=SLICE)
        usable = (row for row in rows if not row.returned and (row.automatic or row.whole))
        found += [case for row in usable if (case := _case(row, learnt)) is not None]
        if len(rows) < SLICE:
            break
        after, seen = rows[-1].payment_id, seen + len(rows)
    async with database.transaction(tenant_id) as conn:
        kept, settled = await decisions.advances(conn, tenant_id, until=now - STOOD, limit=MOST)
    return found, Past(learnt.granted, learnt.refused, kept, settled)


def _case(row: Settled, learnt: Learnt) -> Case | None:
    """`learnt` takes in what became of its late discounts. None where nothing is to be learnt: the inputs are of another form, the engine
    could not read them then either, or what was decided was undone and nobody had objected.
    """
    try:
        given = from_stored(json.loads(row.inputs))
        found = readings(given)
    except (InputsError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
    clues = given.clues
    lines = [TrueLine(UUID(item), minor, 0, None) for item, minor in json.loads(row.settled or "{}").items() if minor]
    silent = not (clues.remittance or clues.structured_reference or clues.end_to_end_id)
    truth = Truth(str(row.payment_id), "own", row.payer, lines, 0, silent)
    right = [_right(one, truth, given, whole=row.whole) for one in found.hypotheses]
    if row.automatic and not row.objected and not any(right):
        return None
    items = {item.item_id: item for item in given.items}
    told = [Line(items[one.invoice_id], one.cents) for one in lines if one.invoice_id in items]
    for line in next((one.lines for one, is_it in zip(found.hypotheses, right, strict=True) if is_it), told):
        learnt.late_discount(line, clues.booking_date)
    return Case(clues, truth, found, right, 0.0, train=True)


def _right(one: Hypothesis, truth: Truth, given: Inputs, *, whole: bool) -> bool:
    """Whether a reading is what the payment has settled; of one with money left only what the reading names is asked for."""
    items: dict[Id, OpenItem] = {item.item_id: item for item in (*given.items, *given.settled)}
    held: dict[Id, Any] = {line.invoice_id: line.cents for line in truth.lines}
    if not whole:
        return bool(one.lines) and all(held.get(line.item.item_id) == line.cents for line in one.lines)
    if not held.keys() <= items.keys():  # a person knew more than the engine was given
        return False
    return is_right(one, truth, true_key(truth, items))
