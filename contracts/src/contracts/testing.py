"""For tests only: hand-made examples, and any event as hypothesis makes it. Needs hypothesis, a development dependency.

Invariant: what `events` draws is what a correct producer could write; nothing here is hand-tuned to one event.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from contracts.envelope import Event
from contracts.generate import ROOT

E = TypeVar("E", bound=Event)

_INT64 = 2**63
_OFFSETS = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-9, minutes=-30))])
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=_OFFSETS)  # noqa: DTZ001 - hypothesis adds the offset


class Example(NamedTuple):
    """One hand-made example: of which event, where it lies, the record's headers and its value."""

    event: str
    path: Path
    headers: list[tuple[str, bytes]]
    value: bytes


def examples(root: Path = ROOT) -> Iterator[Example]:
    """Every example in `examples/EVENT/*.json`, as it would come off the wire."""
    for path in sorted((root / "examples").glob("*/*.json")):
        document = json.loads(path.read_text("utf-8"))
        headers = [(name, text.encode()) for name, text in document["headers"].items()]
        yield Example(path.parent.name, path, headers, json.dumps(document["data"], ensure_ascii=False).encode())


def events(event: type[E]) -> st.SearchStrategy[E]:
    """Instances of an event class, from its annotations: each field in its type and range, optional ones present or not."""
    return _of(inspect.type_info(event))


_PLAIN: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.UUIDType: st.uuids(),
    inspect.DateType: st.dates(),
}


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one return per kind of field
    """What a field of this kind may hold. A date-time without `tz` has no strategy: no event may have one."""
    match kind:
        case inspect.IntType():
            return st.integers(-_INT64 if kind.ge is None else kind.ge, _INT64 - 1 if kind.le is None else kind.le)
        case inspect.StrType():
            return _text(kind)
        case inspect.DateTimeType(tz=True):
            return _MOMENTS
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of([_of(each) for each in kind.types])
        case inspect.ListType():
            return st.lists(_of(kind.item_type), max_size=3)
        case inspect.StructType():
            return _struct(kind)
        case _:
            return _PLAIN[type(kind)]


def _text(kind: inspect.StrType) -> st.SearchStrategy[str]:
    if kind.pattern is not None:
        return st.from_regex(kind.pattern, fullmatch=True)
    # 60 characters show as much as the 500 that a text may have
    return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 60, 60))


def _struct(kind: inspect.StructType) -> st.SearchStrategy[Any]:
    required = {field.name: _of(field.type) for field in kind.fields if field.required}
    optional = {field.name: _of(field.type) for field in kind.fields if not field.required}

    def make(values: dict[str, Any]) -> msgspec.Struct:
        struct: msgspec.Struct = kind.cls(**values)
        return struct

    return st.fixed_dictionaries(required, optional=optional).map(make)
