"""Reads BAI2 (Bank Administration Institute, Cash Management Balance Reporting Specifications, version 2).

Records: 01 file, 02 group, 03 account with its balances and totals, 16 transaction, 88 continuation of any, 49, 98, 99 trailers with
control totals and counts of records. A group (02) says whether it is an update, deletes or corrects what was sent before, or is a test;
its data may be interim, of the day before (1) or the same day (3), or final (2, 4). A transaction code from 100 to 399 is money in, from
400 to 699 money out; others say neither. The sums of an account (100, 400) cover what the bank chose not to list, so only the control
totals and the balances must agree. Goldman Sachs says in continuations of a transaction, a tag each, who paid (DBNM, account DACT), who
was paid (CRNM, CACT) and the end-to-end reference (EREF), and in its text why something went back (Goldman Sachs, Transaction Banking,
"BAI File Guide"); Silicon Valley Bank has ORG, BNF NAME and BNF ID (files of venturehacks/bai2), Citi BO and BO1: account and name of by
whose order (ministryofjustice/bai2). JPMorgan Chase labels an ACH entry within its text (ORIG CO NAME: who sends or takes it, ORIG ID,
...), Bank of America a wire (ORIG: who sends it, BNF: who gets it, ID, SND BK, ...), as their customers' published statements have it. A
reference that is words without a digit (Westpac) is text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from matching.bankfiles import summaries, texts
from matching.bankfiles.amounts import day_of, minor_of, places_of
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Entry, Item, Statement, Transaction

_START = re.compile(r"(01|02|03|16|49|88|98|99),", re.ASCII)
_NEXT = re.compile(r"/\s+(?=(?:01|02|03|16|49|88|98|99),)", re.ASCII)
_NUMBER = re.compile(r"([+-]?)([0-9]*)", re.ASCII)
_OPENING, _CLOSING = "010", "015"
_CREDIT = frozenset((*range(100, 400), 706, 708, *range(720, 729), *range(920, 960)))
_DEBIT = frozenset((*range(400, 700), 760, *range(960, 1000)))
"""Money in and money out, those of loans (7nn) among them; the last forty of each are a bank's own."""
_FEES = frozenset({"564", "567", "661", "698"})
"""Overdraft, return item, account analysis, miscellaneous fees."""
_RETURNS = frozenset({"123", "255", "257", "261", "266", "423", "468", "555", "557", "566"})
"""Returned cheques, deposited items, ACH items and other items, rejected credits: money in that is none of a debtor's, and money out."""
_REVERSALS = frozenset({"252", "258", "395", "552", "558", "694"})
"""Reversals of debits, credits, ACH items, cheques, deposits."""
_NO_UPDATE = {"2": "deletes what was sent before", "3": "corrects what was sent before", "4": "is a test"}
"""Status of a group whose transactions are none that came."""
_INTERIM = frozenset({"1", "3"})
"""As-of-date modifiers of data that are not final: the statement that is has them again."""
_DEFAULT = "USD"
"""The specification's currency where none is stated."""
MAX_TEXT = 20_000
MAX_DIGITS = 18
"""Of an amount; more fit no account, and no column."""
CONTINUED, GOING_ON = "\x1e", "\x1f"
"""Marks of a continuation, the second behind a full record: its text was cut, perhaps within a word."""
_MARK = re.compile(f"([{CONTINUED}{GOING_ON}])")
_TAGS = {"ORG": "DBNM", "BNF NAME": "CRNM", "BNF ID": "CACT"} | {tag: tag for tag in ("DBNM", "DACT", "CRNM", "CACT", "EREF")}
_TAGGED = re.compile(f"[{CONTINUED}{GOING_ON}]({'|'.join(_TAGS)}):=? *([^{CONTINUED}{GOING_ON}]*)")
_GOLDMAN = frozenset({"DBNM", "CRNM", "EREF"})
_CODED = re.compile(f"[{CONTINUED}{GOING_ON}]([A-Z]{{4}}): ?((?:(?![{CONTINUED}{GOING_ON}][A-Z]{{4}}:).)*)", re.ASCII)
"""A tag of Goldman Sachs' and what it says, up to the next."""
_BY_ORDER_OF = re.compile(f"[{CONTINUED}{GOING_ON}]BO:([^ {CONTINUED}{GOING_ON}]*) BO1:([^{CONTINUED}{GOING_ON}]*)")
_END = r"(?= (?:ORIG ID|DESC DATE|CO ENTRY DESCR|SEC|TRACE#|EED|IND ID|IND NAME|TRN|ID|(?:SND|BNF|ORIG) BK|PMT DET):|$)"
_COMPANY = re.compile(rf"\bORIG CO NAME: ?(.+?){_END}", re.ASCII)
_ORIGINATOR, _BENEFICIARY = (re.compile(rf"^WIRE TYPE:.*?\b{tag}: ?(.+?){_END}", re.ASCII) for tag in ("ORIG", "BNF"))
"""Names among the labels of a text: up to the next label."""
_WHY = re.compile(r'Reason: "([A-Z]{1,2}[0-9]{2})"', re.ASCII)
"""A return reason of Nacha or ISO 20022."""
FULL = 80
"""Characters of a record that was cut because it was full."""


@dataclass(slots=True)
class _Account:
    statement: Statement
    control: int = 0
    records: int = 1


@dataclass(slots=True)
class _File:
    currency: str = _DEFAULT
    day: date | None = None
    status: str = ""
    interim: bool = False
    whole: bool = False
    """Whether its trailer came."""
    group_control: int = 0
    group_records: int = 0
    file_control: int = 0
    records: int = 0
    accounts: int = 0
    groups: int = 0
    account: _Account | None = None
    last: Statement | None = None
    problems: list[str] = field(default_factory=list)


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file. A control total of group or file that differs quarantines its last account."""
    now = _File()
    done: Statement | None = None
    for text, physical in _logical(file):
        now.records += physical
        kind, body = text[:2], text[3:]
        if kind == "02":
            _, _, now.status, day, _, currency, modifier, *_ = [*(part.strip(" /") for part in body.split(",")), *[""] * 7]
            now.currency, now.day, now.interim = currency or _DEFAULT, day_of(day), modifier in _INTERIM
            now.group_control, now.group_records, now.accounts = 0, 0, 0
        elif kind == "03":
            if done is not None:
                yield done, None
            done = _cut(now)
            if done is not None:
                yield done, None
                done = None
            now.account = _account(now, body)
            now.account.records = physical
        elif kind == "16" and now.account is not None:
            now.account.records += physical
            entry = _entry(now, now.account, body)
            if entry is not None:
                yield now.account.statement, now.account.statement.add(entry)
        elif kind == "49" and now.account is not None:
            now.account.records += physical
            done = _end_account(now, body)
        elif kind in {"98", "99"}:
            wrong = _end_group(now, body, physical) if kind == "98" else _end_file(now, body)
            if done is not None and wrong:
                done.problem = done.problem or wrong
    for last in (done, _cut(now)):
        if last is not None:
            if not now.whole:
                last.problem = last.problem or "the file trailer (record 99) is missing: the file is cut off"
            yield last, None


def _logical(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Records with their continuations, and of how many physical ones each is made. Several on one line are told apart."""
    text, physical, full = "", 0, False
    for line in texts.lines(file):
        for piece in _NEXT.split(line.strip("\x00\x1a\ufeff")):
            record = piece.strip() if not piece.startswith(" ") else piece.rstrip()
            start = _START.match(record.lstrip())
            if start is None:
                text = f"{text}{'' if full else ' '}{record.strip()}" if text and record.strip() else text  # it wrapped without an 88
            elif start[1] == "88":
                physical += 1
                text = _joined(text, record.lstrip()[3:], GOING_ON if full else CONTINUED)
            else:
                if text:
                    yield text, physical
                text, physical = record.lstrip(), 1
            full = len(record) == FULL
            if len(text) > MAX_TEXT:
                raise BankFileError("a record of more than 20,000 characters")
    if text:
        yield text, physical


def _joined(text: str, more: str, mark: str) -> str:
    """A record and its continuation, with a mark between: whether a field goes on or the next begins is for its reader to say."""
    return text.rstrip().removesuffix("/") + mark + more


def _pieces(text: str, fields: int) -> list[str]:
    """The fields of a continued record. A continuation begins the next field; from field number `fields` on, it is text that goes on."""
    first, *more = _MARK.split(text)
    found = first.split(",")
    for mark, piece in zip(more[::2], more[1::2], strict=True):
        if len(found) < fields:
            found += piece.split(",")
        else:
            found[-1] = f"{found[-1].rstrip()}{'' if mark == GOING_ON else ' '}{piece.strip()}"
    return found


def _account(now: _File, body: str) -> _Account:
    fields = [part.strip() for part in _pieces(body.rstrip().removesuffix("/"), MAX_TEXT)]
    currency = (fields[1] if len(fields) > 1 else "") or now.currency
    kind = "BAI2-interim" if now.interim else "BAI2"
    statement = Statement(kind=kind, account=fields[0].upper(), currency=currency, last_day=now.day, first_day=now.day)
    statement.number = now.day.isoformat() if now.day else ""
    statement.identification = statement.number
    account = _Account(statement)
    now.last = statement
    try:
        places_of(currency)
        _summaries(account, fields[2:])
    except BankFileError as error:
        statement.problem = str(error)
    return account


def _summaries(account: _Account, fields: list[str]) -> None:
    """Type, amount, count, funds type and what the funds type brings, again and again."""
    statement = account.statement
    at = 0
    while at < len(fields):
        if not fields[at]:  # a delimiter too many before the next type
            at += 1
            continue
        code, text = fields[at], fields[at + 1] if at + 1 < len(fields) else ""
        funds = fields[at + 3] if at + 3 < len(fields) else ""
        at += 4
        at = _skip_funds(fields, at, funds)
        minor = _signed(text)
        if minor is None:
            continue
        account.control += minor
        if code == _OPENING:
            statement.opening_minor = minor
        elif code == _CLOSING:
            statement.closing_minor = minor


def _skip_funds(fields: list[str], at: int, funds: str) -> int:
    """Past the fields of a funds type: S three amounts, V a day and an hour, D a number of pairs."""
    if funds == "S":
        return at + 3
    if funds == "V":
        return at + 2
    if funds == "D":
        pairs = fields[at] if at < len(fields) else ""
        return at + 1 + 2 * (int(pairs) if pairs.isascii() and pairs.isdecimal() and len(pairs) < 4 else 0)  # noqa: PLR2004 - no bank has more
    return at


def _signed(text: str) -> int | None:
    """Minor units: BAI2 writes amounts without a point, in the currency's smallest unit; None where the field is empty."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(found[2]) > MAX_DIGITS:
        raise BankFileError(f"{text[:30]!r} is no amount")
    return None if not found[2] else int(found[2]) * (-1 if found[1] == "-" else 1)


def _entry(now: _File, account: _Account, body: str) -> Entry | None:
    """A transaction; None for a record that moves no money (type 890)."""
    statement = account.statement
    currency = statement.currency or _DEFAULT
    try:
        places_of(currency)
        funds = [*body.split(","), "", "", ""][2].strip()
        before = 3 + _skip_funds(_MARK.sub(",", body).split(",")[3:], 0, funds)
        code, text, *fields = _pieces(body, before + 3)
        code = code.strip()
        minor = _signed(text.strip(" /")) or 0
        minor_of(str(abs(minor)), "JPY")  # bounded
        account.control += minor
        kind = int(code) if code.isascii() and code.isdecimal() else 0
        if kind == 890:  # noqa: PLR2004 - "contains non-monetary information"
            return None
        if kind not in _CREDIT and kind not in _DEBIT:
            raise BankFileError(f"type {code[:10]!r} says neither credit nor debit")
        one = _transaction(code, minor, currency, fields, now.day)
        said = {_TAGS[tag]: text.strip(" /") for tag, text in _TAGGED.findall(body)}
        if ordered := _BY_ORDER_OF.search(body):
            said |= {"DACT": ordered[1], "DBNM": ordered[2].strip(" /")}
        _tagged(one, said)
        _without_tags(one, body)
    except (BankFileError, ValueError) as error:
        problem = str(error) if isinstance(error, BankFileError) else "a transaction without its fields"
        return Entry(signed_minor=0, currency=currency, status="booked", transactions=[], problem=problem)
    return Entry(signed_minor=one.signed_minor, currency=currency, status="booked", transactions=[one])


def _transaction(code: str, minor: int, currency: str, fields: list[str], as_of: date | None) -> Transaction:
    credit = (int(code) in _CREDIT) == (minor >= 0)
    funds = fields[0].strip() if fields else ""
    at = _skip_funds(fields, 1, funds)
    value = day_of(fields[1]) if funds == "V" and len(fields) > 1 else None
    day = as_of or value
    if day is None:
        raise BankFileError("neither an as-of date nor a value date")
    bank, customer = (fields[at].strip(" /") if at < len(fields) else ""), (fields[at + 1].strip(" /") if at + 1 < len(fields) else "")
    text = " ".join(",".join(fields[at + 2 :]).strip().removesuffix("/").rstrip(",").split())
    words = [one for one in (bank, customer) if one and not any(map(str.isdecimal, one))]
    bank, customer = ("" if one in words or not one.strip("0") else one for one in (bank, customer))
    one = Transaction(
        kind="",
        credit=credit,
        amount_minor=abs(minor),
        currency=currency,
        day=day,
        booking_date=as_of,
        value_date=value,
        reversal=code in _REVERSALS,
        bank_reference=bank or None,
        entry_reference=bank or None,
        end_to_end_id=customer or None,
        transaction_code=code,
        remittance=[said for said in (text, *words) if said and (said is text or said not in text)],
    )
    if code in _RETURNS or one.reversal:
        one.return_reason = "reversal" if one.reversal else "unknown"
    if not one.amount_minor:
        one.kind = "other"
    elif one.credit:
        one.kind = "other" if one.return_reason else "payment"
    else:
        one.kind = "return" if one.return_reason else "fee" if code in _FEES else "other"
    return one


def _tagged(one: Transaction, said: dict[str, str]) -> None:
    """What tags say. Of what went back they name the parties of the payment or of its return: the other is whom the text names too."""
    one.end_to_end_id = one.end_to_end_id or said.get("EREF") or None
    text = " ".join(one.remittance)
    sides = [("DBNM", "DACT"), ("CRNM", "CACT")]
    if one.return_reason:
        if found := _WHY.search(text):
            one.return_reason = found[1]
        sides = [side for side in sides if said.get(side[0]) and re.search(rf"Return (?:From|To): {re.escape(said[side[0]])}", text)]
    elif not one.credit:
        sides.reverse()
    for name, account in sides[:1]:
        one.counterparty_name, one.counterparty_iban = said.get(name) or None, said.get(account) or None
    if one.counterparty_name is None and one.return_reason is None:  # of what went back the text may name us
        found = _COMPANY.search(text) or (_ORIGINATOR if one.credit else _BENEFICIARY).search(text)
        one.counterparty_name = found[1] if found else None


def _without_tags(one: Transaction, body: str) -> None:
    """Goldman Sachs' tags are no text: it is what the payer says (REMI), else what stands before them; with numbers of party and cheque."""
    found = _CODED.findall(body)
    if not one.remittance or not any(tag in _GOLDMAN for tag, _ in found):
        return
    tags = {tag: _line(value.replace(GOING_ON, "").replace(CONTINUED, " ")) for tag, value in found}
    text = _line(f" {one.remittance[0]}".partition(f" {found[0][0]}:")[0])
    cheque = tags.get("CHKN", "")
    more = (tags.get("IDNM"), f"check {cheque}" if cheque.strip("0") else None)
    one.remittance = [said for said in (tags.get("REMI") or text, *one.remittance[1:], *more) if said]


def _line(text: str) -> str:
    return " ".join(text.split()).strip(" /")


def _end_account(now: _File, body: str) -> Statement | None:
    account = now.account
    if account is None:
        return None
    now.account = None
    statement = account.statement
    stated, records = _trailer(body)
    now.group_control += account.control
    now.group_records += account.records
    now.accounts += 1
    if stated is not None and stated != account.control:
        statement.problem = statement.problem or f"control total of the account: {stated} stated, {account.control} found"
    elif records is not None and records != account.records:
        statement.problem = statement.problem or f"records of the account: {records} stated, {account.records} found"
    if statement.entries and now.status in _NO_UPDATE:
        statement.problem = statement.problem or f"its group {_NO_UPDATE[now.status]} (status {now.status})"
    summaries.without_entries(statement)
    statement.settle_days()
    return statement


def _end_group(now: _File, body: str, physical: int) -> str | None:
    stated, _ = _trailer(body)
    found, now.group_records = now.group_control, now.group_records + physical
    now.file_control += found
    now.groups += 1
    if stated is not None and stated != found:
        return f"control total of the group: {stated} stated, {found} found"
    return _count_differs(body, now.accounts, "accounts of the group")


def _end_file(now: _File, body: str) -> str | None:
    now.whole = True
    stated, _ = _trailer(body)
    if stated is not None and stated != now.file_control:
        return f"control total of the file: {stated} stated, {now.file_control} found"
    return _count_differs(body, now.groups, "groups of the file")


def _count_differs(body: str, found: int, what: str) -> str | None:
    """Whether a trailer counts others than were found: the second of its fields."""
    fields = [part.strip(" /") for part in body.split(",")]
    stated = fields[1] if len(fields) > 1 else ""
    return f"{what}: {stated[:20]} stated, {found} found" if stated.isdecimal() and int(stated) != found else None


def _trailer(body: str) -> tuple[int | None, int | None]:
    """Control total and, its last field, the number of records."""
    fields = [part.strip() for part in body.strip().removesuffix("/").split(",")]
    try:
        total = _signed(fields[0])
    except BankFileError:
        total = None
    last = fields[-1] if len(fields) > 1 else ""
    return total, int(last) if last.isascii() and last.isdecimal() and len(last) < 10 else None  # noqa: PLR2004 - a count


def _cut(now: _File) -> Statement | None:
    """An account whose trailer 49 never came."""
    if now.account is None:
        return None
    statement, now.account = now.account.statement, None
    statement.problem = statement.problem or "the account trailer (record 49) is missing"
    statement.settle_days()
    return statement
