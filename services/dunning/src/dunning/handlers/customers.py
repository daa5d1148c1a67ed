"""Duplicates: while a customer is merged, whoever stands for him is reminded, promises and is asked, once.

What is known stays under the customer it is about and is read together, so an undone merge is exact; levels are reached per
item, so nobody is reminded twice of one. A mail planned for the merged customer does not leave.
"""

from collections.abc import Sequence

from contracts.customers import CustomerMergeState
from contracts.envelope import Message
from shared import aliases
from shared.consumer import Context
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage.replicas import recheck_promises


async def keep_merges(conn: AsyncConnection, messages: Sequence[Message[CustomerMergeState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Who stands for whom; open promises of everybody concerned are looked at again."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "id": message.data.customer_id,
            "version": message.data.version,
            "into_id": message.data.into_customer_id if message.data.status == "merged" else None,
        }
        for message in messages
    ]
    changed = await aliases.keep(conn, rows)
    await recheck_promises(conn, sorted({(tenant, one) for (tenant, own), pair in changed.items() for one in (own, *pair)}))
