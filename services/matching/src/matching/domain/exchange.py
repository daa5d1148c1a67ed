"""Money of one currency for what is owed in another: the rate, and what it makes of an amount.

A rate is an exact decimal: how many units of the item's currency one unit of the payment's is worth. What an amount is worth is
rounded once, to the minor unit, half to even; what that and the agreed amount differ by is a gain or loss of ours (realised
exchange difference), so nothing is lost and the customer owes no remainder.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from shared.money import MAX_MINOR, exponent

_RATE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,10})?", re.ASCII)
BANK_RATE = "bank"
"""The source of a rate that follows from what the payer told his bank to pay and what the bank credited."""
RATE_END = 10**9
"""No rate reaches this; one that rounds to nothing at ten decimals is none either."""
_PRECISION = 60
"""Digits of the arithmetic: an amount has 19, a rate 19."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An allocation across currencies: what of the item is settled, at which rate, who says so; what we gain by it, below zero lose."""

    item_amount_minor: int
    rate: Decimal
    source: str
    difference_minor: int


def rate_of(text: str) -> Decimal:
    """A rate as it is written: up to nine digits, a point, up to ten decimals. Raises ValueError, also for zero."""
    if not _RATE.fullmatch(text) or not (rate := Decimal(text)):
        raise ValueError("a rate is a decimal above zero with up to ten decimals, such as 0.9245")
    return rate


def implied(amount_minor: int, currency: str, other_minor: int, other: str) -> Decimal:
    """The rate that a bank applied who credited an amount for another one: other / amount, to ten decimals."""
    with localcontext(Context(prec=_PRECISION, rounding=ROUND_HALF_EVEN)):
        units = Decimal(amount_minor).scaleb(-exponent(currency))
        return (Decimal(other_minor).scaleb(-exponent(other)) / units).quantize(Decimal("1e-10"))


def valued(amount_minor: int, currency: str, rate: Decimal, other: str) -> int:
    """What an amount is worth in minor units of another currency, however much that is."""
    with localcontext(Context(prec=_PRECISION, rounding=ROUND_HALF_EVEN)):
        return int((Decimal(amount_minor) * rate).scaleb(exponent(other) - exponent(currency)).to_integral_value())


def worth(amount_minor: int, currency: str, rate: Decimal, other: str) -> int:
    """What an amount is worth in minor units of another currency. Raises ValueError for more than any amount may be."""
    value = valued(amount_minor, currency, rate, other)
    if value > MAX_MINOR:
        raise ValueError("at this rate the amount is too large")
    return value


def exchange(amount_minor: int, currency: str, item_amount_minor: int, item_currency: str, rate: Decimal, source: str) -> Exchange:
    """An amount of a payment for so much of an item, and what we gain or lose by it at the rate. Raises ValueError."""
    if not 0 < rate < RATE_END:
        raise ValueError("what was sent and what was credited make no rate: one of the two is too small")
    return Exchange(item_amount_minor, rate, source, worth(amount_minor, currency, rate, item_currency) - item_amount_minor)
