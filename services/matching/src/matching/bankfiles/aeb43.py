"""Reads Norma 43 (AEB/CSB), the Spanish account statement: records of 80 characters.

Source: AEB, "Cuaderno 43". Record 11 account and old balance, 22 movement, 23 what it was for (up to five), 24 the amount in another
currency, 33 totals and new balance, 88 end of the file. Amounts have the decimals of the currency, two in euro. The two references are
free: words without a digit (BIZUM, TRANSFERENCI) are text and identify nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from iso4217 import Currency
from stdnum import iban as iban_numbers
from stdnum.es import ccc

from matching.bankfiles import texts
from matching.bankfiles.amounts import day_of, places_of, scaled
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Entry, Item, Statement, Transaction

WIDTH = 80
_NUMBERS = {f"{one.number:03d}": one.value for one in Currency if one.number}
_DEBIT = "1"
_FEES = frozenset({"17"})
"""Common concept 17: commissions, expenses, interest of the bank."""
_RETURNED = frozenset({"13"})
"""Common concept 13: items given back and unpaid."""


@dataclass(slots=True)
class _Open:
    statement: Statement
    movement: Entry | None = None


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file."""
    now: _Open | None = None
    last = 0
    for number, line in texts.records(file, WIDTH):
        kind, last = line[:2], number
        if kind == "11":
            if now is not None:
                yield from _end(now, "")
            now = _Open(_opening(line))
        elif kind == "88":
            if now is not None:
                yield from _end(now, "")
            now = None
            stated = line[20:26].strip()
            if stated.isdecimal() and abs(int(stated) - number + 1) > 1:  # some banks count it too, some leave one out
                raise BankFileError(f"the end record states {int(stated)} records, {number - 1} were found")
        elif now is None:
            raise BankFileError(f"record {number}: begins with neither 11 nor 88 outside of an account")
        elif kind == "22":
            yield from _flush(now)
            now.movement = _movement(now.statement, line, number)
        elif kind in {"23", "24"}:
            if now.movement is not None and now.movement.transactions:
                _complement(now.movement.transactions[0], line)
        elif kind == "33":
            yield from _end(now, line)
            now = None
        else:
            raise BankFileError(f"record {number}: unknown type {kind!r}")
    if now is not None:
        yield from _end(now, "")
    if not last:
        raise BankFileError("the file is empty")


def _opening(line: str) -> Statement:
    statement = Statement(kind="AEB43", account=_account(line), currency=_NUMBERS.get(line[47:50]))
    statement.first_day, statement.last_day = day_of(line[20:26]), day_of(line[26:32])
    statement.number = line[26:32].strip()
    statement.identification = statement.number
    statement.opening_minor = _balance(statement, line[32], line[33:47])
    return statement


def _account(line: str) -> str:
    """The IBAN of a Spanish account, computed from bank, office and number."""
    bank, number = line[2:10], line[10:20]
    if not (bank + number).isdecimal():
        return (bank + number).replace(" ", "").upper()
    local = f"{bank}{ccc.calc_check_digits(f'{bank}00{number}')}{number}"
    return f"ES{iban_numbers.calc_check_digits('ES00' + local)}{local}"


def _amount(text: str, currency: str | None) -> int:
    if currency is None:
        raise BankFileError("the account's currency is unknown")
    return scaled(text, places_of(currency), currency)


def _balance(statement: Statement, sign: str, digits: str) -> int | None:
    try:
        minor = _amount(digits, statement.currency)
    except BankFileError as error:
        statement.problem = statement.problem or str(error)
        return None
    return -minor if sign == _DEBIT else minor


def _movement(statement: Statement, line: str, number: int) -> Entry:
    currency = statement.currency or "EUR"
    booking, value = day_of(line[10:16]), day_of(line[16:22])
    credit = line[27] != _DEBIT
    entry = Entry(signed_minor=0, currency=currency, status="booked", transactions=[])
    day = booking or value
    try:
        minor = _amount(line[28:42], statement.currency)
        if day is None:
            raise BankFileError("no date")
    except BankFileError as error:
        entry.problem = f"record {number}: {error}"
        return entry
    document, *free = (line[a:b].strip() for a, b in ((42, 52), (52, 64), (64, 80)))
    first, second = (reference if any(map(str.isdecimal, reference)) else "" for reference in free)
    concept = line[22:24]
    one = Transaction(
        kind="other",
        credit=credit,
        amount_minor=minor,
        currency=currency,
        day=day,
        booking_date=booking,
        value_date=value,
        bank_reference=second if second.strip("0") else None,
        entry_reference=second if second.strip("0") else None,
        end_to_end_id=first if first.strip("0") else None,
        transaction_id=document if document.strip("0") else None,
        transaction_code=f"{concept}-{line[24:27]}".strip("- ") or None,
        remittance=[words] if (words := " ".join(text for text in free if text not in {first, second, ""})) else [],
    )
    if concept in _RETURNED:
        one.return_reason = "unknown"
    if minor and credit and not one.return_reason:
        one.kind = "payment"
    elif minor and not credit:
        one.kind = "return" if one.return_reason else "fee" if concept in _FEES else "other"
    entry.signed_minor, entry.transactions = one.signed_minor, [one]
    return entry


def _complement(one: Transaction, line: str) -> None:
    if line.startswith("23"):
        one.remittance += [text] if (text := " ".join(line[4:80].split())) else []
    elif (currency := _NUMBERS.get(line[4:7])) and line[7:21].isdecimal():
        one.instructed = Amount(_amount(line[7:21], currency), currency)


def _flush(now: _Open) -> Iterator[Item]:
    if now.movement is not None:
        entry, now.movement = now.movement, None
        yield now.statement, now.statement.add(entry)


def _end(now: _Open, line: str) -> Iterator[Item]:
    yield from _flush(now)
    statement = now.statement
    if not line:
        statement.problem = statement.problem or "the totals (record 33) are missing: the file is cut off"
    else:
        statement.closing_minor = _balance(statement, line[58], line[59:73])
        try:
            statement.stated_debit = (int(line[20:25]), _amount(line[25:39], statement.currency))
            statement.stated_credit = (int(line[39:44]), _amount(line[44:58], statement.currency))
        except ValueError as error:
            statement.problem = statement.problem or f"totals: {error}"
    statement.settle_days()
    yield statement, None
