"""Whom payments come from: customers, their names and known IBANs, kept from invoicing's events at the highest version."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.books import keys
from matching.storage.rows import fetch


async def set_known_ibans(conn: AsyncConnection, customers: Sequence[Key], rows: Sequence[tuple[UUID, UUID, str]]) -> None:
    """Replaces the known IBANs of customers by rows of (tenant, customer, IBAN without spaces)."""
    await run(
        conn,
        "DELETE FROM payer_iban WHERE (tenant_id, customer_id) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        **keys(customers),
    )
    await run(
        conn,
        "INSERT INTO payer_iban (tenant_id, customer_id, iban) SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "
        "CAST(:ibans AS text[])) ON CONFLICT DO NOTHING",
        tenants=[row[0] for row in rows],
        ids=[row[1] for row in rows],
        ibans=[row[2] for row in rows],
    )


async def look_again_at(conn: AsyncConnection, ibans: Sequence[tuple[UUID, str]], at: datetime) -> None:
    """Payments still unapplied that came from one of these (tenant, IBAN) are looked at as if they were new: now, and as often.

    Their items may come at the same moment: a single look could miss them for good.
    """
    if ibans:
        await fetch(
            conn,
            "WITH due AS (SELECT p.tenant_id, p.payment_id FROM payment p WHERE p.status IN ('unapplied', 'partly_matched') AND "
            "(p.tenant_id, p.debtor_iban) IN (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ibans AS text[]))) "
            "ORDER BY p.tenant_id, p.payment_id FOR UPDATE) UPDATE payment SET looks = 0, next_look_at = :at FROM due "
            "WHERE payment.tenant_id = due.tenant_id AND payment.payment_id = due.payment_id RETURNING 1",
            tenants=[pair[0] for pair in ibans],
            ibans=[pair[1] for pair in ibans],
            at=at,
        )
