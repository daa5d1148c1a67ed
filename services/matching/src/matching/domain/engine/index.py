"""Candidates in memory, found by key: a whole history where `matching evaluate` runs without a database, or what the service's SQL
found for one payment. Both feed the engine through this one class.

Every look-up is by key (number, reference, IBAN, beginning of a name), so its cost does not grow with the number of items.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date

from matching.domain.engine.habits import GRACE_DAYS
from matching.domain.engine.parties import PREFIX_MIN, compact, spellings, turned, whole
from matching.domain.engine.readings import discount
from matching.domain.engine.records import Customer, Id, OpenItem, Promise
from matching.domain.engine.text import VALUE_MIN, ending, ending_of, fold, whole_forms

SETTLED_MAX = 60
SAME_MAX = 60
DIGITS_MIN = 2
WANTED_MAX = 100
"""Values of one payment by which an item that comes later finds it."""


def document_keys(number: str, order_numbers: Iterable[str], reference: str | None) -> set[str]:
    """What finds an item whose customer nobody knows, folded: its number whole or its digits, its orders, its reference."""
    keys = {*whole_forms(number), *order_numbers}
    if reference:
        keys.add(reference)
    return keys


def name_keys(name: str) -> set[str]:
    """What finds a customer by name: it is compared by how these begin."""
    return {key for one in spellings(name) for key in (compact(one), whole(one))} - {""}


def written_keys(name: str) -> set[str]:
    """The forms of a written name that are compared with `name_keys`; those too short to say anything are left out."""
    keys = {key for one in spellings(name) for key in (compact(one), whole(one), whole(one).removeprefix("STE"), *turned(one))}
    return {key for key in keys if len(key) >= PREFIX_MIN}


def wanted_keys(written: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
    """What of a payment that waits an item (`document`) or a customer (`name`) that comes later may be found by."""
    documents = [value for value in written if len(value) >= VALUE_MIN and sum(map(str.isdecimal, value)) >= DIGITS_MIN]
    starts = {key[:PREFIX_MIN] for name in names for key in written_keys(name)}
    return [("document", value) for value in dict.fromkeys(documents)][:WANTED_MAX] + [("name", start) for start in sorted(starts)]


class Index:
    """Customers and items of one seller."""

    def __init__(self, customers: Iterable[Customer]) -> None:
        self.customers: dict[Id, Customer] = {}
        self.children: dict[Id, list[Id]] = {}
        self.by_iban: dict[str, Id] = {}
        self.shared: set[str] = set()
        """IBANs that several customers pay from: they are nobody's own."""
        self.by_virtual_iban: dict[str, Id] = {}
        self.by_former_iban: dict[str, Id] = {}
        self.by_number: dict[str, Id] = {}
        self.by_name: dict[str, list[Id]] = {}
        self.open: dict[Id, dict[Id, OpenItem]] = {}
        self.documents: dict[str, OpenItem | list[OpenItem]] = {}
        self.unlisted: dict[str, list[OpenItem]] = {}
        """By how what finds them ends, items that `documents` does not hold yet: most payments ask for few of them, or none."""
        self.lately: dict[Id, deque[OpenItem]] = {}
        self.promises: dict[Id, list[Promise]] = {}
        self.prices: dict[tuple[str, int], dict[Id, OpenItem]] = {}
        self.discounts: set[float] = set()
        for customer in customers:
            self.add_customer(customer)

    def add_customer(self, customer: Customer) -> None:
        """Takes a customer in."""
        key = customer.customer_id
        self.customers[key] = customer
        self.by_number[fold(customer.number)] = key
        if customer.virtual_iban:
            self.by_virtual_iban[customer.virtual_iban] = key
        if customer.former_iban:
            self.by_former_iban[customer.former_iban] = key
        for iban in customer.ibans:
            if self.by_iban.setdefault(iban, key) != key or iban in self.shared:
                self.shared.add(iban)
                del self.by_iban[iban]
        if customer.parent_id is not None:
            self.children.setdefault(customer.parent_id, []).append(key)
        for start in {name[:PREFIX_MIN] for name in name_keys(customer.name)}:
            self.by_name.setdefault(start, []).append(key)

    def add_item(self, item: OpenItem) -> None:
        """Takes an item in, to be found by its customer, its number, its order and its reference."""
        self.open.setdefault(item.customer_id, {})[item.item_id] = item
        self.prices.setdefault((item.currency, item.open_minor), {})[item.item_id] = item
        if item.discount_percent:
            self.discounts.add(item.discount_percent)
        self._put_aside(item)

    def add_settled(self, item: OpenItem) -> None:
        """Takes in an item that has nothing open any more, but may be named again; a customer's oldest first."""
        self.lately.setdefault(item.customer_id, deque(maxlen=SETTLED_MAX)).append(item)
        self._put_aside(item)

    def _put_aside(self, item: OpenItem) -> None:
        last = ending_of(item.number)
        self.unlisted.setdefault(last, []).append(item)
        if item.order_numbers or item.reference:
            for other in {ending(value) for value in (*item.order_numbers, item.reference) if value} - {last}:
                self.unlisted.setdefault(other, []).append(item)

    def _list(self, last: str) -> None:
        for item in self.unlisted.pop(last, ()):
            for key in document_keys(item.number, item.order_numbers, item.reference):
                if ending(key) != last:
                    continue
                held = self.documents.get(key)
                if held is None:
                    self.documents[key] = item
                elif isinstance(held, list):
                    held.append(item)
                else:
                    self.documents[key] = [held, item]

    def settle(self, item: OpenItem, cents: int) -> None:
        """Takes cents off an item. One that has nothing open any more leaves its customer's open ones; its numbers are still known."""
        held = self.prices.get((item.currency, item.open_minor), {})
        held.pop(item.item_id, None)
        if not held:
            self.prices.pop((item.currency, item.open_minor), None)
        item.open_minor -= cents
        if item.open_minor:
            self.prices.setdefault((item.currency, item.open_minor), {})[item.item_id] = item
        else:
            self.open.get(item.customer_id, {}).pop(item.item_id, None)
            self.lately.setdefault(item.customer_id, deque(maxlen=SETTLED_MAX)).append(item)

    def settled(self, customer_id: Id) -> Iterable[OpenItem]:
        """A customer's items that were settled last."""
        return self.lately.get(customer_id, ())

    def of_price(self, currency: str, amount: int, day: date) -> list[OpenItem]:
        """Open items of anybody that cost exactly that, with the discount that is offered or without; none where they are many."""
        found = list(self.prices.get((currency, amount), {}).values())
        for percent in sorted(self.discounts):
            gross = int(amount / (1 - percent / 100) + 0.5)
            for one in (gross - 1, gross, gross + 1):
                found += [
                    item
                    for item in self.prices.get((currency, one), {}).values()
                    if item.discount_percent == percent and item.open_minor - discount(item, day, GRACE_DAYS) == amount
                ]
        return found if len(found) <= SAME_MAX else []

    def named(self, value: str) -> list[OpenItem]:
        """The items that carry a number, an order or a reference, open or not."""
        self._list(ending(value))
        held = self.documents.get(value)
        return held if isinstance(held, list) else [held] if held is not None else []

    def like(self, written: str) -> Iterator[Customer]:
        """Customers whose name begins as this one does."""
        seen = set()
        for key in sorted({one[:PREFIX_MIN] for one in written_keys(written)}):
            for one in self.by_name.get(key, ()):
                if one not in seen:
                    seen.add(one)
                    yield self.customers[one]
