"""A large debtor's payment run: everything due until its day, since the run before, less credit notes and less a few withheld items.

Which items are withheld follows from the sum: every set of up to four whose amount is the difference is a solution. Each is
weighed by how such runs are made (until which day, which credit notes its proposal had seen, how many items are withheld), so a
solution comes with the odds against it: the weight of all other solutions and of those that nobody can enumerate.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from heapq import nlargest
from itertools import combinations, islice, product
from math import comb, exp, gcd, lgamma, log, prod, sqrt

from matching.domain.engine.habits import MONDAY, Habit
from matching.domain.engine.records import Clues, OpenItem

ITEMS_MIN = 6
LONG_RUN = 20
"""Items of a run that is judged by its odds alone: so many come to a sum by accident, too, also without a gap."""
WITHHELD = 0.027
"""Share of a run's items that are withheld."""
WITHHELD_MAX = 4
UNSEEN = 4
"""How many more withheld items than are looked for still count against a solution."""
LAGS = {0: 0.93, 1: 0.02, 2: 0.02, 3: 0.01, -1: 0.01, 7: 0.01}
MONDAY_LAGS = {0: 0.32, 1: 0.32, 2: 0.32, 3: 0.01, -1: 0.01, 7: 0.01, 4: 0.01}
"""How many days before its booking a run was made, and how often that is so: at a weekend it is booked on Monday."""
MONTH = 31
PROPOSAL_DAYS = 5
"""A run is proposed so long before its day: a credit note that is younger is not in it."""
CREDIT_TAKEN, CREDIT_YOUNG, CREDIT_PASSED_OVER = 0.97, 0.01, 0.01
"""How often a credit note is taken: in time for the proposal, too young for it, left out by the run before."""
GARBLED = 0.35
APART_MAX = 6
"""How often an item that a list seems to leave out is in it, but cannot be read; more of them were not left out by the payer."""
OPTIONS_MAX = 24
OPTION_LEAST = 0.002
"""Options less probable than this share of the best are left out."""
SOLUTIONS_MAX = 2_000
PAIRS_MAX = 180
"""Amounts among which pairs are looked for: three or four withheld of more than that are never unique."""
COARSE = 100
"""Amounts in steps of this (whole euros) meet far more often than others: their sets are counted."""
STEPS_MAX = 8_000
BITS = 40
"""Room for a count: fewer sets of eight come to one sum."""
LIKELY = 0.05
"""Options less probable than this share of the best are not searched as deep."""
SHOWN = 3
"""Sets of the same amounts that are told apart where it matters which of them are meant: of more, none is likely."""
HOPELESS = 2.0
"""Odds against the best solution beyond which it does not matter how many others there are."""
PRIME = (1 << 61) - 1


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


def payment_runs(  # noqa: C901, PLR0912 - a search
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
    reach = []
    for one in _options(clues, items, invoices, habit, gaps, inside, outside):
        excess = sum(amounts[at] for at in one.taken) - target
        if 0 <= excess <= most:
            reach.append((one, excess))
    if not reach:
        return []
    furthest = max(excess for _, excess in reach)
    search = Withheld({amounts[at] for one, _ in reach for at in one.loose if amounts[at] <= furthest}, furthest)
    # sums of these tell sets apart; Python's own hashes of equal sums are equal
    marks = [pow(one, 7, PRIME) for one in (amounts if silent else range(2, len(items) + 2))]
    mean = sum(amounts[at] for at in invoices) / len(invoices)
    spread = sqrt(sum((amounts[at] - mean) ** 2 for at in invoices) / len(invoices)) + 1
    grain = _grain([amounts[at] for at in invoices])
    weights: dict[int, float] = {}
    shown: dict[int, tuple[float, _Option, tuple[int, ...]]] = {}
    others = 0.01 * grain / spread  # something that is no such run at all
    likely = LIKELY * reach[0][0].prior
    for one, excess in reach:
        size = len(one.loose)
        mark = sum(marks[at] for at in one.taken)
        places: dict[int, list[int]] = {}
        for at in one.loose:
            places.setdefault(amounts[at], []).append(at)
        depth = min(WITHHELD_MAX if one.prior >= likely else WITHHELD_MAX - 1, max(1, size // 10))
        for held in search.sets({amount: len(ats) for amount, ats in places.items()}, excess, depth):
            count = sum(held.values())
            weight = one.prior * _share(size, count)
            alike = prod(comb(len(places[amount]), times) for amount, times in held.items())
            picks = product(*(islice(combinations(places[amount], times), SHOWN) for amount, times in held.items()))
            shares = 1 if silent else min(alike, SHOWN)
            others += 0 if silent else weight * (alike - shares)
            for pick in islice(picks, shares):
                chosen = tuple(sorted(at for ats in pick for at in ats))
                key = mark - sum(marks[at] for at in chosen)
                weights[key] = weights.get(key, 0.0) + weight * (alike if silent else 1)
                if key not in shown or shown[key][0] < weight:
                    shown[key] = (weight, one, chosen)
    if not weights:
        return []
    for one, excess in reach:
        if excess > 0 and sum(weights.values()) + others <= (1 + HOPELESS) * max(weights.values()):
            depth = min(WITHHELD_MAX, max(1, len(one.loose) // 10))
            others += one.prior * _deeper(one.loose, amounts, excess, depth, grain, (mean, spread), exact=one.prior >= likely)
    total = sum(weights.values()) + others
    best = sorted(weights, key=lambda key: (-weights[key], len(shown[key][2]), shown[key][2]))[:3]
    found = []
    for key in best:
        _, one, chosen = shown[key]
        kept = tuple(at for at in one.taken if at not in chosen)
        found.append(Solution(kept, len(chosen), (total - weights[key]) / weights[key]))
    return found


def _deeper(
    loose: Sequence[int], amounts: Sequence[int], excess: int, depth: int, grain: int, law: tuple[float, float], *, exact: bool
) -> float:
    """The weight of all sets of more than `depth` that come to the excess: counted where amounts are coarse, else by their density.

    `law` is the mean and the spread of the amounts.
    """
    size = len(loose)
    last = min(size, depth + UNSEEN)
    coarse = [amounts[at] // COARSE for at in loose if amounts[at] % COARSE == 0 and amounts[at] <= excess]
    counted = [0] * (last + 1)
    if exact and excess % COARSE == 0 and len(coarse) > depth:
        counted = ways([amount // (step := _grain(coarse)) for amount in coarse], excess // COARSE, step, last)
    else:
        coarse = []
    weight = 0.0
    for count in range(depth + 1, last + 1):
        mixed = comb(size, count) - comb(len(coarse), count)
        weight += _share(size, count) * (counted[count] + mixed * grain * _density(excess, count, *law))
    return weight


def ways(amounts: Sequence[int], total: int, step: int, last: int) -> list[int]:
    """How many sets of each size up to `last` come to the total; `amounts` are in steps. Polynomials, each packed into one number."""
    if total % step:
        return [0] * (last + 1)
    wanted = total // step
    if wanted > STEPS_MAX:
        return [0] * (last + 1)
    cell = (1 << (BITS * (wanted + 1))) - 1
    powers = [1] + [0] * last
    for amount in amounts:
        for count in range(last, 0, -1):
            if powers[count - 1]:
                powers[count] += (powers[count - 1] << (BITS * amount)) & cell
    return [(one >> (BITS * wanted)) & ((1 << BITS) - 1) for one in powers]


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
    dues = [items[at].due_date for at in invoices]
    credit_notes = [(at, item.issue_date) for at, item in enumerate(items) if item.open_minor < 0]
    for day, p in _days(clues.booking_date, habit, gaps).items():
        end = bisect_right(dues, day)
        credits_of = credit_sets(credit_notes, day, habit, inside)
        for since, q in _starts(day, habit).items():
            start = bisect_right(dues, since) if since else 0
            if end - start >= ITEMS_MIN - 2:
                for r, taken in credits_of:
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


def credit_sets(
    credit_notes: Sequence[tuple[int, date]], day: date, habit: Habit, inside: Collection[int]
) -> list[tuple[float, tuple[int, ...]]]:
    """Which credit notes (place, day of issue) a run takes: those that its proposal had seen and the run before had not, likeliest sets
    first.
    """
    likely: list[tuple[int, bool]] = []
    sets: list[tuple[float, tuple[int, ...]]] = [(1.0, ())]
    """The likeliest, each as those of the credit notes that are otherwise than is likely of them."""
    for at, issued in credit_notes:
        if at in inside:
            taken = 0.99
        elif (day - issued).days < PROPOSAL_DAYS:
            taken = CREDIT_YOUNG
        elif habit.last_run is not None and (habit.last_run - issued).days >= PROPOSAL_DAYS:
            taken = CREDIT_PASSED_OVER
        else:
            taken = CREDIT_TAKEN
        likely.append((at, taken > 0.5))  # noqa: PLR2004 - more likely than not
        odd = min(taken, 1 - taken)
        sets = nlargest(
            10, [(p * q, one) for p, others in sets for q, one in ((1 - odd, others), (odd, (*others, at)))], key=lambda one: one[0]
        )
    return [(p, tuple(at for at, taken in likely if taken != (at in others))) for p, others in sets]


class Withheld:
    """Which amounts come to a sum: at most four of them, from the pairs of all amounts that may be withheld."""

    def __init__(self, amounts: Collection[int], furthest: int) -> None:
        self.amounts = sorted(amounts)
        self.pairs: dict[int, list[int]] = {}
        """By sum, the first amount of each pair."""
        if len(self.amounts) <= PAIRS_MAX:
            for rank, first in enumerate(self.amounts):
                for second in self.amounts[rank:]:
                    total = first + second
                    if total > furthest:
                        break
                    held = self.pairs.get(total)
                    if held is None:
                        self.pairs[total] = [first]
                    else:
                        held.append(first)

    def sets(  # noqa: C901 - one paragraph per size
        self, counts: Mapping[int, int], excess: int, depth: int
    ) -> list[dict[int, int]]:
        """All sets of up to `depth` that come to the excess, as how often each amount; `counts` says how often there is one.

        Of fours so many as tell that they are many.
        """
        if excess <= 0:
            return [{}] if excess == 0 else []
        found: list[tuple[int, ...]] = [(excess,)] if excess in counts else []
        if depth > 1:
            found += [(first, excess - first) for first in self.pairs.get(excess, ())]
        if depth > 2:  # noqa: PLR2004
            for first in self.amounts:
                rest = excess - first
                found += [(first, second, rest - second) for second in self.pairs.get(rest, ()) if second >= first]
        if depth > 3:  # noqa: PLR2004
            for total, lefts in self.pairs.items():
                rights = self.pairs.get(excess - total)
                if rights is not None and 2 * total <= excess + self.amounts[-1]:
                    found += [
                        (left, total - left, right, excess - total - right) for left in lefts for right in rights if total - left <= right
                    ]
                    if len(found) > SOLUTIONS_MAX:
                        break
        result = []
        for chosen in found:
            held: dict[int, int] = {}
            for amount in chosen:
                held[amount] = held.get(amount, 0) + 1
            if all(counts.get(amount, 0) >= times for amount, times in held.items()):
                result.append(held)
        return result


def _grain(amounts: Collection[int]) -> int:
    step = 0
    for amount in amounts:
        step = gcd(step, amount)
    return max(step, 1)


def _density(value: float, count: int, mean: float, spread: float) -> float:
    """How dense the sums of so many amounts lie at a value, by the gamma law: sums of amounts are positive and skewed."""
    shape, scale = count * (mean / spread) ** 2, spread**2 / mean
    return exp((shape - 1) * log(value / scale) - value / scale - lgamma(shape)) / scale
