"""The rows of what leaves the house: planned, sending, and what became of it."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import fetch, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Row[Any]]


async def next_planned(conn: AsyncConnection, tenant_id: UUID, machine_now: datetime) -> Row[Any] | None:
    """The next planned mail whose time has come, locked, with its decision."""
    rows = await fetch(
        conn,
        "SELECT p.reminder_id, p.recipient, p.mail, p.attempts, d.day, d.entity_id, d.customer_id, d.currency, d.inputs, d.asked "
        "FROM dispatch p JOIN decision d USING (tenant_id, reminder_id) "
        "WHERE p.tenant_id = :tenant AND p.state = 'planned' AND p.attempt_at <= :now "
        "ORDER BY p.attempt_at, p.reminder_id LIMIT 1 FOR UPDATE OF p SKIP LOCKED",
        tenant=tenant_id,
        now=machine_now,
    )
    return rows[0] if rows else None


async def copies(conn: AsyncConnection, tenant_id: UUID, invoices: Sequence[UUID]) -> Rows:
    """The readable copies of some invoices, where there are any: number and SHA-256."""
    return await fetch(
        conn,
        "SELECT DISTINCT i.invoice_number, v.copy_sha256 FROM invoice v "
        "JOIN item i ON (i.tenant_id, i.item_id) = (v.tenant_id, v.invoice_id) "
        "WHERE v.tenant_id = :tenant AND v.invoice_id = ANY(CAST(:invoices AS uuid[])) AND v.copy_sha256 IS NOT NULL ORDER BY 1, 2",
        tenant=tenant_id,
        invoices=list(invoices),
    )


async def claim(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, machine_now: datetime) -> None:
    """Notes that a mail is about to leave."""
    await run(
        conn,
        "UPDATE dispatch SET state = 'sending', attempts = attempts + 1, claimed_at = :now WHERE tenant_id = :tenant AND reminder_id = :id",
        tenant=tenant_id,
        id=reminder_id,
        now=machine_now,
    )


async def give_back(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, attempt_at: datetime, detail: str) -> None:
    """A mail that did not leave: to be tried again."""
    await run(
        conn,
        "UPDATE dispatch SET state = 'planned', attempt_at = :at, claimed_at = NULL, detail = :detail "
        "WHERE tenant_id = :tenant AND reminder_id = :id AND state = 'sending'",
        tenant=tenant_id,
        id=reminder_id,
        at=attempt_at,
        detail=detail,
    )


async def end(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, state: str, detail: str, *, before: Sequence[str]) -> bool:
    """`failed` or `in_doubt`, from one of the states before; False where it was in none of them."""
    return bool(
        await run(
            conn,
            "UPDATE dispatch SET state = :state, detail = :detail WHERE tenant_id = :tenant AND reminder_id = :id "
            "AND state = ANY(CAST(:before AS text[]))",
            tenant=tenant_id,
            id=reminder_id,
            state=state,
            detail=detail,
            before=list(before),
        )
    )


async def mark_sent(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, sent_at: datetime, detail: str) -> Row[Any] | None:
    """A mail that left: once. Returns it with its decision, None where it was sent, failed or withdrawn before."""
    rows = await fetch(
        conn,
        "UPDATE dispatch p SET state = 'sent', sent_at = :now, told = told + 1, detail = :detail FROM decision d "
        "WHERE p.tenant_id = :tenant AND p.reminder_id = :id AND p.state IN ('sending', 'in_doubt') "
        "AND (d.tenant_id, d.reminder_id) = (p.tenant_id, p.reminder_id) "
        "RETURNING p.reminder_id, p.customer_id, p.interest_minor, p.compensation_minor, p.sent_at, "
        "d.entity_id, d.step, d.level, d.currency, d.asked, d.gate_through",
        tenant=tenant_id,
        id=reminder_id,
        now=sent_at,
        detail=detail,
    )
    return rows[0] if rows else None


async def doubt_old(conn: AsyncConnection, tenant_id: UUID, claimed_before: datetime) -> int:
    """Mails whose sender never came back: in doubt, for a person to look at. Returns how many."""
    return await run(
        conn,
        "UPDATE dispatch SET state = 'in_doubt', detail = 'the process that sent it never told how it went' "
        "WHERE tenant_id = :tenant AND state = 'sending' AND claimed_at < :before",
        tenant=tenant_id,
        before=claimed_before,
    )


async def withdraw(conn: AsyncConnection, tenant_id: UUID, reminder_ids: Sequence[UUID], reason: str) -> None:
    """Mails that are not to leave: their levels are free again, their decisions say why."""
    values = {"tenant": tenant_id, "ids": list(reminder_ids), "reason": reason}
    where = "WHERE tenant_id = :tenant AND reminder_id = ANY(CAST(:ids AS uuid[]))"
    await run(conn, f"UPDATE dispatch SET state = 'withdrawn', detail = :reason {where}", **values)  # noqa: S608 - our own column names
    await run(conn, f"UPDATE decision SET outcome = 'withdrawn', reason = :reason {where}", **values)  # noqa: S608 - our own column names
    await run(conn, f"DELETE FROM level_reached {where}", tenant=tenant_id, ids=list(reminder_ids))  # noqa: S608 - our own text


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
        await withdraw(conn, tenant_id, [row.reminder_id for row in rows], "not_sent_in_time")


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
        await withdraw(conn, tenant_id, planned, "erased")
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
