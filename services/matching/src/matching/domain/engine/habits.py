"""What is learnt from payments that are settled right: who pays from which account and under which name, and how each payer pays."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from matching.domain.engine.parties import compact
from matching.domain.engine.records import NOBODY, Clues, Id, Line, OpenItem

KEPT = 24
"""Payments of a payer that are remembered."""
GRACE_DAYS = 400
"""How long after its last day a discount may still be a reading."""
MONDAY = 0
LATE_GRACE = 5
"""Days after its last one on which a discount is granted where nothing else is known: a long weekend, and the way of the money."""
LATE_SEEN, LATE_SHARE = 3, 0.05
"""How often a discount that late must have been granted, and how seldom one refused that was no later, to be granted again."""
ADVANCE_SHARE = 0.01
"""How many of those who speak of an advance may mean an item instead."""
TWICE_MAX = 35
"""Days, with a month's next run: what comes again later was not sent twice by mistake."""
WEEKEND = timedelta(days=2)
RUN_MIN = 6
"""Fewest invoices by which a payment run tells how often its payer pays."""


@dataclass(slots=True, frozen=True)
class Settled:
    """What a payment of a customer that was settled right tells of how it pays.

    `lines` items were settled, `invoices` of them no credit notes, due from `first_due` to `last_due`. `silent` says that
    nothing was named, `offered` that a discount could have been taken, `older_left` how many older items stayed open.
    """

    amount_minor: int
    booked: date
    lines: int = 0
    invoices: int = 0
    first_due: date | None = None
    last_due: date | None = None
    silent: bool = False
    discounted: bool = False
    offered: bool = False
    older_left: int = 0


@dataclass(slots=True)
class Habit:
    """How one customer pays. `late` are days after the due date, one per payment; `paid` the last payments' amount and day,
    `last_due` and `last_run` the last due date in the last payment of several items and the day on which it was made.
    """

    payments: int = 0
    late: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    paid: deque[tuple[int, date]] = field(default_factory=lambda: deque(maxlen=KEPT))
    silent: int = 0
    several: int = 0
    discounts: int = 0
    discounts_offered: int = 0
    oldest_first: int = 0
    last_due: date | None = None
    last_run: date | None = None
    cutoff: int | None = None

    def usual_delay(self) -> tuple[float, float]:
        """Median and spread in days of how late it pays; (0, 0) when nothing is known."""
        if not self.late:
            return 0.0, 0.0
        ordered = sorted(self.late)
        middle = ordered[len(ordered) // 2]
        return float(middle), max(1.0, sorted(abs(one - middle) for one in ordered)[len(ordered) // 2])


@dataclass(slots=True, frozen=True)
class Past:
    """What a seller's own past tells: how often discounts were `granted` and `refused` after their last day, by how many days after it, and
    how often what was read as an advance was one (`kept`), or settled an item of before (`settled`).
    """

    granted: Mapping[int, int] = field(default_factory=dict)
    refused: Mapping[int, int] = field(default_factory=dict)
    kept: int = 0
    settled: int = 0

    def as_list(self) -> list[Any]:
        """As JSON can hold it."""
        return [sorted(self.granted.items()), sorted(self.refused.items()), self.kept, self.settled]

    @classmethod
    def from_list(cls, held: Sequence[Any]) -> "Past":
        """As it was; nothing where there was nothing."""
        return cls(dict(held[0]), dict(held[1]), *held[2:]) if held else cls()


@dataclass(slots=True)
class Learnt:
    """All that is learnt: aliases by IBAN and by name, habits by customer, charges that banks take, days between
    two payment runs (`gaps`), and between a payment and the same amount that came `again`, for nothing (`twice`), rates
    seen by currency pair, discounts taken after their last day, by how many days, that were `granted` and `refused`, and how often what
    was read as an advance settled something (`advances[True]`) or not.
    """

    ibans: dict[str, Counter[Id]] = field(default_factory=dict)
    names: dict[str, Counter[Id]] = field(default_factory=dict)
    habits: dict[Id, Habit] = field(default_factory=dict)
    charges: Counter[int] = field(default_factory=Counter)
    gaps: Counter[int] = field(default_factory=Counter)
    twice: Counter[int] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)
    rates: dict[tuple[str, str], tuple[float, float, int]] = field(default_factory=dict)
    granted: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    advances: Counter[bool] = field(default_factory=Counter)

    def habit(self, customer_id: Id) -> Habit:
        """A customer's habit, an empty one where nothing is known."""
        return self.habits.get(customer_id) or Habit()

    def learn(
        self, clues: Clues, customer_id: Id | None, lines: Sequence[Line], *, silent: bool, older_left: int, advance: bool = False
    ) -> None:
        """Takes in a payment that was settled right, or (no customer) that is no receivable.

        `silent` says that nothing was named, `older_left` how many older items stayed open, `advance` that it was read as one.
        """
        whose = NOBODY if customer_id is None else customer_id
        if clues.debtor_iban:
            self.ibans.setdefault(clues.debtor_iban, Counter())[whose] += 1
        if name := compact(clues.debtor_name or ""):
            self.names.setdefault(name, Counter())[whose] += 1
        if customer_id is None:
            return
        if advance:
            self.advances[bool(lines)] += 1
        dues = [line.item.due_date for line in lines if line.item.original_minor > 0]
        discounted = any(line.reason == "discount" for line in lines)
        offered = any(
            line.item.discount_until is not None and (clues.booking_date - line.item.discount_until).days <= GRACE_DAYS for line in lines
        )
        first, last = min(dues, default=None), max(dues, default=None)
        self.note(
            customer_id,
            Settled(clues.amount_minor, clues.booking_date, len(lines), len(dues), first, last, silent, discounted, offered, older_left),
        )
        if not lines:
            return
        for line in lines:
            if line.reason == "bank_charges":
                self.charges[line.diff_cents] += 1
            self.late_discount(line, clues.booking_date)
        currency = lines[0].item.currency
        if currency != clues.currency:
            total = sum(line.cents - line.diff_cents for line in lines)
            if total > 0:
                rate = clues.amount_minor / total
                low, high, seen = self.rates.get((clues.currency, currency), (rate, rate, 0))
                self.rates[clues.currency, currency] = (min(low, rate), max(high, rate), seen + 1)

    def grants(self, item: OpenItem, day: date) -> bool:
        """Whether an item's discount is granted on a day: in time, or as late as it mostly was before. What was granted later is granted
        sooner, and what was refused sooner is refused later.
        """
        late = (day - item.discount_until).days if item.discount_until is not None else 0
        if late <= 0:
            return True
        granted = sum(times for days, times in self.granted.items() if days >= late)
        refused = sum(times for days, times in self.refused.items() if days <= late)
        return (granted >= LATE_SEEN and refused <= LATE_SHARE * granted) or (late <= LATE_GRACE and not refused)

    def keeps_advances(self) -> bool:
        """Whether what is read as an advance is one: "acompte" is also said of a part of an invoice."""
        return self.advances[True] <= ADVANCE_SHARE * self.advances.total()

    def late_discount(self, line: Line, day: date) -> None:
        """Takes in whether a discount that was over was granted, or refused and left open."""
        item = line.item
        late = (day - item.discount_until).days if item.discount_until is not None else 0
        if late <= 0 or late > GRACE_DAYS or item.open_minor <= 0:
            return
        if line.reason == "discount":
            self.granted[late] += 1
        elif not line.diff_cents and abs(item.open_minor - line.cents - item.open_minor * item.discount_percent / 100) <= 1:
            self.refused[late] += 1

    def note(self, customer_id: Id, settled: Settled) -> None:
        """Takes in how a customer made a payment; its payments in booking order."""
        habit = self.habits.setdefault(customer_id, Habit())
        habit.payments += 1
        days = {(settled.booked - when).days for amount, when in habit.paid if amount == settled.amount_minor}
        soon = [one for one in days if 0 <= one <= TWICE_MAX]
        self.again.update(soon)
        self.twice.update(soon if not settled.lines else ())
        habit.paid.append((settled.amount_minor, settled.booked))
        if not settled.lines:
            return
        habit.silent += settled.silent
        habit.several += settled.lines > 1
        habit.discounts_offered += settled.offered or settled.discounted
        habit.discounts += settled.discounted
        habit.oldest_first += settled.older_left == 0
        if settled.first_due is None or settled.last_due is None:
            return
        if not settled.discounted:
            habit.late.append((settled.booked - settled.first_due).days)
        if settled.lines > 2:  # noqa: PLR2004 - a payment run, not a pair
            habit.last_due = settled.last_due
            habit.cutoff = (settled.booked - habit.last_due).days
            self._run(habit, settled.booked, habit.last_due, settled.invoices)

    def _run(self, habit: Habit, booked: date, last_due: date, count: int) -> None:
        """When a payment run was made. A weekend's is booked on Monday: its day is the one that lies as usual after the run before."""
        days = [booked]
        if booked.weekday() == MONDAY and booked - last_due <= WEEKEND:
            days = [max(last_due, booked - WEEKEND) + timedelta(days=after) for after in range(3)]
            days = [day for day in days if day <= booked] or [booked]
        day = days[0]
        if habit.last_run is not None:
            before = habit.last_run
            day = max(days, key=lambda one: (self.gaps[(one - before).days], -one.toordinal()))
            if count >= RUN_MIN:
                self.gaps[(day - before).days] += 1
        habit.last_run = day
