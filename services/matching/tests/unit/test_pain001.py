"""What we write for banks is what ISO 20022 lets be written, and says what it is for."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from iso20022 import valid
from matching.pain001 import Debtor, Transfer, write

NOW, DAY = datetime(2026, 3, 2, 9, 0, 0, 123, tzinfo=UTC), date(2026, 3, 3)
SEPA = Debtor("Vendeur SA", "FR7630006000011234567890189", "FR7630006000011234567890189", None, "EUR")


def transfer(number=1, amount=600, name="Dupont", **more):
    fields = {"creditor_iban": "DE89370400440532013000", "remittance": f"Refund REFUND-{number}", **more}
    return Transfer(end_to_end_id=f"REFUND-{number}", amount_minor=amount, creditor_name=name, **fields)


def written(debtor=SEPA, *transfers):
    return valid(write("REFUNDS-1", NOW, DAY, debtor, transfers or [transfer()]))


def texts(document, path):
    return [one.text for one in document.iterfind(".//" + "/".join("{*}" + part for part in path.split("/")))]


@pytest.mark.parametrize(
    ("currency", "amounts", "told", "total"),
    [
        ("EUR", [1, 600, 99_999_999_999], ["0.01", "6.00", "999999999.99"], "1000000006.00"),
        ("JPY", [600], ["600"], "600"),
        ("KWD", [600, 1], ["0.600", "0.001"], "0.601"),
        ("CHF", [5], ["0.05"], "0.05"),
    ],
)
def test_amounts_and_control_sums_are_exact(currency, amounts, told, total):
    document = written(replace(SEPA, currency=currency), *(transfer(number, amount) for number, amount in enumerate(amounts)))
    assert texts(document, "InstdAmt") == told
    assert texts(document, "CtrlSum") == [total] * 2
    assert sum(map(Decimal, told)) == Decimal(total)
    assert texts(document, "NbOfTxs") == [str(len(amounts))] * 2
    assert {one.get("Ccy") for one in document.iterfind(".//{*}InstdAmt")} == {currency} == set(texts(document, "DbtrAcct/Ccy"))


def test_as_many_transfers_as_a_file_has_are_valid():
    document = written(SEPA, *(transfer(number) for number in range(10_000)))
    assert texts(document, "NbOfTxs") == ["10000"] * 2
    assert texts(document, "CtrlSum") == ["60000.00"] * 2


@pytest.mark.parametrize("name", ["N" * 255, "  Dupont  ", "D", 'A & B <c> "d"', "é" * 255])
def test_names_and_texts_of_any_length_are_valid(name):
    document = written(replace(SEPA, name=name), transfer(name=name, remittance="R" * 255))
    assert {len(text) <= 70 for path in ("InitgPty/Nm", "Dbtr/Nm", "Cdtr/Nm") for text in texts(document, path)} == {True}
    assert texts(document, "Ustrd") == ["R" * 140]


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("Société Générale & Fils", "Societe Generale + Fils"),
        ("Socie\u0301te\u0301", "Societe"),  # marks of their own
        ("Müller Straße Øre Łódź Ærø", "Muller Strase Ore Lodz Aro"),
        ("Ωμέγα Ψυχή", "Omega PSychi"),
        ("Щастие Йов", "SHTastie Yov"),
        ("Yahoo! [me_2]; a@b {5 €} <x> 50%", "Yahoo. (me-2), a(at)b (5 E) .x. 50."),
        ("A\tB\nC\u00a0D", "A B C D"),
        ("Dupont 東京", "Dupont .."),
        ("Du\x01pont", "Du.pont"),
        ("Ж" * 70, "ZH" * 35),  # of two letters each
        ("N" * 69 + " É", "N" * 69),
    ],
)
def test_names_are_written_in_the_characters_that_banks_take(name, latin):
    document = written(replace(SEPA, name=name), transfer(name=name))
    for path in ("InitgPty/Nm", "Dbtr/Nm", "Cdtr/Nm"):
        assert texts(document, path) == [latin]


def test_a_transfer_in_euro_from_an_iban_is_one_of_sepa_whose_bank_the_iban_names():
    document = written()
    assert (texts(document, "SvcLvl/Cd"), texts(document, "ChrgBr")) == (["SEPA"], ["SLEV"])
    assert texts(document, "DbtrAgt/FinInstnId/Othr/Id") == ["NOTPROVIDED"]
    assert texts(document, "DbtrAcct/Id/IBAN") == [SEPA.iban]


@pytest.mark.parametrize(
    ("bank_id", "named"),
    [
        ("BIC:BOFAUS3N", {"BICFI": "BOFAUS3N"}),
        ("BIC:BOFAUS3NXXX", {"BICFI": "BOFAUS3NXXX"}),
        ("USABA:121140399", {"ClrSysMmbId/ClrSysId/Cd": "USABA", "ClrSysMmbId/MmbId": "121140399"}),
        ("GBDSC:" + "9" * 35, {"ClrSysMmbId/ClrSysId/Cd": "GBDSC", "ClrSysMmbId/MmbId": "9" * 35}),
    ],
)
@pytest.mark.parametrize("currency", ["USD", "EUR"])
def test_an_account_without_an_iban_is_named_by_its_number_and_bank_and_is_not_of_sepa(bank_id, named, currency):
    document = written(Debtor("Seller Inc", None, "1" * 34, bank_id, currency))
    assert texts(document, "DbtrAcct/Id/Othr/Id") == ["1" * 34]
    assert {path: texts(document, f"DbtrAgt/FinInstnId/{path}") for path in named} == {path: [text] for path, text in named.items()}
    assert texts(document, "DbtrAgt/FinInstnId/Othr/Id") == texts(document, "SvcLvl/Cd") == texts(document, "ChrgBr") == []


@pytest.mark.parametrize(
    ("country", "sepa"),
    [
        *((country, True) for country in ("FR", "GB", "CH", "AL", "ME", "MD", "MK", "RS", "GI", "VA")),
        *((country, False) for country in ("TR", "UA", "XK", "BA", "TN", "FO", "AE", "GE")),
    ],
)
def test_only_what_goes_to_a_country_of_sepa_says_so(country, sepa):
    document = written(SEPA, transfer(creditor_iban=f"{country}7630006000011234567890189"))
    assert (texts(document, "SvcLvl/Cd"), texts(document, "ChrgBr")) == ((["SEPA"], ["SLEV"]) if sepa else ([], []))


def test_sepa_transfers_and_others_are_never_in_one_file():
    with pytest.raises(ValueError, match="in one file"):
        write("REFUNDS-1", NOW, DAY, SEPA, [transfer(1), transfer(2, creditor_iban="TR330006100519786457841326")])
