"""Statements, and the slices of them that wait to be booked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from typing import Any
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.reconciliation import Balances
from matching.domain.statements import Day
from matching.storage.rows import fetch


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement as it is stored."""

    statement_id: UUID
    bank_account_id: UUID
    account: str
    file_sha256: str
    kind: str
    number: str
    verdict: str
    reason: str | None
    detail: str | None
    entries: int
    uploaded_by: str


LISTED = "SELECT statement_id AS at, * FROM statement WHERE tenant_id = :tenant AND (CAST(:verdict AS text) IS NULL OR verdict = :verdict)"
_KEPT = (
    "s.statement_id, s.bank_account_id, a.number AS account, s.file_sha256, s.kind, s.number, s.verdict, s.reason, s.detail, "
    "s.entries, s.uploaded_by"
)
_FROM = f"SELECT {_KEPT} FROM statement s JOIN bank_account a USING (tenant_id, bank_account_id) WHERE s.tenant_id = :tenant "  # noqa: S608 - ours


TAKES_ITS_PLACE = (
    "r.tenant_id = s.tenant_id AND r.bank_account_id = s.bank_account_id AND r.kind = s.kind AND r.received_at > s.received_at "
    "AND ((r.last_day = s.last_day AND coalesce(r.number = s.number OR r.opening_minor = s.opening_minor "
    "OR r.closing_minor = s.closing_minor, true)) OR (r.number = s.number AND r.number <> '' "
    "AND CASE WHEN s.last_day IS NULL OR r.last_day IS NULL THEN r.received_at < s.received_at + interval '31 days' "
    "ELSE r.first_day <= s.last_day AND r.last_day >= s.first_day END))"
)
"""SQL: a later statement `r` is what an earlier one `s` should have been: of the same day, or with its number for days of its period.

A bank may write several a day, each with the money of its part of it: one with another number and with other balances at both
ends stands beside it. Banks count statements anew each year, some each month: the number alone says nothing. Where one has no
days, it is a matter of a month.
"""


IMPORT_DUE = "EXISTS (SELECT 1 FROM statement WHERE tenant_id = t.tenant_id AND verdict = 'importing')"
"""For `Job.due`."""


async def kept(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, *, lock: bool = False) -> Kept | None:
    """A statement; locked where it is about to change."""
    rows = await fetch(conn, _FROM + "AND statement_id = :id" + (" FOR UPDATE OF s" if lock else ""), tenant=tenant_id, id=statement_id)
    return Kept(*rows[0]) if rows else None


async def importing(conn: AsyncConnection, tenant_id: UUID) -> Kept | None:
    """The statement that is booked next; None where none waits."""
    rows = await fetch(
        conn,
        _FROM + "AND s.verdict = 'importing' ORDER BY coalesce(s.accepted_at, s.received_at), s.statement_id LIMIT 1",
        tenant=tenant_id,
    )
    return Kept(*rows[0]) if rows else None


async def put(conn: AsyncConnection, *, days: Mapping[date, Day], **values: Any) -> None:
    """Stores a statement with its verdict. `days`: what it moves on each."""
    columns = ", ".join(values)
    await run(
        conn,
        f"INSERT INTO statement (days, {columns}) VALUES "  # noqa: S608 - names are ours
        f"(CAST(:days AS jsonb), {', '.join(':' + name for name in values)})",
        days=json.dumps([(day.isoformat(), *astuple(days[day])) for day in sorted(days)]),
        **values,
    )


async def settle(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, verdict: str) -> None:
    """Changes the verdict on a statement."""
    await run(
        conn,
        "UPDATE statement SET verdict = :verdict WHERE tenant_id = :tenant AND statement_id = :id",
        tenant=tenant_id,
        id=statement_id,
        verdict=verdict,
    )


async def accept(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, *, by: str, reason: str, at: object) -> None:
    """A second person takes the responsibility: it is imported as it is."""
    await run(
        conn,
        "UPDATE statement SET verdict = 'importing', accepted_by = :by, accepted_reason = :reason, accepted_at = :at "
        "WHERE tenant_id = :tenant AND statement_id = :id",
        tenant=tenant_id,
        id=statement_id,
        by=by,
        reason=reason,
        at=at,
    )


async def replaced(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID) -> bool:
    """Whether a later statement of the same account, kind and number or day took the place of a rejected one (`TAKES_ITS_PLACE`)."""
    rows = await fetch(
        conn,
        f"SELECT 1 FROM statement s JOIN statement r ON {TAKES_ITS_PLACE} WHERE s.tenant_id = :tenant "  # noqa: S608 - ours
        "AND s.statement_id = :id AND r.verdict <> 'rejected' LIMIT 1",
        tenant=tenant_id,
        id=statement_id,
    )
    return bool(rows)


async def of_its_days(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID) -> list[Balances]:
    """A statement, and then the others that booked money of its days; none where it, or one of them, does not say all of it."""
    rows = await fetch(
        conn,
        "SELECT o.opening_minor, o.closing_minor, o.days, o.kind, o.number, "
        "(coalesce(o.accepted_at, o.received_at), o.statement_id) < (coalesce(s.accepted_at, s.received_at), s.statement_id), "
        "coalesce(o.opening_minor + o.entries_minor = o.closing_minor, false) FROM statement s "
        "JOIN statement o ON o.tenant_id = s.tenant_id AND o.bank_account_id = s.bank_account_id AND o.role = s.role "
        "AND o.last_day >= s.first_day AND o.first_day <= s.last_day AND (o.verdict <> 'rejected' OR o.statement_id = s.statement_id) "
        "WHERE s.tenant_id = :tenant AND s.statement_id = :id AND s.role = 'statement' ORDER BY o.statement_id <> s.statement_id",
        tenant=tenant_id,
        id=statement_id,
    )
    if not all(row[6] for row in rows):
        return []
    return [Balances(row[0], row[1], [(date.fromisoformat(day), Day(*moved)) for day, *moved in row[2]], *row[3:6]) for row in rows]


async def put_slices(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, slices: Sequence[tuple[int, bytes]]) -> None:
    """Keeps transactions that wait."""
    if slices:
        await run(
            conn,
            "INSERT INTO statement_slice (tenant_id, statement_id, slice, transactions) SELECT :tenant, :id, number, body "
            "FROM unnest(CAST(:numbers AS bigint[]), CAST(:bodies AS bytea[])) AS t(number, body)",
            tenant=tenant_id,
            id=statement_id,
            numbers=[number for number, _ in slices],
            bodies=[body for _, body in slices],
        )


async def take_slice(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, *, below: int | None = None) -> bytes | None:
    """The next slice of a statement, which is gone with it; None when none is left. `below`: the next one with a lower number that nobody
    else is at.
    """
    which = "" if below is None else "AND slice < :below "
    rows = await fetch(
        conn,
        "DELETE FROM statement_slice WHERE tenant_id = :tenant AND statement_id = :id AND slice = (SELECT slice FROM statement_slice "  # noqa: S608 - ours
        f"WHERE tenant_id = :tenant AND statement_id = :id {which}ORDER BY slice LIMIT 1{' FOR UPDATE SKIP LOCKED' if which else ''}) "
        "RETURNING transactions",
        tenant=tenant_id,
        id=statement_id,
        **({} if below is None else {"below": below}),
    )
    return bytes(rows[0][0]) if rows else None


async def slices(conn: AsyncConnection, tenant_id: UUID) -> list[tuple[UUID, int]]:
    """The slices of a tenant that wait: statement and number."""
    rows = await fetch(
        conn, "SELECT statement_id, slice FROM statement_slice WHERE tenant_id = :tenant ORDER BY statement_id, slice", tenant=tenant_id
    )
    return [(row[0], row[1]) for row in rows]


async def hold_slice(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, number: int) -> bytes | None:
    """A slice, locked; None where it is gone."""
    rows = await fetch(
        conn,
        "SELECT transactions FROM statement_slice WHERE tenant_id = :tenant AND statement_id = :id AND slice = :slice FOR UPDATE",
        tenant=tenant_id,
        id=statement_id,
        slice=number,
    )
    return bytes(rows[0][0]) if rows else None


async def put_back(conn: AsyncConnection, tenant_id: UUID, statement_id: UUID, number: int, body: bytes) -> None:
    """Replaces what a slice holds."""
    await run(
        conn,
        "UPDATE statement_slice SET transactions = :body WHERE tenant_id = :tenant AND statement_id = :id AND slice = :slice",
        tenant=tenant_id,
        id=statement_id,
        slice=number,
        body=body,
    )
