r"""JSON exactly as RFC 8259 and I-JSON (RFC 7493) mean it: the only way a JSON body gets into a service.

Python's own decoder takes NaN, lets the last of two equal keys win, keeps lone surrogates (which no database
stores) and rounds `12345678901234567.89`. Here each of these is refused, and numbers are never rounded:
integers become `int` (64 bit signed), everything else with a fraction or an exponent becomes `Decimal`.

How: the C scanner does the parsing. Its hooks put a `_Fault` where a value may not stand, one sweep over the
containers finds faults and depth, and only a body that has one is walked again for the pointer. Surrogates and
NUL can only come from `\u` escapes, so strings are looked at only when a regular expression sees a suspicious one.
About 30 ms per MB of invoices on one slow core (23 for the bare C decoder): a batch of 10 MB blocks for 0.3 s.
"""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

MAX_DEPTH = 64
"""Containers inside containers; an array of objects is depth 2."""

_LONGEST_INTEGER = 20  # characters of -9223372036854775808
_LONGEST_NUMBER = 64  # characters, and the largest power of ten: what we exchange are amounts, rates and shares
_LONGEST_POINTER = 256
# NUL, a lone half of a surrogate pair, or what a doubled backslash could hide. The search that follows decides.
_SUSPICIOUS = re.compile(
    r"\\\\u[dD]|\\u(?:0000|[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2}\\u)[dD][c-fC-F])"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class JsonRefusedError(ValueError):
    """A body that is not strict JSON.

    `code` is stable; `pointer` (RFC 6901) names the value, or is None where only `position` is known: a character
    offset for syntax, a byte offset for bad UTF-8. Values of the input are never part of it, only its member names.
    """

    def __init__(self, code: str, detail: str, *, pointer: str | None = None, position: int | None = None) -> None:
        where = f"at {pointer or 'the top'}" if position is None else f"at position {position}"
        super().__init__(f"{detail} {where}")
        self.code, self.detail, self.pointer, self.position = code, detail, pointer, position


class _Fault:
    """Stands in the decoded tree where a value was refused; `under` is the member it concerns."""

    __slots__ = ("code", "detail", "under")

    def __init__(self, code: str, detail: str, under: tuple[str, ...] = ()) -> None:
        self.code, self.detail, self.under = code, detail, under


_SWEPT = frozenset({dict, list, _Fault})


def _integer(digits: str) -> int | _Fault:
    if len(digits) <= _LONGEST_INTEGER and -(2**63) <= (value := int(digits)) < 2**63:
        return value
    return _Fault("integer-out-of-range", "integer beyond 64 bits")


def _number(digits: str) -> Decimal | _Fault:
    if len(digits) <= _LONGEST_NUMBER:
        try:
            value = Decimal(digits)
        except InvalidOperation:  # an exponent that decimal itself cannot hold
            return _Fault("number-out-of-range", "number too large or too small")
        if abs(value.adjusted()) <= _LONGEST_NUMBER:
            return value
    return _Fault("number-out-of-range", "number too long, too large or too small")


def _constant(_name: str) -> _Fault:
    return _Fault("not-a-number", "NaN and Infinity are not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | _Fault:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add() is None: falls through
    return _Fault("duplicate-key", "member named twice", (twice,))


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant, strict=True)


def decode(body: bytes) -> object:
    """The value of a JSON text in UTF-8 without byte order mark: dict, list, str, int, Decimal, bool or None.

    Raises JsonRefusedError, and nothing else, for whatever the bytes are.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonRefusedError("not-utf-8", "bytes that are not UTF-8", position=error.start) from None
    if text.startswith("\ufeff"):
        raise JsonRefusedError("byte-order-mark", "a byte order mark is not JSON", position=0)
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonRefusedError("syntax", error.msg.partition(":")[0], position=error.pos) from None
    except RecursionError:
        raise JsonRefusedError("too-deep", f"nested deeper than {MAX_DEPTH}", pointer="") from None
    _sweep(value)
    if _SUSPICIOUS.search(text):
        _refuse_unstorable(value)
    return value


def _sweep(value: object) -> None:
    """Level by level through the containers: refuses faults and depth. Never recurses."""
    level: list[object] = [value]
    for depth in range(1, MAX_DEPTH + 2):
        if _Fault in map(type, level):
            _refuse_fault(value)
        if depth > MAX_DEPTH:
            break
        level = [
            child
            for container in level
            if type(container) is dict or type(container) is list
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _SWEPT
        ]
        if not level:
            return
    path, _ = _first(value, lambda here, depth: depth > MAX_DEPTH and isinstance(here, dict | list))
    raise JsonRefusedError("too-deep", f"nested deeper than {MAX_DEPTH}", pointer=pointer(path))


def _first(value: object, wanted: Callable[[object, int], bool]) -> tuple[tuple[str | int, ...], object]:
    """The first value in document order that is wanted, given its depth (1 at the top), and its path.

    Raises LookupError when there is none. Holds one iterator per level: a body of millions of values costs no memory.
    """
    names: list[str | int] = []
    trail: list[Iterator[tuple[str | int, object]]] = [iter([("", value)])]
    while trail:
        for name, here in trail[-1]:
            if wanted(here, len(trail)):
                return (*names, name)[1:], here
            if len(trail) <= MAX_DEPTH and isinstance(here, dict | list):
                names.append(name)
                trail.append(iter(here.items()) if isinstance(here, dict) else enumerate(here))
                break
        else:
            trail.pop()
            del names[-1:]
    raise LookupError


def _refuse_fault(value: object) -> None:
    path, fault = _first(value, lambda here, _: isinstance(here, _Fault))
    assert isinstance(fault, _Fault)  # noqa: S101 - narrows for the type checker what the search has just asked
    raise JsonRefusedError(fault.code, fault.detail, pointer=pointer((*path, *fault.under)))


def _refuse_unstorable(value: object) -> None:
    def unstorable(here: object, _: int) -> bool:
        texts = (here,) if isinstance(here, str) else here if isinstance(here, dict) else ()
        return any(map(_UNSTORABLE.search, texts))

    try:
        path, _ = _first(value, unstorable)
    except LookupError:
        return  # a doubled backslash: the text says \\u0000, it does not hold one
    raise JsonRefusedError("unstorable-text", "NUL or half a surrogate pair in a text or member name", pointer=pointer(path))


def pointer(path: tuple[str | int, ...]) -> str:
    """The RFC 6901 pointer of a path, safe to print: cut to 256 characters, surrogates replaced."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "".join(f"/{part}" for part in parts)[:_LONGEST_POINTER].encode("utf-8", "replace").decode("utf-8")
