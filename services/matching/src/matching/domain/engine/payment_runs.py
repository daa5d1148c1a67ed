"""A large debtor's payment run: everything due until its day, since the run before, less credit notes and less a few withheld items.

Which items are withheld follows from the sum: every set of up to four whose amount is the difference is a solution. Each is
weighed by how such runs are made (until which day, which credit notes its proposal had seen, how many items are withheld), so a
solution comes with the odds against it: the weight of all other solutions and of those that nobody can enumerate.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from heapq import nlargest
from itertools import combinations
from math import comb, exp, gcd, lgamma, log, sqrt

from matching.domain.engine.habits import MONDAY, Habit
from matching.domain.engine.records import Clues, OpenItem

ITEMS_MIN = 6
ITEMS_MAX = 260
"""Invoices of one run: of more, only a whole sum is looked for."""
WITHHELD = 0.027
"""Share of a run's items that are withheld."""
WITHHELD_MAX = 4
UNSEEN = 5
"""How many more withheld items than are looked for still count against a solution."""
LAGS = {0: 0.93, 1: 0.02, 2: 0.02, 3: 0.01, -1: 0.01, 7: 0.01}
MONDAY_LAGS = {0: 0.32, 1: 0.32, 2: 0.32, 3: 0.01, -1: 0.01, 7: 0.01, 4: 0.01}
"""How many days before its booking a run was made, and how often that is so: at a weekend it is booked on Monday."""
MONTH = 31
PROPOSAL_DAYS = 5
"""A run is proposed so long before its day: a credit note that is younger is not in it."""
CREDIT_TAKEN, CREDIT_YOUNG, CREDIT_PASSED_OVER = 0.95, 0.01, 0.02
"""How often a credit note is taken: in time for the proposal, too young for it, left out by the run before."""
GARBLED = 0.35
APART_MAX = 6
"""How often an item that a list seems to leave out is in it, but cannot be read; more of them were not left out by the payer."""
OPTIONS_MAX = 24
OPTION_LEAST = 0.002
"""Options less probable than this share of the best are left out."""
SOLUTIONS_MAX = 400
PAIRS_MAX = 160
"""Invoices among which pairs are looked for: three or four withheld of more than that are never unique."""
FOURS_MAX = 60
"""Invoices of which four are looked for: of more, there are always several."""


@dataclass(slots=True)
class Solution:
    """The places of a run's items, how many are withheld, and the odds against it (0 is certain, 1 is even)."""

    places: tuple[int, ...]
    withheld: int
    odds_against: float


@dataclass(slots=True)
class _Option:
    """From where until when a run goes and with which credit notes: how probable, invoices that are not named, all its places."""

    prior: float
    loose: tuple[int, ...]
    taken: tuple[int, ...]


def payment_runs(  # noqa: C901 - a search
    clues: Clues, items: Sequence[OpenItem], target: int, habit: Habit, gaps: Mapping[int, int],
    inside: Collection[int] = (), outside: Collection[int] = (), *, silent: bool,
) -> list[Solution]:  # fmt: skip
    """The likeliest runs that come to the target, at most three.

    `items` are in due order; `inside` are named, `outside` are left out between them, or garbled; `gaps` says how often so many
    days lay between two runs. Where the payer is `silent`, items of one amount are as good as each other: solutions are told
    apart by amounts.
    """
    invoices = [at for at, item in enumerate(items) if item.open_minor > 0]
    if len(invoices) < ITEMS_MIN:
        return []
    amounts = [item.open_minor for item in items]
    most = sum(nlargest(WITHHELD_MAX, (amounts[at] for at in invoices)))
    options = _options(clues, items, invoices, habit, gaps, inside, outside)
    options = [one for one in options if 0 <= sum(amounts[at] for at in one.taken) - target <= most]
    if not options:
        return []
    free = sorted({at for one in options for at in one.loose})
    pairs: dict[int, list[tuple[int, int]]] = {}
    if len(free) <= PAIRS_MAX:
        for rank, first in enumerate(free):
            amount = amounts[first]
            for second in free[rank + 1 :]:
                pairs.setdefault(amount + amounts[second], []).append((first, second))
    marks = [hash((amount, 1)) for amount in amounts] if silent else [hash((at, 0)) for at in range(len(items))]
    mean = sum(amounts[at] for at in invoices) / len(invoices)
    spread = sqrt(sum((amounts[at] - mean) ** 2 for at in invoices) / len(invoices)) + 1
    grain = _grain([amounts[at] for at in invoices])
    weights: dict[int, float] = {}
    shown: dict[int, tuple[float, _Option, tuple[int, ...]]] = {}
    unseen = 0.01 * grain / spread  # something that is no such run at all
    for one in options:
        excess = sum(amounts[at] for at in one.taken) - target
        size = len(one.loose)
        depth = (WITHHELD_MAX if size <= FOURS_MAX else WITHHELD_MAX - 1) if pairs else 1
        depth = min(depth, max(1, size // 10))
        mark = sum(marks[at] for at in one.taken)
        for places in _subsets(one.loose, amounts, excess, pairs, depth):
            weight = one.prior * _share(size, len(places))
            key = mark - sum(marks[at] for at in places)
            weights[key] = weights.get(key, 0.0) + weight
            if key not in shown or shown[key][0] < weight:
                shown[key] = (weight, one, places)
        if excess > 0:
            for count in range(depth + 1, min(size, depth + UNSEEN) + 1):
                unseen += one.prior * comb(size, count) * _share(size, count) * grain * _density(excess, count, mean, spread)
    total = sum(weights.values()) + unseen
    best = sorted(weights, key=lambda key: (-weights[key], len(shown[key][2]), shown[key][2]))[:3]
    found = []
    for key in best:
        _, one, places = shown[key]
        kept = tuple(at for at in one.taken if at not in places)
        found.append(Solution(kept, len(places), (total - weights[key]) / weights[key]))
    return found


def _share(size: int, withheld: int) -> float:
    """The probability that just these are withheld."""
    return float(WITHHELD**withheld * (1 - WITHHELD) ** (size - withheld))


def _options(
    clues: Clues, items: Sequence[OpenItem], invoices: list[int], habit: Habit, gaps: Mapping[int, int],
    inside: Collection[int], outside: Collection[int],
) -> list[_Option]:  # fmt: skip
    """The likeliest combinations of the day of the run, where it begins and which credit notes it takes."""
    priors: dict[tuple[int, int, tuple[int, ...], tuple[int, ...]], float] = {}
    apart = sorted(at for at in outside if items[at].open_minor > 0)
    apart = apart if len(apart) <= APART_MAX else []
    garbled = [
        (GARBLED ** len(one) * (1 - GARBLED) ** (len(apart) - len(one)), one) for count in range(3) for one in combinations(apart, count)
    ]
    for day, p in _days(clues.booking_date, habit, gaps).items():
        end = sum(1 for at in invoices if items[at].due_date <= day)
        credit_sets = _credit_sets(items, day, habit, inside)
        for since, q in _starts(day, habit).items():
            start = sum(1 for at in invoices if items[at].due_date <= since) if since else 0
            if end - start >= ITEMS_MIN - 2:
                for r, taken in credit_sets:
                    for s, read in garbled:
                        key = (start, end, taken, read)
                        priors[key] = priors.get(key, 0.0) + p * q * r * s
    best = nlargest(OPTIONS_MAX, priors.items(), key=lambda one: one[1])
    named = {at for at in inside if items[at].open_minor > 0}
    options = []
    for (start, end, credits_taken, read), prior in best:
        if prior >= best[0][1] * OPTION_LEAST:
            loose = set(invoices[start:end]).difference(named, apart)
            options.append(_Option(prior, tuple(sorted(loose)), tuple(sorted(loose.union(named, read, credits_taken)))))
    return options


def _days(booked: date, habit: Habit, gaps: Mapping[int, int]) -> dict[date, float]:
    """The days on which the run may have been made: those before the booking, by what lay between other runs."""
    lags = MONDAY_LAGS if booked.weekday() == MONDAY else LAGS
    days = {booked - timedelta(days=lag): share for lag, share in lags.items()}
    if habit.last_run is not None:
        known = sum(gaps.values())
        days = {day: share * (gaps.get((day - habit.last_run).days, 0) + 1) / (known + 1) for day, share in days.items()}
    total = sum(days.values())
    return {day: share / total for day, share in days.items()}


def _starts(day: date, habit: Habit) -> dict[date | None, float]:
    """After which due date the run begins: that of the run before, a month earlier, or with the first open item."""
    month = day - timedelta(days=MONTH)
    if habit.last_run is None:
        return {month: 0.85, None: 0.15}
    return {habit.last_run: 0.95, month: 0.04, None: 0.01} if habit.last_run != month else {month: 0.99, None: 0.01}


def _credit_sets(items: Sequence[OpenItem], day: date, habit: Habit, inside: Collection[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Which credit notes a run takes: those that its proposal had seen and the run before had not, likeliest sets first."""
    sets: list[tuple[float, tuple[int, ...]]] = [(1.0, ())]
    for at, item in enumerate(items):
        if item.open_minor >= 0:
            continue
        if at in inside:
            taken = 0.99
        elif (day - item.issue_date).days < PROPOSAL_DAYS:
            taken = CREDIT_YOUNG
        elif habit.last_run is not None and (habit.last_run - item.issue_date).days >= PROPOSAL_DAYS:
            taken = CREDIT_PASSED_OVER
        else:
            taken = CREDIT_TAKEN
        sets = nlargest(
            10, [(p * q, one) for p, held in sets for q, one in ((taken, (*held, at)), (1 - taken, held))], key=lambda one: one[0]
        )
    return sets


def _subsets(
    loose: Sequence[int], amounts: Sequence[int], excess: int, pairs: Mapping[int, list[tuple[int, int]]], depth: int
) -> list[tuple[int, ...]]:
    """All sets of up to `depth` of the loose places that come to the excess, in order; of fours so many as tell that they are many."""
    if excess == 0:
        return [()]
    if excess < 0:
        return []
    member = set(loose)
    found: list[tuple[int, ...]] = [(at,) for at in loose if amounts[at] == excess]
    if depth > 1:
        found += [pair for pair in pairs.get(excess, ()) if member.issuperset(pair)]
    if depth > 2:  # noqa: PLR2004
        found += [(at, *pair) for at in loose for pair in pairs.get(excess - amounts[at], ()) if at < pair[0] and member.issuperset(pair)]
    if depth > 3:  # noqa: PLR2004
        for total, lefts in pairs.items():
            for right in pairs.get(excess - total, ()):
                found += [(*left, *right) for left in lefts if left[1] < right[0] and member.issuperset((*left, *right))]
            if len(found) > SOLUTIONS_MAX:
                break
    return found


def _grain(amounts: Collection[int]) -> int:
    step = 0
    for amount in amounts:
        step = gcd(step, amount)
    return max(step, 1)


def _density(value: float, count: int, mean: float, spread: float) -> float:
    """How dense the sums of so many amounts lie at a value, by the gamma law: sums of amounts are positive and skewed."""
    shape, scale = count * (mean / spread) ** 2, spread**2 / mean
    return exp((shape - 1) * log(value / scale) - value / scale - lgamma(shape)) / scale
