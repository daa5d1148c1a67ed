"""What a payer says his payment is for: a remittance list, or an announcement, as lines of items.

A line's net is its gross less its deduction; the nets add up to the payment. A line below zero is a credit note that he
deducts. The debtor's designation goes before every guess (Code civil, art. 1342-10). What a line of a list gives to an item in
another currency is in `domain.exchanged_lines`.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from matching.domain.references import fills, normalised

DEDUCTIONS: Mapping[str, str | None] = {
    "discount": "discount",
    "bank_charges": "bank_charges",
    "commission": "bank_charges",
    "rounding": "rounding",
    "withholding": "withheld",
    "retention": None,
    "dispute": None,
    "return_of_goods": None,
    "bonus": None,
    "other": None,
}
"""Why a payer deducts, and the reason of an allocation's difference for which that may be granted (`domain.deductions` says how much).
None: it stays open, for a person.
"""

RULES = {"remittance": "remittance", "promise": "promise", "plan_instalment": "payment_plan"}
"""The rule of what is allocated by an expected payment of a kind; `announced` for all others."""


@dataclass(frozen=True, slots=True)
class RemittanceLine:
    """A line: an item by its id or its document's number. Amounts are minor units; all are below zero for a credit note.

    `item_amount_minor` is what it settles of an item in another currency than the list's, `item_currency`.
    """

    document_number: str | None
    item_id: UUID | None
    gross_minor: int
    deduction_minor: int
    deduction_reason: str | None
    net_minor: int
    item_amount_minor: int | None = None
    item_currency: str | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a payment carries that may be the reference of an expected payment, and whether its payer is the expected one."""

    structured_reference: str | None
    end_to_end_id: str | None
    remittance: Sequence[str]
    same_payer: bool

    def says(self, reference: str) -> bool:
        """Whether one of them is the reference, whole: a part of a longer number never counts."""
        fields = {normalised(self.structured_reference or ""), normalised(self.end_to_end_id or "")}
        return reference in fields or fills(self.remittance, reference)


class Fit(NamedTuple):
    """An expected payment that a payment may be: its reference, what the payment says, the items that it would settle, its payer, and
    whether its days are over.
    """

    reference: str | None
    spoken: Spoken
    kind: str
    payment_plan_id: UUID | None
    items: frozenset[UUID]
    payer: UUID | None = None
    expired: bool = False


def problem(lines: Sequence[RemittanceLine], total_minor: int) -> tuple[int | None, str] | None:
    """What does not add up: the line's number from 0 (None: the whole) and why; None where everything does."""
    for at, line in enumerate(lines):
        rules = {
            "gross less deduction is not the net amount": line.gross_minor - line.deduction_minor != line.net_minor,
            "a deduction needs a reason": line.deduction_minor and line.deduction_reason is None,
            "no more is deducted than the gross amount": line.net_minor * line.gross_minor < 0,
            "the line has no amount": line.net_minor == 0 and line.gross_minor == 0,
            "a deduction has the sign of its line": line.deduction_minor * line.gross_minor < 0,
            "an amount of the item has its currency, and a currency an amount": (line.item_amount_minor is None)
            != (line.item_currency is None),
            "an amount of the item has the sign of its line": (line.item_amount_minor or 0) * line.net_minor < 0
            or line.item_amount_minor == 0,
            "the line names neither an item nor a document": line.item_id is None and not normalised(line.document_number or ""),
        }
        wrong = next((why for why, broken in rules.items() if broken), None)
        if wrong:
            return at, wrong
    if lines and (added := sum(line.net_minor for line in lines)) != total_minor:
        return None, f"the net amounts of the lines add up to {added}, not to the total of {total_minor} (minor units)"
    return None


def fitting(found: Mapping[UUID, Fit]) -> list[UUID]:
    """The expected payments of the payment's amount that it may be: those whose reference it says, those whose days are over after the
    others; or else those of its payer.
    """
    named = [key for key, each in found.items() if each.reference is not None and each.spoken.says(each.reference)]
    return [key for key in named if not found[key].expired] or named or [key for key, each in found.items() if each.spoken.same_payer]


def pick(found: Mapping[UUID, Fit], taken: Container[UUID] = ()) -> UUID | None:
    """The one expected payment that a payment is. Two that fit equally well decide nothing, unless they are announcements that say the same
    (a payer's two cheques of one amount, for nothing or for one item): then it is the first of them that no other payment has `taken`.
    """
    fits = fitting(found)
    if len(fits) > 1 and len({(each.reference, each.kind, each.items, each.payer) for each in map(found.__getitem__, fits)}) == 1:
        each = found[fits[0]]
        if each.kind not in RULES and len(each.items) <= 1:
            fits = [key for key in fits if key not in taken][:1]
    return fits[0] if len(fits) == 1 else None


def listed(found: Mapping[UUID, Fit]) -> UUID | None:
    """The one list among the expected payments that a payment may be."""
    lists = [key for key in fitting(found) if found[key].kind == "remittance"]
    return lists[0] if len(lists) == 1 else None


def with_list(found: Mapping[UUID, Fit], one: UUID, items: frozenset[UUID]) -> list[UUID] | None:
    """The announcements that are the same money as a list, which is for these items: they name none but these, and fit the payment as
    well, or are its payer's and name an item. None where something that fits as well names others, or is of a payment plan, which goes on.
    """
    fits = [key for key in fitting(found) if key != one]
    if any(not found[key].items <= items or found[key].payment_plan_id for key in fits):
        return None
    own = [key for key, each in found.items() if each.spoken.same_payer and each.items and each.items <= items]
    return [key for key in dict.fromkeys([*fits, *own]) if key != one and found[key].kind not in RULES]
