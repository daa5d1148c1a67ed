"""Expected payments: remittance lists, announced money, promises, instalments of payment plans; and what they may meet."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.days import business_day
from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.remittances import Fit, RemittanceLine, Spoken
from matching.storage.rows import fetch, keys

EARLY_DAYS = 120
"""How long before a list its payment may have come, where rules have settled other items with it; and after an announcement's days."""

PAYER = survivor(":tenant", "CAST(:payer AS uuid)")
"""SQL: the customer that stands for the payer."""


@dataclass(slots=True)
class Expected:
    """A payment that is expected. `missing`: document numbers of lines, normalised, that no open item carries yet.

    `rate`: units of `rate_currency`, which its items are in, for one of its own.
    """

    tenant_id: UUID
    expected_id: UUID
    version: int
    entity_id: UUID
    kind: str
    form: str | None
    payer_customer_id: UUID | None
    currency: str
    amount_minor: int
    reference: str | None
    document_number: str | None
    expected_on: date | None
    holds_until: date | None
    lines: list[RemittanceLine]
    missing: list[str]
    status: str
    payment_id: UUID | None
    created_by: str
    created_at: datetime
    rate: Decimal | None = None
    rate_currency: str | None = None
    payment_plan_id: UUID | None = None


LISTED = (
    "SELECT expected_id AS at, * FROM expected_payment WHERE tenant_id = :tenant "  # noqa: S608 - ours
    "AND (CAST(:status AS text) IS NULL OR status = :status) "
    "AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (CAST(:customer_id AS uuid) IS NULL OR "
    f"{survivor('tenant_id', 'payer_customer_id')} = {survivor(':tenant', 'CAST(:customer_id AS uuid)')})"
)
COLUMNS = (
    "tenant_id, expected_id, version, entity_id, kind, form, payer_customer_id, currency, amount_minor, reference, document_number, "
    "expected_on, holds_until, CAST(lines AS text) AS lines, missing, status, payment_id, created_by, created_at, rate, rate_currency, "
    "payment_plan_id"
)


def _expected(row: Any) -> Expected:
    held = Expected(*row)
    held.lines = [
        RemittanceLine(
            one["document_number"],
            UUID(one["item_id"]) if one["item_id"] else None,
            one["gross_minor"],
            one["deduction_minor"],
            one["deduction_reason"],
            one["net_minor"],
            one.get("item_amount_minor"),
            one.get("item_currency"),
        )
        for one in json.loads(row.lines)
    ]
    return held


def lines_json(lines: Sequence[RemittanceLine]) -> str:
    """Lines for their jsonb column."""
    names = RemittanceLine.__slots__
    return json.dumps([{name: getattr(line, name) for name in names} for line in lines], default=str)


async def insert(conn: AsyncConnection, held: Expected) -> bool:
    """Stores a new one; False where it is there."""
    return bool(
        await run(
            conn,
            "INSERT INTO expected_payment (tenant_id, expected_id, version, entity_id, kind, form, payer_customer_id, currency, "
            "amount_minor, reference, document_number, expected_on, holds_until, lines, missing, status, payment_id, created_by, "
            "created_at, rate, rate_currency) VALUES (:tenant, :id, :version, :entity, :kind, :form, :payer, :currency, :amount, "
            ":reference, :document, :expected_on, :holds_until, "
            "CAST(:lines AS jsonb), :missing, :status, :payment, :by, :at, :rate, :rate_currency) ON CONFLICT DO NOTHING",
            tenant=held.tenant_id,
            id=held.expected_id,
            version=held.version,
            entity=held.entity_id,
            kind=held.kind,
            form=held.form,
            payer=held.payer_customer_id,
            currency=held.currency,
            amount=held.amount_minor,
            reference=held.reference,
            document=held.document_number,
            expected_on=held.expected_on,
            holds_until=held.holds_until,
            lines=lines_json(held.lines),
            missing=held.missing,
            status=held.status,
            payment=held.payment_id,
            by=held.created_by,
            at=held.created_at,
            rate=held.rate,
            rate_currency=held.rate_currency,
        )
    )


async def save(conn: AsyncConnection, held: Expected) -> None:
    """Writes status, payment and what is missing, with the next version."""
    held.version += 1
    await run(
        conn,
        "UPDATE expected_payment SET version = :version, status = :status, payment_id = :payment, missing = :missing, "
        "payer_customer_id = :payer, amount_minor = :amount, holds_until = :until WHERE tenant_id = :tenant AND expected_id = :id",
        tenant=held.tenant_id,
        id=held.expected_id,
        version=held.version,
        status=held.status,
        payment=held.payment_id,
        missing=held.missing,
        payer=held.payer_customer_id,
        amount=held.amount_minor,
        until=held.holds_until,
    )


async def load(conn: AsyncConnection, wanted: Iterable[Key], *, lock: bool = True) -> dict[Key, Expected]:
    """Expected payments by key, locked in the order of their keys unless they are only looked at."""
    rows = await fetch(
        conn,
        f"SELECT {COLUMNS} FROM expected_payment WHERE (tenant_id, expected_id) IN "  # noqa: S608 - ours
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY tenant_id, expected_id"
        + (" FOR UPDATE" if lock else ""),
        **keys(wanted),
    )
    return {(row[0], row[1]): _expected(row) for row in rows}


async def meeting(conn: AsyncConnection, payments: Iterable[Key]) -> dict[Key, dict[UUID, Fit]]:
    """What may be expected of payments that nobody has allocated: same entity, currency and amount, with what the payment says.

    The amount is what was credited or, in another currency, what the bank says was sent. An expected payment that has met its
    payment and misses items is among them, and an announcement whose days were over at most EARLY_DAYS before; one without lines has
    nothing to say of a payment that another has met. The first expected comes first.
    """
    same_payer = (
        f"coalesce({survivor('e.tenant_id', 'e.payer_customer_id')} IN (SELECT p.payer_customer_id UNION ALL "  # noqa: S608 - ours
        f"SELECT {survivor('o.tenant_id', 'o.customer_id')} FROM payer_iban o WHERE o.tenant_id = p.tenant_id AND o.iban = p.debtor_iban "
        f"UNION ALL SELECT {survivor('v.tenant_id', 'v.customer_id')} FROM virtual_iban v WHERE v.tenant_id = p.tenant_id "
        "AND v.virtual_iban_id = p.virtual_iban_id AND v.status = 'assigned'), false)"
    )
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, e.expected_id, e.reference, p.structured_reference, p.end_to_end_id, p.remittance, "  # noqa: S608 - ours
        f"e.status <> 'expired' AND {same_payer} OR e.payment_id = p.payment_id, e.kind, e.payment_plan_id, "
        "ARRAY(SELECT CAST(l ->> 'item_id' AS uuid) "
        "FROM jsonb_array_elements(e.lines) l WHERE l ->> 'item_id' IS NOT NULL), "
        f"{survivor('e.tenant_id', 'e.payer_customer_id')}, e.status = 'expired' "
        "FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
        "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) p "
        "CROSS JOIN LATERAL (SELECT * FROM expected_payment WHERE tenant_id = p.tenant_id AND entity_id = p.entity_id "
        "AND amount_minor IN (p.amount_minor, p.instructed_minor) AND status IN ('waiting', 'partly', 'expired') "
        "AND (amount_minor, currency) IN ((p.amount_minor, p.currency), (p.instructed_minor, p.instructed_currency)) "
        "AND (amount_minor = p.amount_minor OR currency <> p.currency) OFFSET 0) e "
        "WHERE p.status IN ('received', 'unapplied', 'partly_matched', 'matched') AND ((e.status <> 'partly' "
        "AND p.unapplied_minor = p.amount_minor AND (e.status = 'waiting' OR e.holds_until >= p.booking_date - CAST(:late AS int))) "
        "OR (e.status = 'partly' AND e.payment_id = p.payment_id)) AND (e.lines <> '[]' OR NOT EXISTS (SELECT 1 FROM expected_payment m "
        "WHERE m.tenant_id = p.tenant_id AND m.payment_id = p.payment_id)) ORDER BY e.expected_on, e.expected_id",
        late=EARLY_DAYS,
        **keys(payments),
    )
    found: dict[Key, dict[UUID, Fit]] = {}
    for row in rows:
        spoken = Spoken(row[4], row[5], row[6], row[7])
        found.setdefault((row[0], row[1]), {})[row[2]] = Fit(row[3], spoken, row[8], row[9], frozenset(row[10]), *row[11:])
    return found


async def payments_for(conn: AsyncConnection, held: Expected, items: Sequence[UUID], end_to_end_id: str | None) -> list[Key]:
    """Payments of the amount that have come already and may be the one: unapplied ones, those with the reference as their
    EndToEndId (but for those that went back whole: what says it again is still to come), those that rules have put on the items, and,
    of the last EARLY_DAYS, those of the payer and of the items' customers: rules may have put them on other items, though they say the
    reference.
    """
    rows = await fetch(
        conn,
        "SELECT payment_id FROM payment WHERE tenant_id = :tenant AND entity_id = :entity AND currency = :currency "  # noqa: S608 - ours
        "AND amount_minor = :amount AND status IN ('unapplied', 'partly_matched') UNION "
        "SELECT p.payment_id FROM bank_account b JOIN payment p ON p.tenant_id = b.tenant_id AND p.bank_account_id = b.bank_account_id "
        "AND p.status = 'received' WHERE b.tenant_id = :tenant AND b.entity_id = :entity AND p.amount_minor = :amount "
        "AND p.currency = :currency UNION "
        "SELECT p.payment_id FROM bank_account b JOIN payment p ON p.tenant_id = b.tenant_id AND p.bank_account_id = b.bank_account_id "
        "AND p.end_to_end_id = :e2e WHERE b.tenant_id = :tenant AND b.entity_id = :entity AND p.amount_minor = :amount "
        "AND p.currency = :currency AND p.returned_minor + p.refunded_minor < p.amount_minor UNION "
        "SELECT a.payment_id FROM allocation a JOIN payment p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id "
        "WHERE a.tenant_id = :tenant AND a.item_id = ANY(CAST(:items AS uuid[])) AND p.amount_minor = :amount "
        "AND p.currency = :currency UNION "
        "SELECT payment_id FROM payment WHERE tenant_id = :tenant AND entity_id = :entity AND instructed_minor = :amount "
        "AND instructed_currency = :currency AND currency <> :currency AND returned_minor + refunded_minor = 0 UNION "
        f"SELECT p.payment_id FROM (SELECT {PAYER} AS customer_id UNION SELECT customer_id FROM open_item "
        "WHERE tenant_id = :tenant AND item_id = ANY(CAST(:items AS uuid[]))) c JOIN payment p ON p.tenant_id = :tenant "
        "AND p.payer_customer_id = c.customer_id AND p.booking_date >= :since AND p.entity_id = :entity AND p.currency = :currency "
        "AND p.amount_minor = :amount AND p.returned_minor + p.refunded_minor = 0 ORDER BY 1",
        tenant=held.tenant_id,
        entity=held.entity_id,
        currency=held.currency,
        amount=held.amount_minor,
        e2e=end_to_end_id,
        items=list(items),
        payer=held.payer_customer_id,
        since=business_day(held.created_at) - timedelta(days=EARLY_DAYS),
    )
    return [(held.tenant_id, row[0]) for row in rows]


async def look_for(conn: AsyncConnection, expected: Sequence[Expected], at: datetime) -> None:
    """Payments of which nothing is settled, and that may be one of what is expected now, are looked at as if they were new, then (machine
    clock) and as often: those of the amount, and of the payer where nothing but that tells them.
    """
    if expected:
        await run(
            conn,
            "WITH due AS (SELECT p.tenant_id, p.payment_id FROM unnest(CAST(:tenants AS uuid[]), CAST(:entities AS uuid[]), "  # noqa: S608 - ours
            "CAST(:currencies AS text[]), CAST(:amounts AS bigint[]), CAST(:payers AS uuid[])) "
            "AS k(tenant_id, entity_id, currency, amount_minor, payer) JOIN payment p USING (tenant_id, entity_id, currency, amount_minor) "
            "WHERE p.status IN ('unapplied', 'partly_matched') AND p.unapplied_minor = p.amount_minor AND (k.payer IS NULL "
            f"OR p.payer_customer_id IS NULL OR p.payer_customer_id = {survivor('k.tenant_id', 'k.payer')}) "
            "ORDER BY p.tenant_id, p.payment_id FOR UPDATE OF p) UPDATE payment SET looks = 0, next_look_at = :at FROM due "
            "WHERE payment.tenant_id = due.tenant_id AND payment.payment_id = due.payment_id",
            tenants=[held.tenant_id for held in expected],
            entities=[held.entity_id for held in expected],
            currencies=[held.currency for held in expected],
            amounts=[held.amount_minor for held in expected],
            payers=[held.payer_customer_id if held.reference is None else None for held in expected],
            at=at,
        )


async def look_at(conn: AsyncConnection, payments: Iterable[Key], at: datetime) -> None:
    """What is left of payments is looked at as if it were new, then (machine clock) and as often."""
    await run(
        conn,
        "UPDATE payment SET looks = 0, next_look_at = :at FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant, id) "
        "WHERE tenant_id = k.tenant AND payment_id = k.id AND status IN ('unapplied', 'partly_matched')",
        **keys(payments),
        at=at,
    )


async def met_by(conn: AsyncConnection, payments: Iterable[Key]) -> list[Key]:
    """What was expected and is met by one of the payments: lists, announcements, and promises that dunning calls open.

    What is expected of a plan follows the plan.
    """
    rows = await fetch(
        conn,
        "SELECT e.tenant_id, e.expected_id FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
        "JOIN expected_payment e ON e.tenant_id = k.tenant_id AND e.payment_id = k.payment_id WHERE e.kind <> 'plan_instalment' "
        "AND (e.kind <> 'promise' OR EXISTS (SELECT 1 FROM promise p WHERE p.tenant_id = e.tenant_id AND p.promise_id = e.expected_id "
        "AND p.status = 'open'))",
        **keys(payments),
    )
    return [(row[0], row[1]) for row in rows]


async def spoken(conn: AsyncConnection, payments: Iterable[Key]) -> dict[Key, Spoken]:
    """What payments carry, whoever sent them."""
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, structured_reference, end_to_end_id, remittance FROM payment WHERE (tenant_id, payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(payments),
    )
    return {(row[0], row[1]): Spoken(row[2], row[3], row[4], same_payer=False) for row in rows}


async def announced_twice(conn: AsyncConnection, customers: Iterable[Key]) -> list[Key]:
    """Announcements that wait under one id of a customer, one of these, and are announced under another one too: by entity, kind,
    reference, amount and day. The one that holds longest is not among them, unless it has come under the other id.
    """
    payer = {name: survivor(f"{name}.tenant_id", f"{name}.payer_customer_id") for name in "eo"}
    rows = await fetch(
        conn,
        "SELECT e.tenant_id, e.expected_id FROM expected_payment e WHERE e.status = 'waiting' AND e.reference IS NOT NULL "  # noqa: S608 - ours
        "AND e.holds_until IS NOT NULL AND (e.tenant_id, e.payer_customer_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) AND EXISTS (SELECT 1 FROM expected_payment o "
        "WHERE o.tenant_id = e.tenant_id AND o.entity_id = e.entity_id AND o.amount_minor = e.amount_minor AND o.currency = e.currency "
        "AND o.kind = e.kind AND o.reference = e.reference AND o.expected_on = e.expected_on "
        "AND o.payer_customer_id <> e.payer_customer_id "
        f"AND {payer['o']} = {payer['e']} AND (o.status = 'waiting' AND (o.holds_until, o.expected_id) > (e.holds_until, e.expected_id) "
        "OR o.status IN ('partly', 'received'))) ORDER BY 1, 2",
        **keys(customers),
    )
    return [(row[0], row[1]) for row in rows]


_OVERDUE = "status = 'waiting' AND holds_until < :today"
OVERDUE = f"EXISTS (SELECT 1 FROM expected_payment WHERE tenant_id = t.tenant_id AND {_OVERDUE})"  # noqa: S608 - ours
"""For `Job.due`."""


async def overdue(conn: AsyncConnection, tenant_id: UUID, today: date) -> list[Key]:
    """Announcements whose money did not come until the day they hold."""
    rows = await fetch(
        conn,
        f"SELECT tenant_id, expected_id FROM expected_payment WHERE tenant_id = :tenant AND {_OVERDUE} "  # noqa: S608 - ours
        "ORDER BY expected_id LIMIT 1000",
        tenant=tenant_id,
        today=today,
    )
    return [(row[0], row[1]) for row in rows]


async def end(conn: AsyncConnection, tenant_id: UUID, expected_id: UUID, status: str) -> None:
    """What was waited for is waited for no more."""
    await run(
        conn,
        "UPDATE expected_payment SET status = :status, version = version + 1 WHERE tenant_id = :tenant AND expected_id = :id "
        "AND status = 'waiting'",
        tenant=tenant_id,
        id=expected_id,
        status=status,
    )


async def wait_again(conn: AsyncConnection, held: Expected) -> None:
    """What had ended, by whichever money, is waited for again, with these lines."""
    await run(
        conn,
        "UPDATE expected_payment SET status = 'waiting', payment_id = NULL, lines = CAST(:lines AS jsonb), version = version + 1 "
        "WHERE tenant_id = :tenant AND expected_id = :id",
        tenant=held.tenant_id,
        id=held.expected_id,
        lines=lines_json(held.lines),
    )


async def note_set_offs(conn: AsyncConnection, made: Mapping[Key, Sequence[tuple[UUID, UUID, int]]]) -> None:
    """Keeps what was set off beside payments' money (by payment: credit note, item, amount), to be undone with it."""
    rows = [(*key, *one) for key, found in made.items() for one in found]
    if rows:
        await run(
            conn,
            "INSERT INTO payment_set_off (tenant_id, payment_id, credit_item_id, item_id, amount_minor) SELECT tenant, payment, credit, "
            "item, CAST(sum(amount) AS bigint) FROM unnest(CAST(:tenants AS uuid[]), CAST(:payments AS uuid[]), "
            "CAST(:credits AS uuid[]), CAST(:items AS uuid[]), CAST(:amounts AS bigint[])) AS t(tenant, payment, credit, item, amount) "
            "GROUP BY tenant, payment, credit, item ON CONFLICT (tenant_id, payment_id, credit_item_id, item_id) "
            "DO UPDATE SET amount_minor = payment_set_off.amount_minor + EXCLUDED.amount_minor",
            tenants=[row[0] for row in rows],
            payments=[row[1] for row in rows],
            credits=[row[2] for row in rows],
            items=[row[3] for row in rows],
            amounts=[row[4] for row in rows],
        )
