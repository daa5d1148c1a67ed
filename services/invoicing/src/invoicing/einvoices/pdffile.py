"""The invoice in a PDF (Factur-X, ZUGFeRD, hybrid XRechnung): the XML that is embedded in it is the invoice.

Invariants: nothing of the page content is looked at; streams are unpacked within bounds; runs in a worker process with limits.
"""

import io
import struct
import zlib
from collections.abc import Iterator

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from invoicing.einvoices.xmlfile import INVOICES, Tree, UnreadableError, parse

# Factur-X 1.09, section 6: the name of the embedded file; those of its ancestors and of XRechnung
_NAMES = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")
_ATTACHMENTS_MAX = 100
_BROKEN = (
    PyPdfError, ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip
"""pypdf lets many errors of its own code out on broken files (a filter of no known name is a NotImplementedError)."""


def is_pdf(data: bytes) -> bool:
    """Whether the bytes begin as a PDF file does (readers allow some bytes before the mark)."""
    return b"%PDF-" in data[:1024]


def invoice_in(data: bytes) -> tuple[str, bytes, Tree]:
    """(name, bytes, tree) of the embedded invoice. Raises UnreadableError with the reason: broken, encrypted, none, several."""
    refused = None
    try:
        found = []
        for name, content in _attachments(data):
            try:
                tree = parse(content)
            except UnreadableError as error:
                if name.lower() in _NAMES:
                    refused = error
                continue
            if tree.format in INVOICES or name.lower() in _NAMES:
                found.append((name, content, tree))
    except _BROKEN as error:
        raise UnreadableError(f"a PDF file that cannot be read ({type(error).__name__})", "pdf") from None
    if refused is not None:
        raise UnreadableError(f"a PDF file whose embedded invoice is refused: {refused}", "pdf")
    if not found:
        raise UnreadableError("a PDF file without an embedded invoice", "pdf")
    best = min(_rank(name) for name, _, _ in found)
    chosen = [each for each in found if _rank(each[0]) == best]
    if len({content for _, content, _ in chosen}) > 1:
        raise UnreadableError("a PDF file with several embedded invoices", "pdf")
    return chosen[0]


def _rank(name: str) -> int:
    """Where a newer and an older form of the same invoice are embedded, the newer is the invoice."""
    return _NAMES.index(name.lower()) if name.lower() in _NAMES else len(_NAMES)


def _attachments(data: bytes) -> Iterator[tuple[str, bytes]]:
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("an encrypted PDF file", "pdf")
    for number, each in enumerate(reader.attachment_list):
        if number >= _ATTACHMENTS_MAX:
            raise UnreadableError(f"a PDF file with more than {_ATTACHMENTS_MAX} attachments", "pdf")
        if each.name.lower().endswith(".xml"):
            yield each.name, each.content
