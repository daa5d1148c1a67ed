"""Whether a customer's personal data may be erased now: not while something is owed, nor while the law has them kept.

The ground of every refusal is Regulation (EU) 2016/679, article 17(3)(b): no erasure of what a legal obligation has kept.
Accounts and their vouchers are kept for years; a voucher that lies in our document store keeps the buyer's name by itself. An
invoice that came without a file names its buyer through the master data alone, so these stay until its time has run out. Years are
counted from the close of the financial year; which day that is nobody tells us, so the end of the year after that of issue is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

RETENTION_YEARS: Mapping[str, tuple[int, str]] = {"FR": (10, "Code de commerce, article L123-22")}
"""How long a seller of a country keeps vouchers, with the source. A country that is not here is not guessed."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What is between a customer and us in a currency, in minor units, zero or more."""

    currency: str
    open_minor: int
    unapplied_minor: int
    unused_credits_minor: int


@dataclass(frozen=True, slots=True)
class Vouchers:
    """A seller's invoices and credit notes that came without a file: how many, and the day of issue of the last.

    `years`: the seller's own word on how long they are kept here; 0 where their originals lie in another archive.
    """

    country: str
    years: int | None
    count: int
    last_issued: date


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a customer is not erased: a stable code and a sentence."""

    code: str
    detail: str


def hindrances(owed: Sequence[Owed], untold: int, vouchers: Sequence[Vouchers], today: date) -> list[Hindrance]:
    """Every reason against erasing a customer today; none: he may be. `untold`: invoices about which matching has said nothing yet."""
    found = []
    for each in owed:
        if each.open_minor:
            found.append(Hindrance("owed", f"{each.open_minor} {each.currency} (minor units) are open"))
        if each.unapplied_minor or each.unused_credits_minor:
            ours = each.unapplied_minor + each.unused_credits_minor
            found.append(Hindrance("owed-to-customer", f"{ours} {each.currency} (minor units) of payments or credit notes are unused"))
    if untold:
        found.append(Hindrance("balance-unknown", f"of {untold} invoices it is not known yet what is open"))
    for each_ in vouchers:
        law = RETENTION_YEARS.get(each_.country)
        years = each_.years if each_.years is not None else law[0] if law else None
        if years is None:
            detail = f"how long invoices are kept in {each_.country} is not known here: the legal entity must say it (retention_years)"
            found.append(Hindrance("retention-unknown", detail))
        elif years and today <= (until := kept_until(each_.last_issued, years)):
            source = law[1] if law and each_.years is None else "the legal entity's own rule"
            detail = f"{each_.count} invoices without a file name their buyer here alone, until {until.isoformat()} ({source})"
            found.append(Hindrance("retention", detail))
    return found


def kept_until(issued: date, years: int) -> date:
    """The last day on which a voucher is kept: the financial year of its issue has closed a year later at the latest."""
    return date(issued.year + 1 + years, 12, 31)
