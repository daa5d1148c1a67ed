"""Events in and out of a test: what a service put into its outbox, and messages to feed its handlers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from contracts.catalogue import events
from contracts.envelope import Envelope, Event, Message, attributes, decoder, envelope_of

from shared.batches import Context
from shared.clock import machine_now
from shared.kafka import Lanes, Offsets
from shared.outbox import Outgoing, headers_for, unfold
from shared.recordbatches import Headers, build, partition_of

Record = tuple[str, bytes, bytes | None, Headers]
"""Full topic, key, value (None: a tombstone), headers."""
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
        rows: Sequence[Any] = await conn.fetch("SELECT topics, batches FROM outbox ORDER BY id")
    finally:
        await conn.close()
    return [
        Message(envelope=envelope_of(attributes(headers)), data=decoder(events()[topic]).decode(value))
        for row in rows
        for topic, _, value, headers in unfold(*row)
        if value is not None and (not names or topic in names)
    ]


def in_lanes(records: Iterable[Record], *, partitions: int = 6) -> Lanes:
    """Records as a producer takes them; `partitions` as most topics of the catalogue have them."""
    lanes: dict[tuple[str, int], list[Any]] = {}
    at = int(machine_now().timestamp() * 1000)
    for topic, key, value, headers in records:
        lanes.setdefault((topic, partition_of(key, partitions)), []).append((at, key, value, headers))
    return {lane: build(found) for lane, found in lanes.items()}


def _envelope(texts: dict[str, str]) -> Envelope:
    return envelope_of(attributes((name, text.encode()) for name, text in texts.items()))
