"""Reads CODA, the Belgian coded statement: records of 128 characters.

Source: Febelfin, "Standard CODA" 2.6. A movement is record 2.1 with its continuations 2.2, 2.3 and information 3.1 to 3.3, which is
free text where it is not structured (type 001: the name of the other; 002: what the bank says; 008 and 009: for whom he is paid, or pays).
Detail number 0000 is what the balance sees; further records of the same sequence number are its details: of a collective booking
(detail types 5, 6, 7) each is a transaction; of a simple amount (type 8: base, tax, costs; type 9 of one in a collective booking) they
only explain it. An amount "as totalised" by the customer or the bank (types 1 and 2) is a total where no details follow, says the standard.
Amounts have three decimals, whatever the currency.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from stdnum import iban as iban_numbers

from matching.bankfiles import schemes, texts
from matching.bankfiles.amounts import day_of, scaled
from matching.bankfiles.coda_communications import DECIMALS, R_TYPES, communicated
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Entry, Item, Statement, Transaction

WIDTH = 128
CURRENCY = 3
MAX_TEXT = 10_000
"""Characters of a communication and of information, and records of structured information: the standard has room for 149, 268 and 1."""
_COSTS = "37"
"""Operation "costs" of every family; family 35 is the closing of the account, 80 costs."""
_FEE_FAMILIES = frozenset({"35", "80"})
_EXPLAINS, _GROSS = "8", "100"
"""Type of a detail that explains an amount, and the category of the one that is the amount before costs and taxes."""
_PAYMENTS = frozenset({"01", "03", "04", "05", "07", "41", "43", "47"})
"""Families of transfers, cheques, cards, direct debits and bills; beside the gross of others (securities, credit) may be interest."""
_UNPAID = frozenset({"0307", "0309", "0338", "0339", "0503", "0707", "0739", "4307", "4707"})
"""Operations that take back what was credited: cheques and vouchers, direct debits and bills that were not paid.

Noviat/noviat-apps names families and operations so (`account_coda_trans_code.xml`).
"""
_AMOUNTS = frozenset({"105", "106"})
"""Structured communications that hold amounts and rates alone."""
_TOTALISED = "12"
_NO_LEVEL = " 0"
"""Globalisation codes that mark no level: another one stands in the record that is a level's total and in the last of its parts."""
_SUBTOTAL, _OF_SUBTOTAL = "7", "9"
"""Types of a detail: 7 is one with details of its own, 9 each of these: an amount and its costs, or what a smaller total is made of."""
_ULTIMATE = {True: "009", False: "008"}
"""Types of information: for whom who pays does, for whom who is paid is."""
_OF_THE_BANK = "002"
_SIGNS = "01"
_ONLY_OPENING = "000001"
"""Number of records that a trailer states where there is none but the old balance."""
_REASON = re.compile(r"[A-Z]{2}[A-Z0-9]{2}", re.ASCII)
"""A return reason of ISO 20022. Banks had digits of their own in its place before the standard had reasons (2.3, of 2014)."""


@dataclass(slots=True)
class _Record:
    """A 2.1 record and what continues it."""

    line: str
    number: int
    communication: str = ""
    customer_reference: str = ""
    r_type: str = ""
    reason: str = ""
    purpose: str = ""
    name: str = ""
    account: str = ""
    information: str = ""
    """Free text of records 3.1 to 3.3: one that is full goes on in the next."""
    free: bool = True
    structured_information: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A statement being read, and the records of the movement that is not complete yet."""

    statement: Statement
    movement: list[_Record] = field(default_factory=list)
    debit: int = 0
    credit: int = 0


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file."""
    now: _Open | None = None
    for number, line in texts.records(file, WIDTH):
        kind = line[0]
        if kind == "0":
            if now is not None:
                yield from _end(now, cut=True)
            now = None
        elif kind == "1":
            if now is not None:
                yield from _end(now, cut=True)
            now = _Open(_opening(line))
        elif now is None:
            if kind in "2348":
                raise BankFileError(f"record {number}: a movement before the old balance")
        elif kind == "2" and line[1] == "1":
            if now.movement and line[2:6] != now.movement[0].line[2:6]:
                yield from _flush(now)
            now.movement.append(_Record(line, number))
        elif kind in "23":
            if now.movement:
                _continue(now.movement[-1], line)
        elif kind == "8":
            yield from _flush(now)
            _closing(now.statement, line)
        elif kind == "9":
            yield from _end(now, cut=False, trailer=line)
            now = None
    if now is not None:
        yield from _end(now, cut=True)


def _opening(line: str) -> Statement:
    statement = Statement(kind="CODA", number=line[125:128].strip() or line[2:5].strip())
    statement.identification = statement.number
    digits = statement.number
    statement.sequence = int(digits) if digits.isascii() and digits.isdecimal() and int(digits) else None
    statement.account, statement.currency = _account(line[5:42], line[1])
    statement.opening_minor = _balance(statement, line[42], line[43:58])
    return statement


def _closing(statement: Statement, line: str) -> None:
    statement.closing_minor = _balance(statement, line[41], line[42:57])
    statement.last_day = day_of(line[57:63], "dmy")


def _account(text: str, structure: str) -> tuple[str, str | None]:
    """The account as an IBAN where it can be one, and its currency."""
    if structure in {"2", "3", "1"}:
        return text[:34].replace(" ", "").upper(), text[34:37].strip() or None
    number = text[:12].strip()
    currency = text[13:16].strip() or None
    if number.isascii() and number.isdecimal() and len(number) == 12:  # noqa: PLR2004 - a Belgian account number
        return f"BE{iban_numbers.calc_check_digits('BE00' + number)}{number}", currency
    return number.replace(" ", "").upper(), currency


def _balance(statement: Statement, sign: str, digits: str) -> int | None:
    try:
        minor = scaled(digits, DECIMALS, statement.currency or "EUR")
    except BankFileError as error:
        statement.problem = statement.problem or f"a balance: {error}"
        return None
    if sign not in _SIGNS:
        statement.problem = statement.problem or f"a balance whose sign {sign!r} is neither 0 nor 1"
        return None
    return -minor if sign == "1" else minor


def _continue(record: _Record, line: str) -> None:
    kind = line[:2]
    if len(record.communication) > MAX_TEXT or len(record.information) > MAX_TEXT or len(record.structured_information) > MAX_TEXT:
        raise BankFileError(f"record {record.number}: a movement with more text than any has")
    if kind == "22":
        record.communication += line[10:63]
        record.customer_reference = line[63:98].strip()
        if not (reason := line[113:117].strip()) or _REASON.fullmatch(reason):
            record.r_type, record.reason = line[112].strip(), reason
        record.purpose = line[121:125].strip()
    elif kind == "23":
        record.account, _, behind = line[10:47].strip().partition(" ")
        record.name = " ".join(line[47:82].split())
        behind = behind.strip()
        if len(behind) > CURRENCY:  # an older layout: the currency right behind the account, then the name
            record.name = " ".join((behind[CURRENCY:] + line[47:82]).split())
        record.communication += line[82:125]
    elif kind == "31":
        record.free = line[39] != "1"
        if record.free:
            record.information += line[40:113]
        else:
            record.structured_information.append(line[40:113])
    elif kind in {"32", "33"}:
        text = line[10:115] if kind == "32" else line[10:100]
        if record.free:
            record.information += text
        elif record.structured_information[-1].startswith(_OF_THE_BANK):  # else an address
            record.structured_information[-1] += text


def _flush(now: _Open) -> Iterator[Item]:
    movement, now.movement = now.movement, []
    if not movement:
        return
    statement = now.statement
    try:
        entry = _entry(movement, statement)
    except BankFileError as error:
        problem = f"record {movement[0].number}: {error}"
        entry = Entry(signed_minor=0, currency=statement.currency or "EUR", status="booked", transactions=[], problem=problem)
    yield statement, statement.add(entry)


def _entry(movement: list[_Record], statement: Statement) -> Entry:
    currency = statement.currency or "EUR"
    whole, details = movement[0], movement[1:]
    total = _transaction(whole, currency)
    # the information of a movement stands behind its details too: a detail record that repeats no amount explains the one before
    parts = [one for one in details if one.line[53] != _EXPLAINS and one.line[6:10] != whole.line[6:10]]
    entry = Entry(signed_minor=total.signed_minor, currency=currency, status="booked", transactions=[total], batch=bool(parts))
    if parts:
        _split(entry, _parts(_of_levels(whole, parts, currency), currency), total)
    elif whole.line[53] in _TOTALISED:
        entry.batch = True
        if total.kind == "payment" and not (total.counterparty_name or total.counterparty_iban or total.references):
            total.kind, total.batch_id, total.end_to_end_id = "total", total.end_to_end_id, None
    shown = set(map(id, parts))
    others = [one for one in details if id(one) not in shown]
    for one in others:
        _informed(total, one)
        amounts = one.line[61] == "1" and one.line[62:65] in _AMOUNTS
        total.remittance += _texts(["" if amounts else one.line[62:115], one.information], total.remittance)
    if total.kind != "fee":
        _explain(total, [one for one in others if one.line[53] == _EXPLAINS], currency)
    return entry


def _explain(total: Transaction, details: list[_Record], currency: str) -> None:
    """The amount before costs, in its own currency where a communication tells that; what was taken off, where it is all of the rest."""
    whole = next((one for one in details if one.line[58:61] == _GROSS), None)
    if whole is None:
        return
    with suppress(BankFileError):
        taken = [_signed(one, currency) for one in details if one is not whole]
        gross = _transaction(whole, currency)
        total.instructed = total.instructed or gross.instructed
        made_up = gross.signed_minor + sum(taken) == total.signed_minor and all(minor < 0 for minor in taken)
        if taken and made_up and whole.line[54:56] in _PAYMENTS:
            total.charges = [Amount(-minor, currency) for minor in taken]
            total.instructed = total.instructed or Amount(gross.amount_minor, currency)


def _texts(texts: list[str], said: list[str]) -> list[str]:
    """The texts without the blanks of their records; not those that are said already."""
    return [text for one in texts if (text := " ".join(one.split())) not in {"", *said}]


def _of_levels(whole: _Record, parts: list[_Record], currency: str) -> list[_Record]:
    """The details without those that are the total of a level below the movement's own, where the parts of the level make them up."""
    begun, totals = {whole.line[124]: -1}, set[int]()
    for at, part in enumerate(parts):
        if (level := part.line[124]) in _NO_LEVEL:
            continue
        first = begun.pop(level, None)
        if first is None:
            begun[level] = at
        elif first >= 0 and parts[first].line[53] != _SUBTOTAL:  # those are told apart by their type
            within = sum(_signed(parts[one], currency) for one in range(first + 1, at + 1) if one not in totals)
            totals |= {first} if within == _signed(parts[first], currency) else set()
    return [part for at, part in enumerate(parts) if at not in totals]


def _parts(parts: list[_Record], currency: str) -> list[Transaction]:
    """The details as transactions. One with details of its own (type 7) is explained by these where they have the amount before costs.

    Where they have none and make it up, they are the transactions.
    """
    found: list[Transaction] = []
    at = 0
    while at < len(parts):
        part, end = parts[at], at + 1
        if part.line[53] == _SUBTOTAL:
            while end < len(parts) and parts[end].line[53] == _OF_SUBTOTAL:
                end += 1
        inner = parts[at + 1 : end]
        if any(one.line[58:61] == _GROSS for one in inner):
            one = _transaction(part, currency)
            _explain(one, inner, currency)
            found.append(one)
        elif inner and sum(_signed(one, currency) for one in inner) == _signed(part, currency):
            found += [_transaction(one, currency) for one in inner]
        else:
            found.append(_transaction(part, currency))
            end = at + 1
        at = end
    return found


def _signed(record: _Record, currency: str) -> int:
    minor = scaled(record.line[32:47], DECIMALS, currency)
    return -minor if record.line[31] == "1" else minor


def _split(entry: Entry, parts: list[Transaction], total: Transaction) -> None:
    """Details become the transactions where they make up the amount. Totals among them give way to what they are made of."""
    if sum(one.signed_minor for one in parts) != total.signed_minor:
        if total.kind == "payment":
            total.kind = "total"
        entry.remarks.append("its details do not sum to its amount: a total")
        return
    for one in parts:
        one.entry_reference = total.bank_reference
        one.batch_id = total.bank_reference
    entry.transactions = parts


def _transaction(record: _Record, currency: str) -> Transaction:
    line = record.line
    minor = scaled(line[32:47], DECIMALS, currency)
    if line[31] not in _SIGNS:
        raise BankFileError(f"its sign {line[31]!r} is neither 0 (credit) nor 1 (debit)")
    credit = line[31] == "0"
    code = line[53:61]
    booking, value = day_of(line[115:121], "dmy"), day_of(line[47:53], "dmy")
    day = booking or value
    if day is None:
        raise BankFileError("neither an entry date nor a value date")
    structured = line[61] == "1"
    reference = line[10:31].strip()
    one = Transaction(
        kind="",
        credit=credit,
        amount_minor=minor,
        currency=currency,
        day=day,
        booking_date=booking,
        value_date=value,
        bank_reference=reference or None,
        entry_reference=reference or None,
        transaction_code=code.strip() or None,
        counterparty_name=record.name or None,
        counterparty_iban=record.account or None,
    )
    if record.customer_reference.strip("0") and record.customer_reference.upper() not in {"NOTPROVIDED", "NOT PROVIDED"}:
        one.end_to_end_id = record.customer_reference
    if structured:
        communicated(one, line[62:65], line[65:115] + record.communication)
    elif text := " ".join((line[62:115] + record.communication).split()):
        one.remittance.append(text)
    one.remittance += _texts([record.information], one.remittance)
    _informed(one, record)
    if not one.references and (belgian := schemes.ogm_in(" ".join(one.remittance))):
        one.references.append(belgian)
    _classify(one, record, code)
    return one


def _informed(one: Transaction, record: _Record) -> None:
    """What records of structured information say: names, and what the bank says where nothing else is said."""
    payers = one.credit == (not record.r_type and not record.reason)  # of what went back, the other is who paid
    for information in record.structured_information:
        kind, said = information[:3], " ".join(information[3:].split()) or None
        if kind == "001":
            one.counterparty_name = one.counterparty_name or said
        elif kind == _ULTIMATE[payers]:
            one.ultimate_name = said
        elif kind == _OF_THE_BANK and said and not (one.remittance or one.references):
            one.remittance.append(said)


def _classify(one: Transaction, record: _Record, code: str) -> None:
    back = R_TYPES.get(record.r_type)
    if back or record.reason:
        one.return_reason = record.reason or back
    elif not (one.credit or one.return_reason) and code[1:5] in _UNPAID:
        one.return_reason = "unknown"
    one.reversal = back == "reversal"
    if not one.amount_minor:
        one.kind = "other"
    elif one.credit:
        one.kind = "other" if one.return_reason else "payment"
    elif one.return_reason:
        one.kind = "return"
    elif code[1:3] in _FEE_FAMILIES or code[3:5] == _COSTS:
        one.kind = "fee"
    else:
        one.kind = "refund" if record.purpose == "REFU" else "other"


def _end(now: _Open, *, cut: bool, trailer: str = "") -> Iterator[Item]:
    yield from _flush(now)
    statement = now.statement
    if cut:
        statement.problem = statement.problem or "the trailer record 9 is missing: the file is cut off"
    elif statement.currency:
        try:
            statement.stated_debit = (None, scaled(trailer[22:37], DECIMALS, statement.currency))
            statement.stated_credit = (None, scaled(trailer[37:52], DECIMALS, statement.currency))
        except BankFileError as error:
            statement.problem = statement.problem or f"trailer record 9: {error}"
        if (
            statement.closing_minor is None
            and not statement.entries
            and trailer[16:22] == _ONLY_OPENING
            and trailer[22:52].strip("0") == ""
        ):
            statement.closing_minor = statement.opening_minor  # a day without movements, and the trailer says so: no record 8
    statement.settle_days()
    yield statement, None
