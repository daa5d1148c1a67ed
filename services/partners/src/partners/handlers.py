"""What partners does with every event: it enters the log, once, as a CloudEvent in its structured form."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.envelope import Event, Message
from shared.batches import Context
from shared.clock import machine_now
from shared.jobs import JobContext
from sqlalchemy.ext.asyncio import AsyncConnection

from partners import storage

SLICE = 1_000
_ENCODE = msgspec.json.Encoder().encode


def cloudevent(message: Message[Event]) -> str:
    """The event as one JSON document (CloudEvents 1.0 JSON format), with our extensions."""
    envelope = message.envelope
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(envelope.id),
        "type": envelope.type,
        "source": envelope.source,
        "subject": envelope.subject,
        "time": envelope.time,
        "datacontenttype": "application/json",
        "tenantid": envelope.tenantid,
        "correlationid": envelope.correlationid,
    }
    if envelope.entityid is not None:
        document["entityid"] = envelope.entityid
    if envelope.sequence:
        document["sequence"] = f"{envelope.sequence:020d}"
    if envelope.traceparent:
        document["traceparent"] = envelope.traceparent
    document["data"] = message.data
    return _ENCODE(document).decode()


async def log_events(conn: AsyncConnection, messages: Sequence[Message[Event]], ctx: Context) -> None:  # noqa: ARG001 - no rule here asks the time
    """Appends events to the log; what is there already stays."""
    entries = [(message.tenant_id, message.envelope.type, message.envelope.id, cloudevent(message)) for message in messages]
    await storage.append(conn, entries, now=machine_now())


async def give_positions(context: JobContext, tenant_id: UUID) -> None:
    """The sequencer: positions for what was committed, and deliveries for what got one."""
    while True:
        async with context.database.transaction(tenant_id) as conn:
            given = await storage.sequence(conn, tenant_id, limit=SLICE)
        if given < SLICE:
            break
    while True:
        async with context.database.transaction(tenant_id) as conn:
            if await storage.plan(conn, tenant_id, limit=SLICE, now=machine_now()) < SLICE:
                return
