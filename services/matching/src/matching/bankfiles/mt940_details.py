"""What :86: of MT940 says about a payment. Each bank has its own dialect; these are told apart by content.

- German (and Polish, Dutch Triodos): a business code of three digits, then fields `?20`..`?29` text, `?30` bank, `?31` account,
  `?32` and `?33` name, `?60`..`?65` more text, `?7x` the bank's own, any separator; in the text the
  SEPA keywords EREF+, KREF+, MREF+, SVWZ+ and so on.
  Source: Deutsche Kreditwirtschaft, DFUe agreement, annex 3, chapter on MT940; KREF: WGZ Bank, "SEPA-Belegungsregeln MT940" (2016).
- Dutch, Swiss, Nordic: /KEY/value/KEY/value: /EREF/ /REMI/ /NAME/ /IBAN/ /CNTP/account/bic/name/, /BENM//NAME/, /ORDP//NAME/, /RTRN/;
  for whom: /ULTD//NAME/name/ID/number (ABN AMRO, Rabobank), /ULTD/name/number/ (ING). Sources: ABN AMRO, "Customer Statement - MT940
  with Structured Information To Account Owner"; Rabobank, "Format description MT940 Structured"; ING, "Structured MT940 & MT942 (V.4)".
- labelled text: `IBAN: ... NAAM: ...` (ABN AMRO, in columns of 32 characters), `REK: .../NAAM: ...` (Knab), `Z RACH.: ...; OD: ...`
  (mBank, module `polish`).
- plain text.
"""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

from stdnum import numdb

from matching.bankfiles import czech, polish, schemes
from matching.bankfiles.amounts import minor_of
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Transaction

WRAP = 65
"""Characters of a full line: a word that reaches its end goes on in the next."""
LONGEST = 70
"""Characters that no wrapped line has: a longer one was never cut, and its end is the end of a line."""
CHUNK = 60
"""The same where a bank cuts a coded text in pieces: some count the tag in (61 are left for the first line), some are a little short."""
COLUMN = 32
"""Characters of a column of ABN AMRO's labelled texts (two in a line, a space between): what fills one goes on in the next."""
FIELD = 27
"""Characters of a full German text or name field: a shorter one lost the space it ended with, or ends a line."""
_CODED = re.compile(r"\s*([0-9]{3}|[A-Z]{3}(?=\+00))?([?>~^@|*$%#&!<\\]|\+(?=00))(?=(?:00|10|2[0-9]|3[0-9]|6[0-9]))", re.ASCII)
_FIELDS = "(00|10|2[0-9]|3[0-9]|6[0-9]|7[0-9])"
_KEYS = (
    "TRTP|IBAN|BIC|NAME|REMI|EREF|MARF|CSID|ORDP|BENM|ADDR|ISDT|CNTP|PURP|ULTD|ULTC|ULTB|RTRN|PREF|KREF|CREF|SVCL|TRCD|OCMT|EXCH|CHGS|"
    "IREF|ACCW|OGB|CHRG|BUSP|GSID|NRTX|PIND|RTYP|ORGR|UDTR|UCRD|RETN|BBAN|ACNO|BAI"
)
_ULTIMATE = frozenset({"ULTD", "ULTC", "ULTB"})
"""For whom the other pays (ultimate debtor) or is paid (ultimate creditor; beneficiary with ABN AMRO and Rabobank)."""
_SLASHED = re.compile(rf"/({_KEYS})/", re.ASCII)
_KEY_SET = frozenset(_KEYS.split("|"))
_KEY_FIRST = re.compile(r"/[A-Z]{4}/", re.ASCII)
_KEY_BEGUN = re.compile(r"/([A-Z]{0,3}) ?$", re.ASCII)
_KEY_GOING_ON = re.compile(r"([A-Z]{1,4})/", re.ASCII)
_SEPA = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|PURP|COAM|OAMT|IBAN|BIC|RREF|BREF|SQTP)\+", re.ASCII)
_LABELS = re.compile(
    r"(?:^|\s|/)(IBAN|BIC|NAAM|OMSCHRIJVING|KENMERK|REK|MACHTIGING|INCASSANT|BETALINGSKENM\.?|ID DEBITEUR|NAME|NOM|REMITTANCE) ?: ?",
    re.ASCII,
)
_DUTCH = re.compile(r"(?:ISSUER: ?CUR +REF: ?|/?(?:CDTRREFTP//CD/SCOR/)?ISSR/CUR/CDTRREF/)([0-9 ]{7,20})$", re.ASCII)
"""A Dutch betalingskenmerk (issuer CUR, Currence) as ABN AMRO and Rabobank write it in a text."""
BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
BARE_ACCOUNT = re.compile(r"[P0-9][0-9]{8,9}", re.ASCII)
"""A Dutch account number from before the IBAN, a giro number with its P."""
_REFERENCES = frozenset({"EREF", "KREF", "MREF", "CRED", "DEBT", "RREF", "BREF"})
REFERENCE_MAX = 35
"""Characters of a SEPA reference: a field that comes after so many belongs to no reference any more."""
ACCOUNT_MIN = 8
"""Digits of an account number that is not like another by chance."""
_IBAN = re.compile(r"([A-Z]{2})[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_IBAN_BIC_NAME = re.compile(rf"(?:^|\s)({_IBAN.pattern.replace('(', '(?:', 1)}) {BIC.pattern} ((?:[^0-9\s]+ )*)\S*[0-9]", re.ASCII)
"""ING before 2014: the other's IBAN, BIC and name, and behind it a number, whatever it is."""
_COUNTRIES = numdb.get("iban")
_MONEY = re.compile(r"([A-Z]{3})\s*([0-9]+(?:[.,][0-9]*)?)", re.ASCII)
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOT PROVIDED", "NONREF"})
_GERMAN_RETURNS = frozenset({"108", "109", "110", "111", "159", "160", "181", "182", "183", "184"})
"""Business codes (Geschaeftsvorfallcodes, DFUe agreement, annex 3): direct debits, card payments and cheques given back (108 to 111),
credit transfers given back (159, instant 160), re-credits (18x)."""
_NO_CODE = "000"
_GERMAN_FEES = frozenset({"805", "808", "809"})
"""Closing of the account, fees, commissions."""
_FEE_TYPES = frozenset({"NCHG", "NCOM", "FCHG", "FCOM"})
_RETURN_TYPES = frozenset({"NRTI", "FRTI"})
"""SWIFT transaction types: charges, commission, returned item."""
_RETURN_WORDS = re.compile(
    r"R(?:UE|\u00dc)CKLASTSCHRIFT|R(?:UE|\u00dc)CKBUCHUNG|TERUGBOEKING|STORNO ?INCASSO|RETOURE|"
    r"RETURNED (?:ITEM|DIRECT DEBIT)|PAYMENT +RETURN\b|REJET DE PRELEVEMENT",
    re.IGNORECASE,
)


def is_iban(text: str) -> bool:
    """Whether a text has the form of an IBAN, of a country that has any; its check digits may be wrong."""
    found = _IBAN.fullmatch(text)
    return found is not None and bool(_COUNTRIES.info(found[1])[0][1])


def describe(one: Transaction, notes: Sequence[str], supplement: Sequence[str], own: str = "", *, dutch: bool = False) -> bool:
    """Fills in what the notes say, and kind and return reason. Returns whether it stands for several: a batch without its details.

    `own`: the account the statement is of. `dutch`: a number of ten digits in the supplement is an account.
    """
    text = "".join(notes)
    coded = _CODED.match(text)
    business, several = None, False
    if coded and (coded[1] or coded[2] in "?>" or text.count(coded[2]) > 1):
        business = _coded(one, text, coded, own)
    elif (joined := join(notes, CHUNK)) and _SLASHED.search(joined):
        several = _slashed(one, joined)
    else:
        _plain(one, notes, own)
    _supplement(one, supplement, dutch=dutch)
    _money(one, [*supplement, *notes])
    if not one.references and (belgian := schemes.ogm_in(" ".join(one.remittance))):
        one.references.append(belgian)
    _classify(one, business)
    if several and one.kind == "payment":
        one.kind = "total"
    return several


def _supplement(one: Transaction, supplement: Sequence[str], *, dutch: bool) -> None:
    """What stands in :61: beside the references: an account, the name behind it, coded words (/TRCD/, /OCMT/), text."""
    behind_account = False
    for part in supplement:
        text = " ".join(part.split())
        account = text.replace(" ", "").upper()
        if is_iban(account) or (dutch and BARE_ACCOUNT.fullmatch(account)):
            if account.strip("0P"):
                one.counterparty_iban = one.counterparty_iban or account
                behind_account = True
        elif not text or _KEY_FIRST.match(text):
            continue
        elif behind_account and not one.counterparty_name:
            one.counterparty_name = text
            one.remittance = [left for said in one.remittance if (left := said.removeprefix(f"{one.counterparty_iban} {text}").strip())]
        elif not any(text in said for said in one.remittance):
            one.remittance.append(text)


def _classify(one: Transaction, business: str | None) -> None:
    said = " ".join(one.remittance)
    code = one.transaction_code or ""
    back = one.return_reason is not None or business in _GERMAN_RETURNS or code[:4] in _RETURN_TYPES
    back = back or (not one.credit and _RETURN_WORDS.search(said) is not None)
    if back or one.reversal:
        reason = schemes.RETURN_REASON.search(said)
        one.return_reason = one.return_reason or (reason[1] if reason else None if one.reversal else "unknown")
    if not one.amount_minor:
        one.kind = "other"
    elif one.credit:
        one.kind = "other" if back or one.reversal else "payment"
    elif back or one.reversal:
        one.kind = "return"
    else:
        one.kind = "fee" if business in _GERMAN_FEES or code[:4] in _FEE_TYPES else "other"


def join(notes: Sequence[str], full: int = WRAP) -> str:
    """Wrapped lines as one text: a line of `full` characters or more, yet no longer than lines are, goes on in the next without a space."""
    text = ""
    for line in notes:
        begun, going_on = _KEY_BEGUN.search(text[-5:]), _KEY_GOING_ON.match(line)
        if begun and going_on and begun[1] + going_on[1] in _KEY_SET:
            text = text.rstrip()
        if _LABELS.match(line) and text:
            text = f"{text.rstrip()} "
        text += line.rstrip() + ("" if full <= len(line) <= LONGEST and line == line.rstrip() else " ")
    return text.strip()


def _columns(notes: Sequence[str]) -> str | None:
    """A text of SEPA that stands in columns, one of which is an IBAN, its pieces put together; None for any other."""
    lines = [line.rstrip() for line in notes]
    if not lines or not lines[0].startswith("SEPA ") or any(len(line) > WRAP or line[COLUMN : COLUMN + 1].strip() for line in lines):
        return None
    pieces = [piece for line in lines for at in (0, COLUMN + 1) if (piece := line[at : at + COLUMN]).strip()]
    if not any(piece.startswith("IBAN: ") for piece in pieces):
        return None
    text = pieces[0].rstrip()
    for before, piece in pairwise(pieces):
        goes_on = len(before.rstrip()) == COLUMN and not _LABELS.match(piece)
        text += piece.rstrip() if goes_on else f" {piece.rstrip()}"
    return text


def _coded(one: Transaction, text: str, coded: re.Match[str], own: str) -> str | None:
    """The German dialect; returns the business code, where it is one of the German table."""
    business, separator = coded[1], re.escape(coded[2])
    pieces = re.split(rf"{separator}{_FIELDS}", text[coded.end(1) if coded[1] else 0 :])
    fields: dict[str, str] = {}
    for code, value in zip(pieces[1::2], pieces[2::2], strict=True):
        fields[code] = fields.get(code, "") + value
    purpose = [fields[code] for n in range(10) if (code := f"2{n}") in fields]
    if "00" in fields and business and not business.isdecimal():  # UniCredit Bulbank: the longer text stands there
        purpose.insert(0, f"{fields['00']} ")
    more = [fields[code] for code in ("60", "61", "62", "63", "64", "65") if code in fields]
    if "29" in fields:  # all ten are full: the text goes on
        purpose, more = [*purpose, *more], []
    one.counterparty_name = " ".join("".join(_spaced([fields.get("32", ""), fields.get("33", "")])).split()) or None
    account, whole = polish.account(fields.get("31", "")), polish.account(fields.get("38", ""))
    if len(account) >= ACCOUNT_MIN and own.endswith(account):  # Triodos has our own account there, and the other's in the text
        account = ""
        if len(purpose) > 1 and BIC.fullmatch(purpose[0].strip()) and _IBAN.fullmatch(purpose[1].strip()):
            account, purpose = purpose[1].strip(), purpose[2:]
    if not account and business == _NO_CODE and BARE_ACCOUNT.fullmatch(bare := fields.get("10", "").strip()):  # Triodos before the IBAN
        account = bare.lstrip("0")
    one.counterparty_iban = (whole if not account or whole.endswith(account) else account) or None
    if _SEPA.search("".join(purpose)):
        _sepa(one, purpose)
    else:
        one.remittance = [line for part in purpose if (line := " ".join(part.split()))]
        _commerzbank(one, one.remittance)
    if said := " ".join("".join(more).split()):
        one.remittance.append(said)
    if not one.remittance and fields.get("00"):
        one.remittance = [" ".join(fields["00"].split())]
    if business:
        one.transaction_code = f"{one.transaction_code}+{business}" if one.transaction_code else business
    if czech.is_czech(text, own):
        czech.describe(one, business, fields.get("00", ""))
        return None
    supplement = fields.get("34", "").strip()
    if business in _GERMAN_RETURNS and supplement.isascii() and supplement.isdecimal():  # the text key's supplement says why
        reason = schemes.RETURN_REASON.search(" ".join(one.remittance))
        one.return_reason = reason[1] if reason else supplement
    return business


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
            _amount(one, text, charge=key == "COAM")
    one.remittance = [line for line in lines if line]


def _told(whole: str, start: int, end: int, ends: Sequence[int], fields: Sequence[str]) -> str:
    """The text from `start` to `end`, with a space where a field that is not full ends."""
    cuts = [at for at, field in zip(ends, fields, strict=True) if start < at < end and len(field) < FIELD]
    return " ".join(" ".join(whole[a:b] for a, b in pairwise([start, *cuts, end])).split())


def _amount(one: Transaction, text: str, *, charge: bool) -> None:
    found = _MONEY.match(text)
    if found is None:
        return
    try:
        amount = Amount(minor_of(found[2].rstrip(","), found[1]), found[1])
    except BankFileError:
        return
    if charge:
        one.charges.append(amount)
    elif one.instructed is None:
        one.instructed = amount


def _money(one: Transaction, lines: Sequence[str]) -> None:
    """/OCMT/EUR10,00/ and /CHGS/EUR1,00/: the instructed amount and charges (SWIFT, :61: subfield 9 and :86:)."""
    text = "".join(lines)
    for key, charge in (("OCMT", False), ("CHGS", True)):
        at = text.find(f"/{key}/")
        if at >= 0:
            _amount(one, text[at + len(key) + 2 : at + 40], charge=charge)


def _slashed(one: Transaction, text: str) -> bool:
    """The /KEY/value/ dialect; returns whether it says that it stands for several transactions (NRTX)."""
    pieces = _SLASHED.split(text)
    lines = [" ".join(pieces[0].split())]
    found: dict[str, str] = {}
    ultimate = ""  # the code word of an ultimate party whose name is still to come: /ULTD//NAME/
    for key, value in zip(pieces[1::2], pieces[2::2], strict=True):
        place = ultimate if key == "NAME" and ultimate else key
        ultimate = key if key in _ULTIMATE and not value.strip(" /") else ""
        found[place] = f"{found[place]} {value}" if found.get(place) else value
    if "REMI" in found:
        lines.append(_remittance(one, found["REMI"]))
    elif not found.keys() & {"EREF", "NAME", "CNTP", "IBAN"}:
        lines = [" ".join(text.split())]
    end = _clean(found.get("EREF"))
    if end and end.upper() not in _NOT_GIVEN:
        one.end_to_end_id = end
    one.mandate_id = _clean(found.get("MARF"))
    one.counterparty_name = _named(found.get("NAME"))
    account = (found.get("IBAN") or found.get("BBAN") or found.get("ACNO") or "").split("/")[0]
    one.batch_id = _clean(found.get("PREF"))
    if "CNTP" in found:
        account, _, name, *_ = [*found["CNTP"].split("/"), "", "", ""]
        one.counterparty_name = _clean(name) or one.counterparty_name
    for key in ("ORDP", "BENM"):
        if found.get(key, "").strip(" /") and not one.counterparty_name:
            one.counterparty_name = _named(found[key])
    one.counterparty_iban = "".join(account.split()).upper() or None
    returned = _clean(found.get("RTRN") or found.get("RETN"))
    if returned:
        one.return_reason = returned.split("/")[0].strip()
    payers = one.credit != bool(returned)  # of a debit that is no return, the other is who is paid
    one.ultimate_name = _ultimate(found.get("ULTD") if payers else found.get("ULTC") or found.get("ULTB"))
    one.remittance = [line for line in lines if line]
    return (_clean(found.get("NRTX")) or "").lstrip("0") not in {"", "1"}


def _named(value: str | None) -> str | None:
    """The name of a party without its identification (/ID/)."""
    return _clean((value or "").partition("/ID/")[0])


def _ultimate(value: str | None) -> str | None:
    """The name of an ultimate party. ING has its number behind it, each with a slash at its end."""
    text = value or ""
    name, slash, number = text.removesuffix("/").rpartition("/")
    numbered = slash and text.endswith("/") and "/ID/" not in text and any(map(str.isdecimal, number))
    return _named(name if numbered else text)


def _remittance(one: Transaction, value: str) -> str:
    """USTD//text or STRD/issuer/reference or plain text."""
    text = value.strip().lstrip("/")
    if text.startswith("USTD/"):
        return _clean(text[5:]) or ""
    if text.startswith("STRD/"):
        issuer, _, reference = text[5:].strip("/").rpartition("/")
        known = schemes.reference(reference, "SCOR", issuer)
        if known:
            one.references.append(known)
            return ""
    return _without_reference(one, _clean(text) or "")


def _without_reference(one: Transaction, text: str) -> str:
    """A text less the Dutch reference that it ends with."""
    found = _DUTCH.search(text)
    known = schemes.reference(found[1].replace(" ", ""), "SCOR", "CUR") if found else None
    if found is None or known is None:
        return text
    one.references.append(known)
    return text[: found.start()].strip(" /")


def _clean(text: str | None) -> str | None:
    return " ".join((text or "").strip(" /").split()) or None


def _plain(one: Transaction, notes: Sequence[str], own: str) -> None:
    """Free text, perhaps with labels. Lines stay lines: they are words of their own more often than not."""
    joined = _columns(notes) or join(notes)
    if polish.labelled(one, joined):
        return
    one.remittance = [joined] if joined else []
    head, *parts = _LABELS.split(joined)
    labelled = dict(zip(parts[::2], parts[1::2], strict=True))
    account = "".join((labelled.get("IBAN") or labelled.get("REK") or "").split()[:1]).split("/")[0].upper()
    if is_iban(account):
        one.counterparty_iban = account
    one.counterparty_name = _clean(labelled.get("NAAM") or labelled.get("NAME"))
    if not labelled.keys() & {"IBAN", "REK"} and (who := _IBAN_BIC_NAME.search(joined)) and is_iban(who[1]) and who[1] != own:
        one.counterparty_iban = who[1]
        one.counterparty_name = one.counterparty_name or _clean(who[2])
    one.end_to_end_id = one.end_to_end_id or _clean(labelled.get("KENMERK"))
    one.mandate_id = _clean(labelled.get("MACHTIGING"))
    number = _clean(labelled.get("BETALINGSKENM.") or labelled.get("BETALINGSKENM"))
    known = schemes.reference(number, "SCOR", "CUR") if number and number.isdecimal() else None
    if known:
        one.references.append(known)
    if "NAAM" in labelled and (known or "OMSCHRIJVING" in labelled or "REK" in labelled):  # ABN AMRO, Knab: every part has its label
        said = [labelled.get("OMSCHRIJVING"), None if known else number, head if "REK" in labelled else None]
        one.remittance = [text for part in said if (text := _clean(part))]
