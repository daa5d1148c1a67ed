r"""Field types that several events share. Amounts are integers of minor units beside an ISO 4217 code, never floats.

A pattern ends in `(?!\n)$`: in Python `$` alone also matches before a closing line feed, in other validators it does not.
"""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

Minor = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An amount in minor units of its currency; may be negative where the field's text says so."""
PositiveMinor = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""An amount in minor units of its currency, zero or more."""
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$")]
"""ISO 4217 alphabetic code."""
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$")]
"""ISO 3166-1 alpha-2 code."""
Version = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""The version an aggregate has reached: drawn under its row's lock, shared by all its events."""
Timestamp = Annotated[datetime, Meta(tz=True)]
"""A moment with its offset; naive ones are refused."""
Date = date
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,500}(?!\n)$")]
"""One line without control characters (Postgres stores no NUL), at least one character."""
Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,500}(?!\n)$")]
"""One line without control characters; may be empty."""
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9_.-]{1,64}(?!\n)$")]
"""A machine-readable word of ours, such as a rule or a reason."""
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
BasisPoints = Annotated[int, Meta(ge=0, le=10_000)]
"""Hundredths of a percent: 250 is 2.5 %."""


class CompanyId(Struct, frozen=True, kw_only=True, gc=False):
    """A company's number in a register; `scheme` is an ISO 6523 ICD such as 0002 (SIREN) or a word such as `vat`."""

    scheme: Annotated[str, Meta(pattern=r"^[A-Za-z0-9:_-]{1,32}(?!\n)$")]
    value: Text


class Document(Struct, frozen=True, kw_only=True, gc=False):
    """A document in the content-addressed store."""

    kind: Code
    sha256: Sha256
