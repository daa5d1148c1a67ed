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
from functools import lru_cache
from uuid import UUID

import msgspec
from contracts.catalogue import topics
from contracts.envelope import Envelope, Event, StateEvent, encode, event_id_text, header_texts, natural_key
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import fetch, run
from shared.telemetry import traceparent

_MARK = "\x1e"  # ASCII record separator
_NOTHING = "null"  # no event is JSON's null: as a value it stands for none
_ENCODE = msgspec.json.Encoder().encode
_text = lru_cache(4096)(str)  # tenants and entities: few, and in every event


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event about to be published. `cause` is the envelope of the event that led to it, where there is one."""

    tenant_id: UUID
    data: Event
    entity_id: UUID | None = None
    cause: Envelope | None = None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The end of an aggregate on its compacted topic: a record without a value, published at the version that ended it.

    Compaction then removes what the topic still says of the aggregate. Consumers skip it: erasure is an event of its own.
    """

    tenant_id: UUID
    event: type[StateEvent]
    aggregate_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events as the columns of the outbox, checked and encoded."""

    now: datetime
    names: list[str]
    keys: list[str]
    envelopes: list[str]
    values: list[str]


async def publish(conn: AsyncConnection, events: Sequence[Outgoing | Tombstone]) -> None:
    """Puts events into the outbox: one statement, whatever their number.

    Raises contracts.envelope.ContractError when one is not what its class says; the caller's transaction then rolls back.
    """
    await insert(conn, prepare(events))


def prepare(events: Sequence[Outgoing | Tombstone]) -> Prepared:
    """The part of `publish` that needs no database: a worker does it while the database is busy with its other rows."""
    now = machine_now()
    at, trace = now.isoformat(), traceparent()
    names, keys, envelopes, values = [], [], [], []
    for out in events:
        if isinstance(out, Tombstone):
            name, key, envelope = _tombstone_headers(out, at=at, trace=trace)
            value = _NOTHING
        else:
            name, key, envelope = headers_for(out, at=at, trace=trace)
            value = encode(out.data).decode()
        names.append(name)
        keys.append(key)
        envelopes.append(_ENCODE(envelope).decode())
        values.append(value)
    return Prepared(now, names, keys, envelopes, values)


async def insert(conn: AsyncConnection, prepared: Prepared) -> None:
    """The other part of `publish`: the rows go in."""
    if not prepared.names:
        return
    # one text a column, split by the server: JSON holds no raw control character, and a driver's arrays cost more than all this
    await run(
        conn,
        "INSERT INTO outbox (topic, key, envelope, value, created_at) SELECT topic, key, envelope, value, :now "
        "FROM ROWS FROM (string_to_table(:names, :mark), string_to_table(:keys, :mark), string_to_table(:envelopes, :mark), "
        "string_to_table(:values, :mark, :nothing)) WITH ORDINALITY AS t(topic, key, envelope, value, ord) ORDER BY ord",
        mark=_MARK,
        nothing=_NOTHING,
        names=_MARK.join(prepared.names),
        keys=_MARK.join(prepared.keys),
        envelopes=_MARK.join(prepared.envelopes),
        values=_MARK.join(prepared.values),
        now=prepared.now,
    )


def headers_for(out: Outgoing, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    """Topic, record key and headers of an event recorded at the moment `at` (ISO 8601)."""
    data, cause = out.data, out.cause
    cls = type(data)
    topic = topics()[cls.__name__]
    tenant = _text(out.tenant_id)
    aggregate = str(getattr(data, topic.key))
    if isinstance(data, StateEvent):
        sequence = data.version
        identity = event_id_text(tenant, cls, aggregate, sequence)
    else:
        sequence = 0
        identity = event_id_text(tenant, cls, *natural_key(data, topic.key))
    return (
        topic.name,
        f"{tenant}:{aggregate}",
        header_texts(
            identity=identity,
            event=topic.name,
            source=f"/encours/{topic.owner}",
            subject=aggregate,
            time=at,
            tenant_id=tenant,
            entity_id=_text(out.entity_id) if out.entity_id else None,
            sequence=sequence,
            correlation_id=(cause.correlationid or str(cause.id)) if cause else identity,
            causation_id=str(cause.id) if cause else "",
            traceparent=trace,
        ),
    )


def _tombstone_headers(out: Tombstone, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    topic = topics()[out.event.__name__]
    if topic.retention != "compacted":
        raise ValueError(f"{topic.name} is not compacted: a tombstone would remove nothing")
    tenant, aggregate = _text(out.tenant_id), str(out.aggregate_id)
    identity = event_id_text(tenant, out.event, aggregate, out.version)
    texts = header_texts(
        identity=identity,
        event=topic.name,
        source=f"/encours/{topic.owner}",
        subject=aggregate,
        time=at,
        tenant_id=tenant,
        sequence=out.version,
        correlation_id=identity,
        traceparent=trace,
    )
    return topic.name, f"{tenant}:{aggregate}", texts


async def depth(conn: AsyncConnection, limit: int) -> int:
    """How many rows wait, counted up to `limit`: what bulk work looks at before its next slice."""
    rows = await fetch(conn, "SELECT count(*) AS n FROM (SELECT 1 FROM outbox LIMIT :limit) AS waiting", limit=limit)
    return int(rows[0].n)
