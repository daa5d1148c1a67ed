"""What :86: of MT940 says about a payment. Each bank has its own dialect; these are told apart by content.

- German (and Polish, Romanian, Dutch Triodos): a business code of three digits, then fields `?20`.. (module `german`).
- Dutch, Swiss, Nordic: /KEY/value/KEY/value: /EREF/ /REMI/ /NAME/ /IBAN/ /CNTP/account/bic/name/, /BENM//NAME/, /ORDP//NAME/, /RTRN/;
  for whom: /ULTD//NAME/name/ID/number (ABN AMRO, Rabobank), /ULTD/name/number/ (ING). Sources: ABN AMRO, "Customer Statement - MT940
  with Structured Information To Account Owner"; Rabobank, "Format description MT940 Structured"; ING, "Structured MT940 & MT942 (V.4)".
- lines: /ORDP/ or /BENM/ and the account, then the name, two references (//) and the text, a slash before each (KBS in Skopje, as
  fruitl00p/php-mt940 has its statements).
- labelled text: `IBAN: ... NAAM: ...` (ABN AMRO, in columns of 32 characters), `REK: .../NAAM: ...` (Knab), `Z RACH.: ...; OD: ...`
  (mBank, module `polish`).
- plain text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from matching.bankfiles import german, polish, schemes
from matching.bankfiles.accounts import BARE_ACCOUNT, BIC, IBAN, is_iban
from matching.bankfiles.amounts import state
from matching.domain.statements import Transaction

WRAP = 65
"""Characters of a full line: a word that reaches its end goes on in the next."""
LONGEST = 70
"""Characters that no wrapped line has: a longer one was never cut, and its end is the end of a line."""
CHUNK = 60
"""The same where a bank cuts a coded text in pieces: some count the tag in (61 are left for the first line), some are a little short."""
COLUMN = 32
"""Characters of a column of ABN AMRO's labelled texts (two in a line, a space between): what fills one goes on in the next."""
_KEYS = (
    "TRTP|IBAN|BIC|NAME|REMI|EREF|MARF|CSID|ORDP|BENM|ADDR|ISDT|CNTP|PURP|ULTD|ULTC|ULTB|RTRN|PREF|KREF|CREF|SVCL|TRCD|OCMT|EXCH|CHGS|"
    "IREF|ACCW|OGB|CHRG|BUSP|GSID|NRTX|PIND|RTYP|ORGR|UDTR|UCRD|RETN|BBAN|ACNO|BAI"
)
_ULTIMATE = frozenset({"ULTD", "ULTC", "ULTB"})
"""For whom the other pays (ultimate debtor) or is paid (ultimate creditor; beneficiary with ABN AMRO and Rabobank)."""
_SIDES = ("ORDP", "BENM")
"""Who pays, and who is paid."""
_SLASHED = re.compile(rf"/({_KEYS})/", re.ASCII)
_LINED = re.compile(r"/(?:ORDP|BENM)/([A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}|[0-9]{10,20})\s*", re.ASCII)
_OF_A_FILE = frozenset({"TRTP", "PREF", "NRTX", "PIND"})
"""What is said of a file of payments booked in one sum: its kind, reference, number, and whether costs are apart."""
_MONEY_CODES = re.compile(r"/(?:OCMT|CHGS)/[A-Z]{3}[0-9]+,[0-9]*/?", re.ASCII)
_KEY_SET = frozenset(_KEYS.split("|"))
_KEY_FIRST = re.compile(r"/[A-Z]{4}/", re.ASCII)
_KEY_BEGUN = re.compile(r"/([A-Z]{0,3}) ?$", re.ASCII)
_KEY_GOING_ON = re.compile(r"([A-Z]{1,4})/", re.ASCII)
_LABELS = re.compile(
    r"(?:^|\s|/)(IBAN|BIC|NAAM|OMSCHRIJVING|KENMERK|REK|MACHTIGING|INCASSANT|BETALINGSKENM\.?|ID DEBITEUR|NAME|NOM|REMITTANCE) ?: ?",
    re.ASCII,
)
_OLD_ACCOUNT = re.compile(r"(?:GIRO +(?=[0-9]+ )|(?=[0-9]{2}(?:\.[0-9]{2}){2}\.[0-9]{3} ))([0-9.]{1,12}) ", re.ASCII)
"""ABN AMRO before 2014: the other's number of the Postbank or of a bank, and what he is called (so zilverline/mt940 reads it)."""
_GAP = re.compile(" {2,}")
"""What stands between two columns, unless the first is full."""
_OLD_ING, _OLD_ING_TYPE = re.compile(r"([0-9]{9,10}) ", re.ASCII), re.compile(r"N[A-Z]{2}", re.ASCII)
"""The same of ING (so sandermarechal/jejik-mt940 reads it), whose types of then have three letters."""
_DUTCH = re.compile(r"(?:ISSUER: ?CUR +REF: ?|/?(?:CDTRREFTP//CD/SCOR/)?ISSR/CUR/CDTRREF/)([0-9 ]{7,20})$", re.ASCII)
"""A Dutch betalingskenmerk (issuer CUR, Currence) as ABN AMRO and Rabobank write it in a text."""
_IBAN_BIC_NAME = re.compile(rf"(?:^|\s)({IBAN.pattern.replace('(', '(?:', 1)}) {BIC.pattern} ((?:[^0-9\s]+ )*)\S*[0-9]", re.ASCII)
"""ING before 2014: the other's IBAN, BIC and name, and behind it a number, whatever it is."""
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOT PROVIDED", "NONREF"})
_FEE_TYPES = frozenset({"NCHG", "NCOM", "FCHG", "FCOM"})
_RETURN_TYPES = frozenset({"NRTI", "FRTI"})
"""SWIFT transaction types: charges, commission, returned item."""
_RETURN_WORDS = re.compile(
    r"R(?:UE|\u00dc)CKLASTSCHRIFT|R(?:UE|\u00dc)CKBUCHUNG|TERUGBOEKING|STORNO ?INCASSO|RETOURE|"
    r"RETURNED (?:ITEM|DIRECT DEBIT)|PAYMENT +RETURN\b|REJET DE PRELEVEMENT",
    re.IGNORECASE,
)


def describe(one: Transaction, notes: Sequence[str], supplement: Sequence[str], own: str = "", *, dutch: bool = False) -> bool:
    """Fills in what the notes say, and kind and return reason. Returns whether it stands for several: a batch without its details.

    `own`: the account the statement is of. `dutch`: a number of ten digits in the supplement is an account.
    """
    text = "".join(notes)
    business, several = None, False
    if coded := german.begins(text):
        business = german.describe(one, text, coded, own)
        several = business in german.BATCHES
    elif len(notes) > 1 and (account := _LINED.fullmatch(notes[0])) and notes[1].startswith("/"):
        _lined(one, account[1], notes[1:])
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
    back = one.return_reason is not None or business in german.RETURNS or code[:4] in _RETURN_TYPES
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
        one.kind = "fee" if business in german.FEES or code[:4] in _FEE_TYPES else "other"


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


def _money(one: Transaction, lines: Sequence[str]) -> None:
    """/OCMT/EUR10,00/ and /CHGS/EUR1,00/: the instructed amount and charges (SWIFT, :61: subfield 9 and :86:)."""
    text = "".join(lines)
    for key, charge in (("OCMT", False), ("CHGS", True)):
        at = text.find(f"/{key}/")
        if at >= 0:
            state(one, text[at + len(key) + 2 : at + 40], charge=charge)
            one.remittance = [left for said in one.remittance if (left := " ".join(_MONEY_CODES.sub(" ", said).split()))]


def _lined(one: Transaction, account: str, lines: Sequence[str]) -> None:
    """The other's account, and in lines that begin with a slash the name, two references and the text."""
    parts: list[str] = []
    for line in lines:
        if line.startswith("/"):
            parts.append(line[1:])
        else:
            parts[-1] += line
    name, *more = parts
    one.counterparty_iban, one.counterparty_name = account, _clean(name)
    sides = [dict.fromkeys(side for side in part.rstrip("/").split("//") if side.strip("0 ") and side != "EMPTY") for part in more]
    one.remittance = [text for both in sides if (text := _clean(" ".join(both)))]


def _slashed(one: Transaction, text: str) -> bool:
    """The /KEY/value/ dialect; returns whether it says that it stands for several transactions (NRTX)."""
    pieces = _SLASHED.split(text)
    lines = [" ".join(pieces[0].split())]
    found: dict[str, str] = {}
    parties: dict[str, str] = {}
    ultimate = party = ""  # the code word of a party whose name is still to come: /ULTD//NAME/, /ORDP//NAME/
    for key, value in zip(pieces[1::2], pieces[2::2], strict=True):
        place = ultimate if key == "NAME" and ultimate else key
        if key in _SIDES or (key == "NAME" and party):
            parties[party or key] = _named(value) or ""
        ultimate, party = ("" if value.strip(" /") or key not in of else key for of in (_ULTIMATE, _SIDES))
        found[place] = f"{found[place]} {value}" if found.get(place) else value
    if "REMI" in found:
        lines.append(_remittance(one, found["REMI"]))
    elif found.keys() <= _OF_A_FILE:
        lines.append(_clean(found.get("TRTP")) or "")
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
    returned = _clean(found.get("RTRN") or found.get("RETN"))
    payers = one.credit != bool(returned)  # of a debit that is no return, the other is who is paid
    named = [key for key in (_SIDES if payers else _SIDES[::-1]) if parties.get(key)]
    if named and (len(named) > 1 or not one.counterparty_name):
        one.counterparty_name = parties[named[0]]
    one.counterparty_iban = "".join(account.split()).upper() or None
    if returned:
        one.return_reason = returned.split("/")[0].strip()
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


def _old_name(line: str) -> str:
    """What stands behind an old account in the first column of the first line, or in the second where that is all of the first."""
    behind = line.removeprefix("GIRO").lstrip().partition(" ")[2]
    column = behind[: COLUMN - len(line)] if line[COLUMN : COLUMN + 1] == " " else ""
    return _GAP.split((column.strip() or behind).strip())[0]


def _plain(one: Transaction, notes: Sequence[str], own: str) -> None:
    """Free text, perhaps with labels. Lines stay lines: they are words of their own more often than not."""
    joined = german.without_code(one, _columns(notes) or join(notes), own)
    if polish.labelled(one, joined):
        return
    joined = " ".join(joined.split())
    ing = _OLD_ING.match(joined) if _OLD_ING_TYPE.fullmatch(one.transaction_code or "") else None
    if old := ing or _OLD_ACCOUNT.match(joined):
        one.counterparty_iban, joined = old[1].replace(".", ""), joined[old.end() :]
        if ing is None and (name := _old_name(notes[0])):
            one.counterparty_name, joined = name, joined.removeprefix(name).strip()
    one.remittance = [joined] if joined else []
    head, *parts = _LABELS.split(joined)
    labelled = dict(zip(parts[::2], parts[1::2], strict=True))
    account = "".join((labelled.get("IBAN") or labelled.get("REK") or "").split()[:1]).split("/")[0].upper()
    if is_iban(account):
        one.counterparty_iban = account
    one.counterparty_name = one.counterparty_name or _clean(labelled.get("NAAM") or labelled.get("NAME"))
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
