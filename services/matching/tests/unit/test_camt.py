"""The camt reader, on small files of our own."""

import io

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import BankFileError, read
from matching.domain.statements import numbered

HEAD = (
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{v}"><BkToCstmrStmt><Stmt><Id>1</Id>'
    "<Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy></Acct>"
)


def parse(data: bytes):
    """The statements of a file, each with its entries."""
    found, entries = [], []
    for statement, entry in read(io.BytesIO(data)):
        if entry is None:
            found.append((statement, entries))
            entries = []
        else:
            entries.append(entry)
    return found


def document(entries: str, closing: str = "10.00", version: str = "02") -> bytes:
    def balance(code: str, amount: str) -> str:
        kind = f"<Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        return f'<Bal>{kind}<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-03-02</Dt></Dt></Bal>'

    return (
        HEAD.format(v=version) + balance("OPBD", "0.00") + balance("CLBD", closing) + entries + "</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def entry(amount: str = "10.00", details: str = "", more: str = "", indicator: str = "CRDT") -> str:
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{indicator}</CdtDbtInd>{more}<Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>'
        f"<AcctSvcrRef>R1</AcctSvcrRef>{details}</Ntry>"
    )


@pytest.mark.parametrize("amount", ["1,00", "1e2", "-1.00", "", "1.001", "NaN", "10.00 EUR", "1 000.00", "\u0661\u0660"])
def test_amounts_are_read_strictly_or_the_statement_is_quarantined(amount):
    ((statement, _),) = parse(document(entry(amount)))
    assert statement.verdict()[0] == "entry_differs"


@pytest.mark.parametrize("version", ["01", "02", "04", "08", "13"])
def test_versions_are_read_alike(version):
    ((statement, entries),) = parse(document(entry(), version=version))
    assert statement.verdict() is None
    assert [(key, one.kind) for key, one in numbered(one for e in entries for one in e.transactions)] == [("ref:R1|1000EUR", "payment")]


def test_nothing_that_went_out_is_counted_with_what_went_out():
    totals = (
        "<TxsSummry><TtlCdtNtries><NbOfNtries>1</NbOfNtries><Sum>10.00</Sum></TtlCdtNtries>"
        "<TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>0</Sum></TtlDbtNtries></TxsSummry>"
    )
    ((statement, entries),) = parse(document(totals + entry() + entry("0.00", indicator="DBIT")))
    assert statement.verdict() is None
    assert [one.credit for e in entries for one in e.transactions] == [True, False]


def test_available_balances_prove_a_statement_that_has_no_booked_ones():
    text = document(entry()).replace(b"OPBD", b"OPAV").replace(b"CLBD", b"CLAV")
    ((statement, _),) = parse(text)
    assert (statement.verdict(), statement.closing_minor) == (None, 1_000)
    ((wrong, _),) = parse(text.replace(b">10.00<", b">11.00<", 1))
    assert wrong.verdict()[0] == "balance_differs"
    ((both, _),) = parse(document(entry()).replace(b"OPBD", b"OPAV"))
    assert both.verdict()[0] == "balance_missing"


GIRO = "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>VCOM</SubFmlyCd></Fmly></Domn></BkTxCd>"
NOBODY = "<NtryDtls><TxDtls><Refs><AcctSvcrRef>R1</AcctSvcrRef></Refs>{more}</TxDtls></NtryDtls>"


@pytest.mark.parametrize(
    ("code", "detail", "text", "kind"),
    [
        (GIRO, "", "SAMMELGUTSCHRIFT ESR", "total"),
        (GIRO, "", "", "total"),
        ("", "", "Sammelgutschrift f\u00fcr Konto CH77", "total"),
        ("", "", "GUTSCHRIFT VON FREMDBANK", "payment"),
        (GIRO, "<RltdPties><Dbtr><Nm>Meier AG</Nm></Dbtr></RltdPties>", "SAMMELGUTSCHRIFT ESR", "payment"),
        (GIRO, "<RmtInf><Ustrd>Rechnung 7</Ustrd></RmtInf>", "", "payment"),
    ],
)
def test_a_collective_credit_is_a_total_though_one_detail_repeats_it(code, detail, text, kind):
    said = code + NOBODY.format(more=detail) + f"<AddtlNtryInf>{text}</AddtlNtryInf>"
    ((statement, entries),) = parse(document(entry(details=said)))
    (one,) = entries[0].transactions
    assert (statement.verdict(), one.kind, one.entry_reference) == (None, kind, "R1")


def test_how_a_slip_was_read_is_no_text_of_the_payer():
    said = "".join(f"<AddtlRmtInf>{text}</AddtlRmtInf>" for text in ("Rechnung 7", "?REJECT?0", "?ERROR?000"))
    more = f"<RmtInf><Strd>{said}</Strd></RmtInf>"
    ((_, entries),) = parse(document(entry(details=NOBODY.format(more=more))))
    assert entries[0].transactions[0].remittance == ["Rechnung 7"]


def test_a_batch_without_its_details_is_a_total():
    ((_, entries),) = parse(document(entry(details="<NtryDtls><Btch><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>")))
    assert [one.kind for one in entries[0].transactions] == ["total"]


def test_details_that_do_not_sum_to_their_entry_are_told():
    detail = '<TxDtls><Refs/><Amt Ccy="EUR">4.00</Amt></TxDtls>'
    ((statement, _),) = parse(document(entry(details=f"<NtryDtls>{detail}{detail}</NtryDtls>")))
    assert statement.verdict()[0] == "entry_differs"


def test_returns_and_reversals_are_not_payments():
    back = "<NtryDtls><TxDtls><Refs/><RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls></NtryDtls>"
    reversal = entry(more="<RvslInd>true</RvslInd>", indicator="DBIT")
    ((_, entries),) = parse(document(entry(details=back, indicator="DBIT") + reversal))
    assert [(e.transactions[0].kind, e.transactions[0].return_reason, e.transactions[0].reversal) for e in entries] == [
        ("return", "AC04", False),
        ("return", None, True),
    ]


@pytest.mark.parametrize(
    ("family", "code"),
    [("RCDT", "RRTN"), ("ICHQ", "UPCQ"), ("MCRD", "UPCT"), ("RCHQ", "CQRV"), ("RCDT", "AREV"), ("DRFT", "UDFT")],
)
def test_what_a_code_says_went_back_names_the_parties_as_its_payment_did(family, code):
    parties = "".join(f"<{role}><Nm>{name}</Nm></{role}>" for role, name in (("Dbtr", "Dupont SA"), ("Cdtr", "Vendeur SA")))
    details = f"<NtryDtls><TxDtls><Refs/><RltdPties>{parties}</RltdPties></TxDtls></NtryDtls>"
    more = f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{code}</SubFmlyCd></Fmly></Domn></BkTxCd>"
    ((_, entries),) = parse(document(entry(details=details, more=more, indicator="DBIT")))
    (one,) = entries[0].transactions
    assert (one.kind, one.counterparty_name) == ("return", "Dupont SA")
    theirs = details.replace("</RltdPties>", "<CdtrAcct><Id><IBAN>FR7630006000011234567890189</IBAN></Id></CdtrAcct></RltdPties>")
    ((_, entries),) = parse(document(entry(details=theirs, more=more)))
    (one,) = entries[0].transactions
    assert (one.kind, one.counterparty_name, one.virtual_iban) == ("other", "Vendeur SA", None)


@pytest.mark.parametrize(("before", "behind"), [("<Nm>", "</Nm>"), ("<Pty><Nm>", "</Nm></Pty>")])
@pytest.mark.parametrize(("indicator", "role", "name"), [("CRDT", "Dbtr", "Dupont SARL"), ("DBIT", "Cdtr", "Martin SA")])
def test_for_whom_the_other_pays_or_is_paid_is_told_beside_it(indicator, role, name, before, behind):
    ultimate = {"UltmtDbtr": "Dupont SARL", "UltmtCdtr": "Martin SA", role: "Agence SA"}
    parties = "".join(f"<{one}>{before}{who}{behind}</{one}>" for one, who in ultimate.items())
    details = f"<NtryDtls><TxDtls><Refs/><RltdPties>{parties}</RltdPties></TxDtls></NtryDtls>"
    ((_, entries),) = parse(document(entry(details=details, indicator=indicator) * 2, closing="20.00"))  # the second is read off its text
    told = [(one.counterparty_name, one.ultimate_name) for each in entries for one in each.transactions]
    assert told == [("Agence SA", name)] * 2


def test_a_czech_variable_symbol_is_the_reference_without_its_label_and_zeros():
    symbols = "".join(f"<Strd><CdtrRefInf><Ref>{text}</Ref></CdtrRefInf></Strd>" for text in ("VS:0002026117", "KS:0308"))
    ((_, entries),) = parse(document(entry(details=f"<NtryDtls><TxDtls><Refs/><RmtInf>{symbols}</RmtInf></TxDtls></NtryDtls>")))
    assert [(one.scheme, one.value) for one in entries[0].transactions[0].references] == [("VS", "2026117"), ("other", "KS0308")]


def test_the_number_of_a_check_and_what_a_bank_says_of_a_return_are_text():
    said = "".join(f"<AddtlInf>{text}</AddtlInf>" for text in ("Compte clos", "Merci  de", "Facture F-7"))
    text = "<RmtInf><Ustrd>Facture F-7</Ustrd></RmtInf>"
    back = f"<NtryDtls><TxDtls><Refs><ChqNb>102145</ChqNb></Refs>{text}<RtrInf>{said}</RtrInf></TxDtls></NtryDtls>"
    ((_, entries),) = parse(document(entry(details=back, indicator="DBIT")))
    assert entries[0].transactions[0].remittance == ["Facture F-7", "check 102145", "Compte clos", "Merci de"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("<AddtlInf>AC04 Konto erloschen</AddtlInf>", "AC04"),
        ("<Rsn><Prtry>914</Prtry></Rsn><AddtlInf>MD06 Widerspruch</AddtlInf>", "914"),
        ("<AddtlInf>Konto erloschen</AddtlInf>", "unknown"),
    ],
)
def test_a_return_whose_code_stands_in_what_the_bank_adds_says_why(said, reason):
    back = f"<NtryDtls><TxDtls><Refs/><RtrInf>{said}</RtrInf></TxDtls></NtryDtls>"
    ((_, entries),) = parse(document(entry(details=back, indicator="DBIT")))
    assert entries[0].transactions[0].return_reason == reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<Document/>",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Document>&b;</Document>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><Document/>'.encode("utf-16"),
        b"<a>" * 100_000,
    ],
)
def test_what_is_no_bank_file_is_refused(data):
    with pytest.raises(BankFileError):
        parse(data)


def detail(amount: str = "", reference: str = "D", more: str = "") -> str:
    return f"<TxDtls><Refs><AcctSvcrRef>{reference}</AcctSvcrRef></Refs>{amount}{more}</TxDtls>"


def euro(amount: str) -> str:
    return f'<Amt Ccy="EUR">{amount}</Amt>'


def booked(entries):
    return [(one.kind, one.signed_minor, one.bank_reference) for e in entries for one in e.transactions]


def test_a_batch_told_in_several_blocks_counts_them_all():
    block = "<NtryDtls><Btch><NbOfTxs>1</NbOfTxs></Btch>{}</NtryDtls>"
    details = block.format(detail(euro("4.00"), "A")) + block.format(detail(euro("6.00"), "B"))
    ((statement, entries),) = parse(document(entry(details=details)))
    assert (statement.verdict(), booked(entries)) == (None, [("payment", 400, "A"), ("payment", 600, "B")])


def test_what_the_bank_takes_off_a_batch_for_itself_is_a_fee_and_the_payments_stay_whole():
    charges = '<Chrgs><Rcrd><Amt Ccy="EUR">0.50</Amt></Rcrd></Chrgs>'
    details = f"<NtryDtls>{detail(euro('4.00'), 'A')}{detail(euro('6.50'), 'B')}</NtryDtls>"
    ((statement, entries),) = parse(document(entry(details=charges + details)))
    assert statement.verdict() is None
    assert booked(entries) == [("payment", 400, "A"), ("payment", 650, "B"), ("fee", -50, None)]
    each = "<NtryDtls>" + "".join(
        detail(euro(amount), name, '<Chrgs><Rcrd><Amt Ccy="EUR">0.25</Amt></Rcrd></Chrgs>')
        for amount, name in (("4.00", "A"), ("6.50", "B"))
    )
    ((statement, entries),) = parse(document(entry(details=each + "</NtryDtls>")))
    assert (statement.verdict(), sum(one[1] for one in booked(entries))) == (None, 1000)


def test_a_difference_that_no_charge_explains_stays_one():
    charges = '<Chrgs><Rcrd><Amt Ccy="EUR">0.51</Amt></Rcrd></Chrgs>'
    details = f"<NtryDtls>{detail(euro('4.00'), 'A')}{detail(euro('6.50'), 'B')}</NtryDtls>"
    ((statement, _),) = parse(document(entry(details=charges + details)))
    assert statement.verdict()[0] == "entry_differs"


def test_details_that_state_an_instructed_amount_only_are_told_apart_where_these_make_up_the_entry():
    def instructed(amount: str, name: str) -> str:
        return detail(f'<AmtDtls><InstdAmt><Amt Ccy="EUR">{amount}</Amt></InstdAmt></AmtDtls>', name)

    ((statement, entries),) = parse(document(entry(details=f"<NtryDtls>{instructed('4.00', 'A')}{instructed('6.00', 'B')}</NtryDtls>")))
    assert (statement.verdict(), booked(entries)) == (None, [("payment", 400, "A"), ("payment", 600, "B")])
    ((statement, entries),) = parse(document(entry(details=f"<NtryDtls>{instructed('4.00', 'A')}{instructed('6.01', 'B')}</NtryDtls>")))
    assert (statement.verdict(), booked(entries)) == (None, [("total", 1000, "R1")])


@pytest.mark.parametrize(
    "declaration", ["", '<?xml version="1.0"?>', *(f'<?xml version="1.0" encoding="{one}"?>' for one in ("UTF-8", "utf8", "utf-16"))]
)
def test_names_in_windows_1252_are_read_under_whatever_declaration(declaration):
    party = "<RltdPties><Dbtr><Nm>M\u00fcller &amp; S\u00f6hne</Nm></Dbtr></RltdPties>"
    text = declaration + document(entry(details=f"<NtryDtls>{detail(more=party)}</NtryDtls>")).decode()
    for encoding in ("utf-8", "cp1252"):
        ((_, entries),) = parse(text.encode(encoding))
        assert entries[0].transactions[0].counterparty_name == "M\u00fcller & S\u00f6hne"


@pytest.mark.parametrize(
    ("before", "behind"), [(b"\r\n ", b""), (b"\xef\xbb\xbf", b"\n"), (b"", b"\x1a"), (b"", b"\x00" * 20), (b"", b"\r\n\x1a\x00")]
)
def test_what_stands_around_the_message_is_passed_over(before, behind):
    ((statement, entries),) = parse(before + b'<?xml version="1.0"?>' + document(entry()) + behind)
    assert (statement.verdict(), len(entries)) == (None, 1)


@pytest.mark.parametrize("between", [b"", b"\r\n", b"\n\xef\xbb\xbf", b"\x1a\n"])
@pytest.mark.parametrize("filling", [0, 61_300, 61_330, 61_400])
def test_several_documents_in_one_file_are_all_read(between, filling):
    """The second begins at any place of what is read at once."""
    declaration = b'<?xml version="1.0" encoding="UTF-8"?>'
    first = declaration + document(entry()).replace(b"<Stmt>", b"<Stmt>" + b" " * max(0, filling - len(document(entry()))))
    found = parse(first + between + declaration + document(entry("20.00"), closing="20.00") + b"\n")
    assert [(statement.verdict(), statement.closing_minor) for statement, _ in found] == [(None, 1000), (None, 2000)]
    found = parse(first + between + document(entry("20.00"), closing="20.00") + between + document(entry()))
    assert [statement.verdict() for statement, _ in found] == [None] * 3
    assert len(parse(b"<Files>" + document(entry()) + between.strip(b"\xef\xbb\xbf\x1a") + document(entry()) + b"</Files>")) == 2
    with pytest.raises(BankFileError):
        parse(first + between + declaration + b"<Document/>")
    embedded = f"<NtryDtls>{detail(more='<AddtlTxInf><![CDATA[<?xml version=1?><a/>]]></AddtlTxInf>')}</NtryDtls>"
    ((statement, _),) = parse(declaration + document(entry(details=embedded)))
    assert statement.verdict() is None


def test_an_account_in_no_currency_is_in_that_of_its_entries():
    """ISO 4217: XXX says that no currency is involved."""
    text = samples.camt().replace("<Ccy>EUR</Ccy>", "<Ccy>XXX</Ccy>")
    (statement,), found = everything(text.encode())
    assert (statement.currency, statement.verdict(), len(found)) == ("EUR", None, 3)
    (statement,), _ = everything(text.replace('Ccy="EUR">50.50', 'Ccy="USD">50.50').encode())
    assert statement.verdict()[0] == "currency_differs"
    (statement,), found = everything(text.replace("EUR", "XXX").encode())
    assert (statement.verdict(), found) == (("unreadable", "BkToCstmrStmt/Stmt/Bal/Amt: XXX has no minor unit"), [])


@pytest.mark.parametrize("nothing", ["NOTPROVIDED", "0000000000000000"])
def test_what_stands_for_a_reference_that_is_not_given_names_nothing(nothing):
    refs = f"<Refs><AcctSvcrRef>{nothing}</AcctSvcrRef><PmtInfId>{nothing}</PmtInfId><EndToEndId>{nothing}</EndToEndId></Refs>"
    batch = f"<Btch><PmtInfId>{nothing}</PmtInfId><NbOfTxs>1</NbOfTxs></Btch>"
    for details in (f"<TxDtls>{refs}</TxDtls>", f"{batch}<TxDtls>{refs}</TxDtls>"):
        ((_, entries),) = parse(document(entry(details=f"<NtryDtls>{details}</NtryDtls>")))
        (one,) = entries[0].transactions
        assert (one.batch_id, one.end_to_end_id, one.bank_reference) == (None, None, "R1")


def test_the_first_page_of_a_statement_ends_with_an_interim_balance_and_the_last_begins_with_one():
    first = document(entry()).replace(b"CLBD", b"ITBD")
    last = document(entry(), closing="20.00").replace(b"OPBD", b"ITBD").replace(b">0.00<", b">10.00<")
    for page, balances in ((first, (0, 1000)), (last, (1000, 2000))):
        ((statement, _),) = parse(page)
        assert (statement.verdict(), statement.opening_minor, statement.closing_minor) == (None, *balances)
    ((statement, _),) = parse(first.replace(b">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt>", b">11.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt>"))
    assert statement.verdict()[0] == "balance_differs"
    ((statement, _),) = parse(first.replace(b"BkToCstmrStmt", b"BkToCstmrAcctRpt").replace(b"Stmt>", b"Rpt>"))
    assert (statement.kind, statement.closing_minor) == ("camt.052", None)  # what stands at that hour, whatever the report tells


def balance(code: str, amount: str, day: int, currency: str = "EUR") -> str:
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        f"<Dt><Dt>2026-03-{day:02}</Dt></Dt></Bal>"
    )


def test_of_the_balances_of_several_days_or_currencies_the_first_and_the_last_of_the_accounts_own_count():
    later = balance("OPBD", "10.00", 3) + balance("CLBD", "30.00", 3)
    before = balance("OPBD", "0.00", 2) + balance("CLBD", "10.00", 2)
    dollars = balance("OPBD", "7.00", 2, "USD") + balance("CLBD", "7.00", 3, "USD")
    for said in (later + before, before + later, before + later + dollars, dollars + later + before):
        text = HEAD.format(v="02") + said + entry() + entry("20.00") + "</Stmt></BkToCstmrStmt></Document>"
        ((statement, _),) = parse(text.encode())
        assert (statement.verdict(), statement.opening_minor, statement.closing_minor) == (None, 0, 3000)


@pytest.mark.parametrize("status", ["<Sts>RJCT</Sts>", "<Sts><Cd>RJCT</Cd></Sts>", "<Sts><Prtry>Gebucht</Prtry></Sts>"])
def test_an_entry_of_a_status_that_nobody_knows_is_not_taken_for_booked(status):
    ((statement, (one,)),) = parse(document(entry(), version="08").replace(b"<Sts>BOOK</Sts>", status.encode()))
    assert (statement.verdict()[0], one.transactions) == ("entry_differs", [])


@pytest.mark.parametrize(
    ("amounts", "instructed"),
    [
        ('<AmtDtls><TxAmt><Amt Ccy="USD">11.00</Amt></TxAmt></AmtDtls>', (1100, "USD")),
        ('<Amt Ccy="USD">11.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>', (1100, "USD")),
        ('<AmtDtls><InstdAmt><Amt Ccy="USD">12.00</Amt></InstdAmt><TxAmt><Amt Ccy="USD">11.00</Amt></TxAmt></AmtDtls>', (1200, "USD")),
        ('<AmtDtls><TxAmt><Amt Ccy="EUR">10.00</Amt></TxAmt></AmtDtls>', None),
    ],
)
def test_the_amount_of_the_underlying_transaction_in_another_currency_is_told(amounts, instructed):
    ((statement, (booked_one,)),) = parse(document(entry(details=f"<NtryDtls>{detail(amounts)}</NtryDtls>")))
    (one,) = booked_one.transactions
    assert (statement.verdict(), one.amount_minor) == (None, 1000)
    assert (one.instructed and (one.instructed.minor, one.instructed.currency)) == instructed


def test_a_reference_that_stands_in_two_blocks_is_one():
    block = "<Strd><CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd>"
    ((_, (booked_one,)),) = parse(document(entry(details=f"<NtryDtls>{detail(more=f'<RmtInf>{block * 2}</RmtInf>')}</NtryDtls>")))
    assert [one.value for one in booked_one.transactions[0].references] == ["RF18539007547034"]


@pytest.mark.parametrize(("second", "batches"), [("<NbOfTxs>1</NbOfTxs>", ["RUN-A", "RUN-B"]), ("", [None, None])])
def test_each_detail_of_several_batches_is_in_its_own(second, batches):
    block = "<NtryDtls><Btch><PmtInfId>{}</PmtInfId>{}</Btch>{}</NtryDtls>"
    first = block.format("RUN-A", "<NbOfTxs>1</NbOfTxs>", detail(euro("4.00"), "A"))
    ((_, (whole,)),) = parse(document(entry(details=first + block.format("RUN-B", second, detail(euro("6.00"), "B")))))
    assert [(one.kind, one.batch_id) for one in whole.transactions] == [("payment", batch) for batch in batches]
    ((_, (whole,)),) = parse(document(entry(details=first + block.format("RUN-B", second, ""))))
    assert [(one.kind, one.amount_minor) for one in whole.transactions] == [("total", 1000)]  # one of them is not told
