"""Duplicates and erasure.

While a customer is merged, whoever stands for him is reminded, promises and is asked, once. What is known stays under the customer
it is about and is read together, so an undone merge is exact; levels are reached per item, so nobody is reminded twice of one. A
mail planned for the merged customer does not leave.

Of an erased customer nothing but ids, amounts and dates stays: sent mails lose their text and recipient, decisions their notes.
"""

from collections.abc import Sequence

from contracts.customers import CustomerErased, CustomerIdentityChanged, CustomerMergeState
from contracts.envelope import Message
from shared import aliases, deadletters
from shared.batches import Context
from shared.states import keep
from shared.web.idempotency import erase_answers
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.storage import dispatches
from dunning.storage.replicas import recheck_of
from dunning.tables.customers import IDENTITY


async def keep_merges(conn: AsyncConnection, messages: Sequence[Message[CustomerMergeState]], ctx: Context) -> None:  # noqa: ARG001 - a handler's signature
    """Who stands for whom; open promises and living plans of everybody concerned are looked at again."""
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
    await recheck_of(conn, sorted({(tenant, one) for (tenant, own), pair in changed.items() for one in (own, *pair)}))


async def keep_erasures(conn: AsyncConnection, messages: Sequence[Message[CustomerErased]], ctx: Context) -> None:  # noqa: ARG001 - as above
    """CustomerErased: planned mails are withdrawn, and nothing that names or quotes the person stays, however late it comes."""
    blank = [
        {"tenant_id": each.tenant_id, "customer_id": each.data.customer_id, "version": each.data.version, "name": "", "contacts": []}
        for each in messages
    ]
    await keep(conn, IDENTITY, blank)
    erased = sorted({(message.tenant_id, message.data.customer_id) for message in messages})
    for tenant, customer in erased:
        await dispatches.forget(conn, tenant, customer)
        await erase_answers(conn, tenant, str(customer))
    await deadletters.erase(conn, CustomerIdentityChanged.__name__, erased)
