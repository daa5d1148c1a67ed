"""What a debtor's list deducts of an item, and how much of that is granted without a person.

Rules:
- the terms offer their percent of what is settled, the money and what is granted with it, as late as the engine grants it where nothing
  else is known: of an item that the list pays in full (950 and 50 of 1,000 at 2 %) that is the percent of the item (20 of the 50), of a
  part that of the part;
- all else that is deducted for a reason of `DEDUCTIONS`, a discount beyond the terms too (the other 30), is given away as by one person
  alone: up to the entity's limit, with what one person alone has forgiven the item already. Where that is not enough nothing beyond the
  terms is granted, and their percent is of the money and itself (19): a discount is for money that came;
- nothing is forgiven of an item that gets no money, and one payment forgives one item for one reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from matching.domain.engine.habits import LATE_GRACE
from matching.domain.engine.readings import offered, term
from matching.domain.remittances import DEDUCTIONS, RemittanceLine


@dataclass(slots=True)
class Room:
    """What may be forgiven of an item: its discounts (as `term` reads them), and what one person may give away alone and has given."""

    terms: str | None = None
    limit_minor: int = 0
    alone_minor: int = 0

    def bears(self, amount: int) -> bool:
        """Whether one person alone may forgive so much more."""
        return self.alone_minor + amount <= self.limit_minor


@dataclass(slots=True)
class Granted:
    """What is forgiven of an item and why, how much of it as by one person alone, and by a line's number why what it deducts is not."""

    diff_minor: int = 0
    reason: str | None = None
    alone_minor: int = 0
    refused: dict[int, str] = field(default_factory=dict)


def reason_of(line: RemittanceLine) -> str | None:
    """The reason of a difference for which a line's deduction is granted; None where it deducts nothing, or a person has to look at it."""
    return DEDUCTIONS.get(line.deduction_reason or "other") if line.deduction_minor > 0 else None


def beyond(terms: str | None, reason: str | None, day: date, paid: int, deducted: int) -> int:
    """How much of what is deducted beside what is paid one person gives away alone: of a discount what the terms do not offer of both."""
    return deducted - min(deducted, _offered(terms, day, paid + deducted)) if reason == "discount" else deducted


def grant(lines: Mapping[int, RemittanceLine], money: int, owed: int, day: date, room: Room, *, set_off: int = 0) -> Granted:
    """What of the lines of a list for one item is granted, by their numbers from 0. `money` is what the item gets of what is `owed`,
    `set_off` what credit notes of the list have settled before.
    """
    found = Granted()
    for at, line in lines.items():
        if (reason := reason_of(line)) is None:
            continue
        wanted = found.diff_minor + line.deduction_minor
        alone = beyond(room.terms, reason, day, money + set_off, wanted)
        if money <= 0:
            found.refused[at] = "nothing is paid of the item: what is deducted of it in full is for a person to write off"
        elif found.reason not in {None, reason}:
            found.refused[at] = "one payment forgives one item for one reason, and an earlier line deducts for another one: this stays open"
        elif money + wanted > owed:
            found.refused[at] = "the item has less than that open"
        elif alone and not room.bears(alone):
            within = _by_terms_alone(room.terms, day, money + set_off, wanted) if reason == "discount" else 0
            over = wanted - max(within, found.diff_minor)
            found.refused[at] = (
                f"{over} of {line.deduction_minor} minor units are beyond the item's terms and above what one person may give away alone: "
                "they stay open"
            )
            if within > found.diff_minor:
                found.diff_minor, found.reason = within, reason
        else:
            found.diff_minor, found.reason, found.alone_minor = wanted, reason, alone
    return found


def _offered(terms: str | None, day: date, settled: int) -> int:
    """What the terms offer on a day of what is settled."""
    if terms is None:
        return 0
    until, percent = term(terms, day)
    return offered(settled, percent / 100, until, day, LATE_GRACE)


def _by_terms_alone(terms: str | None, day: date, paid: int, deducted: int) -> int:
    """How much of a discount the terms offer of what is paid and of that discount, and nothing else is granted with it."""
    while (most := _offered(terms, day, paid + deducted)) < deducted:
        deducted = most
    return deducted
