"""A large debtor's payment run: everything due until a day, since the run before, less credit notes and less a few withheld items.

Which items are withheld follows from the sum: every set of up to four whose amount is the difference is a solution. Each is
weighed by how such runs are made (how many items are withheld, how old a credit note is that is taken, until which day), so
a solution comes with the odds against it: the weight of all other solutions and of those that nobody can enumerate.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import comb, exp, gcd, pi, sqrt

from matching.domain.engine.habits import Habit
from matching.domain.engine.records import Clues, OpenItem

ITEMS_MIN = 6
ITEMS_MAX = 260
"""Invoices of one run: of more, only a whole sum is looked for."""
WITHHELD = 0.025
"""Share of a run's items that are withheld."""
WITHHELD_MAX = 4
LAGS = ((0, 0.45), (1, 0.2), (2, 0.3), (3, 0.03), (-1, 0.01), (7, 0.01))
"""Until how many days before the booking the items are due, and how often that is so."""
OPTIONS_MAX = 14
SOLUTIONS_MAX = 400
PAIRS_MAX = 160
"""Invoices among which pairs are looked for: three or four withheld of more than that are never unique."""


@dataclass(slots=True)
class Solution:
    """The places of a run's items, how many are withheld, and the odds against it (0 is certain, 1 is even)."""

    places: tuple[int, ...]
    withheld: int
    odds_against: float


def payment_runs(  # noqa: C901, PLR0912 - a search
    clues: Clues, items: Sequence[OpenItem], target: int, habit: Habit, inside: Collection[int] = (), outside: Collection[int] = ()
) -> list[Solution]:
    """The likeliest runs that come to the target, at most three. `items` are in due order; `inside` are taken, `outside` are not."""
    invoices = [at for at, item in enumerate(items) if item.open_minor > 0 and at not in outside]
    if len(invoices) < ITEMS_MIN:
        return []
    options = _options(clues, items, invoices, habit, inside)
    if not options:
        return []
    amounts = {at: items[at].open_minor for at in invoices}
    most = sum(nlargest(WITHHELD_MAX, amounts.values()))
    options = [
        one for one in options if 0 <= sum(amounts[at] for at in one[1]) + sum(items[at].open_minor for at in one[2]) - target <= most
    ]
    if not options:
        return []
    widest = sorted({at for _, chosen, _ in options for at in chosen})
    free = [at for at in widest if at not in inside]
    pairs: dict[int, list[tuple[int, int]]] = {}
    if len(free) <= PAIRS_MAX:
        for first, a in enumerate(free):
            for b in free[first + 1 :]:
                pairs.setdefault(amounts[a] + amounts[b], []).append((a, b))
    solutions: dict[tuple[int, ...], tuple[float, tuple[int, ...], int]] = {}
    unseen = 0.0
    mean = sum(amounts.values()) / len(amounts)
    spread = sqrt(sum((one - mean) ** 2 for one in amounts.values()) / len(amounts)) + 1
    grain = _grain(amounts.values())
    for prior, chosen, credits_taken in options:
        excess = sum(amounts[at] for at in chosen) + sum(items[at].open_minor for at in credits_taken) - target
        loose = [at for at in chosen if at not in inside]
        size = len(loose)
        deepest = WITHHELD_MAX if len(free) <= PAIRS_MAX else 1
        for places in _subsets(loose, amounts, excess, pairs, deepest):
            count = len(places)
            if count > max(1, size // 10):
                continue
            weight = prior * WITHHELD**count * (1 - WITHHELD) ** (size - count)
            gone = set(places)
            kept = tuple(sorted([at for at in chosen if at not in gone] + list(credits_taken)))
            if kept not in solutions or solutions[kept][0] < weight:
                solutions[kept] = (weight, kept, count)
            if len(solutions) >= SOLUTIONS_MAX:
                break
        if excess > 0:
            for count in range(min(deepest, max(1, size // 10)) + 1, min(size, deepest + 5)):
                many = comb(size, count) * WITHHELD**count * (1 - WITHHELD) ** (size - count)
                unseen += prior * many * grain * _density(excess, count * mean, spread * sqrt(count))
    unseen += 0.01 * grain / spread  # something that is no such run at all
    total = sum(weight for weight, _, _ in solutions.values()) + unseen
    best = sorted(solutions.values(), key=lambda one: (-one[0], one[1]))[:3]
    return [Solution(kept, count, (total - weight) / weight) for weight, kept, count in best]


def _options(
    clues: Clues, items: Sequence[OpenItem], invoices: list[int], habit: Habit, inside: Collection[int]
) -> list[tuple[float, list[int], tuple[int, ...]]]:
    """From where until when, and with which credit notes: prior weight, invoices, credit notes."""
    day = clues.booking_date
    first = {0: 0.15}
    age = next((rank for rank, at in enumerate(invoices) if (day - items[at].due_date).days <= 31), len(invoices))  # noqa: PLR2004 - a month
    if habit.last_due is not None:
        fresh = next((rank for rank, at in enumerate(invoices) if items[at].due_date > habit.last_due), len(invoices))
        first[fresh] = first.get(fresh, 0) + 0.8
        first[age] = first.get(age, 0) + 0.05
    else:
        first[age] = first.get(age, 0) + 0.85
    last: dict[int, float] = {}
    for lag, share in LAGS:
        until = sum(1 for at in invoices if (day - items[at].due_date).days >= lag)
        last[until] = last.get(until, 0) + share
    last[len(invoices)] = last.get(len(invoices), 0) + 0.01
    windows = []
    for start, p in first.items():
        for end, q in last.items():
            if end - start >= ITEMS_MIN - 2:
                chosen = sorted({*invoices[start:end], *(at for at in inside if items[at].open_minor > 0)})
                windows.append((p * q, chosen))
    credit_sets = _credit_sets(clues, items, habit, inside)
    every = [(p * q, chosen, taken) for p, chosen in windows for q, taken in credit_sets]
    return nlargest(OPTIONS_MAX, every, key=lambda one: one[0])


def _credit_sets(clues: Clues, items: Sequence[OpenItem], habit: Habit, inside: Collection[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Which credit notes a run takes: those of some days' age that the run before had not seen, likeliest sets first."""
    sets: list[tuple[float, tuple[int, ...]]] = [(1.0, ())]
    for at, item in enumerate(items):
        if item.open_minor >= 0:
            continue
        age = (clues.booking_date - item.issue_date).days
        seen = habit.last_credit is not None and item.issue_date <= habit.last_credit
        if at in inside:
            taken = 0.99
        elif seen:
            taken = 0.03
        else:
            taken = 0.02 if age < 4 else 0.35 if age < 6 else 0.85 if age < 8 else 0.96  # noqa: PLR2004 - days
        sets = nlargest(
            10, [(p * q, one) for p, held in sets for q, one in ((taken, (*held, at)), (1 - taken, held))], key=lambda one: one[0]
        )
    return sets


def _subsets(  # noqa: C901, PLR0912 - a search
    loose: list[int], amounts: dict[int, int], excess: int, pairs: dict[int, list[tuple[int, int]]], deepest: int
) -> list[tuple[int, ...]]:
    """All sets of up to `deepest` of the loose places that come to the excess; four at most once per pair of pairs."""
    if excess == 0:
        return [()]
    if excess < 0:
        return []
    low, high = (loose[0], loose[-1]) if loose else (0, -1)
    member = set(loose)
    found: list[tuple[int, ...]] = [(at,) for at in loose if amounts[at] == excess]
    if deepest < 2:  # noqa: PLR2004
        return found
    found += [pair for pair in pairs.get(excess, ()) if low <= pair[0] and pair[1] <= high and pair[0] in member and pair[1] in member]
    for at in loose:
        for pair in pairs.get(excess - amounts[at], ()):
            if at < pair[0] and pair[1] <= high and pair[0] in member and pair[1] in member:
                found.append((at, *pair))
    if len(found) < 40 and len(loose) <= 130:  # noqa: PLR2004 - beyond that four are never told apart
        for total, lefts in pairs.items():
            rights = pairs.get(excess - total)
            if not rights:
                continue
            for left in lefts:
                if left[0] not in member or left[1] not in member:
                    continue
                for right in rights:
                    if left[1] < right[0] and right[0] in member and right[1] in member:
                        found.append((*left, *right))
            if len(found) > SOLUTIONS_MAX:
                break
    return found


def _grain(amounts: Collection[int]) -> int:
    step = 0
    for amount in amounts:
        step = gcd(step, amount)
    return max(step, 1)


def _density(value: float, mean: float, spread: float) -> float:
    return max(exp(-(((value - mean) / spread) ** 2) / 2) / (spread * sqrt(2 * pi)), 0.02 / spread)
