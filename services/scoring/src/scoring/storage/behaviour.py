"""Contributions and their sums.

Invariants: a contribution's row is locked before it is compared, so that what is added to the sums is exactly what the
row gained; locks are taken in the order standing, contribution, behaviour, each by its key.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from shared.aliases import GROUP
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from scoring.domain.behaviour import MEASURES, UNDATED, WINDOW_MONTHS, Contribution, Measures, month_of

DUE_NOW = date(1, 1, 1)
"""`review_on` of a customer about whom something has changed."""

_KEY = {"tenant_id": "uuid", "kind": "text", "source_id": "uuid"}
_BUCKET = {"tenant_id": "uuid", "customer_id": "uuid", "currency": "text", "month": "date"}
_SUMS = dict.fromkeys(MEASURES, "numeric")
_ROW = {**_KEY, "version": "bigint", **{name: kind for name, kind in _BUCKET.items() if name != "tenant_id"}, **_SUMS}


@dataclass(frozen=True, slots=True)
class Source:
    """What one source says at one version; `contribution` None: nothing."""

    tenant_id: UUID
    kind: str
    source_id: UUID
    version: int
    customer_id: UUID
    contribution: Contribution | None

    @property
    def key(self) -> tuple[UUID, str, UUID]:
        """The key of its row."""
        return self.tenant_id, self.kind, self.source_id


async def touch(conn: AsyncConnection, customers: Iterable[tuple[UUID, UUID]]) -> None:
    """Locks customers' standing, made where missing, and notes that they are to be reviewed. (tenant, customer) pairs.

    For a customer that was merged, that of whoever stands for him.

    The row is locked even when it is noted already: who handles an invoice and who handles its item do not miss each other.
    """
    rows = sorted(set(customers))
    if rows:
        await run(
            conn,
            "INSERT INTO standing (tenant_id, customer_id, review_on) SELECT DISTINCT t.tenant_id, "  # noqa: S608 - column names are ours
            "coalesce(a.survivor_id, t.customer_id) AS stands, CAST(:due AS date) FROM "
            f"{unnest({'tenant_id': 'uuid', 'customer_id': 'uuid'})} LEFT JOIN alias a "
            "ON a.tenant_id = t.tenant_id AND a.id = t.customer_id ORDER BY t.tenant_id, stands "
            "ON CONFLICT (tenant_id, customer_id) DO UPDATE SET review_on = excluded.review_on "
            "WHERE standing.review_on <> excluded.review_on",
            due=DUE_NOW,
            **arrays(rows, ("tenant_id", "customer_id")),
        )


async def contribute(conn: AsyncConnection, sources: Sequence[Source]) -> None:
    """Keeps each source's contribution at its highest version and moves the sums by the difference. Four statements."""
    newest: dict[tuple[UUID, str, UUID], Source] = {}
    for source in sources:
        if source.key not in newest or source.version > newest[source.key].version:
            newest[source.key] = source
    if not newest:
        return
    keys = arrays(sorted(newest), tuple(_KEY))
    columns = ", ".join(_KEY)
    await run(
        conn,
        f"INSERT INTO contribution ({columns}, version) SELECT {columns}, 0 FROM {unnest(_KEY)} "  # noqa: S608 - column names are ours
        f"ORDER BY {columns} ON CONFLICT DO NOTHING",
        **keys,
    )
    held = await fetch(
        conn,
        f"SELECT c.* FROM contribution c JOIN {unnest(_KEY)} USING ({columns}) ORDER BY c.tenant_id, c.kind, c.source_id FOR UPDATE OF c",  # noqa: S608 - column names are ours
        **keys,
    )
    news = [(row, newest[row.tenant_id, row.kind, row.source_id]) for row in held]
    news = [(row, source) for row, source in news if source.version > row.version]
    if not news:
        return
    values = ", ".join(f"{name} = t.{name}" for name in _ROW if name not in _KEY)
    await run(
        conn,
        f"UPDATE contribution c SET {values} FROM {unnest(_ROW)} "  # noqa: S608 - column names are ours
        "WHERE (c.tenant_id, c.kind, c.source_id) = (t.tenant_id, t.kind, t.source_id)",
        **arrays([_row(source) for _, source in news], tuple(_ROW)),
    )
    await _move(conn, news)


def _row(source: Source) -> list[Any]:
    given = source.contribution
    bucket = (source.customer_id, given.currency, given.month) if given else (source.customer_id, None, None)
    measures = given.measures if given else Measures()
    return [*source.key, source.version, *bucket, *(Decimal(getattr(measures, name)) for name in MEASURES)]


async def _move(conn: AsyncConnection, news: Sequence[tuple[Row[Any], Source]]) -> None:
    """Adds what contributions gained to the sums of their buckets, and takes off what they lost."""
    deltas: dict[tuple[Any, ...], list[int]] = {}
    for row, source in news:
        if row.month is not None:
            sums = deltas.setdefault((row.tenant_id, row.customer_id, row.currency, row.month), [0] * len(MEASURES))
            sums[:] = [total - int(getattr(row, name)) for total, name in zip(sums, MEASURES, strict=True)]
        if source.contribution is not None:
            bucket = (source.tenant_id, source.customer_id, source.contribution.currency, source.contribution.month)
            sums = deltas.setdefault(bucket, [0] * len(MEASURES))
            sums[:] = [total + getattr(source.contribution.measures, name) for total, name in zip(sums, MEASURES, strict=True)]
    moved = [(*bucket, *map(Decimal, deltas[bucket])) for bucket in sorted(deltas) if any(deltas[bucket])]
    if not moved:
        return
    every = {**_BUCKET, **_SUMS}
    keys = ", ".join(_BUCKET)
    # two steps: a row that is to shrink must not be proposed as a new one with negative sums
    await run(
        conn,
        f"INSERT INTO behaviour ({keys}) SELECT {keys} FROM {unnest(_BUCKET)} ORDER BY {keys} ON CONFLICT DO NOTHING",  # noqa: S608 - column names are ours
        **arrays([row[: len(_BUCKET)] for row in moved], tuple(_BUCKET)),
    )
    await run(
        conn,
        f"UPDATE behaviour b SET {', '.join(f'{name} = b.{name} + t.{name}' for name in MEASURES)} FROM {unnest(every)} "  # noqa: S608 - column names are ours
        "WHERE (b.tenant_id, b.customer_id, b.currency, b.month) = (t.tenant_id, t.customer_id, t.currency, t.month)",
        **arrays(moved, tuple(every)),
    )
    await touch(conn, {(row.tenant_id, row.customer_id) for row, source in news if row.customer_id not in {None, source.customer_id}})


async def buckets(conn: AsyncConnection, tenant_id: UUID, group: Mapping[str, list[UUID]], today: date) -> dict[UUID, list[Contribution]]:
    """The sums of customers, what lies before the window merged: at most WINDOW_MONTHS + 1 and those of later months per currency."""
    sums = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
    rows = await fetch(
        conn,
        f"SELECT g.survivor AS customer_id, b.currency, CASE WHEN b.month < :start THEN :undated ELSE b.month END AS bucket, {sums} "  # noqa: S608 - column names are ours
        f"FROM {GROUP} JOIN behaviour b ON b.tenant_id = :tenant AND b.customer_id = g.member GROUP BY 1, 2, 3",
        tenant=tenant_id,
        start=month_of(today, WINDOW_MONTHS - 1),
        undated=UNDATED,
        **group,
    )
    found: dict[UUID, list[Contribution]] = defaultdict(list)
    for row in rows:
        measures = Measures(**{name: int(getattr(row, name)) for name in MEASURES})
        found[row.customer_id].append(Contribution(currency=row.currency, month=row.bucket, measures=measures))
    return found
