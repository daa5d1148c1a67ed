"""The outbox: events leave a service because their row was committed with the change they tell of.

A row holds events of one topic, tenant, entity and transaction, in their order: the headers that they have in common once, their
own headers and their values a line each (ADR 13). `unfold` is the reader.

Invariants:
- rows are inserted through the caller's connection, at the end of its transaction, after the aggregate's row is locked: ids of
  one key are drawn in the order of its commits, and all that a transaction tells goes in with one statement;
- the bytes were checked against the event's class and the size limit before the row went in (`contracts.envelope.encode`);
- nothing here opens or commits a transaction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec
from contracts.catalogue import Topic, topics
from contracts.envelope import (
    SEPARATOR,
    Envelope,
    Event,
    StateEvent,
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
from shared.telemetry import traceparent

ROW_EVENTS, ROW_BYTES = 500, 1 << 20
"""How many events a row has at most, and about how many bytes of values; one that is larger has a row of its own."""
_NOTHING = "null"  # no event is JSON's null: as a value it stands for none
_TEXTS = msgspec.json.Decoder(dict[str, str])
_ENCODE = msgspec.json.Encoder().encode
Headers = list[tuple[str, bytes]]
_text = lru_cache(4096)(str)  # tenants and entities: few, and in every event


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """An event about to be published. `cause` is the envelope of the event that led to it, where there is one.

    All that a transaction tells of one aggregate names the same entity: events of one tenant and entity keep their order.

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


class Row(NamedTuple):
    """A row of the outbox: `common` is a JSON object of headers, `own` one a line, `data` a value a line, in the same order."""

    topic: str
    tenant_id: str
    events: int
    common: str
    own: str
    data: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events as rows of the outbox, checked and encoded."""

    now: datetime
    rows: list[Row]


async def publish(conn: AsyncConnection, events: Sequence[Outgoing | Tombstone]) -> None:
    """Has events go into the outbox with the commit: one statement for all of a transaction. Those of one topic leave in the order given.

    Raises contracts.envelope.ContractError when one is not what its class says; the caller's transaction then rolls back.
    """
    put(conn, prepare(events))


def prepare(events: Iterable[Outgoing | Tombstone]) -> Prepared:
    """The part of `publish` that needs no database: a worker does it while the database is busy with its other rows."""
    prepared = Prepared(machine_now(), [])
    writer = _Writer(prepared, traceparent())
    alike: dict[type[Event], list[Outgoing]] = {}
    for out in events:
        if isinstance(out, Tombstone):
            writer.write(alike)
            alike.clear()
            prepared.rows.append(_tombstone(out, at=writer.at, trace=writer.trace))
        else:
            alike.setdefault(type(out.data), []).append(out)
    writer.write(alike)
    return prepared


_Told = tuple[str, str | None, str, str, str, str]
"""Of an event what its headers need, as text: tenant, entity, aggregate; the parts that its id is drawn from; the header of its
sequence; its correlation as JSON with the header of its cause. The last two are "" where there is none.
"""


class _Writer:
    """Writes events into rows, those of one class at a time; what many have in common is made once."""

    def __init__(self, into: Prepared, trace: str) -> None:
        self.at, self.trace = into.now.isoformat(), trace
        self._into = into
        self._causes: dict[int, str] = {}

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

    def _also(self, cls: type[Event], also: type[StateEvent], told: Sequence[_Told], lines: bytes) -> None:
        self._add(also, told, retold(lines, cls, also))  # type: ignore[arg-type] # it says itself where they are not alike

    def _told(self, cls: type[Event], outs: Sequence[Outgoing]) -> list[_Told]:
        key, state = topics()[cls.__name__].key, issubclass(cls, StateEvent)
        told = []
        for out in outs:
            data, cause = out.data, out.cause
            why = "" if cause is None else self._causes.get(id(cause)) or self._cause(cause)
            aggregate = str(getattr(data, key))
            if state:
                version: int = data.version  # type: ignore[attr-defined] # a state has one
                parts, sequence = f"{SEPARATOR}{aggregate}{SEPARATOR}{version}", f',"ce_sequence":"{version:020d}"'
            else:
                parts, sequence = SEPARATOR.join(("", *map(str, natural_key(data, key)))), ""
            entity = None if out.entity_id is None else _text(out.entity_id)
            told.append((_text(out.tenant_id), entity, aggregate, parts, sequence, why))
        return told

    def _cause(self, cause: Envelope) -> str:
        correlation, causation = _why(cause)
        why = self._causes[id(cause)] = f'{_quoted(correlation)},"ce_causationid":"{causation}"'
        return why

    def _add(self, cls: type[Event], told: Sequence[_Told], lines: bytes) -> None:
        """Rows of class `cls`. Own headers are those of `_own`, written out: keys are ids, and nothing in an id needs quoting."""
        topic = topics()[cls.__name__]
        values = lines.decode().removesuffix("\n").split("\n")
        places: dict[tuple[str, str | None], tuple[Callable[[str], str], list[str], list[str]]] = {}
        for (tenant, entity, aggregate, parts, sequence, why), value in zip(told, values, strict=True):
            place = places.get((tenant, entity))
            if place is None:
                place = places[tenant, entity] = (namer(tenant, cls), [], [])
            name, own, data = place
            identity = name(parts)
            quoted = f'"{identity}"'
            own.append(f'{{"ce_id":{quoted},"ce_subject":"{aggregate}"{sequence},"ce_correlationid":{why or quoted}}}')
            data.append(value)
        size = max(1, min(ROW_EVENTS, ROW_BYTES * len(told) // len(lines)))
        for (tenant, entity), (_, own, data) in places.items():
            common = _quoted(_shared(topic, tenant, entity, at=self.at, trace=self.trace))
            for first in range(0, len(own), size):
                some = own[first : first + size]
                row = Row(topic.name, tenant, len(some), common, "\n".join(some), "\n".join(data[first : first + size]))
                self._into.rows.append(row)


def _quoted(value: object) -> str:
    return _ENCODE(value).decode()


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
    identity = _quoted(cause.id)[1:-1]  # a sixth of what `str` of an id takes
    return cause.correlationid or identity, identity


def put(conn: AsyncConnection, prepared: Prepared) -> None:
    """The other part of `publish`: the rows go in at the transaction's end."""
    if prepared.rows:
        at_end(conn, _insert, prepared, last=True)


async def _insert(conn: AsyncConnection, told: Sequence[Prepared]) -> None:
    rows = [row for prepared in told for row in prepared.rows]
    topics_, tenants, events, common, own, data = zip(*rows, strict=True)
    await records(
        conn,
        "INSERT INTO outbox (topic, tenant_id, events, common, own, data, created_at) "
        "SELECT topic, CAST(tenant AS uuid), events, common, own, data, CAST(:now AS timestamptz) FROM unnest("
        "CAST(:topics AS text[]), CAST(:tenants AS text[]), CAST(:events AS int[]), "
        "CAST(:common AS text[]), CAST(:own AS text[]), CAST(:data AS text[])) "
        "WITH ORDINALITY AS t(topic, tenant, events, common, own, data, ord) ORDER BY ord",
        topics=topics_,
        tenants=tenants,
        events=events,
        common=common,
        own=own,
        data=data,
        now=told[0].now,
    )
    conn.info[PUBLISHED] = True


def unfold(tenant_id: UUID, common: str, own: str, data: str) -> Iterator[tuple[str, bytes | None, Headers]]:
    """The events of a row in their order: key, value (None: a tombstone) and headers, as a record of Kafka has them."""
    shared, key = _headers(common), f"{tenant_id}:"
    nothing = _NOTHING.encode()
    for texts, value in zip(_TEXTS.decode_lines(own), data.encode().split(b"\n"), strict=True):
        headers = [*shared, *[(name, text.encode()) for name, text in texts.items()]]
        yield key + texts["ce_subject"], None if value == nothing else value, headers


@lru_cache(1024)
def _headers(texts: str) -> Headers:
    return [(name, text.encode()) for name, text in _TEXTS.decode(texts).items()]


def headers_for(out: Outgoing, *, at: str, trace: str) -> tuple[str, str, dict[str, str]]:
    """Topic, record key and headers of an event recorded at the moment `at` (ISO 8601)."""
    cls = type(out.data)
    topic, tenant = topics()[cls.__name__], _text(out.tenant_id)
    shared = _shared(topic, tenant, _text(out.entity_id) if out.entity_id else None, at=at, trace=trace)
    aggregate, own = _own(out.data, cls, topic, tenant, _why(out.cause) if out.cause else ("", ""))
    return topic.name, f"{tenant}:{aggregate}", shared | own


def _tombstone(out: Tombstone, *, at: str, trace: str) -> Row:
    topic = topics()[out.event.__name__]
    if topic.retention != "compacted":
        raise ValueError(f"{topic.name} is not compacted: a tombstone would remove nothing")
    tenant, aggregate = _text(out.tenant_id), str(out.aggregate_id)
    identity = event_id_text(tenant, out.event, aggregate, out.version)
    shared = _shared(topic, tenant, None, at=at, trace=trace)
    own = own_headers(identity=identity, subject=aggregate, sequence=out.version, correlation_id=identity)
    return Row(topic.name, tenant, 1, _quoted(shared), _quoted(own), _NOTHING)


async def depth(conn: AsyncConnection, limit: int) -> int:
    """How many events wait, of at most `limit` rows: what bulk work looks at before its next slice."""
    rows = await fetch(conn, "SELECT coalesce(sum(events), 0) AS n FROM (SELECT events FROM outbox LIMIT :limit) AS waiting", limit=limit)
    return int(rows[0].n)
