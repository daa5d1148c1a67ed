"""Every reading of a payment for one customer: which of its items, for what money, found how.

What the payer names is tried first, then what adds up without words. All searches are bounded; a reading that is found twice
is kept as the first.
"""

from collections.abc import Mapping, Sequence
from math import comb

from matching.domain.engine import combinations
from matching.domain.engine.days import Days
from matching.domain.engine.habits import Habit, Learnt
from matching.domain.engine.itemised import itemised
from matching.domain.engine.payment_runs import LONG_RUN, payment_runs
from matching.domain.engine.percents import is_share
from matching.domain.engine.readings import (
    ALIKE_MAX,
    Pool,
    Reading,
    Target,
    add,
    grain_of,
    key_of,
    make,
    may_be_forgiven,
    pool,
    targets,
)
from matching.domain.engine.records import Clues, Line, OpenItem, Promise
from matching.domain.engine.text import LONG, Hit, Named

LIST_MIN = 4
"""Fewest named items that are a list."""
ROUNDING_MAX = 5
ROUNDING_PARTS = 1_000_000
"""Cents that two sides may differ by through rounding, or a millionth of a large amount."""
NEAR_DAYS = (-3, 60)
NEAR_PERCENT = 80
"""A payment of so much of the one item that is due about then may be a part of it."""
BAND = 0.035
"""How far a day's exchange rate may be from those seen."""


def readings(clues: Clues, items: Sequence[OpenItem], named: Named, learnt: Learnt, habit: Habit) -> list[Reading]:
    """The readings of the payment for the customer whose items these are, in a fixed order."""
    found: dict[tuple[tuple[str, int], ...], Reading] = {}
    pools: dict[str, Pool] = {}
    sums = targets(clues, learnt)
    for target in sums:
        if target.currency not in pools:
            pools[target.currency] = pool(items, target.currency, clues.booking_date)
        one = pools[target.currency]
        if not one.items:
            continue
        for pricing, prices in one.prices:
            _named(found, clues, one.items, prices, pricing, target, named, habit, learnt.gaps)
            if target.money != "charges":
                _unnamed(found, clues, one.items, prices, pricing, target, named, habit, learnt.gaps)
            else:
                _single(found, clues, one.items, prices, pricing, target, named.days)
    for target in sums[:2]:
        if target.currency in pools and target.money != "charges":
            _short(found, clues, pools[target.currency].items, target, named, learnt)
    if (told := itemised(clues, items, named, learnt.charges)) is not None:
        add(found, told)
    _exchanged(found, clues, items, named, learnt)
    return list(found.values())


def add_promised(every: list[Reading], clues: Clues, items: Sequence[OpenItem], promises: Sequence[Promise]) -> None:
    """Says of a reading that it is what was promised, or a part, and adds it where it is none yet: the promise's items, or
    all where it names none, in due order, behind what came before and waits.
    """
    held = {key_of(one): one for one in every} if promises else {}
    for promise in promises:
        lines = _promised(promise, items, clues.amount_minor) if promise.currency == clues.currency else []
        if lines and clues.amount_minor <= promise.amount_minor - promise.waits_minor:
            residual = clues.amount_minor - sum(line.item.open_minor for line in lines)
            reading = Reading("promised", "short", lines, residual=residual, target=clues.amount_minor)
            known = held.setdefault(key_of(reading), reading)
            known.promise = known.promise or promise
            if known is reading:
                every.append(reading)


def _promised(promise: Promise, items: Sequence[OpenItem], amount: int) -> list[Line]:
    """An amount that comes after what waits of a promise, spread over the items; none where they do not take all of it."""
    mine = [item for item in items if item.open_minor > 0 and item.currency == promise.currency]
    meant = [item for item in mine if item.item_id in promise.items] or mine
    lines, before = [], promise.waits_minor
    for item in sorted(meant, key=lambda one: (one.due_date, one.number)):
        undisputed = max(item.open_minor - item.contested_minor, 0)
        passed = min(undisputed, before)
        share = min(undisputed - passed, amount)
        before -= passed
        amount -= share
        if share:
            lines.append(Line(item, share))
    return lines if not amount else []


def _named(  # noqa: C901, PLR0912 - a search, one paragraph per kind of set
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], prices: list[int], pricing: str,
    target: Target, named: Named, habit: Habit, gaps: Mapping[int, int],
) -> None:  # fmt: skip
    """Sets that the text names, whole or in part, and with what it leaves out."""
    if not named.hits and not named.ranged:
        return
    place = {item.item_id: at for at, item in enumerate(items)}
    open_hits = [hit for hit in named.hits if hit.item.item_id in place]
    sets: list[tuple[int, ...]] = []
    for wanted in (_strong(open_hits), [hit for hit in open_hits if not hit.span.other], open_hits):
        one = tuple(sorted({place[hit.item.item_id] for hit in wanted}))
        if one and one not in sets:
            sets.append(one)
    if named.ranged:
        one = tuple(sorted({place[item.item_id] for item in named.ranged if item.item_id in place}))
        if one:
            sets.append(one)
    for places in sets:
        gap = target.amount - sum(prices[at] for at in places)
        if gap == 0:
            equal = prices.count(prices[places[0]]) - 1 if len(places) == 1 else 0
            add(found, make("document_number", items, prices, places, pricing, target, equal=equal))
        elif abs(gap) <= max(ROUNDING_MAX, target.amount // ROUNDING_PARTS) and target.money != "charges":
            add(found, make("document_number", items, prices, places, pricing, target, residual=gap))
    if target.money == "charges" or not sets:
        return
    most = max(sets, key=len)
    gap = target.amount - sum(prices[at] for at in most)
    if gap and len(most) > 2:  # noqa: PLR2004 - a named list of which some are left out
        if len(most) <= combinations.POOL_MAX:
            for chosen in combinations.few([prices[at] for at in most], target.amount):
                add(found, make("document_numbers_in_part", items, prices, [most[at] for at in chosen], pricing, target))
        extra = -gap
        for at in most:
            if prices[at] == extra:
                add(found, make("document_numbers_in_part", items, prices, [one for one in most if one != at], pricing, target, withheld=1))
    if pricing == "full":
        _named_run(found, clues, items, prices, target, sets[min(1, len(sets) - 1)], habit, gaps)
    for places in sets:
        gap = target.amount - sum(prices[at] for at in places)
        if gap:
            _completed(found, items, prices, pricing, target, places, gap)


def _named_run(
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], prices: list[int], target: Target,
    listed: tuple[int, ...], habit: Habit, gaps: Mapping[int, int],
) -> None:  # fmt: skip
    """A long list, cut off as a rule: what it leaves out between its ends is not paid, or cannot be read."""
    if len(listed) < LIST_MIN or sum(prices[at] for at in listed) == target.amount:
        return
    outside = [at for at in range(listed[0], listed[-1] + 1) if items[at].open_minor > 0 and at not in listed]
    _runs(found, clues, items, prices, target, habit, gaps, listed, outside, silent=False)


def _completed(
    found: dict[tuple[tuple[str, int], ...], Reading], items: list[OpenItem], prices: list[int], pricing: str, target: Target,
    places: tuple[int, ...], gap: int,
) -> None:  # fmt: skip
    """Named items and others that make up the rest: one or two more, credit notes, or what follows where the text was cut off."""
    inside = set(places)
    rest = [at for at in range(len(items)) if at not in inside]
    if not rest:
        return
    values = [prices[at] for at in rest]
    grain, spread = grain_of(prices)
    for at in rest:
        if prices[at] == gap:
            add(found, make("completed_list", items, prices, sorted((*places, at)), pricing, target, chance=len(rest) * grain / spread))
            break
    after = [at for at in rest if at > places[0]]
    following = [prices[at] for at in after]
    for start, end in combinations.runs(following, gap):
        if start <= 2:  # noqa: PLR2004 - right after what is named
            extra = after[start:end]
            add(found, make("completed_list", items, prices, sorted((*places, *extra)), pricing, target, chance=len(rest) * grain / spread))
    for chosen in combinations.few(values, gap, largest=3)[:4]:
        extra = [rest[at] for at in chosen]
        chance = comb(min(len(rest), combinations.POOL_MAX), len(chosen)) * grain / spread
        add(found, make("completed_list", items, prices, sorted((*places, *extra)), pricing, target, chance=chance))


def _single(
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], prices: list[int], pricing: str, target: Target,
    said: Days,
) -> None:  # fmt: skip
    """The first that is due of those of the amount, but rather one of the day or month that the payer says."""
    grain, spread = grain_of(prices)
    exact = [at for at, price in enumerate(prices) if price == target.amount and (pricing == "full" or price != items[at].open_minor)]
    if exact:
        exact.sort(key=lambda at: (items[at].contested_minor > 0, -said.of(items[at], clues.booking_date)))
        add(
            found,
            make("exact_amount", items, prices, exact[:1], pricing, target, chance=len(items) * grain / spread, equal=len(exact) - 1),
        )
    elif target.money == "exact":
        near = [at for at, price in enumerate(prices) if abs(price - target.amount) <= ROUNDING_MAX and price > 100]  # noqa: PLR2004
        near.sort(key=lambda at: abs(prices[at] - target.amount) - (prices[at] != items[at].open_minor))
        equal, chance = len(near) - 1, len(items) * 11 / spread
        rounded = [
            make("exact_amount", items, prices, [at], pricing, target, residual=target.amount - prices[at], equal=equal, chance=chance)
            for at in near[: 1 + ALIKE_MAX]
        ]
        if rounded:
            rounded[0].instead = rounded[1:]
            add(found, rounded[0])


def _unnamed(
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], prices: list[int], pricing: str,
    target: Target, named: Named, habit: Habit, gaps: Mapping[int, int],
) -> None:  # fmt: skip
    """What adds up without a word: one item, a run in due order, a run but for a few, any few of the oldest."""
    _single(found, clues, items, prices, pricing, target, named.days)
    count = len(items)
    if count < 2:  # noqa: PLR2004
        return
    grain, spread = grain_of(prices)
    for start, end in combinations.runs(prices, target.amount):
        places = tuple(range(start, end))
        if pricing == "full" or any(prices[at] != items[at].open_minor for at in places):
            length = len(places)
            tried = min(count, 1 + start) * count
            add(found, make("run_of_items", items, prices, places, pricing, target, chance=tried * grain / (spread * max(1, length // 2))))
    due = [item.due_date for item in items]
    if count <= 60:  # noqa: PLR2004
        pool_start = 0
        late = next((at for at, price in enumerate(prices) if price > 0 and (clues.booking_date - due[at]).days < 90), 0)  # noqa: PLR2004
        if count > combinations.POOL_MAX:
            pool_start = min(late, count - combinations.POOL_MAX)
        part = prices[pool_start : pool_start + combinations.POOL_MAX]
        for chosen in combinations.few(part, target.amount):
            places = tuple(pool_start + at for at in chosen)
            if pricing == "full" or any(prices[at] != items[at].open_minor for at in places):
                tried = comb(len(part), len(places))
                add(found, make("combination", items, prices, places, pricing, target, chance=tried * grain / spread))
    if pricing == "full":
        _runs(found, clues, items, prices, target, habit, gaps, silent=not (named.hits or named.loose))


def _runs(
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], prices: list[int], target: Target, habit: Habit,
    gaps: Mapping[int, int], inside: Sequence[int] = (), outside: Sequence[int] = (), *, silent: bool,
) -> None:  # fmt: skip
    """Payment runs with a few items withheld; `inside` and `outside` are what the text says of some of them."""
    for solution in payment_runs(clues, items, target.amount, habit, gaps, set(inside), set(outside), silent=silent):
        rule = "named_run" if inside else "run_but_some"
        reading = make(rule, items, prices, solution.places, "full", target, chance=solution.odds_against, withheld=solution.withheld)
        key = key_of(reading)
        held = found.get(key)
        if (
            held is not None
            and held.rule in {"run_of_items", "completed_list", "combination"}
            and (held.chance > reading.chance or len(reading.lines) >= LONG_RUN)
        ):
            del found[key]
        add(found, reading)


def _short(
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: list[OpenItem], target: Target, named: Named, learnt: Learnt
) -> None:
    """A part of one item: named, the one that a named percentage is true of, the only one open, or an instalment of a half or a third."""
    open_ids = {item.item_id for item in items}
    hits = [hit for hit in named.hits if hit.item.item_id in open_ids]
    owed = [item for item in items if item.open_minor > target.amount]
    wanted = [(hit.item, "document_number") for hit in _strong(hits) or hits][:3]
    said = [item for item in owed if _as_said(item, item.open_minor - target.amount, named)] if named.percents else []
    if not hits and len(said) == 1:
        grain, spread = grain_of([item.open_minor for item in items])
        add(found, _percent("exact_amount", said[0], target, len(items) * len(named.percents) * grain / spread))
    elif not hits:
        wanted += [(item, "instalment") for item in owed for parts in (2, 3) if abs(item.original_minor - target.amount * parts) < parts][
            :2
        ]
        invoices = [item for item in items if item.open_minor > 0]
        if len(invoices) == 1:
            wanted.append((invoices[0], "only_item"))
        late = [
            item
            for item in owed
            if NEAR_DAYS[0] <= (clues.booking_date - item.due_date).days <= NEAR_DAYS[1]
            and target.amount * 100 >= item.open_minor * NEAR_PERCENT
        ]
        if len(late) == 1:
            wanted.append((late[0], "near_amount"))
    for item, rule in wanted:
        gap = item.open_minor - target.amount
        if rule == "document_number" and gap > 0 and _as_said(item, gap, named):
            add(found, _percent(rule, item, target))
        elif gap > 0:
            money = "short_round" if may_be_forgiven(item, gap, learnt.charges) else "short"
            add(found, Reading(rule, money, [_part(item, target)], residual=-gap, target=target.amount))
        elif rule == "document_number" and 0 < item.open_minor < target.amount and not target.charges:
            add(found, Reading(rule, "over", [Line(item, item.open_minor)], residual=target.amount - item.open_minor, target=target.amount))


def _percent(rule: str, item: OpenItem, target: Target, chance: float = 0.0) -> Reading:
    """What is left of an item by a percentage."""
    return Reading(rule, "percent", [_part(item, target)], chance=chance, target=target.amount)


def _part(item: OpenItem, target: Target) -> Line:
    """So much of an item as was sent: what the bank says that it took of that is charges."""
    return Line(item, target.amount, target.charges, "bank_charges" if target.charges else None)


def _as_said(item: OpenItem, gap: int, named: Named) -> bool:
    """Whether a percentage that the payer names is what is missing of an item, or what is paid of it. Whether the item's own discount is
    granted once it is over is the seller's to say.
    """
    percents = named.percents - {round(item.discount_percent * 1000)}
    return is_share(gap, item.open_minor, percents) or is_share(item.open_minor - gap, item.open_minor, percents)


def _exchanged(  # noqa: C901 - a search
    found: dict[tuple[tuple[str, int], ...], Reading], clues: Clues, items: Sequence[OpenItem], named: Named, learnt: Learnt
) -> None:
    """Items in another currency whose rate nobody stated: named ones, or a single one, at a rate near those seen."""
    if clues.instructed_currency and clues.instructed_currency != clues.currency:
        return
    for currency in sorted({item.currency for item in items if item.open_minor and item.currency != clues.currency}):
        seen = learnt.rates.get((clues.currency, currency))
        if seen is None:
            continue
        middle = (seen[0] + seen[1]) / 2
        low, high = clues.amount_minor / (middle * (1 + BAND)), clues.amount_minor / (middle * (1 - BAND))
        one = pool(items, currency, clues.booking_date)
        place = {item.item_id: at for at, item in enumerate(one.items)}
        hits = [hit for hit in named.hits if hit.item.item_id in place]
        for pricing, prices in one.prices:
            target = Target(currency, int(clues.amount_minor / middle), "rate")
            for wanted in (_strong(hits), hits):
                places = sorted({place[hit.item.item_id] for hit in wanted})
                total = sum(prices[at] for at in places)
                if places and low <= total <= high:
                    _add_at_rate(found, "document_number", one.items, prices, places, pricing, target)
                    notes = [
                        at
                        for at, price in enumerate(prices)
                        if price < 0 and abs(total + price - target.amount) < abs(total - target.amount)
                    ]
                    for at in notes[:1]:  # with a credit note the rate is more like those seen
                        _add_at_rate(found, "completed_list", one.items, prices, sorted({*places, at}), pricing, target)
            near = [at for at, price in enumerate(prices) if low <= price <= high]
            if near and not hits:
                first, *others = (_at_rate(one.items, prices, at, pricing, target, len(near)) for at in near[: 1 + ALIKE_MAX])
                first.instead = others
                add(found, first)
        if not hits:
            continue
        for hit in (_strong(hits) or hits)[:1]:
            if hit.item.open_minor > high and len(hits) == 1:
                cents = int(target.amount)
                add(
                    found,
                    Reading("document_number", "rate_short", [Line(hit.item, cents)], residual=cents - hit.item.open_minor, target=cents),
                )


def _add_at_rate(
    found: dict[tuple[tuple[str, int], ...], Reading], rule: str, items: list[OpenItem], prices: list[int], places: Sequence[int],
    pricing: str, target: Target,
) -> None:  # fmt: skip
    """Items that cost about the target together."""
    reading = make(rule, items, prices, places, pricing, target)
    reading.residual = int(sum(prices[at] for at in places) - target.amount)
    add(found, reading)


def _at_rate(items: list[OpenItem], prices: list[int], at: int, pricing: str, target: Target, count: int) -> Reading:
    """One of so many items that cost about the target."""
    reading = make("exact_amount", items, prices, [at], pricing, target, equal=count - 1, chance=float(count))
    reading.residual = int(prices[at] - target.amount)
    return reading


def _strong(hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.strength >= LONG and not hit.span.other]
