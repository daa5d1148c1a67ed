"""camt.054.001.08 notifications and camt.053.001.08 statements as the simulated bank writes them.

Invariants: a statement's opening balance and its booked entries give its closing balance; a transaction carries the same
AcctSvcrRef in every message; several transactions of one entry have each their own details, and their sum is the entry.
Source: the ISO 20022 message definitions of 2019 (version 08).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from lxml import etree
from shared.money import format_amount, parse_amount

from sandbox.xmltree import Maker, to_bytes

_CAMT_053 = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
_CAMT_054 = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"
NOT_PROVIDED = "NOTPROVIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account a message is about."""

    iban: str
    currency: str
    holder: str
    bic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction of the account. A return (`return_reason` set) is a debit with EndToEndId and TxId of the returned transfer."""

    reference: str
    amount_minor: int
    booking_date: date
    value_date: date
    debtor_name: str
    debtor_iban: str
    credited_iban: str
    end_to_end_id: str | None = None
    structured_reference: str | None = None
    remittance: tuple[str, ...] = ()
    return_reason: str | None = None
    returned_reference: str | None = None

    @property
    def signed_minor(self) -> int:
        """The amount as it moves the balance."""
        return self.amount_minor if self.return_reason is None else -self.amount_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A booking: one transaction, or a batch of credits of one day (then `reference` is the batch's)."""

    reference: str
    transactions: tuple[Transaction, ...]

    @property
    def signed_minor(self) -> int:
        """The sum of its transactions."""
        return sum(transaction.signed_minor for transaction in self.transactions)


def notification(account: Account, *, message_id: str, created: datetime, entries: Sequence[Entry]) -> bytes:
    """camt.054: entries told of as they are booked, without balances. Raises ValueError without entries."""
    if not entries:
        raise ValueError("a notification has at least one entry")
    new = Maker(_CAMT_054, {None: _CAMT_054})
    body = new.Ntfctn(new.Id(message_id), new.CreDtTm(created.isoformat()), _account(new, account), *_entries(new, account, entries))
    return _document(new, "BkToCstmrDbtCdtNtfctn", message_id, created, body)


def statement(  # one function per message keeps the order of its elements in sight
    account: Account, *, number: int, day: date, created: datetime, opening_minor: int, entries: Sequence[Entry]
) -> bytes:
    """camt.053: all bookings of one day between its opening and closing balance; a day without bookings has no entries."""
    new = Maker(_CAMT_053, {None: _CAMT_053})
    message_id = f"STMT-{account.iban[-8:]}-{day:%Y%m%d}"
    closing = opening_minor + sum(entry.signed_minor for entry in entries)
    body = new.Stmt(
        new.Id(message_id),
        new.ElctrncSeqNb(str(number)),
        new.CreDtTm(created.isoformat()),
        new.FrToDt(new.FrDtTm(f"{day}T00:00:00"), new.ToDtTm(f"{day}T23:59:59")),
        _account(new, account),
        _balance(new, account, "OPBD", opening_minor, day),
        _balance(new, account, "CLBD", closing, day),
        _summary(new, account, entries),
        *_entries(new, account, entries),
    )
    return _document(new, "BkToCstmrStmt", message_id, created, body)


def with_wrong_balance(statement_xml: bytes) -> bytes:
    """The same statement with a closing balance that is one minor unit too high: it must be refused as a whole."""
    root = etree.fromstring(statement_xml)
    for balance in root.iter(f"{{{_CAMT_053}}}Bal"):
        if balance.findtext(f"{{{_CAMT_053}}}Tp/{{{_CAMT_053}}}CdOrPrtry/{{{_CAMT_053}}}Cd") == "CLBD":
            amount = balance.find(f"{{{_CAMT_053}}}Amt")
            if amount is not None and amount.text is not None:
                currency = str(amount.get("Ccy"))
                amount.text = format_amount(parse_amount(amount.text, currency) + 1, currency)
    return to_bytes(root)


def _document(new: Maker, message: str, message_id: str, created: datetime, body: etree._Element) -> bytes:
    header = new.GrpHdr(new.MsgId(message_id), new.CreDtTm(created.isoformat()))
    return to_bytes(new.Document(new(message, header, body)))


def _account(new: Maker, account: Account) -> etree._Element:
    return new.Acct(
        new.Id(new.IBAN(account.iban)),
        new.Ccy(account.currency),
        new.Ownr(new.Nm(account.holder)),
        new.Svcr(new.FinInstnId(new.BICFI(account.bic))),
    )


def _balance(new: Maker, account: Account, code: str, minor: int, day: date) -> etree._Element:
    return new.Bal(
        new.Tp(new.CdOrPrtry(new.Cd(code))), _amount(new, account, abs(minor)), _direction(new, minor), new.Dt(new.Dt(day.isoformat()))
    )


def _summary(new: Maker, account: Account, entries: Sequence[Entry]) -> etree._Element:
    net = sum(entry.signed_minor for entry in entries)

    def side(tag: str, signed: list[int]) -> etree._Element:
        return new(tag, new.NbOfNtries(str(len(signed))), new.Sum(format_amount(sum(map(abs, signed)), account.currency)))

    total = new.TtlNtries(
        new.NbOfNtries(str(len(entries))),
        new.Sum(format_amount(sum(abs(entry.signed_minor) for entry in entries), account.currency)),
        new.TtlNetNtry(new.Amt(format_amount(abs(net), account.currency)), _direction(new, net)),
    )
    credits_ = [entry.signed_minor for entry in entries if entry.signed_minor >= 0]
    return new.TxsSummry(
        total, side("TtlCdtNtries", credits_), side("TtlDbtNtries", [e.signed_minor for e in entries if e.signed_minor < 0])
    )


def _amount(new: Maker, account: Account, minor: int) -> etree._Element:
    return new.Amt(format_amount(minor, account.currency), {"Ccy": account.currency})


def _direction(new: Maker, signed: int) -> etree._Element:
    return new.CdtDbtInd("CRDT" if signed >= 0 else "DBIT")


def _entries(new: Maker, account: Account, entries: Sequence[Entry]) -> list[etree._Element]:
    return [_entry(new, account, entry) for entry in entries]


def _entry(new: Maker, account: Account, entry: Entry) -> etree._Element:
    first = entry.transactions[0]
    batch = []
    if len(entry.transactions) > 1:
        count = new.NbOfTxs(str(len(entry.transactions)))
        batch = [new.Btch(count, _total(new, account, entry.signed_minor), _direction(new, entry.signed_minor))]
    return new.Ntry(
        _amount(new, account, abs(entry.signed_minor)),
        _direction(new, entry.signed_minor),
        new.Sts(new.Cd("BOOK")),
        new.BookgDt(new.Dt(first.booking_date.isoformat())),
        new.ValDt(new.Dt(first.value_date.isoformat())),
        new.AcctSvcrRef(entry.reference),
        _code(new, first),
        new.NtryDtls(*batch, *(_details(new, account, transaction) for transaction in entry.transactions)),
    )


def _total(new: Maker, account: Account, signed: int) -> etree._Element:
    return new.TtlAmt(format_amount(abs(signed), account.currency), {"Ccy": account.currency})


def _code(new: Maker, transaction: Transaction) -> etree._Element:
    """Received credit transfer: SEPA, or its reversal because it went back."""
    sub_family = "ESCT" if transaction.return_reason is None else "RRTN"
    return new.BkTxCd(new.Domn(new.Cd("PMNT"), new.Fmly(new.Cd("RCDT"), new.SubFmlyCd(sub_family))))


def _details(new: Maker, account: Account, transaction: Transaction) -> etree._Element:
    end_to_end = transaction.end_to_end_id or NOT_PROVIDED
    # a return carries the identifications of what it returns, under a reference of its own
    transfer = transaction.returned_reference or transaction.reference
    refs = [new.AcctSvcrRef(transaction.reference), new.EndToEndId(end_to_end), new.TxId(transfer)]
    reason = [new.RtrInf(new.Rsn(new.Cd(transaction.return_reason)))] if transaction.return_reason else []
    return new.TxDtls(
        new.Refs(*refs),
        _amount(new, account, transaction.amount_minor),
        _direction(new, transaction.signed_minor),
        new.RltdPties(
            new.Dbtr(new.Pty(new.Nm(transaction.debtor_name))),
            new.DbtrAcct(new.Id(new.IBAN(transaction.debtor_iban))),
            new.Cdtr(new.Pty(new.Nm(account.holder))),
            new.CdtrAcct(new.Id(new.IBAN(transaction.credited_iban))),
        ),
        *_remittance(new, transaction),
        *reason,
    )


def _remittance(new: Maker, transaction: Transaction) -> list[etree._Element]:
    texts = [new.Ustrd(text) for text in transaction.remittance]
    if transaction.structured_reference:
        kind = new.Tp(new.CdOrPrtry(new.Cd("SCOR")), new.Issr("ISO"))
        texts.append(new.Strd(new.CdtrRefInf(kind, new.Ref(transaction.structured_reference))))
    return [new.RmtInf(*texts)] if texts else []
