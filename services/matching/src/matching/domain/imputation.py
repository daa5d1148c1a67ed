"""Legal imputation: in which order a payment settles debts that the debtor did not name.

The debtor's choice comes first, everywhere; it is made before this module is asked. Sources:
- FR: Code civil, art. 1342-10 (debts that are due first; among them those that the debtor has most interest to pay; then the
  oldest; then, all things equal, in proportion) and 1343-1 (interest before principal of the same debt, where that applies);
- DE: BGB, section 366 (2) is not settled here, for what is known of it is not verified; section 367 (costs, interest, principal).

The order of other countries is not known here and is refused, not guessed. Interest before principal is off unless the tenant
turns it on, and never applies to a payment of exactly an item's open amount. Which debt burdens the debtor most is not known to
this service (one legal rate holds for all that a customer owes an entity): debts are alike in that, and the oldest comes first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from matching.domain.books import Item, instalments_open

LAWS = {"FR": "Code civil, art. 1342-10 and 1343-1"}
"""Countries whose order among several debts is known here, and where it is written."""


class UnknownLawError(ValueError):
    """The order that this country's law sets is not known: a person decides."""


@dataclass(frozen=True, slots=True)
class Debt:
    """A debt that may be paid: `burden` is how much the debtor gains by paying it (late interest per year, in basis points)."""

    item_id: UUID
    kind: Literal["principal", "interest", "costs"]
    due_date: date
    issue_date: date
    open_minor: int
    burden: int = 0


def impute(amount: int, debts: Sequence[Debt], country: str, on: date, *, interest_first: bool = False) -> list[tuple[Debt, int]]:
    """What of the amount goes to which debt, in minor units, in the order of payment; what is more than all debts is left out.

    An item of exactly the amount is paid whole before anything else is considered when it is the only one of that amount:
    who pays an exact sum has chosen. Debts alike in every respect share in proportion; the cents that this leaves over go
    to the first in the given order. Raises UnknownLawError, and ValueError for an amount that is not above zero.
    """
    if amount <= 0:
        raise ValueError("an amount above zero is imputed")
    if country not in LAWS:
        raise UnknownLawError(f"the order in which the law of {country} imputes a payment is not known: choose the items")
    owed: Counter[UUID] = Counter()
    for debt in debts:
        if debt.kind == "principal":
            owed[debt.item_id] += debt.open_minor
    exact = [item_id for item_id, total in owed.items() if total == amount]
    if len(exact) == 1:
        return [(debt, debt.open_minor) for debt in debts if debt.item_id == exact[0] and debt.open_minor]
    rank = {"costs": 0, "interest": 1, "principal": 2} if interest_first else {"principal": 0, "interest": 1, "costs": 2}

    def place(debt: Debt) -> tuple[bool, int, int, date, date]:
        return debt.due_date > on, rank[debt.kind], -debt.burden, debt.due_date, debt.issue_date

    given: list[tuple[Debt, int]] = []
    left = amount
    for key in sorted({place(debt) for debt in debts if debt.open_minor > 0}):
        alike = [debt for debt in debts if debt.open_minor > 0 and place(debt) == key]
        given += _shared(min(left, sum(debt.open_minor for debt in alike)), alike)
        left = amount - sum(part for _, part in given)
        if not left:
            break
    return given


def debts_of(item: Item) -> list[Debt]:
    """What is open and undisputed of an item, one debt for each instalment; a dispute is about the latest. Late charges are interest."""
    kind: Literal["principal", "interest"] = "interest" if item.kind == "late_charge" else "principal"
    parts = instalments_open(item.instalment_dues, item.instalment_amounts, item.open_minor)
    contested = min(item.contested_minor, item.open_minor)
    found = []
    for due, part in sorted(zip(item.instalment_dues, parts, strict=True), reverse=True):
        undisputed = part - min(part, contested)
        contested -= part - undisputed
        if undisputed:
            found.append(Debt(item.item_id, kind, due, item.issue_date, undisputed))
    return found[::-1]


def _shared(amount: int, debts: Sequence[Debt]) -> list[tuple[Debt, int]]:
    total = sum(debt.open_minor for debt in debts)
    parts = [amount * debt.open_minor // total for debt in debts]
    for at, debt in enumerate(debts):
        more = min(amount - sum(parts), debt.open_minor - parts[at])
        parts[at] += more
    return [(debt, part) for debt, part in zip(debts, parts, strict=True) if part]
