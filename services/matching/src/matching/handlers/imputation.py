"""Legal imputation: a payment that names nothing settles what the debtor owes in the order of the law of the debtor's country.

Rules:
- the debtor's choice comes first: what names an item, or fits one or a set exactly, never comes here by itself;
- only a known payer's own open items of the payment's entity and currency, without what is disputed or was undone by a person;
- what the law of a country is, is known or refused (`matching.domain.imputation`);
- a person asks for it, or the entity has it done by itself after a number of days without any better knowledge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from shared.days import business_day
from shared.db import run
from shared.jobs import JobContext
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key, Payment
from matching.domain.imputation import LAWS, Debt, UnknownLawError, debts_of, impute
from matching.handlers.allocations import known_customer
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.storage.account_balances import account_id
from matching.storage.books import Decided
from matching.storage.rows import fetch

RULE = "imputation"
SLICE = 200
_JSON = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Setting:
    """How an entity uses the law's order. `after_days`: after how many days by itself; None: only when a person asks."""

    entity_id: UUID
    interest_first: bool = False
    after_days: int | None = None


@dataclass(frozen=True, slots=True)
class Imputed:
    """What the law makes of a payment: the payment, by which law, and what goes to which debt, in the order of payment."""

    payment: Payment
    country: str
    law: str
    interest_first: bool
    parts: list[tuple[Debt, int]]


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


async def propose(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, *, customer_id: UUID | None) -> Imputed:
    """What the law would make of a payment. Nothing is changed. Raises Problem as `carry_out`."""
    _, imputed = await _imputed(conn, (tenant_id, payment_id), customer_id)
    return imputed


async def carry_out(
    conn: AsyncConnection,
    tenant_id: UUID,
    payment_id: UUID,
    *,
    customer_id: UUID | None,
    by: str,
    now: datetime,
    version: int | None = None,
) -> Payment:
    """Allocates what is unapplied of a payment as the law says; `customer_id` names the payer where nobody is known yet.

    Raises Problem: 404 for an unknown payment or customer; 409 where nothing is unapplied, nobody is known to have paid, nothing is owed,
    or the payment is not the `version` that the person looked at; 422 where the debtor's country or its law is not known.
    """
    key = (tenant_id, payment_id)
    books, imputed = await _imputed(conn, key, customer_id)
    payment = imputed.payment
    if version not in {None, payment.version}:
        raise Problem(409, "payment-moved-on", "The payment has another version by now: look at it again")
    versions = {item_id: item.version for (_, item_id), item in books.items.items()}
    for debt, part in imputed.parts:
        books.allocate(payment, books.items[tenant_id, debt.item_id], RULE, amount=part)
    payment.rule = RULE
    payment.candidate_customer_ids = None
    books.decided(payment, "overpaid")
    evidence = _JSON(
        {
            "by": by,
            "law": imputed.law,
            "country": imputed.country,
            "interest_first": imputed.interest_first,
            "on": payment.value_date,
            "payer": payment.payer_customer_id,
            "items": [
                {
                    "item_id": debt.item_id,
                    "version": versions[debt.item_id],
                    "kind": debt.kind,
                    "due_date": debt.due_date,
                    "open_minor": debt.open_minor,
                    "amount_minor": part,
                }
                for debt, part in imputed.parts
            ],
            "allocated_minor": payment.allocated_minor,
        }
    )
    await save_and_publish(conn, books, now, {}, decisions=[Decided(*key, payment.version + 1, RULE, evidence.decode())])
    return payment


async def impute_waiting(context: JobContext, tenant_id: UUID) -> None:
    """Job: booked money of a known payer that names nothing, after the days that its entity has set; a payment a commit."""
    for payment_id in await _waiting(context, tenant_id):
        async with context.database.transaction(tenant_id) as conn:
            try:
                await carry_out(conn, tenant_id, payment_id, customer_id=None, by="imputation", now=context.now)
            except Problem as problem:
                if problem.status != 409:  # noqa: PLR2004 - it was decided on, or its debts were paid, since it was looked for
                    raise


async def _waiting(context: JobContext, tenant_id: UUID) -> Sequence[UUID]:
    async with context.database.transaction(tenant_id) as conn:
        rows = await fetch(
            conn,
            "SELECT p.payment_id FROM imputation_setting s JOIN payment p ON p.tenant_id = s.tenant_id AND p.entity_id = s.entity_id "
            "AND p.status IN ('unapplied', 'partly_matched') JOIN customer c ON c.tenant_id = p.tenant_id "
            "AND c.customer_id = p.payer_customer_id AND c.country = ANY(CAST(:countries AS text[])) "
            "WHERE s.tenant_id = :tenant AND s.after_days IS NOT NULL AND p.unapplied_reason = 'no_reference' "
            "AND p.confirmation = 'booked' AND p.next_look_at IS NULL "
            "AND p.booking_date <= CAST(:today AS date) - CAST(s.after_days AS int) "
            "AND EXISTS (SELECT 1 FROM open_item i WHERE i.tenant_id = p.tenant_id AND i.account_id = p.account_id "
            "AND i.status = 'open' AND i.kind <> 'credit_note' AND i.open_minor > i.contested_minor AND NOT EXISTS ("
            "SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id AND d.item_id = i.item_id)) "
            "ORDER BY p.booking_date, p.payment_id LIMIT :slice",
            tenant=tenant_id,
            countries=list(LAWS),
            today=business_day(context.now),
            slice=SLICE,
        )
    return [row[0] for row in rows]


async def _imputed(conn: AsyncConnection, key: Key, customer_id: UUID | None) -> tuple[Books, Imputed]:
    """The payment and its payer's open items, locked, and what the law makes of them."""
    tenant_id, payment_id = key
    await known_customer(conn, tenant_id, customer_id)
    seen = await fetch(
        conn,
        "SELECT entity_id, currency, account_id FROM payment WHERE tenant_id = :tenant AND payment_id = :id",
        tenant=tenant_id,
        id=payment_id,
    )
    if not seen:
        raise Problem(404, "payment-unknown", "There is no such payment")
    entity, currency, account = seen[0]
    account = account or (account_id(tenant_id, customer_id, entity, currency) if customer_id else None)
    owed = await _owed(conn, key, account) if account else []
    payer = customer_id if seen[0][2] is None else None
    books = await lock_with_items(conn, [key], items=[(tenant_id, item_id) for item_id in owed], customers={key: payer})
    payment = books.payments[key]
    if payment.account_id is None and account is not None:
        books.attribute(payment, books.accounts[tenant_id, account])
    if not payment.unapplied_minor:
        raise Problem(409, "nothing-unapplied", "Nothing of the payment is unapplied")
    if payment.payer_customer_id is None:
        raise Problem(409, "payer-unknown", "Nobody is known to have paid: name the customer")
    country = await _country(conn, tenant_id, payment.payer_customer_id)
    setting = await setting_of(conn, tenant_id, entity)
    mine = [item for (_, item_id), item in books.items.items() if item_id in owed and item.account_id == payment.account_id]
    mine.sort(key=lambda item: (item.due_date, item.issue_date, item.invoice_number, item.item_id.int))
    debts = [debt for item in mine for debt in debts_of(item)]
    if not debts:
        raise Problem(409, "nothing-owed", "The payer owes nothing that is undisputed in this entity and currency")
    try:
        parts = impute(payment.unapplied_minor, debts, country, payment.value_date, interest_first=setting.interest_first)
    except UnknownLawError as error:
        raise Problem(422, "law-unknown", "The order that this country's law sets is not known", str(error)) from None
    return books, Imputed(payment, country, LAWS[country], setting.interest_first, parts)


async def _owed(conn: AsyncConnection, key: Key, account: UUID) -> list[UUID]:
    rows = await fetch(
        conn,
        "SELECT i.item_id FROM open_item i WHERE i.tenant_id = :tenant AND i.account_id = :account AND i.status = 'open' "
        "AND i.kind <> 'credit_note' AND NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = :tenant "
        "AND d.payment_id = :payment AND d.item_id = i.item_id)",
        tenant=key[0],
        payment=key[1],
        account=account,
    )
    return [row[0] for row in rows]


async def _country(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID) -> str:
    rows: Sequence[Any] = await fetch(
        conn, "SELECT country FROM customer WHERE tenant_id = :tenant AND customer_id = :id", tenant=tenant_id, id=customer_id
    )
    if not rows or rows[0][0] is None:
        raise Problem(422, "country-unknown", "The debtor's country is not known, and with it the law: choose the items")
    return str(rows[0][0])
