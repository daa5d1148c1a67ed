"""An XML element as a table of texts by path: read once, looked up often, whatever namespace and prefix it came in."""

from lxml import etree

_APART = frozenset({"Ntry", "TxDtls", "Stmt", "Rpt", "Ntfctn"})
"""Elements of which a parent has many, each read by itself."""
MANY = frozenset({"TxDtls", "Bal", "Btch", "Ustrd", "Strd", "CdtrRefInf", "Nb", "AddtlRmtInf", "Chrgs", "Rcrd"})
"""Elements of which every one is asked for."""


class Node:
    """An element as a table: the text of everything below it by path, the first of each, and the currency of amounts."""

    __slots__ = ("element", "lists", "values")

    def __init__(self, element: etree._Element) -> None:
        self.element = element
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[etree._Element]] = {}
        self._fill(element, "")

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
        """The elements at a path as they are; it ends in one of `MANY`."""
        return self.lists.get(path, [])

    def _fill(self, element: etree._Element, prefix: str) -> None:
        values = self.values
        for child in element:
            name = _names.get(child.tag) or local(child)
            path = prefix + name
            if name in MANY:
                self.lists.setdefault(path, []).append(child)
            if name in _APART:
                values.setdefault(path, "")
                continue
            within = len(child)
            if path not in values:
                text = child.text
                values[path] = text.strip() if text else ""
                if not within and (currency := child.get("Ccy")):
                    values[path + "@"] = currency.strip()
            if within:
                self._fill(child, path + "/")


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
