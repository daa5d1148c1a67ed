"""What a change of the contracts breaks, and who deploys first.

`python -m contracts.compatibility [--base REF]` compares `schemas/` and `topics/` with those at a git ref (by default the
last commit on main), prints each change with its order of deployment and exits 1 where one breaks.

Events are kept, so two questions count: can today's consumers read tomorrow's events (else consumers deploy first), and can
tomorrow's consumers read the events of yesterday and the owner that still writes them (else the owner deploys first, and
events already stored stay unreadable to it)? Where neither order works, it takes a new event class (`...V2`) beside the old.

| change                                              | verdict  | who deploys first                       |
|-----------------------------------------------------|----------|-----------------------------------------|
| event added; optional field added                   | fine     | any order, consumers are unaffected     |
| event removed; field removed                        | breaking | consumers, then the owner               |
| required field added; optional becomes required     | breaking | the owner, then consumers               |
| required becomes optional                           | breaking | consumers, then the owner               |
| type, format or pattern changed; default changed    | breaking | neither: a new event class              |
| enum widened; null allowed                          | breaking | consumers, then the owner               |
| enum narrowed; null no longer allowed               | breaking | the owner, then consumers               |
| range, length or pattern loosened (limit dropped)   | breaking | consumers, then the owner               |
| range, length or pattern tightened (limit added)    | breaking | the owner, then consumers               |
| partitions, key, kind, aggregate, owner changed     | breaking | neither: a new topic                    |
| retention shortened or compaction switched          | breaking | neither: rebuilds need what it held     |
| retention lengthened; consumer added or removed     | fine     | any order                               |
| topic made internal / made public                   | breaking | consumers, then the owner / neither     |
| docstring, guard, reason, may-publish               | fine     | not reported                            |

Invariant: only the subset of JSON Schema named in `SUBSET` is understood; `check_subset` refuses the rest, so that no
keyword can change unseen.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import yaml

from contracts.catalogue import Topic
from contracts.generate import ROOT

Schema = Mapping[str, Any]
First = Literal["consumers", "owner", "neither", "any"]

_PROSE = {"$schema", "$id", "title", "description"}
_LOWER, _UPPER = ("minimum", "minLength"), ("maximum", "maxLength")
SUBSET = {
    "$ref",
    "$defs",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "default",
    "format",
    "pattern",
}
SUBSET |= _PROSE | {*_LOWER, *_UPPER}
_TYPES = {"object", "array", "string", "integer", "boolean", "null"}


class Change(NamedTuple):
    """One difference: of which event, where in it, what, and who deploys first (`any`: nothing breaks)."""

    event: str
    where: str
    what: str
    first: First


class Contracts(NamedTuple):
    """What is compared: schemas and topics by event name."""

    schemas: dict[str, Schema]
    topics: dict[str, Topic]


def compare(old: Contracts, new: Contracts) -> list[Change]:
    """Every change between two states of the contracts that the table above reports, by event."""
    changes = []
    for name in sorted(old.schemas.keys() | new.schemas.keys()):
        if name not in new.schemas:
            changes.append(Change(name, "", "event removed", "consumers"))
        elif name not in old.schemas:
            changes.append(Change(name, "", "event added", "any"))
        else:
            before, after = old.schemas[name], new.schemas[name]
            changes += [Change(name, *change) for change in _node(_Side(before, before), _Side(after, after), "")]
            if name in old.topics and name in new.topics:
                changes += [Change(name, "topic", *change) for change in _topic(old.topics[name], new.topics[name])]
    return changes


class _Side(NamedTuple):
    """A node of a schema, and the document its references point into."""

    node: Schema
    document: Schema

    def of(self, node: Schema) -> "_Side":
        return _Side(node, self.document)

    def resolved(self) -> tuple["_Side", bool]:
        """The node without reference and null, and whether null is allowed."""
        node, nullable = self.node, False
        if "anyOf" in node:
            nullable = {"type": "null"} in node["anyOf"]
            [node] = [option for option in node["anyOf"] if option != {"type": "null"}]
        if "$ref" in node:
            node = self.document["$defs"][node["$ref"].removeprefix("#/$defs/")]
        return self.of(node), nullable


def _node(old: _Side, new: _Side, where: str) -> Iterator[tuple[str, str, First]]:
    (old, was_nullable), (new, nullable) = old.resolved(), new.resolved()
    if was_nullable != nullable:
        yield where, *(("null allowed", "consumers") if nullable else ("null no longer allowed", "owner"))
    kind = ("enum" if "enum" in side.node else side.node.get("type") for side in (old, new))
    was, now = kind
    if was != now:
        yield where, f"type changed from {was} to {now}", "neither"
        return
    if was == "enum":
        yield from _enum(old.node["enum"], new.node["enum"], where)
    yield from _limits(old.node, new.node, where)
    if was == "array":
        yield from _node(old.of(old.node["items"]), new.of(new.node["items"]), f"{where}[]")
    if was == "object":
        yield from _fields(old, new, where)


def _enum(old: Sequence[Any], new: Sequence[Any], where: str) -> Iterator[tuple[str, str, First]]:
    if added := [value for value in new if value not in old]:
        yield where, f"enum widened by {added}", "consumers"
    if gone := [value for value in old if value not in new]:
        yield where, f"enum narrowed by {gone}", "owner"


def _limits(old: Schema, new: Schema, where: str) -> Iterator[tuple[str, str, First]]:
    for name in ("format", "pattern"):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if now is None and name == "pattern":
            yield where, "pattern loosened: dropped", "consumers"
        elif was is None and name == "pattern":
            yield where, f"pattern tightened: {now} added", "owner"
        else:
            yield where, f"{name} changed from {was} to {now}", "neither"
    for name in (*_LOWER, *_UPPER):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        looser = now is None or (was is not None and (now < was) == (name in _LOWER))
        yield where, f"{name} {'loosened' if looser else 'tightened'} from {was} to {now}", "consumers" if looser else "owner"


def _fields(old: _Side, new: _Side, where: str) -> Iterator[tuple[str, str, First]]:
    before, after = old.node["properties"], new.node["properties"]
    was_required, required = old.node.get("required", []), new.node.get("required", [])
    for name in [*before, *(name for name in after if name not in before)]:
        at = f"{where}.{name}".removeprefix(".")
        if name not in after:
            yield at, "field removed", "consumers"
        elif name not in before:
            yield at, *(("required field added", "owner") if name in required else ("optional field added", "any"))
        else:
            if (name in required) != (name in was_required):
                yield at, *(("optional became required", "owner") if name in required else ("required became optional", "consumers"))
            elif before[name].get("default") != after[name].get("default"):
                yield at, f"default changed from {before[name].get('default')} to {after[name].get('default')}", "neither"
            yield from _node(old.of(before[name]), new.of(after[name]), at)


def _topic(old: Topic, new: Topic) -> Iterator[tuple[str, First]]:
    for name in ("partitions", "key", "kind", "aggregate", "owner"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"{name} changed from {was} to {now}", "neither"
    if old.retention != new.retention:
        compaction = "compacted" in (old.retention, new.retention)
        longer = not compaction and _days(new) > _days(old)
        yield f"retention changed from {old.retention} to {new.retention}", "any" if longer else "neither"
    if old.public != new.public:
        yield ("made public", "neither") if new.public else ("made internal", "consumers")
    for consumer in sorted(old.consumers.keys() ^ new.consumers.keys()):
        yield f"consumer {consumer} {'added' if consumer in new.consumers else 'removed'}", "any"


def _days(topic: Topic) -> float:
    return topic.retention if isinstance(topic.retention, int) else float("inf")


def check_subset(schema: Schema, where: str = "$") -> Iterator[str]:
    """What in a schema this module does not understand: one line each, with its place."""
    for key in schema.keys() - SUBSET:
        yield f"{where}: keyword {key}"
    if "type" in schema and str(schema["type"]) not in _TYPES:
        yield f"{where}: type {schema['type']}"
    if "anyOf" in schema and (len(schema["anyOf"]) != 2 or {"type": "null"} not in schema["anyOf"]):  # noqa: PLR2004 - a type or null
        yield f"{where}: anyOf is more than a type or null"
    if not schema.keys() & {"type", "enum", "anyOf", "$ref"}:
        yield f"{where}: no type"
    if schema.get("type") == "object" and (schema.get("additionalProperties") is not False or "properties" not in schema):
        yield f"{where}: an object that is not closed"
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{where}: an array without items"
    for key in ("properties", "$defs"):
        for name, each in schema.get(key, {}).items():
            yield from check_subset(each, f"{where}.{name}")
    for each in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        yield from check_subset(each, f"{where}[]")


def order(change: Change, topic: Topic | None) -> str:
    """Who deploys first for a change, by name."""
    owner = topic.owner if topic else "its owner"
    consumers = ", ".join(sorted(topic.consumers)) if topic and topic.consumers else "no consumer"
    match change.first:
        case "any":
            return "any order"
        case "consumers":
            return f"first {consumers}; then {owner}"
        case "owner":
            return f"first {owner}; then {consumers} (stored events stay as they are)"
        case "neither":
            return f"neither order works: publish a new event beside it ({owner}), move {consumers}, then retire the old one"


def working_tree(root: Path = ROOT) -> Contracts:
    """The contracts as they lie in the checkout."""
    schemas = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((root / "schemas").glob("*.json"))}
    return Contracts(schemas, {path.stem: _read_topic(path.read_text("utf-8")) for path in sorted((root / "topics").glob("*.yaml"))})


def at_ref(ref: str, root: Path = ROOT) -> Contracts:
    """The contracts at a git ref. Raises subprocess.CalledProcessError where git does not know the ref."""
    names = [Path(name) for name in _git(root, "ls-tree", "-r", "--name-only", ref, "schemas", "topics").splitlines()]
    texts = {path: _git(root, "show", f"{ref}:./{path.as_posix()}") for path in names}
    schemas = {path.stem: json.loads(text) for path, text in texts.items() if path.suffix == ".json"}
    return Contracts(schemas, {path.stem: _read_topic(text) for path, text in texts.items() if path.suffix == ".yaml"})


def _read_topic(text: str) -> Topic:
    """A topic of any commit: fields that the catalogue no longer knows are left out."""
    return msgspec.convert({name: value for name, value in yaml.safe_load(text).items() if name in Topic.__struct_fields__}, Topic)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout  # noqa: S603 - git, our arguments


def _commit(root: Path, *refs: str) -> str | None:
    """The commit of the first ref that git knows; None where it knows none of them."""
    for ref in refs:
        try:
            return _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
        except subprocess.CalledProcessError:
            continue
    return None


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """The command; returns the exit code: 0 nothing breaks, 1 something does, 2 the base cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m contracts.compatibility", description="What a change of the contracts breaks.")
    parser.add_argument("--base", metavar="REF", help="git ref to compare with (default: the last commit on main)")
    base = parser.parse_args(arguments).base or _commit(root, "main", "origin/main")
    say = sys.stdout.write
    if base is None and _commit(root, "HEAD") is None:
        say("no commit yet: nothing to compare with\n")
        return 0
    if base is None:
        say("no branch main here: name what to compare with by --base\n")
        return 2
    try:
        old, new = at_ref(base, root), working_tree(root)
    except subprocess.CalledProcessError as error:
        say(f"cannot read {base}: {error.stderr.strip()}\n")
        return 2
    if not old.schemas:
        say(f"{base} holds no schemas: nothing to compare with\n")
        return 0
    changes = compare(old, new)
    for change in changes:
        verdict = "fine" if change.first == "any" else "BREAKING"
        topic = new.topics.get(change.event) or old.topics.get(change.event)
        say(f"{verdict}: {change.event} {change.where}: {change.what}; {order(change, topic)}\n".replace(" :", ":"))
    say(f"{len(changes)} changes, {sum(change.first != 'any' for change in changes)} of them breaking\n")
    return int(any(change.first != "any" for change in changes))


if __name__ == "__main__":
    raise SystemExit(main())
