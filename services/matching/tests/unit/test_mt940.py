"""What :61: and :86: of MT940 say about a payment, in the dialects of German, Dutch and Nordic banks."""

import io

import pytest
from matching.bankfiles import read

OWN = "NL91ABNA0417164300"
THEIRS = "NL20INGB0001234567"


def parsed(line, *notes, account=OWN, closing=":62F:C260302EUR1234,56"):
    """The statement and its only transaction."""
    text = "\r\n".join([":20:A", f":25:{account}", ":28C:1", ":60F:C260301EUR0,", line, *notes, closing, "-", ""])
    found = list(read(io.BytesIO(text.encode())))
    (one,) = [one for _, entry in found if entry for one in entry.transactions]
    return found[-1][0], one


def transaction(line, *notes, **more):
    return parsed(line, *notes, **more)[1]


CREDIT = ":61:2603020302C1234,56"


@pytest.mark.parametrize(
    "said",
    [
        "2026030212 facturen 104711 en 104712 van maart en april",  # a column is full within a number, the line within a word
        "Facturen 104711 en 104712 zijn nu voldaan",
        "Facturen 10471 en 104712",  # with the word that fills it: the space is the next column's
        "Facturen 1047 en 104712",  # the space ends it
    ],
)
def test_what_fills_a_column_of_a_labelled_text_goes_on_in_the_next(said):
    """ABN AMRO writes these texts in columns of 32 characters, two in a line."""
    texts = ("SEPA IDEAL", f"IBAN: {THEIRS}", "BIC: INGBNL2A", "NAAM: NS GROEP INZAKE NSR IDEA"), (f"OMSCHRIJVING: {said}",)
    texts = (*texts, ("MACHTIGING: M-1", "KENMERK: 02-03-2026 18:14 0030000735822580"))
    notes = []
    for of in texts:
        cells = [text[at : at + 32] for text in of for at in range(0, len(text), 32)]
        notes += [f"{cells[at]:<33}{(*cells, '')[at + 1]}" for at in range(0, len(cells), 2)]
    one = transaction(f"{CREDIT}N944NONREF", f":86:{notes[0]}", *notes[1:])
    assert (one.remittance, one.end_to_end_id, one.mandate_id) == ([said], "02-03-2026 18:14 0030000735822580", "M-1")
    assert (one.counterparty_name, one.counterparty_iban) == ("NS GROEP INZAKE NSR IDEA", THEIRS)
    bare = [note.rstrip() for note in notes]
    assert transaction(f"{CREDIT}N944NONREF", f":86:{bare[0]}", *bare[1:]).end_to_end_id == one.end_to_end_id
    free = "SEPA PAYMENT BY ACME TRADING LTD FOR INVOICE 4711"  # a word that ends there by chance, in a text of no columns
    assert transaction(f"{CREDIT}NTRFNONREF", f":86:{free}").remittance == [free]


def test_labelled_parts_of_a_dutch_text_are_told_apart_also_where_a_full_line_ends_before_one():
    one = transaction(
        f"{CREDIT}N654NONREF",
        f":86:SEPA OVERBOEKING                 IBAN: {THEIRS}",
        "BIC: INGBNL2A                    NAAM: DE GROTE BAKKERIJ & ZOON BV".ljust(65, "X"),
        "OMSCHRIJVING: FACTUUR 2026-1",
        "KENMERK: K-77",
    )
    assert one.counterparty_name is not None
    assert one.counterparty_name.startswith("DE GROTE BAKKERIJ & ZOON BV")
    assert "OMSCHRIJVING" not in one.counterparty_name
    assert (one.counterparty_iban, one.remittance, one.end_to_end_id) == (THEIRS, ["FACTUUR 2026-1"], "K-77")


@pytest.mark.parametrize(
    "notes",
    [
        [":86:SEPA ACCEPTGIROBETALING          IBAN: NL20INGB0001234567", "NAAM: J JANSEN", "BETALINGSKENM.: 1234567890123452"],
        [":86:/TRTP/ACCEPTGIROBETALING/IBAN/NL20INGB0001234567/NAME/J JANSEN", "/REMI/ISSUER: CUR                  REF: 1234567890123452"],
        [":86:/ORDP//NAME/J JANSEN/IBAN/NL20INGB0001234567/REMI//CDTRREFTP//CD/S", "COR/ISSR/CUR/CDTRREF/1234567890123452/ISDT/2026-03-02"],
        [":86:/CNTP/NL20INGB0001234567/INGBNL2A/J JANSEN///REMI/STRD/CUR/12345678", "90123452/"],
    ],
)
def test_a_dutch_payment_reference_is_structured_however_a_bank_writes_it(notes):
    one = transaction(f"{CREDIT}N654NONREF", *notes)
    assert (one.counterparty_name, one.counterparty_iban) == ("J JANSEN", THEIRS)
    assert (one.structured_reference, one.remittance) == ("1234567890123452", [])


@pytest.mark.parametrize(
    ("line", "notes", "account"),
    [
        (f"{CREDIT}N1270987654321      COMPANY B.V.", [":86:Invoice 7"], "0987654321"),
        (f"{CREDIT}NOVB{THEIRS}\r\ncompany b.v.", [f":86:{THEIRS} company b.v.", " " * 65, "Invoice 7"], THEIRS),
        (f"{CREDIT}NOVB0987654321\r\ncompany b.v.", [":86:0987654321 company b.v.", "Invoice 7"], "0987654321"),
    ],
)
def test_dutch_banks_put_the_account_and_name_of_the_other_in_the_place_of_a_reference(line, notes, account):
    one = transaction(line, *notes)
    assert (one.end_to_end_id, one.counterparty_iban) == (None, account)
    assert (str(one.counterparty_name).lower(), one.remittance) == ("company b.v.", ["Invoice 7"])


def test_ten_digits_of_other_banks_are_no_account():
    one = transaction(f"{CREDIT}NTRF1234567890 RECHNUNG VOM MAI\r\n9876543210")
    assert (one.end_to_end_id, one.counterparty_iban, one.counterparty_name) == ("1234567890", None, None)
    assert one.remittance == ["RECHNUNG VOM MAI", "9876543210"]
    padded = transaction(f"{CREDIT}NTRF1004688128      //6128522200250001")
    assert (padded.end_to_end_id, padded.bank_reference, padded.counterparty_iban) == ("1004688128", "6128522200250001", None)


def test_coded_words_beside_the_references_are_no_text_of_the_payer():
    one = transaction(f"{CREDIT}NTRFNONREF//14237654096217\r\n/TRCD/00100/", f":86:/CNTP/{THEIRS}/INGBNL2A/J JANSEN//")
    assert (one.remittance, one.bank_reference, one.counterparty_name) == ([], "14237654096217", "J JANSEN")


def test_an_account_behind_a_sepa_reference_is_the_others_and_zeros_are_nobodys():
    one = transaction(f"{CREDIT}N541EREF\r\n{THEIRS}", ":86:/EREF/E-1/ORDP//NAME/COMPANY BV/REMI/2026-7/ISDT/2026-03-02")
    assert (one.counterparty_iban, one.remittance, one.end_to_end_id) == (THEIRS, ["2026-7"], "E-1")
    batch = transaction(f"{CREDIT}N586PREF\r\n0000000000", ":86:/PREF/PMT-2026-1")
    assert (batch.batch_id, batch.counterparty_iban) == ("PMT-2026-1", None)


def test_a_triodos_statement_has_our_own_account_where_others_have_the_payers():
    notes = [":86:000>100000000000", ">20RABONL2U", ">21NL44RABO0123456789", ">22FACTUUR 7", ">310454545454"]
    one = transaction(f"{CREDIT}NET NONREF", *notes, account="TRIODOSBANK/0454545454")
    assert (one.counterparty_iban, one.remittance) == ("NL44RABO0123456789", ["FACTUUR 7"])
    card = transaction(f"{CREDIT}NET NONREF", ":86:000>100000000000", ">20BETAALAUTOMAAT>310454545454", account="TRIODOSBANK/0454545454")
    assert (card.counterparty_iban, card.remittance) == (None, ["BETAALAUTOMAAT"])


@pytest.mark.parametrize("own", [">310454545454", ""])
def test_an_account_from_before_the_iban_stands_in_another_field_at_triodos(own):
    one = transaction(f"{CREDIT}N000NONREF", ":86:000>100987654321", f">20HUUR{own}", account="TRIODOSBANK/0454545454")
    assert (one.counterparty_iban, one.remittance) == ("987654321", ["HUUR"])
    german = transaction(f"{CREDIT}NTRFNONREF", ":86:166?00GUTSCHRIFT?100123456789?20MIETE")
    assert german.counterparty_iban is None  # there it is the number of the batch


def test_a_coded_text_may_begin_with_letters_and_part_its_fields_with_a_plus():
    one = transaction(f"{CREDIT}NMSC//000001", ":86:TBB+00PREVOD F.7/18 I 8+21F.7/18 +30BFTBBGSF+31BG80BNBG96611020345678+32FIRMA OOD ")
    assert (one.counterparty_iban, one.counterparty_name) == ("BG80BNBG96611020345678", "FIRMA OOD")
    assert one.remittance == ["PREVOD F.7/18 I 8", "F.7/18"]
    assert transaction(f"{CREDIT}NMSCNONREF", ":86:BIC+2012 KREF+30").remittance == ["BIC+2012 KREF+30"]


def test_what_names_a_german_file_that_is_booked_in_one_sum_is_its_batch():
    for said, batch in (("KREF+PI-1?21SVWZ+ANZAHL 12", "PI-1"), ("KREF+NONREF?21SVWZ+X", None), ("EREF+E-1?21KREF+I-1?22SVWZ+X", None)):
        assert transaction(f"{CREDIT}N192NONREF", f":86:192?00SAMMLER?20{said}").batch_id == batch


def test_ing_before_2014_wrote_account_bank_and_name_into_its_text():
    written = f"0123456789 {THEIRS} INGBNL2A J. Janssen 20120123456789 Factuurnr 7"
    one = transaction(f"{CREDIT}NOV EREF", f":86:{written}")
    assert (one.counterparty_iban, one.counterparty_name, one.remittance) == (THEIRS, "J. Janssen", [written.removeprefix("0123456789 ")])
    nameless = transaction(f"{CREDIT}NOV EREF", f":86:{THEIRS} INGBNL2A 20120123456789 Factuurnr 7")
    assert (nameless.counterparty_iban, nameless.counterparty_name) == (THEIRS, None)
    ours = transaction(f"{CREDIT}NOV EREF", f":86:{OWN} ABNANL2A Eigen BV 20120123456789")
    assert (ours.counterparty_iban, ours.counterparty_name) == (None, None)


def test_labels_that_stand_before_the_next_field_name_references():
    text = "?20END-TO-END-REF.:?21E-2026-7?22CORE / MANDATSREF.:?23M-1?24RECHNUNG 7?32KUNDE AG"
    one = transaction(f"{CREDIT}NTRFNONREF", f":86:166?00GUTSCHRIFT{text}")
    assert (one.end_to_end_id, one.mandate_id, one.remittance[-1]) == ("E-2026-7", "M-1", "RECHNUNG 7")
    none = transaction(f"{CREDIT}NTRFNONREF", ":86:166?00GUTSCHRIFT?20END-TO-END-REF.:?21NOTPROVIDED?22RECHNUNG 7")
    assert none.end_to_end_id is None


def test_an_account_number_as_in_new_zealand_ends_the_name():
    one = transaction(f"{CREDIT}NBKTNONREF", ":86:/BAI/399/MISCELLANEOUS CREDIT", "/ORDP/Wording Ltd", "/ACNO/12-3011-0334130-37")
    assert (one.counterparty_name, one.counterparty_iban) == ("Wording Ltd", "12-3011-0334130-37")


def test_a_text_that_begins_a_line_like_an_account_is_none():
    statement, one = parsed(f"{CREDIT}NTRFNONREF", ":86:166?00GUTSCHRIFT?20", ":25:166?00GUTSCHRIFT")
    assert (statement.account, one.amount_minor) == (OWN, 123_456)


def test_a_german_field_that_is_not_full_ends_a_word_and_a_full_one_does_not():
    full = "?20SVWZ+Rechnung Nr. 4711 vom "
    assert len(full) == 30
    one = transaction(
        f"{CREDIT}N051NONREF", f":86:166?00GUTSCHRIFT{full[:-1]}x?21y und Verguetung laut?22Vertrag?32Daniel Severin GmbH und?33Co KG"
    )
    assert one.remittance == ["Rechnung Nr. 4711 vomxy und Verguetung laut Vertrag"]
    assert one.counterparty_name == "Daniel Severin GmbH und Co KG"


def test_for_whom_the_other_pays_is_told_beside_it():
    one = transaction(f"{CREDIT}NTRFNONREF", ":86:166?00GUTSCHRIFT?20SVWZ+RE 7?21ABWA+Dupont SARL?22ABWE+Vendeur SA?32Agence SA")
    assert (one.counterparty_name, one.ultimate_name, one.remittance) == ("Agence SA", "Dupont SARL", ["RE 7"])


def test_a_bank_that_says_the_same_text_twice_says_nothing_new():
    note = f":86:166?00GUTSCHRIFT?20EREF+E-1?21SVWZ+RE 7?30DRESDEFF?31{THEIRS}?32KARL?33 KAUFMANN"
    assert transaction(f"{CREDIT}NTRFNONREF", note, note) == transaction(f"{CREDIT}NTRFNONREF", note)


def test_words_in_the_place_of_references_are_text_and_never_tell_one_payment_from_another():
    one = transaction(f"{CREDIT}NCHGGebyrer ifolge//nota")
    assert (one.end_to_end_id, one.bank_reference, one.remittance) == (None, None, ["Gebyrer ifolge nota"])
    said = transaction(f"{CREDIT}NMSCDB faktura//1234567", ":86:DB faktura 1234567")
    assert (said.end_to_end_id, said.bank_reference, said.remittance) == (None, "1234567", ["DB faktura 1234567"])


def test_a_bank_reference_may_have_a_space_in_it():
    assert transaction(f"{CREDIT}NMSCNONREF//POS 2908012830").bank_reference == "POS 2908012830"
    one = transaction(f"{CREDIT}NMSCNONREF//B123456789012345 the rest of the line")
    assert (one.bank_reference, one.remittance) == ("B123456789012345", ["the rest of the line"])


def test_a_line_that_is_longer_than_any_that_was_wrapped_ends_where_it_ends():
    long = "/NAME/WWW.HOSTING.EXAMPLE/REMI/WWW.HOSTING.EXAMPLE AUCKLAND CITY SOUTH, NZ"
    assert len(long) > 70
    assert transaction(f"{CREDIT}NTRFNONREF", f":86:{long}", "1.00 NZD").remittance == [
        "WWW.HOSTING.EXAMPLE AUCKLAND CITY SOUTH, NZ 1.00 NZD"
    ]


def test_a_closing_balance_without_a_currency_is_in_that_of_the_opening_one():
    statement, _ = parsed(f"{CREDIT}NTRFNONREF", closing=":62F:C2603021234,56")
    assert (statement.closing_minor, statement.verdict()) == (123_456, None)


def test_a_polish_account_number_is_the_iban_that_it_is():
    note = ":86:020<00Przelew<20FAKTURA 7<300902101<310000999999874157<32FIRMA SP. Z O.O.<3821109011020000999999874157<61KOD 8<66DWMC"
    one = transaction(f"{CREDIT}NTRF20070126//562700", note, account="PL52106000760000321000055801")
    assert (one.counterparty_iban, one.counterparty_name) == ("PL21109011020000999999874157", "FIRMA SP. Z O.O.")
    assert one.remittance == ["FAKTURA 7", "KOD 8"]
    wrong = transaction(f"{CREDIT}NTRF20070126//562700", note.replace("<382", "<383"))
    assert wrong.counterparty_iban == "31109011020000999999874157"


def test_what_only_looks_like_an_iban_is_a_reference():
    one = transaction(f"{CREDIT}NMSCNONREF\r\nFT148090898341           FOREIGN E")
    assert (one.counterparty_iban, one.remittance) == (None, ["FT148090898341 FOREIGN E"])


@pytest.mark.parametrize(
    ("business", "text", "supplement", "reason"),
    [
        ("109", "EREF+E-1", "?34914", "914"),
        ("109", "EREF+E-1?21SVWZ+RUECKLASTSCHRIFT AC04", "?34914", "AC04"),
        ("111", "SCHECK 7", "", "unknown"),
        ("105", "EREF+E-1?21SVWZ+Beitrag", "?34992", None),
    ],
)
def test_why_a_german_payment_went_back(business, text, supplement, reason):
    line = ":61:2603020302D1234,56NRTINONREF" if reason else ":61:2603020302D1234,56NDDTNONREF"
    one = transaction(line, f":86:{business}?00TEXT?20{text}?32MUELLER{supplement}")
    assert (one.kind, one.return_reason) == ("return" if reason else "other", reason)


def test_lines_may_end_as_in_old_home_banking_messages():
    lines = [":20:A", f":25:{OWN}", ":28C:1", ":60F:C260301EUR0,", f"{CREDIT}N051NONREF", ":86:166?20RE 7", ":62F:C260302EUR1234,56", "-"]
    found = list(read(io.BytesIO(("@@" + "@@".join(lines)).encode())))
    assert (found[-1][0].verdict(), found[0][1].transactions[0].remittance) == (None, ["RE 7"])


def test_a_long_file_with_the_line_ends_of_old_macs_is_read_whole():
    body = "".join(f":61:2603020302C1,00NTRFNONREF//B{number:08d}\r:86:Rechnung {number}\r" for number in range(5_000))
    text = f":20:A\r:25:{OWN}\r:28C:1\r:60F:C260301EUR0,\r{body}:62F:C260302EUR5000,00\r-\r"
    found = list(read(io.BytesIO(text.encode())))
    assert (found[-1][0].verdict(), len(found)) == (None, 5_001)
    assert found[4_999][1].transactions[0].remittance == ["Rechnung 4999"]


@pytest.mark.parametrize(
    ("written", "account"),
    [
        ("NL91 ABNA 0417 1643 00", "NL91ABNA0417164300"),
        ("NL91ABNA0417164300EUR", "NL91ABNA0417164300"),
        ("INGBNL2A/0001234567", "0001234567"),
        ("TRIODOSBANK/0454545454", "0454545454"),
        ("UBRTHUHB/123456789150ABCDEF002/HUF", "123456789150ABCDEF002"),
        ("37040044/0532013000", "37040044/0532013000"),
        ("2121.21.211EUR", "2121.21.211"),
    ],
)
def test_an_account_however_mt940_writes_it(written, account):
    assert parsed(f"{CREDIT}NTRFNONREF", account=written)[0].account == account


@pytest.mark.parametrize(
    ("way", "notes", "account", "name"),
    [
        (
            "C",
            ["Z RACH.: ", "27114020040000300201355387; OD: FIRMA SP. Z O.O. UL. DLUGA 1"],
            "PL27114020040000300201355387",
            "FIRMA SP. Z O.O. UL. DLUGA 1",
        ),
        ("D", ["NA RACH.: NO9386011117947; DLA: NORDIC AS; REF. KLIENTA: R15"], "NO9386011117947", "NORDIC AS"),
        ("C", ["OD: JAN NOWAK; Z RACH.: ", "00000000000000000000000000"], None, "JAN NOWAK"),
    ],
)
def test_the_labels_of_mbank_name_the_other_what_he_says_and_the_number_of_the_transaction(way, notes, account, name):
    first, *more = notes
    one = transaction(
        f":61:2603020302{way}N1234,56NTRFNONREF//EL1",
        f":86:770 PRZELEW KRAJOWY; ID IPH: XX14; {first}",
        *more[:1],
        "; TYT.: FV 7/2026; 8/2026; RODZAJ SK\u0141ADKI: S; TNR: ",
        "154961063737599.110001",
        account="PL61109010140000071219812874",
        closing=f":62F:{way}260302EUR1234,56",
    )
    assert (one.counterparty_iban, one.counterparty_name, one.remittance[0]) == (account, name, "FV 7/2026; 8/2026")
    assert (one.transaction_id, one.bank_reference) == ("154961063737599.110001", "EL1")
    assert "ID IPH: XX14" in one.remittance[1]


def test_a_text_with_semicolons_and_no_number_of_a_transaction_stays_as_it_is():
    text = "770 RENT; OD: MARCH; PAID"
    assert transaction(f"{CREDIT}NTRFNONREF", f":86:{text}").remittance == [text]


@pytest.mark.parametrize("written", ["/PL61109010140000071219812874", "PL61 1090 1014 0000 0712 1981 2874"])
def test_a_slash_before_an_account_is_no_part_of_it(written):
    """Nordea and others in Poland put one there."""
    statement, one = parsed(f"{CREDIT}NTRFNONREF", ":86:230^00PRZELEW^20FV 7^38/PL27114020040000300201355387^32FIRMA", account=written)
    assert (statement.account, one.counterparty_iban) == ("PL61109010140000071219812874", "PL27114020040000300201355387")


@pytest.mark.parametrize(
    ("below", "notes", "said"),
    [
        ("F/FLOW SUPPLIES CO    TFRINV-2026-", [":86:1042"], ["F/FLOW SUPPLIES CO TFR INV-2026-1042"]),
        ("PHOENIX DIS            DDPAYROLL85", [":86:412368943"], ["PHOENIX DIS DD PAYROLL85412368943"]),
        ("FROM A/C              TFR00059618", [":86:301775"], ["301775", "FROM A/C TFR 00059618"]),
        ("FT148090898341           FOREIGN E", [":86:UR"], ["FT148090898341 FOREIGN EUR"]),
        ("931-PRZEL.KRAJ.WYCH.BRESOK.SORBNET", [":86:Invoice 7"], ["Invoice 7", "931-PRZEL.KRAJ.WYCH.BRESOK.SORBNET"]),
    ],
)
def test_a_full_supplement_in_columns_goes_on_in_the_text(below, notes, said):
    """HBOS: a name, a type and what the payment is for, 34 characters in all."""
    assert transaction(f"{CREDIT}NMSCNONREF", below, *notes, account="301775/00059707").remittance == said


def test_a_reference_that_is_the_beginning_of_a_text_is_none():
    """Westpac cuts the text in two, at the 16th character, and has it whole in :86:."""
    text = "2413480 07 Feb 2019 MD06 Requested by paye"
    line = f":61:2603020302D780,00F870{text[:16]}//0802198701413245"
    one = transaction(line, text[16:], ":86:WITHDRAWAL-PAYMENT RETURN", text, closing=":62F:D260302EUR780,00")
    assert (one.end_to_end_id, one.remittance, one.kind) == (None, [f"WITHDRAWAL-PAYMENT RETURN {text}"], "return")
    assert one.return_reason == "MD06"


def test_a_czech_domestic_payment_is_no_german_return_and_has_its_symbol():
    notes = ["111?00NOVAK SRO?20000000-0000654321/0300", "?21VS:0000123456?22SS:8976343437?23.?24faktura"]
    line = ":61:2603020302D1234,56FMSC //1720170331000001"
    text = "\r\n".join(
        [":20:A", ":25:0000000123456", ":28C:1", ":60F:C260301CZK0,", line, f":86:{notes[0]}", notes[1], ":62F:D260302CZK1234,56", "-"]
    )
    ((_, entry), *_) = list(read(io.BytesIO(text.encode())))
    (one,) = entry.transactions
    assert (one.kind, one.return_reason, one.transaction_code) == ("other", None, "FMSC+111")
    assert (one.counterparty_name, one.counterparty_iban) == ("NOVAK SRO", "CZ8803000000000000654321")
    assert ([(of.scheme, of.value) for of in one.references], one.remittance) == (
        [("VS", "123456")],
        ["VS:0000123456", "SS:8976343437", "faktura"],
    )


@pytest.mark.parametrize(("account", "kind"), [("DE89370400440532013000", "return"), ("CZ6508000000192000145399", "other")])
def test_a_german_business_code_is_none_on_a_czech_account(account, kind):
    line, closing = ":61:2603020302D1234,56NTRFNONREF", ":62F:D260302EUR1234,56"
    assert transaction(line, ":86:109?00X?20FV 7?32FIRMA", account=account, closing=closing).kind == kind


@pytest.mark.parametrize(
    ("line", "notes", "name", "ultimate", "iban"),
    [
        ("C1234,56", ["/TRTP/SEPA OVERBOEKING/IBAN/{}/NAME/DERDENGELDEN A/S/REMI/F 1", "/EREF/E-1/ULTD//NAME/DE KLANT BV/ID/12345"],
         "DERDENGELDEN A/S", "DE KLANT BV", THEIRS),
        ("C1234,56", ["/EREF/E-1/ORDP//NAME/INCASSO 24/7 BV/ID/4711/REMI/F 1/ULTD//NAME/DE", " KLANT BV/ID/9/ISDT/2026-03-02"],
         "INCASSO 24/7 BV", "DE KLANT BV", None),
        ("C1234,56", ["/EREF/E-1//CNTP/{}/INGBNL2A/BANK/AMSTERDAM//REMI/USTD//F 1/", "/ULTD/DE KLANT BV/KVK12345678//PURP/SUPP/"],
         "BANK", "DE KLANT BV", THEIRS),
        ("C1234,56", ["/EREF/E-1//CNTP/{}/INGBNL2A/BANK///REMI/USTD//F 1//ULTD/KLANT A/S//"], "BANK", "KLANT A/S", THEIRS),
        ("C1234,56", ["/EREF/E-1//CNTP/{}/INGBNL2A/BANK///REMI/USTD//F 1//ULTD//KVK12345678/"], "BANK", None, THEIRS),
        ("D1234,56", ["/IBAN/{}/NAME/INCASSANT/EREF/E-1/ULTC//NAME/VERZEKERAAR/ULTD//NAME/WIJ"], "INCASSANT", "VERZEKERAAR", THEIRS),
        ("D1234,56", ["/BENM//NAME/LEVERANCIER/REMI/INKOOP/EREF/E-1/ULTB//NAME/DOCHTER"], "LEVERANCIER", "DOCHTER", None),
        ("D1234,56", ["/RTRN/MD06//EREF/E-1//CNTP/{}/INGBNL2A/BANK///REMI/USTD//F 1//ULTD/DE KLANT BV//"], "BANK", "DE KLANT BV", THEIRS),
    ],
)  # fmt: skip
def test_for_whom_dutch_banks_say_the_other_pays_or_is_paid_is_told_apart_from_the_other(line, notes, name, ultimate, iban):
    """ABN AMRO and Rabobank write the name below a code word of its own, ING in subfields: name and number."""
    closing = f":62F:{line[0]}260302EUR1234,56"
    statement, one = parsed(f":61:2603020302{line}NTRFEREF", ":86:" + notes[0].format(THEIRS), *notes[1:], closing=closing)
    assert statement.verdict() is None
    assert (one.counterparty_name, one.ultimate_name, one.counterparty_iban, one.end_to_end_id) == (name, ultimate, iban, "E-1")


@pytest.mark.parametrize(
    ("line", "count", "kind", "batch"),
    [("C1234,56", "/NRTX/162", "total", True), ("C1234,56", "/NRTX/0000001", "payment", False), ("C1234,56", "", "payment", False),
     ("D1234,56", "/NRTX/2", "other", True)],
)  # fmt: skip
def test_an_entry_that_stands_for_several_is_a_total(line, count, kind, batch):
    text = f":20:A\r\n:25:{OWN}\r\n:28C:1\r\n:60F:C260301EUR0,\r\n:61:2603020302{line}N247NONREF\r\n"
    text += f":86:/TRTP/SEPA INCASSO BATCH/PREF/109180-911{count}/PIND/BRUTO\r\n:62F:{line[0]}260302EUR1234,56\r\n-\r\n"
    (_, entry), _ = read(io.BytesIO(text.encode()))
    (one,) = entry.transactions
    assert (one.kind, entry.batch, one.batch_id, one.entry_reference) == (kind, batch, "109180-911", "109180-911")
