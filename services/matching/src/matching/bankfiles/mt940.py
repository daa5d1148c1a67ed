"""Reads MT940 (customer statement), MT942 (interim report) and MT941 (balances and sums alone), plain or in SWIFT envelopes.

Source of the fields: SWIFT Standards, category 9 (the same in all banks' guides): :20: begins a message, :25: account, :28C: number,
:60F:/:60M: opening balance, :61: an entry, :86: what it was for, :62F:/:62M: closing balance; in MT942 :34F: floor limit,
:13D: time, :90D:/:90C: number and sum of debits and credits. What :86: means is each bank's own: `mt940_details`.
Real files differ from the standard: no comma or a point in amounts, several :86: of one entry, a dash inside a text,
headers before and trailers after each message, values dates of 30 February. All of that is read.
"""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import BinaryIO

from matching.bankfiles import summaries, texts
from matching.bankfiles.accounts import BARE_ACCOUNT, BIC, is_iban
from matching.bankfiles.amounts import day_of, minor_of
from matching.bankfiles.codepages import code_page
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.mt940_details import describe
from matching.domain.statements import CurrencyOf, Entry, Item, Statement, Transaction

_TAG = re.compile(r":([0-9]{2}[A-Z]|20|21|25|28|61|64|65|86|13|NS) ?:", re.ASCII | re.IGNORECASE)
_BEGIN = frozenset({"25", "25P", "28", "28C", "60F", "60M"})
"""Tags that stand before the entries."""
_SURE = re.compile(r"\s+:(?:61:[0-9]{6}|6[0245][FM]?:[CD][0-9]{6})", re.ASCII | re.IGNORECASE)
"""A tag that may be indented even where a text goes on."""
_BALANCE = re.compile(r"([CD])\s*([0-9]{6})?\s*([A-Z]{3})?\s*([0-9.,]+)", re.ASCII)
_FLOOR = re.compile(r"([A-Z]{3})([CD])?([0-9.,]*)", re.ASCII)
_SUM = re.compile(r"([0-9]{0,5})\s*([A-Z]{3})([0-9.,]+)", re.ASCII)
_LINE = re.compile(r"([0-9]{6})\s*([0-9]{4})?\s*(RC|RD|EC|ED|C|D)([A-Z])?\s*([0-9.,]*)(.*)", re.ASCII | re.DOTALL | re.IGNORECASE)
_GROUPED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]*", re.ASCII)
_TYPE_TWICE = re.compile(r"([NFS][A-Z0-9]{3})[NFS][A-Z]{3}(?:NONREF|KREF\+?)", re.ASCII)
_TYPE = re.compile(r"[A-Z][A-Z0-9 ]{3}", re.ASCII)
_NOT_GIVEN = frozenset({"", "NONREF", "NOREF", "NOTPROVIDED", "EREF", "EREF+", "KREF", "KREF+", "MREF", "MREF+", "MARF", "PREF", "N"})
"""What stands for a reference that is elsewhere, or nowhere; the German ones point into :86:."""
CURRENCY = 3
"""Letters of a currency code."""
REFERENCE_MAX = 16
"""Characters of the customer's reference in :61:; what stands behind it in the same line is a supplement."""
SUPPLEMENT = 34
"""Characters of the supplement in a line of its own below :61:."""
_COLUMNS = "   "
"""What stands between the columns of a text."""
_HBOS = re.compile(r"(.{18} {4}[A-Z ]{2}[A-Z])(.+)", re.ASCII)
"""The columns of HBOS: the other's name, the type of the payment (TFR, BGC, DD), and what it is for without a space before it.

So salimfadhley/mt940 has them (sample file)."""
_CUT = "cut"
"""In the place of a tag: the file ends before its last envelope does."""
MAX_FIELD = 200
"""Lines of one field; more is no bank's."""
MAX_TEXT = 50_000
"""Characters of all that is said of one entry."""


class _Message:
    """One message being read."""

    def __init__(self, kind: str, currency_of: CurrencyOf) -> None:
        self.statement = Statement(kind=kind)
        self.currency_of = currency_of
        self.line: tuple[str, list[str]] | None = None
        """The :61: being completed: its line and those below; `notes` are its :86: and :NS: lines."""
        self.notes: list[str] = []
        self.size = 0
        """Characters of the notes."""
        self.closed = False
        """Whether its closing balance came."""
        self.interim = False
        """Whether it has a floor limit, as MT942 does; sums without one are those of MT941."""


def read(file: BinaryIO, currency_of: CurrencyOf) -> Iterator[Item]:
    """The entries and statements of a file. A balance that leaves out its currency is in that of the account, where that is known."""
    message: _Message | None = None
    for tag, value in _fields(file):
        if tag == "20":
            if message is not None:
                yield from _end(message)
            message = _Message("MT940", currency_of)
            message.statement.identification = value[0].strip()
        elif message is None:
            continue
        elif tag == _CUT:
            yield from _flush(message)
            if message.statement.kind == "MT942":  # of MT940 the closing balance says whether all is there
                message.statement.problem = message.statement.problem or "the envelope has no end: the file is cut off"
        elif tag == "61":
            yield from _flush(message)
            message.line = (value[0], value[1:])
        elif tag in {"86", "NS"}:
            if message.line is not None and message.notes[-len(value) :] != value:  # some banks repeat their :86:
                message.notes += value if tag == "86" else _named(value)
                message.size += sum(map(len, value)) + len(value)
                if message.size > MAX_TEXT:
                    raise BankFileError("an entry of more than 50,000 characters")
        else:
            if tag in _BEGIN and message.closed:  # the next page or account, without a :20: of its own
                yield from _end(message)
                message = _following(message, tag)
            if tag in {"60F", "60M", "62F", "62M", "64", "65", "90D", "90C"}:
                yield from _flush(message)
            _field(message, tag, value[0])
            message.closed = message.closed or tag in {"62F", "62M"}
    if message is not None:
        yield from _end(message)


def _following(before: _Message, tag: str) -> _Message:
    """The message behind another that it is in: on the same account, unless it begins with one."""
    message = _Message("MT940", before.currency_of)
    message.statement.identification = before.statement.identification
    if tag not in {"25", "25P"}:
        message.statement.account, message.statement.number = before.statement.account, before.statement.number
    return message


def _fields(file: BinaryIO) -> Iterator[tuple[str, list[str]]]:
    """Tags and their lines. What stands outside of a field (envelopes, headers, trailers, page breaks) belongs to none."""
    tag, value, enveloped = "", [""], False
    for raw in _lines(file):
        line = raw.strip("\x00\x01\x03\x1a\ufeff")
        if (block := line.rfind("{4:", 0, 1_000)) >= 0:  # the last one: an acknowledgement before the message has a block 4 too
            line, enveloped = line[block + 3 :], True
        found = _TAG.match(line if tag == "86" and not _SURE.match(line) else line.lstrip())
        if found:
            if tag:
                yield tag, value
            tag, value = found[1].upper(), [found.string[found.end() :]]
        elif not tag:
            enveloped = enveloped and not line.startswith("-")
        # block marks of SWIFT's envelope end a message; national character sets show its braces as other letters
        elif line.startswith(("{", "-}", "\xe44:", "-XXX", "\xadXXX")) or line.strip() == "-":
            yield tag, value
            tag, enveloped = "", False
        elif line.strip():
            if len(value) >= MAX_FIELD:
                raise BankFileError("a field of more than 200 lines")
            value.append(line)
    if tag:
        yield tag, value
    if enveloped:
        yield _CUT, [""]


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines, whose ends are @@ where the file comes out of an old home banking message (HBCI, BTX)."""
    for line in texts.lines(file, code_page(file)):
        yield from line.split("@@") if "@@:" in line else (line,)


def _named(value: list[str]) -> list[str]:
    """The proprietary :NS: lines without their two digits."""
    return [line[2:] if line[:2].isdecimal() else line for line in value]


def _field(message: _Message, tag: str, text: str) -> None:
    statement, value = message.statement, text.strip()
    if tag in {"25", "25P"} and not statement.account:  # a text that begins a line with :25: is none
        statement.account, statement.currency = _account(value, statement.currency)
    elif tag in {"28", "28C"}:
        statement.number = value
        digits = value.partition("/")[0].strip()
        statement.sequence = int(digits) if digits.isascii() and digits.isdecimal() and 0 < len(digits) < 18 and int(digits) else None  # noqa: PLR2004 - fits bigint
    elif tag in {"60F", "60M", "62F", "62M"}:
        _balance(message, value, opening=tag[0:2] == "60")
    elif tag == "34F":
        statement.kind, message.interim = "MT942", True
        found = _FLOOR.match(value)
        if found and not statement.currency:
            statement.currency = found[1]
    elif tag in {"13D", "13"} and not statement.last_day:
        statement.last_day = day_of(value[:6])
    elif tag in {"90D", "90C"}:
        _stated(statement, value, credit=tag == "90C")


def _account(value: str, currency: str | None) -> tuple[str, str | None]:
    """`BIC/NUMBER`, `BLZ/NUMBER`, an IBAN with spaces or a slash before it, a number and its currency (`NUMBEREUR`, `NUMBER/EUR`)."""
    text = value.replace(" ", "").upper().lstrip("/")
    if len(text) > 10 and text[-3:].isalpha() and text[-4:-3].isdecimal():  # noqa: PLR2004 - too short to carry a currency
        text, currency = text[:-3], currency or text[-3:]
    head, slash, tail = text.partition("/")
    if slash and tail and (head.isalpha() or BIC.fullmatch(head)):
        text = tail
    number, slash, behind = text.rpartition("/")
    if slash and number and len(behind) == CURRENCY and behind.isalpha():
        text, currency = number, currency or behind
    return text, currency


def _balance(message: _Message, value: str, *, opening: bool) -> None:
    statement, found = message.statement, _BALANCE.match(value)
    if found is None:
        statement.problem = statement.problem or f"no readable balance: {value[:30]!r}"
        return
    currency = found[3] or statement.currency or message.currency_of(statement.account)
    if currency is None:
        statement.problem = statement.problem or f"a balance without a currency, on an account of which none is known: {value[:30]!r}"
        return
    try:
        minor = minor_of(_ungrouped(found[4]), currency) * (1 if found[1] == "C" else -1)
    except BankFileError as error:
        statement.problem = statement.problem or str(error)
        return
    day = day_of(found[2] or "")
    if opening:
        statement.currency = currency
        statement.opening_minor = minor
    else:
        if statement.currency and statement.currency != currency and statement.wrong is None:
            statement.wrong = ("currency_differs", f"it opens in {statement.currency} and closes in {currency}")
        statement.closing_minor, statement.last_day = minor, day


def _stated(statement: Statement, value: str, *, credit: bool) -> None:
    statement.kind = "MT942"
    found = _SUM.match(value)
    if found is None:
        return
    statement.currency = statement.currency or found[2]
    try:
        stated = (int(found[1]) if found[1] else None, minor_of(_ungrouped(found[3]), found[2]))
    except BankFileError as error:
        statement.problem = statement.problem or str(error)
        return
    if credit:
        statement.stated_credit = stated
    else:
        statement.stated_debit = stated


def _end(message: _Message) -> Iterator[Item]:
    yield from _flush(message)
    if message.statement.kind == "MT942" and not message.interim:
        summaries.without_entries(message.statement)
    message.statement.settle_days()
    yield message.statement, None


def _flush(message: _Message) -> Iterator[Item]:
    """The entry that was being read, now that it is complete."""
    if message.line is None:
        return
    (line, more), notes = message.line, message.notes
    message.line, message.notes, message.size = None, [], 0
    statement = message.statement
    try:
        entry = _entry(statement, line, more, notes)
    except BankFileError as error:
        entry = Entry(signed_minor=0, currency=statement.currency or "", status="booked", transactions=[], problem=str(error))
    yield statement, statement.add(entry)


def _entry(statement: Statement, line: str, more: list[str], notes: list[str]) -> Entry:
    while more and more[0].startswith("//"):
        line += more.pop(0)
    found = _LINE.match(line.strip())
    if found is None:
        raise BankFileError(f"no readable :61: line: {line[:30]!r}")
    value_text, entry_text, mark, _, amount, rest = found.groups()
    if statement.kind == "MT942" and not rest.strip():  # no balance would tell that a part of the amount is missing
        raise BankFileError(f"a :61: line that ends with its amount: {line[:30]!r}")
    mark = mark.upper()
    currency = statement.currency
    if not currency:
        raise BankFileError(f"nothing says which currency the statement is in: {line[:40]!r}")
    minor = minor_of(_ungrouped(amount), currency)
    value = day_of(value_text)
    if value is None:
        raise BankFileError(f"{value_text} is no day")
    booking = _entry_day(value, entry_text) if entry_text else None
    credit = mark in {"C", "RD", "EC"}
    kind, customer, bank, supplement = _references(rest.lstrip())
    # Dutch banks, and those alone, put the other's account and name in the place of a reference: filled up with spaces, or :86: repeats it
    told_here = bool(supplement and f"{customer}  " in rest) or (bool(notes) and notes[0].lstrip().startswith(customer))
    dutch = told_here or kind[1:].isdecimal()
    if is_iban(customer) or (told_here and BARE_ACCOUNT.fullmatch(customer)):
        customer, supplement, more = "", "", [customer, supplement, *more]
    if customer and more and f"{customer}{more[0].strip()}" in " ".join(notes):  # a text cut in two (Westpac), which :86: has whole
        customer, more = "", more[1:]
    more, notes = _going_on(more, notes)
    words = " ".join(one for one in (customer, bank) if _is_text(one))
    customer, bank = (
        given if any(map(str.isalnum, given)) and not _is_text(given) and given not in _NOT_GIVEN else "" for given in (customer, bank)
    )
    one = Transaction(
        kind="",
        credit=credit,
        amount_minor=minor,
        currency=currency,
        day=booking or value,
        booking_date=booking or value,
        value_date=value,
        status="pending" if mark.startswith("E") else "booked",
        reversal=mark.startswith("R"),
        bank_reference=bank or None,
        end_to_end_id=customer or None,
        transaction_code=kind or None,
    )
    several = describe(one, notes, [words, supplement, *more], statement.account, dutch=dutch)
    one.entry_reference = bank or one.batch_id
    return Entry(signed_minor=one.signed_minor, currency=currency, status=one.status, transactions=[one], batch=several)


def _going_on(more: list[str], notes: list[str]) -> tuple[list[str], list[str]]:
    """The lines below :61: and the notes: a supplement in columns that is full goes on in :86: (HBOS)."""
    if not more or _COLUMNS not in more[-1]:
        return more, notes
    *before, last = more
    full, columns = len(last) == SUPPLEMENT, _HBOS.fullmatch(last)
    last = f"{columns[1]} {columns[2]}" if columns else last
    return (before, [last + notes[0], *notes[1:]]) if full and notes else ([*before, last], notes)


def _is_text(reference: str) -> bool:
    """Whether a reference is words of a text: Nordic banks cut one in two (`Gebyrer ifolge//nota`)."""
    words = " " in reference or reference != reference.upper()
    return words and not any(map(str.isdecimal, reference))


def _ungrouped(text: str) -> str:
    """An amount without the points between its thousands: only where a comma behind them says what they are."""
    return text.replace(".", "") if _GROUPED.fullmatch(text) else text


def _references(rest: str) -> tuple[str, str, str, str]:
    """Type code, the customer's reference, the bank's, and what follows in the same line."""
    kind, text = "", rest
    if (twice := _TYPE_TWICE.match(rest)) is not None:
        rest = text = rest[twice.end(1) :]
    if not rest.upper().startswith(("NONREF", "//")) and _TYPE.match(rest):
        kind, text = rest[:4].strip(), rest[4:]
    customer, slashes, bank = text.partition("//")
    supplement = ""
    if len(customer) > REFERENCE_MAX:
        end = REFERENCE_MAX if " " in customer[REFERENCE_MAX - 1 : REFERENCE_MAX + 1] else len(customer.split(" ", 1)[0])
        customer, supplement = customer[:end], customer[end:]
    bank = bank.strip()
    if slashes and len(bank) > REFERENCE_MAX:
        bank, _, tail = bank.partition(" ")
        supplement = f"{supplement} {tail}"
    return kind, " ".join(customer.split()), bank.strip(), " ".join(supplement.split())


@lru_cache(maxsize=4_096)
def _entry_day(value: date, month_and_day: str) -> date | None:
    """The entry date of :61: has no year: it is the one nearest to the value date."""
    near = [day for year in (value.year - 1, value.year, value.year + 1) if (day := day_of(f"{year:04d}{month_and_day}"))]
    return min(near, key=lambda day: (abs(day - value), day), default=None)
