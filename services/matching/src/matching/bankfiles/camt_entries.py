"""Entries of camt messages and the transactions in them: what `camt` does with each Ntry."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache

from matching.bankfiles import schemes
from matching.bankfiles.camt_amounts import ELSEWHERE, charges_of, detail_amount, instructed_amount, signed_amount
from matching.bankfiles.camt_remittance import beside, remittance
from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node
from matching.domain.statements import Entry, Statement, Transaction

_STATUS = {"BOOK": "booked", "PDNG": "pending", "FUTR": "pending", "INFO": "information"}
"""ISO 20022, ExternalEntryStatus1Code; of another one nothing says whether the money moved."""
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF", "NOT PROVIDED", "NOT AVAILABLE"})
_RETURNED = frozenset({"UPDD", "PRDD", "RRTN", "RPCR", "ARET", "AREV", "CQRV", "UPCQ", "UPCT", "UDFT"})
_FEES = frozenset({"CHRG", "COMM", "FEES", "COME", "COMI", "COMT"})
"""Sub-families of the ISO 20022 bank transaction codes: what went back (cheques, card payments, drafts too), charges and commissions."""
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
    status = _STATUS.get(stated.upper())
    if status is None:
        raise BankFileError(f"{node.place()}/Sts: {stated[:20]!r} is no status that is known")
    stated_details = _stated_details(node, len(details))
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
        if detail is not None and detail_amount(detail, currency, credit=signed >= 0) not in {None, signed}:
            entry.remarks.append("its detail states another amount than the entry")
        return entry
    amounts = [detail_amount(detail, currency, credit=signed >= 0) for detail in details]
    complete = bool(amounts) and None not in amounts and stated_details in {None, len(details)}
    if complete and sum(amount or 0 for amount in amounts) == signed:
        entry.transactions = common.each(details, amounts)
        return entry
    explained = _explained(node, details, amounts, currency, signed) if complete else None
    if explained is not None:
        entry.transactions = [*common.each(details, amounts), common.fee(explained)]
        entry.remarks.append("charges taken off the sum of its details are a transaction of their own")
        return entry
    other = _other_amounts(details, currency, credit=signed >= 0) if details and stated_details in {None, len(details)} else None
    if other is not None and sum(other) == signed:
        entry.transactions = common.each(details, other)
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


def _stated_details(entry: Node, details: int) -> int | None:
    """How many transactions the bank says the entry stands for, over all of its batches; None where it does not say.

    Where it says so of some batches only, the others are of one at least: they are more than the details, or nothing is said.
    """
    if "NtryDtls/Btch/NbOfTxs" not in entry.values:
        return None
    stated = [count(batch, "NbOfTxs") for batch in entry.all("NtryDtls/Btch")]
    known = [one for one in stated if one is not None]
    least = sum(known) + len(stated) - len(known)
    return least if known and (len(known) == len(stated) or least > details) else None


def _other_amounts(details: list[Node], currency: str, *, credit: bool) -> list[int] | None:
    """The details' amounts where they stand elsewhere only (counter value, instructed amount); None where one has none."""
    found = [detail_amount(detail, currency, credit=credit, paths=ELSEWHERE) for detail in details]
    return [one for one in found if one is not None] if None not in found else None


def _explained(entry: Node, details: list[Node], amounts: list[int | None], currency: str, signed: int) -> int | None:
    """The charges that are all the difference between details and entry (a card acquirer's), negative; None where they are not."""
    missing = signed - sum(amount or 0 for amount in amounts)
    for stated in (charges_of(entry), [charge for detail in details for charge in charges_of(detail)]):
        if missing < 0 and all(one.currency == currency for one in stated) and sum(one.minor for one in stated) == -missing:
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

    def each(self, details: list[Node], amounts: Sequence[int | None]) -> list[Transaction]:
        """The transaction of each detail, in its batch: where there are several, the numbers of their transactions say in which."""
        found = [self.transaction(one, amount or 0, single=False) for one, amount in zip(details, amounts, strict=True)]
        batches = self.entry.all("NtryDtls/Btch")
        if len(batches) > 1:
            numbers = [count(batch, "NbOfTxs") or 0 for batch in batches]
            names = [_given(batch.text("PmtInfId")) or _given(batch.text("MsgId")) for batch in batches]
            of = [name for name, number in zip(names, numbers, strict=True) for _ in range(number)]
            known = of if len(of) == len(found) else [None] * len(found)
            for one, detail, name in zip(found, details, known, strict=True):
                one.batch_id = name or _given(detail.text("Refs/PmtInfId"))
                one.entry_reference = self.reference or one.batch_id
        return found

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
            instructed=(instructed_amount(detail, self.currency) if detail is not None else None)
            or (instructed_amount(self.entry, self.currency) if single else None),
            charges=charges_of(detail) if detail is not None else [],
        )
        found.charges = found.charges or (charges_of(self.entry) if single else [])
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
