"""Bytes of an e-invoice to a tree, hardened: nothing outside the file is ever read, nothing in it is expanded.

Invariants: no DOCTYPE, no entities, no network, libxml2's own bounds on depth (256) and text (10 MB) stay on; larger than
`MAX_BYTES` is not looked at.
"""

import re
from typing import NamedTuple

from lxml import etree

MAX_BYTES = 16 * 1024 * 1024
_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_KNOWN = {
    f"{{{_UBL}Invoice-2}}Invoice": "ubl-invoice",
    f"{{{_UBL}CreditNote-2}}CreditNote": "ubl-credit-note",
    "{urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100}CrossIndustryInvoice": "cii",
    "{urn:ferd:CrossIndustryDocument:invoice:1p0}CrossIndustryDocument": "zugferd-1",
    "{urn:un:unece:uncefact:data:standard:CrossDomainAcknowledgementAndResponse:100}CrossDomainAcknowledgementAndResponse": "cdar",
    "{urn:un:unece:uncefact:data:SCRDMCCBDACIOMessageStructure:100}SCRDMCCBDACIOMessageStructure": "order-x",
    "{http://www.unece.org/cefact/namespaces/StandardBusinessDocumentHeader}StandardBusinessDocument": "sbd",
    "{http://difi.no/xsd/vefa/validator/1.0}testSet": "test-set",
}
INVOICES = frozenset({"ubl-invoice", "ubl-credit-note", "cii", "zugferd-1"})
_OTHERS = {
    "cdar": "a French life-cycle message (CDAR), not an invoice",
    "order-x": "an order (Order-X), not an invoice",
}
_RESPONSES = {
    "urn:fdc:peppol.eu:poacc:trns:invoice_response:3": "a Peppol Invoice Response, not an invoice",
    "urn:fdc:peppol.eu:poacc:trns:mlr:3": "a Peppol Message Level Response, not an invoice",
}
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class UnreadableError(Exception):
    """Bytes that hold no invoice we would read. The text says what is wrong with them; `format` what they seem to be."""

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
    return Tree(format_of(root), root)


def format_of(root: etree._Element) -> str:
    """What the root element says the document is."""
    tag = etree.QName(root)
    if known := _KNOWN.get(tag.text):
        return known
    if (tag.namespace or "").startswith(_UBL):
        return "ubl-" + _CAPITAL.sub("-", tag.localname).lower()
    return f"xml:{tag.localname}"


def reason(tree: Tree) -> str:
    """Why a document that is no invoice is not read, naming what it is."""
    if tree.format == "ubl-application-response":
        said = tree.root.findtext("{urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2}CustomizationID") or ""
        return _RESPONSES.get(said.strip(), "a business response (UBL ApplicationResponse), not an invoice")
    if tree.format in _OTHERS:
        return _OTHERS[tree.format]
    name = etree.QName(tree.root).localname
    return f"a UBL document {name}, not an invoice" if tree.format.startswith("ubl-") else f"an XML document {name}, not an invoice"


def contained(tree: Tree) -> list[Tree]:
    """The invoices in an envelope (a Peppol business document, a set of tests), in their order; copies with a root of their own."""
    if tree.format not in {"sbd", "test-set"}:
        return []
    children = tree.root if tree.format == "sbd" else [node for test in tree.root.iterfind("{*}test") for node in test]
    return [
        Tree(format_of(node), etree.fromstring(etree.tostring(node, with_tail=False))) for node in children if format_of(node) in INVOICES
    ]
