"""What a debtor's list deducts of an item, and how much of that is granted without a person.

Rules:
- a discount is granted as far as the item's terms offer it on what is settled, as late as the engine grants it where nothing else is known;
- all else that is deducted for a reason of `DEDUCTIONS`, a discount beyond the terms too, is given away as by one person alone: up to the
  entity's limit, with what one person alone has forgiven the item already;
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


def by_terms(terms: str | None, day: date, paid: int, deducted: int) -> int:
    """How much of a discount that is deducted beside what is paid the terms offer on a day: of both together."""
    if terms is None:
        return 0
    until, percent = term(terms, day)
    while (most := offered(paid + deducted, percent / 100, until, day, LATE_GRACE)) < deducted:
        deducted = most
    return deducted


def grant(lines: Mapping[int, RemittanceLine], money: int, owed: int, day: date, room: Room, *, set_off: int = 0) -> Granted:
    """What of the lines of a list for one item is granted, by their numbers from 0. `money` is what the item gets of what is `owed`,
    `set_off` what credit notes of the list have settled before.
    """
    found = Granted()
    for at, line in lines.items():
        if (reason := reason_of(line)) is None:
            continue
        wanted = found.diff_minor + line.deduction_minor
        within = by_terms(room.terms, day, money + set_off, wanted) if reason == "discount" else 0
        if money <= 0:
            found.refused[at] = "nothing is paid of the item: what is deducted of it in full is for a person to write off"
        elif found.reason not in {None, reason}:
            found.refused[at] = "one payment forgives one item for one reason, and an earlier line deducts for another one: this stays open"
        elif money + wanted > owed:
            found.refused[at] = "the item has less than that open"
        elif within < wanted and room.alone_minor + wanted - within > room.limit_minor:
            over = wanted - max(within, found.diff_minor)
            found.refused[at] = (
                f"{over} of {line.deduction_minor} minor units are beyond the item's terms and above what one person may give away alone: "
                "they stay open"
            )
            if within > found.diff_minor:
                found.diff_minor, found.reason = within, reason
        else:
            found.diff_minor, found.reason, found.alone_minor = wanted, reason, wanted - within
    return found
