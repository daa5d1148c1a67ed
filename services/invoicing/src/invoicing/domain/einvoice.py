"""What an e-invoice says, whatever its syntax. Business term numbers (BT, BG) are EN 16931-1's.

Invariant: amounts are exact decimals and dates calendar days, as printed; what cannot be read as one is a finding, never a guess.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

Severity = Literal["fatal", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold: its id, the XPath of the place, a sentence, how grave it is, and whose rule it is.

    `fatal` rejects the invoice. `source` names the rule set and its version; our own rules have the source `encours`.
    """

    rule: str
    xpath: str
    detail: str
    severity: Severity = "fatal"
    source: str = "encours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A line, or an allowance or charge on document level: its net amount, VAT category and rate.

    A line's `quantity` of units, its net `price` for `base` units, and what its own allowances and charges make of it
    (`adjustment`) give its amount.
    """

    xpath: str
    amount: Decimal | None
    category: str | None
    rate: Decimal | None
    quantity: Decimal | None = None
    price: Decimal | None = None
    base: Decimal | None = None
    adjustment: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxPortion:
    """One VAT breakdown (BG-23)."""

    xpath: str
    taxable: Decimal | None
    tax: Decimal | None
    category: str | None
    rate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Seller or buyer. `identifiers` are (scheme, value) as printed, the most telling first; `vat` is a VAT number."""

    name: str | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    numbers: tuple[str, ...] = ()
    """What the other side may call this party: for a buyer, the seller's customer number."""
    has_address: bool = False
    country: str | None = None
    street: tuple[str, ...] = ()
    postcode: str | None = None
    city: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EInvoice:
    """An e-invoice as it was read; None where it says nothing. `root` is the local name of its root element."""

    root: str
    profile: str | None
    number: str | None
    issue_date: date | None
    due_date: date | None
    type_code: str | None
    is_credit: bool
    currency: str | None
    seller: Party
    buyer: Party
    payee_name: str | None = None
    means_code: str | None = None
    payment_reference: str | None = None
    account: str | None = None
    bic: str | None = None
    delivery_date: date | None = None
    discounts: tuple[tuple[int, Decimal], ...] = ()
    """(days after issue, percent) of each agreed discount."""
    notes: tuple[str, ...] = ()
    order_numbers: tuple[str, ...] = ()
    preceding: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    instalments: tuple[tuple[date, Decimal], ...] = ()
    lines: tuple[Portion, ...] = ()
    allowances: tuple[Portion, ...] = ()
    charges: tuple[Portion, ...] = ()
    taxes: tuple[TaxPortion, ...] = ()
    line_total: Decimal | None = None
    allowance_total: Decimal | None = None
    charge_total: Decimal | None = None
    net: Decimal | None = None
    tax: Decimal | None = None
    gross: Decimal | None = None
    prepaid: Decimal | None = None
    rounding: Decimal | None = None
    payable: Decimal | None = None
    malformed: tuple[Finding, ...] = field(default=())
    """What could not be read as an amount or a date."""
