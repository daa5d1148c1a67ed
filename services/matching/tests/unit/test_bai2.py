"""BAI2: amounts, currencies, texts that were cut."""

import bank_samples as samples
import pytest
from bank_samples import everything


def test_a_text_of_bai2_that_was_cut_because_its_record_was_full_goes_on_within_the_word():
    record = f"16,142,5050,0,BANK-2,E2E-2,{'Facture F-1'.rjust(53)}"
    assert len(record) == 80
    cut = samples.bai2().replace("16,142,5050,0,BANK-2,E2E-2,Facture/", record).replace("88,F-1002", "88,002 CLIENT")
    (statement,), found = everything(cut.encode())
    assert (statement.verdict(), found[1].remittance) == (None, ["Facture F-1002 CLIENT"])


def test_no_transaction_of_bai2_is_in_a_currency_that_is_none():
    (statement,), found = everything(samples.bai2().replace("123456789,EUR", "123456789,UR").encode())
    assert (statement.verdict()[0], found) == ("unreadable", [])


def test_a_number_of_bai2_that_no_column_holds_is_refused():
    statements, _ = everything(samples.bai2().replace("010,100000", "010," + "9" * 30).encode())
    assert statements[0].verdict()[0] == "unreadable"


def test_tags_of_a_transaction_of_bai2_name_the_other():
    text = samples.bai2().replace(
        "16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n",
        "16,142,5050,0,BANK-2,,ACH Credit Receipt,From: Dupont SA\n88,REMI: Facture F-1002\n88,EREF: E2E-9\n88,CRNM: Vendeur SA\n"
        "88,DBNM: Dupont SA\n88,DACT: 5234567\n",
    )
    assert text != samples.bai2()
    _, found = everything(text.encode())
    paid = found[1]
    assert (paid.counterparty_name, paid.counterparty_iban, paid.end_to_end_id) == ("Dupont SA", "5234567", "E2E-9")
    assert paid.remittance == ["Facture F-1002"]
    said = text.replace("88,REMI: Facture F-1002\n", "88,IDNM: C-77\n88,CHKN: 00024108\n")
    assert everything(said.encode())[1][1].remittance == ["ACH Credit Receipt,From: Dupont SA", "C-77", "check 00024108"]
    bare = text.replace("ACH Credit Receipt,From: Dupont SA", "").replace("88,REMI: Facture F-1002\n", "88,REMI: Facture\n88,F-1002\n")
    assert everything(bare.encode())[1][1].remittance == ["Facture F-1002"]


@pytest.mark.parametrize(("said", "name"), [("Return To: Dupont SA", "Dupont SA"), ("Return From: Vendeur SA", "Vendeur SA"), ("-", None)])
def test_what_went_back_in_bai2_says_why_and_whose_it_was_where_text_and_tag_agree(said, name):
    text = samples.bai2().replace(
        "16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n",
        f'16,557,5050,0,BANK-2,E2E-2,ACH Return,{said}, Reason: "R02", GS ID: X\n88,CRNM: Dupont SA\n88,DBNM: Vendeur SA\n',
    )
    _, found = everything(text.encode())
    assert (found[1].kind, found[1].return_reason, found[1].counterparty_name) == ("return", "R02", name)


def test_silicon_valley_banks_tags_of_a_wire_name_the_other():
    text = samples.bai2().replace(
        "16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n",
        "16,195,5050,,,,FED NO: 2010L1B\n88,SENDER BNK:=A BANK\n88,ORG:=Dupont SA\n88,ORG ADDRESS:=2/AV MAIN\n88,/MEXICO\n"
        "88,BNF ID:=123456789\n88,BNF NAME:=Vendeur SA\n88,OBI:=Facture F-1002\n",
    )
    _, found = everything(text.encode())
    assert (found[1].counterparty_name, found[1].counterparty_iban) == ("Dupont SA", None)
    assert found[1].remittance[0].endswith("OBI:=Facture F-1002")
    _, found = everything(text.replace("16,195,", "16,495,").encode())
    assert (found[1].counterparty_name, found[1].counterparty_iban) == ("Vendeur SA", "123456789")


def test_words_in_the_place_of_a_reference_of_bai2_are_text():
    text = samples.bai2().replace("BANK-2,E2E-2,Facture/\n88,F-1002\n", ",Account Payment/\n88,050^DEPOSIT DUPONT F-1002,\n")
    assert text != samples.bai2()
    _, found = everything(text.encode())
    assert (found[1].end_to_end_id, found[1].remittance) == (None, ["050^DEPOSIT DUPONT F-1002", "Account Payment"])


@pytest.mark.parametrize(
    ("code", "said", "name"),
    [
        ("165", "ORIG CO NAME:ACME CO    ORIG ID:12 DESC DATE:260302\n88,CO ENTRY DESCR:PAYABLES IND NAME:VENDEUR SA", "ACME CO"),
        ("455", "ORIG CO NAME:POWER AND LIGHT  CO ENTRY DESCR:BILL  SEC:CCD", "POWER AND LIGHT"),
        ("195", "WIRE TYPE:WIRE IN DATE: 260302 TRN:2026SEQ:1/2\n88,ORIG:ACME LLC ID:0099 SND BK:A BANK, N.A. ID:2 PMT DET:F", "ACME LLC"),
        ("495", "WIRE TYPE:WIRE OUT DATE:260302 TIME:0802 ET TRN:2026 BNF:SUPPLIER INC ID:7 BNF BK:B BANK ID:3", "SUPPLIER INC"),
        ("195", "PAYMENT ORIG:NOBODY KNOWS WHAT THIS IS", None),
        ("557", "ORIG CO NAME:VENDEUR SA ORIG ID:1 IND NAME:DUPONT", None),
    ],
)  # fmt: skip
def test_labels_in_a_text_of_bai2_name_the_other(code, said, name):
    """JPMorgan Chase's of an ACH entry, Bank of America's of a wire; of what went back they may name us."""
    text = samples.bai2().replace("16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n", f"16,{code},5050,0,BANK-2,E2E-2,{said}\n")
    _, found = everything(text.encode())
    assert found[1].counterparty_name == name


def test_citi_says_by_whose_order_money_comes_and_zeros_are_no_reference():
    text = samples.bai2().replace(
        "16,142,5050,0,BANK-2,E2E-2,Facture/\n88,F-1002\n",
        "16,191,5050,V,260302,,0000000,RP12/\n88,PY:FACTURE F-1002\n88,BI:22222222\n88,OB:111111 A BANK OB3:A BANK PLC\n"
        "88,BO:5234567 BO1:DUPONT JEAN\n",
    )
    assert text != samples.bai2()
    _, found = everything(text.encode())
    paid = found[1]
    assert (paid.counterparty_name, paid.counterparty_iban) == ("DUPONT JEAN", "5234567")
    assert (paid.bank_reference, paid.end_to_end_id) == (None, "RP12")


@pytest.mark.parametrize(("status", "why"), [("2", "deletes"), ("3", "corrects"), ("4", "is a test")])
def test_transactions_of_a_group_that_is_no_update_are_never_booked_in_silence(status, why):
    (statement,), _ = everything(samples.bai2().replace("121140399,1,260302", f"121140399,{status},260302").encode())
    assert statement.verdict() == ("unreadable", f"its group {why}{' what was sent before' if status != '4' else ''} (status {status})")


@pytest.mark.parametrize(
    ("modifier", "role"), [("1", "report"), ("2", "statement"), ("3", "report"), ("4", "statement"), ("", "statement")]
)
def test_interim_data_of_bai2_are_a_report_of_the_day_and_the_final_ones_a_statement(modifier, role):
    (statement,), found = everything(samples.bai2().replace("260302,,EUR,2/", f"260302,,EUR,{modifier}/").encode())
    assert (statement.verdict(), statement.role, len(found)) == (None, role, 3)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("98,245650,1,9/", "98,245650,2,9/"),
        ("99,245650,1,11/", "99,245650,2,11/"),
        ("99,245650,1,11/\n", ""),
        ("98,245650,1,9/\n99,245650,1,11/\n", ""),
    ],
)
def test_accounts_and_groups_of_bai2_that_are_missing_are_found_out(before, behind):
    whole = samples.bai2()
    (statement,), _ = everything(whole.replace(before, behind).encode())
    assert before in whole
    assert statement.verdict()[0] == "unreadable"
