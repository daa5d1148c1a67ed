"""Candidates in memory: the same clues as the service finds by SQL, for histories that are run without a database.

Every look-up is by key (number, reference, IBAN, beginning of a name), so its cost does not grow with the number of items.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date

from matching.domain.engine.habits import GRACE_DAYS
from matching.domain.engine.hypotheses import discount
from matching.domain.engine.parties import PREFIX_MIN, compact, whole
from matching.domain.engine.records import Customer, Id, OpenItem
from matching.domain.engine.text import fold, forms

SETTLED_MAX = 60
SAME_MAX = 60
STRONG = 5
"""How strong a form of a number must be to find an item whose customer nobody knows."""


class Index:
    """Customers and items of one seller."""

    def __init__(self, customers: Iterable[Customer]) -> None:
        self.customers: dict[Id, Customer] = {}
        self.children: dict[Id, list[Id]] = {}
        self.by_iban: dict[str, Id] = {}
        self.by_virtual_iban: dict[str, Id] = {}
        self.by_number: dict[str, Id] = {}
        self.by_name: dict[str, list[Id]] = {}
        self.open: dict[Id, dict[Id, OpenItem]] = {}
        self.documents: dict[str, OpenItem | list[OpenItem]] = {}
        self.lately: dict[Id, deque[OpenItem]] = {}
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
        for iban in customer.ibans:
            self.by_iban[iban] = key
        if customer.parent_id is not None:
            self.children.setdefault(customer.parent_id, []).append(key)
        for name in {compact(customer.name), whole(customer.name)}:
            self.by_name.setdefault(name[:PREFIX_MIN], []).append(key)

    def add_item(self, item: OpenItem) -> None:
        """Takes an item in, to be found by its customer, its number, its order and its reference."""
        self.open.setdefault(item.customer_id, {})[item.item_id] = item
        self.prices.setdefault((item.currency, item.open_minor), {})[item.item_id] = item
        if item.discount_percent:
            self.discounts.add(item.discount_percent)
        keys = {form for form, strength in forms(item.number) if strength >= STRONG}
        keys.update(item.order_numbers)
        if item.reference:
            keys.add(item.reference)
        for key in keys:
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
        held = self.documents.get(value)
        return held if isinstance(held, list) else [held] if held is not None else []

    def like(self, written: str) -> Iterator[Customer]:
        """Customers whose name begins as this one does."""
        keys = {compact(written)[:PREFIX_MIN], whole(written)[:PREFIX_MIN], whole(written).removeprefix("STE")[:PREFIX_MIN]}
        seen = set()
        for key in sorted(keys):
            if len(key) >= PREFIX_MIN:
                for one in self.by_name.get(key, ()):
                    if one not in seen:
                        seen.add(one)
                        yield self.customers[one]
