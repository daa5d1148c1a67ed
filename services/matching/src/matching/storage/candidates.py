"""What a batch of payments points to, without locks: one statement per kind of clue, over the whole batch, each by index.

Every query leads with the tenant and stays within the payment's legal entity; pairs that a person has undone are left out.
What is asked of many payments comes back by the payment's place in the batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.db import records
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.cascade import Candidate
from matching.storage.books import keys
from matching.storage.rows import fetch

_OPEN = "p.status IN ('received', 'unapplied', 'partly_matched')"
_KEPT = (
    "NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id "
    "AND d.item_id = i.item_id OFFSET 0)"
)
_ITEM = "i.item_id, i.account_id, i.customer_id, i.open_minor, i.currency, i.invoice_number, i.due_date"
# Each step is a lookup by whole key, in this order: OFFSET 0 keeps the planner from another one.
_BATCH = (
    "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
    "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) p"
)

DEDUCTION_MAX = 5_000
"""Minor units that a payment may lack of what it names and still be meant for the whole: charges, rounding."""
_DIRECT = (
    f"SELECT p.tenant_id, p.payment_id, r.rule, {_ITEM}, i.currency <> p.currency OR (p.unapplied_minor < i.open_minor "  # noqa: S608 - our own text
    f"AND (i.open_minor - p.unapplied_minor <= {DEDUCTION_MAX} OR EXISTS (SELECT 1 FROM item_discount d WHERE d.tenant_id = i.tenant_id "
    f"AND d.item_id = i.item_id))) FROM {_BATCH} "
    "CROSS JOIN LATERAL (SELECT 'structured_reference' AS rule, item_id FROM item_reference WHERE tenant_id = p.tenant_id "
    "AND entity_id = p.entity_id AND value = p.structured_reference AND kind = 'structured' "
    "UNION ALL SELECT 'virtual_iban_invoice', invoice_id FROM virtual_iban WHERE tenant_id = p.tenant_id "
    "AND virtual_iban_id = p.virtual_iban_id AND status = 'assigned' OFFSET 0) r "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = p.tenant_id AND item_id = r.item_id OFFSET 0) i "
    f"WHERE i.entity_id = p.entity_id AND {_OPEN} AND {_KEPT}"
)


async def direct(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, list[tuple[str, Candidate]]]:
    """The items that virtual IBANs of one invoice and structured references name, with the rule, per payment."""
    found: dict[Key, list[tuple[str, Candidate]]] = {}
    for row in await records(conn, _DIRECT, **keys(payments)):
        found.setdefault((row[0], row[1]), []).append((row[2], Candidate(*row[3:])))
    return found


# --- for the engine -----------------------------------------------------------------------------------------------
OWN, PAYER, ALIAS_IBAN, ALIAS_NAME, PAST, NUMBER, NAME = "own", "payer", "alias_iban", "alias_name", "past", "number", "name"
PAST_MAX = 50
"""Payments from one IBAN, the last, by which it is known whose it is."""
NAMES_MAX = 40
"""Customers whose name begins alike, of each form."""
SAME_VALUE_MAX = 20
"""Items that carry one document number."""
PRICE_MAX = 61
"""Items of one amount, one more than the engine takes for a sign."""
CHILDREN_MAX = 40
ITEMS_MAX = 400
"""Open items of one customer that are looked at, those due first."""
SETTLED_MAX = 40
"""Items of one customer settled last that a text may name again."""
HISTORY_MAX = 24
"""Payments of one customer that tell of its habits."""
CHARGES_MAX = 500
RATES_MAX = 500
RATES_DAYS = 120
"""How long ago payments in another currency still tell of its rate, of so many that are looked at."""


@dataclass(slots=True)
class Waiting:
    """A payment that is to be decided on. `owner` is whose virtual IBAN it was paid to, `payer` who it is said to be from."""

    tenant_id: UUID
    payment_id: UUID
    entity_id: UUID
    currency: str
    unapplied_minor: int
    booking_date: date
    structured_reference: str | None
    remittance: Sequence[str]
    end_to_end_id: str | None
    debtor_name: str | None
    debtor_iban: str | None
    instructed_minor: int | None
    instructed_currency: str | None
    virtual_iban: str | None
    owner: UUID | None
    payer: UUID | None
    threshold: float | None
    dismissed: Sequence[UUID]


async def waiting(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, Waiting]:
    """Payments of the batch that are to be looked at, with the pairs that a person dismissed and the tenant's threshold."""
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, p.entity_id, p.currency, p.unapplied_minor, p.booking_date, p.structured_reference, "  # noqa: S608 - our own text
        "p.remittance, p.end_to_end_id, p.debtor_name, p.debtor_iban, "
        "CASE WHEN p.unapplied_minor = p.amount_minor THEN p.instructed_minor END, p.instructed_currency, v.iban, coalesce("
        f"{survivor('v.tenant_id', 'v.customer_id')}, (SELECT i.customer_id FROM open_item i WHERE i.tenant_id = v.tenant_id "
        "AND i.item_id = v.invoice_id), (SELECT n.customer_id FROM payment_instruction n WHERE n.tenant_id = v.tenant_id "
        f"AND n.virtual_iban_id = v.virtual_iban_id)), {survivor('p.tenant_id', 'p.payer_customer_id')}, "
        "(SELECT threshold FROM matching_policy m WHERE m.tenant_id = p.tenant_id), "
        "coalesce((SELECT array_agg(d.item_id) FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id "
        "AND d.payment_id = p.payment_id), '{}') "
        f"FROM {_BATCH} LEFT JOIN virtual_iban v ON v.tenant_id = p.tenant_id "
        f"AND v.virtual_iban_id = p.virtual_iban_id AND v.status = 'assigned' WHERE {_OPEN}",
        **keys(payments),
    )
    return {(row[0], row[1]): Waiting(*row) for row in rows}


def columns(rows: Sequence[Sequence[Any]], *names: str) -> dict[str, list[Any]]:
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


async def parties(
    conn: AsyncConnection, asked: Sequence[Waiting], numbers: Sequence[tuple[int, UUID, str]], names: Sequence[tuple[int, UUID, str]]
) -> list[tuple[int, str, UUID, int]]:
    """Who may have paid: (place of the payment, how it is known, customer, how often).

    `numbers` are words that may be customers' numbers, `names` the written names' forms: (place, tenant, value). A customer is
    found by name where his begins as the written one does, is its beginning, or begins with the same seven letters.
    """
    rows = await fetch(
        conn,
        "WITH k AS (SELECT * FROM unnest(CAST(:places AS int[]), CAST(:tenants AS uuid[]), CAST(:ibans AS text[]), "  # noqa: S608 - our own text
        "CAST(:payers AS text[])) AS t(place, tenant_id, iban, payer)), "
        "n AS (SELECT * FROM unnest(CAST(:n_places AS int[]), CAST(:n_tenants AS uuid[]), CAST(:n_values AS text[])) "
        "AS t(place, tenant_id, value)), "
        'w AS (SELECT place, tenant_id, value COLLATE "C" AS value FROM unnest(CAST(:w_places AS int[]), CAST(:w_tenants AS uuid[]), '
        "CAST(:w_values AS text[])) AS t(place, tenant_id, value)), found AS ("
        f"SELECT k.place, k.tenant_id, '{OWN}' AS how, o.customer_id, 1 AS times FROM k CROSS JOIN LATERAL ("
        "SELECT customer_id FROM payer_iban WHERE tenant_id = k.tenant_id AND iban = k.iban OFFSET 0) o UNION ALL "
        f"SELECT k.place, k.tenant_id, '{ALIAS_IBAN}', a.customer_id, a.times FROM k CROSS JOIN LATERAL (SELECT customer_id, times "
        "FROM payer_alias WHERE tenant_id = k.tenant_id AND kind = 'iban' AND value = k.iban OFFSET 0) a UNION ALL "
        f"SELECT k.place, k.tenant_id, '{ALIAS_NAME}', a.customer_id, a.times FROM k CROSS JOIN LATERAL (SELECT customer_id, times "
        "FROM payer_alias WHERE tenant_id = k.tenant_id AND kind = 'name' "
        "AND value = upper(regexp_replace(btrim(k.payer), '\\s+', ' ', 'g')) OFFSET 0) a "
        f"UNION ALL SELECT k.place, k.tenant_id, '{PAST}', a.payer_customer_id, count(*) FROM k CROSS JOIN LATERAL ("
        "SELECT payer_customer_id FROM payment WHERE tenant_id = k.tenant_id AND debtor_iban = k.iban AND status = 'matched' "
        "AND payer_customer_id IS NOT NULL "
        f"ORDER BY booking_date DESC LIMIT {PAST_MAX}) a GROUP BY 1, 2, 4 UNION ALL "
        f"SELECT n.place, n.tenant_id, '{NUMBER}', c.customer_id, 1 FROM n CROSS JOIN LATERAL (SELECT customer_id FROM customer "
        "WHERE tenant_id = n.tenant_id AND number_key = n.value LIMIT 5) c UNION ALL "
        f"SELECT w.place, w.tenant_id, '{NAME}', c.customer_id, 1 FROM w CROSS JOIN LATERAL ("
        "(SELECT b.customer_id FROM generate_series(7, length(w.value)) AS g(length) CROSS JOIN LATERAL (SELECT customer_id "
        "FROM customer_name WHERE tenant_id = w.tenant_id AND value = left(w.value, g.length) OFFSET 0) b "
        f"LIMIT {NAMES_MAX}) UNION ALL "
        "(SELECT customer_id FROM customer_name WHERE tenant_id = w.tenant_id AND value >= w.value AND value < w.value || '~' "
        f"LIMIT {NAMES_MAX}) UNION ALL (SELECT customer_id FROM customer_name WHERE tenant_id = w.tenant_id AND value >= left(w.value, 7) "
        f"AND value < left(w.value, 7) || '~' LIMIT {NAMES_MAX})) c) "
        f"SELECT place, how, {survivor('f.tenant_id', 'f.customer_id')} AS customer_id, CAST(sum(times) AS int) FROM "
        "(SELECT DISTINCT place, tenant_id, how, customer_id, times FROM found) f GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        places=list(range(len(asked))),
        tenants=[one.tenant_id for one in asked],
        ibans=[one.debtor_iban for one in asked],
        payers=[one.debtor_name for one in asked],
        **columns(numbers, "n_places", "n_tenants", "n_values"),
        **columns(names, "w_places", "w_tenants", "w_values"),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def named(conn: AsyncConnection, asked: Sequence[tuple[int, UUID, UUID, str]]) -> list[tuple[int, UUID, UUID]]:
    """The items, open or not, that carry one of the values: asked are (place, tenant, entity, folded value); (place, item, customer)."""
    rows = await fetch(
        conn,
        "SELECT DISTINCT p.place, i.item_id, i.customer_id FROM unnest(CAST(:places AS int[]), CAST(:tenants AS uuid[]), "  # noqa: S608 - our own text
        "CAST(:entities AS uuid[]), CAST(:values AS text[])) AS p(place, tenant_id, entity_id, value) CROSS JOIN LATERAL ("
        "SELECT item_id FROM item_reference WHERE tenant_id = p.tenant_id AND entity_id = p.entity_id AND value = p.value "
        f"LIMIT {SAME_VALUE_MAX}) r CROSS JOIN LATERAL (SELECT item_id, customer_id FROM open_item WHERE tenant_id = p.tenant_id "
        "AND item_id = r.item_id OFFSET 0) i ORDER BY 1, 2",
        **columns(asked, "places", "tenants", "entities", "values"),
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def of_amount(conn: AsyncConnection, asked: Sequence[tuple[int, UUID, UUID, str, int]]) -> list[tuple[int, UUID, UUID]]:
    """Open items of exactly an amount, whosoever: asked are (place, tenant, entity, currency, amount); (place, item, customer)."""
    rows = await fetch(
        conn,
        "SELECT p.place, i.item_id, i.customer_id FROM unnest(CAST(:places AS int[]), CAST(:tenants AS uuid[]), "  # noqa: S608 - our own text
        "CAST(:entities AS uuid[]), CAST(:currencies AS text[]), CAST(:amounts AS bigint[])) "
        "AS p(place, tenant_id, entity_id, currency, amount) CROSS JOIN LATERAL (SELECT item_id, customer_id FROM open_item i "
        "WHERE i.tenant_id = p.tenant_id AND i.entity_id = p.entity_id AND i.open_minor = p.amount AND i.status = 'open' "
        f"AND i.currency = p.currency AND i.kind <> 'credit_note' LIMIT {PRICE_MAX}) i ORDER BY 1, 2",
        **columns(asked, "places", "tenants", "entities", "currencies", "amounts"),
    )
    return [(row[0], row[1], row[2]) for row in rows]


@dataclass(slots=True)
class Person:
    """A customer as it is kept: number, name, and who may pay for it."""

    customer_id: UUID
    number: str
    name: str
    parent: UUID | None


async def customers(conn: AsyncConnection, wanted: Iterable[Key]) -> dict[Key, Person]:
    """Customers, and those of whom they are the parents: (tenant, customer) to what is known; whoever is unknown has no name."""
    rows = await fetch(
        conn,
        "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, customer_id)), "  # noqa: S608 - our own text
        "f AS (SELECT tenant_id, customer_id FROM k UNION SELECT k.tenant_id, c.customer_id FROM k CROSS JOIN LATERAL ("
        f"SELECT customer_id FROM customer WHERE tenant_id = k.tenant_id AND parent_customer_id = k.customer_id LIMIT {CHILDREN_MAX}) c) "
        "SELECT f.tenant_id, f.customer_id, coalesce(c.customer_number, ''), coalesce(n.name, ''), "
        f"{survivor('f.tenant_id', 'c.parent_customer_id')} FROM f "
        "LEFT JOIN customer c ON c.tenant_id = f.tenant_id AND c.customer_id = f.customer_id "
        "LEFT JOIN customer_identity n ON n.tenant_id = f.tenant_id AND n.customer_id = f.customer_id ORDER BY 1, 2",
        **keys(wanted),
    )
    return {(row[0], row[1]): Person(*row[1:]) for row in rows}


@dataclass(slots=True)
class Seen:
    """An item as it was when it was looked at. `percents` are its discounts, (until, hundredths of a percent)."""

    tenant_id: UUID
    item_id: UUID
    version: int
    account_id: UUID
    customer_id: UUID
    kind: str
    number: str
    currency: str
    issue_date: date
    due_date: date
    original_minor: int
    open_minor: int
    contested_minor: int
    references: list[str] = field(default_factory=list)
    structured: str | None = None
    percents: list[tuple[date, int]] = field(default_factory=list)


_SEEN = (
    "i.tenant_id, i.item_id, i.version, i.account_id, i.customer_id, i.kind, i.invoice_number, i.currency, i.issue_date, i.due_date, "
    "i.original_minor, i.open_minor, i.contested_minor"
)


async def items(
    conn: AsyncConnection, debtors: Iterable[tuple[UUID, UUID, UUID]], also: Iterable[Key]
) -> dict[tuple[UUID, UUID, UUID], list[Seen]]:
    """What debtors (tenant, entity, customer) owe, those due first, and what they settled last; and the items `also`."""
    listed = list(debtors)
    rows = await fetch(
        conn,
        "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:entities AS uuid[]), CAST(:customers AS uuid[])) "  # noqa: S608 - our own text
        f"AS t(tenant_id, entity_id, customer_id)) SELECT k.entity_id, i.* FROM k CROSS JOIN LATERAL (SELECT {_SEEN} FROM open_item i "
        "WHERE i.tenant_id = k.tenant_id AND i.customer_id = k.customer_id AND i.status = 'open' AND i.entity_id = k.entity_id "
        f"ORDER BY i.due_date LIMIT {ITEMS_MAX + 1}) i UNION SELECT k.entity_id, i.* FROM k CROSS JOIN LATERAL (SELECT {_SEEN} "
        "FROM open_item i WHERE i.tenant_id = k.tenant_id AND i.customer_id = k.customer_id AND i.status = 'paid' "
        f"AND i.entity_id = k.entity_id ORDER BY i.due_date DESC LIMIT {SETTLED_MAX}) i UNION "
        f"SELECT i.entity_id, {_SEEN} FROM unnest(CAST(:i_tenants AS uuid[]), CAST(:i_ids AS uuid[])) AS a(tenant_id, item_id) "
        "JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id",
        **columns(listed, "tenants", "entities", "customers"),
        **{f"i_{name}": values for name, values in keys(also).items()},
    )
    found: dict[tuple[UUID, UUID, UUID], list[Seen]] = {}
    for row in rows:
        seen = Seen(*row[1:])
        found.setdefault((seen.tenant_id, row[0], seen.customer_id), []).append(seen)
    for owed in found.values():
        owed.sort(key=lambda one: (one.due_date, one.number, one.item_id.bytes))
    return found


async def describe(conn: AsyncConnection, listed: Mapping[Key, Seen]) -> None:
    """Adds to items what else names them, and their discounts."""
    rows = await fetch(
        conn,
        "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, item_id)) "
        "SELECT k.tenant_id, k.item_id, r.kind, r.value, NULL, NULL FROM k CROSS JOIN LATERAL (SELECT kind, value FROM item_reference "
        "WHERE tenant_id = k.tenant_id AND item_id = k.item_id AND kind <> 'folded' OFFSET 0) r UNION ALL "
        "SELECT k.tenant_id, k.item_id, 'discount', NULL, d.until, d.percent_bp FROM k CROSS JOIN LATERAL (SELECT until, percent_bp "
        "FROM item_discount WHERE tenant_id = k.tenant_id AND item_id = k.item_id OFFSET 0) d ORDER BY 1, 2, 3, 4, 5",
        **keys(listed),
    )
    for tenant, item, kind, value, until, percent in rows:
        seen = listed[tenant, item]
        if kind == "discount":
            seen.percents.append((until, percent))
        elif kind == "structured":
            seen.structured = value
        else:
            seen.references.append(value)


async def history(conn: AsyncConnection, wanted: Iterable[Key], payments: Iterable[Key]) -> dict[Key, list[tuple[Any, ...]]]:
    """Customers' last settled payments, the oldest first, without those that are being decided on.

    Per payment: amount, booking date, items, invoices, first and last due date, rule, whether a discount was taken, and offered.
    """
    rows = await fetch(
        conn,
        "SELECT k.tenant_id, k.customer_id, p.amount_minor, p.booking_date, CAST(a.lines AS int), CAST(a.lines AS int), a.first_due, "  # noqa: S608 - our own text
        "a.last_due, p.rule, a.discounted, a.offered "
        "FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, customer_id) "
        "CROSS JOIN LATERAL (SELECT tenant_id, payment_id, amount_minor, booking_date, rule FROM payment p WHERE p.tenant_id = k.tenant_id "
        "AND p.payer_customer_id = k.customer_id AND p.status = 'matched' AND NOT p.payment_id = ANY(CAST(:payments AS uuid[])) "
        f"ORDER BY p.booking_date DESC, p.payment_id LIMIT {HISTORY_MAX}) p CROSS JOIN LATERAL (SELECT count(*) AS lines, "
        "min(i.due_date) AS first_due, max(i.due_date) AS last_due, coalesce(bool_or(x.diff_reason = 'discount'), false) AS discounted, "
        "coalesce(bool_or(EXISTS (SELECT 1 FROM item_discount d WHERE d.tenant_id = x.tenant_id AND d.item_id = x.item_id)), false) "
        "AS offered "
        "FROM allocation x JOIN open_item i ON i.tenant_id = x.tenant_id AND i.item_id = x.item_id "
        "WHERE x.tenant_id = p.tenant_id AND x.payment_id = p.payment_id) a ORDER BY 1, 2, p.booking_date, p.payment_id",
        **keys(wanted),
        payments=[key[1] for key in payments],
    )
    found: dict[Key, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault((row[0], row[1]), []).append(tuple(row[2:]))
    return found


async def charges(conn: AsyncConnection, tenants: Iterable[UUID]) -> dict[UUID, dict[int, int]]:
    """Which bank charges were seen how often, per tenant, in a sample of CHARGES_MAX: payments' ids are random."""
    rows = await fetch(
        conn,
        "SELECT k.tenant_id, c.diff_minor, CAST(count(*) AS int) FROM unnest(CAST(:tenants AS uuid[])) AS k(tenant_id) CROSS JOIN LATERAL ("  # noqa: S608 - our own text
        "SELECT diff_minor FROM allocation WHERE tenant_id = k.tenant_id AND diff_reason = 'bank_charges' "
        f"ORDER BY payment_id LIMIT {CHARGES_MAX}) c GROUP BY 1, 2 ORDER BY 1, 2",
        tenants=sorted(set(tenants)),
    )
    found: dict[UUID, dict[int, int]] = {}
    for tenant, amount, times in rows:
        found.setdefault(tenant, {})[amount] = times
    return found


async def rates(conn: AsyncConnection, tenants: Iterable[UUID], day: date) -> dict[tuple[UUID, str], dict[str, tuple[float, float, int]]]:
    """What items' currencies cost before a day, per tenant and currency of the payment: lowest, highest, how often (minor units)."""
    rows = await fetch(
        conn,
        "SELECT k.tenant_id, c.paid_in, c.owed_in, CAST(min(c.price) AS float8), CAST(max(c.price) AS float8), CAST(count(*) AS int) "  # noqa: S608 - our own text
        "FROM unnest(CAST(:tenants AS uuid[])) AS k(tenant_id) CROSS JOIN LATERAL (SELECT p.currency AS paid_in, i.currency AS owed_in, "
        "CAST(a.amount_minor AS numeric) / x.item_amount_minor AS price FROM (SELECT * FROM allocation_exchange "
        f"WHERE tenant_id = k.tenant_id LIMIT {RATES_MAX}) x JOIN allocation a ON a.tenant_id = x.tenant_id "
        "AND a.payment_id = x.payment_id AND a.item_id = x.item_id JOIN payment p ON p.tenant_id = x.tenant_id "
        f"AND p.payment_id = x.payment_id AND p.booking_date BETWEEN CAST(:day AS date) - {RATES_DAYS} AND :day "
        "JOIN open_item i ON i.tenant_id = x.tenant_id AND i.item_id = x.item_id) c "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        tenants=sorted(set(tenants)),
        day=day,
    )
    found: dict[tuple[UUID, str], dict[str, tuple[float, float, int]]] = {}
    for tenant, paid_in, owed_in, low, high, times in rows:
        found.setdefault((tenant, paid_in), {})[owed_in] = (low, high, times)
    return found
