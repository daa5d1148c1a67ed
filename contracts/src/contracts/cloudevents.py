"""Any CloudEvent on Kafka, ours or a stranger's: binary and structured content mode.

`envelope.decode` is what our own topics need: it knows binary mode and our extensions alone. This module reads what others
may send and writes the structured form that webhooks and feeds carry.

Invariants: attributes are text in their canonical form, whatever mode they came in; data are bytes, never re-encoded beyond
what the mode asks for. Kafka knows no batched mode, so a batch is refused by name.

Sources: CloudEvents 1.0.2, sections 3 and 4; CloudEvents JSON format 1.0.2; CloudEvents Kafka protocol binding 1.0.2, section 3.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from contracts.envelope import ContractError, Envelope, attributes, headers

STRUCTURED_JSON = "application/cloudevents+json"
_REQUIRED = ("id", "source", "specversion", "type")
_NAME = re.compile(r"[a-z0-9]+")
_INTEGERS = range(-(2**31), 2**31)


class CloudEvent(NamedTuple):
    """One CloudEvent: its context attributes by name, and its data (None where it has none)."""

    attributes: dict[str, str]
    data: bytes | None


def parse(record_headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> CloudEvent:
    """The CloudEvent that a Kafka record carries, in either content mode.

    Raises ContractError where the record is none: unknown event format, batch, missing attribute, wrong version, bad JSON.
    """
    found = attributes(record_headers)
    content_type = found.get("datacontenttype", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == STRUCTURED_JSON:
        event = _from_json(value or b"")
    elif media_type.startswith("application/cloudevents"):
        raise ContractError(f"header content-type: {media_type} is not a format read here")
    else:
        event = CloudEvent(found, value)
    for name in _REQUIRED:
        if not event.attributes.get(name):
            raise ContractError(f"attribute {name} is missing")
    if event.attributes["specversion"] != "1.0":
        raise ContractError("attribute specversion is not 1.0")
    return event


def structured(envelope: Envelope, value: bytes) -> bytes:
    """An event of ours as one JSON document (structured content mode, media type `STRUCTURED_JSON`)."""
    found = attributes(headers(envelope))
    return json.dumps({**found, "data": json.loads(value)}, ensure_ascii=False, separators=(",", ":")).encode()


def _from_json(raw: bytes) -> CloudEvent:
    try:
        document = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ContractError("value is not JSON") from None
    if not isinstance(document, Mapping):
        raise ContractError("value is not a JSON object")
    if "data" in document and "data_base64" in document:
        raise ContractError("value has both data and data_base64")
    context = {name: _text(name, each) for name, each in document.items() if name not in ("data", "data_base64") and each is not None}
    return CloudEvent(context, _data(document, context.get("datacontenttype", "application/json")))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _text(name: str, value: object) -> str:
    """An attribute's canonical text (CloudEvents 1.0.2, type system)."""
    if not _NAME.fullmatch(name):
        raise ContractError("an attribute's name is not of a-z and 0-9")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) or (isinstance(value, int) and value in _INTEGERS):
        return str(value)
    raise ContractError(f"attribute {name} is no text, integer or boolean")


def _data(document: Mapping[str, Any], content_type: str) -> bytes | None:
    if "data_base64" in document:
        try:
            return base64.b64decode(document["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ContractError("data_base64 is not base64") from None
    if "data" not in document:
        return None
    data = document["data"]
    subtype = content_type.partition(";")[0].strip().lower().rpartition("/")[2]
    if isinstance(data, str) and subtype != "json" and not subtype.endswith("+json"):
        return data.encode()
    return json.dumps(data, ensure_ascii=False).encode()
