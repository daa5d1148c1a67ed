"""What the sender of an invoice should know, though nothing in it is wrong: told in the answer and kept with the invoice.

Two of them refuse the invoice where the entity says so: a possible duplicate, and a missing purchase-order number. They are
about new business (`issued`): nothing is asked of what was taken over, and a credit note needs no order of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from invoicing.domain.reference import reference_fault
from invoicing.domain.terms import excess

DUPLICATE, ORDER_MISSING = "possible-duplicate", "order-number-missing"


@dataclass(frozen=True, slots=True)
class Caution:
    """A stable code, a JSON pointer to the field, a sentence."""

    code: str
    pointer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What the cautions about one invoice rest on. `twin`: another source id that bills the same, in words.

    `deposits_minor`: what the deposits that it deducts are payable by, None where it names none; `deposits_open_minor`: what of
    them is open still.
    """

    kind: str
    origin: str
    country: str
    issued: date
    due: date | None
    has_order_number: bool
    needs_order_number: bool
    reference: str | None
    scheme: str | None
    prepaid_minor: int
    twin: str | None = None
    deposits_minor: int | None = None
    deposits_open_minor: int = 0


def cautions(billed: Billed) -> Iterator[Caution]:
    """Everything there is to say of an invoice."""
    if billed.origin != "issued":
        return
    if billed.twin is not None:
        yield Caution(DUPLICATE, "/invoice_number", f"{billed.twin} has the same number, amount, date and buyer")
    if billed.reference is not None and (fault := reference_fault(billed.reference, billed.scheme)) is not None:
        yield Caution("reference-check-digits", "/payment_reference", fault)
    if billed.deposits_minor is not None and billed.prepaid_minor > billed.deposits_minor:
        yield Caution("prepaid-above-deposits", "/prepaid_minor", "more is deducted than the deposit invoices named were payable by")
    if billed.deposits_open_minor:
        yield Caution("deposit-unpaid", "/deposit_invoice_ids", "a deposit that is deducted has not been paid in full")
    if billed.kind == "credit_note":
        return
    if billed.needs_order_number and not billed.has_order_number:
        yield Caution(ORDER_MISSING, "/order_numbers", "the customer refuses invoices without a purchase-order number")
    if billed.due is not None and (beyond := excess(billed.country, issued=billed.issued, due=billed.due)) is not None:
        yield Caution("term-exceeds-law", "/instalments", beyond.detail)
