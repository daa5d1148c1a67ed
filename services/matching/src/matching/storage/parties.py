"""Whom payments come from and who owes: customers, their names and known IBANs, and what merges of duplicates move.

An item or payment that a merge has moved keeps in `moved_from_customer_id` whom it named; an undone merge brings it back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.clock import machine_now
from shared.db import run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.engine.records import NOBODY
from matching.storage.rows import fetch, keys


async def set_known_ibans(conn: AsyncConnection, customers: Sequence[Key], rows: Sequence[tuple[UUID, UUID, str]]) -> None:
    """Replaces the known IBANs of customers by rows of (tenant, customer, IBAN without spaces)."""
    await run(
        conn,
        "DELETE FROM payer_iban WHERE (tenant_id, customer_id) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(customers),
    )
    await run(
        conn,
        "INSERT INTO payer_iban (tenant_id, customer_id, iban) SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "
        "CAST(:ibans AS text[])) ON CONFLICT DO NOTHING",
        tenants=[row[0] for row in rows],
        ids=[row[1] for row in rows],
        ibans=[row[2] for row in rows],
    )


async def set_names(conn: AsyncConnection, customers: Sequence[Key], rows: Sequence[tuple[UUID, UUID, str]]) -> None:
    """Replaces what customers are found by in payers' names by rows of (tenant, customer, name as it is compared)."""
    await run(
        conn,
        "DELETE FROM customer_name WHERE (tenant_id, customer_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(customers),
    )
    if rows:
        await run(
            conn,
            "INSERT INTO customer_name (tenant_id, customer_id, value) "
            "SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:values AS text[])) ON CONFLICT DO NOTHING",
            tenants=[row[0] for row in rows],
            ids=[row[1] for row in rows],
            values=[row[2] for row in rows],
        )


async def look_again_at(
    conn: AsyncConnection, ibans: Sequence[tuple[UUID, str]], at: datetime, starts: Sequence[tuple[UUID, str]] = ()
) -> None:
    """Payments still unapplied that came from one of these (tenant, IBAN), or whose payer's name begins so (tenant, `PREFIX_MIN`
    letters), are looked at as if they were new: now, and as often.

    Their items may come at the same moment: a single look could miss them for good.
    """
    if ibans or starts:
        await fetch(
            conn,
            "WITH meant AS (SELECT p.tenant_id, p.payment_id FROM payment p WHERE "
            "(p.tenant_id, p.debtor_iban) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ibans AS text[]))) "
            "AND p.status IN ('unapplied', 'partly_matched') UNION SELECT c.tenant_id, c.payment_id FROM payment_clue c WHERE "
            "c.kind = 'name' AND (c.tenant_id, c.value) IN (SELECT * FROM unnest(CAST(:n_tenants AS uuid[]), CAST(:starts AS text[])))), "
            "due AS (SELECT p.tenant_id, p.payment_id FROM payment p JOIN meant USING (tenant_id, payment_id) "
            "WHERE p.status IN ('unapplied', 'partly_matched') ORDER BY p.tenant_id, p.payment_id FOR UPDATE OF p) "
            "UPDATE payment SET looks = 0, next_look_at = :at FROM due "
            "WHERE payment.tenant_id = due.tenant_id AND payment.payment_id = due.payment_id RETURNING 1",
            tenants=[pair[0] for pair in ibans],
            ibans=[pair[1] for pair in ibans],
            n_tenants=[pair[0] for pair in starts],
            starts=[pair[1] for pair in starts],
            at=at,
        )


_MISPLACED_ITEMS = (
    "SELECT f.id, f.account_id, f.customer_id, f.named_id, f.entity_id, f.currency, f.wanted_id FROM ("  # noqa: S608 - our own text
    "SELECT i.item_id AS id, i.account_id, i.customer_id, i.entity_id, i.currency, "
    "coalesce(i.moved_from_customer_id, i.customer_id) AS named_id, "
    f"{survivor('i.tenant_id', 'coalesce(i.moved_from_customer_id, i.customer_id)')} AS wanted_id FROM ("
    "SELECT i.* FROM alias a JOIN open_item i ON i.tenant_id = a.tenant_id AND i.customer_id = a.id "
    "WHERE a.tenant_id = :tenant AND a.survivor_id <> a.id "
    "UNION SELECT * FROM open_item WHERE tenant_id = :tenant AND moved_from_customer_id IS NOT NULL) i) f "
    "WHERE f.wanted_id <> f.customer_id ORDER BY f.id LIMIT :limit"
)
# of payments only what has money left counts on an account; what was moved comes back whole, unless it was given to another since
_PAYER = "CASE WHEN p.payer_customer_id = p.moved_to_customer_id THEN p.moved_from_customer_id ELSE p.payer_customer_id END"
_MISPLACED_PAYMENTS = (
    "SELECT f.id, f.account_id, f.customer_id, f.named_id, f.entity_id, f.currency, f.wanted_id FROM ("  # noqa: S608 - our own text
    "SELECT p.payment_id AS id, p.account_id, p.payer_customer_id AS customer_id, p.entity_id, p.currency, "
    f"{_PAYER} AS named_id, {survivor('p.tenant_id', _PAYER)} AS wanted_id FROM ("
    "SELECT p.* FROM alias a JOIN account_balance b ON b.tenant_id = a.tenant_id AND b.customer_id = a.id "
    "JOIN payment p ON p.tenant_id = b.tenant_id AND p.account_id = b.account_id AND p.status IN ('unapplied', 'partly_matched') "
    "WHERE a.tenant_id = :tenant AND a.survivor_id <> a.id "
    "UNION SELECT * FROM payment WHERE tenant_id = :tenant AND moved_from_customer_id IS NOT NULL) p) f "
    "WHERE f.wanted_id <> f.customer_id ORDER BY f.id LIMIT :limit"
)


MERGED = "EXISTS (SELECT 1 FROM alias WHERE tenant_id = t.tenant_id)"
"""For `Job.due`: somebody was ever merged. `misplaced` reads more than that to find nothing."""


async def misplaced(conn: AsyncConnection, tenant_id: UUID, limit: int) -> tuple[Sequence[Row[Any]], Sequence[Row[Any]]]:
    """Items and payments, unlocked, that are not with whom the merges as they are now have stand for the customer they name.

    Columns: id, account_id, customer_id (where it is), named_id, entity_id, currency, wanted_id (where it belongs).
    """
    values = {"tenant": tenant_id, "limit": limit}
    return await fetch(conn, _MISPLACED_ITEMS, **values), await fetch(conn, _MISPLACED_PAYMENTS, **values)


async def note_named(conn: AsyncConnection, items: Mapping[Key, UUID | None]) -> None:
    """Keeps whom items name, where that is not whom they are with (else None)."""
    if items:
        await run(
            conn,
            "UPDATE open_item SET moved_from_customer_id = t.named FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "
            "CAST(:named AS uuid[])) AS t(tenant, id, named) WHERE open_item.tenant_id = t.tenant AND open_item.item_id = t.id "
            "AND open_item.moved_from_customer_id IS DISTINCT FROM t.named",
            **keys(items),
            named=list(items.values()),
        )


async def note_payers(conn: AsyncConnection, payments: Mapping[Key, UUID | None]) -> None:
    """Keeps whose payments these were before a merge moved them to their payers as stored now (None: they are back)."""
    if payments:
        await run(
            conn,
            "UPDATE payment SET moved_from_customer_id = t.payer, moved_to_customer_id = CASE WHEN t.payer IS NULL THEN NULL "
            "ELSE payment.payer_customer_id END FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:payers AS uuid[])) "
            "AS t(tenant, id, payer) WHERE payment.tenant_id = t.tenant AND payment.payment_id = t.id",
            **keys(payments),
            payers=list(payments.values()),
        )


async def is_known(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> bool:
    """Whether anything is known of a customer: himself, or an account of his."""
    return bool(
        await fetch(
            conn,
            "SELECT 1 FROM customer WHERE tenant_id = :tenant AND customer_id = :id UNION ALL "
            "(SELECT 1 FROM account_balance WHERE tenant_id = :tenant AND customer_id = :id LIMIT 1)",
            tenant=tenant_id,
            id=customer_id,
        )
    )


async def ibans_of(conn: AsyncConnection, customers: Iterable[Key]) -> list[tuple[UUID, str]]:
    """The known IBANs of customers, with their tenant."""
    rows = await fetch(
        conn,
        "SELECT DISTINCT o.tenant_id, o.iban FROM payer_iban o "
        "JOIN unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant, id) "
        "ON o.tenant_id = t.tenant AND o.customer_id = t.id ORDER BY 1, 2",
        **keys(customers),
    )
    return [(row[0], row[1]) for row in rows]


_SIGNS = (
    "(VALUES ('iban', CASE WHEN p.ultimate_debtor_name IS NULL THEN p.debtor_iban END), "
    "('name', upper(regexp_replace(btrim(coalesce(p.ultimate_debtor_name, p.debtor_name)), '\\s+', ' ', 'g'))))"
)
"""SQL: what a payment `p` is known by, as aliases hold it. Of what is paid for somebody else the account says nothing."""


async def learn_payer(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, customer_id: UUID | None, *, by: str) -> None:
    """A person said whose payment it is: what it is known by is the customer's from now on, once more than before; not an erased one's."""
    if customer_id is None:
        return
    await run(
        conn,
        "INSERT INTO payer_alias (tenant_id, kind, value, customer_id, times, learnt_by, learnt_at) SELECT :tenant, a.kind, a.value, "  # noqa: S608 - ours
        ":customer, 1, :by, :now FROM payment p "
        f"CROSS JOIN LATERAL {_SIGNS} AS a(kind, value) WHERE p.tenant_id = :tenant "
        "AND p.payment_id = :payment AND a.value <> '' AND NOT EXISTS (SELECT 1 FROM customer_identity n WHERE n.tenant_id = :tenant "
        "AND n.customer_id = :customer AND n.name = '') ON CONFLICT (tenant_id, kind, value, customer_id) "
        "DO UPDATE SET times = payer_alias.times + 1, learnt_by = EXCLUDED.learnt_by, learnt_at = EXCLUDED.learnt_at",
        tenant=tenant_id,
        payment=payment_id,
        customer=customer_id,
        by=by,
        now=machine_now(),
    )


async def forget_nobody(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> None:
    """What a payment is known by is no sign any more of what is no receivable, however often it was."""
    await run(
        conn,
        f"DELETE FROM payer_alias a USING payment p CROSS JOIN LATERAL {_SIGNS} AS v(kind, value) WHERE p.tenant_id = :tenant "  # noqa: S608 - ours
        "AND p.payment_id = :payment AND a.tenant_id = p.tenant_id AND a.kind = v.kind AND a.value = v.value AND a.customer_id = :nobody",
        tenant=tenant_id,
        payment=payment_id,
        nobody=NOBODY,
    )


async def forget_payer(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, customer_id: UUID | None) -> None:
    """What a person had said of whose payment it is was wrong: what it is known by counts once less as the customer's."""
    await run(
        conn,
        f"WITH said AS (SELECT a.* FROM payment p CROSS JOIN LATERAL {_SIGNS} AS v(kind, value) "  # noqa: S608 - ours
        "JOIN payer_alias a ON a.tenant_id = p.tenant_id AND a.kind = v.kind "
        f"AND a.value = v.value AND {survivor('a.tenant_id', 'a.customer_id')} = :customer WHERE p.tenant_id = :tenant "
        "AND p.payment_id = :payment), gone AS (DELETE FROM payer_alias a USING said s WHERE s.times <= 1 AND (a.tenant_id, a.kind, "
        "a.value, a.customer_id) = (s.tenant_id, s.kind, s.value, s.customer_id)) UPDATE payer_alias a SET times = a.times - 1 FROM said s "
        "WHERE s.times > 1 AND (a.tenant_id, a.kind, a.value, a.customer_id) = (s.tenant_id, s.kind, s.value, s.customer_id)",
        tenant=tenant_id,
        payment=payment_id,
        customer=customer_id,
    )
