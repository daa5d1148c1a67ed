"""Virtual IBANs: whose each is, and until when it rests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.db import run
from shared.ids import named_id
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.account_balances import ASKED_ALL
from matching.storage.rows import fetch, keys


@dataclass(frozen=True, slots=True)
class VirtualIban:
    """A virtual IBAN and whose it is."""

    virtual_iban_id: UUID
    virtual_iban: str
    bank_account_id: UUID
    customer_id: UUID | None
    invoice_id: UUID | None
    holder_name: str | None
    status: Literal["pool", "assigned", "released"]
    version: int
    entity_id: UUID


LISTED = (
    "SELECT virtual_iban_id AS at, virtual_iban_id, iban AS virtual_iban, bank_account_id, customer_id, invoice_id, holder_name, "  # noqa: S608 - ours
    "status FROM virtual_iban WHERE tenant_id = :tenant "
    f"AND (CAST(:customer_id AS uuid) IS NULL OR customer_id IN {ASKED_ALL}) "
    "AND (CAST(:invoice_id AS uuid) IS NULL OR invoice_id = :invoice_id)"
)
_RETURNING = (
    "RETURNING virtual_iban.virtual_iban_id, virtual_iban.iban, virtual_iban.bank_account_id, virtual_iban.customer_id, "
    "virtual_iban.invoice_id, virtual_iban.holder_name, virtual_iban.status, virtual_iban.version, "
    "(SELECT a.entity_id FROM bank_account a WHERE a.tenant_id = virtual_iban.tenant_id "
    "AND a.bank_account_id = virtual_iban.bank_account_id)"
)


async def add(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, ibans: Sequence[str]) -> int:
    """Adds virtual IBANs to an account's pool; returns how many were new."""
    return await run(
        conn,
        "INSERT INTO virtual_iban (tenant_id, virtual_iban_id, version, bank_account_id, iban, status) "
        "SELECT :tenant, id, 0, :account, iban, 'pool' FROM unnest(CAST(:ids AS uuid[]), CAST(:ibans AS text[])) AS t(id, iban) "
        "ORDER BY id ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        account=bank_account_id,
        ids=[named_id("virtual_iban", tenant_id, one) for one in ibans],
        ibans=list(ibans),
    )


async def assign(
    conn: AsyncConnection,
    tenant_id: UUID,
    bank_account_id: UUID,
    *,
    customer_id: UUID | None,
    invoice_id: UUID | None,
    holder_name: str,
    rested: datetime,
) -> VirtualIban | None:
    """Gives the next free one of an account's pool away; None where there is none.

    One that was released is given to its former party again at once, to another only where it was released before `rested`, and
    only where no fresh one is left.
    """
    rows = await fetch(
        conn,
        "UPDATE virtual_iban SET status = 'assigned', version = version + 1, customer_id = :customer, invoice_id = :invoice, "  # noqa: S608 - ours
        "holder_name = :holder, released_at = NULL WHERE tenant_id = :tenant "
        "AND virtual_iban_id = (SELECT virtual_iban_id FROM virtual_iban WHERE tenant_id = :tenant AND bank_account_id = :account "
        "AND (status = 'pool' OR (status = 'released' "
        "AND (released_at < :rested OR customer_id = :customer OR invoice_id = :invoice))) "
        "ORDER BY customer_id IS NOT DISTINCT FROM :customer AND invoice_id IS NOT DISTINCT FROM :invoice DESC, status, virtual_iban_id "
        f"LIMIT 1 FOR UPDATE SKIP LOCKED) {_RETURNING}",
        rested=rested,
        tenant=tenant_id,
        account=bank_account_id,
        customer=customer_id,
        invoice=invoice_id,
        holder=holder_name,
    )
    return VirtualIban(*rows[0]) if rows else None


async def name_invoices(conn: AsyncConnection, names: Sequence[tuple[UUID, UUID, UUID]]) -> list[tuple[UUID, VirtualIban]]:
    """Assigned ones name these invoices from now on: (tenant, virtual IBAN, invoice). Returns those that changed, with their tenant."""
    rows = await fetch(
        conn,
        "WITH t AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:invoices AS uuid[])) "  # noqa: S608 - ours
        "AS t(tenant, id, invoice)) UPDATE virtual_iban SET version = version + 1, invoice_id = t.invoice FROM t "
        "WHERE virtual_iban.tenant_id = t.tenant AND virtual_iban.virtual_iban_id = t.id AND virtual_iban.status = 'assigned' "
        f"AND virtual_iban.invoice_id IS DISTINCT FROM t.invoice {_RETURNING}, virtual_iban.tenant_id",
        tenants=[row[0] for row in names],
        ids=[row[1] for row in names],
        invoices=[row[2] for row in names],
    )
    return [(row[-1], VirtualIban(*row[:-1])) for row in rows]


async def forget_holders(conn: AsyncConnection, customers: Sequence[Key]) -> list[tuple[UUID, VirtualIban]]:
    """Those of customers bear the name of the account that they belong to. Returns those that changed, with their tenant."""
    rows = await fetch(
        conn,
        "WITH erased AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, customer_id)), "  # noqa: S608 - ours
        "theirs AS (SELECT v.tenant_id, v.virtual_iban_id FROM erased e JOIN virtual_iban v USING (tenant_id, customer_id) UNION "
        "SELECT v.tenant_id, v.virtual_iban_id FROM erased e JOIN payment_instruction p USING (tenant_id, customer_id) "
        "JOIN virtual_iban v ON v.tenant_id = p.tenant_id AND v.virtual_iban_id = p.virtual_iban_id UNION "
        "SELECT v.tenant_id, v.virtual_iban_id FROM erased e JOIN open_item i ON i.tenant_id = e.tenant_id "
        "AND e.customer_id IN (i.customer_id, i.moved_from_customer_id) "
        "JOIN virtual_iban v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.item_id) "
        "UPDATE virtual_iban SET version = virtual_iban.version + 1, holder_name = b.holder_name FROM theirs t, bank_account b "
        "WHERE virtual_iban.tenant_id = t.tenant_id AND virtual_iban.virtual_iban_id = t.virtual_iban_id "
        "AND b.tenant_id = t.tenant_id AND b.bank_account_id = virtual_iban.bank_account_id "
        f"AND virtual_iban.holder_name <> b.holder_name {_RETURNING}, virtual_iban.tenant_id",
        **keys(customers),
    )
    return [(row[-1], VirtualIban(*row[:-1])) for row in rows]


async def release(conn: AsyncConnection, tenant_id: UUID, virtual_iban_id: UUID, *, now: datetime) -> VirtualIban | None:
    """Takes one back; None where it is not assigned."""
    rows = await fetch(
        conn,
        "UPDATE virtual_iban SET status = 'released', version = version + 1, released_at = :now "  # noqa: S608 - ours
        f"WHERE tenant_id = :tenant AND virtual_iban_id = :id AND status = 'assigned' {_RETURNING}",
        tenant=tenant_id,
        id=virtual_iban_id,
        now=now,
    )
    return VirtualIban(*rows[0]) if rows else None
