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
from contracts.catalogue import Topic, topics
from contracts.envelope import (
    Envelope,
    Event,
    StateEvent,
    encode,
    event_id_text,
    natural_key,
    own_headers,
    retold,
    shared_headers,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import PUBLISHED, fetch, run
from shared.telemetry import traceparent

_MARK = "\x1e"  # ASCII record separator
_NOTHING = "null"  # no event is JSON's null: as a value it stands for none
_ENCODE = msgspec.json.Encoder().encode
_text = lru_cache(4096)(str)  # tenants and entities: few, and in every event


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """An event about to be published. `cause` is the envelope of the event that led to it, where there is one.

    `also` is a second name under which the same state is told (an item's change that is its payment as well): encoded and
    checked once.
    """

    tenant_id: UUID
    data: Event
    entity_id: UUID | None = None
    cause: Envelope | None = None
    also: type[StateEvent] | None = None


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
    prepared = Prepared(machine_now(), [], [], [], [])
    writer = _Writer(prepared, traceparent())
    for out in events:
        if isinstance(out, Tombstone):
            name, key, envelope = _tombstone_headers(out, at=writer.at, trace=writer.trace)
            prepared.names.append(name)
            prepared.keys.append(key)
            prepared.envelopes.append(_ENCODE(envelope).decode())
            prepared.values.append(_NOTHING)
            continue
        cls = type(out.data)
        raw = encode(out.data)
        writer.add(out, cls, raw)
        if out.also is not None:
            writer.add(out, out.also, retold(raw, cls, out.also))  # type: ignore[arg-type] # it says itself where they are not alike
    return prepared


class _Writer:
    """Writes events into columns; what many events of a batch have in common is made once."""

    def __init__(self, into: Prepared, trace: str) -> None:
        self.at, self.trace = into.now.isoformat(), trace
        self._into = into
        self._shared: dict[tuple[type[Event], UUID, UUID | None], tuple[Topic, str, str]] = {}
        self._causes: dict[int, tuple[str, str]] = {}

    def add(self, out: Outgoing, cls: type[Event], raw: bytes) -> None:
        """One event of class `cls` with the value `raw`."""
        place = (cls, out.tenant_id, out.entity_id)
        shared = self._shared.get(place)
        if shared is None:
            topic, tenant, texts = _shared(out, cls, at=self.at, trace=self.trace)
            shared = self._shared[place] = (topic, tenant, _ENCODE(texts).decode()[:-1])
        topic, tenant, begun = shared
        cause = out.cause
        why = ("", "")
        if cause is not None:
            known = self._causes.get(id(cause))
            why = self._causes[id(cause)] = _why(cause) if known is None else known
        aggregate, own = _own(out.data, cls, topic, tenant, why)
        into = self._into
        into.names.append(topic.name)
        into.keys.append(f"{tenant}:{aggregate}")
        into.envelopes.append(f"{begun},{_ENCODE(own).decode()[1:]}")
        into.values.append(raw.decode())


def _shared(out: Outgoing, cls: type[Event], *, at: str, trace: str) -> tuple[Topic, str, dict[str, str]]:
    """Topic, tenant and the headers that do not depend on the event itself."""
    topic = topics()[cls.__name__]
    tenant = _text(out.tenant_id)
    entity = _text(out.entity_id) if out.entity_id else None
    source = f"/encours/{topic.owner}"
    return topic, tenant, shared_headers(event=topic.name, source=source, time=at, tenant_id=tenant, entity_id=entity, traceparent=trace)


def _own(data: Event, cls: type[Event], topic: Topic, tenant: str, why: tuple[str, str]) -> tuple[str, dict[str, str]]:
    """The aggregate and the headers of an event's own; `why` are correlation and causation, empty where nothing led to it."""
    aggregate = str(getattr(data, topic.key))
    if isinstance(data, StateEvent):
        sequence = data.version
        identity = event_id_text(tenant, cls, aggregate, sequence)
    else:
        sequence = 0
        identity = event_id_text(tenant, cls, *natural_key(data, topic.key))
    return aggregate, own_headers(
        identity=identity, subject=aggregate, sequence=sequence, correlation_id=why[0] or identity, causation_id=why[1]
    )


def _why(cause: Envelope) -> tuple[str, str]:
    """Correlation and causation of what an event led to."""
    identity = str(cause.id)
    return cause.correlationid or identity, identity


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
    conn.info[PUBLISHED] = True


def headers_for(out: Outgoing, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    """Topic, record key and headers of an event recorded at the moment `at` (ISO 8601)."""
    cls = type(out.data)
    topic, tenant, shared = _shared(out, cls, at=at, trace=trace)
    aggregate, own = _own(out.data, cls, topic, tenant, _why(out.cause) if out.cause else ("", ""))
    return topic.name, f"{tenant}:{aggregate}", shared | own


def _tombstone_headers(out: Tombstone, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    topic = topics()[out.event.__name__]
    if topic.retention != "compacted":
        raise ValueError(f"{topic.name} is not compacted: a tombstone would remove nothing")
    tenant, aggregate = _text(out.tenant_id), str(out.aggregate_id)
    identity = event_id_text(tenant, out.event, aggregate, out.version)
    shared = shared_headers(event=topic.name, source=f"/encours/{topic.owner}", time=at, tenant_id=tenant, traceparent=trace)
    own = own_headers(identity=identity, subject=aggregate, sequence=out.version, correlation_id=identity)
    return topic.name, f"{tenant}:{aggregate}", shared | own


async def depth(conn: AsyncConnection, limit: int) -> int:
    """How many rows wait, counted up to `limit`: what bulk work looks at before its next slice."""
    rows = await fetch(conn, "SELECT count(*) AS n FROM (SELECT 1 FROM outbox LIMIT :limit) AS waiting", limit=limit)
    return int(rows[0].n)
