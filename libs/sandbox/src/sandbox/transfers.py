"""From what debtors mean to pay to the transfers that their banks carry: grouping, texts, mistakes, returns.

Invariants: the amounts meant are the amounts transferred; a wrong reference never names a document that exists; each
transfer has an id that depends on the world alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from sandbox.actions import Customer, Document, Notice, Return, Transfer
from sandbox.behaviour import Part
from sandbox.chance import chance

_THURSDAY, _SATURDAY = 3, 5
_NO_TEXT = ((), ("VIREMENT",), ("PAYMENT",), ("Zahlung wie besprochen",), ("SOLDE",))
_BY_NUMBER = ("Facture {}", "Invoice {}", "{}", "Rechnung {} vielen Dank", "FACT {} / VIR SEPA", "Factuur {}")
_LINE = 140  # characters of one unstructured remittance line (SEPA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """A part that a debtor means to pay, with the document it is for."""

    document: Document
    part: Part


def transfers(seed: int, meant: Iterable[Meant], customers: Mapping[str, Customer]) -> Iterator[tuple[date, Transfer]]:
    """Each transfer with the day on which it is executed, ordered by day and customer."""
    alone: list[tuple[date, str, tuple[Meant, ...]]] = []
    together: dict[tuple[date, str], list[Meant]] = defaultdict(list)
    for one in meant:
        customer = customers[one.document.customer_number]
        if customer.collects and one.part.intent in {"exact", "late", "no_reference"} and not one.document.own_virtual_iban:
            thursday = one.part.day + timedelta(days=(_THURSDAY - one.part.day.weekday()) % 7)
            together[thursday, customer.number].append(one)
        else:
            alone.append((one.part.day, customer.number, (one,)))
    orders = alone + [(day, number, tuple(group)) for (day, number), group in together.items()]
    for index, (day, number, group) in enumerate(sorted(orders, key=lambda order: (order[0], order[1], order[2][0].document.number))):
        yield _transfer(seed, index, day, customers[number], group)


def returns(seed: int, executed: Sequence[tuple[date, Transfer]]) -> Iterator[tuple[date, Return]]:
    """One transfer in a hundred, and half of the doubled ones, go back some days later.

    Only those with an end-to-end id: without one a bank's return names nothing that its receiver knows for sure.
    """
    for day, transfer in executed:
        if transfer.end_to_end_id is None:
            continue
        rng = chance("return", seed, transfer.transfer_id)
        double = transfer.intent == "double"
        if rng.random() < (0.5 if double else 0.01):
            yield day + timedelta(days=rng.randint(2, 7)), Return(transfer_id=transfer.transfer_id, reason="DUPL" if double else "CUST")


def _transfer(seed: int, index: int, day: date, customer: Customer, group: tuple[Meant, ...]) -> tuple[date, Transfer]:
    transfer_id = f"T{index + 1:06d}"
    rng = chance("transfer", seed, transfer_id, customer.number)
    notice: Notice = rng.choices(("json", "camt054", "statement"), (55, 25, 20))[0]
    if day.weekday() >= _SATURDAY and notice != "json":  # only instant payments move at the weekend
        day += timedelta(days=7 - day.weekday())
    intent = "collective" if len(group) > 1 else group[0].part.intent
    structured, remittance = _texts(group, intent, rng)
    first = group[0].document
    return day, Transfer(
        transfer_id=transfer_id,
        customer_number=customer.number,
        amount_minor=sum(one.part.amount_minor for one in group),
        currency=customer.currency,
        intent=intent,
        pays=tuple((one.document.number, one.part.amount_minor) for one in group),
        notice=notice,
        notified_twice=rng.random() < 0.02,  # noqa: PLR2004 - two in a hundred
        structured_reference=structured,
        remittance=remittance,
        end_to_end_id=f"{customer.number}-{transfer_id}" if rng.random() < 0.7 else None,  # noqa: PLR2004 - the others give none
        to_invoice=first.number if first.own_virtual_iban else None,
    )


def _texts(group: tuple[Meant, ...], intent: str, rng: Random) -> tuple[str | None, tuple[str, ...]]:
    """Structured reference and unstructured lines."""
    document = group[0].document
    if intent == "no_reference":
        return None, rng.choice(_NO_TEXT)
    if intent == "wrong_reference":
        # a number that no document has: years before the world begins
        return None, (rng.choice(_BY_NUMBER).format(f"F{document.issue_date.year - 20}-{rng.randint(0, 999_999):06d}"),)
    if len(group) > 1:
        return None, _lines([one.document.number for one in group])
    if document.payment_reference and rng.random() < 0.7:  # noqa: PLR2004 - seven in ten take over the printed reference
        return document.payment_reference, ()
    return None, (rng.choice(_BY_NUMBER).format(document.number),)


def _lines(numbers: Sequence[str]) -> tuple[str, ...]:
    """The numbers in as many lines as they need, none broken in two."""
    lines, line = [], ""
    for number in numbers:
        longer = f"{line} {number}".strip()
        if len(longer) > _LINE:
            lines.append(line)
            longer = number
        line = longer
    return (*lines, line)
