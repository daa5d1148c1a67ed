"""CustomerChanged and CustomerIdentityChanged: whom a payer's IBAN and name belong to."""

from collections.abc import Sequence

from contracts.customers import CustomerChanged, CustomerIdentityChanged
from contracts.envelope import Message
from shared.clock import machine_now
from shared.consumer import Context
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.storage.parties import look_again_at, set_known_ibans
from matching.tables import CUSTOMER, CUSTOMER_IDENTITY


async def keep_customers(conn: AsyncConnection, messages: Sequence[Message[CustomerChanged]], _: Context) -> None:
    """Keeps the source's own numbers of customers."""
    await keep(
        conn,
        CUSTOMER,
        [
            {
                "tenant_id": message.tenant_id,
                "customer_id": message.data.customer_id,
                "version": message.data.version,
                "source_system": message.data.source_system,
                "customer_number": message.data.customer_number,
            }
            for message in messages
        ],
    )


async def keep_identities(conn: AsyncConnection, messages: Sequence[Message[CustomerIdentityChanged]], _: Context) -> None:
    """Keeps names and known IBANs; what came from a newly known IBAN and is unapplied is looked at again."""
    applied = await keep(
        conn,
        CUSTOMER_IDENTITY,
        [{"tenant_id": m.tenant_id, "customer_id": m.data.customer_id, "version": m.data.version, "name": m.data.name} for m in messages],
    )
    newest = {}
    for message in sorted(messages, key=lambda message: message.data.version):
        newest[message.tenant_id, message.data.customer_id] = message.data
    changed = [key for key in newest if key in applied]
    if not changed:
        return
    rows = sorted(
        {(*key, iban.replace(" ", "").upper()) for key in changed for iban in newest[key].known_ibans}, key=lambda row: tuple(map(str, row))
    )
    await set_known_ibans(conn, changed, rows)
    await look_again_at(conn, [(tenant, iban) for tenant, _, iban in rows], machine_now())
