"""The sub-ledger for an accountant: which account of a chart a ledger account is, in which journal an entry goes, its lines.

Each entry is double: it makes a debit line and a credit line of the same amount, so whatever is exported is balanced. The
default numbers are those of the French general chart (PCG, règlement ANC 2014-03); what it has no one number for
(`withheld`: tax or a retention) has none here, and an entity sets its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from matching.domain.exchange import valued

EURO = "EUR"
CHART: Mapping[str, tuple[str, str]] = {
    "receivables": ("411000", "Clients"),
    "credit_notes": ("411000", "Clients"),
    "set_off": ("411000", "Clients"),
    "bank": ("512000", "Banques"),
    "cash": ("530000", "Caisse"),
    "unapplied": ("471000", "Compte d'attente"),
    "refunds": ("467000", "Autres comptes débiteurs ou créditeurs"),
    "recalled": ("467000", "Autres comptes débiteurs ou créditeurs"),
    "other_receipts": ("467000", "Autres comptes débiteurs ou créditeurs"),
    "payables": ("401000", "Fournisseurs"),
    "exchange": ("580000", "Virements internes"),
    "discount": ("665000", "Escomptes accordés"),
    "charges": ("627000", "Services bancaires et assimilés"),
    "bad_debt": ("654000", "Pertes sur créances irrécouvrables"),
    "fx_loss": ("666000", "Pertes de change"),
    "fx_gain": ("766000", "Gains de change"),
}
"""Ledger account to number and label."""
LEDGERS = (*CHART, "withheld")
"""What an entity may give a number of its own."""
CUSTOMERS = frozenset({"receivables", "credit_notes", "set_off", "unapplied"})
"""Ledger accounts that are kept by customer."""
SOURCE = "billed"
"""The other side of an invoice: it is posted by the ERP's sales journal, so entries with it are not exported."""
_JOURNALS = (("bank", ("BQ", "Banque")), ("cash", ("CA", "Caisse")))
_OTHER = ("OD", "Opérations diverses")
_LABELS = {
    ("bank", "unapplied"): "Encaissement",
    ("cash", "unapplied"): "Encaissement en espèces",
    ("unapplied", "receivables"): "Lettrage",
    ("receivables", "unapplied"): "Annulation de lettrage",
    ("unapplied", "bank"): "Rejet ou retour",
    ("unapplied", "recalled"): "Demande de retour de fonds",
    ("recalled", "unapplied"): "Retour de fonds refusé",
    ("recalled", "bank"): "Retour de fonds",
    ("unapplied", "other_receipts"): "Encaissement hors créances",
    ("other_receipts", "unapplied"): "Encaissement hors créances annulé",
    ("unapplied", "refunds"): "Remboursement ordonné",
    ("refunds", "unapplied"): "Remboursement annulé",
    ("refunds", "bank"): "Remboursement",
    ("bad_debt", "receivables"): "Passage en perte",
    ("receivables", "bad_debt"): "Reprise de perte",
    ("discount", "receivables"): "Escompte accordé",
    ("charges", "receivables"): "Frais ou écart de règlement",
    ("charges", "bank"): "Frais sur remboursement",
    ("charges", "refunds"): "Frais sur retour de remboursement",
    ("credit_notes", "set_off"): "Imputation d'avoir",
    ("set_off", "receivables"): "Imputation d'avoir",
    ("payables", "receivables"): "Compensation",
    ("unapplied", "exchange"): "Lettrage en devises",
    ("exchange", "receivables"): "Lettrage en devises",
    ("exchange", "unapplied"): "Annulation de lettrage en devises",
    ("receivables", "exchange"): "Annulation de lettrage en devises",
    ("fx_loss", "exchange"): "Perte de change",
    ("exchange", "fx_gain"): "Gain de change",
    ("exchange", "fx_loss"): "Annulation de perte de change",
    ("fx_gain", "exchange"): "Annulation de gain de change",
}


class ChartError(ValueError):
    """A ledger account that has no number, or a currency that has no rate: the text names it."""


@dataclass(frozen=True, slots=True)
class Posting:
    """An entry with what an accountant wants to see of its item, payment and customer. `amount_minor` is above zero.

    `item_letter` is its item's once that is settled, `payment_letter` its payment's once nothing of it is unapplied, `back_letter` its
    payment's once what was to go back of it has gone; each with the day.

    `rate` is what a unit of its currency was worth in euro that day, where the accountant has said so. The payer is another than the
    customer where one pays for the other: what is unapplied was the payer's, what is owed is the customer's.
    """

    entry_id: int
    day: date
    debit: str
    credit: str
    amount_minor: int
    currency: str
    customer_number: str | None
    customer_name: str | None
    document: str | None
    document_date: date | None
    rate: Decimal | None = None
    payer_number: str | None = None
    payer_name: str | None = None
    item_letter: int | None = None
    item_lettered: date | None = None
    payment_letter: int | None = None
    payment_lettered: date | None = None
    back_letter: int | None = None
    back_lettered: date | None = None

    @property
    def in_euro(self) -> int:
        """Its amount in cents of a euro, rounded once for both sides. Raises ChartError where nobody says the rate."""
        if self.currency == EURO:
            return self.amount_minor
        if self.rate is None:
            raise ChartError(self.currency)
        return valued(self.amount_minor, self.currency, self.rate, EURO)


@dataclass(frozen=True, slots=True)
class Line:
    """One side of an entry. `letter`: what it shares with those that it sums to nothing with, and since when it does."""

    ledger: str
    number: str
    label: str
    customer_number: str
    customer_name: str
    debit_minor: int
    credit_minor: int
    letter: str
    lettered: date | None


def journal(posting: Posting) -> tuple[str, str]:
    """Code and name of the journal that an entry goes in."""
    sides = {posting.debit, posting.credit}
    return next((found for ledger, found in _JOURNALS if ledger in sides), _OTHER)


def text(posting: Posting) -> str:
    """What an entry is, in words."""
    label = _LABELS.get((posting.debit, posting.credit), "Écriture auxiliaire clients")
    return f"{label} {posting.document}" if posting.document else label


def lines(posting: Posting, chart: Mapping[str, tuple[str, str]], amount_minor: int) -> Iterator[Line]:
    """The debit line, then the credit line, of an amount in the currency of the export. Raises ChartError."""
    for ledger, debit, credit in ((posting.debit, amount_minor, 0), (posting.credit, 0, amount_minor)):
        if ledger not in chart:
            raise ChartError(ledger)
        number, label = chart[ledger]
        whose = (posting.payer_number, posting.payer_name) if ledger == "unapplied" else (posting.customer_number, posting.customer_name)
        customer, name = whose if ledger in CUSTOMERS and whose[0] else ("", "")
        letter, lettered = _letter(posting, ledger)
        yield Line(ledger, number, label, customer or "", name or "", debit, credit, letter, lettered)


def _letter(posting: Posting, ledger: str) -> tuple[str, date | None]:
    """An invoice's lines share one with its invoice (which the ERP posts), a payment's with what was settled, or left, of it."""
    if ledger in {"receivables", "credit_notes"} and posting.item_letter is not None:
        return letters(posting.item_letter), posting.item_lettered
    if ledger == "unapplied" and posting.payment_letter is not None:
        return letters(posting.payment_letter), posting.payment_lettered
    if ledger in {"refunds", "recalled"} and posting.back_letter is not None:
        return letters(posting.back_letter), posting.back_lettered
    return "", None


def letters(number: int) -> str:
    """A number from 1 on as accountants letter: A to Z, AA to ZZ, AAA."""
    found = ""
    while number:
        number, letter = divmod(number - 1, 26)
        found = chr(ord("A") + letter) + found
    return found
