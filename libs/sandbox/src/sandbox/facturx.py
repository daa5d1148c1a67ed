"""Factur-X as an ERP prints it: a PDF page for people, with the CII invoice for machines embedded."""

import io
import logging

from facturx import generate_from_binary
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject
from shared.money import format_amount

from sandbox import cii
from sandbox.actions import Customer, Document, Fault, Party

_A4 = (595, 842)
_TOP, _LINE = 780, 18
logging.getLogger("factur-x").setLevel(logging.WARNING)  # it tells of every step


def write(document: Document, *, seller: Party, buyer: Customer, account: str, fault: Fault | None = None) -> bytes:
    """The PDF of a document; arguments and faults as for `ubl.write`."""
    xml = cii.write(document, seller=seller, buyer=buyer, account=account, fault=fault)
    lines = [
        seller.name,
        f"{'Credit note' if document.kind == 'credit_note' else 'Invoice'} {document.number} of {document.issue_date:%Y-%m-%d}",
        f"To {buyer.party.name}, {buyer.party.postcode} {buyer.party.city}",
        *(f"{line.quantity} x {line.text}: {_amount(line.net_minor, document)}" for line in document.lines),
        f"VAT {_amount(document.tax_minor, document)}, total {_amount(document.total_minor, document)}",
        f"To pay {_amount(document.payable_minor, document)} to {account}",
    ]
    about = {
        "author": seller.name,
        "title": lines[1],
        "subject": lines[1],
        "keywords": "Factur-X",
    }  # not read from the XML: it may be spoiled
    made: bytes = generate_from_binary(
        _page(lines), xml, flavor="factur-x", level="en16931", check_xsd=False, check_schematron=False, pdf_metadata=about
    )
    return made


def _amount(minor: int, document: Document) -> str:
    return f"{format_amount(minor, document.currency)} {document.currency}"


def _page(lines: list[str]) -> bytes:
    """A PDF of one page of text in one of the fonts that every reader has."""
    writer = PdfWriter()
    page = writer.add_blank_page(*_A4)
    shown = [f"1 0 0 1 60 {_TOP - _LINE * number} Tm ({_escaped(line)}) Tj" for number, line in enumerate(lines)]
    content = DecodedStreamObject()
    content.set_data(f"BT /F1 11 Tf {' '.join(shown)} ET".encode("cp1252", "replace"))
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})  # noqa: SLF001 - pypdf has no public way
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    page[NameObject("/Contents")] = writer._add_object(content)  # noqa: SLF001 - as above
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
