"""What stands in a cell of a table, read by the form that its source declares: amounts and dates.

Invariants: nothing is guessed. A text that has not exactly the declared form is refused; a date that two declared forms
read as two days is refused; a digit beyond the currency's places is refused, never rounded. `write_amount` is the inverse.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal

from shared.money import MAX_MINOR

_SPACES = str.maketrans("\u00a0\u202f\u2009", "   ")
_TOKENS = {"YYYY": r"(?P<y>[0-9]{4})", "YY": r"(?P<yy>[0-9]{2})", "MM": r"(?P<m>[0-9]{2})", "DD": r"(?P<d>[0-9]{2})"}
_TOKENS |= {"M": r"(?P<m>[0-9]{1,2})", "D": r"(?P<d>[0-9]{1,2})"}
_TOKEN = re.compile("YYYY|YY|MM|DD|M|D")
_BETWEEN = re.compile(r"[-./ ]?")
_SHOWN = 40
_DIGITS_MAX = 19


class CellError(ValueError):
    """A cell that does not hold what it should. `rule` is a stable code, the text a sentence with the cell's own text."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule, self.detail = rule, detail


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How a source writes numbers. `decimal` and `thousands` differ; `thousands` is empty where digits are not grouped.

    `negative`: the minus stands before (`leading`), after (`trailing`, SAP), or the number is in `parentheses`.
    """

    decimal: str = "."
    thousands: str = ""
    negative: Literal["leading", "trailing", "parentheses"] = "leading"

    def __post_init__(self) -> None:
        if self.decimal not in {".", ","} or self.thousands not in {"", ".", ",", " ", "'"} or self.decimal == self.thousands:
            raise ValueError("a decimal separator is '.' or ',', a thousands separator another of '.', ',', ' ', \"'\" or none")

    def example(self) -> str:
        """A negative number in this form."""
        body = f"1{self.thousands}234{self.decimal}50"
        return {"leading": f"-{body}", "trailing": f"{body}-", "parentheses": f"({body})"}[self.negative]


PLAIN = NumberFormat()
"""As programs write numbers: -1234.50."""


def shown(text: str) -> str:
    """A cell's text as an error quotes it: one line, at most 40 characters."""
    flat = "".join(char if char.isprintable() else " " for char in text[: _SHOWN + 1])
    return repr(flat if len(flat) <= _SHOWN else flat[:_SHOWN] + "...")


def parse_amount(text: str, form: NumberFormat, places: int) -> int:
    """An amount in units of ten to the minus `places` (minor units of its currency).

    Zeros beyond the places are allowed. Raises CellError: `number-form`, `number-places`, `number-range`.
    """
    compact = text if text.isascii() else text.translate(_SPACES)
    found = _number(form).fullmatch(compact)
    if found is None:
        raise CellError("number-form", f"is no number written like {form.example()}: {shown(text)}")
    whole, fraction, minus = found["whole"], found["fraction"] or "", found["minus"]
    if form.thousands:
        whole = whole.replace(form.thousands, "")
    if len(fraction) > places and fraction[places:].strip("0"):
        raise CellError("number-places", f"has more than {places} decimal places: {shown(text)}")
    if len(whole) > _DIGITS_MAX:
        raise CellError("number-range", f"is too large: {shown(text)}")
    amount = int(whole + fraction[:places].ljust(places, "0"))
    if amount > MAX_MINOR:
        raise CellError("number-range", f"is too large: {shown(text)}")
    return -amount if minus else amount


def write_amount(minor: int, form: NumberFormat, places: int) -> str:
    """An amount as a source of this form writes it."""
    digits = str(abs(minor)).rjust(places + 1, "0")
    whole, fraction = (digits[:-places], digits[-places:]) if places else (digits, "")
    if form.thousands:
        whole = f"{int(whole):,}".replace(",", form.thousands)
    body = whole + (form.decimal + fraction if places else "")
    if minor >= 0:
        return body
    return {"leading": f"-{body}", "trailing": f"{body}-", "parentheses": f"({body})"}[form.negative]


@lru_cache(64)
def _number(form: NumberFormat) -> re.Pattern[str]:
    group = re.escape(form.thousands)
    whole = rf"(?P<whole>[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]{{1,30}})" if group else r"(?P<whole>[0-9]{1,30})"
    body = rf"{whole}(?:{re.escape(form.decimal)}(?P<fraction>[0-9]{{1,12}}))?"
    match form.negative:
        case "leading":
            return re.compile(rf"(?P<minus>-)?{body}", re.ASCII)
        case "trailing":
            return re.compile(rf"{body}(?P<minus>-)?", re.ASCII)
        case "parentheses":
            return re.compile(rf"(?P<minus>\()?{body}(?(minus)\))", re.ASCII)


def check_date_form(form: str) -> None:
    """Raises ValueError where a date form is none: a day, a month and a year, each once, with at most a mark between two."""
    rest = _TOKEN.split(form)
    tokens = _TOKEN.findall(form)
    kinds = sorted(token[0] for token in tokens)
    if kinds != ["D", "M", "Y"] or rest[0] or rest[-1] or not all(_BETWEEN.fullmatch(part) for part in rest[1:-1]):
        raise ValueError(
            "a date form is made of D or DD, M or MM, YY or YYYY, each once, with - . / or a space between, such as DD.MM.YYYY"
        )
    if {"D", "M"} & set(tokens) and not all(rest[1:-1]):
        raise ValueError("D and M have one or two digits: something must stand between them and what follows")


@lru_cache(64)
def _date_reader(form: str) -> Callable[[str], date | None]:
    check_date_form(form)
    place, parts = 0, []
    for token in _TOKEN.finditer(form):
        parts += [re.escape(form[place : token.start()]), _TOKENS[token.group()]]
        place = token.end()
    pattern = re.compile("".join(parts), re.ASCII)

    def read(text: str) -> date | None:
        found = pattern.fullmatch(text)
        if found is None:
            return None
        parts = found.groupdict()
        year = int(parts["y"]) if "y" in parts else 2000 + int(parts["yy"])
        try:
            return date(year, int(parts["m"]), int(parts["d"]))
        except ValueError:
            return None

    return read


@lru_cache(16384)
def _read_date(text: str, forms: tuple[str, ...]) -> tuple[date, ...]:
    return tuple(dict.fromkeys(day for form in forms if (day := _date_reader(form)(text)) is not None))


def parse_date(text: str, forms: Sequence[str]) -> date:
    """A calendar day by the declared forms; `YY` means 20YY. Raises CellError: `date-form`, `date-ambiguous`."""
    days = _read_date(text, tuple(forms))
    if len(days) == 1:
        return days[0]
    if days:
        raise CellError("date-ambiguous", f"may be {' or '.join(day.isoformat() for day in days)}: {shown(text)}")
    raise CellError("date-form", f"is no date of the form {' or '.join(forms)}: {shown(text)}")


def write_date(day: date, form: str) -> str:
    """A day as a source of this form writes it."""
    values = {"YYYY": f"{day.year:04}", "YY": f"{day.year % 100:02}", "MM": f"{day.month:02}", "DD": f"{day.day:02}"}
    values |= {"M": str(day.month), "D": str(day.day)}
    return _TOKEN.sub(lambda token: values[token.group()], form)
