"""An XML element as a table of texts by path: read once, looked up often, whatever namespace and prefix it came in.

A file's elements of one name are built alike, over and over. So an element is written out by libxml2, and where its texts stand is
worked out once for each sequence of tags (its shape); what is built like the one before it is taken apart by one pattern.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from xml.sax.saxutils import unescape

from lxml import etree

from matching.bankfiles.errors import BankFileError

APART = frozenset({"Ntry", "TxDtls", "Stmt", "Rpt", "Ntfctn", "TxInfAndSts"})
"""Elements of which a parent has many, each read by itself."""
MANY = frozenset({"Bal", "Btch", "Ustrd", "Strd", "CdtrRefInf", "Nb", "AddtlRmtInf", "AddtlInf", "Chrgs", "Rcrd"})
"""Elements of which every one is asked for."""
_TAGS = re.compile("<([^>]*)>")  # libxml2 writes both signs as entities wherever else they stand
_NAME = re.compile(r"(?:[^\s/:]*:)?([^\s/]+)")
_CURRENCY = re.compile(r'\sCcy="([^"]+)"')
_ENTITIES = {"&quot;": '"', "&apos;": "'", "&#9;": "\t", "&#10;": "\n", "&#13;": "\r"}
_KEPT_MAX = 8_192
"""Characters of a shape that is kept: beyond it come entries of hundreds of details, of which no two are alike."""
_PLACE = 50
"""Bytes that a text's entry in a table takes, or a tag's in a shape."""
_USUAL = 8
"""So often a shape is met until a pattern is made of it, which takes as long as a hundred elements."""


@dataclass(slots=True, eq=False)
class Shape:
    """Where an element's texts stand. `opened` are the tags that a text follows, `at` the texts' numbers among them.

    `paths` has the first of each; `lists` every one of `MANY`: its tag, its closing tag and its text.
    """

    tags: list[str]
    opened: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    met: int = 0
    pattern: re.Pattern[str] | None = None

    def texts(self, xml: str) -> Sequence[str]:
        """The texts of an element of this shape."""
        self.met += 1
        if self.met == _USUAL:
            opened = set(self.opened)
            gaps = [f"<{re.escape(tag)}>" + ("([^<]*)" if number in opened else "[^<]*") for number, tag in enumerate(self.tags)]
            self.pattern = re.compile("".join(gaps))
        pieces = _TAGS.split(xml)
        return [pieces[2 * number + 2] for number in self.opened]


_last: dict[str, Shape] = {}
"""The shape of the last element of each name."""


class Node:
    """An element as a table: the text of everything below it by path, the first of each, and the currency of amounts."""

    __slots__ = ("_shape", "_texts", "_under", "element", "values")

    def __init__(self, element: etree._Element, *, header: bool = False) -> None:
        """`header`: what the element holds beside the many that are read by themselves; it may be no more than begun."""
        self.element: etree._Element | None = element
        self._under = ""
        if header:
            children = [etree.tostring(child, encoding="unicode", with_tail=False) for child in element if local(child) not in APART]
            xml, name = f"<_>{''.join(children)}</_>", "_"
        else:
            xml, name = etree.tostring(element, encoding="unicode", with_tail=False), local(element)
        shape = _last.get(name)
        found = shape.pattern.fullmatch(xml) if shape and shape.pattern else None
        if shape and found:
            texts: Sequence[str] = found.groups()
        else:
            shape = shape_of("<".join(_TAGS.findall(xml)))
            texts = shape.texts(xml)
            if len(_last) < len(APART) or name in _last:
                _last[name] = shape
        if "&" in xml:
            texts = [unescaped(text) for text in texts]
        self._fill(shape, texts)

    @classmethod
    def of(cls, shape: Shape, texts: Sequence[str], place: str) -> "Node":
        """An element of a known shape that stands at a known place of its file."""
        node = cls.__new__(cls)
        node.element, node._under = None, place  # noqa: SLF001 - its own kind
        node._fill(shape, texts)  # noqa: SLF001 - as above
        return node

    def _fill(self, shape: Shape, texts: Sequence[str]) -> None:
        self._shape, self._texts = shape, texts
        self.values = dict(zip(shape.paths, map(str.strip, [texts[at] for at in shape.at]), strict=True))
        self.values.update(shape.fixed)

    def text(self, path: str) -> str | None:
        """The text at a path; None where there is none."""
        return self.values.get(path) or None

    def all(self, path: str) -> list["Node"]:
        """Every element at a path, of which there may be several; it ends in one of `MANY`."""
        places = self._shape.lists.get(path)
        return [self._part(path, *place) for place in places] if places else []

    def number(self, path: str) -> int:
        """How many elements there are at a path; it ends in one of `MANY`."""
        return len(self._shape.lists.get(path, ()))

    def texts(self, path: str) -> list[str]:
        """What every element at a path says, its white space told as one space; empty ones are left out."""
        places = self._shape.lists.get(path)
        if not places:
            return []
        return [text for start, end, at in places if start != end and (text := " ".join(self._texts[at].split()))]

    def weight(self) -> int:
        """Bytes of memory, about: its texts, their places, and its shape unless another element had that before it (measured)."""
        own = sum(map(sys.getsizeof, self._texts)) + _PLACE * len(self.values)
        if self._shape.met > 1:
            return own
        return own + sum(map(sys.getsizeof, [*self._shape.tags, *self._shape.paths])) + _PLACE * len(self._shape.tags)

    def place(self) -> str:
        """Where the element stands in the file, without its namespace."""
        names = [self._under] if self._under else []
        element = self.element
        if element is None:
            return self._under
        while (parent := element.getparent()) is not None:
            names.append(local(element))
            element = parent
        return "/".join(reversed(names))

    def _part(self, path: str, start: int, end: int, at: int) -> "Node":
        part = Node.__new__(Node)
        part.element, part._under = self.element, f"{self._under}/{path}".lstrip("/")  # noqa: SLF001 - its own kind
        part._fill(shape_of("<".join(self._shape.tags[start : end + 1])), self._texts[at:])  # noqa: SLF001 - as above
        return part


def unescaped(text: str) -> str:
    """A text with the five references of XML, and those of white space, as what they stand for."""
    return unescape(text, _ENTITIES)


def shape_of(tags: str) -> Shape:
    """The shape of an element whose tags are these, each without its brackets, with `<` between them."""
    return _shape(tags) if len(tags) <= _KEPT_MAX else _shape.__wrapped__(tags)


@lru_cache(maxsize=1_024)
def _shape(tags: str) -> Shape:
    """The shape of an element whose tags are these, each without its brackets, with `<` between them."""
    shape = Shape(tags.split("<"))
    if len(shape.tags) > 1:
        shape.opened.append(0)
        _walk(shape, 1, "", set(), read=True)
    return shape


def _walk(shape: Shape, number: int, prefix: str, known: set[str], *, read: bool) -> int:
    """Goes through the children of an element, from the tag with that number on; returns the number of its closing tag."""
    while not (tag := shape.tags[number]).startswith("/"):
        name = _NAME.match(tag)[1]  # type: ignore[index] # a tag has a name
        path, first, at = prefix + name, number, len(shape.opened)
        whole, apart = tag.endswith("/"), name in APART
        if not whole:
            shape.opened.append(number)
            number = _walk(shape, number + 1, path + "/", known, read=read and not apart)
        if read and path not in known:
            known.add(path)
            if whole or apart:
                shape.fixed[path] = ""
            else:
                shape.paths.append(path)
                shape.at.append(at)
            if not apart and number <= first + 1 and (currency := _CURRENCY.search(tag)):
                shape.fixed[path + "@"] = unescape(currency[1], _ENTITIES).strip()
        if read and name in MANY:
            shape.lists.setdefault(path, []).append((first, number, at))
        number += 1
    return number


def whole(data: bytes) -> etree._Element:
    """The root of a message that is small enough to be read at once: no DOCTYPE, no entities, no network. Raises BankFileError."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise BankFileError("not well-formed XML" + (f", line {line}" if line else "")) from None
    if getattr(root.getroottree().docinfo, "doctype", None):
        raise BankFileError("a bank file has no DOCTYPE")
    return root


_names: dict[object, str] = {}
_NAMES_MAX = 4_096


def local(element: etree._Element) -> str:
    """The name of an element without its namespace."""
    tag = str(element.tag)
    name = _names.get(tag)
    if name is None:
        name = tag.rpartition("}")[2]
        if len(_names) < _NAMES_MAX:
            _names[tag] = name
    return name
