"""Settlements beside the bank as they stand, and the payment that cash is."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Payment
from matching.domain.proofs import proof_key
from matching.storage.account_balances import ASKED_ALL
from matching.storage.rows import found


@dataclass(slots=True)
class Settlement:
    """A settlement as it stands. `lines`: (item, minor units)."""

    settlement_id: UUID
    entity_id: UUID
    customer_id: UUID
    kind: str
    currency: str
    amount_minor: int
    lines: list[tuple[UUID, int]]
    proof_reference: str
    proof_sha256: str | None
    value_date: date
    status: str
    payment_id: UUID | None
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


LISTED = (
    "SELECT settlement_id AS at, * FROM settlement WHERE tenant_id = :tenant AND (CAST(:status AS text) IS NULL OR status = :status) "  # noqa: S608 - ours
    f"AND (CAST(:customer_id AS uuid) IS NULL OR customer_id IN {ASKED_ALL})"
)
_COLUMNS = (
    "settlement_id, entity_id, customer_id, kind, currency, amount_minor, CAST(lines AS text), proof_reference, proof_sha256, value_date, "
    "status, payment_id, requested_by, decided_by, requested_at, decided_at"
)


async def insert(conn: AsyncConnection, tenant_id: UUID, given: Settlement) -> bool:
    """Stores a settlement that is asked for; returns whether its proof is new to the entity."""
    return bool(
        await run(
            conn,
            "INSERT INTO settlement (tenant_id, settlement_id, entity_id, customer_id, kind, currency, amount_minor, lines, "
            "proof_reference, proof_key, proof_sha256, value_date, status, requested_by, requested_at) VALUES (:tenant, :id, :entity, "
            ":customer, :kind, :currency, :amount, CAST(:lines AS jsonb), :proof, :key, :sha256, :value_date, 'requested', :by, :now) "
            "ON CONFLICT DO NOTHING",
            tenant=tenant_id,
            id=given.settlement_id,
            entity=given.entity_id,
            customer=given.customer_id,
            kind=given.kind,
            currency=given.currency,
            amount=given.amount_minor,
            lines=json.dumps([{"item_id": str(item), "amount_minor": amount} for item, amount in given.lines]),
            proof=given.proof_reference,
            key=proof_key(given.proof_reference),
            sha256=given.proof_sha256,
            value_date=given.value_date,
            by=given.requested_by,
            now=given.requested_at,
        )
    )


async def find(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, lock: bool = False) -> Settlement | None:
    """A settlement, locked where it is about to change; None where there is none."""
    query = f"SELECT {_COLUMNS} FROM settlement WHERE tenant_id = :tenant AND settlement_id = :id"  # noqa: S608 - ours
    row = await found(conn, query, lock=lock, tenant=tenant_id, id=settlement_id)
    if row is None:
        return None
    given = Settlement(*row)
    given.lines = [(UUID(line["item_id"]), line["amount_minor"]) for line in json.loads(row[6])]
    return given


async def save(conn: AsyncConnection, tenant_id: UUID, given: Settlement) -> None:
    """Writes a settlement's status, payment and who decided."""
    await run(
        conn,
        "UPDATE settlement SET status = :status, decided_by = :by, decided_at = :at, payment_id = :payment "
        "WHERE tenant_id = :tenant AND settlement_id = :id",
        tenant=tenant_id,
        id=given.settlement_id,
        status=given.status,
        payment=given.payment_id,
        by=given.decided_by,
        at=given.decided_at,
    )


async def insert_cash(conn: AsyncConnection, payment: Payment, key: str, *, at: datetime, now: datetime) -> None:
    """Stores a payment in cash under its transaction key, with its ledger entry. `at`: the machine's clock, `now` the business moment."""
    await run(
        conn,
        "WITH new AS (INSERT INTO payment (tenant_id, payment_id, version, bank_account_id, entity_id, transaction_key, currency, "
        "amount_minor, unapplied_minor, booking_date, value_date, confirmation, source, status, remittance, received_at) VALUES (:tenant, "
        ":id, 1, :account, :entity, :key, :currency, :amount, :amount, :day, :day, 'booked', 'cash', 'received', '{}', :at) "
        "RETURNING tenant_id, entity_id, currency, amount_minor, payment_id) "
        "INSERT INTO ledger_entry (tenant_id, entity_id, currency, debit, credit, amount_minor, payment_id, at) "
        "SELECT tenant_id, entity_id, currency, 'cash', 'unapplied', amount_minor, payment_id, :now FROM new",
        tenant=payment.tenant_id,
        id=payment.payment_id,
        account=payment.bank_account_id,
        entity=payment.entity_id,
        key=key,
        currency=payment.currency,
        amount=payment.amount_minor,
        day=payment.booking_date,
        at=at,
        now=now,
    )
