"""What is generated from the classes and the topics, and checked in: `schemas/*.json` and `asyncapi.yaml`.

`python -m contracts.generate` writes them; with `--check` it writes nothing and exits 1 where a file differs, is missing
or belongs to no event any more.

Invariants: the same sources give the same bytes (fields stand in the order of their classes, events by name); a schema
describes what a producer writes, so every object in it is closed, while consumers ignore fields they do not know.

Sources: JSON Schema 2020-12; AsyncAPI 3.0.0 with its Kafka bindings 0.5.0; CloudEvents Kafka protocol binding 1.0.2, section 3.2.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import yaml

from contracts.catalogue import Topic, events, topics
from contracts.envelope import MAX_EVENT_BYTES, Event, FactEvent, StateEvent

ROOT = Path(__file__).parents[2]
"""The member's folder in a checkout; generated files are written nowhere else."""

_KAFKA_BINDING = "0.5.0"
_MS_PER_DAY = 86_400_000
_UUID = {"type": "string", "format": "uuid"}
_WITH_OFFSET = "(Z|[+-][0-9]{2}:[0-9]{2})$"
"""How a date-time with its offset ends: `format` alone is a comment to many validators, and a naive one must not pass."""


def description(event: type[Event]) -> str:
    """What the docstrings say of an event: its own, then that of the state it shares with other events."""
    shared = [base for base in event.__mro__[1:] if issubclass(base, Event) and base not in (StateEvent, FactEvent, Event)]
    return "\n\n".join(inspect.cleandoc(cls.__doc__ or "") for cls in (event, *shared))


def schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event's value bytes as its producer writes them."""
    definitions: dict[str, Any] = msgspec.json.schema(event)["$defs"]
    _close(definitions)
    own = definitions.pop(event.__name__)
    own["description"] = description(event)
    result = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:encours:event:{event.__name__}", **own}
    if definitions:
        result["$defs"] = definitions
    return result


def _close(node: object) -> None:
    """Close every object of a schema in place, ask every date-time for its offset, and unindent every docstring."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            node["additionalProperties"] = False
        if node.get("format") == "date-time":
            node["pattern"] = _WITH_OFFSET
        if isinstance(text := node.get("description"), str):
            node["description"] = inspect.cleandoc(text)
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _close(each)


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document: a channel per topic, `send` by its owner and `receive` by each consumer."""
    catalogue = topics()
    operations: dict[str, Any] = {}
    for name, topic in sorted(catalogue.items()):
        operations[f"{topic.owner}.send.{name}"] = _operation("send", name, topic.owner)
        for consumer in sorted(topic.consumers):
            may_publish = topic.consumers[consumer]
            operations[f"{consumer}.receive.{name}"] = _operation("receive", name, consumer) | {"x-may-publish": may_publish}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Encours events",
            "version": version("contracts"),
            "description": "Every event of Encours: CloudEvents 1.0 on Kafka in binary content mode, JSON values of at most "
            f"{MAX_EVENT_BYTES} bytes, one topic per event.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic) for name, topic in sorted(catalogue.items())},
        "operations": operations,
        "components": {
            "messages": {name: _message(event, catalogue[name]) for name, event in sorted(events().items())},
            "schemas": {"StateHeaders": _headers(state=True), "FactHeaders": _headers(state=False)},
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    policy = "compact" if topic.retention == "compacted" else "delete"
    days = topic.retention if isinstance(topic.retention, int) else None
    result: dict[str, Any] = {
        "address": topic.name,
        "description": f"A {topic.kind} of aggregate {topic.aggregate}; keyed by `{{tenant}}:{{{topic.key}}}`.",
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "tags": [{"name": "public" if topic.public else "internal"}],
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": [policy], "retention.ms": days * _MS_PER_DAY if days else -1},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
        "x-owner": topic.owner,
        "x-aggregate": topic.aggregate,
        "x-kind": topic.kind,
    }
    if topic.retention_reason:
        result["x-retention-reason"] = topic.retention_reason
    if topic.guard:
        result["x-guard"] = topic.guard
    return result


def _operation(action: str, name: str, service: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "tags": [{"name": service}],
    }


def _message(event: type[Event], topic: Topic) -> dict[str, Any]:
    text = description(event)
    headers = "StateHeaders" if topic.kind == "state" else "FactHeaders"
    return {
        "name": event.__name__,
        "title": event.__name__,
        "summary": text.split("\n\n", 1)[0].replace("\n", " "),
        "description": text,
        "contentType": "application/json",
        "headers": {"$ref": f"#/components/schemas/{headers}"},
        "payload": {
            "schemaFormat": "application/schema+json;version=2020-12",
            "schema": {"$ref": f"./schemas/{event.__name__}.json"},
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"`{{tenant}}:{{{topic.key}}}`"},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _headers(*, state: bool) -> dict[str, Any]:
    """The schema of the record headers that `envelope.headers` writes."""
    text = {"type": "string"}
    properties: dict[str, Any] = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": _UUID | {"description": "UUIDv5 of tenant, event name and " + ("aggregate, version." if state else "natural key.")},
        "ce_type": text | {"description": "The event's name."},
        "ce_source": text | {"format": "uri-reference"},
        "ce_subject": text | {"description": "The aggregate's id."},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_tenantid": _UUID,
        "content-type": {"type": "string", "const": "application/json"},
    }
    if state:
        properties["ce_sequence"] = text | {"pattern": "^[0-9]{20}$", "description": "The aggregate's version, zero-padded."}
    optional = {
        "ce_entityid": _UUID | {"description": "The legal entity, where the event belongs to one."},
        "ce_correlationid": text,
        "ce_causationid": text,
        "ce_doneby": text | {"description": "The service that has done already what it does with such events; others pay no regard to it."},
        "ce_traceparent": text | {"description": "W3C trace context."},
    }
    return {"type": "object", "required": list(properties), "properties": properties | optional}


def documents() -> dict[str, str]:
    """Every generated file: its path below the member's folder, and its text."""
    files = {f"schemas/{name}.json": _json(schema(event)) for name, event in sorted(events().items())}
    head = "# Generated by `python -m contracts.generate` from the classes and topics/*.yaml.\n"
    files["asyncapi.yaml"] = head + yaml.dump(asyncapi(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return files


class _Plain(yaml.SafeDumper):
    """A dumper that writes no anchors: the same dict twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_openapi(name: str, document: Mapping[str, Any], *, root: Path = ROOT) -> Path:
    """Write a service's OpenAPI document to `openapi/NAME.json` in the one stable form, and return its path."""
    path = root / "openapi" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(_json(document), "utf-8")
    return path


def differences(root: Path = ROOT) -> list[str]:
    """What `root` holds otherwise than generation gives it: one line for each file."""
    wanted = documents()
    found = []
    for name, text in wanted.items():
        path = root / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif path.read_text("utf-8") != text:
            found.append(f"{name}: differs from the classes and topics")
    stale = (f"schemas/{path.name}" for path in sorted((root / "schemas").glob("*.json")))
    return found + [f"{name}: no such event" for name in stale if name not in wanted]


def write(root: Path = ROOT) -> None:
    """Write every generated file and remove the schemas of events that are no more."""
    (root / "schemas").mkdir(exist_ok=True)
    wanted = documents()
    for path in (root / "schemas").glob("*.json"):
        if f"schemas/{path.name}" not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (root / name).write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.generate", description="Write schemas/ and asyncapi.yaml.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where a file differs")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    found = differences()
    for line in found:
        sys.stdout.write(line + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
