"""Reads camt.052, camt.053 and camt.054 (ISO 20022 bank-to-customer cash management), versions 01 to 13, by content.

Invariants: no DOCTYPE, no entities, no network, bounded size; amounts are read strictly, never rounded; a batch without
its details is a total, never a payment; nothing is guessed: what cannot be read is said with the place where it stands.
Source of the elements: the message definition reports of camt.053.001.02 to .13 (the names are the same over the versions;
.02 has Amt under AmtDtls/TxAmt, .04 and later beside Refs; parties moved under Pty with .08).
"""

from collections.abc import Sequence
from datetime import date

from lxml import etree
from shared.money import parse_amount

from matching.domain.references import normalised
from matching.domain.statements import Entry, Statement, Transaction

MAX_BYTES = 64 * 1024 * 1024
_KINDS = {
    name + version: found
    for name, found in {
        "BkToCstmrStmt": ("Stmt", "camt.053"),
        "BkToCstmrDbtCdtNtfctn": ("Ntfctn", "camt.054"),
        "BkToCstmrAcctRpt": ("Rpt", "camt.052"),
    }.items()
    for version in ("", "V01")  # version 01 has its number in the name
}
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOTAVAILABLE", "NONREF", "NOREF", "NOT PROVIDED"})


class CamtError(ValueError):
    """A file that is no readable camt message. The text says what and where."""


def parse(data: bytes) -> list[Statement]:
    """The statements, reports and notifications of a file. Raises CamtError."""
    root = _root(data)
    found = [
        _statement(element, kind)
        for container in root.iter(*_KINDS)
        for tag, kind in [_KINDS[str(container.tag)]]
        for element in container.findall(tag)
    ]
    if not found:
        raise CamtError("no camt.052, camt.053 or camt.054 message in the file")
    return found


def _root(data: bytes) -> etree._Element:
    if len(data) > MAX_BYTES:
        raise CamtError(f"the file is larger than {MAX_BYTES} bytes")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise CamtError("a bank file has no DOCTYPE")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise CamtError("the file is not well-formed XML" + (f" (line {line})" if line else "")) from None
    doctype: str | None = getattr(root.getroottree().docinfo, "doctype", None)
    if doctype:  # in an encoding that hides it from the look at the bytes
        raise CamtError("a bank file has no DOCTYPE")
    for element in root.iter():
        element.tag = etree.QName(element).localname
    return root


def _statement(element: etree._Element, kind: str) -> Statement:
    account = _text(element, "Acct/Id/IBAN") or _text(element, "Acct/Id/Othr/Id") or _text(element, "Acct/Id/PrtryAcct/Id") or ""
    currency = _text(element, "Acct/Ccy")
    balances: dict[str, list[tuple[int, date | None, str]]] = {}
    problem = None
    for balance in element.findall("Bal"):
        code = _text(balance, "Tp/CdOrPrtry/Cd") or _text(balance, "Tp/Cd") or ""
        try:
            # some banks leave out the sign of a balance; it is then positive, and the sum of the statement proves it
            signed, its_currency = _signed(balance, missing="CRDT")
            balances.setdefault(code, []).append((signed, _day(balance, "Dt"), its_currency))
        except CamtError as error:
            problem = problem or str(error)
    interim = balances.get("ITBD", [])
    opening = next(iter(balances.get("OPBD") or balances.get("PRCD") or interim), None)
    closing = next(iter(balances.get("CLBD") or interim[1:][-1:]), None)
    if currency is None and (stands := closing or opening):
        currency = stands[2]
    parent = element.getparent()
    made = _day(element, "", "CreDtTm") or (_day(parent, "GrpHdr", "CreDtTm") if parent is not None else None)
    entries = [_entry(entry, made) for entry in element.findall("Ntry")]
    if currency is None and entries:
        currency = entries[0].currency
    days = [entry.booking_date for entry in entries if entry.booking_date]
    last_day = (closing[1] if closing else None) or _day(element, "FrToDt", "ToDt", "ToDtTm") or (max(days) if days else None)
    first_day = _day(element, "FrToDt", "FrDt", "FrDtTm") or min([*days, *([last_day] if last_day else [])], default=None)
    if first_day and last_day and first_day > last_day:
        first_day = last_day
    stated = _text(element, "TxsSummry/TtlNtries/NbOfNtries")
    total = _text(element, "TxsSummry/TtlNtries/Sum")
    number = _text(element, "ElctrncSeqNb") or _text(element, "LglSeqNb")
    return Statement(
        kind=kind,
        identification=_text(element, "Id") or "",
        number=number or _text(element, "Id") or "",
        sequence=int(number) if number and number.isascii() and number.isdigit() and len(number) < 18 else None,  # noqa: PLR2004 - fits bigint
        account=account.replace(" ", "").upper(),
        currency=currency,
        first_day=first_day,
        last_day=last_day,
        opening_minor=opening[0] if opening else None,
        closing_minor=closing[0] if closing else None,
        entries=entries,
        stated_entries=int(stated) if stated and stated.isascii() and stated.isdigit() else None,
        stated_sum_minor=_stated_sum(element, total, currency),
        problem=problem,
    )


def _stated_sum(element: etree._Element, text: str | None, currency: str | None) -> int | None:
    """The stated sum where it can be read: banks pad this one with decimals that no amount has."""
    try:
        return _amount(element, text, currency) if text and currency else None
    except CamtError:
        return None


def _entry(element: etree._Element, made: date | None) -> Entry:
    """An entry; one that cannot be read says so in `problem` and adds nothing. `made`: the day the message was made."""
    try:
        return _readable_entry(element, made)
    except CamtError as error:
        return Entry(signed_minor=0, currency="", status="BOOK", booking_date=None, transactions=[], problem=str(error))


def _readable_entry(element: etree._Element, made: date | None) -> Entry:
    signed, currency = _signed(element)
    status = _text(element, "Sts/Cd") or _text(element, "Sts/Prtry") or _text(element, "Sts") or "BOOK"
    value = _day(element, "ValDt")
    booking = _day(element, "BookgDt") or value or made
    if booking is None:
        raise CamtError(f"{_place(element)}: neither a booking nor a value date")
    value = value or booking
    reversal = _text(element, "RvslInd") in {"true", "1"}
    reference = _given(_text(element, "AcctSvcrRef")) or _given(
        _text(element, "NtryRef") if element.find("NtryDtls/Btch") is not None else None
    )
    details = element.findall("NtryDtls/TxDtls")
    batch = element.find("NtryDtls/Btch")
    stated = _text(element, "NtryDtls/Btch/NbOfTxs")
    several = len(details) > 1 or (stated is not None and stated.isdigit() and int(stated) > max(1, len(details)))
    problem = None

    def make(detail: etree._Element | None, signed_minor: int, *, single: bool) -> Transaction:
        return _transaction(detail, signed_minor, currency, booking, value, reference=reference, single=single, reversal=reversal)

    if not several and not (batch is not None and not details and stated is None):
        transactions = [make(details[0] if details else None, signed, single=True)]
    else:
        amounts = [_detail_amount(detail, currency, credit=signed >= 0) for detail in details]
        complete = bool(amounts) and all(amount is not None for amount in amounts)
        if complete and sum(amount or 0 for amount in amounts) == signed:
            transactions = [make(detail, amount or 0, single=False) for detail, amount in zip(details, amounts, strict=True)]
        else:
            if complete and (stated is None or int(stated or 0) == len(details)):
                problem = "its details do not sum to its amount"
            total = make(None, signed, single=True)
            total.kind = "total" if total.credit and not reversal else "other"
            transactions = [total]
    return Entry(signed_minor=signed, currency=currency, status=status, booking_date=booking, transactions=transactions, problem=problem)


def _transaction(
    detail: etree._Element | None,
    signed_minor: int,
    currency: str,
    booking: date,
    value: date,
    *,
    reference: str | None,
    single: bool,
    reversal: bool,
) -> Transaction:
    credit = signed_minor >= 0
    found = Transaction(
        kind="payment" if credit and not reversal else "other",
        credit=credit,
        amount_minor=abs(signed_minor),
        currency=currency,
        booking_date=booking,
        value_date=value,
        bank_reference=reference if single else None,
        entry_reference=reference,
    )
    if not found.amount_minor:
        found.kind = "other"
    reason = None
    if detail is not None:
        own = _given(_text(detail, "Refs/AcctSvcrRef"))
        found.bank_reference = own or found.bank_reference
        found.end_to_end_id = _given(_text(detail, "Refs/EndToEndId"))
        found.transaction_id = _given(_text(detail, "Refs/TxId")) or _given(_text(detail, "Refs/UETR"))
        found.debtor_name = _text(detail, "RltdPties/Dbtr/Nm") or _text(detail, "RltdPties/Dbtr/Pty/Nm")
        found.debtor_iban = _iban(_text(detail, "RltdPties/DbtrAcct/Id/IBAN"))
        found.virtual_iban = _iban(_text(detail, "RltdPties/CdtrAcct/Id/IBAN"))
        found.remittance = [line.text.strip() for line in detail.findall("RmtInf/Ustrd") if line.text and line.text.strip()]
        references = [text for ref in detail.findall("RmtInf/Strd/CdtrRefInf/Ref") if (text := (ref.text or "").strip())]
        if references:
            found.structured_reference = normalised(references[0]) or None
            found.remittance += references[1:]
        found.remittance += [text for number in detail.findall("RmtInf/Strd/RfrdDocInf/Nb") if (text := (number.text or "").strip())]
        if detail.find("RtrInf") is not None:
            reason = _text(detail, "RtrInf/Rsn/Cd") or _text(detail, "RtrInf/Rsn/Prtry") or "unknown"
    if not credit and found.amount_minor and (reason or reversal):
        found.kind, found.return_reason = "return", (reason or "reversal")
    elif reason:
        found.kind = "other"  # money of ours that came back
    return found


def _detail_amount(detail: etree._Element, currency: str, *, credit: bool) -> int | None:
    """A detail's signed amount in the entry's currency; None where it has none."""
    for path in ("Amt", "AmtDtls/TxAmt/Amt"):
        amount = detail.find(path)
        if amount is not None and amount.get("Ccy") == currency:
            minor = _amount(amount, amount.text, currency)
            indicator = _text(detail, "CdtDbtInd")
            return minor if (indicator == "CRDT" if indicator else credit) else -minor
    return None


def _signed(element: etree._Element, missing: str | None = None) -> tuple[int, str]:
    amount = element.find("Amt")
    if amount is None:
        raise CamtError(f"{_place(element)}: no amount")
    currency = (amount.get("Ccy") or "").strip()
    minor = _amount(amount, amount.text, currency)
    indicator = _text(element, "CdtDbtInd") or missing
    if indicator not in {"CRDT", "DBIT"}:
        raise CamtError(f"{_place(element)}/CdtDbtInd: neither CRDT nor DBIT")
    return (minor if indicator == "CRDT" else -minor), currency


def _amount(element: etree._Element, text: str | None, currency: str) -> int:
    try:
        minor = parse_amount((text or "").strip(), currency)
    except ValueError as error:
        raise CamtError(f"{_place(element)}: {error}") from None
    return minor


def _day(element: etree._Element, path: str, *names: str) -> date | None:
    for name in names or ("Dt", "DtTm"):
        text = _text(element, f"{path}/{name}" if path else name) or (_text(element, f"{path}/Dt/{name}") if not names else None)
        if text:
            try:
                return date.fromisoformat(text[:10])
            except ValueError:
                raise CamtError(f"{_place(element)}/{path or name}: no ISO 8601 date") from None
    return None


def _text(element: etree._Element, path: str) -> str | None:
    text = element.findtext(path)
    return text.strip() or None if text else None


def _given(reference: str | None) -> str | None:
    return None if reference is None or reference.upper() in _NOT_GIVEN else reference


def _iban(text: str | None) -> str | None:
    return text.replace(" ", "").upper() if text else None


def _place(element: etree._Element) -> str:
    return element.getroottree().getpath(element)


def summary(statements: Sequence[Statement]) -> dict[str, object]:
    """Counts and sums of a file, as the command line prints them."""
    entries = [entry for statement in statements for entry in statement.entries]
    transactions = [transaction for entry in entries for transaction in entry.transactions]
    wrong = [verdict for statement in statements if (verdict := statement.verdict())]
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.currency] = sums.get(entry.currency, 0) + entry.signed_minor
    return {
        "statements": len(statements),
        "entries": len(entries),
        "transactions": len(transactions),
        "payments": sum(transaction.kind == "payment" for transaction in transactions),
        "returns": sum(transaction.kind == "return" for transaction in transactions),
        "totals": sum(transaction.kind == "total" for transaction in transactions),
        "sum_minor": sums,
        "rejected": [{"reason": code, "detail": detail} for code, detail in wrong],
    }
