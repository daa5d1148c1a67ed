"""Our own bank accounts and virtual IBANs: their states, each with the event that tells of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID

from contracts.accounts import CollectionAccountChanged, VirtualIbanAssigned, VirtualIbanReleased, VirtualIbanState
from shared.db import run
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from shared.web.idempotency import erase_answers
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage import bank
from matching.storage.bank import BankAccount
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


async def put_account(
    conn: AsyncConnection,
    tenant_id: UUID,
    number: str,
    *,
    entity_id: UUID,
    currency: str,
    holder_name: str,
    start_date: date,
    bank_id: str | None = None,
) -> BankAccount | None:
    """The account as it is after the command; unchanged ones publish nothing. None where entity, currency or bank would change.

    `number` is its IBAN; with a `bank_id`, that bank's own number.
    """
    iban = number if bank_id is None else None
    wanted = BankAccount(
        tenant_id,
        named_id("bank_account", tenant_id, number),
        1,
        entity_id,
        iban,
        currency,
        holder_name,
        start_date,
        "active",
        number,
        bank_id,
    )
    await bank.hold_account(conn, wanted.bank_account_id, alone=True)
    held = await bank.account(conn, tenant_id, number, lock=True)
    if held is not None:
        if (held.entity_id, held.currency, held.bank_id) != (entity_id, currency, bank_id):
            return None
        if replace(wanted, version=held.version) == held:
            return held
        wanted = replace(wanted, version=held.version + 1)
    await bank.put_account(conn, wanted)
    event = CollectionAccountChanged(
        version=wanted.version,
        bank_account_id=wanted.bank_account_id,
        iban=iban,
        currency=currency,
        holder_name=holder_name,
        start_date=start_date,
        status="active",
        number=None if iban else number,
        bank_id=bank_id,
    )
    await publish(conn, [Outgoing(tenant_id, event, entity_id)])
    return wanted


async def add_to_pool(conn: AsyncConnection, tenant_id: UUID, iban: str, ibans: Sequence[str]) -> int | None:
    """Adds virtual IBANs to an account's pool; returns how many were new, None for an unknown account."""
    held = await bank.account(conn, tenant_id, iban)
    if held is None:
        return None
    return await run(
        conn,
        "INSERT INTO virtual_iban (tenant_id, virtual_iban_id, version, bank_account_id, iban, status) "
        "SELECT :tenant, id, 0, :account, iban, 'pool' FROM unnest(CAST(:ids AS uuid[]), CAST(:ibans AS text[])) AS t(id, iban) "
        "ORDER BY id ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        account=held.bank_account_id,
        ids=[named_id("virtual_iban", tenant_id, one) for one in ibans],
        ibans=list(ibans),
    )


_RETURNING = (
    "RETURNING virtual_iban.virtual_iban_id, virtual_iban.iban, virtual_iban.bank_account_id, virtual_iban.customer_id, "
    "virtual_iban.invoice_id, virtual_iban.holder_name, virtual_iban.status, virtual_iban.version, "
    "(SELECT a.entity_id FROM bank_account a WHERE a.tenant_id = virtual_iban.tenant_id "
    "AND a.bank_account_id = virtual_iban.bank_account_id)"
)


async def assign(
    conn: AsyncConnection,
    tenant_id: UUID,
    bank_account_id: UUID,
    *,
    customer_id: UUID | None,
    invoice_id: UUID | None,
    holder_name: str,
    quarantine_days: int,
    now: datetime,
) -> VirtualIban | None:
    """Gives the next free virtual IBAN of an account's pool away; None where there is none.

    One that was released is given to its former party again at once, to another only after the quarantine: money of the
    former party may still come on it. So it is taken where no fresh one is left.
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
        rested=now - timedelta(days=quarantine_days),
        tenant=tenant_id,
        account=bank_account_id,
        customer=customer_id,
        invoice=invoice_id,
        holder=holder_name,
    )
    if not rows:
        return None
    given = VirtualIban(*rows[0])
    await publish(conn, [Outgoing(tenant_id, _event(VirtualIbanAssigned, given, "assigned"), given.entity_id)])
    return given


async def reassign(conn: AsyncConnection, names: Sequence[tuple[UUID, UUID, UUID]]) -> None:
    """Assigned virtual IBANs name these invoices from now on: (tenant, virtual IBAN, invoice)."""
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
    given = [(row[-1], VirtualIban(*row[:-1])) for row in rows]
    await publish(conn, [Outgoing(tenant, _event(VirtualIbanAssigned, one, "assigned"), one.entity_id) for tenant, one in given])


async def forget_holders(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """Virtual IBANs of erased customers bear the name of the account that they belong to, which is who is paid by them."""
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
    events = []
    for *one, tenant in rows:
        given = VirtualIban(*one)
        cls, status = _TOLD[given.status]
        events.append(Outgoing(tenant, _event(cls, given, status), given.entity_id))
        await erase_answers(conn, tenant, str(given.virtual_iban_id))
    await publish(conn, events)


async def release(conn: AsyncConnection, tenant_id: UUID, virtual_iban_id: UUID, *, now: datetime) -> VirtualIban | None:
    """Takes a virtual IBAN back; None where it is not assigned. It rests: money may still come on it."""
    rows = await fetch(
        conn,
        "UPDATE virtual_iban SET status = 'released', version = version + 1, released_at = :now "  # noqa: S608 - ours
        f"WHERE tenant_id = :tenant AND virtual_iban_id = :id AND status = 'assigned' {_RETURNING}",
        tenant=tenant_id,
        id=virtual_iban_id,
        now=now,
    )
    if not rows:
        return None
    given = VirtualIban(*rows[0])
    await publish(conn, [Outgoing(tenant_id, _event(VirtualIbanReleased, given, "released"), given.entity_id)])
    return given


_TOLD: dict[str, tuple[type[VirtualIbanState], Literal["assigned", "released"]]] = {
    "assigned": (VirtualIbanAssigned, "assigned"),
    "released": (VirtualIbanReleased, "released"),
}


def _event(cls: type[VirtualIbanState], given: VirtualIban, status: Literal["assigned", "released"]) -> VirtualIbanState:
    return cls(
        version=given.version,
        virtual_iban_id=given.virtual_iban_id,
        virtual_iban=given.virtual_iban,
        bank_account_id=given.bank_account_id,
        assigned_to="invoice" if given.invoice_id else "customer",
        customer_id=given.customer_id,
        invoice_id=given.invoice_id,
        holder_name=given.holder_name or "",
        status=status,
    )
