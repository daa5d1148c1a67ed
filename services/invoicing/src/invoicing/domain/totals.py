"""The arithmetic of an invoice as it enters the books, in integers of minor units.

Invariants: payable = total - prepaid; the instalments add up to payable, each above zero; nothing is rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from shared.money import MAX_MINOR, exponent


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a JSON pointer to the field, a stable code, a sentence that repeats no input."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """An invoice's amounts in minor units and what bounds them."""

    total: int
    tax: int
    prepaid: int
    payable: int
    instalments: Sequence[tuple[int, date, int]]
    """(number, due date, amount) of each."""
    origin: str = "issued"
    opening_open: int | None = None


def faults(amounts: Amounts) -> list[Fault]:
    """Everything that does not add up; empty for a sound invoice."""
    found = []
    if amounts.tax > amounts.total:
        found.append(Fault("/tax_minor", "tax-above-total", "the tax is more than the total that contains it"))
    if amounts.payable != amounts.total - amounts.prepaid:
        found.append(Fault("/payable_minor", "payable-differs", "payable is not total minus prepaid"))
    numbers = [number for number, _, _ in amounts.instalments]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(Fault("/instalments", "instalment-numbers", "instalments are numbered 1, 2, 3 ... in this order"))
    if sum(amount for _, _, amount in amounts.instalments) != amounts.payable:
        found.append(Fault("/instalments", "instalments-differ", "the instalments do not add up to payable"))
    if (amounts.origin == "opening") != (amounts.opening_open is not None):
        found.append(Fault("/opening_open_minor", "opening-amount", "an opening invoice, and no other, says what of it is still open"))
    elif amounts.opening_open is not None and amounts.opening_open > amounts.payable:
        found.append(Fault("/opening_open_minor", "opening-above-payable", "more is open than was payable"))
    return found


def minor(amount: Decimal, currency: str) -> int:
    """An exact decimal amount in minor units. Raises ValueError where the currency has fewer places, or beyond `MAX_MINOR`."""
    places = exponent(currency)
    scaled = amount.scaleb(places)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{currency} has {places} decimal places: the amount has more")
    if abs(whole) > MAX_MINOR:
        raise ValueError("the amount is too large")
    return whole
