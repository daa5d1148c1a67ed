"""How much of a payment is for each item, in the payer's own words: numbers and amounts in turns that come to what was paid.

What the payer designates goes before every guess (Code civil, art. 1342-10): each item gets what is said, and the rest of it stays open.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

from matching.domain.engine.amounts import Told
from matching.domain.engine.habits import GRACE_DAYS
from matching.domain.engine.readings import Reading, discount, may_be_forgiven
from matching.domain.engine.records import Clues, Line, OpenItem
from matching.domain.engine.text import Hit, Named


def itemised(clues: Clues, items: Sequence[OpenItem], named: Named, charges: Mapping[int, int]) -> Reading | None:
    """The reading of a text that says how much each of several items gets; None where it does not, or says more than one owes."""
    owed = {item.item_id for item in items if item.open_minor and item.currency == clues.currency}
    if len(named.told) < 2 or not _in_turns(named.hits, named.told) or any(hit.item.item_id not in owed for hit in named.hits):  # noqa: PLR2004
        return None
    lines, rounded, short = [], False, 0
    for hit, one in zip(named.hits, named.told, strict=True):
        line = _line(hit.item, one.minor, clues.booking_date)
        if line is None:
            return None
        gap = hit.item.open_minor - line.cents
        short += gap
        rounded = rounded or (gap > 0 and may_be_forgiven(hit.item, gap, charges))
        lines.append(line)
    money = "exact" if not short else "short_round" if rounded else "short"
    discounted = any(line.reason for line in lines)
    return Reading("document_number", money, lines, residual=-short, discounted=discounted, target=clues.amount_minor)


def _in_turns(hits: Sequence[Hit], told: Sequence[Told]) -> bool:
    """Whether each number has its amount behind it, or each before it."""
    if len(hits) != len(told) or any(hit.span.start < 0 for hit in hits):
        return False
    places = sorted([(hit.span.start, 0) for hit in hits] + [(one.start, 1) for one in told])
    return all(one[1] != other[1] for one, other in pairwise(places))


def _line(item: OpenItem, minor: int, day: date) -> Line | None:
    """What is said to be for an item: all of it, all but the discount that is offered, or a part; None where that cannot be."""
    if not 0 < minor * (1 if item.open_minor > 0 else -1) <= abs(item.open_minor):
        return None
    off = discount(item, day, GRACE_DAYS)
    if off and minor == item.open_minor - off:
        return Line(item, item.open_minor, off, "discount")
    return Line(item, minor)
