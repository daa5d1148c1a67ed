"""The rows of what leaves the house: planned, sending, and what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.db import arrays, fetch, run, unnest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Row[Any]]


_PLANNED = "state = 'planned' AND attempt_at <= {machine}"
DUE = (
    f"EXISTS (SELECT 1 FROM dispatch WHERE tenant_id = t.tenant_id AND {_PLANNED.format(machine=':machine')}) "  # noqa: S608 - our own text
    "OR EXISTS (SELECT 1 FROM dispatch WHERE tenant_id = t.tenant_id AND state = 'sending')"
)
"""For `Job.due`: a mail may leave, or is leaving, and its sender may never come back."""


async def waiting(conn: AsyncConnection, tenant_id: UUID, machine_now: datetime) -> bool:
    """Whether there is a planned mail whose time has come."""
    return bool(
        await fetch(
            conn,
            f"SELECT 1 FROM dispatch WHERE tenant_id = :tenant AND {_PLANNED.format(machine=':now')} LIMIT 1",  # noqa: S608 - our own text
            tenant=tenant_id,
            now=machine_now,
        )
    )


async def next_planned(conn: AsyncConnection, tenant_id: UUID, machine_now: datetime, limit: int) -> Rows:
    """The next planned mails whose time has come, locked, with their decisions; `survivor_id` stands for the customer now."""
    return await fetch(
        conn,
        "SELECT p.reminder_id, p.recipient, p.mail, p.attempts, d.day, d.entity_id, d.customer_id, d.currency, d.inputs, d.asked, "  # noqa: S608 - our own text
        f"{survivor('d.tenant_id', 'd.customer_id')} AS survivor_id FROM dispatch p JOIN decision d USING (tenant_id, reminder_id) "
        "WHERE p.tenant_id = :tenant AND p.state = 'planned' AND p.attempt_at <= :now "
        "ORDER BY p.attempt_at, p.reminder_id LIMIT :limit FOR UPDATE OF p SKIP LOCKED",
        tenant=tenant_id,
        now=machine_now,
        limit=limit,
    )


async def copies(conn: AsyncConnection, tenant_id: UUID, invoices: Iterable[UUID]) -> Rows:
    """The readable copies of some invoices, where there are any: invoice, number and SHA-256."""
    return await fetch(
        conn,
        "SELECT v.invoice_id, i.invoice_number, v.copy_sha256 FROM invoice v "
        "JOIN item i ON (i.tenant_id, i.item_id) = (v.tenant_id, v.invoice_id) "
        "WHERE v.tenant_id = :tenant AND v.invoice_id = ANY(CAST(:invoices AS uuid[])) AND v.copy_sha256 IS NOT NULL ORDER BY 2, 3",
        tenant=tenant_id,
        invoices=sorted(invoices),
    )


async def claim(conn: AsyncConnection, tenant_id: UUID, reminder_ids: Sequence[UUID], machine_now: datetime) -> None:
    """Notes that mails are about to leave."""
    await run(
        conn,
        "UPDATE dispatch SET state = 'sending', attempts = attempts + 1, claimed_at = :now "
        "WHERE tenant_id = :tenant AND reminder_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(reminder_ids),
        now=machine_now,
    )


async def note(conn: AsyncConnection, tenant_id: UUID, rows: Sequence[tuple[UUID, str, str, datetime | None]], sent_at: datetime) -> Rows:
    """What became of mails that were leaving: (reminder, state, detail, when to try again). Returns those it holds for.

    `sent` and `failed` hold for one in doubt too; whatever was sent, failed or withdrawn before stays so.
    """
    columns = {"reminder_id": "uuid", "state": "text", "detail": "text", "attempt_at": "timestamptz"}
    return await fetch(
        conn,
        "WITH held AS (SELECT reminder_id FROM dispatch WHERE tenant_id = :tenant AND reminder_id = ANY(CAST(:reminder_id AS uuid[])) "  # noqa: S608 - our own column names
        "ORDER BY reminder_id FOR UPDATE) "
        "UPDATE dispatch p SET state = t.state, detail = t.detail, attempt_at = coalesce(t.attempt_at, p.attempt_at), "
        "claimed_at = CASE WHEN t.state <> 'planned' THEN p.claimed_at END, "
        "sent_at = CASE WHEN t.state = 'sent' THEN :now ELSE p.sent_at END, told = p.told + CAST(t.state = 'sent' AS int) "
        f"FROM held JOIN {unnest(columns)} USING (reminder_id) JOIN decision d ON d.tenant_id = :tenant AND d.reminder_id = t.reminder_id "
        "WHERE p.tenant_id = :tenant AND p.reminder_id = t.reminder_id "
        "AND (p.state = 'sending' OR (p.state = 'in_doubt' AND t.state IN ('sent', 'failed'))) "
        "RETURNING p.reminder_id, p.state, p.customer_id, p.interest_minor, p.compensation_minor, p.sent_at, "
        "d.entity_id, d.step, d.level, d.currency, d.asked, d.gate_through",
        tenant=tenant_id,
        now=sent_at,
        **arrays(rows, list(columns)),
    )


async def doubt_old(conn: AsyncConnection, tenant_id: UUID, claimed_before: datetime) -> int:
    """Mails whose sender never came back: in doubt, for a person to look at. Returns how many."""
    return await run(
        conn,
        "UPDATE dispatch SET state = 'in_doubt', detail = 'the process that sent it never told how it went' "
        "WHERE tenant_id = :tenant AND state = 'sending' AND claimed_at < :before",
        tenant=tenant_id,
        before=claimed_before,
    )


async def withdraw(conn: AsyncConnection, tenant_id: UUID, reasons: Mapping[UUID, str]) -> None:
    """Mails that are not to leave, by why: their levels are free again, their decisions say the reason."""
    columns = {"reminder_id": "uuid", "reason": "text"}
    values = {"tenant": tenant_id, **arrays(sorted(reasons.items()), list(columns))}
    where = f"FROM {unnest(columns)} WHERE tenant_id = :tenant AND x.reminder_id = t.reminder_id"
    await run(conn, f"UPDATE dispatch x SET state = 'withdrawn', detail = t.reason {where}", **values)  # noqa: S608 - our own column names
    await run(conn, f"UPDATE decision x SET outcome = 'withdrawn', reason = t.reason {where}", **values)  # noqa: S608 - our own column names
    await run(
        conn,
        "DELETE FROM level_reached WHERE tenant_id = :tenant AND reminder_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(reasons),
    )


async def withdraw_stale(conn: AsyncConnection, tenant_id: UUID, today: date) -> None:
    """Withdraws mails planned on a day before: what they rest on is no longer fresh; the run of today decides anew."""
    rows = await fetch(
        conn,
        "SELECT p.reminder_id FROM dispatch p JOIN decision d USING (tenant_id, reminder_id) "
        "WHERE p.tenant_id = :tenant AND p.state = 'planned' AND d.day < :today ORDER BY p.reminder_id FOR UPDATE OF p",
        tenant=tenant_id,
        today=today,
    )
    if rows:
        await withdraw(conn, tenant_id, {row.reminder_id: "not_sent_in_time" for row in rows})


async def get(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID) -> Row[Any] | None:
    """One mail, locked."""
    rows = await fetch(
        conn,
        "SELECT reminder_id, state FROM dispatch WHERE tenant_id = :tenant AND reminder_id = :id FOR UPDATE",
        tenant=tenant_id,
        id=reminder_id,
    )
    return rows[0] if rows else None


async def forget(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> None:
    """Withdraws a customer's planned mails, and erases text, recipient and the server's words of all, and notes on promises."""
    rows = await fetch(
        conn,
        "SELECT reminder_id, state FROM dispatch WHERE tenant_id = :tenant AND customer_id = :customer ORDER BY reminder_id FOR UPDATE",
        tenant=tenant_id,
        customer=customer_id,
    )
    if planned := [row.reminder_id for row in rows if row.state == "planned"]:
        await withdraw(conn, tenant_id, dict.fromkeys(planned, "erased"))
    await run(
        conn,
        "UPDATE dispatch SET mail = '', recipient = '', detail = CASE state WHEN 'withdrawn' THEN detail END "
        "WHERE tenant_id = :tenant AND customer_id = :customer",
        tenant=tenant_id,
        customer=customer_id,
    )
    await run(
        conn,
        "UPDATE promise SET decision = decision - 'reason' WHERE tenant_id = :tenant AND customer_id = :customer AND decision ? 'reason'",
        tenant=tenant_id,
        customer=customer_id,
    )
