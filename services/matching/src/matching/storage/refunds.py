"""Refunds as they stand, and the files for the bank that they are in."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.rows import fetch, found


@dataclass(slots=True)
class Refund:
    """A refund as it stands. `bank_reason`: why the bank refused it, where its report said so."""

    refund_id: UUID
    payment_id: UUID
    entity_id: UUID
    bank_account_id: UUID
    currency: str
    amount_minor: int
    reason: str
    creditor_name: str
    creditor_iban: str
    end_to_end_id: str
    status: str
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None
    refund_file_id: UUID | None
    bank_reason: str | None = None


LISTED = (
    "SELECT refund_id AS at, * FROM refund WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status) "
    "AND (CAST(:payment_id AS uuid) IS NULL OR payment_id = :payment_id)"
)
_COLUMNS = (
    "refund_id, payment_id, entity_id, bank_account_id, currency, amount_minor, reason, creditor_name, creditor_iban, end_to_end_id, "
    "status, requested_by, decided_by, requested_at, decided_at, refund_file_id, bank_reason"
)


async def find(conn: AsyncConnection, tenant_id: UUID, refund_id: UUID, *, lock: bool = False) -> Refund | None:
    """A refund, locked where it is about to change; None where there is none."""
    query = f"SELECT {_COLUMNS} FROM refund WHERE tenant_id = :tenant AND refund_id = :id"  # noqa: S608 - ours
    row = await found(conn, query, lock=lock, tenant=tenant_id, id=refund_id)
    return Refund(*row) if row else None


async def payer_of(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID) -> tuple[str | None, str | None, bool]:
    """Name and IBAN that a payment came from, and whether it came on a bank account."""
    ((name, iban, on_account),) = await fetch(
        conn,
        "SELECT debtor_name, debtor_iban, EXISTS (SELECT 1 FROM bank_account b WHERE b.tenant_id = p.tenant_id "
        "AND b.bank_account_id = p.bank_account_id) FROM payment p WHERE tenant_id = :tenant AND payment_id = :id",
        tenant=tenant_id,
        id=payment_id,
    )
    return name, iban, on_account


async def insert(conn: AsyncConnection, tenant_id: UUID, given: Refund) -> None:
    """Stores a refund that is asked for."""
    await run(
        conn,
        f"INSERT INTO refund (tenant_id, {_COLUMNS}) VALUES (:tenant, :id, :payment, :entity, :account, :currency, :amount, :reason, "  # noqa: S608 - ours
        ":name, :iban, :e2e, :status, :by, NULL, :now, NULL, NULL, NULL)",
        tenant=tenant_id,
        id=given.refund_id,
        payment=given.payment_id,
        entity=given.entity_id,
        account=given.bank_account_id,
        currency=given.currency,
        amount=given.amount_minor,
        reason=given.reason,
        name=given.creditor_name,
        iban=given.creditor_iban,
        e2e=given.end_to_end_id,
        status=given.status,
        by=given.requested_by,
        now=given.requested_at,
    )


async def save(conn: AsyncConnection, tenant_id: UUID, given: Refund) -> None:
    """Writes a refund's status and who decided."""
    await run(
        conn,
        "UPDATE refund SET status = :status, decided_by = :by, decided_at = :at WHERE tenant_id = :tenant AND refund_id = :id",
        tenant=tenant_id,
        id=given.refund_id,
        status=given.status,
        by=given.decided_by,
        at=given.decided_at,
    )


async def set_status(conn: AsyncConnection, tenant_id: UUID, refunds: Collection[UUID], status: str, *, file: UUID | None = None) -> None:
    """Changes the status of refunds; `file`: that they are in now."""
    await run(
        conn,
        "UPDATE refund SET status = :status, refund_file_id = coalesce(:file, refund_file_id) "
        "WHERE tenant_id = :tenant AND refund_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        status=status,
        file=file,
        ids=list(refunds),
    )


async def cancel_approved(
    conn: AsyncConnection, tenants: Collection[UUID], payments: Collection[UUID]
) -> list[tuple[UUID, UUID, UUID, int]]:
    """Takes back the approved refunds of payments; returns them: tenant, payment, refund, amount."""
    rows = await fetch(
        conn,
        "UPDATE refund SET status = 'cancelled' WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND payment_id = ANY(CAST(:ids AS uuid[])) "
        "AND status = 'approved' RETURNING tenant_id, payment_id, refund_id, amount_minor",
        tenants=sorted(tenants),
        ids=list(payments),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def sendable(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, limit: int) -> list[Refund]:
    """Approved refunds of payments that an account's bank has booked, and of which no return waits to be explained, nor a debit that names
    the refund; locked.
    """
    rows = await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM refund WHERE tenant_id = :tenant AND bank_account_id = :account AND status = 'approved' "  # noqa: S608 - ours
        "AND EXISTS (SELECT 1 FROM payment p WHERE p.tenant_id = refund.tenant_id AND p.payment_id = refund.payment_id "
        "AND p.confirmation = 'booked' AND NOT EXISTS (SELECT 1 FROM movement m WHERE m.tenant_id = p.tenant_id "
        "AND m.bank_account_id = p.bank_account_id AND NOT m.resolved AND m.amount_minor < 0 "
        "AND (m.end_to_end_id = refund.end_to_end_id OR "
        "m.kind = 'return' AND (m.end_to_end_id = p.end_to_end_id OR m.bank_reference = p.bank_reference)))) "
        "ORDER BY refund_id LIMIT :limit FOR UPDATE",
        tenant=tenant_id,
        account=bank_account_id,
        limit=limit,
    )
    return [Refund(*row) for row in rows]


async def named(
    conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, ends: Collection[str], *, lock: bool = False
) -> list[Refund]:
    """An account's refunds by their EndToEndIds, locked where they are about to change."""
    rows = await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM refund WHERE tenant_id = :tenant AND bank_account_id = :account "  # noqa: S608 - ours
        "AND end_to_end_id = ANY(CAST(:ends AS text[])) ORDER BY refund_id" + (" FOR UPDATE" if lock else ""),
        tenant=tenant_id,
        account=bank_account_id,
        ends=list(ends),
    )
    return [Refund(*row) for row in rows]


async def of_amounts(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, amounts: Collection[int]) -> list[Refund]:
    """An account's refunds of these amounts that the bank may still move money for: not refused, cancelled or returned."""
    rows = await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM refund WHERE tenant_id = :tenant AND bank_account_id = :account "  # noqa: S608 - ours
        "AND status IN ('requested', 'approved', 'sent', 'paid') AND amount_minor = ANY(CAST(:amounts AS bigint[])) ORDER BY refund_id",
        tenant=tenant_id,
        account=bank_account_id,
        amounts=list(amounts),
    )
    return [Refund(*row) for row in rows]


async def files_of_sums(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, amounts: Collection[int]) -> dict[UUID, int]:
    """An account's files with several refunds that are sent, and none that is booked by itself, whose sum is one of these."""
    rows = await fetch(
        conn,
        "SELECT refund_file_id, CAST(sum(amount_minor) FILTER (WHERE status = 'sent') AS bigint) FROM refund WHERE tenant_id = :tenant "
        "AND bank_account_id = :account AND refund_file_id IS NOT NULL GROUP BY refund_file_id "
        "HAVING CAST(sum(amount_minor) FILTER (WHERE status = 'sent') AS bigint) = ANY(CAST(:amounts AS bigint[])) "
        "AND count(*) FILTER (WHERE status = 'sent') > 1 AND bool_and(status IN ('sent', 'cancelled')) ORDER BY refund_file_id",
        tenant=tenant_id,
        account=bank_account_id,
        amounts=list(amounts),
    )
    return {row[0]: row[1] for row in rows}


async def reported(conn: AsyncConnection, tenant_id: UUID, file_id: UUID | None, ends: Collection[str]) -> list[Refund]:
    """The refunds that a bank's report may be about: those of the file, else those that were in some file, by their EndToEndIds."""
    rows = await fetch(
        conn,
        f"SELECT {_COLUMNS} FROM refund WHERE tenant_id = :tenant AND refund_file_id IS NOT NULL AND CASE "  # noqa: S608 - ours
        "WHEN CAST(:file AS uuid) IS NULL THEN end_to_end_id = ANY(CAST(:ends AS text[])) ELSE refund_file_id = :file END "
        "ORDER BY refund_id",
        tenant=tenant_id,
        file=file_id,
        ends=list(ends),
    )
    return [Refund(*row) for row in rows]


async def refuse(
    conn: AsyncConnection, tenant_id: UUID, reasons: Mapping[UUID, str], *, by: str, now: datetime
) -> list[tuple[UUID, UUID, int]]:
    """Sent refunds are cancelled, for the bank refused them; returns those that were still sent: payment, refund, amount."""
    rows = await fetch(
        conn,
        "UPDATE refund SET status = 'cancelled', bank_reason = t.reason, decided_by = :by, decided_at = :now "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS t(id, reason) "
        "WHERE tenant_id = :tenant AND refund_id = t.id AND status = 'sent' RETURNING payment_id, refund_id, amount_minor",
        tenant=tenant_id,
        ids=list(reasons),
        reasons=list(reasons.values()),
        by=by,
        now=now,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def file_between(conn: AsyncConnection, tenant_id: UUID, first: UUID, last: UUID) -> UUID | None:
    """The one file for the bank whose id is between two, which are included; None where there is none."""
    rows = await fetch(
        conn,
        "SELECT refund_file_id FROM refund_file WHERE tenant_id = :tenant AND refund_file_id BETWEEN :first AND :last LIMIT 2",
        tenant=tenant_id,
        first=first,
        last=last,
    )
    return rows[0][0] if len(rows) == 1 else None


async def insert_file(
    conn: AsyncConnection,
    tenant_id: UUID,
    file_id: UUID,
    bank_account_id: UUID,
    content: bytes,
    refunds: Sequence[Refund],
    *,
    execution: date,
    by: str,
    now: datetime,
) -> None:
    """Keeps a file for the bank as it was written."""
    await run(
        conn,
        "INSERT INTO refund_file (tenant_id, refund_file_id, bank_account_id, content, sha256, refunds, amount_minor, execution_date, "
        "created_by, created_at) VALUES (:tenant, :id, :account, :content, :sha256, :refunds, :amount, :execution, :by, :now)",
        tenant=tenant_id,
        id=file_id,
        account=bank_account_id,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        refunds=len(refunds),
        amount=sum(one.amount_minor for one in refunds),
        execution=execution,
        by=by,
        now=now,
    )


async def file_content(conn: AsyncConnection, tenant_id: UUID, file_id: UUID) -> bytes | None:
    """A file for the bank; None where there is none."""
    rows = await fetch(
        conn, "SELECT content FROM refund_file WHERE tenant_id = :tenant AND refund_file_id = :id", tenant=tenant_id, id=file_id
    )
    return bytes(rows[0][0]) if rows else None
