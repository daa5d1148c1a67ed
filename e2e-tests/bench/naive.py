"""The naive form of the same work: for each PaymentReceived an ORM session, a transaction and an offset commit of its own.

`python -m bench.naive`, on matching's own tables and topics and under their row-level security. It writes what the product writes for a
payment that names an open item: payment, item, account, allocation, decision, ledger entry and four events, each a row of the outbox, which
matching's relay publishes. `python -m matching check` holds afterwards.
"""

import os
from typing import Any
from uuid import UUID

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from contracts.envelope import Envelope, decode
from contracts.items import InvoicePaid
from contracts.payments import PaymentMatched, PaymentReceived
from matching.domain import rows
from matching.handlers.publishing import account_event, item_event, payment_event
from matching.tables.books import ACCOUNT_BALANCE, ALLOCATION, DECISION, ITEM_REFERENCE, LEDGER_ENTRY, OPEN_ITEM, PAYMENT
from matching.tables.columns import METADATA
from shared.clock import machine_now
from shared.db import async_url
from shared.outbox import Outgoing, as_rows, prepare
from sqlalchemy import and_, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

RULE = "structured_reference"


class Base(DeclarativeBase):
    """The mapped classes."""

    metadata = METADATA


class Payment(Base):
    """payment."""

    __table__ = PAYMENT


class OpenItem(Base):
    """open_item."""

    __table__ = OPEN_ITEM


class ItemReference(Base):
    """item_reference."""

    __table__ = ITEM_REFERENCE


class AccountBalance(Base):
    """account_balance."""

    __table__ = ACCOUNT_BALANCE


class Allocation(Base):
    """allocation."""

    __table__ = ALLOCATION


class Decision(Base):
    """decision."""

    __table__ = DECISION


class LedgerEntry(Base):
    """ledger_entry."""

    __table__ = LEDGER_ENTRY


class Outbox(Base):
    """outbox."""

    __table__ = METADATA.tables["outbox"]


async def main() -> None:
    """One message, one session, one transaction, one offset commit."""
    sessions = async_sessionmaker(create_async_engine(async_url(os.environ["ENCOURS_DATABASE_URL"])), expire_on_commit=False)
    prefix = os.environ["ENCOURS_TOPIC_PREFIX"]
    consumer = AIOKafkaConsumer(
        prefix + "PaymentReceived",
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id=prefix + "naive",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    async for record in consumer:
        message = decode(PaymentReceived, record.headers, record.value)
        async with sessions() as session:
            await settle(session, message.tenant_id, message.data.payment_id, message.envelope)
            await session.commit()
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})


async def settle(session: AsyncSession, tenant: UUID, payment_id: UUID, cause: Envelope) -> None:
    """What the payment names is paid, as far as it goes; nothing where it was decided on before."""
    now = machine_now()
    await session.execute(text("SELECT set_config('app.tenants', :tenants, true)"), {"tenants": f"{{{tenant}}}"})
    payment: Any = await session.get(Payment, (tenant, payment_id), with_for_update=True)
    if payment.status != "received":
        return
    reference: Any = ItemReference
    named: Any = OpenItem
    found = (
        select(OpenItem)
        .join(ItemReference, and_(reference.tenant_id == named.tenant_id, reference.item_id == named.item_id))
        .where(reference.tenant_id == tenant, reference.entity_id == payment.entity_id)
        .where(reference.kind == "structured", reference.value == payment.structured_reference)
        .with_for_update(of=OpenItem)
    )
    item: Any = (await session.execute(found)).scalar_one()
    account: Any = await session.get(AccountBalance, (tenant, item.account_id), with_for_update=True)
    amount = min(payment.unapplied_minor, item.open_minor)
    payment.version, item.version, account.version = payment.version + 1, item.version + 1, account.version + 1
    payment.allocated_minor += amount
    payment.unapplied_minor -= amount
    payment.status, payment.rule, payment.looks = "matched", RULE, 1
    payment.account_id, payment.payer_customer_id = item.account_id, item.customer_id
    item.open_minor -= amount
    item.cash_minor += amount
    item.value_date = payment.value_date
    item.status = "open" if item.open_minor else "paid"
    account.open_minor -= amount
    payment.allocations = {item.item_id: rows.Allocation(item.item_id, item.customer_id, item.invoice_number, amount, RULE)}
    whose = {"tenant_id": tenant, "payment_id": payment_id}
    evidence = {"items": [{"item_id": str(item.item_id), "version": item.version}], "allocated_minor": amount}
    session.add(Allocation(**whose, item_id=item.item_id, amount_minor=amount, rule=RULE))
    session.add(Decision(**whose, payment_version=payment.version, rule=RULE, evidence=evidence, decided_at=now))
    session.add(
        LedgerEntry(
            **whose, entity_id=payment.entity_id, currency=payment.currency, debit="unapplied", credit="receivables", amount_minor=amount,
            item_id=item.item_id, at=now,
        )
    )  # fmt: skip
    told = [
        Outgoing(tenant, payment_event(PaymentMatched, payment), payment.entity_id, cause),
        Outgoing(tenant, item_event(item), item.entity_id, cause, InvoicePaid),
        Outgoing(tenant, account_event(account, account), account.entity_id, cause),
    ]
    session.add_all([Outbox(**row) for row in as_rows([prepare(told)])])


if __name__ == "__main__":
    uvloop.run(main())
