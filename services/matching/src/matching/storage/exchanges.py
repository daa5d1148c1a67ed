"""What an allocation across currencies settles of its item, beside the allocation itself: rare, so in a table of its own."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.exchange import Exchange
from matching.storage.rows import fetch

Pair = tuple[UUID, UUID, UUID]
"""Tenant, payment, item."""


async def instructed(conn: AsyncConnection, payments: Iterable[Key]) -> dict[Key, tuple[str, int]]:
    """What payers told their banks to pay in another currency than was credited: currency and minor units."""
    wanted = list(payments)
    rows = await fetch(
        conn,
        "SELECT tenant_id, payment_id, instructed_currency, instructed_minor FROM payment WHERE instructed_currency <> currency "
        "AND (tenant_id, payment_id) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in wanted],
        ids=[key[1] for key in wanted],
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def put_exchanges(conn: AsyncConnection, exchanged: Mapping[Pair, Exchange]) -> None:
    """Stores exchanges; one that is there is the same, for a pair is exchanged once."""
    await run(
        conn,
        "INSERT INTO allocation_exchange (tenant_id, payment_id, item_id, item_amount_minor, rate, rate_source, difference_minor, "
        "booking_date) SELECT t.*, p.booking_date FROM unnest(CAST(:tenants AS uuid[]), CAST(:payments AS uuid[]), CAST(:items AS uuid[]), "
        "CAST(:amounts AS bigint[]), CAST(:rates AS numeric[]), CAST(:sources AS text[]), CAST(:differences AS bigint[])) "
        "AS t(tenant_id, payment_id, item_id, amount, rate, source, difference) "
        "JOIN payment p ON p.tenant_id = t.tenant_id AND p.payment_id = t.payment_id ON CONFLICT DO NOTHING",
        tenants=[key[0] for key in exchanged],
        payments=[key[1] for key in exchanged],
        items=[key[2] for key in exchanged],
        amounts=[one.item_amount_minor for one in exchanged.values()],
        rates=[one.rate for one in exchanged.values()],
        sources=[one.source for one in exchanged.values()],
        differences=[one.difference_minor for one in exchanged.values()],
    )


async def drop_exchanges(conn: AsyncConnection, pairs: Sequence[Pair]) -> None:
    """Removes what stands beside allocations that were undone."""
    await run(
        conn,
        "DELETE FROM allocation_exchange WHERE (tenant_id, payment_id, item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:payments AS uuid[]), CAST(:items AS uuid[])))",
        tenants=[key[0] for key in pairs],
        payments=[key[1] for key in pairs],
        items=[key[2] for key in pairs],
    )
