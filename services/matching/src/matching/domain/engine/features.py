"""The evidence for one reading of a payment, as numbers.

SIGN says which way each may move the confidence: +1 more of it never makes a reading less probable, -1 never more, 0 free
(a neutral circumstance that the others are read in). The confidence is monotone in the evidence because the model is held to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

from matching.domain.engine.habits import Habit, Learnt
from matching.domain.engine.parties import compact
from matching.domain.engine.readings import Reading
from matching.domain.engine.records import Clues, OpenItem, Party
from matching.domain.engine.text import LONG, Named

SIGN = {
    "virtual_iban": 1,
    "own_iban": 1,
    "learned_iban": 1,
    "name": 1,
    "learned_name": 1,
    "customer_number": 1,
    "party_by_document": 1,
    "party_by_amount": 1,
    "rival": -1,
    "via_parent": 0,
    "named_share": 1,
    "weakest_name": 1,
    "named_left_out": -1,
    "weakly_named_left_out": -1,
    "settled_named": -1,
    "others_named": -1,
    "not_named": -1,
    "reference": 1,
    "tied_names": -1,
    "anything_named": 0,
    "unread": -1,
    "advance": -1,
    "money": 1,
    "discounted": 0,
    "gap": -1,
    "gap_signed": -1,
    "charge_seen": 1,
    "lines": 0,
    "structure": 1,
    "chance": -1,
    "withheld": -1,
    "open_items": 0,
    "other_readings": -1,
    "simpler_readings": -1,
    "days_late": 0,
    "days_late_last": 0,
    "unusual_delay": -1,
    "older_left": -1,
    "share_older_paid": 1,
    "after_last_run": 1,
    "unusual_cutoff": -1,
    "discount_days_over": -1,
    "discount_habit": 0,
    "discount_not_taken": -1,
    "paid_same_lately": -1,
    "paid_same_days": 0,
    "history": 0,
    "silent_habit": 0,
    "several_habit": 0,
    "equal_items": 0,
    "part_paid": 0,
    "only_item": 1,
    "round_amount": 0,
}
NAMES = tuple(SIGN)
RUN_GAP = 12
"""Days between the last item of one payment run and the first of the next."""
PAIR = 2
TWICE_SEEN, TWICE_SHARE = 3, 0.05
"""How often money must have come twice after so many days, and how often of all that came again then, before it is expected to."""
TWICE_DAYS = (0, 1, 7)
"""Days after which a payment file that was sent twice comes again: the same day, the next, with the next week's run."""

MONEY = {
    "exact": 6.0, "charges_stated": 6.0, "exchanged": 6.0, "rounding": 5.0, "percent": 4.5, "charges": 4.0, "rate": 3.0, "over": 1.0,
    "short": 1.0, "short_round": 0.5, "rate_short": 0.0,
}  # fmt: skip
STRUCTURE = {
    "document_number": 6.0, "exact_amount": 5.0, "run_of_items": 4.0, "document_numbers_in_part": 4.0, "named_run": 4.0,
    "run_but_some": 3.0, "completed_list": 3.0, "combination": 2.0, "only_item": 1.0, "instalment": 1.0, "promised": 1.0,
    "near_amount": 0.0,
}  # fmt: skip
_COST = {
    "document_number": 0, "exact_amount": 1, "run_of_items": 2, "document_numbers_in_part": 2, "named_run": 2, "completed_list": 3,
    "run_but_some": 4, "combination": 3, "only_item": 6, "instalment": 6, "promised": 6, "near_amount": 7,
}  # fmt: skip
_WHOLE = ("exact", "charges_stated", "exchanged", "rounding", "charges")


@dataclass(slots=True)
class Setting:
    """What all readings of a payment for one customer share."""

    clues: Clues
    party: Party
    rival: float
    items: Sequence[OpenItem]
    named: Named
    others_named: int
    reference: int
    advance: bool
    habit: Habit
    learnt: Learnt


def features(setting: Setting, reading: Reading, all_readings: Sequence[Reading]) -> list[float]:
    """The evidence in the order of NAMES."""
    clues, party, habit, named = setting.clues, setting.party, setting.habit, setting.named
    lines = reading.lines
    mine = {line.item.item_id for line in lines}
    strength = {hit.item.item_id: (hit.strength - (2 if hit.span.other else 0) - (1 if hit.tied else 0)) for hit in named.hits}
    given = [strength.get(line.item.item_id, 0) for line in lines]
    count = len(lines)
    strong_left = weak_left = settled = tied = 0
    for hit in named.hits:
        firm = hit.strength >= LONG and not hit.span.other
        if hit.item.item_id in mine:
            tied += hit.tied > 0
        elif not hit.item.open_minor:
            settled += firm
        elif firm:
            strong_left += 1
        elif not hit.span.other:
            weak_left += 1
    invoices = [line for line in lines if line.item.open_minor > 0] or lines
    day = clues.booking_date
    first = min(line.item.due_date for line in invoices)
    last = max(line.item.due_date for line in invoices)
    late, late_last = (day - first).days, (day - last).days
    usual, spread = habit.usual_delay()
    currency = lines[0].item.currency
    older = older_taken = 0
    fresh = habit.last_due
    for item in setting.items:
        if item.open_minor > 0 and item.currency == currency and item.due_date < last:
            older += 1
            older_taken += item.item_id in mine
    older_left = older - older_taken
    over = [(day - line.item.discount_until).days for line in lines if line.reason == "discount" and line.item.discount_until is not None]
    offered = not reading.discounted and reading.money not in {"short", "short_round", "percent"} and any(
        line.item.discount_until is not None and line.item.discount_percent and day <= line.item.discount_until for line in lines
    )  # fmt: skip
    same = [(day - when).days for amount, when in habit.paid if amount == clues.amount_minor and when <= day]
    cost = _COST[reading.rule]
    exact = [
        other
        for other in all_readings
        if other is not reading and other.money in _WHOLE and other.lines[0].item.customer_id == lines[0].item.customer_id
    ]
    charge = max((line.diff_cents for line in lines if line.reason == "bank_charges"), default=0)
    taste = habit.discounts / habit.discounts_offered if habit.discounts_offered else 0.5
    total_charges = sum(setting.learnt.charges.values())
    return [
        party.virtual_iban,
        party.own_iban,
        party.learned_iban,
        party.name,
        party.learned_name,
        party.number,
        party.document,
        party.amount,
        setting.rival,
        float(party.via_parent),
        sum(1 for one in given if one > 0) / count,
        float(min(given)),
        float(strong_left),
        float(weak_left),
        float(settled),
        float(setting.others_named),
        float(sum(1 for one in given if one <= 0)) if named.hits else 0.0,
        float(setting.reference if any(line.item.reference == clues.structured_reference for line in lines) else -setting.reference),
        float(tied),
        float(bool(named.hits)),
        float(named.unread),
        float(setting.advance),
        MONEY[reading.money],
        float(reading.discounted),
        abs(reading.residual) / max(reading.target, 1),
        reading.residual / max(reading.target, 1) if reading.money == "rate" else 0.0,
        setting.learnt.charges[charge] / total_charges if charge and total_charges else 0.0,
        float(min(count, 40)),
        STRUCTURE[reading.rule],
        log1p(1e6 * reading.chance),
        float(reading.withheld),
        log1p(len(setting.items)),
        log1p(len(exact)),
        log1p(sum(1 for other in exact if _COST[other.rule] + 0.3 * len(other.lines) < cost + 0.3 * count)),
        float(max(min(late, 90), -60)),
        float(max(min(late_last, 90), -60)),
        min(abs(late - usual) / (spread + 2), 20.0) if habit.late and not reading.discounted else 0.0,
        log1p(older_left),
        older_taken / older if older else 1.0,
        float(fresh is not None and first > fresh and (first - fresh).days <= RUN_GAP),
        float(min(abs(late_last - habit.cutoff), 40)) if habit.cutoff is not None and count > PAIR else 5.0,
        float(max(over)) if over else 0.0,
        taste,
        float(offered) * taste,
        1.0 / (1 + min(same)) if same else 0.0,
        float(_paid_before(same, setting.learnt)) if same else 99.0,
        log1p(habit.payments),
        habit.silent / habit.payments if habit.payments else 0.3,
        habit.several / habit.payments if habit.payments else 0.1,
        float(min(reading.equal, 10)),
        float(any(line.item.open_minor != line.item.original_minor for line in lines)),
        float(len(setting.items) == 1),
        float(clues.amount_minor % 1000 == 0) + float(clues.amount_minor % 10000 == 0),
    ]


def _paid_before(same: Sequence[int], learnt: Learnt) -> int:
    """How many days before the same amount was paid, where that tells of a payment that was sent twice; else the fewest."""
    if any(learnt.twice[days] >= max(TWICE_SEEN, TWICE_SHARE * learnt.again[days]) for days in same):
        return TWICE_DAYS[0]
    return next((days for days in TWICE_DAYS if days in same), min(same))


def of_party(party: Party | None) -> list[float]:
    """What speaks for the payer alone, in the order of NAMES: the evidence for an advance, or, of nobody, for what is no receivable."""
    known = {} if party is None else {
        "virtual_iban": party.virtual_iban, "own_iban": party.own_iban, "learned_iban": party.learned_iban, "name": party.name,
        "learned_name": party.learned_name, "advance": 1.0,
    }  # fmt: skip
    return [known.get(name, 0.0) for name in NAMES]


def name_of(clues: Clues) -> str:
    """The name that a payment is known by, as aliases are kept: for whom it was paid, where the bank says so, or who paid."""
    return compact(clues.ultimate_name or clues.debtor_name or "")
