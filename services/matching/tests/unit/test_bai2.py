"""BAI2: amounts, currencies, texts that were cut."""

import bank_samples as samples
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
