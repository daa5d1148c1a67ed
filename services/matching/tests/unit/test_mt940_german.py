"""The German dialect of :86:, at German banks and at those of other countries that took it over."""

import io

import pytest
from matching.bankfiles import read

GERMAN, ROMANIAN = "DE89370400440532013000", "RO49AAAA1B31007593840000"
THEIRS = "RO09BCYP0000001234567890"


def transaction(line, note, account=GERMAN):
    """The only entry of a statement and its transaction."""
    text = "\r\n".join([":20:A", f":25:{account}", ":28C:1", ":60F:C260301EUR0,", line, f":86:{note}", ":62F:C260302EUR5,50", "-", ""])
    ((entry, one),) = [(entry, one) for _, entry in read(io.BytesIO(text.encode())) if entry for one in entry.transactions]
    return entry, one


def money(amount):
    return amount and (amount.minor, amount.currency)


@pytest.mark.parametrize(
    ("original", "charge", "told"),
    [
        ("1,50", "4,00", ((150, "EUR"), [(400, "EUR")])),
        ("EUR 1,50", "EUR4,", ((150, "EUR"), [(400, "EUR")])),
        ("CHF1,40", "4,00", ((140, "CHF"), [(400, "EUR")])),
        ("AUFTRAG 1,50", "4711", (None, [])),  # a text, and a number that says of nothing that it is money
    ],
)
def test_what_a_returned_direct_debit_was_of_and_what_the_bank_charges_for_it(original, charge, told):
    note = f"109?00RETOURE?20EREF+E-1?21OAMT+{original}?22COAM+{charge}?23SVWZ+AC04?34914"
    _, one = transaction(":61:2603020302D5,50NRTINONREF", note)
    assert (money(one.instructed), [*map(money, one.charges)]) == told
    assert (one.amount_minor, one.kind, one.return_reason) == (550, "return", "AC04")


@pytest.mark.parametrize(
    ("business", "way", "kind", "batch"),
    [
        ("192", "C", "total", True),  # our direct debits, collected in one sum
        ("194", "C", "total", True),
        ("191", "D", "other", True),
        ("193", "D", "return", False),
        ("166", "C", "payment", False),
        ("171", "C", "payment", False),
    ],
)
def test_a_german_business_code_says_that_an_entry_is_of_a_whole_file(business, way, kind, batch):
    entry, one = transaction(f":61:2603020302{way}5,50NMSCNONREF", f"{business}?00BUCHUNG?20KREF+FILE-1?21SVWZ+TEXT")
    assert (one.kind, entry.batch, one.batch_id, one.return_reason) == (kind, batch, "FILE-1", "unknown" if kind == "return" else None)


@pytest.mark.parametrize("code", ["110", "193", "192"])
def test_a_german_business_code_is_none_on_a_romanian_account(code):
    entry, one = transaction(":61:260302C5,50NTRFNONREF", f"{code}~20INVOICE 7~32PAYER", f"/{ROMANIAN}")
    assert (one.kind, one.return_reason, entry.batch) == ("payment", None, False)
    assert (one.transaction_code, one.remittance) == (f"NTRF+{code}", ["INVOICE 7"])


def test_a_field_of_the_name_that_is_an_account_is_none_of_the_name_and_a_separator_may_end_the_text():
    """As ING Bank Romania has them."""
    note = f"035~20AMT RCD EUR 5,50        ~21       ~22INVOICE 7   ~32PAYER SRL     ~33{THEIRS}   ~60       ~"
    _, one = transaction(":61:260302C5,50NTRFNONREF//RE-1", note, ROMANIAN)
    assert (one.counterparty_name, one.counterparty_iban) == ("PAYER SRL", THEIRS)
    assert one.remittance == ["AMT RCD EUR 5,50", "INVOICE 7"]


def test_fields_may_be_parted_by_a_plus_behind_a_code_of_digits():
    """As BRD, in Romania, parts them; a telephone number is no code."""
    _, one = transaction(
        ":61:2603020302C5,50NTRFOP-1", f"000+20Payment     +3030302410000+31{THEIRS}\r\n+32PAYER SRL+33/\r\n+23INVOICE 7", ROMANIAN
    )
    assert (one.counterparty_name, one.counterparty_iban, one.remittance) == ("PAYER SRL", THEIRS, ["Payment", "INVOICE 7"])
    assert transaction(":61:2603020302C5,50NTRFOP-1", "049+2012345 CALL")[1].remittance == ["049+2012345 CALL"]


@pytest.mark.parametrize(
    ("behind", "code", "reference", "bank"),
    [
        (" NTRFNONREF", "NTRF", None, None),  # Deutsche Bank leaves a space
        (" NTRFR-1//B-1", "NTRF", "R-1", "B-1"),
        ("NTRF.//B-1", "NTRF", None, "B-1"),  # BCR, in Romania
        ("NTRFR-1//-", "NTRF", "R-1", None),
    ],
)
def test_a_space_behind_the_amount_and_a_reference_of_punctuation_are_nothing(behind, code, reference, bank):
    _, one = transaction(f":61:2603020302C5,50{behind}", "INVOICE 7", ROMANIAN)
    assert (one.transaction_code, one.end_to_end_id, one.bank_reference) == (code, reference, bank)


def test_commerzbank_says_in_german_that_a_reference_is_not_given():
    note = "166?20INVOICE 7?21END-TO-END-REF.:?22NICHT ANGEGEBEN?23Ref. X-1/2?32PAYER"
    assert transaction(":61:2603020302C5,50NMSCNONREF//POS 5", note)[1].end_to_end_id is None


@pytest.mark.parametrize(
    ("account", "text", "code", "said"),
    [
        (GERMAN, "999PN0911DAUERAUFTR.NR. 14", "NTRF+999", "PN0911DAUERAUFTR.NR. 14"),
        ("37040044/532013000", "999 602080032863 BSE", "NTRF+999", "602080032863 BSE"),
        (GERMAN, "99912 PARTS", "NTRF", "99912 PARTS"),
        (ROMANIAN, "999 PARTS", "NTRF", "999 PARTS"),
    ],
)
def test_the_code_of_a_german_text_without_fields_is_no_text(account, text, code, said):
    _, one = transaction(":61:2603020302C5,50NTRFNONREF", text, account)
    assert (one.transaction_code, one.remittance) == (code, [said])


def test_keywords_may_stand_in_the_further_fields_of_a_text_too():
    note = "166?00GUTSCHRIFT?20EREF+E-1?32PAYER?60INVOICE 7 ?61ABWA+CITY OF MUNICH ?62DEPARTMENT 1"
    _, one = transaction(":61:260302C5,50NMSC", note)
    assert (one.end_to_end_id, one.remittance, one.ultimate_name) == ("E-1", ["INVOICE 7"], "CITY OF MUNICH DEPARTMENT 1")


def test_a_business_code_may_have_four_digits():
    """As Polish banks have it; a year before a separator is none of it where no field follows."""
    _, one = transaction(
        ":61:2603020302CN5,50NTRFNONREF//0002",
        "0510<00transfer<100002\r\n<20INVOICE 7\r\n<32PAYER SP. Z O.O.",
        "PL61109010140000071219812874",
    )
    assert (one.transaction_code, one.remittance, one.counterparty_name) == ("NTRF+0510", ["INVOICE 7"], "PAYER SP. Z O.O.")
    assert transaction(":61:260302C5,50NTRFNONREF", "2026-20 INVOICE 7")[1].remittance == ["2026-20 INVOICE 7"]
