"""Entries of camt messages and the transactions in them: what `camt` does with each Ntry."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from matching.bankfiles import schemes
from matching.bankfiles.amounts import minor_of
from matching.bankfiles.camt_remittance import beside, remittance
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node
from matching.domain.statements import Amount, Entry, Statement, Transaction

_STATUS = {"BOOK": "booked", "PDNG": "pending", "FUTR": "pending", "INFO": "information"}
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF", "NOT PROVIDED", "NOT AVAILABLE"})
_RETURNED = frozenset({"UPDD", "PRDD", "RRTN", "RPCR", "ARET", "AREV", "CQRV", "UPCQ", "UPCT", "UDFT"})
_FEES = frozenset({"CHRG", "COMM", "FEES", "COME", "COMI", "COMT"})
"""Sub-families of the ISO 20022 bank transaction codes: what went back (cheques, card payments, drafts too), charges and commissions."""
_OWN, _ELSEWHERE = ("Amt", "AmtDtls/TxAmt/Amt"), ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/CntrValAmt/Amt", "AmtDtls/InstdAmt/Amt")
"""Where a detail's amount stands; elsewhere only where all of them make up the entry's."""
_ULTIMATE = {role: (f"RltdPties/Ultmt{role}/Nm", f"RltdPties/Ultmt{role}/Pty/Nm") for role in ("Dbtr", "Cdtr")}
_PARTIES = {
    role: (
        (
            f"RltdPties/{role}/Nm",
            f"RltdPties/{role}/Pty/Nm",
            f"RltdPties/{role}/Agt/FinInstnId/Nm",
            *_ULTIMATE[role],
        ),
        tuple(f"RltdPties/{role}Acct/Id/{kind}" for kind in ("IBAN", "Othr/Id", "PrtryAcct/Id")),
    )
    for role in ("Dbtr", "Cdtr")
}
"""Where a party's name stands, and its account: the first that is there."""
_CODES = ("BkTxCd/Domn/Cd", "BkTxCd/Domn/Fmly/Cd", "BkTxCd/Domn/Fmly/SubFmlyCd", "BkTxCd/Prtry/Cd")
_GIRO = "VCOM"
"""Sub-family "credit transfer with agreed commercial information": slips of a giro, which banks book by the day in one sum."""
_COLLECTIVE = "SAMMEL"
"""How German-speaking banks begin what they call a collective booking."""
_REFUND = "REFU"
"""ExternalPurpose1Code: "Transaction is the payment of a refund"."""


def read_entry(node: Node, details: list[Node], made: date | None, statement: Statement) -> Entry:
    """An entry; one that cannot be read says so in `problem` and adds nothing. `made`: the day the message was made."""
    try:
        return _readable_entry(node, details, made, statement)
    except BankFileError as error:
        return Entry(signed_minor=0, currency=statement.currency or "", status="booked", transactions=[], problem=str(error))


def _readable_entry(node: Node, details: list[Node], made: date | None, statement: Statement) -> Entry:
    signed, currency = signed_amount(node)
    statement.currency = statement.currency or currency
    stated = node.text("Sts/Cd") or node.text("Sts/Prtry") or node.text("Sts") or "BOOK"
    status = _STATUS.get(stated.upper(), "booked")
    stated_details = _stated_details(node)
    common = _Common(node, currency, status, made, statement.account)
    several = len(details) > 1 or (stated_details or 0) > 1 or (common.in_batch and not details and stated_details is None)
    entry = Entry(signed_minor=signed, currency=currency, status=status, transactions=[])
    entry.batch = (stated_details or 0) > 1 or len(details) > 1
    if not several:
        detail = details[0] if details else None
        one = common.transaction(detail, signed, single=True)
        entry.transactions = [one]
        if one.kind == "payment" and _sums_up(node, one):
            one.kind = "total"
            entry.remarks.append("a collective credit whose only detail names nobody: a total")
        if detail is not None and _detail_amount(detail, currency, credit=signed >= 0) not in {None, signed}:
            entry.remarks.append("its detail states another amount than the entry")
        return entry
    amounts = [_detail_amount(detail, currency, credit=signed >= 0) for detail in details]
    complete = bool(amounts) and None not in amounts and stated_details in {None, len(details)}
    if complete and sum(amount or 0 for amount in amounts) == signed:
        entry.transactions = [common.transaction(one, amount or 0, single=False) for one, amount in zip(details, amounts, strict=True)]
        return entry
    explained = _explained(node, details, amounts, currency, signed) if complete else None
    if explained is not None:
        entry.transactions = [common.transaction(one, amount or 0, single=False) for one, amount in zip(details, amounts, strict=True)]
        entry.transactions.append(common.fee(explained))
        entry.remarks.append("charges taken off the sum of its details are a transaction of their own")
        return entry
    other = _other_amounts(details, currency, credit=signed >= 0) if details and stated_details in {None, len(details)} else None
    if other is not None and sum(other) == signed:
        entry.transactions = [common.transaction(one, amount, single=False) for one, amount in zip(details, other, strict=True)]
        return entry
    if complete:
        entry.problem = "its details do not sum to its amount"
    total = common.transaction(details[0] if len(details) == 1 else None, signed, single=True)
    if total.kind == "payment":
        total.kind = "total"
    if len(details) > 1:
        total.references = [one for detail in details for one in remittance(detail)[0]]
    entry.transactions = [total]
    if stated_details not in {None, len(details)}:
        entry.remarks.append(f"a batch of {stated_details} with {len(details)} details: a total")
    return entry


def _sums_up(entry: Node, one: Transaction) -> bool:
    """Whether a credit stands for several that a notification tells of, though nothing counts them.

    So Swiss banks book giro slips (PostFinance, camt.053): one detail that repeats the entry's own reference and names nobody.
    """
    said = entry.text("AddtlNtryInf") or ""
    collective = said.upper().startswith(_COLLECTIVE) if said else False
    if not (collective or (one.transaction_code and _GIRO in one.transaction_code.split("-"))):
        return False
    named = one.counterparty_name or one.counterparty_iban or one.end_to_end_id or one.transaction_id or one.references
    return not named and one.bank_reference == one.entry_reference and one.remittance in ([], [" ".join(said.split())])


def _stated_details(entry: Node) -> int | None:
    """How many transactions the bank says the entry stands for, over all of its batches; None where it does not say."""
    if "NtryDtls/Btch/NbOfTxs" not in entry.values:
        return None
    stated = [count(batch, "NbOfTxs") for batch in entry.all("NtryDtls/Btch")]
    known = [one for one in stated if one is not None]
    return sum(known) if known else None


def _other_amounts(details: list[Node], currency: str, *, credit: bool) -> list[int] | None:
    """The details' amounts where they stand elsewhere only (counter value, instructed amount); None where one has none."""
    found = [_detail_amount(detail, currency, credit=credit, paths=_ELSEWHERE) for detail in details]
    return [one for one in found if one is not None] if None not in found else None


def _explained(entry: Node, details: list[Node], amounts: list[int | None], currency: str, signed: int) -> int | None:
    """The charges that are all the difference between details and entry (a card acquirer's), negative; None where they are not."""
    missing = signed - sum(amount or 0 for amount in amounts)
    for charges in (_charges(entry), [charge for detail in details for charge in _charges(detail)]):
        if missing < 0 and all(one.currency == currency for one in charges) and sum(one.minor for one in charges) == -missing:
            return missing
    return None


class _Common:
    """What the transactions of one entry share."""

    def __init__(self, entry: Node, currency: str, status: str, made: date | None, account: str) -> None:
        self.entry, self.currency, self.status, self.account = entry, currency, status, account
        self.value = day_at(entry, "ValDt/Dt", "ValDt/DtTm")
        self.booking = day_at(entry, "BookgDt/Dt", "BookgDt/DtTm")
        day = self.booking or self.value or made
        if day is None:
            raise BankFileError(f"{entry.place()}: neither a booking nor a value date")
        self.day = day
        self.reversal = entry.text("RvslInd") in {"true", "1"}
        self.batch_id = _given(entry.text("NtryDtls/Btch/PmtInfId")) or _given(entry.text("NtryDtls/Btch/MsgId"))
        self.in_batch = "NtryDtls/Btch" in entry.values
        self.reference = _given(entry.text("AcctSvcrRef")) or _given(entry.text("NtryRef") if self.in_batch else None)
        self.entry_reference = self.reference or self.batch_id
        """What a total and its details have in common: the bank's reference, else the batch's (PmtInfId, MsgId)."""

    def transaction(self, detail: Node | None, signed: int, *, single: bool) -> Transaction:
        """The transaction of a detail; of the entry itself where there is none. `single`: it is all of the entry."""
        found = Transaction(
            kind="",
            credit=signed > 0 or (not signed and self.entry.text("CdtDbtInd") != "DBIT"),
            amount_minor=abs(signed),
            currency=self.currency,
            day=self.day,
            booking_date=self.booking,
            value_date=self.value,
            status=self.status,
            reversal=self.reversal,
            bank_reference=self.reference if single else None,
            entry_reference=self.entry_reference,
            batch_id=self.batch_id,
            transaction_code=(_code(detail) if detail is not None else None) or _code(self.entry),
            instructed=(_amount_at(detail, "AmtDtls/InstdAmt/Amt") if detail is not None else None)
            or (_amount_at(self.entry, "AmtDtls/InstdAmt/Amt") if single else None),
            charges=_charges(detail) if detail is not None else [],
        )
        found.charges = found.charges or (_charges(self.entry) if single else [])
        reason = _reason(detail) if detail is not None else None
        went_back = found.reversal or reason is not None or _sub_family(found.transaction_code or "") in _RETURNED
        if detail is not None:
            self._describe(found, detail, went_back=went_back)
        if not found.remittance and not found.references:
            more = (detail.text("AddtlTxInf") if detail is not None else None) or self.entry.text("AddtlNtryInf")
            found.remittance = [" ".join(more.split())] if more else []
        if detail is not None:
            found.remittance += [text for text in beside(detail) if text not in found.remittance]
        purpose = detail.text("Purp/Cd") if detail is not None else None
        _classify(found, reason, purpose)
        return found

    def fee(self, signed: int) -> Transaction:
        """What the bank took off a batch for itself."""
        return Transaction(
            kind="fee",
            credit=False,
            amount_minor=-signed,
            currency=self.currency,
            day=self.day,
            booking_date=self.booking,
            value_date=self.value,
            status=self.status,
            entry_reference=self.entry_reference,
            batch_id=self.batch_id,
            transaction_code=_code(self.entry),
        )

    def _describe(self, found: Transaction, detail: Node, *, went_back: bool) -> None:
        get = detail.values.get
        found.bank_reference = _given(get("Refs/AcctSvcrRef")) or found.bank_reference
        found.end_to_end_id = _given(get("Refs/EndToEndId"))
        found.transaction_id = _given(get("Refs/TxId")) or _given(get("Refs/UETR"))
        found.mandate_id = _given(get("Refs/MndtId"))
        found.batch_id = found.batch_id or _given(get("Refs/PmtInfId"))
        debtor, creditor = _party(detail, "Dbtr"), _party(detail, "Cdtr")
        first, second = (debtor, creditor) if found.credit != went_back else (creditor, debtor)
        ours = self.account
        if (first[1] and first[1] == ours) or (not any(first) and second[1] != ours):
            first = second
        found.counterparty_name, found.counterparty_iban = first
        found.ultimate_name = _first(detail.values, _ULTIMATE["Dbtr" if first is debtor else "Cdtr"])
        if found.credit and not went_back and creditor[1] and creditor[1] != ours:  # whether it is ours, our books know
            found.virtual_iban = creditor[1]
        found.references, found.remittance = remittance(detail, found.amount_minor, found.currency)


def _classify(found: Transaction, reason: str | None, purpose: str | None) -> None:
    """Sets kind and return reason."""
    family = _sub_family(found.transaction_code) if found.transaction_code else ""
    went_back = reason is not None or family in _RETURNED
    found.return_reason = reason
    if not found.amount_minor:
        found.kind = "other"
    elif found.credit:
        found.kind = "other" if went_back or found.reversal else "payment"  # else money of ours that came back
    elif went_back or found.reversal:
        found.kind = "return"
    elif family in _FEES:
        found.kind = "fee"
    else:
        found.kind = "refund" if purpose == _REFUND else "other"


@lru_cache(maxsize=1_024)
def _sub_family(code: str) -> str:
    return "".join(code.split("-")[2:3])


def _reason(detail: Node) -> str | None:
    """The ISO reason, or the bank's own, of a return, else the ISO code in what it adds; None where the transaction is none."""
    if "RtrInf" not in detail.values:
        return None
    said = schemes.RETURN_REASON.search(" ".join(detail.texts("RtrInf/AddtlInf"))) or ["", "unknown"]
    return detail.text("RtrInf/Rsn/Cd") or detail.text("RtrInf/Rsn/Prtry") or detail.text("RtrInf/Rsn") or said[1]


def _party(detail: Node, role: str) -> tuple[str | None, str | None]:
    """Name and account of who pays or is paid."""
    names, accounts = _PARTIES[role]
    return _first(detail.values, names), _iban(_first(detail.values, accounts))


def _first(values: Mapping[str, str], paths: tuple[str, ...]) -> str | None:
    for path in paths:
        if path in values and (text := values[path]):
            return text
    return None


def _code(element: Node) -> str | None:
    if "BkTxCd" not in element.values:
        return None
    get = element.values.get
    return _joined(*map(get, _CODES)) or None


@lru_cache(maxsize=1_024)
def _joined(*codes: str | None) -> str:
    return "-".join(filter(None, codes))


def _charges(element: Node) -> list[Amount]:
    """What the bank charges, record by record; the total that it states, where there are no records or they do not make it up (taxes).

    A credit among debits is given back, and below zero; where all are credits they are meant as charges (SIX's samples of camt.054).
    Source: ISO 20022, message definition report of camt.053, ChargesRecord/CreditDebitIndicator and TotalChargesAndTaxAmount.
    """
    parts = element.all("Chrgs")
    stated = [one for charges in parts if (one := _amount_at(charges, "TtlChrgsAndTaxAmt"))]
    records = [one for charges in parts for one in charges.all("Rcrd") or [charges]]
    found = [(one, record.text("CdtDbtInd") == "CRDT") for record in records if (one := _amount_at(record, "Amt"))]
    mixed = len({credited for _, credited in found}) > 1
    charged = [Amount(-one.minor, one.currency) if mixed and credited else one for one, credited in found]
    if found and len(stated) == 1 and all(one.currency == stated[0].currency for one in charged):
        plain = [one for one, _ in found]
        sums = {sum(one.minor for one in of): of for of in (plain, charged)}
        return sums.get(stated[0].minor, stated)
    return charged or stated


def _amount_at(element: Node, path: str) -> Amount | None:
    """An amount beside the transaction's own; None where there is none that can be read."""
    currency = element.text(path + "@")
    if currency is None:
        return None
    try:
        return Amount(_decimal(element.values[path], currency), currency)
    except BankFileError:
        return None


def _detail_amount(detail: Node, currency: str, *, credit: bool, paths: tuple[str, ...] = _OWN) -> int | None:
    """A detail's signed amount in the entry's currency; None where it has none."""
    for path in paths:
        if detail.text(path + "@") == currency:
            minor = _minor(detail, path, currency)
            indicator = detail.text("CdtDbtInd")
            return minor if (indicator == "CRDT" if indicator else credit) else -minor
    return None


def signed_amount(element: Node, missing: str | None = None) -> tuple[int, str]:
    """The amount of an entry or balance, negative where it is a debit, and its currency. Raises BankFileError."""
    if "Amt" not in element.values:
        raise BankFileError(f"{element.place()}: no amount")
    currency = element.values.get("Amt@", "")
    minor = _minor(element, "Amt", currency)
    indicator = element.text("CdtDbtInd") or missing
    if indicator not in {"CRDT", "DBIT"}:
        raise BankFileError(f"{element.place()}/CdtDbtInd: neither CRDT nor DBIT")
    return (minor if indicator == "CRDT" else -minor), currency


def _minor(element: Node, path: str, currency: str) -> int:
    try:
        return _decimal(element.values[path], currency)
    except BankFileError as error:
        raise BankFileError(f"{element.place()}/{path}: {error}") from None


@lru_cache(maxsize=4_096)
def _decimal(text: str, currency: str) -> int:
    """Minor units of an xs:decimal: a point, never a comma; a plus sign is allowed. Raises BankFileError."""
    if "," in text:
        raise BankFileError(f"{text[:30]!r} is no amount: XML has a decimal point")
    return minor_of(text.removeprefix("+"), currency)


@lru_cache(maxsize=1_024)
def _day(text: str) -> date:
    return date.fromisoformat(text)


def day_at(element: Node, *paths: str) -> date | None:
    for path in paths:
        text = element.text(path)
        if text:
            try:
                return _day(text[:10])
            except ValueError:
                raise BankFileError(f"{element.place()}/{path}: no ISO 8601 date") from None
    return None


def _given(reference: str | None) -> str | None:
    return None if not reference or reference.upper() in _NOT_GIVEN or not reference.strip("0") else reference


def _iban(text: str | None) -> str | None:
    return text.replace(" ", "").upper() if text else None


def count(element: Node, path: str) -> int | None:
    """A stated number; None where there is none."""
    text = element.text(path)
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 18 else None  # noqa: PLR2004 - schema: 15 digits
