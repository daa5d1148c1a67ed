"""The naive form: an ORM session, a transaction and an offset commit per message, for each.

`python -m bench.naive`, addresses from the environment; the same tables and topics as the bare loop. Four events a payment.
"""

import uuid

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import BigInteger, Identity, Text, select
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.bare import BOOTSTRAP, DSN, PREFIX, Payment


class Base(DeclarativeBase):
    """The mapped classes."""


class Inbox(Base):
    """b_inbox."""

    __tablename__ = "b_inbox"
    event_id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)


class Invoice(Base):
    """b_invoice."""

    __tablename__ = "b_invoice"
    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    tenant: Mapped[uuid.UUID] = mapped_column(UUID)
    ref: Mapped[str] = mapped_column(Text)
    total: Mapped[int] = mapped_column(BigInteger)
    open: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)


class Paid(Base):
    """b_payment."""

    __tablename__ = "b_payment"
    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    tenant: Mapped[uuid.UUID] = mapped_column(UUID)
    ref: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    unallocated: Mapped[int] = mapped_column(BigInteger)


class Allocation(Base):
    """b_allocation."""

    __tablename__ = "b_allocation"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(UUID)
    invoice_id: Mapped[uuid.UUID] = mapped_column(UUID)
    amount: Mapped[int] = mapped_column(BigInteger)


class Outbox(Base):
    """b_outbox: the bare loop's relay publishes it."""

    __tablename__ = "b_outbox"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    topic: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    value: Mapped[str] = mapped_column(Text)


async def main() -> None:
    """One message, one session, one transaction, one offset commit; four events go to the outbox row by row."""
    decode = msgspec.json.Decoder(Payment).decode
    engine = create_async_engine(DSN.replace("postgresql://", "postgresql+asyncpg://"))
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    consumer = AIOKafkaConsumer(
        PREFIX + "BarePayment",
        bootstrap_servers=BOOTSTRAP,
        group_id=PREFIX + "naive",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    async for record in consumer:
        event = decode(record.value)
        async with sessions() as session:
            if await session.get(Inbox, uuid.UUID(event.event_id)) is None:
                session.add(Inbox(event_id=uuid.UUID(event.event_id)))
                found = select(Invoice).where(Invoice.tenant == uuid.UUID(event.tenant), Invoice.ref == event.ref).with_for_update()
                invoice = (await session.execute(found)).scalar_one()
                amount = min(invoice.open, event.amount)
                payment = uuid.UUID(event.payment_id)
                session.add(Paid(id=payment, tenant=invoice.tenant, ref=event.ref, amount=event.amount, unallocated=event.amount - amount))
                session.add(Allocation(payment_id=payment, invoice_id=invoice.id, amount=amount))
                invoice.open -= amount
                invoice.version += 1
                value = msgspec.json.encode(
                    {"item_id": invoice.id, "total": invoice.total, "open": invoice.open, "ref": event.ref}
                ).decode()
                for topic in ("PaymentMatched", "OpenItemChanged", "AccountBalanceChanged", "InvoicePaid"):
                    session.add(Outbox(topic=topic, key=f"{event.tenant}:{invoice.id}", value=value))
                await session.commit()
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})


if __name__ == "__main__":
    uvloop.run(main())
