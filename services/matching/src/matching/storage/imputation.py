"""How entities use the law's order of imputation, and which payments and items it is for."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.storage.rows import fetch


@dataclass(frozen=True, slots=True)
class Setting:
    """How an entity uses the law's order. `after_days`: after how many days by itself; None: only when a person asks."""

    entity_id: UUID
    interest_first: bool = False
    after_days: int | None = None


async def setting_of(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID) -> Setting:
    """An entity's setting; what nobody set is off."""
    rows = await fetch(
        conn,
        "SELECT entity_id, interest_first, after_days FROM imputation_setting WHERE tenant_id = :tenant AND entity_id = :entity",
        tenant=tenant_id,
        entity=entity_id,
    )
    return Setting(*rows[0]) if rows else Setting(entity_id)


async def settings(conn: AsyncConnection, tenant_id: UUID) -> list[Setting]:
    """The settings of a tenant's entities."""
    rows = await fetch(
        conn, "SELECT entity_id, interest_first, after_days FROM imputation_setting WHERE tenant_id = :tenant ORDER BY 1", tenant=tenant_id
    )
    return [Setting(*row) for row in rows]


async def put_setting(conn: AsyncConnection, tenant_id: UUID, setting: Setting) -> None:
    """Sets how an entity uses the law's order."""
    await run(
        conn,
        "INSERT INTO imputation_setting (tenant_id, entity_id, interest_first, after_days) VALUES (:tenant, :entity, :interest, :days) "
        "ON CONFLICT (tenant_id, entity_id) DO UPDATE SET interest_first = EXCLUDED.interest_first, after_days = EXCLUDED.after_days",
        tenant=tenant_id,
        entity=setting.entity_id,
        interest=setting.interest_first,
        days=setting.after_days,
    )


async def waiting(
    conn: AsyncConnection, tenant_id: UUID, countries: Collection[str], today: date, *, after: tuple[date, UUID], limit: int
) -> list[tuple[date, UUID]]:
    """Booked payments that name nothing, of known payers in these countries who owe something, after their entity's days.

    Those behind `after` by booking date and id, oldest first.
    """
    rows = await fetch(
        conn,
        "SELECT p.booking_date, p.payment_id FROM imputation_setting s JOIN payment p ON p.tenant_id = s.tenant_id "
        "AND p.entity_id = s.entity_id AND p.status IN ('unapplied', 'partly_matched') JOIN customer c ON c.tenant_id = p.tenant_id "
        "AND c.customer_id = p.payer_customer_id AND c.country = ANY(CAST(:countries AS text[])) "
        "WHERE s.tenant_id = :tenant AND s.after_days IS NOT NULL AND p.unapplied_reason = 'no_reference' "
        "AND p.confirmation = 'booked' AND p.next_look_at IS NULL "
        "AND p.booking_date <= CAST(:today AS date) - CAST(s.after_days AS int) "
        "AND (p.booking_date, p.payment_id) > (CAST(:day AS date), CAST(:id AS uuid)) "
        "AND EXISTS (SELECT 1 FROM open_item i WHERE i.tenant_id = p.tenant_id AND i.account_id = p.account_id "
        "AND i.status = 'open' AND i.kind <> 'credit_note' AND i.open_minor > i.contested_minor AND NOT EXISTS ("
        "SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id AND d.item_id = i.item_id)) "
        "ORDER BY p.booking_date, p.payment_id LIMIT :limit",
        tenant=tenant_id,
        countries=list(countries),
        today=today,
        day=after[0],
        id=after[1],
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


async def owed(conn: AsyncConnection, payment: Key, account_id: UUID) -> list[UUID]:
    """The open items of an account, without those that a person has taken off the payment."""
    rows = await fetch(
        conn,
        "SELECT i.item_id FROM open_item i WHERE i.tenant_id = :tenant AND i.account_id = :account AND i.status = 'open' "
        "AND i.kind <> 'credit_note' AND NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = :tenant "
        "AND d.payment_id = :payment AND d.item_id = i.item_id)",
        tenant=payment[0],
        payment=payment[1],
        account=account_id,
    )
    return [row[0] for row in rows]


async def country_of(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> str | None:
    """The country of a customer (ISO 3166-1 alpha-2); None where it is not known."""
    rows = await fetch(
        conn, "SELECT country FROM customer WHERE tenant_id = :tenant AND customer_id = :id", tenant=tenant_id, id=customer_id
    )
    return rows[0][0] if rows else None
