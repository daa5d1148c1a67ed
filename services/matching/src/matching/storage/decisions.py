"""Decisions: what each was taken on, and what has become of its payment since."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.rows import columns, fetch, keys

SAYS_WHO_PAID = (
    "d.rule IN ('hand', 'confirmed', 'remittance', 'announced', 'promise', 'payment_plan') OR d.evidence ->> 'payer_by' = 'person'"
)
"""SQL: whether a decision `d` is a person's or the debtor's own word, which says who paid."""


class Taken(NamedTuple):
    """A decision as it is kept; `evidence` and `inputs` are JSON, `inputs` only of what the engine decided. `currency` is its payment's."""

    rule: str
    evidence: str
    inputs: str | None
    currency: str


class Settled(NamedTuple):
    """A decision of the engine, and what has become of its payment; `settled` is JSON, item to minor units.

    `objected`: a person undid something of it, or the debtor's own list says what it is for.
    """

    payment_id: UUID
    automatic: bool
    inputs: str
    whole: bool
    returned: bool
    objected: bool
    payer: UUID | None
    settled: str | None


async def taken(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, version: int) -> Taken | None:
    """The decision that made this version of a payment; None where there is none."""
    rows = await fetch(
        conn,
        "SELECT d.rule, CAST(d.evidence AS text), CAST(d.inputs AS text), p.currency FROM decision d JOIN payment p "
        "USING (tenant_id, payment_id) WHERE d.tenant_id = :tenant AND d.payment_id = :payment AND d.payment_version = :version",
        tenant=tenant_id,
        payment=payment_id,
        version=version,
    )
    return Taken(*rows[0]) if rows else None


async def of_payment(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> Sequence[Row[Any]]:
    """All decisions on a payment, the first one first; `evidence` is JSON."""
    return await fetch(
        conn,
        "SELECT payment_version, rule, decided_at, CAST(evidence AS text) AS evidence FROM decision "
        "WHERE tenant_id = :tenant AND payment_id = :id ORDER BY payment_version",
        tenant=tenant_id,
        id=payment_id,
    )


class Shown(NamedTuple):
    """What the latest decision on a payment shows a person: readings, none where it settled something, and lists of another amount."""

    candidates: Sequence[dict[str, Any]] = ()
    lists: frozenset[str] = frozenset()


async def shown_of(conn: AsyncConnection, payments: Iterable[Key]) -> dict[Key, Shown]:
    """What a person is shown of each payment on which something was decided."""
    rows = await fetch(
        conn,
        "SELECT k.tenant_id, k.payment_id, CASE WHEN d.evidence -> 'settled' <> '[]' THEN NULL "
        "ELSE CAST(d.evidence -> 'candidates' AS text) END, CAST(d.evidence -> 'remittance_lists' -> 'differ' AS text) "
        "FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) CROSS JOIN LATERAL (SELECT evidence "
        "FROM decision WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id ORDER BY payment_version DESC LIMIT 1) d",
        **keys(payments),
    )
    return {
        (row[0], row[1]): Shown(json.loads(row[2] or "[]"), frozenset(one["expected_id"] for one in json.loads(row[3] or "[]")))
        for row in rows
    }


async def payer_by(conn: AsyncConnection, payment: Key) -> str | None:
    """What the last person who changed the payer of a payment told it by: the `items` allocated, or his own word (`person`)."""
    rows = await fetch(
        conn,
        "SELECT evidence ->> 'payer_by' FROM decision WHERE tenant_id = :tenant AND payment_id = :payment "
        "AND evidence ->> 'payer_by' IS NOT NULL ORDER BY payment_version DESC LIMIT 1",
        tenant=payment[0],
        payment=payment[1],
    )
    return rows[0][0] if rows else None


async def refused_of(conn: AsyncConnection, met: Iterable[tuple[UUID, UUID, UUID]]) -> dict[Key, dict[int, str]]:
    """What of expected payments (tenant, id, the payment that met it) the latest decision about them left to a person: by the line's number
    from 0, why.
    """
    rows = await fetch(
        conn,
        "SELECT k.tenant_id, k.expected_id, (SELECT CAST(evidence -> 'refused' AS text) FROM decision d WHERE d.tenant_id = k.tenant_id "
        "AND d.payment_id = k.payment_id AND d.evidence ->> 'expected_payment' = CAST(k.expected_id AS text) "
        "ORDER BY payment_version DESC LIMIT 1) FROM unnest(CAST(:tenants AS uuid[]), CAST(:expected AS uuid[]), "
        "CAST(:payments AS uuid[])) AS k(tenant_id, expected_id, payment_id)",
        **columns(list(met), "tenants", "expected", "payments"),
    )
    return {(row[0], row[1]): {one["line"]: one["why"] for one in json.loads(row[2] or "[]")} for row in rows}


_SETTLED = """
  SELECT item_id, CAST(sum(minor) AS bigint) AS minor FROM (
    SELECT a.item_id, coalesce(x.item_amount_minor, a.amount_minor + a.diff_minor) AS minor FROM allocation a
      LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) WHERE a.tenant_id = :tenant AND a.payment_id = d.payment_id
    UNION ALL SELECT item_id, amount_minor FROM payment_set_off WHERE tenant_id = :tenant AND payment_id = d.payment_id
    UNION ALL SELECT credit_item_id, -amount_minor FROM payment_set_off WHERE tenant_id = :tenant AND payment_id = d.payment_id
  ) s GROUP BY item_id
"""
_OF_THE_ENGINE = f"""
WITH d AS (
  SELECT DISTINCT ON (payment_id) payment_id, automatic, inputs FROM (
    SELECT payment_id, payment_version, CAST(inputs AS text) AS inputs, coalesce(evidence ->> 'decision' = 'auto', false) AS automatic
    FROM decision WHERE tenant_id = :tenant AND payment_id > :after AND inputs IS NOT NULL
      AND rule NOT IN ('advance', 'no_receivable') AND decided_at <= :until
  ) e ORDER BY payment_id, automatic DESC, CASE WHEN automatic THEN payment_version ELSE -payment_version END LIMIT :limit
)
SELECT d.payment_id, d.automatic, d.inputs, p.unapplied_minor = 0, p.returned_minor > 0,
  EXISTS (SELECT 1 FROM dismissed_pair x WHERE x.tenant_id = :tenant AND x.payment_id = d.payment_id) OR EXISTS (SELECT 1 FROM allocation x
    WHERE x.tenant_id = :tenant AND x.payment_id = d.payment_id AND x.rule IN ('remittance', 'announced')),
  p.payer_customer_id,
  (SELECT CAST(jsonb_object_agg(item_id, minor) AS text) FROM ({_SETTLED}) settled)
FROM d JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = d.payment_id ORDER BY d.payment_id
"""  # noqa: S608 - our own text


async def of_the_engine(conn: AsyncConnection, tenant_id: UUID, *, after: UUID, until: datetime, limit: int) -> list[Settled]:
    """Payments behind `after` by id that the engine decided on until then: the first automatic decision, else the last one, of each."""
    return [Settled(*row) for row in await fetch(conn, _OF_THE_ENGINE, tenant=tenant_id, after=after, until=until, limit=limit)]


async def advances(conn: AsyncConnection, tenant_id: UUID, *, until: datetime, limit: int) -> tuple[int, int]:
    """Of payments that were kept as advances until then: how many are on their account or settled what was invoiced later, and how many
    settled an item of before.
    """
    rows = await fetch(
        conn,
        "WITH d AS (SELECT DISTINCT payment_id FROM decision WHERE tenant_id = :tenant AND rule = 'advance' AND decided_at <= :until "
        "LIMIT :limit) SELECT count(*) FILTER (WHERE NOT before), count(*) FILTER (WHERE before) FROM (SELECT EXISTS (SELECT 1 "
        "FROM allocation a JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id WHERE a.tenant_id = :tenant "
        "AND a.payment_id = d.payment_id AND i.issue_date <= p.booking_date) AS before "
        "FROM d JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = d.payment_id) k",
        tenant=tenant_id,
        until=until,
        limit=limit,
    )
    return rows[0][0], rows[0][1]
