"""What a bureau says, normalised without losing what it said.

Invariants: unknown is never good: a score that is a text, missing or 0 (not rated, or ceased) gives no band, a company
that is no longer active gives band E whatever its score; `raw` is the whole answer and `checksum` its SHA-256.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.money import parse_amount

CREDITSAFE_BANDS = ((71, "A"), (51, "B"), (30, "C"), (21, "D"), (1, "E"))
"""Lowest value of each band on Creditsafe's scale of 1 to 100 (100 is best)."""
_NAMED_BANDS = frozenset("ABCD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of one bureau about one company. `reference` is the bureau's id of the company."""

    provider: str
    checksum: str
    reference: str
    raw_score: str | None
    raw_min: str | None
    raw_max: str | None
    direction: str
    company_status: str
    band: str | None
    advised_limit_minor: int | None
    advised_limit_currency: str | None
    as_of: datetime
    fetched_at: datetime
    raw: dict[str, Any]


def from_creditsafe(report: Mapping[str, Any], *, reference: str, fetched_at: datetime) -> Observation:
    """The observation in a Creditsafe Connect report. Numbers may be strings; parts may be missing, null or of another type."""
    rating = _part(report, "creditScore", "currentCreditRating")
    scale = _part(rating, "providerValue")
    identity = _part(report, "companyIdentification", "basicInformation", "companyStatus")
    status = _text(identity.get("status")) or _text(_part(report, "companySummary", "companyStatus").get("status")) or "unknown"
    value = _text(scale.get("value"))
    minor, currency = _limit(_part(rating, "creditLimit"))
    as_of = _moment(_part(report, "creditScore").get("latestRatingChangeDate"))
    return Observation(
        provider="creditsafe",
        checksum=hashlib.sha256(json.dumps(report, sort_keys=True, separators=(",", ":")).encode()).hexdigest(),
        reference=reference,
        raw_score=value,
        raw_min=_text(scale.get("minValue")),
        raw_max=_text(scale.get("maxValue")),
        direction="higher_is_better",
        company_status=status,
        band=_creditsafe_band(status, value, _text(rating.get("commonValue"))),
        advised_limit_minor=minor,
        advised_limit_currency=currency,
        as_of=min(as_of, fetched_at) if as_of else fetched_at,
        fetched_at=fetched_at,
        raw=dict(report),
    )


def _creditsafe_band(status: str, value: str | None, common: str | None) -> str | None:
    if status.casefold().replace("-", "").replace(" ", "") in {"nonactive", "dissolved", "insolvent"}:
        return "E"
    if value is None:
        return common if common in _NAMED_BANDS else None  # E without a figure may also mean "not rated"
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number <= 100:  # noqa: PLR2004 - the scale
        return None
    return next((band for lowest, band in CREDITSAFE_BANDS if number >= lowest), None)


def _limit(limit: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Minor units of an advised limit. Null or unreadable is no advice; a zero is advice to give nothing."""
    currency, value = _text(limit.get("currency")), _text(limit.get("value"))
    if currency is None or value is None:
        return None, None
    try:
        minor = parse_amount(value, currency)
    except ValueError:
        return None, None
    return (minor, currency) if minor >= 0 else (None, None)


def _part(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, Mapping) else {}
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def search_key(country: str | None, company_ids: Sequence[tuple[str, str]]) -> str | None:
    """What a company is searched by: `FR:552100554`, its country and its number in that country's company register.

    Scheme 0002 (ISO 6523: SIREN) first, or the first nine digits of a SIRET (0009), or whatever other number there is
    but VAT, which is no register number. None where there is none.
    """
    if country is None:
        return None
    by_scheme = {scheme.casefold(): re.sub(r"[\s.]", "", value) for scheme, value in company_ids}
    if (siret := by_scheme.get("0009") or by_scheme.get("siret")) and country == "FR":
        by_scheme.setdefault("0002", siret[:9])
    number = next((by_scheme[scheme] for scheme in ("0002", "siren") if by_scheme.get(scheme)), None)
    if number is None:
        number = next((value for scheme, value in sorted(by_scheme.items()) if value and scheme not in {"vat", "0009", "siret"}), None)
    return f"{country}:{number}" if number else None
