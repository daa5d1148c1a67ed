"""Document numbers in what a payer wrote: split, truncated, spaced, O for 0, prefixes left out, lists and ranges.

A number counts only when it fills whole words: INV-1 is not in INV-10. What fills more of the text hides what lies inside
it. The end of a number alone (`FA2024-001, 003 et 007`) is a sign only among one customer's items, and the weaker the shorter.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from matching.domain.engine.amounts import Amounts, Told, named_amounts
from matching.domain.engine.days import Days, named_days
from matching.domain.engine.misspelling import near, shortened
from matching.domain.engine.percents import PERCENT, named_percents
from matching.domain.engine.records import OpenItem
from matching.domain.engine.words import ADVANCE, OTHER, plain

RUN_MAX = 6
"""Most words that one number is written in."""
LENGTH_MAX = 30
TEXT_MAX = 20_000
"""Characters of one text that are read: a list of a thousand numbers has fewer."""
PLACES_MAX = 20
"""Places of one and the same run of words that are looked at."""
ORDER_MIN = 10
"""Shortest order's number that is known with a letter wrong: shorter ones are near each other."""
VALUE_MIN = 5
"""Shortest order's number or reference that names an item, and shortest number by which one of an unknown customer is found."""
ENDING_MIN = 3
"""Shortest ending of a number that may stand for it."""
WHOLE_MIN = 7
"""Fewest digits that stand for a number anywhere, not only among one customer's items."""
FULL, DIGITS, LONG, MEDIUM, SHORT, NEAR = 6, 5, 4, 3, 2, 1
"""How strong a sign is: the whole number, its digits, an ending of 6, of 5, of 4 or 3 digits, a number with one letter wrong."""
_WORDS = re.compile(r"[A-Z0-9]+", re.ASCII)
_TEN = "0123456789"
_FOLD = str.maketrans("OILSB", "01158")
_YEAR = re.compile(r"(19|20)[0-9]{2}", re.ASCII)
_YEAR_LAST = re.compile(r"(19|20)?[0-9]{2}", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_GLUED = re.compile(r"(?<=[A-Z]{4})(?=[0-9])|(?<=[0-9])(?=[A-Z]{4})", re.ASCII)
"""Where a word of four letters or more and a number are written as one; a number's own prefix is put together again."""
_RANGE = {"A", "BIS", "TO", "AU", "THRU", "TILL", "JUSQUA", "TOT", "HASTA", "AL"}


def fold(value: str) -> str:
    """Upper case letters and digits only, with letters that are written for digits read as those."""
    value = plain(value)
    return (value if value.isascii() and value.isalnum() else "".join(_WORDS.findall(value))).translate(_FOLD)


@dataclass(slots=True)
class Span:
    """Where a run of words lies and whether a word before it says that it is something else."""

    start: int
    end: int
    other: bool


@dataclass(slots=True)
class Text:
    """What a payer wrote, cut into words, and every run of whole words that may be a number, folded.

    `parts` are where each part lies; the first `readings` of them are the same lines, read in another way. No run has words of `amounts`.
    """

    words: list[str]
    runs: dict[str, list[Span]]
    parts: list[tuple[int, int]]
    readings: int = 1
    advance: bool = False
    days: Days = field(default_factory=Days)
    percents: frozenset[int] = frozenset()
    amounts: Amounts = field(default_factory=Amounts)


def read(lines: Sequence[str], others: Iterable[str | None] = (), paid: tuple[int, str] = (0, "")) -> Text:
    """Reads the lines as one text, and again joined without spaces where a bank has cut it at a fixed width.

    `paid`: what amounts have to come to, to be known as such: minor units and their currency.
    """
    joined = [" ".join(lines)]
    if len(lines) > 1 and "".join(lines) != joined[0]:
        joined.append("".join(lines))
    words: list[str] = []
    runs: dict[str, list[Span]] = {}
    parts: list[tuple[int, int]] = []
    percents: frozenset[int] = frozenset()
    amounts = Amounts()
    for part in [*joined, *(one for one in others if one and one != "NOTPROVIDED")]:
        value = plain(part[:TEXT_MAX])
        if said := named_percents(value):
            percents |= said
            value = PERCENT.sub(" ", value)  # no number of a document
        start = len(words)
        value = _GLUED.sub(" ", value)
        if not start:
            amounts = named_amounts(value, [word.start() for word in _WORDS.finditer(value)], *paid)
        _runs(_WORDS.findall(value), words, runs, amounts.words)
        parts.append((start, len(words)))
        words.append("|")
    return Text(words, runs, parts, len(joined), any(word in ADVANCE for word in words), named_days(lines), percents, amounts)


def _runs(found: list[str], words: list[str], runs: dict[str, list[Span]], amounts: Container[int]) -> None:
    offset = len(words)
    words += found
    for start, word in enumerate(found):
        if offset + start in amounts:
            continue
        if not any(map(str.isdecimal, word)) and len(word) > 4:  # noqa: PLR2004 - a prefix is short; a long word is prose
            continue
        other = start > 0 and (
            found[start - 1] in OTHER or (found[start - 1] in {"NR", "NO", "N"} and start > 1 and found[start - 2] in OTHER)
        )
        value = ""
        for end in range(start, min(start + RUN_MAX, len(found))):
            value += found[end]
            if len(value) > LENGTH_MAX or offset + end in amounts:
                break
            if len(value) >= ENDING_MIN and any(map(str.isdecimal, value)):
                places = runs.setdefault(value.translate(_FOLD), [])
                if len(places) < PLACES_MAX:
                    places.append(Span(offset + start, offset + end + 1, other))


def whole_forms(number: str) -> list[str]:
    """A document number folded, and its last digits, where they are enough to stand for it anywhere."""
    full, digits, _ = _parts(number)
    return [full, digits] if len(digits) >= WHOLE_MIN and digits != full else [full]


@lru_cache(maxsize=50_000)
def _parts(number: str) -> tuple[str, str, list[str]]:
    """A document number folded, its last digits, and the digits before the year that it ends in (4045/07/2024, 00123/24), if it does."""
    written = plain(number)
    full = written if written.isalnum() and written.isascii() else "".join(_WORDS.findall(written))
    groups = _DIGITS.findall(written)
    before = groups[:-1] if len(groups) > 1 and _YEAR_LAST.fullmatch(groups[-1]) else []
    if before and len(groups[-1]) == 2 and any(map(_YEAR.fullmatch, before)):  # noqa: PLR2004 - 2024/03/17 ends in no year
        before = []
    return full.translate(_FOLD), full[len(full.rstrip(_TEN)) :], before


@lru_cache(maxsize=50_000)
def forms(number: str) -> tuple[tuple[str, int], ...]:
    """The ways in which a document number is written, folded, with how strong a sign each is; strongest first."""
    full, digits, before = _parts(number)
    result = {full: FULL}
    if len(digits) >= 5:  # noqa: PLR2004 - fewer digits are an ending, however whole
        result.setdefault(digits, DIGITS if len(digits) >= WHOLE_MIN else LONG)
    if before:  # what counts is before the year
        while len(before) > 1 and len(before[-1]) < ENDING_MIN:  # a month
            result.setdefault("".join(before), _ending(len("".join(before))))
            before = before[:-1]
        if len(before[-1]) >= ENDING_MIN and not _YEAR.fullmatch(before[-1]):
            result.setdefault(before[-1], _ending(len(before[-1])))
    for length in range(min(len(digits), 9), ENDING_MIN - 1, -1):
        result.setdefault(digits[-length:], _ending(length))
    bare = digits.lstrip("0")
    if len(bare) >= ENDING_MIN - 1:
        result.setdefault(bare, _ending(len(bare)))
    return tuple(sorted(result.items(), key=lambda form: -form[1]))


def _ending(length: int) -> int:
    """How strong a sign a part of a number is that has so many digits."""
    return min(max(length - 2, SHORT), LONG)


@lru_cache(maxsize=200_000)
def heads(number: str) -> frozenset[str]:
    """What may stand before the last group of a number, where it has digits: after `FA2024` not an ending comes, but the group."""
    groups = _WORDS.findall(number.upper())
    found = set()
    for end in range(1, len(groups)):
        head = "".join(groups[:end])
        found.update({head, head.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")})
    return frozenset(one.translate(_FOLD) for one in found if any(map(str.isdecimal, one)))


@dataclass(slots=True)
class Hit:
    """An item that the text names, how strongly, and where; `tied` others are named as strongly by the same words."""

    item: OpenItem
    strength: int
    span: Span
    tied: int = 0


@dataclass(slots=True)
class Named:
    """What of a customer's items a text names. `ranged` are those between the two ends of a range, `unread` how many
    words look like numbers and are none of them, `loose` how many may be a part of one that nobody knows, `days` what it says of when,
    `percents` which percentages it names, `told` the amounts that come to what was paid.
    """

    hits: list[Hit] = field(default_factory=list)
    ranged: list[OpenItem] = field(default_factory=list)
    unread: int = 0
    loose: int = 0
    days: Days = field(default_factory=Days)
    percents: frozenset[int] = frozenset()
    told: Sequence[Told] = ()


def name_items(text: Text, items: Iterable[OpenItem], ignored: Container[str] = ()) -> Named:  # noqa: C901, PLR0912 - a search
    """The items that the text names, in the order of the text: of nested finds the longest, of equal ones the strongest.

    `ignored` are words that are known to be something else, a customer's number for one.
    """
    runs = text.runs
    by_span: dict[tuple[int, int], list[Hit]] = {}
    if not runs:
        return Named(days=text.days, percents=text.percents, told=text.amounts.told)
    known = list(items)
    endings = {ending(value) for value in runs}
    for item in known:
        for form, strength in forms(item.number) if _may_name(endings, item.number) else ():
            if strength <= LONG and form in runs and _is_year(form, item, text.days):
                continue
            for span in runs.get(form, ()):
                if strength <= LONG and span.start and text.words[span.start - 1].translate(_FOLD) in heads(item.number):
                    continue
                by_span.setdefault((span.start, span.end), []).append(Hit(item, strength, span))
        if item.reference and item.reference in runs and len(item.reference) >= VALUE_MIN:
            for span in runs[item.reference]:
                by_span.setdefault((span.start, span.end), []).append(Hit(item, FULL, span))
        for order in item.order_numbers:
            for span in runs.get(order, ()) if len(order) >= VALUE_MIN else ():
                named = Span(span.start, span.end + _counted(text.words, span.end, item.number, order), span.other)
                by_span.setdefault((named.start, named.end), []).append(Hit(item, FULL, named))
    _misspelt(runs, known, by_span)
    if not by_span:
        return Named([], [], *_unread(text, set(), ignored), text.days, text.percents, text.amounts.told)
    chosen: list[Hit] = []
    taken: set[int] = set()
    seen: set[object] = set()
    places = sorted(by_span, key=lambda at: (-max(hit.strength for hit in by_span[at]), at[0] - at[1], at[0]))
    for start, end in places:
        if any(position in taken for position in range(start, end)):
            continue
        hits = by_span[start, end]
        best = max(hit.strength for hit in hits)
        tops = [hit for hit in hits if hit.strength == best]
        top = _nearest(tops, chosen, start)
        top.tied = len({hit.item.item_id for hit in tops}) - 1
        taken.update(range(start, end))
        if top.item.item_id not in seen:
            seen.add(top.item.item_id)
            chosen.append(top)
    chosen.sort(key=lambda hit: hit.span.start)
    return Named(chosen, _ranged(text, chosen, known), *_unread(text, taken, ignored), text.days, text.percents, text.amounts.told)


def _counted(words: Sequence[str], at: int, number: str, order: str) -> bool:
    """Whether an order's number is followed by what an item's number adds to it: `2025-0178 6. AZ` is 25-0178-6. No day is that."""
    *before, last = _DIGITS.findall(number) or [""]
    return bool(
        before and order.endswith(before[-1]) and words[at].isdecimal() and words[at].lstrip("0") == last.lstrip("0")
        and not words[at + 1][:1].isdecimal()
    )  # fmt: skip


def _may_name(endings: Container[str], number: str) -> bool:
    """Whether a form of the number may be among the runs with these endings: each is an ending of it, unless it ends in a year."""
    last = _last(number)
    if last is None:
        full, _, before = _parts(number)
        if before:
            return True
        last = ending(full)
    return (
        last in endings or last[-6:] in endings or last[-5:] in endings or last[-4:] in endings or last[-3:] in endings
        or last[-2:] in endings
    )  # fmt: skip


def ending(value: str) -> str:
    """The last letters of a folded value: what is alike ends alike."""
    return value[-WHOLE_MIN:]


def ending_of(number: str) -> str:
    """The ending of a number, not folded yet."""
    return _last(number) or ending(_parts(number)[0])


def _last(number: str) -> str | None:
    """The ending of a number where that is as it is written: digits, and too many for a year."""
    last = number[-WHOLE_MIN:]
    return last if len(last) == WHOLE_MIN and last.isdecimal() and last.isascii() else None


def _is_year(form: str, item: OpenItem, said: Days) -> bool:
    """Whether a part of a number is of a month or day that is said (08/2024), or as the number the year of its issue (FV/4045/07/2024)."""
    year = str(item.issue_date.year)
    return said.in_year(form) or (form.endswith(year) and _DIGITS.findall(item.number)[-1:] == [year])


def _misspelt(runs: dict[str, list[Span]], items: Sequence[OpenItem], by_span: dict[tuple[int, int], list[Hit]]) -> None:  # noqa: C901 - a search
    """Adds items whose number stands there but for one letter, where nothing whole stands there."""
    firm = {
        position for (start, end), hits in by_span.items() if any(hit.strength >= LONG for hit in hits) for position in range(start, end)
    }
    free: dict[str, list[Span]] = {}
    written: dict[str, list[str]] = {}
    for value, spans in runs.items():
        if not 7 <= len(value) <= 20 or not value[-1].isdecimal():  # noqa: PLR2004 - shorter ones are near too many
            continue
        loose = [span for span in spans if not span.other and not any(at in firm for at in range(span.start, span.end))]
        if loose:
            free[value] = loose
            for one in shortened(value):
                written.setdefault(one, []).append(value)
    if not free:
        return
    lengths = {len(value) + step for value in free for step in (-1, 0, 1)}
    # with two letters it is near no digits
    numeric = {len(value) + step for value in free if sum(map(str.isdecimal, value)) >= len(value) - 1 for step in (-1, 0, 1)}
    meant: dict[str, list[OpenItem]] = {value: [] for value in free}
    for item in items:
        values: set[str] = set()
        for number in _long_forms(item, digits=bool(numeric)):
            if len(number) in lengths:
                values.update(value for one in written.keys() & shortened(number) for value in written[one] if near(value, number))
        for value in values:
            meant[value].append(item)
    for value, found in meant.items():
        for item in found:
            for span in free[value]:
                by_span.setdefault((span.start, span.end), []).append(Hit(item, NEAR, span))


def _long_forms(item: OpenItem, *, digits: bool) -> list[str]:
    """The forms of an item's numbers that are long enough to be known with a letter wrong; where wanted, those of digits alone."""
    orders = [order for order in item.order_numbers if len(order) >= ORDER_MIN]
    full, last, _ = _parts(item.number)
    if not digits:
        return [full, *orders]
    if len(last) >= WHOLE_MIN and last != full:
        return [full, last, *orders]
    _, *others = forms(item.number)
    return [full, *[form for form, _ in others[:1] if len(form) >= WHOLE_MIN], *orders]


def _unread(text: Text, taken: set[int], ignored: Container[str]) -> tuple[int, int]:
    """How many words of five digits or more, and of three or more, are nothing that is known, in the reading that leaves the fewest."""
    counts = []
    for start, end in text.parts[: text.readings]:
        long = short = 0
        for at in range(start, end):
            word = text.words[at]
            digits = sum(map(str.isdecimal, word))
            if (
                at in taken
                or at in text.amounts.words
                or not digits
                or word.translate(_FOLD) in ignored
                or (at > start and text.words[at - 1] in OTHER)
            ):
                continue
            if digits < ENDING_MIN:
                short += digits == len(word) and not any(
                    _DIGITS.search(one) for one in text.words[max(at - 1, start) : at + 2] if one != word
                )
                continue
            long += digits >= 5  # noqa: PLR2004 - a document number
            short += not _YEAR.fullmatch(word)
        counts.append((long, short))
    return min(counts, default=(0, 0))


def _nearest(tops: list[Hit], chosen: list[Hit], start: int) -> Hit:
    """Of items that the same words name, the one whose number is next to what stands before: a list goes on in order."""
    if len(tops) == 1:
        return tops[0]
    before = [hit for hit in chosen if hit.span.start < start]
    if before:
        last = max(before, key=lambda hit: hit.span.start).item.number
        return min(tops, key=lambda hit: (hit.item.open_minor == 0, abs(_value(hit.item.number) - _value(last)), hit.item.due_date))
    return min(tops, key=lambda hit: (hit.item.open_minor == 0, hit.item.due_date, hit.item.number))


def _value(number: str) -> int:
    return int("".join(filter(str.isdecimal, number))[-12:] or 0)


def _ranged(text: Text, chosen: list[Hit], items: Iterable[OpenItem]) -> list[OpenItem]:
    for first, second in pairwise(chosen):
        between = text.words[first.span.end : second.span.start]
        if (len(between) == 1 and between[0] in _RANGE) or (not between and len(chosen) == 2):  # noqa: PLR2004 - with a dash, maybe
            low, high = sorted((_value(first.item.number), _value(second.item.number)))
            return [item for item in items if low <= _value(item.number) <= high]
    return []
