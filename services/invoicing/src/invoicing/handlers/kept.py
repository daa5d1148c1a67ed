"""What other services say, kept beside what we own: balances of invoices by matching, holds and terms by scoring.

Invariant: one row per aggregate at its highest version, whatever the order and repetition; nothing is decided or published.
"""

from collections.abc import Sequence

from contracts.credit import CreditHoldState, CreditTermsChanged
from contracts.envelope import Message
from contracts.items import AccountBalanceChanged, OpenItemState
from shared.batches import Context
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.tables import ACCOUNT_BALANCE, CREDIT_HOLD, CREDIT_TERMS, INVOICE_BALANCE


async def keep_balances(conn: AsyncConnection, messages: Sequence[Message[OpenItemState]], _: Context) -> None:
    """Open amount and status of invoices. Late charges are items too, and none of our invoices: they are passed over."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "invoice_id": message.data.item_id,
            "version": message.data.version,
            "original_minor": message.data.original_minor,
            "open_minor": message.data.open_minor,
            "disputed_minor": message.data.disputed_minor,
            "status": message.data.status,
            "close_cause": message.data.close_cause,
            "value_date": message.data.value_date,
        }
        for message in messages
        if message.data.kind != "late_charge"
    ]
    await keep(conn, INVOICE_BALANCE, rows)


async def keep_accounts(conn: AsyncConnection, messages: Sequence[Message[AccountBalanceChanged]], _: Context) -> None:
    """What customers owe and are owed, unapplied money included: while there is any, nobody is erased."""
    names = ("account_id", "version", "customer_id", "currency", "open_minor", "unapplied_minor", "unused_credits_minor")
    rows = [{"tenant_id": message.tenant_id, **{name: getattr(message.data, name) for name in names}} for message in messages]
    await keep(conn, ACCOUNT_BALANCE, rows)


async def keep_holds(conn: AsyncConnection, messages: Sequence[Message[CreditHoldState]], _: Context) -> None:
    """Whether new business with a customer is held."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "customer_id": message.data.customer_id,
            "version": message.data.version,
            "active": message.data.active,
            "reason": message.data.reason,
            "decided_at": message.data.decided_at,
        }
        for message in messages
    ]
    await keep(conn, CREDIT_HOLD, rows)


async def keep_terms(conn: AsyncConnection, messages: Sequence[Message[CreditTermsChanged]], _: Context) -> None:
    """Limit and payment terms that the credit policy grants."""
    rows = [
        {
            "tenant_id": message.tenant_id,
            "customer_id": message.data.customer_id,
            "version": message.data.version,
            "limit_minor": message.data.limit_minor,
            "currency": message.data.currency,
            "payment_terms_days": message.data.payment_terms_days,
            "down_payment_bp": message.data.down_payment_bp,
            "reason": message.data.reason,
        }
        for message in messages
    ]
    await keep(conn, CREDIT_TERMS, rows)
