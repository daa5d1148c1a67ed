"""An XML element as a table of texts by path: read once, looked up often, whatever namespace and prefix it came in."""

from lxml import etree

_APART = frozenset({"Ntry", "TxDtls", "Stmt", "Rpt", "Ntfctn"})
"""Elements of which a parent has many, each read by itself."""


class Node:
    """An element as a table: the text of everything below it by path, the first of each, and the currency of amounts."""

    __slots__ = ("element", "values")

    def __init__(self, element: etree._Element) -> None:
        self.element = element
        self.values: dict[str, str] = {}
        _fill(self.values, element, "")

    def text(self, path: str) -> str | None:
        """The text at a path; None where there is none."""
        return self.values.get(path) or None

    def all(self, path: str) -> list["Node"]:
        """Every element at a path, of which there may be several."""
        return [Node(one) for one in self.elements(path)]

    def texts(self, path: str) -> list[str]:
        """What every element at a path says, its white space told as one space; empty ones are left out."""
        return [text for one in self.elements(path) if (text := " ".join((one.text or "").split()))]

    def elements(self, path: str) -> list[etree._Element]:
        """The elements at a path as they are."""
        if path not in self.values:
            return []
        found = [self.element]
        for name in path.split("/"):
            found = [child for one in found for child in one if (_names.get(child.tag) or local(child)) == name]
        return found


def _fill(values: dict[str, str], element: etree._Element, prefix: str) -> None:
    for child in element:
        name = _names.get(child.tag) or local(child)
        if name in _APART:
            values.setdefault(prefix + name, "")
            continue
        path = prefix + name
        within = len(child)
        if path not in values:
            text = child.text
            values[path] = text.strip() if text else ""
            if not within and (currency := child.get("Ccy")):
                values[path + "@"] = currency.strip()
        if within:
            _fill(values, child, path + "/")


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
