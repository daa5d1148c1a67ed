"""Reads OFX and QFX: 1.x (SGML, closing tags optional) and 2.x (XML) alike, as a stream of tags.

Source: Open Financial Exchange 1.6 and 2.2, section 11. Amounts are read exactly: a sign, a point or a comma, spaces or points between
thousands (banks write them though the standard does not). A statement has a closing balance only: it cannot be proved from the file.
"""

import html
import re
from collections.abc import Iterator
from datetime import date
from typing import BinaryIO

from matching.bankfiles import texts
from matching.bankfiles.amounts import day_of, minor_of
from matching.bankfiles.errors import BankFileError, NotAStatementError
from matching.domain.statements import Amount, Entry, Item, Statement, Transaction

_TAG = re.compile(r"<(/?)([A-Za-z0-9.]+)(?:\s[^<>]*?)?(/?)>([^<]*)", re.ASCII)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_COMMENT_ENDS = "-->"
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_AMOUNT = re.compile(r"([+-]?)\s*([0-9]{1,3}(?:[ .,\u00a0'][0-9]{3})+|[0-9]*)(?:([.,])([0-9]*))?", re.ASCII)
_STATEMENTS = frozenset({"STMTRS", "CCSTMTRS"})
_FEE = frozenset({"FEE", "SRVCHG"})
MAX_PENDING = 200_000
"""Characters between two tags."""
MAX_DEPTH, MAX_VALUES = 1_000, 10_000
"""Elements within each other, and values of one transaction or of all that stands around them: what is in memory together."""


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file."""
    statement: Statement | None = None
    path: list[str] = []
    values: dict[str, str] = {}
    heads: dict[str, str] = {}
    found = False
    for closing, name, text in _tags(file):
        if not closing and text:
            (values if "STMTTRN" in path else heads)["/".join([*path[-1:], name])] = text
            if "STMTTRN" in path:
                values.setdefault(name, text)
            if len(values) + len(heads) > MAX_VALUES:
                raise BankFileError("more than 10,000 values of a transaction, or beside them")
            continue
        if not closing:
            path.append(name)
            if len(path) > MAX_DEPTH:
                raise BankFileError("more than 1,000 elements within each other")
            if name in _STATEMENTS:
                statement, heads = Statement(kind="OFX"), {}
                found = True
            elif name.endswith("STMTRS"):  # its transactions are none of a bank account's
                raise _refused(name, beside=found)
            elif name == "STMTTRN":
                values = {}
                if statement is not None:
                    _head(statement, heads)
            continue
        if name in path:
            del path[len(path) - 1 - path[::-1].index(name) :]
        if statement is None:
            continue
        if name == "STMTTRN":
            yield statement, statement.add(_entry(statement, values))
        elif name in _STATEMENTS:
            _head(statement, heads)
            yield from _end(statement, heads)
            statement = None
    if statement is not None:
        _head(statement, heads)
        statement.problem = statement.problem or "the file ends inside a statement"
        yield from _end(statement, heads)


def _refused(name: str, *, beside: bool) -> BankFileError:
    """A report of securities (INVSTMTRS) or of a loan is refused; beside a bank account's statement all of the file is."""
    what = f"an investment or loan report ({name})"
    return BankFileError(f"{what} beside the statement of a bank account") if beside else NotAStatementError("OFX", what)


def _tags(file: BinaryIO) -> Iterator[tuple[bool, str, str]]:
    """Tags with what follows them: (closing, name, text). An element without text opens an aggregate."""
    held: list[str] = []  # lines from the last tag on, until one has the next
    size, until = 0, "<"
    for line in texts.lines(file):
        held.append(f"{line}\n")
        size += len(line) + 1
        if until not in line:
            if size > MAX_PENDING:
                raise BankFileError(f"{'a comment' if until == _COMMENT_ENDS else 'a value'} of more than 200,000 characters")
            continue
        pending = _CDATA.sub(lambda found: html.escape(found[1]), _COMMENT.sub("", "".join(held)))
        until = _COMMENT_ENDS if "<!--" in pending else "<"
        cut = pending.rfind("<") if until == "<" else 0
        yield from _of(pending[: max(cut, 0)])
        held = [pending[max(cut, 0) :]]
        size = len(held[0])
    yield from _of("".join(held))


def _of(text: str) -> Iterator[tuple[bool, str, str]]:
    for found in _TAG.finditer(text):
        close, name, empty, value = found.groups()
        if not empty:
            yield bool(close), name.upper(), "" if close else html.unescape(value).strip()


def _head(statement: Statement, heads: dict[str, str]) -> None:
    values = {name.rpartition("/")[2]: text for name, text in heads.items()}
    statement.currency = values.get("CURDEF", "").upper() or statement.currency
    parts = [values.get(name, "") for name in ("BANKID", "BRANCHID", "ACCTID")]
    statement.account = "".join(parts[2].split()).upper() or statement.account
    statement.first_day = _day(values.get("DTSTART")) or statement.first_day
    statement.last_day = _day(values.get("DTEND")) or statement.last_day


def _end(statement: Statement, heads: dict[str, str]) -> Iterator[Item]:
    balance = heads.get("LEDGERBAL/BALAMT")
    if balance and statement.currency:
        try:
            statement.closing_minor = _amount(balance, statement.currency)
        except BankFileError as error:
            statement.remarks.append(f"closing balance: {error}")  # it proves nothing
    statement.last_day = _day(heads.get("LEDGERBAL/DTASOF")) or statement.last_day
    statement.number = statement.last_day.isoformat() if statement.last_day else ""
    statement.identification = statement.number
    if not statement.account:
        statement.problem = statement.problem or "no account is named"
    statement.settle_days()
    yield statement, None


def _entry(statement: Statement, values: dict[str, str]) -> Entry:
    currency = values.get("CURRENCY/CURSYM", "").upper() or statement.currency or ""  # ORIGCURRENCY's has been converted already
    try:
        if not currency:
            raise BankFileError("the statement names no currency")
        _new(values)
        signed = _amount(values.get("TRNAMT", ""), currency)
        booking = _day(values.get("DTPOSTED"))
        value = _day(values.get("DTAVAIL")) or _day(values.get("DTUSER"))
        day = booking or value
        if day is None:
            raise BankFileError("a transaction without a date")
    except BankFileError as error:
        return Entry(signed_minor=0, currency=currency, status="booked", transactions=[], problem=str(error))
    statement.currency = statement.currency or currency
    kind = values.get("TRNTYPE", "").upper()
    name, *more = _names(values)
    memo = " ".join((values.get("MEMO") or "").split())
    check = values.get("CHECKNUM") or values.get("CHKNUM") or ""
    one = Transaction(
        kind="other",
        credit=signed >= 0,
        amount_minor=abs(signed),
        currency=currency,
        day=day,
        booking_date=booking,
        value_date=value,
        bank_reference=values.get("FITID"),
        entry_reference=values.get("FITID"),
        end_to_end_id=values.get("REFNUM"),
        transaction_code=kind or None,
        counterparty_name=name,
        counterparty_iban="".join((values.get("BANKACCTTO/ACCTID") or "").split()).upper() or None,
        remittance=[text for text in (memo, *more, f"check {check}" if check.strip("0") else "") if text],
    )
    rate_currency = values.get("ORIGCURRENCY/CURSYM")
    if rate_currency and rate_currency != currency:
        try:
            one.instructed = Amount(abs(_amount(values.get("ORIGAMT", ""), rate_currency)), rate_currency)
        except BankFileError:
            one.instructed = None
    if one.amount_minor:
        one.kind = "payment" if one.credit else "fee" if kind in _FEE else "other"
    return Entry(signed_minor=signed, currency=currency, status="booked", transactions=[one])


def _new(values: dict[str, str]) -> None:
    """Raises BankFileError for what corrects a transaction of an earlier file: what was booked of that, this file cannot take back.

    Some banks name the transaction itself as the one that it replaces: that one is new.
    """
    corrected, action = values.get("CORRECTFITID"), values.get("CORRECTACTION", "").upper()
    if action == "DELETE" or (corrected and corrected != values.get("FITID")):
        raise BankFileError(f"it corrects transaction {corrected!r} of an earlier file ({action or 'no action'})")


def _names(values: dict[str, str]) -> list[str | None]:
    """Who the other is, then what else is called a name: PAYEE names him, NAME may be what it was for and is cut at 32 characters."""
    found: list[str | None] = []
    for key in ("PAYEE/NAME", "EXTDNAME", "NAME"):
        name = " ".join((values.get(key) or "").split())
        if name and not any(name in (one or "") for one in found):
            found.append(name)
    return found or [None]


def _amount(text: str, currency: str) -> int:
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or not (found[2] or found[4]):
        raise BankFileError(f"{text[:30]!r} is no amount")
    sign, whole, point, decimals = found.groups()
    thousands = {char for char in whole if not char.isdecimal()}
    if len(thousands) > 1 or point in thousands:
        raise BankFileError(f"{text[:30]!r} is no amount")
    if not point and len(thousands & {".", ","}) == 1:
        raise BankFileError(f"{text[:30]!r}: thousands or decimals?")
    digits = "".join(char for char in whole if char.isdecimal())
    minor = minor_of(f"{digits}.{decimals or ''}", currency)
    return -minor if sign == "-" else minor


def _day(text: str | None) -> date | None:
    """YYYYMMDD, hours and zones behind it aside; YYYY-MM-DD too. Six digits are nobody's order of day, month and year: no day."""
    digits = (text or "").replace("-", "").replace("/", "")[:8]
    return day_of(digits) if len(digits) == 8 else None  # noqa: PLR2004 - a year of four digits
