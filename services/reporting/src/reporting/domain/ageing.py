"""Ageing of receivables: which bucket an instalment is in, and what the figures mean.

Invariants: the buckets cover every number of days, without overlap; not due + overdue buckets = open; nothing is rounded.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

BOUNDS = (1, 31, 61, 91)
"""First days past due of each bucket after the first."""
BUCKETS = ("not_due", "days_1_30", "days_31_60", "days_61_90", "days_91_plus")
OVERDUE = BUCKETS[1:]
OTHERS = ("disputed", "late_charges", "credit_notes", "unapplied")

DEFINITION = (
    "Open amount of each instalment by the days from its due date to the business day (due on the day itself is not due), "
    "in the item's own currency. open = not due + overdue, of invoices, deposits and late charges. disputed and "
    "late_charges are parts of open, not beside it. credit_notes (unused) and unapplied (payments without an item) are "
    "negative; net = open + credit_notes + unapplied. Money of payers that nobody knows stands under customer_id null."
)


def bucket(due_date: date, as_of: date) -> str:
    """The bucket of an instalment on a business day."""
    return BUCKETS[bisect_right(BOUNDS, (as_of - due_date).days)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ageing:
    """One customer's (or entity's) receivables in one currency, in minor units. `credit_notes` and `unapplied` are negative."""

    not_due: int
    days_1_30: int
    days_31_60: int
    days_61_90: int
    days_91_plus: int
    disputed: int
    late_charges: int
    credit_notes: int
    unapplied: int

    @classmethod
    def of(cls, amounts: Mapping[str, int]) -> "Ageing":
        """From amounts by name with the suffix `_minor`, as a row has them."""
        return cls(**{name: int(amounts[f"{name}_minor"]) for name in (*BUCKETS, *OTHERS)})

    @classmethod
    def none(cls) -> "Ageing":
        """Nothing open."""
        return cls(**dict.fromkeys((*BUCKETS, *OTHERS), 0))

    @property
    def overdue(self) -> int:
        """What is past its due date."""
        return self.days_1_30 + self.days_31_60 + self.days_61_90 + self.days_91_plus

    @property
    def open(self) -> int:
        """All open debit items."""
        return self.not_due + self.overdue

    @property
    def net(self) -> int:
        """What would be left to pay if every credit note and payment on account were set against the open items."""
        return self.open + self.credit_notes + self.unapplied

    @property
    def receivables(self) -> int:
        """What DSO is measured on: net, without late charges, which are no sales."""
        return self.net - self.late_charges
