"""What a request body may hold: the base class of commands and the types that several services share.

Commands are strict: no field is coerced (`"12"` is no integer, 1 no boolean, 1.0 no amount), unknown members are
refused, instances are frozen. What JSON has no type for comes as text and is read by a type of this module: `Date`,
`Instant`, `Id`, `DecimalText`. Choices are `Literal`, or an enum as `Annotated[Colour, Lax]`; a tuple is
`Annotated[tuple[X, ...], Lax]` (its members stay strict). A bare `date`, `UUID` and so on is refused when the class is made.
"""

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, get_args
from uuid import UUID

from iso4217 import raw_table
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from shared.money import MAX_MINOR

_BARE = frozenset({date, datetime, UUID, Decimal, float, bytes})


class Command(BaseModel):
    """Base of every request body: strict, closed, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, regex_engine="rust-regex")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a field that no JSON value could ever fill, or that would lose digits."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not field.metadata and _BARE & {field.annotation, *get_args(field.annotation)}:
                raise TypeError(f"{cls.__name__}.{name}: use Date, Instant, Id or DecimalText of shared.web.models")


Lax = Strict(strict=False)
"""Lets one field be coerced: `Annotated[tuple[Line, ...], Lax]`, `Annotated[Colour, Lax]`."""

AmountMinor = Annotated[int, Field(ge=-MAX_MINOR, le=MAX_MINOR, description="Minor units of the currency")]
PositiveMinor = Annotated[int, Field(ge=1, le=MAX_MINOR, description="Minor units of the currency, above zero")]
NotNegativeMinor = Annotated[int, Field(ge=0, le=MAX_MINOR, description="Minor units of the currency, zero or more")]


# --- currencies -------------------------------------------------------------------------------------------------
# ISO 4217's list one also has metals, test codes and units of account ("N.A." minor units): nobody is invoiced in those.
CURRENCIES = frozenset(code for code, row in raw_table.items() if code and str(row["CcyMnrUnts"]).isdigit())


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("not a current ISO 4217 currency code")
    return code


CurrencyCode = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"]), AfterValidator(_currency)]


# --- dates, ids, numbers as text ----------------------------------------------------------------------------------
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def parse_date(value: object) -> date:
    """A calendar date `YYYY-MM-DD`; nothing else that ISO 8601 allows. Raises ValueError."""
    if type(value) is date:
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    raise ValueError("a date is written YYYY-MM-DD")


def parse_instant(value: object) -> datetime:
    """An RFC 3339 moment with an offset. Raises ValueError."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return datetime.fromisoformat(value)
    raise ValueError("a moment is written 2026-01-31T08:00:00Z, with an offset")


def parse_id(value: object) -> UUID:
    """A UUID in its canonical form: 36 characters, lower case. Raises ValueError."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and _ID.fullmatch(value):
        return UUID(value)
    raise ValueError("an id is a UUID in lower case with hyphens")


def parse_decimal(value: object) -> Decimal:
    """An exact number as text: at most 16 digits before the point and 12 after it. Raises ValueError."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    raise ValueError("a number with decimals is a text such as 12.50")


Date = Annotated[date, BeforeValidator(parse_date), WithJsonSchema({"type": "string", "format": "date"})]
Instant = Annotated[datetime, BeforeValidator(parse_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[UUID, BeforeValidator(parse_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$", "format": "uuid"})]
DecimalText = Annotated[Decimal, BeforeValidator(parse_decimal), WithJsonSchema({"type": "string", "pattern": f"^{_DECIMAL.pattern}$"})]


# --- text ---------------------------------------------------------------------------------------------------------
_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
# What turns the direction of writing can make a name or number read as another one (Unicode TR 36).
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_line(value: object) -> object:
    """One line of text: NFC, outer white space cut off; control, unassigned and direction characters refused.

    NFC, so that two spellings of one name compare equal; cut, because ERPs pad. Raises ValueError.
    """
    return _clean(value, allowed=frozenset())


def clean_lines(value: object) -> object:
    """As clean_line, with line feeds and tabs allowed."""
    return _clean(value, allowed=frozenset("\n\t"))


def _clean(value: object, *, allowed: frozenset[str]) -> object:
    if not isinstance(value, str):
        return value  # the type itself is checked next
    text = unicodedata.normalize("NFC", value).strip()
    if not text.isascii() or not text.isprintable():
        for at, char in enumerate(text):
            if char not in allowed and (char in _BIDI or unicodedata.category(char) in _UNPRINTABLE):
                raise ValueError(f"character {at} is a control or direction character")
    return text


Line = BeforeValidator(clean_line)
"""For other lengths: `Annotated[str, Field(min_length=1, max_length=35), Line]`. Lengths hold after cleaning."""

Text = Annotated[str, Field(min_length=1, max_length=255), Line]
LongText = Annotated[str, Field(min_length=1, max_length=4000), BeforeValidator(clean_lines)]
