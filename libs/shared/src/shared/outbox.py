"""The outbox: events leave a service because their row was committed with the change they tell of.

A row holds what a transaction tells as Kafka's record batches, a topic's partition each, ready to be sent (docs/adr/0017); `unfold`
is the reader.

Invariants:
- the row is inserted through the caller's connection, at the end of its transaction, after the aggregate's row is locked: ids of
  one key are drawn in the order of its commits;
- the bytes were checked against the event's class and the size limit before the row went in (`contracts.envelope.encode`);
- nothing here opens or commits a transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from contracts.catalogue import Topic, topics
from contracts.envelope import (
    SEPARATOR,
    Envelope,
    Event,
    StateEvent,
    done_by,
    encode_all,
    event_id_text,
    namer,
    natural_key,
    own_headers,
    retold,
    shared_headers,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import PUBLISHED, at_end, fetch, records
from shared.recordbatches import Headers, Lane, partition_of, read, records_in
from shared.telemetry import traceparent

ROW_EVENTS, ROW_BYTES = 5_000, 8 << 20
"""From how many events, or bytes of batches, on a transaction's next batches are another row's."""
TOGETHER = 100
"""Events of a class that are written together: what they have in common is made once, and they are still in the processor's cache."""
_ENCODE = msgspec.json.Encoder().encode
_text = lru_cache(4096)(str)  # tenants and entities: few, and in every event


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """An event about to be published. `cause` is the envelope of the event that led to it, where there is one.

    All that a transaction tells of one aggregate names the same entity: events of one tenant and entity keep their order.

    `also` is a second name under which the same state is told (an item's change that is its payment as well): encoded and
    checked once. `done`: this transaction does itself what the service's own handler of the event would, which passes it over
    (`batches`).
    """

    tenant_id: UUID
    data: Event
    entity_id: UUID | None = None
    cause: Envelope | None = None
    also: type[StateEvent] | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The end of an aggregate on its compacted topic: a record without a value, published at the version that ended it.

    Compaction then removes what the topic still says of the aggregate. Consumers skip it: erasure is an event of its own.
    """

    tenant_id: UUID
    event: type[StateEvent]
    aggregate_id: UUID
    version: int


class Batch(NamedTuple):
    """A record batch and where it goes; the topic without a prefix."""

    topic: str
    partition: int
    events: int
    records: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events as record batches, checked and encoded. `trace` is the change's, as a W3C traceparent."""

    now: datetime
    trace: str
    tenants: dict[str, None] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)


async def publish(conn: AsyncConnection, events: Sequence[Outgoing | Tombstone]) -> None:
    """Has events go into the outbox with the commit: one row for all of a transaction. Those of one key leave in the order given.

    Raises contracts.envelope.ContractError when one is not what its class says; the caller's transaction then rolls back.
    """
    put(conn, prepare(events))


def prepare(events: Iterable[Outgoing | Tombstone]) -> Prepared:
    """The part of `publish` that needs no database: a worker does it while the database is busy with its other rows."""
    prepared = Prepared(machine_now(), traceparent())
    writer = _Writer(prepared)
    alike: dict[type[Event], list[Outgoing]] = {}
    for out in events:
        if isinstance(out, Tombstone):
            writer.write(alike)
            alike.clear()
            writer.end(out)
            continue
        of_class = alike.setdefault(type(out.data), [])
        of_class.append(out)
        if len(of_class) == TOGETHER:
            writer.write(alike)
            alike.clear()
    writer.write(alike)
    writer.build()
    return prepared


_Told = tuple[str, str | None, str, str, Headers, Headers]
"""Of an event what its record needs: tenant, entity, aggregate; the parts that its id is drawn from; the headers of its sequence and
of who is done with it, and those of its cause, where there are any.
"""


class _Writer:
    """Writes events as records, those of one class at a time; what many have in common is made once."""

    def __init__(self, into: Prepared) -> None:
        self._into = into
        self._at, self._milliseconds = into.now.isoformat(), int(into.now.timestamp() * 1000)
        self._causes: dict[int, Headers] = {}
        self._lanes: dict[str, list[Lane]] = {}

    def write(self, alike: Mapping[type[Event], list[Outgoing]]) -> None:
        """Events by class; those that are told under a second name, then under that."""
        for cls, outs in alike.items():
            lines = encode_all([out.data for out in outs])
            told = self._told(cls, outs)
            self._add(cls, told, lines)
            others = {out.also: None for out in outs if out.also is not None}
            if len(others) == 1 and all(out.also for out in outs):
                self._also(cls, next(iter(others)), told, lines)
            elif others:
                each = lines.splitlines()
                for also in others:
                    chosen = [at for at, out in enumerate(outs) if out.also is also]
                    self._also(cls, also, [told[at] for at in chosen], b"\n".join([each[at] for at in chosen]))

    def end(self, out: Tombstone) -> None:
        """A tombstone."""
        topic = topics()[out.event.__name__]
        if topic.retention != "compacted":
            raise ValueError(f"{topic.name} is not compacted: a tombstone would remove nothing")
        tenant, aggregate = _text(out.tenant_id), str(out.aggregate_id)
        identity = event_id_text(tenant, out.event, aggregate, out.version)
        shared = _shared(topic, tenant, None, at=self._at, trace=self._into.trace)
        own = own_headers(identity=identity, subject=aggregate, sequence=out.version, correlation_id=identity)
        self._into.tenants[tenant] = None
        key = f"{tenant}:{aggregate}".encode()
        self._lanes_of(topic)[partition_of(key, topic.partitions)].add(self._milliseconds, key, None, _headers(shared | own))

    def build(self) -> None:
        """Makes the batches, when all is written."""
        for topic, lanes in self._lanes.items():
            for partition, lane in enumerate(lanes):
                self._into.batches.extend(Batch(topic, partition, records_in(batch), batch) for batch in lane.built())

    def _also(self, cls: type[Event], also: type[StateEvent], told: Sequence[_Told], lines: bytes) -> None:
        self._add(also, told, retold(lines, cls, also))  # type: ignore[arg-type] # it says itself where they are not alike

    def _told(self, cls: type[Event], outs: Sequence[Outgoing]) -> list[_Told]:
        topic, state = topics()[cls.__name__], issubclass(cls, StateEvent)
        key = topic.key
        told = []
        for out in outs:
            data, cause = out.data, out.cause
            why = [] if cause is None else self._causes.get(id(cause)) or self._cause(cause)
            aggregate = str(getattr(data, key))
            sequence: Headers = []
            if state:
                version: int = data.version  # type: ignore[attr-defined] # a state has one
                parts = f"{SEPARATOR}{aggregate}{SEPARATOR}{version}"
                sequence.append(("ce_sequence", b"%020d" % version))
            else:
                parts = SEPARATOR.join(("", *map(str, natural_key(data, key))))
            if out.done:
                sequence.append(done_by(topic.owner))
            entity = None if out.entity_id is None else _text(out.entity_id)
            told.append((_text(out.tenant_id), entity, aggregate, parts, sequence, why))
        return told

    def _cause(self, cause: Envelope) -> Headers:
        correlation, causation = _why(cause)
        why = self._causes[id(cause)] = [("ce_correlationid", correlation.encode()), ("ce_causationid", causation.encode())]
        return why

    def _add(self, cls: type[Event], told: Sequence[_Told], lines: bytes) -> None:
        """Records of class `cls`. Own headers are those of `_own`, written out."""
        topic = topics()[cls.__name__]
        lanes = self._lanes_of(topic)
        milliseconds = self._milliseconds
        places: dict[tuple[str, str | None], tuple[Callable[[str], str], Headers]] = {}
        for (tenant, entity, aggregate, parts, sequence, why), value in zip(told, lines.splitlines(), strict=True):
            place = places.get((tenant, entity))
            if place is None:
                self._into.tenants[tenant] = None
                shared = _headers(_shared(topic, tenant, entity, at=self._at, trace=self._into.trace))
                place = places[tenant, entity] = (namer(tenant, cls), shared)
            name, shared = place
            identity = name(parts).encode()
            key = f"{tenant}:{aggregate}".encode()
            headers = [*shared, ("ce_id", identity), ("ce_subject", aggregate.encode()), *sequence]
            headers += why or [("ce_correlationid", identity)]
            lanes[partition_of(key, topic.partitions)].add(milliseconds, key, value, headers)

    def _lanes_of(self, topic: Topic) -> list[Lane]:
        """A topic's lanes, by partition."""
        return self._lanes.setdefault(topic.name, [Lane() for _ in range(topic.partitions)])


def _headers(texts: Mapping[str, str]) -> Headers:
    return [(name, text.encode()) for name, text in texts.items()]


def _shared(topic: Topic, tenant: str, entity: str | None, *, at: str, trace: str) -> dict[str, str]:
    """The headers that do not depend on the event itself."""
    return shared_headers(
        event=topic.name, source=f"/encours/{topic.owner}", time=at, tenant_id=tenant, entity_id=entity, traceparent=trace
    )


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
    identity = _ENCODE(cause.id)[1:-1].decode()  # a sixth of what `str` of an id takes
    return cause.correlationid or identity, identity


def put(conn: AsyncConnection, prepared: Prepared) -> None:
    """The other part of `publish`: the row goes in at the transaction's end."""
    if prepared.batches:
        at_end(conn, _insert, prepared, last=True)


async def _insert(conn: AsyncConnection, told: Sequence[Prepared]) -> None:
    for row in as_rows(told):
        await records(
            conn,
            "INSERT INTO outbox (tenants, events, topics, partitions, batches, trace, created_at) "
            "VALUES (CAST(:tenants AS uuid[]), :events, CAST(:topics AS text[]), CAST(:partitions AS int[]), "
            "CAST(:batches AS bytea[]), :trace, :created_at)",
            **row,
        )
    conn.info[PUBLISHED] = True


def as_rows(told: Sequence[Prepared]) -> Iterator[dict[str, Any]]:
    """The rows of a transaction, by column: one, unless it tells of very much."""
    tenants = list(dict.fromkeys(tenant for prepared in told for tenant in prepared.tenants))
    batches = [batch for prepared in told for batch in prepared.batches]
    first = count = size = 0
    for end, batch in enumerate(batches, 1):
        count, size = count + batch.events, size + len(batch.records)
        if end == len(batches) or count >= ROW_EVENTS or size >= ROW_BYTES:
            topics_, partitions, _, built = zip(*batches[first:end], strict=True)
            yield {
                "tenants": tenants,
                "events": count,
                "topics": topics_,
                "partitions": partitions,
                "batches": built,
                "trace": told[0].trace,
                "created_at": told[0].now,
            }
            first, count, size = end, 0, 0


def unfold(topics_: Sequence[str], batches: Sequence[bytes]) -> Iterator[tuple[str, str, bytes | None, Headers]]:
    """The events of a row, those of a key in their order: topic, key, value (None: a tombstone) and headers."""
    for topic, batch in zip(topics_, batches, strict=True):
        for _, key, value, headers in read(batch):
            yield topic, key.decode(), value, headers


def headers_for(out: Outgoing, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    """Topic, record key and headers of an event recorded at the moment `at` (ISO 8601)."""
    cls = type(out.data)
    topic, tenant = topics()[cls.__name__], _text(out.tenant_id)
    shared = _shared(topic, tenant, _text(out.entity_id) if out.entity_id else None, at=at, trace=trace)
    aggregate, own = _own(out.data, cls, topic, tenant, _why(out.cause) if out.cause else ("", ""))
    return topic.name, f"{tenant}:{aggregate}", shared | own


async def depth(conn: AsyncConnection, limit: int) -> int:
    """How many events wait, of at most `limit` rows: what bulk work looks at before its next slice."""
    rows = await fetch(conn, "SELECT coalesce(sum(events), 0) AS n FROM (SELECT events FROM outbox LIMIT :limit) AS waiting", limit=limit)
    return int(rows[0].n)
