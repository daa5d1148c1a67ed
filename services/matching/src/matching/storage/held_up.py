"""Versions of invoices that their items could not follow: one an item, the newest, as long as it is not followed."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from contracts.envelope import Message
from contracts.invoices import CreditNoteIssued, InvoiceCancelled, InvoiceChanged, InvoiceIssued, InvoiceState
from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.account_balances import ASKED
from matching.storage.rows import fetch, keys

LISTED = (
    "SELECT i.item_id AS at, i.item_id, i.entity_id, i.customer_id, i.source_system, i.invoice_number, i.currency, "  # noqa: S608 - ours
    "r.invoice_version, r.payable_minor, i.original_minor, i.set_off_minor, r.noted_at FROM item_review r JOIN open_item i "
    "ON i.tenant_id = r.tenant_id AND i.item_id = r.item_id AND i.invoice_version = r.invoice_version WHERE r.tenant_id = :tenant "
    f"AND (CAST(:customer_id AS uuid) IS NULL OR i.customer_id = {ASKED})"
)
"""Items that stand otherwise than the newest version of their invoice says."""
_EVENT = msgspec.json.Decoder(Message[InvoiceIssued | InvoiceChanged | InvoiceCancelled | CreditNoteIssued])


async def keep(conn: AsyncConnection, rows: Sequence[tuple[Message[InvoiceState], str, int]], now: datetime) -> None:
    """Keeps versions that are not followed: as they were said, the reason, and what the item would be for in minor units."""
    await run(
        conn,
        "INSERT INTO item_review (tenant_id, item_id, invoice_version, reason, payable_minor, noted_at, said) SELECT t.tenant, t.item, "
        "t.version, t.reason, t.payable, :now, CAST(t.said AS jsonb) FROM unnest(CAST(:tenants AS uuid[]), CAST(:items AS uuid[]), "
        "CAST(:versions AS bigint[]), CAST(:reasons AS text[]), CAST(:payables AS bigint[]), CAST(:said AS text[])) "
        "AS t(tenant, item, version, reason, payable, said)",
        now=now,
        tenants=[message.tenant_id for message, _, _ in rows],
        items=[message.data.invoice_id for message, _, _ in rows],
        versions=[message.data.version for message, _, _ in rows],
        reasons=[reason for _, reason, _ in rows],
        payables=[payable for _, _, payable in rows],
        said=[msgspec.json.encode(message).decode() for message, _, _ in rows],
    )


async def drop(conn: AsyncConnection, items: Iterable[Key]) -> None:
    """Forgets what items did not follow: they follow it now, or a newer version says otherwise."""
    await run(
        conn,
        "DELETE FROM item_review WHERE (tenant_id, item_id) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(items),
    )


async def of(conn: AsyncConnection, items: Iterable[Key]) -> list[Message[InvoiceState]]:
    """What items have not followed of their invoices yet; of what was noted before it was kept, nothing."""
    rows = await fetch(
        conn,
        "SELECT CAST(r.said AS text) FROM item_review r JOIN open_item i ON i.tenant_id = r.tenant_id AND i.item_id = r.item_id "
        "AND i.invoice_version = r.invoice_version JOIN unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant, id) "
        "ON r.tenant_id = t.tenant AND r.item_id = t.id WHERE r.said IS NOT NULL",
        **keys(items),
    )
    return [_EVENT.decode(row[0]) for row in rows]
