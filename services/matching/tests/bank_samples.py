"""One day of an account, 2026-03-02: 1,000.00 in hand, 100.00 and 50.50 come in, a fee of 5.00 goes out, in every format that we read."""

import io

from matching.bankfiles import read

ACCOUNTS = {
    "camt": "BE71096123456769",
    "mt940": "BE71096123456769",
    "mt942": "BE71096123456769",
    "coda": "BE71096123456769",
    "cfonb120": "FR7630006000011234567890189",
    "bai2": "123456789",
    "ofx": "123456789",
    "aeb43": "ES9121000418450200051332",
}
"""The account of each file, as the reader names it."""


def camt(kind: str = "053") -> str:
    container, tag = {
        "053": ("BkToCstmrStmt", "Stmt"),
        "052": ("BkToCstmrAcctRpt", "Rpt"),
        "054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
    }[kind]

    def balance(code: str, amount: str) -> str:
        return (
            f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
            "<Dt><Dt>2026-03-02</Dt></Dt></Bal>"
        )

    def entry(amount: str, way: str, reference: str, end: str, text: str, code: str) -> str:
        return (
            f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
            f"<AcctSvcrRef>{reference}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>{code}</SubFmlyCd></Fmly></Domn>"
            f"</BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{end}</EndToEndId></Refs><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>"
            "</NtryDtls></Ntry>"
        )

    balances = balance("OPBD", "1000.00") + balance("CLBD", "1145.50") if kind == "053" else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.08"><{container}>'
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-03-02T20:00:00</CreDtTm></GrpHdr>"
        f"<{tag}><Id>61</Id><ElctrncSeqNb>61</ElctrncSeqNb><Acct><Id><IBAN>BE71096123456769</IBAN></Id><Ccy>EUR</Ccy></Acct>{balances}"
        + entry("100.00", "CRDT", "BANK-1", "E2E-1", "Facture F-1001", "ESCT")
        + entry("50.50", "CRDT", "BANK-2", "E2E-2", "Facture F-1002", "ESCT")
        + entry("5.00", "DBIT", "BANK-3", "NOTPROVIDED", "Frais", "CHRG")
        + f"</{tag}></{container}></Document>"
    )


def mt940() -> str:
    return (
        "{1:F01KREDBEBBAXXX0000000000}{2:I940KREDBEBBXXXXN}{4:\r\n:20:DAY61\r\n:25:BE71096123456769\r\n:28C:61/1\r\n"
        ":60F:C260301EUR1000,00\r\n:61:2603020302CR100,NTRFE2E-1//BANK-1\r\n:86:166?00GUTSCHRIFT?20EREF+E2E-1?21SVWZ+Facture F-1001"
        "?32MUELLER GMBH\r\n:61:2603020302CR50,5NTRFE2E-2//BANK-2\r\n:86:/EREF/E2E-2/ORDP//NAME/Dupont SA/REMI/Facture F-1002\r\n"
        ":61:2603020302DR5,NCHGNONREF//BANK-3\r\n:86:Frais\r\n:62F:C260302EUR1145,50\r\n-}\r\n"
    )


def mt942() -> str:
    head, _, rest = mt940().partition(":60F:C260301EUR1000,00\r\n")
    entries, _, _ = rest.partition(":62F:")
    head = head.replace("I940", "I942")
    return f"{head}:34F:EUR0,\r\n:13D:2603021200+0100\r\n{entries}:90D:1EUR5,\r\n:90C:2EUR150,5\r\n-}}\r\n"


def coda() -> str:
    def movement(number: int, sign: str, amount: int, code: str, end: str, text: str, reference: str) -> str:
        head = f"21{number:04d}0000{reference:<21}{sign}{amount:015d}020326{code}0{text:<53}02032606101 0"
        more = f"22{number:04d}0000{'':<53}{end:<35}{'':<11}{'':<3}{'':<1}{'':<4}{'':<8}1 0"
        party = f"23{number:04d}0000{'BE68539007547034':<34}EUR{'Dupont SA':<35}{'':<43}0 0"
        return "".join(f"{line:<128}\n" for line in (head, more, party))

    first = f"{'0000002032672505        00000001  VENDEUR SA                KREDBEBB   00403170701 00000':<127}2\n"
    opening = f"12061{'BE71096123456769':<34}EUR0{1_000_000:015d}010326{'VENDEUR SA':<26}{'':<35}061\n"
    closing = f"8061{'BE71096123456769':<34}EUR0{1_145_500:015d}020326{'':<64}0\n"
    last = f"9{'':<15}{14:06d}{5_000:015d}{150_500:015d}{'':<75}2\n"
    return (
        first
        + opening
        + movement(1, "0", 100_000, "00150000", "E2E-1", "Facture F-1001", "BANK-1")
        + movement(2, "0", 50_500, "00150000", "E2E-2", "Facture F-1002", "BANK-2")
        + movement(3, "1", 5_000, "00137000", "", "Frais", "BANK-3")
        + closing
        + last
    )


def cfonb120() -> str:
    account = "30006{op}00001EUR2 12345678901"

    def balance(kind: str, day: str, amount: str) -> str:
        return f"{kind}{account.format(op='    ')}  {day}{'':<50}{amount}{'':<16}\n"

    def movement(code: str, amount: str, label: str, reference: str) -> str:
        return f"04{account.format(op='0158')}{code}020326  020326{label:<31}  0000001  {amount}{reference:<16}\n"

    def more(code: str, qualifier: str, text: str) -> str:
        return f"05{account.format(op='0158')}{code}020326     {qualifier}{text:<70}  \n"

    return (
        balance("01", "010326", "0000000010000{")
        + movement("18", "0000000001000{", "VIR DUPONT SA", "BANK-1")
        + more("18", "NPY", "DUPONT SA")
        + more("18", "RCN", "E2E-1")
        + more("18", "LCC", "Facture F-1001")
        + movement("18", "0000000000505{", "VIR MARTIN", "BANK-2")
        + more("18", "RCN", "E2E-2")
        + more("18", "LCC", "Facture F-1002")
        + movement("62", "0000000000050}", "FRAIS", "BANK-3")
        + balance("07", "020326", "0000000011455{")
    )


def bai2() -> str:
    return (
        "01,121140399,VENDEUR,260302,2000,1,80,,2/\n02,VENDEUR,121140399,1,260302,,EUR,2/\n"
        "03,123456789,EUR,010,100000,,,015,114550,,/\n88,100,15050,2,,400,500,1,/\n"
        "16,142,10000,0,BANK-1,E2E-1,Facture F-1001/\n16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n16,698,500,0,BANK-3,,Frais/\n"
        "49,245650,7/\n98,245650,1,9/\n99,245650,1,11/\n"
    )


def ofx() -> str:
    def one(kind: str, amount: str, reference: str, memo: str) -> str:
        return f"<STMTTRN><TRNTYPE>{kind}<DTPOSTED>20260302<TRNAMT>{amount}<FITID>{reference}<NAME>Dupont<MEMO>{memo}</STMTTRN>\n"

    return (
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR\n"
        "<BANKACCTFROM><BANKID>1<ACCTID>123456789<ACCTTYPE>CHECKING</BANKACCTFROM>\n<BANKTRANLIST><DTSTART>20260302<DTEND>20260302\n"
        + one("CREDIT", "100.00", "BANK-1", "Facture F-1001")
        + one("CREDIT", "+50,50", "BANK-2", "Facture F-1002")
        + one("FEE", "-5.00", "BANK-3", "Frais")
        + "</BANKTRANLIST><LEDGERBAL><BALAMT>1145.50<DTASOF>20260302</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\n"
    )


def aeb43() -> str:
    def movement(way: str, amount: int, concept: str, end: str, reference: str, text: str) -> str:
        return f"22    0418260302260302{concept}000{way}{amount:014d}{0:010d}{end:<12}{reference:<16}\n2301{text:<76}\n"

    return (
        f"1121000418{'0200051332'}2603022603022{100_000:014d}9783{'VENDEUR SA':<26}   \n"
        + movement("2", 10_000, "02", "E2E-1", "BANK-1", "Facture F-1001")
        + movement("2", 5_050, "02", "E2E-2", "BANK-2", "Facture F-1002")
        + movement("1", 500, "17", "", "BANK-3", "Gastos")
        + f"3321000418{'0200051332'}{1:05d}{500:014d}{2:05d}{15_050:014d}2{114_550:014d}978    \n"
        + f"88{'9' * 18}{8:06d}{'':<54}\n"
    )


ALL = {
    "camt": camt,
    "mt940": mt940,
    "mt942": mt942,
    "coda": coda,
    "cfonb120": cfonb120,
    "bai2": bai2,
    "ofx": ofx,
    "aeb43": aeb43,
}


def everything(data: bytes):
    """The statements of a file and all transactions in it."""
    statements, transactions = [], []
    for statement, entry in read(io.BytesIO(data)):
        if entry is None:
            statements.append(statement)
        else:
            transactions += entry.transactions
    return statements, transactions
