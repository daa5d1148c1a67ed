"""The German dialect of :86: in MT940, which banks of other countries write as well.

A business code of three digits, then fields `?20`..`?29` text, `?30` bank, `?31` account, `?32` and `?33` name, `?60`..`?65` more text,
`?7x` the bank's own, any separator; in the text the SEPA keywords EREF+, KREF+, MREF+, SVWZ+ and so on.
Source: Deutsche Kreditwirtschaft, DFUe agreement, annex 3, chapter on MT940; KREF: WGZ Bank, "SEPA-Belegungsregeln MT940" (2016). Its code
COAM+ is what a bank charges for a direct debit given back, OAMT+ what the direct debit was of, in euro where they name no currency. Polish
banks have codes of four digits as well. Romanian banks write it too (files of OCA/l10n-romania): BRD parts its fields by a plus, ING puts
the other's IBAN in ?33.
"""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

from matching.bankfiles import czech, polish, schemes
from matching.bankfiles.accounts import ACCOUNT_MIN, BARE_ACCOUNT, BIC, IBAN, is_iban
from matching.bankfiles.amounts import state
from matching.domain.statements import Transaction

FIELD = 27
"""Characters of a full German text or name field: a shorter one lost the space it ended with, or ends a line."""
_CODED = re.compile(
    r"\s*([0-9]{3,4}|[A-Z]{3}(?=\+00))?([?>~^@|*$%#&!<\\]|\+(?=00)|(?<=[0-9]{3})\+(?=20))(?=(?:00|10|2[0-9]|3[0-9]|6[0-9]))", re.ASCII
)
_FIELDS = "(00|10|2[0-9]|3[0-9]|6[0-9]|7[0-9])"
_SEPA = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|PURP|COAM|OAMT|IBAN|BIC|RREF|BREF|SQTP)\+", re.ASCII)
_REFERENCES = frozenset({"EREF", "KREF", "MREF", "CRED", "DEBT", "RREF", "BREF"})
REFERENCE_MAX = 35
"""Characters of a SEPA reference: a field that comes after so many belongs to no reference any more."""
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOT PROVIDED", "NONREF", "NICHT ANGEGEBEN"})
"""The last one is Commerzbank's."""
RETURNS = frozenset({"108", "109", "110", "111", "159", "160", "181", "182", "183", "184", "193"})
"""Business codes (Geschaeftsvorfallcodes, DFUe agreement, annex 3): direct debits, card payments and cheques given back (108 to 111),
credit transfers given back (159, instant 160), re-credits (18x), direct debits reversed by who collected them (193)."""
BATCHES = frozenset({"188", "189", "191", "192", "194", "195", "196", "197"})
"""Instant credit transfers (188, 189), credit transfers (191, 194), direct debits (192, 195 to 197) of a file in one sum. As these and 193
are listed in creatinespresso/SEPA-CAMT-DTA-MT940-ETC, which follows the annex; the annex itself was not at hand.
"""
_UNSTRUCTURED = "999"
_IS_UNSTRUCTURED = re.compile(rf"{_UNSTRUCTURED}(?![0-9])", re.ASCII)
"""The code of a text without fields, which stands right before it."""
_ACCOUNT = re.compile(r"DE|[0-9]{8}/", re.ASCII)
"""How the account of a German statement begins: an IBAN, a bank code."""
_ROMANIAN = "RO"
"""Begins accounts on which the codes are not those of the table: 110 of ING is a payment that comes in."""
_NO_CODE = "000"
FEES = frozenset({"805", "808", "809"})
"""Closing of the account, fees, commissions."""


def begins(text: str) -> re.Match[str] | None:
    """The business code and the separator that a text in fields begins with; None where it is none."""
    coded = _CODED.match(text)
    sure = coded and ((coded[1] and coded[2] != "+") or coded[2] in "?>" or text.count(coded[2]) > 1)
    return coded if sure else None


def describe(one: Transaction, text: str, coded: re.Match[str], own: str) -> str | None:
    """Fills in what the fields say; returns the business code, where it is one of the German table."""
    business, separator = coded[1], re.escape(coded[2])
    pieces = re.split(rf"{separator}{_FIELDS}", text[coded.end(1) if coded[1] else 0 :])
    fields: dict[str, str] = {}
    if coded[2] == "~":  # ING ends the last one too
        pieces[-1] = pieces[-1].rstrip().removesuffix("~")
    for code, value in zip(pieces[1::2], pieces[2::2], strict=True):
        fields[code] = fields.get(code, "") + value
    purpose = [fields[code] for n in range(10) if (code := f"2{n}") in fields]
    if "00" in fields and business and not business.isdecimal():  # UniCredit Bulbank: the longer text stands there
        purpose.insert(0, f"{fields['00']} ")
    more = [fields[code] for code in ("60", "61", "62", "63", "64", "65") if code in fields]
    if "29" in fields:  # all ten are full: the text goes on
        purpose, more = [*purpose, *more], []
    account, whole = polish.account(fields.get("31", "")), polish.account(fields.get("38", ""))
    if not account and is_iban(fields.get("33", "").strip()):
        account = fields.pop("33").strip()
    name = " ".join("".join(_spaced([fields.get("32", ""), fields.get("33", "")])).split())
    one.counterparty_name = name.removesuffix(" /") or None
    if len(account) >= ACCOUNT_MIN and own.endswith(account):  # Triodos has our own account there, and the other's in the text
        account = ""
        if len(purpose) > 1 and BIC.fullmatch(purpose[0].strip()) and IBAN.fullmatch(purpose[1].strip()):
            account, purpose = purpose[1].strip(), purpose[2:]
    if not account and business == _NO_CODE and BARE_ACCOUNT.fullmatch(bare := fields.get("10", "").strip()):  # Triodos before the IBAN
        account = bare.lstrip("0")
    one.counterparty_iban = (whole if not account or whole.endswith(account) else account) or None
    if _SEPA.search("".join(purpose)):
        _sepa(one, purpose)
    else:
        one.remittance = [line for part in purpose if (line := " ".join(part.split()))]
        _commerzbank(one, one.remittance)
    if _SEPA.search("".join(more)):
        said, one.remittance = one.remittance, []
        _sepa(one, more)
        one.remittance = said + one.remittance
    elif told := " ".join("".join(more).split()):
        one.remittance.append(told)
    if not one.remittance and fields.get("00"):
        one.remittance = [" ".join(fields["00"].split())]
    if business:
        one.transaction_code = f"{one.transaction_code}+{business}" if one.transaction_code else business
    if czech.is_czech(text, own):
        czech.describe(one, business, fields.get("00", ""))
        return None
    if own.startswith(_ROMANIAN):
        return None
    supplement = fields.get("34", "").strip()
    if business in RETURNS and supplement.isascii() and supplement.isdecimal():  # the text key's supplement says why
        reason = schemes.RETURN_REASON.search(" ".join(one.remittance))
        one.return_reason = reason[1] if reason else supplement
    return business


def without_code(one: Transaction, text: str, own: str) -> str:
    """A text without fields, less the code that German banks put before it."""
    if not (_ACCOUNT.match(own) and _IS_UNSTRUCTURED.match(text)):
        return text
    one.transaction_code = f"{one.transaction_code}+{_UNSTRUCTURED}" if one.transaction_code else _UNSTRUCTURED
    return text.removeprefix(_UNSTRUCTURED).lstrip()


def _commerzbank(one: Transaction, lines: Sequence[str]) -> None:
    """References whose label is a line of its own, or ends one: `END-TO-END-REF.:` and, in the next, what it is."""
    for line, value in pairwise(lines):
        if line.endswith("END-TO-END-REF.:") and value.upper() not in _NOT_GIVEN:
            one.end_to_end_id = value
        elif line.endswith("MANDATSREF.:"):
            one.mandate_id = value


def _spaced(fields: Sequence[str]) -> list[str]:
    """Fields with the space that one which is not full has lost at its end."""
    return [field if len(field) >= FIELD else f"{field} " for field in fields]


def _sepa(one: Transaction, fields: Sequence[str]) -> None:
    """KEY+value parts of a German text. What stands before the first key is text too, and what no reference has room for."""
    whole, ends = "".join(fields), list(accumulate(map(len, fields)))
    found = list(_SEPA.finditer(whole))
    lines = [" ".join(whole[: found[0].start()].split())]
    for match, after in zip(found, [*found[1:], None], strict=True):
        key, start, end = match[1], match.end(), after.start() if after else len(whole)
        text = " ".join(whole[start:end].split())
        if key in _REFERENCES and len(text) > REFERENCE_MAX:
            cut = max((at for at in ends if start < at < end and len(whole[start:at].strip()) <= REFERENCE_MAX), default=end)
            lines.append(" ".join(whole[cut:end].split()))
            text = " ".join(whole[start:cut].split())
        if key == "EREF" and text.upper() not in _NOT_GIVEN:
            one.end_to_end_id = text
        elif key == "MREF":
            one.mandate_id = text or None
        elif key == "KREF" and not one.end_to_end_id and text.upper() not in _NOT_GIVEN:  # of a file booked in one sum
            one.batch_id = text
        elif key == "SVWZ":
            lines.append(_told(whole, start, end, ends, fields))
        elif key in {"ABWA", "ABWE"}:
            one.counterparty_name = one.counterparty_name or text or None
            if key == ("ABWA" if one.credit else "ABWE"):
                one.ultimate_name = text or None
        elif key == "IBAN" and not one.counterparty_iban:
            one.counterparty_iban = text.replace(" ", "").upper() or None
        elif key in {"OAMT", "COAM"}:
            state(one, text, charge=key == "COAM")
    one.remittance = [line for line in lines if line]


def _told(whole: str, start: int, end: int, ends: Sequence[int], fields: Sequence[str]) -> str:
    """The text from `start` to `end`, with a space where a field that is not full ends."""
    cuts = [at for at, field in zip(ends, fields, strict=True) if start < at < end and len(field) < FIELD]
    return " ".join(" ".join(whole[a:b] for a, b in pairwise([start, *cuts, end])).split())
