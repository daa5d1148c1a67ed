"""lxml's element maker with a type, for the writers of UBL and camt."""

from collections.abc import Mapping

from lxml import etree
from lxml.builder import ElementMaker  # type: ignore[import-not-found]  # the stubs leave this module out

Child = etree._Element | str | Mapping[str, str]  # noqa: SLF001 - lxml has no public name for its element


class Tag:
    """Makes elements of one name."""

    def __init__(self, maker: ElementMaker, name: str) -> None:
        self._maker, self._name = maker, name

    def __call__(self, *children: Child) -> etree._Element:
        """An element with these children: elements, text, or attributes as a mapping."""
        element = self._maker(self._name, *children)
        if not isinstance(element, etree._Element):  # noqa: SLF001 - as above
            raise TypeError(f"lxml made no element for {self._name}")
        return element


class Maker:
    """`make.Name(children)` is an element of `namespace`; `make("Name", children)` is the same for a name in a variable."""

    def __init__(self, namespace: str, prefixes: Mapping[str | None, str]) -> None:
        self._maker = ElementMaker(namespace=namespace, nsmap=dict(prefixes))

    def __getattr__(self, name: str) -> Tag:
        """The maker of one element name."""
        return Tag(self._maker, name)

    def __call__(self, name: str, *children: Child) -> etree._Element:
        """An element of this name."""
        return Tag(self._maker, name)(*children)


def to_bytes(root: etree._Element) -> bytes:
    """The document in UTF-8 with its declaration."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")
