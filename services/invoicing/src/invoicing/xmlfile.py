"""Bytes of an e-invoice to a tree, hardened: nothing outside the file is ever read, nothing in it is expanded.

Invariants: no DOCTYPE, no entities, no network, libxml2's own bounds on depth (256) and text stay on; larger than
`MAX_BYTES` is not looked at.
"""

from typing import NamedTuple

from lxml import etree

MAX_BYTES = 16 * 1024 * 1024
_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_KNOWN = {
    f"{{{_UBL}Invoice-2}}Invoice": "ubl-invoice",
    f"{{{_UBL}CreditNote-2}}CreditNote": "ubl-credit-note",
    "{urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100}CrossIndustryInvoice": "cii",
    "{urn:ferd:CrossIndustryDocument:invoice:1p0}CrossIndustryDocument": "zugferd-1",
}


class UnreadableError(Exception):
    """Bytes that are no XML we would read. The text says what is wrong with them; `format` what they seem to be."""

    def __init__(self, detail: str, found: str = "unknown") -> None:
        super().__init__(detail)
        self.format = found


class Tree(NamedTuple):
    """A parsed file and what its root says it is (`ubl-invoice`, `cii`, ... or `xml:NAME` for another root)."""

    format: str
    root: etree._Element


def parse(data: bytes) -> Tree:
    """Raises UnreadableError."""
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"the file is larger than {MAX_BYTES} bytes")
    if data.lstrip()[:5] == b"%PDF-":
        raise UnreadableError("a PDF file: recognised, and not read here", "pdf")
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UnreadableError("not well-formed XML" + (f" (line {line})" if line else "")) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise UnreadableError("an XML file with a DOCTYPE is refused")
    tag = str(root.tag)
    return Tree(_KNOWN.get(tag, f"xml:{etree.QName(tag).localname}"), root)
