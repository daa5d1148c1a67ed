"""Reads camt.052, camt.053 and camt.054 (ISO 20022 bank-to-customer cash management), versions 01 to 13.

Invariants: no DOCTYPE, no entities, no network, bounded depth and text; one entry in memory at a time; amounts are read strictly,
never rounded; a batch without its details is a total, never a payment; nothing is guessed: what cannot be read is said with the place.
Source of the elements: the message definition reports of camt.053.001.02 to .13 (the names are the same over the versions;
.02 has Amt under AmtDtls/TxAmt, .04 and later beside Refs; parties moved under Pty with .08).
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, BinaryIO, cast

from lxml import etree

from matching.bankfiles import summaries, texts
from matching.bankfiles.alike import Alike
from matching.bankfiles.amounts import minor_of
from matching.bankfiles.camt_amounts import signed_amount
from matching.bankfiles.camt_entries import count, day_at, read_entry
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
_NO_CURRENCY = "XXX"
"""ISO 4217: no currency is involved. So some banks call an account of several; what its balances and entries are in, they say."""
_TOP = ["{*}Stmt", "{*}Ntfctn", "{*}Rpt"]


_PIECE = 32_768
"""Bytes read at once."""
MANY = 50
"""Entries of a statement until those that are alike are read without the parser (`alike`): a small file does not pay for it."""
MAX_DETAILS = 200_000
"""Of one entry, which are in memory together: 451 MB (Python 3.11, details with a reference, a name and an account)."""
MAX_WEIGHT = 1 << 30
"""Bytes of memory that the details of one entry take together, as `Node.weight` estimates them."""
MAX_ELEMENT = 4 << 20
"""Bytes of one detail together with what stands beside the details of its entry and between the entries of its statement, which is
in memory until those end: there it takes a hundred times as much (measured)."""
_WAITING = 1 << 20
"""Bytes without the end of an entry, and line ends that the parser is owed, at the most."""
_MARKUP = re.compile(rb"<[!?]")
_PLACE = re.compile(r",? line [0-9]+, column [0-9]+.*|, (?:use|try) XML_PARSE_HUGE.*", re.ASCII | re.DOTALL)
_DECLARATION = re.compile(rb"<\?xml\s[^<>]*>")


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file, of each document in it. Raises BankFileError where one is no well-formed message."""
    encoding = texts.encoding_of(file)
    for start, end in texts.documents(file):
        yield from _document(texts.Trimmed(file, start, end), encoding)


def _document(source: texts.Trimmed, encoding: str | None) -> Iterator[Item]:
    parser = etree.XMLPullParser(
        events=("start", "end"),
        tag=[*_TOP, "{*}Ntry", "{*}NtryDtls", "{*}TxDtls"],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding=encoding,
    )
    reader = _Reader(parser)
    try:
        yield from _pieces(source, reader, plain=encoding == "utf-8")
        parser.close()
    except (etree.XMLSyntaxError, ValueError) as error:
        if isinstance(error, BankFileError):
            raise
        raise _malformed(getattr(error, "lineno", None), str(error)) from None
    if not reader.found:
        raise BankFileError("no camt.052, camt.053 or camt.054 statement in the file")


def _malformed(line: int | None, why: str) -> BankFileError:
    """What the parser says is wrong, on one line; its columns are left out, for they are those of the piece that it was given."""
    said = " ".join(_PLACE.sub("", why).split())[:120].rstrip(" .:")
    return BankFileError("the file is not well-formed XML" + (f" (line {line})" if line else "") + (f": {said}" if said else ""))


def _pieces(source: texts.Trimmed, reader: "_Reader", *, plain: bool) -> Iterator[Item]:
    """What the file holds, piece by piece. `plain`: it is UTF-8, so that entries may be told apart by their text.

    From the first comment, CDATA section or instruction on everything goes to the parser: a tag may be no tag then.
    """
    rest = before = b""
    while piece := source.read(_PIECE):
        if plain:
            plain = _MARKUP.search(before + (piece if before else _DECLARATION.sub(b"", piece, count=1))) is None
            before = piece[-1:]
        rest += piece
        if plain and reader.many:
            end = rest.rfind(reader.closing, -_PIECE - len(reader.closing)) + len(reader.closing)
            if end >= len(reader.closing):
                yield from reader.whole(rest[:end])
                rest = rest[end:]
            if len(rest) <= _WAITING:
                continue
        yield from reader.feed(rest)
        rest = b""
    yield from reader.feed(rest)


class _Reader:
    """Entries and statements, from what the parser finds and from what is read without it."""

    def __init__(self, parser: etree.XMLPullParser) -> None:
        self._parser = parser
        self._events = cast("Iterator[tuple[str, Any]]", parser.read_events())
        self._top: etree._Element | None = None
        self._statement: Statement | None = None
        self._made: date | None = None
        self._details: list[Node] = []
        self._begun = False
        self._alike: Alike | None = None
        self._lines = 0  # that the parser is owed
        self._held = 0  # bytes that it has in memory
        self._around = self._among = 0  # of them those between the entries of the statement, and those between the details of the entry
        self._weight = 0
        self._between = False  # two entries of a statement, right behind the first: so far as the parser was fed
        self.closing = b""
        self.found = False

    @property
    def many(self) -> bool:
        """Whether so many entries of the statement were read that others will be like them."""
        return self._statement is not None and self._statement.entries >= MANY

    def whole(self, data: bytes) -> Iterator[Item]:
        """Bytes up to the end of an entry: entries like those before are read off their text, the others go to the parser one by one."""
        ends = self.closing
        if not self._between:  # they may begin anywhere, within a letter too
            begun = data.index(ends) + len(ends)
            yield from self.feed(data[:begun])
            data = data[begun:]
        closing, text, at = ends.decode(), data.decode().replace("\r\n", "\n"), 0
        while at < len(text):
            known = self._alike.read(text, at) if self._between and self._alike and self._lines < _WAITING else None
            if known and self._statement is not None:
                behind, entry, details = known
                self._lines += text.count("\n", at, behind)
                yield self._statement, self._statement.add(read_entry(entry, details, self._made, self._statement))
            else:
                behind = text.index(closing, at) + len(closing)
                one, alike, between = text[at:behind], self._alike, self._between
                yield from self.feed(one.encode())
                if between and self._between and alike is self._alike and alike is not None:
                    alike.learn(one)
            at = behind

    def feed(self, data: bytes) -> Iterator[Item]:
        """What the parser finds in the next bytes."""
        if self._lines:
            data, self._lines = b"\n" * self._lines + data, 0
        wrong: Exception | None = None
        self._held += len(data)
        try:
            if data:
                self._parser.feed(data)
                log = self._parser.feed_error_log  # lxml goes on after an entity that nobody knows, and forgets where it was
                wrong = next((_malformed(one.line, one.message) for one in log if one.type == etree.ErrorTypes.ERR_UNDECLARED_ENTITY), None)
        except (etree.XMLSyntaxError, ValueError) as error:
            wrong = error
        self._between = False
        for event, element in self._events:
            self._between = False
            yield from self._take(event, element)
        self._between = self._between and data.endswith(self.closing)
        if wrong is not None:  # what came before it is told first
            raise wrong
        if self._held > MAX_ELEMENT:
            at = self._statement.entries + 1 if self._statement else 1
            raise BankFileError(f"entry {at}: more than {MAX_ELEMENT >> 20} MiB of one detail or beside the details")
        if self._weight > MAX_WEIGHT and self._statement:
            raise BankFileError(f"entry {self._statement.entries + 1}: its details take more than {MAX_WEIGHT >> 30} GiB of memory")

    def _take(self, event: str, element: etree._Element) -> Iterator[Item]:
        if not self._begun:
            self._begun = True
            if getattr(element.getroottree().docinfo, "doctype", None):  # it can only stand before the first element
                raise BankFileError("a bank file has no DOCTYPE")
        name, top, statement = local(element), self._top, self._statement
        if event == "start":
            if top is None and name != "Ntry":
                parent = element.getparent()
                if parent is not None and KINDS.get(local(parent), ("", ""))[0] == name:
                    self._top, self._statement, self._alike = element, Statement(kind=KINDS[local(parent)][1]), None
                    self._held = self._around = self._among = 0
                    _forget_before(element)
            elif name == "Ntry" and top is not None and statement is not None and not statement.entries and element.getparent() is top:
                self._made = _header(top, statement)
        elif top is not None and statement is not None:
            if name == "TxDtls":
                if _stands(element, top, "NtryDtls", "Ntry"):
                    if len(self._details) == MAX_DETAILS:
                        raise BankFileError(f"entry {statement.entries + 1}: more than {MAX_DETAILS} details")
                    self._details.append(Node(element))
                    self._weight += self._details[-1].weight()
                    element.clear()
                    self._among += _weigh(element.getprevious(), name)
                    self._held = self._around + self._among
            elif name == "NtryDtls":
                if _stands(element, top, "Ntry"):
                    last = next(element.iterchildren(reversed=True), None)
                    self._among += _weigh(last, "TxDtls") if last is not None else len(etree.tostring(element))
                    self._among += _weigh(element.getprevious(), name)
                    element.text = None
            elif name == "Ntry" and element.getparent() is top:
                details, self._details = self._details, []
                self._around += _weigh(element.getprevious(), name)
                yield statement, statement.add(read_entry(Node(element), details, self._made, statement))
                if self._alike is None and self.many:
                    self.closing = f"</{element.prefix}:Ntry>".encode() if element.prefix else b"</Ntry>"
                    self._alike = Alike(Node(element).place(), self.closing.decode())
                _forget(element)
                self._held, self._among, self._weight, self._between = self._around, 0, 0, True
            elif element is top:
                self._made = _header(top, statement)
                _closing(top, statement)
                if statement.kind == "camt.052":
                    summaries.without_entries(statement)
                statement.settle_days()
                self.found = True
                yield statement, None
                top.clear()
                self._held, self._top, self._statement = 0, None, None


def _stands(element: etree._Element, top: etree._Element, *around: str) -> bool:
    """Whether it stands in elements of these names, the innermost first, of the statement itself: some bank's own may bear its name."""
    for name in around:
        parent = element.getparent()
        if parent is None or local(parent) != name:
            return False
        element = parent
    return element.getparent() is top


def _weigh(last: etree._Element | None, name: str) -> int:
    """Bytes of an element and those before it, back to one of that name: what stands beside those that are read one by one.

    Before the first entry stands the header, before its first details the entry itself: they end with what they belong to.
    """
    beside = []
    while last is not None and local(last) != name:
        beside.append(last)
        last = last.getprevious()
    if last is not None:
        last.tail = None
    elif name != "TxDtls":
        return 0
    return sum(len(etree.tostring(one)) for one in beside)


def _forget(element: etree._Element) -> None:
    """Frees what was read before the element; it itself may still be in use by the parser, so it is only emptied."""
    parent = element.getparent()
    element.clear()
    if parent is None:
        return
    before = element.getprevious()
    if before is not None and before.tag == element.tag:
        parent.remove(before)


def _forget_before(top: etree._Element) -> None:
    """Frees what stands in the file before a statement, but the header of its message, wherever in that it stands."""
    about = _header_of_message(top)
    for element in (top, *top.iterancestors()):
        parent, before = element.getparent(), element.getprevious()
        while parent is not None and before is not None:
            further = before.getprevious()
            if before is not about:
                before.clear()  # or each element in it is looked through for its namespaces
                parent.remove(before)
            before = further


def _header_of_message(top: etree._Element) -> etree._Element | None:
    message = top.getparent()
    return message.find("{*}GrpHdr") if message is not None else None


def _header(found: etree._Element, statement: Statement) -> date | None:
    """Fills in what stands before the entries; returns the day the message was made."""
    top = Node(found, header=True)
    statement.identification = top.text("Id") or ""
    number = top.text("ElctrncSeqNb") or top.text("LglSeqNb")
    statement.number = number or statement.identification
    statement.sequence = int(number) if number and number.isascii() and number.isdecimal() and len(number) < 18 else None  # noqa: PLR2004 - fits bigint
    account = top.text("Acct/Id/IBAN") or top.text("Acct/Id/Othr/Id") or top.text("Acct/Id/PrtryAcct/Id") or top.text("Acct/Id/BBAN")
    statement.account = (account or "").replace(" ", "").upper()
    currency = top.text("Acct/Ccy")
    statement.currency = (currency if currency != _NO_CURRENCY else None) or statement.currency
    balances = _balances(top, statement)
    interim = balances.get("ITBD", [])
    begins = balances.get("OPBD") or balances.get("PRCD")
    opening = next(iter(begins or interim), None)
    # the first page of a statement ends with the only interim balance; in a report of the day that one is what stands at its hour
    ends = interim if begins and statement.kind == "camt.053" else interim[1:]
    closing = next(iter((balances.get("CLBD") or ends)[-1:]), None)
    if opening is None and closing is None and statement.kind == "camt.053":  # some banks have the available balances alone
        opening, closing = next(iter(balances.get("OPAV", [])), None), next(iter(balances.get("CLAV", [])[-1:]), None)
    statement.opening_minor, statement.closing_minor = opening[0] if opening else None, closing[0] if closing else None
    stands = closing or opening
    if statement.currency is None and stands:
        statement.currency = stands[2]
    about = _header_of_message(found)
    made = day_at(top, "CreDtTm") or (day_at(Node(about), "CreDtTm") if about is not None else None)
    statement.last_day = (closing[1] if closing else None) or day_at(top, "FrToDt/ToDtTm", "FrToDt/ToDt")
    statement.first_day = day_at(top, "FrToDt/FrDtTm", "FrToDt/FrDt")
    return made


def _balances(top: Node, statement: Statement) -> dict[str, list[tuple[int, date | None, str]]]:
    """The balances by their kind and, of one kind, by their day: those of an account in several currencies that are in its own."""
    balances: dict[str, list[tuple[int, date | None, str]]] = {}
    for balance in top.all("Bal"):
        code = balance.text("Tp/CdOrPrtry/Cd") or balance.text("Tp/Cd") or ""
        try:
            # some banks leave out the sign of a balance; it is then positive, and the sum of the statement proves it
            signed, currency = signed_amount(balance, missing="CRDT")
            if statement.currency in {None, currency}:
                balances.setdefault(code, []).append((signed, day_at(balance, "Dt/Dt", "Dt/DtTm", "Dt"), currency))
        except BankFileError as error:
            if code in {"OPBD", "PRCD", "CLBD", "ITBD"}:
                statement.problem = statement.problem or str(error)
    return {code: sorted(found, key=lambda one: one[1] or date.min) for code, found in balances.items()}


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
