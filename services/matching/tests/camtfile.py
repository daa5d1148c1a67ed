"""Small camt files for tests."""

from collections.abc import Sequence
from datetime import date


def entry(
    amount: str,
    *,
    day: str = "2026-03-02",
    ref: str | None = None,
    e2e: str | None = None,
    text: str = "",
    structured: str | Sequence[str | tuple[str, str]] | None = None,
    credit: bool = True,
    iban: str | None = None,
    name: str | None = None,
    cdtr: str | None = None,
    reason: str | None = None,
    status: str = "BOOK",
    reversal: bool = False,
) -> str:
    refs = "".join([f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else "", f"<EndToEndId>{e2e}</EndToEndId>" if e2e else ""])
    parties = "".join(
        [
            f"<Dbtr><Nm>{name}</Nm></Dbtr>" if name else "",
            f"<DbtrAcct><Id><IBAN>{iban}</IBAN></Id></DbtrAcct>" if iban else "",
            f"<CdtrAcct><Id><IBAN>{cdtr}</IBAN></Id></CdtrAcct>" if cdtr else "",
        ]
    )
    named = [structured] if isinstance(structured, str) else structured or ()
    strd = "".join(f"<Strd><CdtrRefInf><Ref>{one}</Ref></CdtrRefInf></Strd>" if isinstance(one, str) else document(*one) for one in named)
    rtr = f"<RtrInf><Rsn><Cd>{reason}</Cd></Rsn></RtrInf>" if reason else ""
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{"CRDT" if credit else "DBIT"}</CdtDbtInd>'
        f"{'<RvslInd>true</RvslInd>' if reversal else ''}<Sts>{status}</Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        + (f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else "")
        + f"<NtryDtls><TxDtls><Refs>{refs}</Refs><RltdPties>{parties}</RltdPties>"
        f"<RmtInf><Ustrd>{text}</Ustrd>{strd}</RmtInf>{rtr}</TxDtls></NtryDtls></Ntry>"
    )


def document(number: str, amount: str) -> str:
    """What is remitted for an invoice, or, below zero, taken off by a credit note."""
    kind, tag = ("CREN", "CdtNoteAmt") if amount.startswith("-") else ("CINV", "RmtdAmt")
    return (
        f"<Strd><RfrdDocInf><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Nb>{number}</Nb></RfrdDocInf>"
        f'<RfrdDocAmt><{tag} Ccy="EUR">{amount.lstrip("-")}</{tag}></RfrdDocAmt></Strd>'
    )


def statement(iban: str, opening: str, closing: str, *entries: str, day: str = "2026-03-02", number: int = 1, kind: str = "053") -> bytes:
    container, tag = {"053": ("BkToCstmrStmt", "Stmt"), "054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn")}[kind]

    def balance(code: str, amount: str) -> str:
        sign = "DBIT" if amount.startswith("-") else "CRDT"
        kind = f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        return f'{kind}<Amt Ccy="EUR">{amount.lstrip("-")}</Amt><CdtDbtInd>{sign}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>'

    balances = balance("OPBD", opening) + balance("CLBD", closing) if kind == "053" else ""
    assert date.fromisoformat(day)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.08"><{container}>'
        f"<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{day}T23:00:00</CreDtTm></GrpHdr><{tag}><Id>S{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>"
        f"<CreDtTm>{day}T23:00:00</CreDtTm><Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>{balances}{''.join(entries)}</{tag}></{container}></Document>"
    ).encode()


def camt056(e2e: str, amount: str, reason: str = "FRAD", case: str = "C1") -> bytes:
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.056.001.08"><FIToFIPmtCxlReq><Undrlyg><TxInf>'
        f'<CxlId>{case}</CxlId><OrgnlEndToEndId>{e2e}</OrgnlEndToEndId><OrgnlIntrBkSttlmAmt Ccy="EUR">{amount}</OrgnlIntrBkSttlmAmt>'
        f"<CxlRsnInf><Rsn><Cd>{reason}</Cd></Rsn></CxlRsnInf></TxInf></Undrlyg></FIToFIPmtCxlReq></Document>"
    ).encode()


def pain002(message: str, *told: tuple[str, str | None, str | None], group: tuple = (), block: tuple = (), version: str = "10") -> bytes:
    """A bank's report on a message: EndToEndId, status and reason of each transaction; `group` and `block`: theirs, as far as there are."""

    def said(name: str, status: str | None = None, reason: str | None = None) -> str:
        why = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if reason else ""
        return (f"<{name}>{status}</{name}>" if status else "") + why

    each = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{end}</OrgnlEndToEndId>{said('TxSts', *more)}<OrgnlTxRef><PmtMtd>TRF</PmtMtd></OrgnlTxRef>"
        "</TxInfAndSts>"
        for end, *more in told
    )
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.{version}"><CstmrPmtStsRpt><GrpHdr><MsgId>B1</MsgId>'
        f"<CreDtTm>2026-03-02T09:00:00</CreDtTm></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{message}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>{said('GrpSts', *group)}"
        f"</OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>{message}</OrgnlPmtInfId>{said('PmtInfSts', *block)}{each}"
        "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
    ).encode()
