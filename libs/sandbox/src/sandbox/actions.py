"""What happens in a simulated world: who is there, and what each does on which day.

Invariants: amounts are integers of minor units beside an ISO 4217 code; total = net + tax, payable = total - prepaid; a
transfer's `pays` says what the debtor means, and its sum is the amount but where the intent says that they pay too much.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

Behaviour = Literal["prompt", "slow", "partial", "sloppy", "disputer", "promiser", "failing"]
Channel = Literal["json", "ubl", "cii", "facturx", "csv"]
"""How the ERP hands a document over: by the JSON API, as a file of one of these formats, or in the day's CSV file."""
Intent = Literal["exact", "late", "partial", "over", "double", "no_reference", "wrong_reference", "collective"]
Notice = Literal["json", "camt054", "statement"]
"""How the bank first tells of a transfer: at once by JSON or camt.054, or only in the statement at day's end."""
Fault = Literal["bad_sum", "missing_field", "unknown_seller"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A company. `company_ids` are (ISO 6523 scheme, value)."""

    name: str
    country: str
    company_ids: tuple[tuple[str, str], ...]
    vat_id: str
    street: str
    postcode: str
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Whose receivables these are; `accounts` are (currency, IBAN) with the simulated bank."""

    party: Party
    accounts: tuple[tuple[str, str], ...]

    def account(self, currency: str) -> str:
        """The IBAN on which this currency is collected."""
        return dict(self.accounts)[currency]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A debtor. `pays_to`: the seller's account, or a virtual IBAN of the customer's own."""

    number: str
    party: Party
    currency: str
    language: str
    email: str
    iban: str
    behaviour: Behaviour
    payment_terms_days: int
    pays_to: Literal["account", "virtual_iban"]
    collects: bool
    """Pays several invoices by one transfer, on Thursdays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of an invoice: whole units at a price, net = quantity x price."""

    text: str
    quantity: int
    price_minor: int

    @property
    def net_minor(self) -> int:
        """Net amount of the line."""
        return self.quantity * self.price_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An invoice or credit note as the ERP holds it; its number is also the ERP's id. `tax_bp` 0 is reverse charge.

    `payment_reference` is None where the ERP prints none. `open_minor` is set for what is taken over on go-live.
    """

    number: str
    version: int
    kind: Literal["invoice", "credit_note"]
    origin: Literal["issued", "opening"]
    customer_number: str
    issue_date: date
    currency: str
    lines: tuple[Line, ...]
    tax_bp: int
    net_minor: int
    tax_minor: int
    total_minor: int
    prepaid_minor: int
    payable_minor: int
    instalments: tuple[tuple[date, int], ...]
    channel: Channel
    payment_reference: str | None = None
    order_number: str | None = None
    credited_number: str | None = None
    open_minor: int | None = None
    own_virtual_iban: bool = False

    @property
    def due_date(self) -> date:
        """The day of the last instalment."""
        return self.instalments[-1][0]

    @property
    def owed_minor(self) -> int:
        """What the debtor owes when the document reaches us."""
        return self.payable_minor if self.open_minor is None else self.open_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class BadDocument:
    """A document that must be refused, and why."""

    document: Document
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The ERP withdraws an invoice."""

    number: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A debtor's credit transfer. `to_invoice` names the invoice whose virtual IBAN is credited, if that is one's own."""

    transfer_id: str
    customer_number: str
    amount_minor: int
    currency: str
    intent: Intent
    pays: tuple[tuple[str, int], ...]
    notice: Notice
    notified_twice: bool
    structured_reference: str | None = None
    remittance: tuple[str, ...] = ()
    end_to_end_id: str | None = None
    to_invoice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """An earlier transfer goes back; `reason` is an ISO 20022 external return reason code."""

    transfer_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A debtor contests an amount of an invoice."""

    number: str
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The end of the dispute about an invoice; `justified` comes with a credit note."""

    number: str
    resolution: Literal["justified", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A debtor promises to pay an invoice's rest by a day; `kept` tells what they will do."""

    number: str
    amount_minor: int
    due_on: date
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BureauNews:
    """From this day on the bureau's score of a customer is this one (0 worst to 100)."""

    customer_number: str
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """All that happens on one day, in an order that never changes for a seed."""

    date: date
    documents: tuple[Document, ...] = ()
    changes: tuple[Document, ...] = ()
    cancellations: tuple[Cancellation, ...] = ()
    bad_documents: tuple[BadDocument, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    returns: tuple[Return, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    promises: tuple[Promise, ...] = ()
    bureau_news: tuple[BureauNews, ...] = ()


Action = Document | Cancellation | BadDocument | Transfer | Return | Dispute | Resolution | Promise | BureauNews
