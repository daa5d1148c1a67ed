"""What kind of file it is, by its content alone: names and media types of bank files say nothing reliable."""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from matching.bankfiles import aeb43, archives, bai2, camt, cfonb, coda, mt940, ofx, texts
from matching.bankfiles.errors import BankFileError, NotAStatementError
from matching.domain.statements import CurrencyOf, Item

MAX_BYTES = 512 * 1024 * 1024
HEAD = 65_536
"""Bytes looked at."""
_READERS: dict[str, Callable[[BinaryIO], Iterator[Item]]] = {
    "camt": camt.read,
    "coda": coda.read,
    "cfonb120": cfonb.read,
    "bai2": bai2.read,
    "ofx": ofx.read,
    "aeb43": aeb43.read,
}
_XML = {
    "CstmrCdtTrfInitn": ("pain.001", "a credit transfer order"),
    "CstmrPmtStsRpt": ("pain.002", "a payment status report"),
    "CstmrPmtRvsl": ("pain.007", "a reversal of direct debits"),
    "CstmrDrctDbtInitn": ("pain.008", "a direct debit order"),
    "FIToFICstmrDrctDbt": ("pacs.003", "an interbank direct debit"),
    "FIToFIPmtRvsl": ("pacs.007", "an interbank reversal"),
    "FICdtTrf": ("pacs.009", "a credit transfer between banks"),
    "CstmrPmtCxlReq": ("camt.055", "a recall of an order"),
    "NtfctnToRcv": ("camt.057", "an announcement of money to come"),
    "RmtAdvc": ("remt.001", "a remittance advice"),
    "FIToFICstmrCdtTrf": ("pacs.008", "an interbank credit transfer"),
    "PmtRtr": ("pacs.004", "an interbank payment return"),
    "FIToFIPmtStsRpt": ("pacs.002", "an interbank status report"),
    "FIToFIPmtCxlReq": ("camt.056", "a recall of a payment"),
    "RsltnOfInvstgtn": ("camt.029", "an answer to a recall"),
    "AcctRptgReq": ("camt.060", "a request for a report"),
    "MndtInitnReq": ("pain.009", "a mandate"),
    "CdtrPmtActvtnReq": ("pain.013", "a request to pay"),
    "BkSvcsBllgStmt": ("camt.086", "a bill of bank services"),
}
_OLD_ROOT = re.compile(r"((?:pain|pacs|camt)\.[0-9]{3})\.001\.[0-9]{2}", re.ASCII)
"""The first versions of a message have its identifier for an element."""
_ELEMENT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_CODA = re.compile(r"0[ 0]{4}[0-9]{6}[^\r\n]{116}[12][\r\n]*1[0-3][0-9]{3}", re.ASCII)
"""A header whose application is not told, and the old balance behind it."""
_CFONB240 = re.compile(r"31[0-9]{6}.{2}[0-9]{6}[A-Z ] {4}.{219}", re.ASCII)
"""A header: number of the record, operation, day of settlement, what the currency is (silarhi/cfonb-parser, `Line31Parser`)."""
_OFX = re.compile(r"<OFX(?:\s[^<>]*)?>", re.ASCII | re.IGNORECASE)
_MT = re.compile(r"(?:^|[\r\n}:@])[ \t]*:20:", re.ASCII)
_MT_KIND = re.compile(r"\{2:[IO]([0-9]{3})")


def detect(file: BinaryIO) -> str:
    """The family: camt, mt940, coda, cfonb120, bai2, ofx or aeb43, of what is not packed.

    Raises BankFileError, NotAStatementError for other known kinds.
    """
    if archives.is_packed(file):
        raise BankFileError("an archive in an archive")
    file.seek(0)
    head = file.read(HEAD)
    if not head.strip():
        raise BankFileError("the file is empty")
    text = _text(head)
    if _OFX.search(text) or text.lstrip().upper().startswith("OFXHEADER"):
        return "ofx"
    if text.startswith("<"):
        return _xml(text)
    if _MT.search(text):
        kind = _MT_KIND.search(text)
        if kind and kind[1] not in {"940", "942", "950", "941"}:
            raise NotAStatementError(f"MT{kind[1]}", "a SWIFT message")
        return "mt940"
    first = text.split("\n", 1)[0].rstrip("\r")
    if first.startswith("01,") and "02," in text:
        return "bai2"
    if first[:2] == "01" and re.match(r"01\d{5}.{4}\d{5}", first) and re.search(r"^.{90}[ 0-9]{13}[{}A-R\u00e9\u00e8]", first):
        return "cfonb120"
    if _CFONB240.match(first):
        raise NotAStatementError("CFONB240", "a list of transfers, direct debits or bills")
    if re.match(r"0[ 0]{4}\d{6}.{3}05", first) or _CODA.match(text):
        return "coda"
    if re.match(r"11\d{8}.{10}\d{12}[12]\d{14}", first):
        return "aeb43"
    if re.search(r"(?:^|[\r\n}]):(?:25|28C?|60[FM]|61|62[FM]):", text):
        return "mt940"
    raise BankFileError("no known kind of bank file")


def _nobody(_: str) -> None:
    return None


def read(file: BinaryIO, currency_of: CurrencyOf = _nobody) -> Iterator[Item]:
    """Each entry with its statement, then each statement alone when it is complete. `currency_of` is asked where a file says none.

    Raises BankFileError where the file cannot be read (on), NotAStatementError for a known kind that holds no statement.
    """
    file.seek(0, 2)
    if file.tell() > MAX_BYTES:
        raise BankFileError(f"the file is larger than {MAX_BYTES} bytes")
    if archives.is_packed(file) is None:
        yield from _read(file, currency_of)
        return
    for number, member in enumerate(archives.unpacked(file, MAX_BYTES), 1):
        try:
            yield from _read(member, currency_of)
        except NotAStatementError:
            raise
        except BankFileError as error:
            raise BankFileError(f"file {number} of the archive: {error}") from None


def messages(file: BinaryIO, most: int) -> Iterator[tuple[str, bytes]]:
    """The messages that are no statements in a file, or an archive of them: the kind of each, as "pain.002", and its first bytes.

    Of each `most` and one: who is given more knows that it is too large. Raises BankFileError where one is a statement, or nothing known.
    """
    for member in [file] if archives.is_packed(file) is None else archives.unpacked(file, MAX_BYTES):
        try:
            family = detect(member)
        except NotAStatementError as error:
            member.seek(0)
            yield error.kind, member.read(most + 1)
        else:
            raise BankFileError(f"messages that are no statements, and among them one ({family}): each is to come by itself")


def _read(file: BinaryIO, currency_of: CurrencyOf) -> Iterator[Item]:
    family = detect(file)
    empty = True
    for item in mt940.read(file, currency_of) if family == "mt940" else _READERS[family](file):
        empty = False
        yield item
    if empty:
        raise BankFileError("no statement in the file")


def _text(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").lstrip("\ufeff \t\r\n")
    if head[:1] == b"\x00" or head[1:2] == b"\x00":  # UTF-16 without a mark
        return head.decode("utf-16-be" if head[:1] == b"\x00" else "utf-16-le", "replace").lstrip()
    return texts.decoded(head).lstrip("\ufeff \t\r\n\x01")


def _xml(text: str) -> str:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BankFileError("a bank file has no DOCTYPE")
    for found in _ELEMENT.finditer(text):
        name = found[1]
        if name in camt.KINDS:
            return "camt"
        if name in _XML:
            raise NotAStatementError(*_XML[name])
        if old := _OLD_ROOT.fullmatch(name):
            raise NotAStatementError(old[1], next((what for kind, what in _XML.values() if kind == old[1]), "an ISO 20022 message"))
    raise BankFileError("an XML file of no known kind")
