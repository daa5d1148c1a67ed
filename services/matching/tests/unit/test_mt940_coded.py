"""Texts of :86: in codes between slashes: what is a code is no text."""

import io

import pytest
from matching.bankfiles import read


def transaction(*notes, line=":61:2603020302C5,50NTRFNONREF"):
    text = "\r\n".join([":20:A", ":25:300000002778989", ":28C:1", ":60F:C260301EUR0,", line, *notes, ":62F:C260302EUR5,50", "-", ""])
    (one,) = [one for _, entry in read(io.BytesIO(text.encode())) if entry for one in entry.transactions]
    return one


@pytest.mark.parametrize(
    ("key", "references", "said"),
    [
        ("ORDP", "/747//747", ["747", "Payment of invoice 747"]),
        ("ORDP", "/00//104464944237", ["104464944237", "Payment of invoice 747"]),
        ("BENM", "/000//000", ["Payment of invoice 747"]),
        ("BENM", "/EMPTY/", ["Payment of invoice 747"]),
    ],
)
def test_lines_of_an_account_a_name_references_and_a_text_are_told_apart(key, references, said):
    """As KBS writes them; the second line is as long as one that goes on in the next, and does not."""
    name = "IVOTEHNA DOOEL SKOPJE ul. Orce Nikolov br.3 1000 Skopje Makedo"
    one = transaction(f":86:/{key}/300000000460495", f"/{name}", references, "/Payment of invoice 747")
    assert (one.counterparty_name, one.counterparty_iban, one.remittance) == (name, "300000000460495", said)


def test_a_party_in_one_line_is_no_such_text():
    one = transaction(":86:/ORDP//NAME/PAYER BV/REMI/INVOICE 7", "/EREF/E-1")
    assert (one.counterparty_name, one.remittance, one.end_to_end_id) == ("PAYER BV", ["INVOICE 7"], "E-1")


@pytest.mark.parametrize(
    ("note", "said", "batch"),
    [
        ("/TRTP/SEPA BATCH/PREF/B-1/NRTX/162", ["SEPA BATCH"], "B-1"),
        ("/TRTP/SEPA INCASSO BATCH/PREF/B-1/NRTX/7/PIND/BRUTO", ["SEPA INCASSO BATCH"], "B-1"),
        ("/PREF/B-1", [], "B-1"),
    ],
)
def test_what_is_said_of_a_file_booked_in_one_sum_is_its_kind_and_its_reference(note, said, batch):
    one = transaction(f":86:{note}")
    assert (one.remittance, one.batch_id) == (said, batch)


def test_amounts_between_slashes_are_told_and_no_text():
    one = transaction(":86:/OCMT/USD6,00/", "PAYMENT OF INVOICE 204011665", "/CHGS/EUR0,50/")
    assert [(amount.minor, amount.currency) for amount in (one.instructed, *one.charges)] == [(600, "USD"), (50, "EUR")]
    assert one.remittance == ["PAYMENT OF INVOICE 204011665"]


@pytest.mark.parametrize(
    "note",
    ["/ORDP/ACME LTD/BENM/SUPPLIER INC/EREF/E-1/REMI/LOAN", "/BENM//NAME/SUPPLIER INC/ORDP//NAME/ACME LTD/REMI/LOAN"],
)
@pytest.mark.parametrize(("mark", "more", "name"), [("C", "", "ACME LTD"), ("D", "", "SUPPLIER INC"), ("D", "/RTRN/AC04", "ACME LTD")])
def test_of_two_parties_the_other_is_who_pays_what_comes_in_and_who_is_paid_what_goes_out(note, mark, more, name):
    one = transaction(f":86:{note}{more}", line=f":61:2603020302{mark}5,50NTRFNONREF")
    assert (one.counterparty_name, one.remittance) == (name, ["LOAN"])


@pytest.mark.parametrize(("more", "name"), [("", None), ("/BENM//NAME/SHOP BV/ID/77", "SHOP BV")])
def test_a_number_of_who_pays_is_no_name(more, name):
    one = transaction(f":86:/ORDP//ID/203798473{more}/REMI/SAVINGS", line=":61:2603020302D5,50NTRFNONREF")
    assert (one.counterparty_name, one.remittance) == (name, ["SAVINGS"])


@pytest.mark.parametrize(
    ("note", "account", "name", "said"),
    [
        (
            "GIRO   428428 KPN - DIGITENNE    BETREFT FACTUUR 7",
            "428428",
            "KPN - DIGITENNE",
            ["BETREFT FACTUUR 7"],
        ),
        ("GIRO   428428 KPN DIGITENNE ZUID BETREFT FACTUUR", "428428", "KPN DIGITENNE ZUID", ["BETREFT FACTUUR"]),
        ("34.01.56.740                    CANAL DIGITAAL B.V.", "340156740", "CANAL DIGITAAL B.V.", []),
        ("54.49.42.108 ABC BOOM KK", "544942108", "ABC BOOM KK", []),
        ("54.49.42.1 ABC BOOM KK", None, None, ["54.49.42.1 ABC BOOM KK"]),
        ("GIRO BOOM KK", None, None, ["GIRO BOOM KK"]),
    ],
)
@pytest.mark.parametrize("of", ["NMSC", "N426"])
def test_an_old_dutch_account_at_the_beginning_of_a_text_is_that_of_the_other(note, account, name, said, of):
    one = transaction(f":86:{note}", line=f":61:2603020302C5,50{of}NONREF")
    assert (one.counterparty_iban, one.counterparty_name, one.remittance) == (account, name, said)


@pytest.mark.parametrize(
    ("of", "account", "said"), [("NGT ", "0111111111", "TANGO TRANSACTIENR 5"), ("NTRF", None, "0111111111 TANGO TRANSACTIENR 5")]
)
def test_so_is_one_of_ing_and_any_other_number_is_text(of, account, said):
    one = transaction(":86:0111111111 TANGO TRANSACTIENR 5", line=f":61:2603020302C5,50{of}NONREF")
    assert (one.counterparty_iban, one.remittance) == (account, [said])
