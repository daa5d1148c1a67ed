"""The outbox: events leave a service because their row was committed with the change they tell of.

Invariants:
- rows are inserted through the caller's connection, in its transaction, after the aggregate's row is locked: ids of one
  key are drawn in the order of its commits;
- the bytes were checked against the event's class and the size limit before the row went in (`contracts.envelope.encode`);
- nothing here opens or commits a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from contracts.catalogue import topics
from contracts.envelope import Envelope, Event, StateEvent, encode, event_id, natural_key
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import fetch, run
from shared.telemetry import traceparent

_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event about to be published. `cause` is the envelope of the event that led to it, where there is one."""

    tenant_id: UUID
    data: Event
    entity_id: UUID | None = None
    cause: Envelope | None = None


async def publish(conn: AsyncConnection, events: Sequence[Outgoing]) -> None:
    """Puts events into the outbox: one statement, whatever their number.

    Raises contracts.envelope.ContractError when one is not what its class says; the caller's transaction then rolls back.
    """
    if not events:
        return
    now = machine_now()
    trace = traceparent()
    names, keys, envelopes, values = [], [], [], []
    for out in events:
        name, key, envelope = envelope_for(out, now=now, trace=trace)
        names.append(name)
        keys.append(key)
        envelopes.append(_ENCODE(envelope).decode())
        values.append(encode(out.data).decode())
    await run(
        conn,
        "INSERT INTO outbox (topic, key, envelope, value, created_at) "
        "SELECT topic, key, envelope, value, :now FROM unnest(CAST(:names AS text[]), CAST(:keys AS text[]), "
        "CAST(:envelopes AS text[]), CAST(:values AS text[])) WITH ORDINALITY AS t(topic, key, envelope, value, ord) ORDER BY ord",
        names=names,
        keys=keys,
        envelopes=envelopes,
        values=values,
        now=now,
    )


def envelope_for(out: Outgoing, *, now: datetime, trace: str) -> tuple[str, str, Envelope]:
    """Topic, record key and envelope of an event."""
    data, cause = out.data, out.cause
    cls = type(data)
    topic = topics()[cls.__name__]
    aggregate = getattr(data, topic.key)
    if isinstance(data, StateEvent):
        identity = event_id(out.tenant_id, cls, aggregate, data.version)
        sequence = data.version
    else:
        identity = event_id(out.tenant_id, cls, *natural_key(data, topic.key))
        sequence = 0
    return (
        topic.name,
        f"{out.tenant_id}:{aggregate}",
        Envelope(
            id=identity,
            type=topic.name,
            source=f"/encours/{topic.owner}",
            subject=str(aggregate),
            time=now,
            tenantid=out.tenant_id,
            entityid=out.entity_id,
            sequence=sequence,
            correlationid=(cause.correlationid or str(cause.id)) if cause else str(identity),
            causationid=str(cause.id) if cause else "",
            traceparent=trace,
        ),
    )


async def depth(conn: AsyncConnection, limit: int) -> int:
    """How many rows wait, counted up to `limit`: what bulk work looks at before its next slice."""
    rows = await fetch(conn, "SELECT count(*) AS n FROM (SELECT 1 FROM outbox LIMIT :limit) AS waiting", limit=limit)
    return int(rows[0].n)
