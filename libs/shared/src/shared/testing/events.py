"""Events in and out of a test: what a service put into its outbox, and messages to feed its handlers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from contracts.catalogue import events
from contracts.envelope import Envelope, Event, Message, attributes, decoder, envelope_of

from shared.batches import Context
from shared.clock import machine_now
from shared.kafka import Offsets
from shared.outbox import Outgoing, headers_for, unfold

E = TypeVar("E", bound=Event)


def message(tenant_id: UUID, data: E, *, entity_id: UUID | None = None) -> Message[E]:
    """An event as a handler receives it."""
    _, _, texts = headers_for(Outgoing(tenant_id, data, entity_id), at=machine_now().isoformat(), trace="")
    return Message(envelope=_envelope(texts), data=data)


def context(now: datetime, *, bootstrap_servers: str = "127.0.0.1:1") -> Context:
    """A handler's context at a business moment; its offsets need a broker only if they are asked for."""
    return Context(now, Offsets(bootstrap_servers), "", "test")


async def published(owner_url: str, *names: str) -> list[Message[Any]]:
    """What waits in an outbox, in order, tombstones aside; only events of these names where any are given. Read as the tables' owner."""
    conn = await asyncpg.connect(owner_url)
    try:
        rows: Sequence[Any] = await conn.fetch("SELECT topic, tenant_id, common, own, data FROM outbox ORDER BY id")
    finally:
        await conn.close()
    return [
        Message(envelope=envelope_of(attributes(headers)), data=decoder(events()[topic]).decode(value))
        for topic, *row in rows
        if not names or topic in names
        for _, value, headers in unfold(*row)
        if value is not None
    ]


def _envelope(texts: dict[str, str]) -> Envelope:
    return envelope_of(attributes((name, text.encode()) for name, text in texts.items()))
