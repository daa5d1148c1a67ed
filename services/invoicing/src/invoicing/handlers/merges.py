"""Duplicates: one customer merged into another, and the merge undone.

Invariants: a merge moves nothing here. Invoices keep the buyer they were issued to, and whoever looks for a customer finds
the one that stands for it (`shared.aliases`); so undoing is exact. Chains are followed, a circle is refused.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from contracts.customers import CustomerMerged, CustomerMergeState, CustomerUnmerged
from shared import aliases, audit
from shared.clock import machine_now
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import customers as storage

Seen = Callable[[int], None]
"""Told the customer's version under its lock; may refuse."""


async def merge(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, into: UUID, *, actor: str, seen: Seen) -> None:
    """Says that a customer is a duplicate of another; the same again changes nothing.

    Raises Refusal: 404 no such customer; 422 no such survivor, or both are one; 409 merged into another already, erased, or
    the survivor is (at the end of its chain) the customer itself.
    """
    await storage.hold_relations(conn, tenant_id)
    row = await _locked(conn, tenant_id, customer_id, seen)
    if into == customer_id:
        raise refused_at("/into", "merge-into-itself", "a customer is no duplicate of itself")
    survivor = await storage.lock_customer(conn, tenant_id, into)
    if survivor is None:
        raise refused_at("/into", "customer-unknown", "there is no such customer to merge into")
    if row.into_id == into:
        return
    if row.into_id is not None:
        raise Refusal(409, "customer-merged", f"the customer is merged into {row.into_id}: undo that first")
    if row.erased_on is not None or survivor.erased_on is not None:
        raise Refusal(409, "customer-erased", "an erased customer takes no part in a merge")
    if (await aliases.resolve(conn, [(tenant_id, into)])).get((tenant_id, into)) == customer_id:
        raise refused_at("/into", "merge-circle", "that customer is merged into this one", 409)
    await _store(conn, tenant_id, row, into, CustomerMerged, actor)
    stands = (await aliases.resolve(conn, [(tenant_id, customer_id)]))[tenant_id, customer_id]
    if await storage.is_own_ancestor(conn, tenant_id, stands):
        raise refused_at("/into", "parent-circle", "the group's parents would form a circle", 409)


async def unmerge(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, *, actor: str, seen: Seen) -> None:
    """Undoes a merge: the customer stands for itself again, and so do those merged into it.

    Raises Refusal: 404 no such customer; 409 not merged, or erased.
    """
    await storage.hold_relations(conn, tenant_id)
    row = await _locked(conn, tenant_id, customer_id, seen)
    if row.into_id is None:
        raise Refusal(409, "customer-not-merged", "the customer is not merged into another")
    if row.erased_on is not None:
        raise Refusal(409, "customer-erased", "the customer was erased together with the one that it is merged into")
    await _store(conn, tenant_id, row, row.into_id, CustomerUnmerged, actor)


async def _locked(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, seen: Seen) -> Row[Any]:
    row = await storage.lock_customer(conn, tenant_id, customer_id)
    if row is None:
        raise Refusal(404, "customer-unknown", "there is no such customer")
    seen(row.version)
    return row


async def _store(conn: AsyncConnection, tenant_id: UUID, row: Row[Any], into: UUID, kind: type[CustomerMergeState], actor: str) -> None:
    merged = kind is CustomerMerged
    version = await storage.bump(conn, tenant_id, row.customer_id)
    alias = {"tenant_id": tenant_id, "id": row.customer_id, "version": version, "into_id": into if merged else None}
    await aliases.keep(conn, [alias])
    action = "customer.merged" if merged else "customer.unmerged"
    await audit.record(conn, tenant_id, [(actor, action, str(row.customer_id), {"version": version, "into": into})])
    await storage.note_history(conn, tenant_id, [row.customer_id], now=machine_now(), actor=actor, action=action)
    event = kind(
        version=version,
        customer_id=row.customer_id,
        source_system=row.source_system,
        customer_number=row.customer_number,
        into_customer_id=into,
        status="merged" if merged else "separate",
    )
    await publish(conn, [Outgoing(tenant_id, event)])
