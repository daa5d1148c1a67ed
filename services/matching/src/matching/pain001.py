"""Writes pain.001.001.09 (ISO 20022 customer credit transfer initiation, the version of the EPC's SCT rulebooks since 2023).

One payment information block per file, each transfer booked by itself (BtchBookg false), so that its EndToEndId comes back
on the statement and closes what it was for.

Euro from and to accounts with an IBAN of SEPA are a SEPA credit transfer, and stand in a file of their own: banks carry those out by other
ways than the rest. What is not one names no service level, and so leaves the charges to what is agreed with the bank: SLEV means the rules
of the service level (Nordea, "ChrgBr: ChargeBearer": SLEV with SEPA credit transfers only).

Names and texts are converted to the Latin characters that banks take (`matching.latin`), names as far as their 70 characters go. Ids are
not: they come back, and are of letters, digits and hyphens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from lxml import etree
from shared.money import format_amount

from matching.latin import latin

_UNION = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_OTHERS = "IS LI NO CH GB GI MC SM AD VA AL ME MD MK RS"
SEPA = frozenset(f"{_UNION} {_OTHERS}".split())
"""The countries of IBANs in the geographical scope of the SEPA schemes (EPC409-09), as the codes that IBANs have: FR for French overseas
territories of it, GB for Guernsey, Jersey and Man, GI for Gibraltar, which counts as part of the United Kingdom. 41 countries, as the ECB
counts them since 22 May 2025, when Serbia was added; Albania, Montenegro, Moldova and North Macedonia were before it.
"""
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One credit transfer. `end_to_end_id` has at most 35 characters, `remittance` is cut after 140."""

    end_to_end_id: str
    amount_minor: int
    creditor_name: str
    creditor_iban: str
    remittance: str


@dataclass(frozen=True, slots=True)
class Debtor:
    """Our own account that is debited."""

    name: str
    iban: str | None
    number: str
    """The bank's own number, for an account without an IBAN; else the IBAN."""
    bank_id: str | None
    """The bank of an account without an IBAN, `BIC:...` or its clearing system's code and its number in that, `USABA:...`."""
    currency: str

    @property
    def sepa(self) -> bool:
        """Whether what it pays to an IBAN of SEPA are SEPA credit transfers."""
        return self.iban is not None and self.iban[:2] in SEPA and self.currency == "EUR"


def together(debtor: Debtor, ibans: Sequence[str]) -> list[int]:
    """Which of the transfers to these IBANs are in one file with the first: all that are SEPA credit transfers, or all that are not."""
    kinds = [debtor.sepa and iban[:2] in SEPA for iban in ibans]
    return [at for at, kind in enumerate(kinds) if kind == kinds[0]]


def write(message_id: str, created: datetime, execution: date, debtor: Debtor, transfers: Sequence[Transfer]) -> bytes:
    """The file's bytes. Amounts are exact: minor units are written with the currency's decimals.

    All transfers are of one kind (`together`): raises ValueError for others.
    """
    if len(together(debtor, [one.creditor_iban for one in transfers])) < len(transfers):
        raise ValueError("SEPA credit transfers and others in one file")
    sepa = debtor.sepa and all(one.creditor_iban[:2] in SEPA for one in transfers)
    root = etree.Element(f"{{{NAMESPACE}}}Document", nsmap={None: NAMESPACE})  # type: ignore[dict-item] # the default namespace has no prefix
    initiation = _add(root, "CstmrCdtTrfInitn")
    total = format_amount(sum(one.amount_minor for one in transfers), debtor.currency)
    header = _add(initiation, "GrpHdr")
    _add(header, "MsgId", message_id)
    _add(header, "CreDtTm", created.strftime("%Y-%m-%dT%H:%M:%SZ"))
    _add(header, "NbOfTxs", str(len(transfers)))
    _add(header, "CtrlSum", total)
    _add(_add(header, "InitgPty"), "Nm", _name(debtor.name))
    block = _add(initiation, "PmtInf")
    _add(block, "PmtInfId", message_id)
    _add(block, "PmtMtd", "TRF")
    _add(block, "BtchBookg", "false")
    _add(block, "NbOfTxs", str(len(transfers)))
    _add(block, "CtrlSum", total)
    if sepa:
        _add(_add(_add(block, "PmtTpInf"), "SvcLvl"), "Cd", "SEPA")
    _add(_add(block, "ReqdExctnDt"), "Dt", execution.isoformat())
    _add(_add(block, "Dbtr"), "Nm", _name(debtor.name))
    account = _add(block, "DbtrAcct")
    if debtor.iban is not None:
        _add(_add(account, "Id"), "IBAN", debtor.iban)
    else:
        _add(_add(_add(account, "Id"), "Othr"), "Id", debtor.number)
    _add(account, "Ccy", debtor.currency)
    _name_bank(_add(_add(block, "DbtrAgt"), "FinInstnId"), debtor.bank_id)
    if sepa:
        _add(block, "ChrgBr", "SLEV")
    for one in transfers:
        transfer = _add(block, "CdtTrfTxInf")
        _add(_add(transfer, "PmtId"), "EndToEndId", one.end_to_end_id)
        _add(_add(transfer, "Amt"), "InstdAmt", format_amount(one.amount_minor, debtor.currency)).set("Ccy", debtor.currency)
        _add(_add(transfer, "Cdtr"), "Nm", _name(one.creditor_name))
        _add(_add(_add(transfer, "CdtrAcct"), "Id"), "IBAN", one.creditor_iban)
        _add(_add(transfer, "RmtInf"), "Ustrd", latin(one.remittance)[:140])
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _name(name: str) -> str:
    return latin(name)[:70].rstrip()


def _name_bank(institution: etree._Element, bank_id: str | None) -> None:
    scheme, _, named = (bank_id or "").partition(":")
    if scheme == "BIC":
        _add(institution, "BICFI", named)
    elif scheme:
        member = _add(institution, "ClrSysMmbId")
        _add(_add(member, "ClrSysId"), "Cd", scheme)
        _add(member, "MmbId", named)
    else:  # the IBAN names it
        _add(_add(institution, "Othr"), "Id", "NOTPROVIDED")


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    element.text = text
    return element
