"""What a reading is, the sums that items may come to, what items cost, and how a reading is made of these."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import gcd

from matching.domain.engine.habits import GRACE_DAYS, Learnt
from matching.domain.engine.records import Clues, Id, Line, OpenItem, Promise

CHARGES_MAX = 5_000
CHARGES_PERCENT = 25
"""Bank charges that nobody stated: a sum seen before, at most this much and this share of what was received."""
STATED_PARTS = 100
"""Charges that the bank states: as much as that, or such a part of what was received. Beyond it a person looks at what the bank says."""
ROUNDED_AWAY = 100
"""Less than so much, in minor units, a payer who rounds leaves away: whether that stays owed is the seller's to say."""
CHARGES_STEP = 250
"""What is missing in such steps may be a bank's charge."""
ODD_SHARE = 0.05
"""How many of a seller's bank charges may be other sums than such steps before any small sum that is missing may be one."""
DISCOUNTS = (10, 15, 20, 25, 30, 40, 50)
"""Discounts as they are usual, in tenths of a percent."""
ROUNDED = 1000
"""One minor unit, in thousandths."""
SILENT = frozenset({"exact_amount", "run_of_items", "combination", "run_but_some"})
"""Rules that no word of the payer supports."""
ALIKE_MAX = 4
"""Other sets of items of the same amounts, or nearly, that are kept of a reading."""
UNDISPUTED = "undisputed"
"""How items are priced by one who pays what is not in dispute of them."""


@dataclass(slots=True)
class Reading:
    """A reading before it is judged. `money` says how the amounts agree; `chance` how many such sets would fit by accident.

    `instead` are others that are about as near the amount, where it is not quite theirs.
    """

    rule: str
    money: str
    lines: list[Line]
    chance: float = 0.0
    withheld: int = 0
    equal: int = 0
    residual: int = 0
    discounted: bool = False
    target: int = 0
    alike: tuple[tuple[int, int], ...] = ()
    promise: Promise | None = None
    instead: Sequence["Reading"] = ()


@dataclass(slots=True)
class Target:
    """A sum that items may add up to: what was received, or was sent before charges or exchange."""

    currency: str
    amount: int
    money: str
    charges: int = 0


@dataclass(slots=True)
class Pool:
    """A customer's open items of one currency in due order, and what each costs with and without its discount, or what is in dispute."""

    items: list[OpenItem]
    prices: list[tuple[str, list[int]]] = field(default_factory=list)


def discount(item: OpenItem, day: date, grace: int) -> int:
    """The discount that may be taken that day, in minor units, rounded half up; 0 where none is offered any more."""
    return offered(item.open_minor, item.discount_percent, item.discount_until, day, grace)


def offered(amount: int, percent: float, until: date | None, day: date, grace: int) -> int:
    """What a discount until a day takes off an amount."""
    if not percent or until is None or amount <= 0 or (day - until).days > grace:
        return 0
    return int(amount * percent / 100 + 0.5)


def term(discounts: str, day: date) -> tuple[date, int]:
    """Of an item's discounts (`until:hundredths of a percent`, with spaces between) the largest that may be taken that day, or else the
    one that was over last: its last day, and hundredths of a percent.
    """
    percents = [(date.fromisoformat(one[:10]), int(one[11:])) for one in sorted(discounts.split())]
    terms = [one for one in percents if one[0] >= day]
    return max(terms, key=lambda one: one[1]) if terms else max(percents)


def targets(clues: Clues, learnt: Learnt) -> list[Target]:
    """The sums to look for, likeliest first."""
    found = [Target(clues.currency, clues.amount_minor, "exact")]
    if clues.instructed_minor and clues.instructed_currency:
        if clues.instructed_currency != clues.currency:
            found.append(Target(clues.instructed_currency, clues.instructed_minor, "exchanged"))
        elif 0 < (charge := clues.instructed_minor - clues.amount_minor) <= max(CHARGES_MAX, clues.amount_minor // STATED_PARTS):
            found.append(Target(clues.currency, clues.instructed_minor, "charges_stated", charge))
    last = found[-1]
    if len(found) == 1 or last.money == "exchanged":
        for charge, _ in sorted(learnt.charges.most_common(12)):
            if charge <= CHARGES_MAX and charge * 100 <= last.amount * CHARGES_PERCENT:
                found.append(Target(last.currency, last.amount + charge, "charges", charge))
    return found


def pool(items: Sequence[OpenItem], currency: str, day: date) -> Pool:
    """The open items of a currency in due order, priced."""
    mine = sorted((one for one in items if one.open_minor and one.currency == currency), key=lambda one: (one.due_date, one.number))
    full = [one.open_minor for one in mine]
    result = Pool(mine, [("full", full)])
    strict = [one.open_minor - discount(one, day, 0) for one in mine]
    loose = [one.open_minor - discount(one, day, GRACE_DAYS) for one in mine]
    if strict != full:
        result.prices.append(("discount", strict))
    if loose != strict:
        result.prices.append(("discount", loose))
    undisputed = [one.open_minor - one.contested_minor * (one.contested_minor < one.open_minor) for one in mine]
    if undisputed != full:
        result.prices.append((UNDISPUTED, undisputed))
    return result


def add(found: dict[tuple[tuple[str, int], ...], Reading], reading: Reading) -> None:
    """Keeps the first of equal readings; where nothing is named, items of the same open amount are as good as each other."""
    key = key_of(reading)
    if key in found:
        return
    if reading.rule in SILENT:
        reading.alike = tuple(sorted((line.item.open_minor, line.cents) for line in reading.lines))
        if any(held.alike == reading.alike for held in found.values()):
            return
    found[key] = reading


def key_of(reading: Reading) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((str(line.item.item_id), line.cents) for line in reading.lines))


def alike(
    reading: Reading, same: Mapping[tuple[str, int], Sequence[OpenItem]], named: Container[Id], day: date
) -> Iterator[Reading]:  # fmt: skip
    """Those about as near, then the reading with another item instead of one that the payer does not name: as much is open of both.

    `same` are the customer's items by currency and open amount, in due order.
    """
    yield from reading.instead
    inside = {line.item.item_id for line in reading.lines}
    for at, line in enumerate(reading.lines):
        others = same[line.item.currency, line.item.open_minor]
        if len(others) == 1 or line.item.item_id in named:
            continue
        for item in others:
            if item.item_id not in inside and _takes(line, day) == _takes(replace(line, item=item), day):
                yield replace(reading, lines=[*reading.lines[:at], replace(line, item=item), *reading.lines[at + 1 :]])


def _takes(line: Line, day: date) -> tuple[int, int]:
    """What a line depends on beside the open amount: what it leaves of its item in dispute, and the discount that it takes."""
    item = line.item
    return (
        item.contested_minor if line.cents != item.open_minor else 0,
        discount(item, day, GRACE_DAYS) if line.reason == "discount" else 0,
    )


def _lines(items: Sequence[OpenItem], prices: Sequence[int], places: Sequence[int], pricing: str, charges: int) -> list[Line]:
    lines = []
    for at in places:
        item = items[at]
        taken = prices[at] if pricing == UNDISPUTED else item.open_minor
        off = taken - prices[at]
        lines.append(Line(item, taken, off, "discount" if off else None))
    if charges:
        for line in lines:
            if line.cents - line.diff_cents > charges:
                line.diff_cents += charges
                line.reason = "bank_charges" if line.reason is None else line.reason
                break
    return lines


def make(
    rule: str, items: Sequence[OpenItem], prices: Sequence[int], places: Sequence[int], pricing: str, target: Target, *,
    residual: int = 0, chance: float = 0.0, withheld: int = 0, equal: int = 0,
) -> Reading:  # fmt: skip
    lines = _lines(items, prices, places, pricing, target.charges)
    money = target.money
    taken = pricing == "discount" and any(prices[at] != items[at].open_minor for at in places)
    if residual and taken and abs(residual) <= len(places):  # a discount rounded the other way
        line = next(line for line in lines if line.reason == "discount")
        line.diff_cents -= residual
    elif residual:
        money = "rounding"
        if residual < 0:  # less came than is owed: the rest is forgiven
            lines[0].diff_cents -= residual
            lines[0].reason = lines[0].reason or "rounding"
    return Reading(rule, money, lines, chance, withheld, equal, residual, taken, target.amount)


def may_be_forgiven(item: OpenItem, gap: int, charges: Mapping[int, int]) -> bool:
    """Whether what is missing of an item may be no part that is still to come: rounded away, a bank's charge, or such a share of it as is
    taken for paying early, though nobody offered it, or no more than is offered (of the price without tax, or of a part). `charges` says
    how often which bank charge was seen: where they are any sums, what is missing need not be one that was seen.
    """
    odd = sum(times for charge, times in charges.items() if charge % CHARGES_STEP)
    charged = gap <= CHARGES_MAX and (gap % CHARGES_STEP == 0 or odd > ODD_SHARE * sum(charges.values()))
    discounted = any(abs(gap * 1000 - item.open_minor * share) <= ROUNDED for share in DISCOUNTS)
    return gap < ROUNDED_AWAY or charged or discounted or gap * 100 <= item.open_minor * item.discount_percent


def grain_of(prices: Sequence[int]) -> tuple[int, int]:
    """The step that amounts come in, and how far their sums spread."""
    step = 0
    for price in prices:
        step = gcd(step, price)
    return max(step, 1), max(sum(abs(price) for price in prices[:40]), 1)
