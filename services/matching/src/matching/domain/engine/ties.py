"""Whether another item of the same amount would do as well as one that a reading settles."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import date

from matching.domain.engine.days import OF_DAY, OF_MONTH, Days
from matching.domain.engine.readings import Reading
from matching.domain.engine.records import COMPLETED, RUNS, Id, Line, OpenItem
from matching.domain.engine.text import NEAR, Named

LISTED = frozenset({"document_number", "document_numbers_in_part"})
"""Rules of a list that says all that is paid."""
ADDED_UP = frozenset({"run_of_items", "combination", "completed_list"})
"""Rules of items that nobody names and that come to the sum together."""
UNNAMED = frozenset({"exact_amount", "run_of_items", "combination"})
"""Rules of what comes to the sum without a word."""
ORDERED = 1
"""Days before its booking that a payment was ordered: the money is there by the next business day (Directive (EU) 2015/2366, art. 83)."""
PAIR = 2


class Ties:
    """A customer's items, and what the payer named of them; `astray`: it names something else, too: nobody's, somebody else's, or what
    nobody can read.
    """

    def __init__(self, items: Sequence[OpenItem], named: Named, booked: date, *, astray: bool) -> None:
        self.items = items
        self.booked = booked
        self.same = by_price(items)
        self.named = named
        self.astray = astray
        # what the payer names and nobody can read may be any item of the amount, not only one that is due the same day
        self._kind = price if named.loose else _kind
        self._kinds = Counter(self._kind(item) for item in items)
        self._silent = not (named.hits or named.loose)
        self.surely = {hit.item.item_id for hit in named.hits if not hit.tied}
        self._credited = [
            ([one for one in notes if not _young(one, booked)], [one for one in self.same[currency, -amount] if one.due_date <= booked])
            for (currency, amount), notes in self.same.items()
            if amount < 0 and (currency, -amount) in self.same
        ]
        self._read = {hit.item.item_id for hit in named.hits}
        self._clear = {hit.item.item_id for hit in named.hits if hit.strength > NEAR and not hit.tied and not hit.span.other}

    def of(self, reading: Reading) -> bool:
        """Whether another item would do as well as one of the lines."""
        rule, lines = reading.rule, reading.lines
        if self.named.hits and rule in COMPLETED:
            return self._completed_as_well(lines)
        if rule in LISTED and len(lines) >= PAIR:
            return self._listed_as_well(lines)
        if rule == "run_but_some" and self._silent:
            return False  # its odds count items of one amount as one
        taken = Counter(self._kind(line.item) for line in lines)
        return any(self._kinds[one] > count for one, count in taken.items())

    def _completed_as_well(self, lines: Sequence[Line]) -> bool:
        """Whether another item would do as well as one that the text does not name."""
        guessed = {price(line.item) for line in lines if line.item.item_id not in self._read}
        return any(price(item) in guessed and item.item_id not in self._read for item in self._outside(lines))

    def _listed_as_well(self, lines: Sequence[Line]) -> bool:
        """Whether a number of the list that is not clear may be mistyped for another item than is read: of a line, or, where the
        list is more than what is paid, of what is left out; then that may be paid, and a line not.
        """
        prices = {price(line.item) for line in lines}
        doubtful = prices if self.astray else {price(line.item) for line in lines if line.item.item_id not in self._clear}
        vague = self._read - self._clear
        return any(price(item) in (prices if item.item_id in vague else doubtful) for item in self._outside(lines))

    def credit_doubt(self, reading: Reading) -> str | None:
        """What a credit note that is not named has against a reading, if any: the payer need not have known of it, or the sum is the same
        with it and an item of its amount as without them.
        """
        free = [line for line in reading.lines if line.item.item_id not in self.surely]
        if reading.rule not in RUNS and any(_young(line.item, self.booked) for line in free):
            return "the payer need not have known of a credit note of these days"
        paid = {line.cents - line.diff_cents for line in free}
        inside = reading.rule in ADDED_UP and any(cents < 0 and -cents in paid for cents in paid)
        if inside or (reading.rule in UNNAMED and self._left_to_nothing(reading.lines)):
            return "a credit note and an item of its amount come to nothing: whether they are in it nobody can tell"
        return None

    def _left_to_nothing(self, lines: Sequence[Line]) -> bool:
        """Whether a credit note and an item of its amount that is due are left out."""
        inside = {line.item.item_id for line in lines}
        return any(
            any(one.item_id not in inside for one in notes) and any(one.item_id not in inside for one in others)
            for notes, others in self._credited
        )

    def _outside(self, lines: Sequence[Line]) -> Iterator[OpenItem]:
        inside = {line.item.item_id for line in lines}
        return (item for item in self.items if item.item_id not in inside)


def _young(item: OpenItem, booked: date) -> bool:
    """Whether an item is a credit note that may be younger than the order to pay."""
    return item.original_minor < 0 and (booked - item.issue_date).days <= ORDERED


def of_another_day(
    lines: Sequence[Line], same: Mapping[tuple[str, int], Sequence[OpenItem]], named: Container[Id], said: Days, booked: date
) -> bool:
    """Whether what the payer says of when is as true of an item that a line may as well be for.

    Only one very day of issue is enough to choose an item by; by a month or a week none is chosen before an older one. `same` are the
    items by what is open of them, `named` those that the payer names.
    """
    inside = {line.item.item_id for line in lines}
    for line in lines:
        mine = said.of(line.item, booked)
        for one in same[price(line.item)] if line.item.item_id not in named else ():
            other = said.of(one, booked) if one.item_id not in inside else -1
            if other > mine or other == mine == OF_DAY or (mine == OF_MONTH and other >= 0 and one.due_date < line.item.due_date):
                return True
    return False


def price(item: OpenItem) -> tuple[str, int]:
    """What items have in common that cost the same."""
    return item.currency, item.open_minor


def _kind(item: OpenItem) -> tuple[str, int, date]:
    """What items have in common that nothing but a name tells apart."""
    return item.currency, item.open_minor, item.due_date


def by_price(items: Sequence[OpenItem]) -> dict[tuple[str, int], list[OpenItem]]:
    """Items by what is open of them, each price's in due order."""
    same: dict[tuple[str, int], list[OpenItem]] = {}
    for item in items:
        same.setdefault(price(item), []).append(item)
    for held in same.values():
        if len(held) > 1:
            held.sort(key=lambda one: (one.due_date, one.number))
    return same
