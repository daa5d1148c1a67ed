"""Reads camt.052, camt.053 and camt.054 (ISO 20022 bank-to-customer cash management), versions 01 to 13.

Invariants: no DOCTYPE, no entities, no network, bounded depth and text; one entry in memory at a time; amounts are read strictly,
never rounded; a batch without its details is a total, never a payment; nothing is guessed: what cannot be read is said with the place.
Source of the elements: the message definition reports of camt.053.001.02 to .13 (the names are the same over the versions;
.02 has Amt under AmtDtls/TxAmt, .04 and later beside Refs; parties moved under Pty with .08).
"""

from collections.abc import Iterator
from datetime import date
from typing import BinaryIO

from lxml import etree

from matching.bankfiles import texts
from matching.bankfiles.amounts import minor_of
from matching.bankfiles.camt_entries import count, day_at, read_entry, signed_amount
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node, local
from matching.domain.statements import Item, Statement

KINDS = {
    name + version: found
    for name, found in {
        "BkToCstmrStmt": ("Stmt", "camt.053"),
        "BkToCstmrDbtCdtNtfctn": ("Ntfctn", "camt.054"),
        "BkToCstmrAcctRpt": ("Rpt", "camt.052"),
    }.items()
    for version in ("", "V01")  # version 01 has its number in the name
}
_TOP = ["{*}Stmt", "{*}Ntfctn", "{*}Rpt"]


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file. Raises BankFileError where it is no well-formed message."""
    encoding = texts.encoding_of(file)
    events = etree.iterparse(
        texts.Trimmed(file),
        events=("start", "end"),
        tag=[*_TOP, "{*}Ntry", "{*}TxDtls"],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding=encoding,
    )
    try:
        yield from _walk(events)
    except (etree.XMLSyntaxError, ValueError) as error:
        if isinstance(error, BankFileError):
            raise
        line = getattr(error, "lineno", None)
        raise BankFileError("the file is not well-formed XML" + (f" (line {line})" if line else "")) from None


def _walk(events: Iterator[tuple[str, etree._Element]]) -> Iterator[Item]:
    statement: Statement | None = None
    top: etree._Element | None = None
    made: date | None = None
    found = False
    root: etree._Element | None = None
    details: list[Node] = []
    for event, element in events:
        if root is None:
            root = element.getroottree().getroot()
            if getattr(root.getroottree().docinfo, "doctype", None):  # it can only stand before the first element
                raise BankFileError("a bank file has no DOCTYPE")
        name = local(element)
        if event == "start":
            if top is None and name != "Ntry":
                parent = element.getparent()
                if parent is not None and KINDS.get(local(parent), ("", ""))[0] == name:
                    top, statement = element, Statement(kind=KINDS[local(parent)][1])
            elif name == "Ntry" and top is not None and statement is not None and not statement.entries and element.getparent() is top:
                made = _header(top, statement)
        elif top is not None and statement is not None:
            if name == "TxDtls":
                if _is_detail(element, top):
                    details.append(Node(element))
                    element.clear()
            elif name == "Ntry" and element.getparent() is top:
                yield statement, statement.add(read_entry(Node(element), details, made, statement))
                _forget(element)
                details = []
            elif element is top:
                made = _header(top, statement)
                _closing(top, statement)
                statement.settle_days()
                found = True
                yield statement, None
                top.clear()
                _forget(top)
                top = statement = None
    if not found:
        raise BankFileError("no camt.052, camt.053 or camt.054 statement in the file")


def _is_detail(element: etree._Element, top: etree._Element) -> bool:
    """Whether it is a detail of an entry: Ntry/NtryDtls/TxDtls, and not some bank's own of that name."""
    parent = element.getparent()
    entry = parent.getparent() if parent is not None else None
    return parent is not None and entry is not None and local(parent) == "NtryDtls" and local(entry) == "Ntry" and entry.getparent() is top


def _forget(element: etree._Element) -> None:
    """Frees what was read before the element; it itself may still be in use by the parser, so it is only emptied."""
    parent = element.getparent()
    element.clear()
    if parent is None:
        return
    before = element.getprevious()
    if before is not None and before.tag == element.tag:
        parent.remove(before)


def _header(found: etree._Element, statement: Statement) -> date | None:
    """Fills in what stands before the entries; returns the day the message was made."""
    top = Node(found, header=True)
    statement.identification = top.text("Id") or ""
    number = top.text("ElctrncSeqNb") or top.text("LglSeqNb")
    statement.number = number or statement.identification
    statement.sequence = int(number) if number and number.isascii() and number.isdecimal() and len(number) < 18 else None  # noqa: PLR2004 - fits bigint
    account = top.text("Acct/Id/IBAN") or top.text("Acct/Id/Othr/Id") or top.text("Acct/Id/PrtryAcct/Id") or top.text("Acct/Id/BBAN")
    statement.account = (account or "").replace(" ", "").upper()
    statement.currency = top.text("Acct/Ccy") or statement.currency
    balances = _balances(top, statement)
    interim = balances.get("ITBD", [])
    opening = next(iter(balances.get("OPBD") or balances.get("PRCD") or interim), None)
    closing = next(iter((balances.get("CLBD") or [])[-1:] or interim[1:][-1:]), None)
    if opening is None and closing is None and statement.kind == "camt.053":  # some banks have the available balances alone
        opening, closing = next(iter(balances.get("OPAV", [])), None), next(iter(balances.get("CLAV", [])[-1:]), None)
    statement.opening_minor, statement.closing_minor = opening[0] if opening else None, closing[0] if closing else None
    stands = closing or opening
    if statement.currency is None and stands:
        statement.currency = stands[2]
    parent = found.getparent()
    made = day_at(top, "CreDtTm") or (day_at(Node(parent, header=True), "GrpHdr/CreDtTm") if parent is not None else None)
    statement.last_day = (closing[1] if closing else None) or day_at(top, "FrToDt/ToDtTm", "FrToDt/ToDt")
    statement.first_day = day_at(top, "FrToDt/FrDtTm", "FrToDt/FrDt")
    return made


def _balances(top: Node, statement: Statement) -> dict[str, list[tuple[int, date | None, str]]]:
    balances: dict[str, list[tuple[int, date | None, str]]] = {}
    for balance in top.all("Bal"):
        code = balance.text("Tp/CdOrPrtry/Cd") or balance.text("Tp/Cd") or ""
        try:
            # some banks leave out the sign of a balance; it is then positive, and the sum of the statement proves it
            signed, currency = signed_amount(balance, missing="CRDT")
            balances.setdefault(code, []).append((signed, day_at(balance, "Dt/Dt", "Dt/DtTm", "Dt"), currency))
        except BankFileError as error:
            if code in {"OPBD", "PRCD", "CLBD", "ITBD"}:
                statement.problem = statement.problem or str(error)
    return balances


def _closing(found: etree._Element, statement: Statement) -> None:
    """What can only be compared when the last entry is in."""
    top = Node(found, header=True)
    summary = "TxsSummry/TtlNtries"
    statement.stated_entries = count(top, f"{summary}/NbOfNtries")
    if statement.currency:
        statement.stated_sum_minor = _stated_sum(top, f"{summary}/Sum", statement.currency)
        for side, path in (("stated_credit", "TxsSummry/TtlCdtNtries"), ("stated_debit", "TxsSummry/TtlDbtNtries")):
            setattr(statement, side, (count(top, f"{path}/NbOfNtries"), _stated_sum(top, f"{path}/Sum", statement.currency)))


def _stated_sum(element: Node, path: str, currency: str) -> int | None:
    """The stated sum where it can be read: banks pad this one with decimals that no amount has."""
    text = element.text(path)
    try:
        return minor_of(text, currency) if text else None
    except BankFileError:
        return None
