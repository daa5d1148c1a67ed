"""What the lines of a remittance list give to items, where the list, the payment and the items are not in one currency.

Two ways there are:
- the list is in the items' currency, and the bank credited another one for just its total: each line has its part of the money,
  at the bank's own rate;
- the list is in the payment's currency, and says what a line settles of an item in another one, or the rate. What a debtor says
  of a rate holds where it is near the bank's own, or else the ones seen lately; where nobody knows one, a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from shared.money import exponent

from matching.domain.exchange import BANK_RATE, RATE_END, implied, worth
from matching.domain.remittances import RemittanceLine
from matching.domain.rows import Item, Payment

LIST_RATE = "remittance"
"""The source of a rate that follows from what the debtor's list says."""
BAND = 0.035
"""How far a debtor's rate may be from the one that is known."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known of rates: the list's own (the other currency, and units of it for one of the list's), what the payer told
    his bank to pay, and by currency of an item what it cost lately in the payment's: lowest, highest, how often (minor units).
    """

    stated: tuple[str, Decimal] | None = None
    instructed: tuple[str, int] | None = None
    seen: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Share:
    """What a line gives: money of the payment for `owed` of the item, each in its own currency, both below zero for a credit note.

    `rate` and who says it where the two differ; `refused` says why a person has to look at it.
    """

    at: int
    item_id: UUID
    money_minor: int
    owed_minor: int
    rate: Decimal | None = None
    source: str | None = None
    refused: str | None = None


def shares(
    lines: Sequence[RemittanceLine], items: Mapping[int, Item], currency: str, total_minor: int, payment: Payment, rates: Rates
) -> list[Share]:
    """The shares of the lines whose items are there, in their order. `currency` and `total_minor` are the list's."""
    if currency != payment.currency:
        return _at_the_banks_rate(lines, items, currency, total_minor, payment)
    return [_share(at, lines[at], item, payment, rates) for at, item in items.items()]


def _at_the_banks_rate(
    lines: Sequence[RemittanceLine], items: Mapping[int, Item], currency: str, total_minor: int, payment: Payment
) -> list[Share]:
    """The payment's money by the lines' parts of the list's total, to the last minor unit."""
    rate = implied(payment.amount_minor, payment.currency, total_minor, currency)
    found, reached, given = [], 0, 0
    for at, line in enumerate(lines):
        reached += line.net_minor
        money, given = payment.amount_minor * reached // total_minor - given, payment.amount_minor * reached // total_minor
        if (item := items.get(at)) is not None:
            refused = None if item.currency == currency else "the item is not in the list's currency"
            found.append(Share(at, item.item_id, money, line.net_minor, rate, BANK_RATE, refused))
    return found


def _share(at: int, line: RemittanceLine, item: Item, payment: Payment, rates: Rates) -> Share:
    money = line.net_minor
    if item.currency == payment.currency:
        return Share(at, item.item_id, money, money)
    bank = None
    if rates.instructed and rates.instructed[0] == item.currency:
        bank = implied(payment.amount_minor, payment.currency, rates.instructed[1], item.currency)
    share = Share(at, item.item_id, money, 0)
    if not money:
        share.refused = "the line has no money"
    elif line.item_amount_minor is not None:
        share.owed_minor, share.source = line.item_amount_minor, LIST_RATE
        share.rate = implied(abs(money), payment.currency, abs(line.item_amount_minor), item.currency)
        share.refused = None if line.item_currency == item.currency else "the item is not in the currency that the line names"
    elif rates.stated and rates.stated[0] == item.currency:
        share.rate, share.source = rates.stated[1], LIST_RATE
    else:
        share.rate, share.source = bank, BANK_RATE
    if not share.refused:
        _price(share, payment, item, bank, rates)
    return share


def _price(share: Share, payment: Payment, item: Item, bank: Decimal | None, rates: Rates) -> None:
    """Says what the money settles at the share's rate, or why a person has to."""
    if share.rate is None:
        share.refused = "nobody says a rate for the item's currency"
    elif not 0 < share.rate < RATE_END:
        share.refused = "the two amounts make no rate"
    else:
        share.owed_minor = share.owed_minor or _settled(share.money_minor, payment.currency, share.rate, item)
        if share.source == LIST_RATE and not _near(share, payment, item, bank, rates):
            share.refused = "the rate is not near the ones that are known"


def _settled(money: int, currency: str, rate: Decimal, item: Item) -> int:
    """What money is worth at a stated rate: all that is open, where the rounding of the two alone makes it more or less."""
    step = Decimal(1).scaleb(min(int(rate.as_tuple().exponent), 0)) / 2
    factor = Decimal(10) ** (exponent(item.currency) - exponent(currency))
    size = abs(money)
    low, high = (size - Decimal("0.5")) * (rate - step) * factor - 1, (size + Decimal("0.5")) * (rate + step) * factor + 1
    owed = item.open_minor if low <= item.open_minor <= high and item.open_minor else worth(size, currency, rate, item.currency)
    return owed if money > 0 else -owed


def _near(share: Share, payment: Payment, item: Item, bank: Decimal | None, rates: Rates) -> bool:
    """Whether a unit of the item's currency costs about what it does by the bank, or else what it did lately."""
    if not share.owed_minor:
        return False
    price = share.money_minor / share.owed_minor
    if bank is not None:
        usual = 10.0 ** (exponent(payment.currency) - exponent(item.currency)) / float(bank) if bank else 0.0
    elif (seen := rates.seen.get(item.currency)) is not None:
        usual = (seen[0] + seen[1]) / 2
    else:
        return False
    return usual * (1 - BAND) <= price <= usual * (1 + BAND)
