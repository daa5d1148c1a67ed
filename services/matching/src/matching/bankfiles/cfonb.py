"""Reads CFONB 120, the French account statement: records of 120 characters.

Source: CFONB, "Releve de compte sur support informatique" (July 2004) and its additions on record 05 (August 2007, whose fields
pennylane-hq/cfonb lists in its readme); what an interbank operation code means: CFONB, "Codes operations interbancaires", as
silarhi/cfonb-parser lists them with their SWIFT types (specs/error_codes.csv; SWIFT's COM is a commission, RTI a returned item).
Record 01 old balance, 04 movement, 05 complement of the movement (a qualifier and 70 characters), 07 new balance. The last character of
an amount carries a digit and the sign: { and A to I are 0 to 9 credit, } and J to R are 0 to 9 debit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from stdnum import iban as iban_numbers

from matching.bankfiles import schemes, texts
from matching.bankfiles.amounts import day_of, scaled
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Entry, Item, Statement, Transaction

WIDTH = 120
_PLUS, _MINUS = "{ABCDEFGHI", "}JKLMNOPQR"
_FRENCH = {"\u00e9": "{", "\u00e8": "}"}
"""The French national character set (ISO 646-FR) has these letters where others have braces, and converters keep them."""
_FEES = frozenset({"62", "64", "65", "66", "88"})
"""Operation codes of commissions (SWIFT type COM); interest (61, 70) and taxes (67) are none."""
_RETURNS = frozenset({"03", "10", "12", "26", "27", "33", "34", "38", "98", "A3", "A4", "B3", "B4", "C3", "C4", "C5"})
"""Of what went back: cheques, bills, cards, transfers, direct debits unpaid or refused, instant transfers recalled (C3, C4, C5)."""
_PARTIES = frozenset({"NPY", "NPO", "CPY", "NBE", "NBU", "CBE"})
_IDENTIFIERS = frozenset({"IPY", "IPO", "IBE", "IBU", "PDO"})
"""Of record 05: who pays and is paid; their identifications and country, which are no text."""
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOT PROVIDED", "NONREF"})
_LETTERS = {letter: str(at % 9 + 1) for at, letter in enumerate("ABCDEFGHIJKLMNOPQR")} | {
    letter: str(at + 2) for at, letter in enumerate("STUVWXYZ")
}
"""Letters of an account number count as digits in its key (RIB): A and J are 1, S is 2."""


@dataclass(slots=True)
class _Open:
    statement: Statement
    opening: str
    """The raw old balance: without a movement nothing says how many decimals it has."""
    places: int | None
    movement: tuple[Entry, Transaction] | None = None
    parties: dict[str, str] = field(default_factory=dict)
    """Names and accounts of who pays and who is paid, by their qualifiers."""
    label: str = ""
    """The first half of the payer's text (LCC) of the movement, as wide as it is."""


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file."""
    now: _Open | None = None
    for number, line in texts.records(file, WIDTH):
        kind = line[:2]
        if kind == "01":
            if now is not None:
                yield from _end(now, "")
            now = _open(line)
        elif kind not in {"04", "05", "07"}:
            raise BankFileError(f"record {number}: begins with neither 01, 04, 05 nor 07")
        elif now is None:
            if kind != "07":
                raise BankFileError(f"record {number}: a movement before the old balance")
        elif kind == "04":
            yield from _flush(now)
            now.movement, now.label, now.parties = _movement(now, line, number), "", {}
        elif kind == "05":
            if now.movement is not None:
                _complement(now, now.movement[1], line[45:48], line[48:118])
        else:
            yield from _end(now, line)
            now = None
    if now is not None:
        yield from _end(now, "")


def _open(line: str) -> _Open:
    statement = Statement(kind="CFONB120", account=_account(line))
    statement.currency = line[16:19].strip() or None
    statement.number = line[34:40].strip()
    statement.identification = statement.number
    places = int(line[19]) if line[19].isdecimal() else None
    return _Open(statement, line[90:104], places)


def _account(line: str) -> str:
    """The IBAN of a French account, computed from bank, branch and number (RIB key); the number alone where one is missing."""
    bank, branch, number = line[2:7].strip(), line[11:16].strip(), line[21:32].strip()
    if len(bank) != 5 or len(branch) != 5 or len(number) != 11 or not (bank + branch).isdecimal() or not number.isalnum():  # noqa: PLR2004 - RIB
        return number
    digits = "".join(_LETTERS.get(letter, letter) for letter in number.upper())
    if not (digits.isascii() and digits.isdecimal()):
        return number
    key = 97 - (89 * int(bank) + 15 * int(branch) + 3 * int(digits)) % 97
    local = f"{bank}{branch}{number.upper()}{key:02d}"
    return f"FR{iban_numbers.calc_check_digits('FR00' + local)}{local}"


def _amount(text: str, places: int, currency: str) -> int:
    """Signed minor units of a signed field of 14 characters."""
    last, body = _FRENCH.get(text[-1], text[-1]), text[:-1].strip()
    if last in _PLUS:
        return scaled(body + str(_PLUS.index(last)), places, currency)
    if last in _MINUS:
        return -scaled(body + str(_MINUS.index(last)), places, currency)
    raise BankFileError(f"{text!r} is no signed amount")


def _movement(now: _Open, line: str, number: int) -> tuple[Entry, Transaction]:
    statement = now.statement
    currency = line[16:19].strip() or statement.currency or "EUR"
    if statement.currency is None:
        statement.currency = currency
    if line[19].isdecimal():
        now.places = now.places if now.places is not None else int(line[19])
    booking, value = day_of(line[34:40], "dmy"), day_of(line[42:48], "dmy")
    reference, reason = line[104:120].strip(), line[40:42].strip()
    entry = Entry(signed_minor=0, currency=currency, status="booked", transactions=[])
    one = Transaction(
        kind="",
        credit=True,
        amount_minor=0,
        currency=currency,
        day=booking or value or date.min,
        booking_date=booking,
        value_date=value,
        bank_reference=None if reference in _NOT_GIVEN else reference,
        transaction_code=line[32:34].strip() or None,
        return_reason=reason if reason.strip("0") else None,  # digits (so akretion/python-cfonb has it): zeros are none
        remittance=[text] if (text := " ".join(line[48:79].split())) else [],
    )
    slip = line[81:88].strip()
    if slip.strip("0"):
        one.transaction_id = slip
    try:
        if booking is None and value is None:
            raise BankFileError("no booking date")
        signed = _amount(line[90:104], int(line[19]) if line[19].isdecimal() else (now.places if now.places is not None else 2), currency)
        one.credit, one.amount_minor, entry.signed_minor, entry.transactions = signed >= 0, abs(signed), signed, [one]
    except BankFileError as error:
        entry.problem = f"record {number}: {error}"
    return entry, one


def _complement(now: _Open, one: Transaction, qualifier: str, text: str) -> None:
    """Record 05. Names: NPY payer, NPO ultimate payer, NBE payee, NBU ultimate payee; accounts CPY, CBE; references RCN, REF, RUM, LCS.

    LCC and LC2 are the two halves of the payer's text, cut within a word; RET says why money went back: the ISO code first.
    """
    value = " ".join(text.split())
    if not value:
        return
    if qualifier in _PARTIES:
        now.parties.setdefault(qualifier, value.replace(" ", "").upper() if qualifier.startswith("C") else value)
    elif qualifier == "RCN":
        reference = " ".join(text[:35].split())
        if reference.upper() not in _NOT_GIVEN:
            one.end_to_end_id = reference
    elif qualifier == "REF":
        one.bank_reference = one.bank_reference or value
    elif qualifier == "RUM":
        one.mandate_id = " ".join(text[:35].split()) or None
    elif qualifier == "LCS":
        known = schemes.reference(text[:35])
        if known:
            one.references.append(known)
    elif qualifier in {"MMO", "FEE"}:
        _money(one, text, charge=qualifier == "FEE")
    elif qualifier == "LC2" and now.label:
        one.remittance[one.remittance.index(" ".join(now.label.split()))] = " ".join((now.label + text).split())
        now.label = ""
    elif qualifier not in _IDENTIFIERS:  # LIB, LCC, RET and the bank's own
        one.remittance.append(value)
        if qualifier == "LCC":
            now.label = text
        elif qualifier == "RET" and schemes.RETURN_REASON.fullmatch(text[:4]):
            one.return_reason = text[:4]


def _name_parties(one: Transaction, said: Mapping[str, str], own: str) -> None:
    """The other is who pays what comes in and who is paid what goes out; where only the other side is there, and is not us, that one.

    An account that is credited and is not the statement's own may be a virtual IBAN: whether it is ours, our books know.
    """
    back = one.return_reason is not None or one.transaction_code in _RETURNS
    payer = (said.get("NPY") or said.get("NPO"), said.get("CPY"))
    payee = (said.get("NBE") or said.get("NBU"), said.get("CBE"))
    first, second = (payer, payee) if one.credit != back else (payee, payer)
    if first[1] == own or (not any(first) and second[1] != own):
        first = second
    one.counterparty_name, one.counterparty_iban = first
    one.ultimate_name = said.get("NPO" if first is payer else "NBU")
    if one.credit and not back and payee[1] != own:
        one.virtual_iban = payee[1]


def _money(one: Transaction, text: str, *, charge: bool) -> None:
    currency, places, digits = text[:3], text[3:4], text[4:18].strip()
    if not places.isdecimal():
        return
    try:
        amount = Amount(scaled(digits, int(places), currency), currency)
    except BankFileError:
        return
    if charge:
        one.charges.append(amount)
    else:
        one.instructed = amount


def _flush(now: _Open) -> Iterator[Item]:
    if now.movement is None:
        return
    (entry, one), now.movement = now.movement, None
    one.entry_reference = one.bank_reference
    _name_parties(one, now.parties, now.statement.account)
    if one.transaction_code in _RETURNS:
        one.return_reason = one.return_reason or "unknown"
    if not one.amount_minor:
        one.kind = "other"
    elif one.credit:
        one.kind = "other" if one.return_reason else "payment"
    elif one.return_reason:
        one.kind = "return"
    else:
        one.kind = "fee" if one.transaction_code in _FEES else "other"
    yield now.statement, now.statement.add(entry)


def _end(now: _Open, line: str) -> Iterator[Item]:
    yield from _flush(now)
    statement = now.statement
    currency, places = statement.currency or "EUR", now.places if now.places is not None else 2
    try:
        statement.opening_minor = _amount(now.opening, places, currency)
        if line:
            statement.closing_minor = _amount(line[90:104], places, currency)
            statement.last_day = day_of(line[34:40], "dmy")
    except BankFileError as error:
        statement.problem = statement.problem or f"a balance: {error}"
    if not line:
        statement.problem = statement.problem or "the new balance (record 07) is missing: the file is cut off"
    elif (account := _account(line)) != statement.account:
        statement.remarks.append(f"the new balance is that of another account ({account[-4:]})")
    statement.settle_days()
    yield statement, None
