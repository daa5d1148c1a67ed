"""The credit policy as data, and what follows from it: limit and terms, hold or not, the answer to a credit check.

Invariants: pure; money is minor units of the policy's currency; amounts in another currency are never converted, they
make an answer `review`; a check is approved only where exposure, reservations and the asked amount together stay within
the limit. Holds read figures of what is owed and the firm band, never what is overdue (see scorecard).
"""

from dataclasses import dataclass, field
from datetime import date

BANDS = ("A", "B", "C", "D", "E")


@dataclass(frozen=True, slots=True, kw_only=True)
class BandTerms:
    """What a band is granted."""

    limit_minor: int
    payment_terms_days: int
    down_payment_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRules:
    """When new business is held. Exposure beyond `exposure_bp` of the limit (12,000 is 120 %); a band in `bands`.

    `overdue_days` and `overdue_minor` state what a person watches; nothing is held on them automatically (scorecard).
    None: the rule is off.
    """

    exposure_bp: int | None = 12_000
    bands: tuple[str, ...] = ("E",)
    overdue_days: int | None = 60
    overdue_minor: int | None = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A tenant's policy at one version; version 0 is what holds until a tenant sets its own.

    `bureau_share_bp`: the share of a bureau's advised limit, in the policy's currency and fresh, that a limit never
    exceeds; None: advice is not used. `check_days`: how long an approved check reserves its amount.
    """

    version: int = 0
    currency: str = "EUR"
    bands: dict[str, BandTerms] = field(
        default_factory=lambda: {
            "A": BandTerms(limit_minor=10_000_000, payment_terms_days=45, down_payment_bp=0),
            "B": BandTerms(limit_minor=5_000_000, payment_terms_days=30, down_payment_bp=0),
            "C": BandTerms(limit_minor=2_000_000, payment_terms_days=30, down_payment_bp=0),
            "D": BandTerms(limit_minor=500_000, payment_terms_days=15, down_payment_bp=3_000),
            "E": BandTerms(limit_minor=0, payment_terms_days=0, down_payment_bp=10_000),
        }
    )
    bureau_share_bp: int | None = 10_000
    bureau_fresh_days: int = 90
    check_days: int = 14
    hold: HoldRules = field(default_factory=HoldRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A limit that a person set, up to and including `expires_on` (None: until it is replaced)."""

    limit_minor: int
    currency: str
    expires_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is granted, and what decided the limit: `band`, `bureau` or `manual`."""

    limit_minor: int
    currency: str
    payment_terms_days: int
    down_payment_bp: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What a customer owes over all entities, in the policy's currency: open - unused credits - unapplied payments.

    `minor` is negative where the customer is in credit. `reserved_minor` is what approved checks hold that no open item
    stands for yet. `other`: what is owed in other currencies, by currency, reservations included.
    """

    minor: int
    reserved_minor: int
    other: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to a credit check: `approved`, `refused` or `review`, with every reason that holds."""

    decision: str
    reasons: tuple[str, ...]


def override_holds(override: Override | None, policy: Policy, today: date) -> bool:
    """Whether a person's limit is in force: not expired, and in the policy's currency."""
    return override is not None and override.currency == policy.currency and (override.expires_on is None or today <= override.expires_on)


def grant(
    policy: Policy, band: str, *, advised_minor: int | None, advised_currency: str | None, override: Override | None, today: date
) -> Terms:
    """What the policy grants in a band. `advised_*` is a fresh bureau's advice, None without one."""
    terms = policy.bands[band]
    limit, reason = terms.limit_minor, "band"
    if policy.bureau_share_bp is not None and advised_minor is not None and advised_currency == policy.currency:
        cap = advised_minor * policy.bureau_share_bp // 10_000
        if cap < limit:
            limit, reason = cap, "bureau"
    if override is not None and override_holds(override, policy, today):
        limit, reason = override.limit_minor, "manual"
    return Terms(
        limit_minor=limit,
        currency=policy.currency,
        payment_terms_days=terms.payment_terms_days,
        down_payment_bp=terms.down_payment_bp,
        reason=reason,
    )


def hold_reason(policy: Policy, *, firm_band: str, firm_limit_minor: int, exposure: Exposure) -> str | None:
    """The rule by which new business is to be held, or None. Reservations are not owed and hold nobody."""
    if firm_band in policy.hold.bands:
        return "band"
    if policy.hold.exposure_bp is not None and exposure.minor * 10_000 > firm_limit_minor * policy.hold.exposure_bp:
        return "exposure_over_limit"
    return None


def check(*, amount_minor: int, currency: str, policy: Policy, limit_minor: int, exposure: Exposure, held: bool) -> Verdict:
    """Whether a sale of an amount may go ahead on credit."""
    if held:
        return Verdict(decision="refused", reasons=("on_hold",))
    if currency != policy.currency:
        return Verdict(decision="review", reasons=("currency_not_of_policy",))
    if exposure.minor + exposure.reserved_minor + amount_minor > limit_minor:
        return Verdict(decision="refused", reasons=("over_limit",))
    if any(exposure.other.values()):
        return Verdict(decision="review", reasons=("exposure_in_other_currency",))
    return Verdict(decision="approved", reasons=("within_limit",))
