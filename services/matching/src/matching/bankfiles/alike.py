"""Entries of a camt file that are built like those before them, read off the text without the XML parser.

A bank writes its entries alike, and the parser's tree is most of what a hundred thousand of them cost. So an entry that the parser
has read is learnt: its tags in their order, and where its texts stand. A later one of the same tags is the same element with other
texts, and needs no parser, as long as its texts are such as XML allows. Whatever else comes goes to the parser, which gets the line
ends of what was read without it: what it then finds wrong, it finds in the same line.

Only tags without attributes, a currency aside, are learnt; entries with comments, CDATA, processing instructions or references other
than the five of XML are not, nor is one in another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from matching.bankfiles.xmltree import APART, Node, Shape, shape_of, unescaped

_NAME = r"(?:[A-Za-z_][A-Za-z0-9_.-]*:)?[A-Za-z_][A-Za-z0-9_.-]*"
_PLAIN = re.compile(rf'/{_NAME}|{_NAME}(?: Ccy="[A-Z]{{3}}")?/?')
_TAGS = re.compile("<([^<>]*)>")
_TEXT = r"[^<>\x00-\x08\x0b-\x1f\ufffe\uffff]*+"
"""What may stand between two tags, references aside; a carriage return that XML would turn into a line end is none of it."""
_NO_TEXT = re.compile(r"[<>\x00-\x08\x0b-\x1f\ufffe\uffff]")
_OTHER_REFERENCE = re.compile("&(?!(?:amp|lt|gt|quot|apos);)")
_PATHS = {"Ntry": ["Ntry"], "TxDtls": ["Ntry", "NtryDtls", "TxDtls"]}
"""Where elements of which there are many stand; one in another place is some bank's own."""
_KEPT = 256
"""Kinds of entries that are kept of one statement."""
_LONGEST = 65_536
"""Characters of an entry that is learnt: beyond it come those of hundreds of details, of which no two are alike."""


@dataclass(slots=True)
class _Kind:
    """Entries with the same tags: where the texts of the entry itself and of each of its details stand among all texts."""

    pattern: re.Pattern[str]
    opened: list[int]
    """Numbers of the tags that a text follows."""
    entry: Shape
    own: list[int]
    """Which of the texts are the entry's own."""
    details: list[tuple[Shape, int, int]]
    """Of each detail its shape, its first text and the one behind its last."""


@dataclass(slots=True)
class Alike:
    """What was learnt of one statement's entries. `place` is where they stand in the file: for what is wrong with one."""

    place: str
    closing: str
    _kinds: dict[str, _Kind] = field(default_factory=dict)
    _last: _Kind | None = None

    def read(self, text: str, start: int) -> tuple[int, Node, list[Node]] | None:
        """The entry that stands at `start` behind white space: where it ends, itself and its details; None where it is not known."""
        kind = self._last
        found = kind.pattern.match(text, start) if kind else None
        if kind and found:
            end, texts = found.end(), found.groups()
        else:
            end = text.find(self.closing, start) + len(self.closing)
            pieces = _TAGS.split(text[start:end]) if end - start <= _LONGEST else []
            kind = self._kinds.get("<".join(pieces[1::2]))
            if kind is None or pieces[0].strip(" \t\n") or any(map(_NO_TEXT.search, pieces[::2])):
                return None
            self._last, texts = kind, tuple([pieces[2 * number + 2] for number in kind.opened])
        place = self.place + "/NtryDtls/TxDtls"
        if text.find("&", start, end) >= 0:
            if _OTHER_REFERENCE.search(text, start, end):
                return None
            texts = tuple(map(unescaped, texts))
        details = [Node.of(shape, texts[first:behind], place) for shape, first, behind in kind.details]
        return end, Node.of(kind.entry, [texts[at] for at in kind.own], self.place), details

    def learn(self, text: str) -> None:
        """An entry that the parser took; nothing stands before it but white space."""
        tags = _TAGS.findall(text) if len(text) <= _LONGEST and len(self._kinds) < _KEPT else []
        if tags and text.count("<") == len(tags) and all(map(_PLAIN.fullmatch, tags)) and (kind := _kind(tags)):
            self._kinds["<".join(tags)] = self._last = kind


def _kind(tags: Sequence[str]) -> _Kind | None:
    """The kind of entries with these tags; None where they are not just one entry, its details where they belong."""
    path: list[str] = []
    entry: list[str] = []
    opened: list[int] = []
    own: list[int] = []
    details: list[tuple[Shape, int, int]] = []
    first = begun = -1  # of the detail that is open: its first text, its first tag
    for number, tag in enumerate(tags):
        if not path and number:
            return None
        closes, whole, name = tag.startswith("/"), tag.endswith("/"), _local(tag)
        if not closes:
            path.append(name)
            if name in APART and path != _PATHS.get(name):
                return None
            if name == "TxDtls":
                begun, first = number, len(opened)
                entry.append(tag.removesuffix("/") + "/")
            if not whole:
                if begun < 0:
                    own.append(len(opened))
                opened.append(number)
        if begun < 0:
            entry.append(tag)
        if closes or whole:
            if not path or path.pop() != name:
                return None
            if name == "TxDtls":
                details.append((shape_of("<".join(tags[begun : number + 1])), first, len(opened)))
                begun = -1
    if path:
        return None
    follows = set(opened)
    gaps = [f"<{re.escape(tag)}>" + (f"({_TEXT})" if number in follows else _TEXT) for number, tag in enumerate(tags[:-1])]
    pattern = re.compile(rf"[ \t\n]*{''.join(gaps)}<{re.escape(tags[-1])}>")
    return _Kind(pattern, opened, shape_of("<".join(entry)), own, details)


def _local(tag: str) -> str:
    return tag.strip("/").partition(" ")[0].rpartition(":")[2]
