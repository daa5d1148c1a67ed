"""Reading single fields of an e-invoice strictly: what is malformed is collected, never guessed."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from lxml import etree

from invoicing.domain.einvoice import Finding

_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,17}(?:\.[0-9]{0,10})?|\.[0-9]{1,10})")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")
_SPACE = re.compile(r"\s+")
CREDIT_CODES = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})
"""UNTDID 1001 codes of credit notes, as EN 16931's BR-CL-01 lists them."""


def clean(node: etree._Element | None) -> str | None:
    """The text of an element with runs of white space made one space; None where it is empty."""
    text = node.text if node is not None else None
    return (_SPACE.sub(" ", text).strip() or None) if text else None


def identifiers(nodes: Iterable[etree._Element]) -> list[tuple[str, str]]:
    """(scheme, value) of elements that bear a `schemeID`."""
    return [((node.get("schemeID") or "").strip(), text) for node in nodes if (text := clean(node))]


class Reader:
    """Reads one document whose paths use the prefixes of `names`; `malformed` collects what could not be read."""

    def __init__(self, root: etree._Element, names: Mapping[str, str]) -> None:
        self.root = root
        self.name = etree.QName(root).localname
        self.names = dict(names)
        self.malformed: list[Finding] = []

    def first(self, node: etree._Element | None, path: str) -> etree._Element | None:
        """The first element at `path`."""
        return node.find(path, self.names) if node is not None else None

    def all(self, node: etree._Element | None, path: str) -> list[etree._Element]:
        """All elements at `path`."""
        return node.findall(path, self.names) if node is not None else []

    def text(self, node: etree._Element | None, path: str) -> str | None:
        """The cleaned text of the first element at `path`."""
        return clean(self.first(node, path))

    def texts(self, node: etree._Element | None, path: str) -> tuple[str, ...]:
        """The texts at `path`, each once."""
        return tuple(dict.fromkeys(text for found in self.all(node, path) if (text := clean(found))))

    def amount(self, node: etree._Element | None, path: str, xpath: str) -> Decimal | None:
        """An amount of money; a malformed one is a finding at `xpath`/`path`."""
        text = self.text(node, path)
        if text is None:
            return None
        if not _DECIMAL.fullmatch(text):
            self.malformed.append(Finding("ENC-DECIMAL", f"{xpath}/{path}", "is not a decimal number of at most 17 digits and 10 decimals"))
            return None
        return Decimal(text)

    def number(self, node: etree._Element | None, path: str) -> Decimal | None:
        """A quantity, price or rate, which enters no book: None where it cannot be read."""
        text = self.text(node, path)
        return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None

    def day(self, node: etree._Element | None, path: str, xpath: str) -> date | None:
        """A date of XML Schema: YYYY-MM-DD, with or without a time zone."""
        return self._date(self.text(node, path), f"{xpath}/{path}")

    def day_102(self, node: etree._Element | None, path: str, xpath: str) -> date | None:
        """A date of UN/CEFACT: YYYYMMDD, format 102 (YYYY-MM-DD is read too)."""
        text = self.text(node, path)
        if text is not None and len(text) == 8 and text.isascii() and text.isdigit():  # noqa: PLR2004 - YYYYMMDD
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        return self._date(text, f"{xpath}/{path}")

    def _date(self, text: str | None, xpath: str) -> date | None:
        if text is None:
            return None
        found = _DATE.fullmatch(text)
        try:
            return date.fromisoformat(found[1] if found else "")
        except ValueError:
            self.malformed.append(Finding("ENC-DATE", xpath, "is not a calendar day"))
            return None
