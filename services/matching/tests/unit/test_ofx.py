"""OFX: its tags, and what its amounts are in."""

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import BankFileError, NotAStatementError


def test_an_amount_of_ofx_in_a_currency_of_its_own_is_in_that():
    text = samples.ofx().replace("<TRNAMT>100.00", "<TRNAMT>100.00<CURRENCY><CURRATE>1.1<CURSYM>USD</CURRENCY>")
    (statement,), found = everything(text.encode())
    assert (found[0].amount_minor, found[0].currency, statement.verdict()[0]) == (10_000, "USD", "currency_differs")
    (named,), found = everything(text.replace("<CURDEF>EUR", "<CURDEF></CURDEF>").replace("<CURRENCY>", "<ORIGCURRENCY>", 1).encode())
    assert (named.currency, found) == (None, [])  # what was converted says not into what
    only = text.replace("<CURDEF>EUR", "<CURDEF></CURDEF>")
    (named,), found = everything(only[: only.index("<STMTTRN>", only.index("BANK-1"))].encode() + b"</BANKTRANLIST></STMTRS></OFX>")
    assert (named.currency, [(one.amount_minor, one.currency) for one in found], named.verdict()) == ("USD", [(10_000, "USD")], None)


def test_a_closing_balance_of_ofx_that_is_no_amount_proves_nothing():
    (statement,), found = everything(samples.ofx().replace("<BALAMT>1145.50", "<BALAMT>R$ 5.326,43").encode())
    assert (statement.verdict(), statement.closing_minor, len(found)) == (None, None, 3)
    assert "closing balance" in statement.remarks[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<OFX>", '<OFX xmlns="http://ofx.net/types/2003/04">').replace(
            "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\n\n", ""
        ),
        lambda text: text.replace("<MEMO>Facture F-1001", "<MEMO><![CDATA[Facture F-1001]]></MEMO>"),
        lambda text: text.replace("<MEMO>Facture F-1001", "<MEMO>\nFacture F-1001\n"),
        lambda text: text.replace("<NAME>Dupont", "<NAME>"),
        str.lower,
    ],
)
def test_ofx_is_read_however_its_tags_are_written(change):
    text = samples.ofx()
    changed = change(text)
    assert changed != text
    (statement,), found = everything(changed.encode())
    assert (statement.verdict(), [one.signed_minor for one in found]) == (None, [10_000, 5_050, -500])
    assert "1001" in " ".join(found[0].remittance)


def test_a_check_without_a_number_is_none():
    text = samples.ofx().replace("<FITID>BANK-1", "<FITID>BANK-1<CHECKNUM>0").replace("<FITID>BANK-2", "<FITID>BANK-2<CHECKNUM>1007")
    _, found = everything(text.encode())
    assert (found[0].remittance, found[1].remittance) == (["Facture F-1001"], ["Facture F-1002", "check 1007"])


INVESTED = (
    "<INVSTMTMSGSRSV1><INVSTMTTRNRS><INVSTMTRS><DTASOF>20260302<CURDEF>EUR<INVTRANLIST><INVBANKTRAN><STMTTRN><TRNTYPE>CREDIT"
    "<DTPOSTED>20260302<TRNAMT>10.00<FITID>I-1</STMTTRN></INVBANKTRAN></INVTRANLIST></INVSTMTRS></INVSTMTTRNRS></INVSTMTMSGSRSV1>"
)


def test_what_is_reported_of_securities_or_a_loan_is_refused_by_its_name():
    for report in (INVESTED, INVESTED.replace("INVSTMTRS", "LOANSTMTRS")):
        with pytest.raises(NotAStatementError, match=r"OFX is an investment or loan report \((INV|LOAN)STMTRS\)"):
            everything(f"OFXHEADER:100\n\n<OFX>{report}</OFX>".encode())
        with pytest.raises(BankFileError, match="beside the statement of a bank account"):  # it was left out without a word
            everything(samples.ofx().replace("</OFX>", f"{report}</OFX>").encode())


def test_the_payee_of_ofx_is_the_other_and_what_else_is_called_a_name_is_text():
    text = samples.ofx().replace("<NAME>Dupont", "<NAME>TRANSFER<PAYEE><NAME>Dupont  SA<CITY>Liege</PAYEE>")
    assert text != samples.ofx()
    _, found = everything(text.encode())
    named = next(one for one in found if one.counterparty_name == "Dupont SA")
    assert "TRANSFER" in named.remittance
    whole = samples.ofx().replace("<NAME>Dupont", "<NAME>Dupont<EXTDNAME>Dupont et Fils SARL")
    assert any(one.counterparty_name == "Dupont et Fils SARL" for one in everything(whole.encode())[1])


@pytest.mark.parametrize(
    ("correction", "read"),
    [
        ("<CORRECTFITID>BANK-1<CORRECTACTION>REPLACE", True),  # itself: so some banks mark what is new
        ("<CORRECTFITID>BANK-0<CORRECTACTION>REPLACE", False),
        ("<CORRECTFITID>BANK-1<CORRECTACTION>DELETE", False),
    ],
)
def test_what_corrects_a_transaction_of_an_earlier_ofx_file_is_never_booked_beside_it(correction, read):
    (statement,), found = everything(samples.ofx().replace("<FITID>BANK-1", f"<FITID>BANK-1{correction}").encode())
    assert (statement.verdict() is None, len(found)) == (read, 3 if read else 2)
