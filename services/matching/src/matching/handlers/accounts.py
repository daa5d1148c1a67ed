"""Our own bank accounts and virtual IBANs: their states, each with the event that tells of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID

from contracts.accounts import CollectionAccountChanged, VirtualIbanAssigned, VirtualIbanReleased, VirtualIbanState
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from shared.web.idempotency import erase_answers
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.handlers.refusals import refused
from matching.storage import bank, virtual_ibans
from matching.storage.bank import BankAccount
from matching.storage.expected_items import items_elsewhere
from matching.storage.virtual_ibans import VirtualIban


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

    `number` is its IBAN; with a `bank_id`, that bank's own number. Raises a 409 Problem for a virtual IBAN: whose money on it is would be
    unclear. The tenant is held, as by `add_to_pool`: neither is done beside the other.
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
    await bank.hold_account(conn, tenant_id, alone=True)
    await bank.hold_account(conn, wanted.bank_account_id, alone=True)
    held = await bank.account(conn, tenant_id, number, lock=True)
    if held is not None:
        if (held.entity_id, held.currency, held.bank_id) != (entity_id, currency, bank_id):
            return None
        if replace(wanted, version=held.version) == held:
            return held
        wanted = replace(wanted, version=held.version + 1)
    elif iban is not None and await bank.account_of_virtual(conn, tenant_id, iban):
        raise Problem(409, "iban-is-virtual", "A virtual IBAN is no bank account's own: it is in an account's pool", f"IBAN {iban}")
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
    """Adds virtual IBANs to an account's pool; returns how many were new, None for an unknown account.

    Raises a 409 Problem for the IBAN of a bank account of ours.
    """
    await bank.hold_account(conn, tenant_id, alone=True)
    if ours := sorted({one.iban for one in await bank.accounts(conn, tenant_id) if one.iban} & set(ibans)):
        raise Problem(409, "iban-of-an-account", "An IBAN of a bank account is no virtual one", f"IBAN {ours[0]}")
    held = await bank.account(conn, tenant_id, iban)
    if held is None:
        return None
    return await virtual_ibans.add(conn, tenant_id, held.bank_account_id, ibans)


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
    former party may still come on it. So it is taken where no fresh one is left. Raises a 404 Problem for an unknown account, 422 for an
    invoice of another entity, whose money could not be allocated to it.
    """
    held = await bank.account_by_id(conn, tenant_id, bank_account_id)
    if held is None:
        raise refused(404, "account-unknown", "There is no such bank account", "/bank_account_id")
    if invoice_id is not None and await items_elsewhere(conn, tenant_id, held.entity_id, [invoice_id]):
        raise refused(422, "item-elsewhere", "The invoice is another entity's", "/invoice_id")
    given = await virtual_ibans.assign(
        conn,
        tenant_id,
        bank_account_id,
        customer_id=customer_id,
        invoice_id=invoice_id,
        holder_name=holder_name,
        rested=now - timedelta(days=quarantine_days),
    )
    if given is not None:
        await publish(conn, [_told(tenant_id, given)])
    return given


async def reassign(conn: AsyncConnection, names: Sequence[tuple[UUID, UUID, UUID]]) -> None:
    """Assigned virtual IBANs name these invoices from now on: (tenant, virtual IBAN, invoice)."""
    given = await virtual_ibans.name_invoices(conn, names)
    await publish(conn, [_told(tenant, one) for tenant, one in given])


async def forget_holders(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """Virtual IBANs of erased customers bear the name of the account that they belong to, which is who is paid by them."""
    given = await virtual_ibans.forget_holders(conn, customers)
    for tenant, one in given:
        await erase_answers(conn, tenant, str(one.virtual_iban_id))
    await publish(conn, [_told(tenant, one) for tenant, one in given])


async def release(conn: AsyncConnection, tenant_id: UUID, virtual_iban_id: UUID, *, now: datetime) -> VirtualIban | None:
    """Takes a virtual IBAN back; None where it is not assigned. It rests: money may still come on it."""
    given = await virtual_ibans.release(conn, tenant_id, virtual_iban_id, now=now)
    if given is not None:
        await publish(conn, [_told(tenant_id, given)])
    return given


def _told(tenant_id: UUID, given: VirtualIban) -> Outgoing:
    """The event that says whose a virtual IBAN is now, or was until it was released."""
    cls, status = _EVENTS[given.status]
    event = cls(
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
    return Outgoing(tenant_id, event, given.entity_id)


_EVENTS: dict[str, tuple[type[VirtualIbanState], Literal["assigned", "released"]]] = {
    "assigned": (VirtualIbanAssigned, "assigned"),
    "released": (VirtualIbanReleased, "released"),
}
