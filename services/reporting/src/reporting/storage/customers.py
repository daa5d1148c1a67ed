"""The 360-degree view of one customer, as queries by name: who it is by itself, what it owes and did with all merged into it.

Invariant: every query is led by the tenant and the customer through an index; lists end after `limit` rows.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reporting import tables


def queries(tenant_id: UUID, customer_id: UUID, group: Sequence[UUID], *, limit: int) -> dict[str, Select[Any]]:
    """The query of every part, by name."""

    def own(table: Table) -> Select[Any]:
        return select(table).where(table.c.tenant_id == tenant_id, table.c.customer_id == customer_id)

    def of(table: Table) -> Select[Any]:
        return select(table).where(table.c.tenant_id == tenant_id, table.c.customer_id.in_(group))

    items, payments, promises = tables.items.OPEN_ITEM.c, tables.money.PAYMENT.c, tables.collection.PROMISE.c
    plans = tables.collection.PAYMENT_PLAN.c
    disputes, reminders, virtual_ibans = tables.collection.DISPUTE.c, tables.collection.REMINDER.c, tables.money.VIRTUAL_IBAN.c
    paid_by = select(tables.money.PAYMENT).where(payments.tenant_id == tenant_id, payments.payer_customer_id.in_(group))
    return {
        "customer": own(tables.customers.CUSTOMER),
        "identity": own(tables.customers.CUSTOMER_IDENTITY),
        "balances": of(tables.items.ACCOUNT_BALANCE).order_by(
            tables.items.ACCOUNT_BALANCE.c.entity_id, tables.items.ACCOUNT_BALANCE.c.currency
        ),
        "open_items": of(tables.items.OPEN_ITEM).where(items.open_minor > 0).order_by(items.issue_date, items.item_id).limit(limit),
        "payments": paid_by.order_by(payments.booking_date.desc(), payments.payment_id).limit(limit),
        "score": own(tables.customers.SCORE),
        "terms": own(tables.customers.CREDIT_TERMS),
        "hold": own(tables.customers.CREDIT_HOLD).where(tables.customers.CREDIT_HOLD.c.active),
        "promises": of(tables.collection.PROMISE).order_by(promises.due_on.desc(), promises.promise_id).limit(limit),
        "payment_plans": of(tables.collection.PAYMENT_PLAN).order_by(plans.agreed_on.desc(), plans.payment_plan_id).limit(limit),
        "disputes": of(tables.collection.DISPUTE).order_by(disputes.status, disputes.dispute_id).limit(limit),
        "reminders": of(tables.collection.REMINDER).order_by(reminders.sent_at.desc(), reminders.reminder_id).limit(limit),
        "virtual_ibans": of(tables.money.VIRTUAL_IBAN)
        .where(virtual_ibans.status == "assigned")
        .order_by(virtual_ibans.virtual_iban)
        .limit(limit),
    }


async def parts(
    conn: AsyncConnection, tenant_id: UUID, customer_id: UUID, group: Sequence[UUID], *, limit: int
) -> dict[str, Sequence[Row[Any]]]:
    """The rows of every part, by name. `group`: the customer and all that were merged into it."""
    found = queries(tenant_id, customer_id, group, limit=limit)
    return {name: (await conn.execute(query)).fetchall() for name, query in found.items()}
