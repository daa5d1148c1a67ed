"""The envelope of an event: CloudEvents 1.0 in Kafka's binary content mode, and the base classes of every event.

Invariants:
- an event's id is a function of what it is about (`event_id`), so doing a thing twice names it once;
- bytes that leave a producer have been decoded strictly by the event's own class and are within `MAX_EVENT_BYTES`;
- a consumer ignores fields that it does not know and never meets a naive date-time.

Sources: CloudEvents 1.0.2; CloudEvents Kafka protocol binding 1.0.2, section 3.2; the CloudEvents extensions
`sequence`, `distributed-tracing` and `correlation`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from hashlib import sha1
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

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
    subject: str = ""
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


SEPARATOR = "\x1f"  # ASCII unit separator
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


@lru_cache(4096)
def namer(tenant_id: str, event: type[Event]) -> Callable[[str], str]:
    """Names a tenant's events of one class: takes their parts, each after a unit separator, and gives `event_id` as text.

    Written out, for `uuid.uuid5` and its objects cost a producer more than the event's encoding.
    """
    name = event.identity or event.__name__
    copy = sha1(NAMESPACE.bytes + f"{tenant_id}{SEPARATOR}{name}".encode(), usedforsecurity=False).copy

    def named(parts: str) -> str:
        hashed = copy()
        hashed.update(parts.encode())
        digest = hashed.hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"

    return named


def event_id_text(tenant_id: UUID | str, event: type[Event], *parts: object) -> str:
    """`event_id` as text."""
    return namer(str(tenant_id), event)(SEPARATOR.join(("", *map(str, parts))))


def event_id(tenant_id: UUID, event: type[Event], *parts: object) -> UUID:
    """UUIDv5 (RFC 9562) of (tenant, event name, parts): for states the aggregate's id and version, for facts the natural key."""
    return UUID(event_id_text(tenant_id, event, *parts))


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


def encode_all(events: Sequence[Event]) -> bytes:
    """The value bytes of events of one class, each as `encode` writes and checks it, and a newline after each (JSON has none within).

    Raises ContractError as `encode` does.
    """
    try:
        lines = _ENCODER.encode_lines(events)
        decoder(type(events[0])).decode_lines(lines)
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError):
        for event in events:
            encode(event)  # says which, and what is wrong with it
        raise
    if len(lines) > MAX_EVENT_BYTES:
        for event, raw in zip(events, lines.splitlines(), strict=True):
            if len(raw) > MAX_EVENT_BYTES:
                encode(event)
    return lines


def retold(raw: bytes, event: type[StateEvent], other: type[StateEvent]) -> bytes:
    """The bytes of `event` (one, or one a line) as those of `other`: two names of one state, such as OpenItemChanged and InvoicePaid.

    What was checked of the one holds of the other. Raises TypeError where their fields are not the same.
    """
    old, new = _beginnings(event, other)
    return new + raw.removeprefix(old).replace(b"\n" + old, b"\n" + new)


@cache
def _beginnings(event: type[StateEvent], other: type[StateEvent]) -> tuple[bytes, bytes]:
    """How the bytes of two names of one state begin."""
    if event.__bases__ != other.__bases__ or vars(event).get("__annotations__") or vars(other).get("__annotations__"):
        raise TypeError(f"{event.__name__} and {other.__name__} are not two names of one state")
    return f'{{"event":"{event.__name__}"'.encode(), f'{{"event":"{other.__name__}"'.encode()


def shared_headers(
    *, event: str, source: str, time: str, tenant_id: str, entity_id: str | None = None, traceparent: str = ""
) -> dict[str, str]:
    """Of an event's Kafka headers, as text, those that it shares with others of one topic, tenant and transaction."""
    found = {
        "ce_specversion": "1.0",
        "ce_type": event,
        "ce_source": source,
        "ce_time": time,
        "ce_tenantid": tenant_id,
        "content-type": "application/json",
    }
    if entity_id is not None:
        found["ce_entityid"] = entity_id
    if traceparent:
        found["ce_traceparent"] = traceparent
    return found


def own_headers(*, identity: str, subject: str, sequence: int = 0, correlation_id: str = "", causation_id: str = "") -> dict[str, str]:
    """Of an event's Kafka headers, as text, those that are its own. Both together are what the outbox keeps (binary content mode)."""
    found = {"ce_id": identity, "ce_subject": subject}
    if sequence:
        found["ce_sequence"] = f"{sequence:020d}"
    if correlation_id:
        found["ce_correlationid"] = correlation_id
    if causation_id:
        found["ce_causationid"] = causation_id
    return found


@cache
def done_by(service: str) -> tuple[str, bytes]:
    """The header of an event with which a service is done as it tells it."""
    return "ce_doneby", service.encode()


def headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The Kafka record headers of an envelope."""
    texts = shared_headers(
        event=envelope.type,
        source=envelope.source,
        time=envelope.time.isoformat(),
        tenant_id=str(envelope.tenantid),
        entity_id=str(envelope.entityid) if envelope.entityid else None,
        traceparent=envelope.traceparent,
    ) | own_headers(
        identity=str(envelope.id),
        subject=envelope.subject,
        sequence=envelope.sequence,
        correlation_id=envelope.correlationid,
        causation_id=envelope.causationid,
    )
    return [(name, value.encode()) for name, value in texts.items()]


def attributes(record_headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The CloudEvents attributes in the headers of a binary-mode Kafka record, by name without `ce_`.

    Raises ContractError when one is not UTF-8.
    """
    found: dict[str, str] = {}
    for key, value in record_headers:
        name = _attribute(key)
        if name:
            try:
                found[name] = (value or b"").decode()
            except UnicodeDecodeError:
                raise ContractError(f"header {key.strip().lower()} is not UTF-8") from None
    return found


@lru_cache(1024)
def _attribute(header: str) -> str:
    """The attribute that a header carries, "" where it carries none."""
    name = header.strip().lower()
    return "datacontenttype" if name == "content-type" else name[3:] if name.startswith("ce_") else ""


_REQUIRED = ("specversion", "id", "type", "source", "time", "tenantid")


def envelope_of(found: dict[str, str]) -> Envelope:
    """The envelope that a set of CloudEvents attributes makes. Raises ContractError naming the attribute at fault."""
    for name in _REQUIRED:
        if not found.get(name):
            raise ContractError(f"header ce_{name} is missing")
    if found["specversion"] != "1.0":
        raise ContractError("header ce_specversion is not 1.0")
    sequence = found.get("sequence") or "0"
    if not (sequence.isascii() and sequence.isdigit()):
        raise ContractError("header ce_sequence cannot be read")
    try:
        return msgspec.convert({**found, "sequence": int(sequence[-20:])}, Envelope)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].rstrip("`") or "?"
        raise ContractError(f"header ce_{where} cannot be read") from None


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
    except RecursionError:
        raise ContractError(f"{event.__name__}: nested too deep") from None
    if isinstance(data, StateEvent) and envelope.sequence != data.version:
        raise ContractError("header ce_sequence is not the version in the data")
    return Message(envelope=envelope, data=data)
