"""How a debtor treats one invoice: when and what they pay, what they dispute, what they promise.

Pure: one invoice and a stream of chance in, intentions out. Invariant: without a return, the parts never add up to more
than what is owed, but by intent `over` or `double`; what is justly disputed is not paid.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from sandbox.actions import Behaviour, Dispute, Document, Intent, Promise, Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A payment that the debtor means to make."""

    day: date
    amount_minor: int
    intent: Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What the debtor does about one invoice."""

    parts: tuple[Part, ...] = ()
    dispute: tuple[date, Dispute] | None = None
    resolution: tuple[date, Resolution] | None = None
    promise: tuple[date, Promise] | None = None


def treat(invoice: Document, behaviour: Behaviour, rng: Random, *, first_day: date, breaks_on: date) -> Treatment:
    """What a debtor of this behaviour does; nothing before `first_day`. A failing one pays nothing from `breaks_on` on."""
    due, owed = invoice.due_date, invoice.owed_minor
    match behaviour:
        case "prompt":
            parts = _mostly_right(due + timedelta(days=rng.randint(-4, 2)), owed, rng)
        case "slow":
            parts = (Part(day=due + timedelta(days=round(rng.triangular(3, 45, 12))), amount_minor=owed, intent="late"),)
        case "partial":
            parts = _in_parts(due, owed, rng)
        case "sloppy":
            intent: Intent = rng.choices(("no_reference", "wrong_reference", "exact"), (40, 20, 40))[0]
            parts = (Part(day=due + timedelta(days=rng.randint(-3, 12)), amount_minor=owed, intent=intent),)
        case "disputer":
            if rng.random() < 0.3:  # noqa: PLR2004 - three invoices in ten
                return _disputed(invoice, rng, first_day)
            parts = (Part(day=due + timedelta(days=rng.randint(0, 10)), amount_minor=owed, intent="late"),)
        case "promiser":
            return _promised(invoice, rng, first_day)
        case "failing":
            day = max(due + timedelta(days=rng.randint(0, 6)), first_day)
            parts = (Part(day=day, amount_minor=owed, intent="exact"),) if day < breaks_on else ()
    return Treatment(parts=tuple(_not_before(part, first_day) for part in parts))


def split_gross(gross_minor: int, tax_bp: int) -> tuple[int, int]:
    """Net and tax whose sum is nearest below `gross_minor`: tax is rounded half up from the net, as an invoice does it."""
    net = gross_minor * 10_000 // (10_000 + tax_bp)
    return net, tax_on(net, tax_bp)


def tax_on(net_minor: int, tax_bp: int) -> int:
    """Tax on a net amount in basis points, rounded half up (EN 16931, BR-CO-17)."""
    return (net_minor * tax_bp + 5_000) // 10_000


def _mostly_right(day: date, owed: int, rng: Random) -> tuple[Part, ...]:
    draw = rng.random()
    if draw < 0.02:  # noqa: PLR2004 - two in a hundred pay twice
        again = day + timedelta(days=rng.randint(0, 3))
        return Part(day=day, amount_minor=owed, intent="exact"), Part(day=again, amount_minor=owed, intent="double")
    if draw < 0.035:  # noqa: PLR2004 - and a few pay too much
        return (Part(day=day, amount_minor=owed + rng.choice((90, 1_000, 10_000)), intent="over"),)
    return (Part(day=day, amount_minor=owed, intent="no_reference" if draw > 0.97 else "exact"),)  # noqa: PLR2004 - three in a hundred


def _in_parts(due: date, owed: int, rng: Random) -> tuple[Part, ...]:
    if rng.random() < 0.5 or owed < 2:  # noqa: PLR2004 - half of them
        return (Part(day=due + timedelta(days=rng.randint(0, 8)), amount_minor=owed, intent="exact"),)
    first = max(1, owed * rng.randint(30, 70) // 100)
    parts = [Part(day=due + timedelta(days=rng.randint(-2, 3)), amount_minor=first, intent="partial")]
    if rng.random() < 0.8:  # noqa: PLR2004 - one in five never pays the rest
        parts.append(Part(day=due + timedelta(days=rng.randint(8, 25)), amount_minor=owed - first, intent="partial"))
    return tuple(parts)


def _disputed(invoice: Document, rng: Random, first_day: date) -> Treatment:
    opened = max(invoice.due_date + timedelta(days=rng.randint(-8, 6)), invoice.issue_date + timedelta(days=2), first_day)
    ended = opened + timedelta(days=rng.randint(6, 20))
    share = 100 if rng.random() < 0.5 else rng.randint(15, 60)  # noqa: PLR2004 - half of them contest all of it
    contested = sum(split_gross(max(2, invoice.owed_minor * share // 100), invoice.tax_bp))
    justified = rng.random() < 0.5  # noqa: PLR2004 - half of them are right
    rest = invoice.owed_minor - contested if justified else invoice.owed_minor
    reason = rng.choice(("price", "quality", "quantity", "delivery"))
    paid = Part(day=ended + timedelta(days=rng.randint(3, 9)), amount_minor=rest, intent="late")
    return Treatment(
        parts=(paid,) if rest > 0 else (),
        dispute=(opened, Dispute(number=invoice.number, amount_minor=contested, reason=reason)),
        resolution=(ended, Resolution(number=invoice.number, resolution="justified" if justified else "rejected")),
    )


def _promised(invoice: Document, rng: Random, first_day: date) -> Treatment:
    owed = invoice.owed_minor
    if rng.random() < 0.5:  # noqa: PLR2004 - half of them pay a little late without a word
        late = Part(day=invoice.due_date + timedelta(days=rng.randint(0, 6)), amount_minor=owed, intent="late")
        return Treatment(parts=(_not_before(late, first_day),))
    made = max(invoice.due_date + timedelta(days=rng.randint(2, 9)), first_day)
    due_on = made + timedelta(days=rng.randint(6, 12))
    kept = rng.random() < 0.7  # noqa: PLR2004 - seven in ten keep their word
    day = due_on - timedelta(days=rng.randint(2, 3)) if kept else due_on + timedelta(days=rng.randint(8, 20))
    return Treatment(
        parts=(Part(day=day, amount_minor=owed, intent="late"),),
        promise=(made, Promise(number=invoice.number, amount_minor=owed, due_on=due_on, kept=kept)),
    )


def _not_before(part: Part, first_day: date) -> Part:
    return part if part.day >= first_day else Part(day=first_day, amount_minor=part.amount_minor, intent=part.intent)
