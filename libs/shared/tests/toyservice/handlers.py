"""The toy's two handlers. A payment of `REFUSED_MINOR` is refused by the handler, one beyond the CHECK by the database."""

import asyncio
import os
from collections.abc import Sequence
from datetime import date

from contracts.accounts import BankReconciliationAdvanced
from contracts.dunning import ReminderSent
from contracts.envelope import Message
from contracts.kpis import KpiMeasured
from contracts.payments import PaymentReceived
from shared.batches import Context
from shared.db import arrays, fetch, run, unnest
from shared.outbox import Outgoing, publish
from shared.states import keep
from sqlalchemy.ext.asyncio import AsyncConnection

from toyservice.tables import PAYMENT

REFUSED_MINOR = 666
DELAY_SECONDS = float(os.environ.get("TOY_DELAY_SECONDS", "0"))
"""How long a batch takes, at least: the tests that move partitions need batches that are under way."""
DAY = date(2026, 1, 31)
_KEY = {"tenant_id": "uuid", "account_id": "uuid"}


class RefusedError(Exception):
    """A payment that the toy does not like."""


async def sum_payments(conn: AsyncConnection, messages: Sequence[Message[PaymentReceived]], ctx: Context) -> None:
    """Keeps payments and adds what changed to their accounts, under the accounts' locks."""
    del ctx
    if any(message.data.amount_minor == REFUSED_MINOR for message in messages):
        raise RefusedError("this payment cannot be liked: \x00 \ud800")
    accounts = sorted({(message.tenant_id, message.data.bank_account_id) for message in messages})
    await run(
        conn,
        f"INSERT INTO account (tenant_id, account_id, version, total_minor) SELECT tenant_id, account_id, 0, 0 FROM {unnest(_KEY)} "  # noqa: S608 - our own text
        "ORDER BY 1, 2 ON CONFLICT DO NOTHING",
        **arrays(accounts, list(_KEY)),
    )
    await fetch(
        conn,
        f"SELECT 1 FROM account JOIN {unnest(_KEY)} USING (tenant_id, account_id) ORDER BY tenant_id, account_id FOR UPDATE OF account",  # noqa: S608 - our own text
        **arrays(accounts, list(_KEY)),
    )
    payments = sorted({(message.tenant_id, message.data.payment_id) for message in messages})
    columns = {"tenant_id": "uuid", "payment_id": "uuid"}
    before = {
        (row.tenant_id, row.payment_id): row.amount_minor
        for row in await fetch(
            conn,
            f"SELECT tenant_id, payment_id, amount_minor FROM payment JOIN {unnest(columns)} USING (tenant_id, payment_id)",  # noqa: S608 - our own text
            **arrays(payments, list(columns)),
        )
    }
    if DELAY_SECONDS:
        await asyncio.sleep(DELAY_SECONDS)
    rows = {}
    for message in messages:
        row = {
            "tenant_id": message.tenant_id,
            "payment_id": message.data.payment_id,
            "version": message.data.version,
            "account_id": message.data.bank_account_id,
            "amount_minor": message.data.amount_minor,
        }
        known = rows.setdefault((message.tenant_id, message.data.payment_id), row)
        if row["version"] > known["version"]:
            rows[message.tenant_id, message.data.payment_id] = row
    applied = await keep(conn, PAYMENT, list(rows.values()))
    deltas: dict[tuple[object, object], int] = {}
    for key in applied:
        row = rows[key]
        account = (row["tenant_id"], row["account_id"])
        deltas[account] = deltas.get(account, 0) + row["amount_minor"] - before.get(key, 0)
    if not deltas:
        return
    changed = {**_KEY, "delta": "bigint"}
    advanced = await fetch(
        conn,
        f"UPDATE account SET version = version + 1, total_minor = total_minor + t.delta FROM {unnest(changed)} "  # noqa: S608 - our own text
        "WHERE account.tenant_id = t.tenant_id AND account.account_id = t.account_id "
        "RETURNING account.tenant_id, account.account_id, account.version",
        **arrays([(*account, delta) for account, delta in deltas.items()], list(changed)),
    )
    await publish(
        conn,
        [
            Outgoing(
                row.tenant_id,
                BankReconciliationAdvanced(
                    bank_account_id=row.account_id, version=row.version, booked_through=DAY, matched_through=DAY, gaps=[]
                ),
            )
            for row in advanced
        ],
    )


async def count_reminders(conn: AsyncConnection, messages: Sequence[Message[ReminderSent]], ctx: Context) -> None:
    """Adds one per reminder, blindly: only the inbox stands between a repetition and a wrong count."""
    del ctx
    if DELAY_SECONDS:
        await asyncio.sleep(DELAY_SECONDS)
    columns = {"tenant_id": "uuid", "event_id": "uuid", "customer_id": "uuid"}
    await run(
        conn,
        f"INSERT INTO effect (tenant_id, event_id, customer_id) SELECT tenant_id, event_id, customer_id FROM {unnest(columns)}",  # noqa: S608 - our own text
        **arrays([(message.tenant_id, message.envelope.id, message.data.customer_id) for message in messages], list(columns)),
    )
    times: dict[tuple[object, object], int] = {}
    for message in messages:
        customer = (message.tenant_id, message.data.customer_id)
        times[customer] = times.get(customer, 0) + 1
    columns = {"tenant_id": "uuid", "customer_id": "uuid", "times": "bigint"}
    await run(
        conn,
        f"INSERT INTO reminded (tenant_id, customer_id, times) SELECT tenant_id, customer_id, times FROM {unnest(columns)} "  # noqa: S608 - our own text
        "ORDER BY 1, 2 ON CONFLICT (tenant_id, customer_id) DO UPDATE SET times = reminded.times + excluded.times",
        **arrays([(*customer, count) for customer, count in times.items()], list(columns)),
    )
    await publish(
        conn,
        [
            Outgoing(
                message.tenant_id,
                KpiMeasured(entity_id=message.data.reminder_id, kpi="reminded", currency="EUR", as_of=DAY, numerator=1, denominator=1),
                cause=message.envelope,
            )
            for message in messages
        ],
    )
