"""Erasure of a customer's personal data: here, and by CustomerErased everywhere.

What goes: name, addresses, contacts, IBANs, in master data and every version of it; register numbers as a way to find him;
notes that people wrote about his invoices; stored answers that name him. What stays, and why: `KEPT`.

Invariants: an erased customer takes no new master data, invoice or merge; the event is in the outbox before the tombstone of
the compacted topic, both in the transaction of the erasure.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.customers import CustomerErased, CustomerIdentityChanged
from shared import aliases, audit
from shared.clock import machine_now
from shared.days import business_day
from shared.outbox import Outgoing, Tombstone, publish
from shared.web.idempotency import erase_answers
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.erasure import hindrances
from invoicing.domain.totals import Fault
from invoicing.handlers.refusals import Refusal
from invoicing.storage import customers as customer_storage
from invoicing.storage import erasure as storage

KEPT = (
    ("ids, the source's own numbers, register numbers, amounts and dates of invoices", "accounting records (GDPR, article 17(3)(b))"),
    ("files that invoices came in", "vouchers, kept with the accounts (GDPR, article 17(3)(b))"),
    ("the audit trail: who did what, without names", "proof of the erasure itself (GDPR, article 5(2))"),
)
"""What stays, and on which ground."""


async def erase(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, now: datetime, actor: str) -> Row[Any]:
    """Erases a customer and all that were merged into it; the same again changes nothing. Returns its row.

    Raises Refusal: 404 no such customer; 409 merged into another (which is to be erased), or with each hindrance as a fault.
    """
    await customer_storage.hold_relations(conn, tenant_id)
    row = await customer_storage.lock_customer(conn, tenant_id, customer_id)
    if row is None:
        raise Refusal(404, "customer-unknown", "there is no such customer")
    if row.erased_on is not None:
        return row
    stands = await aliases.stands_for(conn, tenant_id, customer_id)
    if stands != customer_id:
        raise Refusal(409, "customer-merged", f"the customer is a duplicate of {stands}: erase that one, or undo the merge first")
    group = sorted(await aliases.members(conn, tenant_id, [customer_id]))
    owed = await storage.owed(conn, tenant_id, group)
    vouchers = await storage.vouchers(conn, tenant_id, group)
    if found := hindrances(owed, await storage.untold(conn, tenant_id, group), vouchers, business_day(now)):
        faults = [Fault("", each.code, each.detail) for each in found]
        raise Refusal(409, "erasure-hindered", "; ".join(each.detail for each in found), faults)
    events: list[Outgoing | Tombstone] = []
    tombstones: list[Outgoing | Tombstone] = []
    for each in await storage.erase(conn, tenant_id, group, business_day(now)):
        event = CustomerErased(
            version=each.version,
            customer_id=each.customer_id,
            source_system=each.source_system,
            customer_number=each.customer_number,
            erased_on=business_day(now),
        )
        events.append(Outgoing(tenant_id, event))
        tombstones.append(Tombstone(tenant_id, CustomerIdentityChanged, each.customer_id, each.version))
        await erase_answers(conn, tenant_id, str(each.customer_id))
    await audit.record(conn, tenant_id, [(actor, "customer.erased", str(one), {}) for one in group])
    await customer_storage.note_history(conn, tenant_id, group, now=machine_now(), actor=actor, action="customer.erased")
    await publish(conn, events + tombstones)
    erased = await customer_storage.lock_customer(conn, tenant_id, customer_id)
    assert erased is not None  # noqa: S101 - locked above
    return erased
