"""Reads camt.052, camt.053 and camt.054 (ISO 20022 bank-to-customer cash management), versions 01 to 13.

Invariants: no DOCTYPE, no entities, no network, bounded depth and text; one entry in memory at a time; amounts are read strictly,
never rounded; a batch without its details is a total, never a payment; nothing is guessed: what cannot be read is said with the place.
Source of the elements: the message definition reports of camt.053.001.02 to .13 (the names are the same over the versions;
.02 has Amt under AmtDtls/TxAmt, .04 and later beside Refs; parties moved under Pty with .08).
"""

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import BinaryIO

from lxml import etree

from matching.bankfiles import schemes
from matching.bankfiles.amounts import minor_of
from matching.bankfiles.errors import BankFileError
from matching.domain.statements import Amount, Entry, Item, Reference, Statement, Transaction

KINDS = {
    name + version: found
    for name, found in {
        "BkToCstmrStmt": ("Stmt", "camt.053"),
        "BkToCstmrDbtCdtNtfctn": ("Ntfctn", "camt.054"),
        "BkToCstmrAcctRpt": ("Rpt", "camt.052"),
    }.items()
    for version in ("", "V01")  # version 01 has its number in the name
}
_STATUS = {"BOOK": "booked", "PDNG": "pending", "FUTR": "pending", "INFO": "information"}
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF", "NOT PROVIDED", "NOT AVAILABLE"})
_RETURNED = frozenset({"UPDD", "PRDD", "RRTN", "RPCR", "ARET"})
_FEES = frozenset({"CHRG", "COMM", "FEES", "COME", "COMI", "COMT"})
"""Sub-families of the ISO 20022 bank transaction codes: what went back, and charges and commissions."""
_REFUND = "REFU"
"""ExternalPurpose1Code: "Transaction is the payment of a refund"."""
_TOP = ["{*}Stmt", "{*}Ntfctn", "{*}Rpt"]


def read(file: BinaryIO) -> Iterator[Item]:
    """The entries and statements of a file. Raises BankFileError where it is no well-formed message."""
    file.seek(0)
    events = etree.iterparse(
        file,
        events=("start", "end"),
        tag=[*_TOP, "{*}Ntry"],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        yield from _walk(events)
    except (etree.XMLSyntaxError, ValueError) as error:
        if isinstance(error, BankFileError):
            raise
        line = getattr(error, "lineno", None)
        raise BankFileError("the file is not well-formed XML" + (f" (line {line})" if line else "")) from None


def _walk(events: Iterator[tuple[str, etree._Element]]) -> Iterator[Item]:
    statement: Statement | None = None
    top: etree._Element | None = None
    made: date | None = None
    found = False
    for event, element in events:
        if event == "start" and getattr(element.getroottree().docinfo, "doctype", None):
            raise BankFileError("a bank file has no DOCTYPE")
        name = _local(element)
        if event == "start":
            if top is None and name != "Ntry":
                parent = element.getparent()
                if parent is not None and KINDS.get(_local(parent), ("", ""))[0] == name:
                    top, statement = element, Statement(kind=KINDS[_local(parent)][1])
            elif name == "Ntry" and top is not None and statement is not None and not statement.entries and element.getparent() is top:
                made = _header(top, statement)
        elif top is not None and statement is not None:
            if name == "Ntry" and element.getparent() is top:
                yield statement, statement.add(_entry(element, made, statement))
                _forget(element)
            elif element is top:
                made = _header(top, statement)
                _closing(top, statement)
                statement.settle_days()
                found = True
                yield statement, None
                top.clear()
                _forget(top)
                top = statement = None
    if not found:
        raise BankFileError("no camt.052, camt.053 or camt.054 statement in the file")


def _forget(element: etree._Element) -> None:
    """Frees what was read before the element; it itself may still be in use by the parser, so it is only emptied."""
    parent = element.getparent()
    element.clear()
    if parent is None:
        return
    before = element.getprevious()
    if before is not None and before.tag == element.tag:
        parent.remove(before)


def _header(top: etree._Element, statement: Statement) -> date | None:
    """Fills in what stands before the entries; returns the day the message was made."""
    statement.identification = _text(top, "Id") or ""
    number = _text(top, "ElctrncSeqNb") or _text(top, "LglSeqNb")
    statement.number = number or statement.identification
    statement.sequence = int(number) if number and number.isascii() and number.isdigit() and len(number) < 18 else None  # noqa: PLR2004 - fits bigint
    account = (
        _text(top, "Acct/Id/IBAN") or _text(top, "Acct/Id/Othr/Id") or _text(top, "Acct/Id/PrtryAcct/Id") or _text(top, "Acct/Id/BBAN")
    )
    statement.account = (account or "").replace(" ", "").upper()
    statement.currency = _text(top, "Acct/Ccy") or statement.currency
    balances = _balances(top, statement)
    interim = balances.get("ITBD", [])
    opening = next(iter(balances.get("OPBD") or balances.get("PRCD") or interim), None)
    closing = next(iter((balances.get("CLBD") or [])[-1:] or interim[1:][-1:]), None)
    statement.opening_minor, statement.closing_minor = opening[0] if opening else None, closing[0] if closing else None
    stands = closing or opening
    if statement.currency is None and stands:
        statement.currency = stands[2]
    parent = top.getparent()
    made = _day(top, "CreDtTm") or (_day(parent, "GrpHdr/CreDtTm") if parent is not None else None)
    statement.last_day = (closing[1] if closing else None) or _day(top, "FrToDt/ToDtTm", "FrToDt/ToDt")
    statement.first_day = _day(top, "FrToDt/FrDtTm", "FrToDt/FrDt")
    return made


def _balances(top: etree._Element, statement: Statement) -> dict[str, list[tuple[int, date | None, str]]]:
    balances: dict[str, list[tuple[int, date | None, str]]] = {}
    for balance in top.iterfind(_path(_namespace(top), "Bal")):
        code = _text(balance, "Tp/CdOrPrtry/Cd") or _text(balance, "Tp/Cd") or ""
        try:
            # some banks leave out the sign of a balance; it is then positive, and the sum of the statement proves it
            signed, currency = _signed(balance, missing="CRDT")
            balances.setdefault(code, []).append((signed, _day(balance, "Dt/Dt", "Dt/DtTm", "Dt"), currency))
        except BankFileError as error:
            if code in {"OPBD", "PRCD", "CLBD", "ITBD"}:
                statement.problem = statement.problem or str(error)
    return balances


def _closing(top: etree._Element, statement: Statement) -> None:
    """What can only be compared when the last entry is in."""
    summary = "TxsSummry/TtlNtries"
    statement.stated_entries = _count(top, f"{summary}/NbOfNtries")
    if statement.currency:
        statement.stated_sum_minor = _stated_sum(top, f"{summary}/Sum", statement.currency)
        for side, path in (("stated_credit", "TxsSummry/TtlCdtNtries"), ("stated_debit", "TxsSummry/TtlDbtNtries")):
            setattr(statement, side, (_count(top, f"{path}/NbOfNtries"), _stated_sum(top, f"{path}/Sum", statement.currency)))


def _count(element: etree._Element, path: str) -> int | None:
    text = _text(element, path)
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else None  # noqa: PLR2004 - schema: 15 digits


def _stated_sum(element: etree._Element, path: str, currency: str) -> int | None:
    """The stated sum where it can be read: banks pad this one with decimals that no amount has."""
    text = _text(element, path)
    try:
        return minor_of(text, currency) if text else None
    except BankFileError:
        return None


def _entry(element: etree._Element, made: date | None, statement: Statement) -> Entry:
    """An entry; one that cannot be read says so in `problem` and adds nothing. `made`: the day the message was made."""
    try:
        return _readable_entry(element, made, statement)
    except BankFileError as error:
        return Entry(signed_minor=0, currency=statement.currency or "", status="booked", transactions=[], problem=str(error))


def _readable_entry(element: etree._Element, made: date | None, statement: Statement) -> Entry:
    signed, currency = _signed(element)
    statement.currency = statement.currency or currency
    stated = _text(element, "Sts/Cd") or _text(element, "Sts/Prtry") or _text(element, "Sts") or "BOOK"
    status = _STATUS.get(stated.upper(), "booked")
    details = element.findall(_path(_namespace(element), "NtryDtls/TxDtls"))
    batch = element.find(_path(_namespace(element), "NtryDtls/Btch"))
    stated_details = _count(element, "NtryDtls/Btch/NbOfTxs")
    common = _Common(element, currency, status, made, statement.account)
    several = len(details) > 1 or (stated_details or 0) > 1 or (batch is not None and not details and stated_details is None)
    entry = Entry(signed_minor=signed, currency=currency, status=status, transactions=[])
    entry.batch = (stated_details or 0) > 1 or len(details) > 1
    if not several:
        detail = details[0] if details else None
        entry.transactions = [common.transaction(detail, signed, single=True)]
        if detail is not None and _detail_amount(detail, currency, credit=signed >= 0) not in {None, signed}:
            entry.remarks.append("its detail states another amount than the entry")
        return entry
    amounts = [_detail_amount(detail, currency, credit=signed >= 0) for detail in details]
    complete = bool(amounts) and None not in amounts and stated_details in {None, len(details)}
    if complete and sum(amount or 0 for amount in amounts) == signed:
        entry.transactions = [common.transaction(one, amount or 0, single=False) for one, amount in zip(details, amounts, strict=True)]
        return entry
    if complete:
        entry.problem = "its details do not sum to its amount"
    total = common.transaction(details[0] if len(details) == 1 else None, signed, single=True)
    if total.kind == "payment":
        total.kind = "total"
    if len(details) > 1:
        total.references = [one for detail in details for one in _remittance(detail)[0]]
    entry.transactions = [total]
    if stated_details not in {None, len(details)}:
        entry.remarks.append(f"a batch of {stated_details} with {len(details)} details: a total")
    return entry


class _Common:
    """What the transactions of one entry share."""

    def __init__(self, entry: etree._Element, currency: str, status: str, made: date | None, account: str) -> None:
        self.entry, self.currency, self.status, self.account = entry, currency, status, account
        self.value = _day(entry, "ValDt/Dt", "ValDt/DtTm")
        self.booking = _day(entry, "BookgDt/Dt", "BookgDt/DtTm")
        day = self.booking or self.value or made
        if day is None:
            raise BankFileError(f"{_place(entry)}: neither a booking nor a value date")
        self.day = day
        self.reversal = _text(entry, "RvslInd") in {"true", "1"}
        self.batch_id = _text(entry, "NtryDtls/Btch/PmtInfId") or _text(entry, "NtryDtls/Btch/MsgId")
        in_batch = entry.find(_path(_namespace(entry), "NtryDtls/Btch")) is not None
        self.reference = _given(_text(entry, "AcctSvcrRef")) or _given(_text(entry, "NtryRef") if in_batch else None)

    def transaction(self, detail: etree._Element | None, signed: int, *, single: bool) -> Transaction:
        """The transaction of a detail; of the entry itself where there is none. `single`: it is all of the entry."""
        found = Transaction(
            kind="",
            credit=signed >= 0,
            amount_minor=abs(signed),
            currency=self.currency,
            day=self.day,
            booking_date=self.booking,
            value_date=self.value,
            status=self.status,
            reversal=self.reversal,
            bank_reference=self.reference if single else None,
            entry_reference=self.reference,
            batch_id=self.batch_id,
            transaction_code=(_code(detail) if detail is not None else None) or _code(self.entry),
            instructed=(_amount_at(detail, "AmtDtls/InstdAmt/Amt") if detail is not None else None)
            or (_amount_at(self.entry, "AmtDtls/InstdAmt/Amt") if single else None),
            charges=_charges(detail) if detail is not None else [],
        )
        found.charges = found.charges or (_charges(self.entry) if single else [])
        if detail is not None:
            self._describe(found, detail)
        if not found.remittance and not found.references:
            more = (_text(detail, "AddtlTxInf") if detail is not None else None) or _text(self.entry, "AddtlNtryInf")
            found.remittance = [more] if more else []
        reason = _reason(detail) if detail is not None else None
        purpose = _text(detail, "Purp/Cd") if detail is not None else None
        _classify(found, reason, purpose)
        return found

    def _describe(self, found: Transaction, detail: etree._Element) -> None:
        found.bank_reference = _given(_text(detail, "Refs/AcctSvcrRef")) or found.bank_reference
        found.end_to_end_id = _given(_text(detail, "Refs/EndToEndId"))
        found.transaction_id = _given(_text(detail, "Refs/TxId")) or _given(_text(detail, "Refs/UETR"))
        found.mandate_id = _given(_text(detail, "Refs/MndtId"))
        found.batch_id = found.batch_id or _text(detail, "Refs/PmtInfId")
        debtor, creditor = _party(detail, "Dbtr"), _party(detail, "Cdtr")
        back = found.reversal or _reason(detail) is not None
        first, second = (debtor, creditor) if found.credit != back else (creditor, debtor)
        ours = self.account
        if (first[1] and first[1] == ours) or (not any(first) and second[1] != ours):
            first = second
        found.counterparty_name, found.counterparty_iban = first
        if found.credit and creditor[1] and creditor[1] != ours and creditor != first:
            found.virtual_iban = creditor[1]
        found.references, found.remittance = _remittance(detail)


def _classify(found: Transaction, reason: str | None, purpose: str | None) -> None:
    """Sets kind and return reason."""
    family = (found.transaction_code or "").split("-")[2:3]
    went_back = reason is not None or bool(_RETURNED.intersection(family))
    found.return_reason = reason
    if not found.amount_minor:
        found.kind = "other"
    elif found.credit:
        found.kind = "other" if went_back or found.reversal else "payment"  # else money of ours that came back
    elif went_back or found.reversal:
        found.kind = "return"
    elif _FEES.intersection(family):
        found.kind = "fee"
    else:
        found.kind = "refund" if purpose == _REFUND else "other"


def _reason(detail: etree._Element) -> str | None:
    """The ISO reason, or the bank's own, of a return; None where the transaction is none."""
    if detail.find(_path(_namespace(detail), "RtrInf")) is None:
        return None
    return _text(detail, "RtrInf/Rsn/Cd") or _text(detail, "RtrInf/Rsn/Prtry") or _text(detail, "RtrInf/Rsn") or "unknown"


def _remittance(detail: etree._Element) -> tuple[list[Reference], list[str]]:
    """Structured references and free lines. A document number in a structured field counts as a line."""
    references: list[Reference] = []
    lines = [text for line in _all(detail, "RmtInf/Ustrd") if (text := " ".join((line.text or "").split()))]
    for part in _all(detail, "RmtInf/Strd"):
        for found in _all(part, "CdtrRefInf"):
            kind = _text(found, "Tp/CdOrPrtry/Cd") or _text(found, "Tp/CdOrPrtry/Prtry") or ""
            known = schemes.reference(_text(found, "Ref"), kind, _text(found, "Tp/Issr") or "")
            if known:
                references.append(known)
        lines += [text for number in _all(part, "RfrdDocInf/Nb") if (text := (number.text or "").strip())]
        lines += [text for more in _all(part, "AddtlRmtInf") if (text := " ".join((more.text or "").split()))]
    if not references and (belgian := schemes.ogm_in(" ".join(lines))):
        references.append(belgian)
    return references, lines


def _party(detail: etree._Element, role: str) -> tuple[str | None, str | None]:
    at = f"RltdPties/{role}"
    name = _text(detail, f"{at}/Nm") or _text(detail, f"{at}/Pty/Nm") or _text(detail, f"{at}/Agt/FinInstnId/Nm")
    account = _text(detail, f"{at}Acct/Id/IBAN") or _text(detail, f"{at}Acct/Id/Othr/Id") or _text(detail, f"{at}Acct/Id/PrtryAcct/Id")
    return name or _text(detail, f"RltdPties/Ultmt{role}/Nm") or _text(detail, f"RltdPties/Ultmt{role}/Pty/Nm"), _iban(account)


def _code(element: etree._Element) -> str | None:
    parts = ("Domn/Cd", "Domn/Fmly/Cd", "Domn/Fmly/SubFmlyCd", "Prtry/Cd")
    return "-".join(text for part in parts if (text := _text(element, f"BkTxCd/{part}"))) or None


def _charges(element: etree._Element) -> list[Amount]:
    found = []
    for charges in _all(element, "Chrgs"):
        single = [_amount_at(one, "Amt") for one in _all(charges, "Rcrd")] or [_amount_at(charges, "Amt")]
        known = [one for one in single if one] or [one for one in [_amount_at(charges, "TtlChrgsAndTaxAmt")] if one]
        found += known
    return found


def _amount_at(element: etree._Element, path: str) -> Amount | None:
    """An amount beside the transaction's own; None where there is none that can be read."""
    at = element.find(_path(_namespace(element), path))
    if at is None:
        return None
    try:
        return Amount(minor_of(_plain(at.text), currency), currency) if (currency := (at.get("Ccy") or "").strip()) else None
    except BankFileError:
        return None


def _detail_amount(detail: etree._Element, currency: str, *, credit: bool) -> int | None:
    """A detail's signed amount in the entry's currency; None where it has none."""
    for path in ("Amt", "AmtDtls/TxAmt/Amt"):
        amount = detail.find(_path(_namespace(detail), path))
        if amount is not None and amount.get("Ccy") == currency:
            minor = _minor(amount, currency)
            indicator = _text(detail, "CdtDbtInd")
            return minor if (indicator == "CRDT" if indicator else credit) else -minor
    return None


def _signed(element: etree._Element, missing: str | None = None) -> tuple[int, str]:
    amount = element.find(_path(_namespace(element), "Amt"))
    if amount is None:
        raise BankFileError(f"{_place(element)}: no amount")
    currency = (amount.get("Ccy") or "").strip()
    minor = _minor(amount, currency)
    indicator = _text(element, "CdtDbtInd") or missing
    if indicator not in {"CRDT", "DBIT"}:
        raise BankFileError(f"{_place(element)}/CdtDbtInd: neither CRDT nor DBIT")
    return (minor if indicator == "CRDT" else -minor), currency


def _minor(amount: etree._Element, currency: str) -> int:
    try:
        return minor_of(_plain(amount.text), currency)
    except BankFileError as error:
        raise BankFileError(f"{_place(amount)}: {error}") from None


def _plain(text: str | None) -> str:
    """An xs:decimal: a point, never a comma; a plus sign is allowed."""
    found = (text or "").strip().removeprefix("+")
    return "?" if "," in found else found


def _day(element: etree._Element, *paths: str) -> date | None:
    for path in paths:
        text = _text(element, path)
        if text:
            try:
                return date.fromisoformat(text[:10])
            except ValueError:
                raise BankFileError(f"{_place(element)}/{path}: no ISO 8601 date") from None
    return None


@lru_cache(maxsize=512)
def _path(namespace: str, path: str) -> str:
    return "/".join(namespace + name for name in path.split("/"))


def _namespace(element: etree._Element) -> str:
    tag = str(element.tag)
    return tag[: tag.index("}") + 1] if tag.startswith("{") else ""


def _local(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return element.findall(_path(_namespace(element), path))


def _text(element: etree._Element, path: str) -> str | None:
    text = element.findtext(_path(_namespace(element), path))
    return text.strip() or None if text else None


def _given(reference: str | None) -> str | None:
    return None if reference is None or reference.upper() in _NOT_GIVEN else reference


def _iban(text: str | None) -> str | None:
    return text.replace(" ", "").upper() if text else None


def _place(element: etree._Element) -> str:
    """Where an element stands, without its namespace."""
    names = []
    while (parent := element.getparent()) is not None:
        names.append(_local(element))
        element = parent
    return "/".join(reversed(names))
