"""The envelope of an event: CloudEvents 1.0 in Kafka's binary content mode, and the base classes of every event.

Invariants:
- an event's id is a function of what it is about (`event_id`), so doing a thing twice names it once;
- bytes that leave a producer have been decoded strictly by the event's own class and are within `MAX_EVENT_BYTES`;
- a consumer ignores fields that it does not know and never meets a naive date-time.

Sources: CloudEvents 1.0.2; CloudEvents Kafka protocol binding 1.0.2, section 3.2; the CloudEvents extensions
`sequence`, `distributed-tracing` and `correlation`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID, uuid5

import msgspec

from contracts.fields import Timestamp, Version

NAMESPACE = UUID("6f3c1d0e-8f55-5b0e-9c1c-0f4d3b7f2a11")
"""Namespace of every UUIDv5 that Encours derives."""

MAX_EVENT_BYTES = 64 * 1024
"""CloudEvents asks every intermediary to forward at least 64 KiB; no event of ours is larger."""


class ContractError(ValueError):
    """Bytes or headers that are no event of this contract. The text says what and where, never the content."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", gc=False):
    """What every event is: a frozen record, tagged with its own name in the field `event`."""

    identity: ClassVar[str | None] = None
    """The name that ids are drawn from, where it is not the event's own: `PaymentMatchedV2` sets `PaymentMatched`, so
    that both carry the same id while they are published side by side."""


class StateEvent(Event, frozen=True, kw_only=True, gc=False):
    """What an aggregate is now: its whole public state after the change and the version it has reached.

    All events about one aggregate, on whatever topics, share one version. A consumer keeps the highest it has seen.
    """

    version: Version


class FactEvent(Event, frozen=True, kw_only=True, gc=False):
    """What happened once. Consumers store it under its own id, through the inbox.

    `natural_key_fields` names the fields that tell it apart, where the topic's key field alone does not.
    """

    natural_key_fields: ClassVar[tuple[str, ...]] = ()


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The CloudEvents context of one event.

    `time` is the machine's clock when the event was recorded. `sequence` is the aggregate's version (0 for facts; on
    the wire zero-padded to 20 digits, so that it orders as text). `traceparent` is the W3C trace context of the change.
    """

    id: UUID
    type: str
    source: str
    subject: str
    time: Timestamp
    tenantid: UUID
    entityid: UUID | None = None
    sequence: int = 0
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""


E_co = TypeVar("E_co", bound=Event, covariant=True)


class Message(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True, gc=False):
    """One event with its envelope, as a handler receives it."""

    envelope: Envelope
    data: E_co

    @property
    def tenant_id(self) -> UUID:
        """The tenant whose event this is."""
        return self.envelope.tenantid


def event_id(tenant_id: UUID, event: type[Event], *parts: object) -> UUID:
    """UUIDv5 of (tenant, event name, parts): for states the aggregate's id and version, for facts the natural key."""
    return uuid5(NAMESPACE, "\x1f".join([str(tenant_id), event.identity or event.__name__, *map(str, parts)]))


def natural_key(event: Event, key_field: str) -> tuple[object, ...]:
    """What a fact's id is drawn from: its natural key, which is the topic's key field unless its class says otherwise."""
    fields = getattr(event, "natural_key_fields", ()) or (key_field,)
    return tuple(getattr(event, name) for name in fields)


@cache
def decoder(event: type[Event]) -> msgspec.json.Decoder[Any]:
    """The decoder of one event class: strict types, unknown fields ignored."""
    return msgspec.json.Decoder(event)


_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(event: Event) -> bytes:
    """The value bytes of an event: JSON with sorted fields, checked by decoding it strictly with its own class.

    Raises ContractError when a field has a wrong type or range, or the event is larger than MAX_EVENT_BYTES: a
    constructor checks nothing, so this is where a wrong producer is found, inside the transaction of its change.
    """
    try:
        raw = _ENCODER.encode(event)
        decoder(type(event)).decode(raw)
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
        raise ContractError(f"{type(event).__name__}: {error}") from None
    if len(raw) > MAX_EVENT_BYTES:
        raise ContractError(f"{type(event).__name__}: {len(raw)} bytes, more than {MAX_EVENT_BYTES}")
    return raw


def headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The Kafka record headers of an envelope (binary content mode)."""
    result = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(envelope.id).encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_subject", envelope.subject.encode()),
        ("ce_time", envelope.time.isoformat().encode()),
        ("ce_tenantid", str(envelope.tenantid).encode()),
        ("content-type", b"application/json"),
    ]
    if envelope.entityid is not None:
        result.append(("ce_entityid", str(envelope.entityid).encode()))
    if envelope.sequence:
        result.append(("ce_sequence", b"%020d" % envelope.sequence))
    optional = ("correlationid", "causationid", "traceparent")
    result.extend((f"ce_{name}", value.encode()) for name in optional if (value := getattr(envelope, name)))
    return result


def attributes(record_headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The CloudEvents attributes in the headers of a binary-mode Kafka record, by name without `ce_`.

    Raises ContractError when one is not UTF-8.
    """
    found: dict[str, str] = {}
    for key, value in record_headers:
        name = key.strip().lower()
        try:
            if name == "content-type":
                found["datacontenttype"] = (value or b"").decode()
            elif name.startswith("ce_"):
                found[name[3:]] = (value or b"").decode()
        except UnicodeDecodeError:
            raise ContractError(f"header {name} is not UTF-8") from None
    return found


def envelope_of(found: Mapping[str, str]) -> Envelope:
    """The envelope that a set of CloudEvents attributes makes. Raises ContractError naming the attribute at fault."""
    for name in ("specversion", "id", "type", "source", "time", "tenantid"):
        if not found.get(name):
            raise ContractError(f"header ce_{name} is missing")
    if found["specversion"] != "1.0":
        raise ContractError("header ce_specversion is not 1.0")
    at = "id"
    try:
        identity = UUID(found["id"])
        at = "tenantid"
        tenant = UUID(found["tenantid"])
        at = "entityid"
        entity = UUID(found["entityid"]) if found.get("entityid") else None
        at = "sequence"
        sequence = int(found.get("sequence") or 0)
        at = "time"
        time = datetime.fromisoformat(found["time"])
        if time.tzinfo is None:
            raise ValueError(at)  # noqa: TRY301 - one place turns all of these into the same error
    except ValueError:
        raise ContractError(f"header ce_{at} cannot be read") from None
    return Envelope(
        id=identity,
        type=found["type"],
        source=found["source"],
        subject=found.get("subject", ""),
        time=time,
        tenantid=tenant,
        entityid=entity,
        sequence=sequence,
        correlationid=found.get("correlationid", ""),
        causationid=found.get("causationid", ""),
        traceparent=found.get("traceparent", ""),
    )


def decode(event: type[E_co], record_headers: Iterable[tuple[str, bytes | None]], value: bytes) -> Message[E_co]:
    """One record of the topic of `event`, as a message. Raises ContractError when it is none."""
    found = attributes(record_headers)
    envelope = envelope_of(found)
    if envelope.type != event.__name__:
        raise ContractError(f"header ce_type is not {event.__name__}")
    if len(value) > MAX_EVENT_BYTES:
        raise ContractError(f"{len(value)} bytes, more than {MAX_EVENT_BYTES}")
    try:
        data = decoder(event).decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"{event.__name__}: {error}") from None
    if isinstance(data, StateEvent) and envelope.sequence != data.version:
        raise ContractError("header ce_sequence is not the version in the data")
    return Message(envelope=envelope, data=data)
