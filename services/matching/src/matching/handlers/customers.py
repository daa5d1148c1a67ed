"""Customers of invoicing: whom a payer's IBAN and name belong to, and what moves when duplicates are merged or separated.

A merge moves items and unapplied money to whoever stands for the customer at the end of the chain: both balances change, and
nothing is owed twice. What an item names is kept, so an undone merge brings back exactly what the customer's own was, late
invoices included. Who is named by number, IBAN or virtual IBAN is resolved where it is looked up.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged, CustomerMergeState
from contracts.envelope import Envelope, Message
from contracts.invoices import InvoiceState
from shared import aliases, deadletters
from shared.batches import Context
from shared.clock import machine_now
from shared.jobs import JobContext
from shared.states import keep
from shared.web.idempotency import erase_answers
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.engine.index import name_keys
from matching.domain.engine.parties import PREFIX_MIN
from matching.domain.engine.text import fold
from matching.handlers.accounts import forget_holders
from matching.handlers.announcements import join
from matching.handlers.publishing import save_and_publish
from matching.handlers.slices import forget_waiting
from matching.storage import parties
from matching.storage.account_balances import account_id
from matching.storage.books import lock
from matching.storage.erasure import forget, forget_set_apart, signs
from matching.storage.parties import look_again_at, set_known_ibans
from matching.tables.parties import CUSTOMER, CUSTOMER_IDENTITY

SLICE = 1_000


async def keep_customers(conn: AsyncConnection, messages: Sequence[Message[CustomerChanged]], _: Context) -> None:
    """Keeps the source's own numbers of customers, and the country whose law holds for what they pay."""
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
                "country": message.data.country,
                "number_key": fold(message.data.customer_number),
                "parent_customer_id": message.data.parent_customer_id,
            }
            for message in messages
        ],
    )


async def keep_identities(conn: AsyncConnection, messages: Sequence[Message[CustomerIdentityChanged]], _: Context) -> None:
    """Keeps names and known IBANs; what came from a newly known IBAN, or under such a name, and is unapplied is looked at again."""
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
    names = sorted({(*key, value) for key in changed for value in name_keys(newest[key].name)})
    await parties.set_names(conn, changed, names)
    starts = sorted({(tenant, value[:PREFIX_MIN]) for tenant, _, value in names if len(value) >= PREFIX_MIN})
    await look_again_at(conn, [(tenant, iban) for tenant, _, iban in rows], machine_now(), starts)


async def keep_merges(conn: AsyncConnection, messages: Sequence[Message[CustomerMergeState]], ctx: Context) -> None:
    """CustomerMerged, CustomerUnmerged: moves what is owed and what is unapplied to whoever stands for the customer now.

    A slice goes with the event, the rest with the job. What came from an IBAN of either is looked at again: two payers known
    by one IBAN may be one now.
    """
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
    if not changed:
        return
    causes = {message.tenant_id: message.envelope for message in messages}
    for tenant in sorted({tenant for tenant, _ in changed}):
        await move(conn, tenant, ctx.now, causes[tenant])
    concerned = {(tenant, one) for (tenant, own), pair in changed.items() for one in (own, *pair)}
    await look_again_at(conn, await parties.ibans_of(conn, sorted(concerned)), machine_now())
    await join(conn, sorted(concerned))


async def keep_erasures(conn: AsyncConnection, messages: Sequence[Message[CustomerErased]], _: Context) -> None:
    """CustomerErased: forgets who the customer is and what his payments said; no late identity event brings it back."""
    erased = sorted({(message.tenant_id, message.data.customer_id) for message in messages})
    blank = [
        {"tenant_id": message.tenant_id, "customer_id": message.data.customer_id, "version": message.data.version, "name": ""}
        for message in messages
    ]
    known = await signs(conn, erased)
    for tenant, one in known.items():
        await forget_waiting(conn, tenant, one.ibans, one.names)  # before payments are locked, as the import locks them
    await keep(conn, CUSTOMER_IDENTITY, blank)
    await forget(conn, erased)
    for tenant, one in known.items():
        await forget_set_apart(conn, tenant, one)
    await forget_holders(conn, erased)
    await deadletters.erase(conn, CustomerIdentityChanged.__name__, erased)
    for tenant, customer in erased:
        await erase_answers(conn, tenant, str(customer))
    for tenant, one in known.items():
        for iban in sorted(one.ibans):  # a refund's answer names its payment and where the money went, not the customer
            await erase_answers(conn, tenant, iban)


async def move_merged(context: JobContext, tenant_id: UUID) -> None:
    """Job: what a merge has left for later, and what another worker stored at the same moment for the customer it named."""
    while True:
        async with context.database.transaction(tenant_id) as conn:
            moved = await move(conn, tenant_id, context.now)
        if moved < SLICE:
            return


async def move(conn: AsyncConnection, tenant_id: UUID, now: datetime, cause: Envelope | None = None) -> int:
    """Brings a slice of items and payments to where they belong; returns how many there were at most of either."""
    items, payments = await parties.misplaced(conn, tenant_id, SLICE)
    if not items and not payments:
        return 0
    wanted = {
        row.id: (tenant_id, account_id(tenant_id, row.wanted_id, row.entity_id, row.currency), row.entity_id, row.wanted_id, row.currency)
        for row in (*items, *payments)
    }
    books = await lock(
        conn,
        accounts=sorted({(tenant_id, row.account_id) for row in (*items, *payments)}),
        new_accounts=list(dict.fromkeys(wanted.values())),
        payments=[(tenant_id, row.id) for row in payments],
        items=[(tenant_id, row.id) for row in items],
    )
    named: dict[Key, UUID | None] = {}
    for row in items:
        key = (tenant_id, row.id)
        if (item := books.items.get(key)) is not None and item.account_id == row.account_id:  # else it moved meanwhile: the job comes again
            books.move(item, books.accounts[wanted[row.id][:2]])
            named[key] = None if row.named_id == row.wanted_id else row.named_id
    payers: dict[Key, UUID | None] = {}
    for row in payments:
        key = (tenant_id, row.id)
        if (payment := books.payments.get(key)) is not None and payment.account_id == row.account_id:
            books.attribute(payment, books.accounts[wanted[row.id][:2]])
            books.acts.setdefault(key, set()).add("unapplied" if payment.unapplied_minor else "matched")
            payers[key] = None if row.named_id == row.wanted_id else row.named_id
    causes = {} if cause is None else dict.fromkeys([*named, *payers], cause)
    await save_and_publish(conn, books, now, causes, keep_looks=True)
    await parties.note_named(conn, named)
    await parties.note_payers(conn, payers)
    return max(len(items), len(payments))


async def billed(conn: AsyncConnection, messages: Sequence[Message[InvoiceState]]) -> tuple[list[Message[InvoiceState]], dict[Key, UUID]]:
    """Invoices as said of whoever stands for their customers, and whom those name that are said of another now."""
    stands = await aliases.resolve(conn, {(message.tenant_id, message.data.customer_id) for message in messages})
    if not stands:
        return list(messages), {}
    named: dict[Key, UUID] = {}
    found = []
    for message in messages:
        data = message.data
        survivor = stands.get((message.tenant_id, data.customer_id))
        if survivor is None:
            found.append(message)
        else:
            named[message.tenant_id, data.invoice_id] = data.customer_id
            found.append(msgspec.structs.replace(message, data=msgspec.structs.replace(data, customer_id=survivor)))
    return found, named
