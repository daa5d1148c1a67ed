"""What the operation codes of CFONB and the type codes of BAI2 say of a movement: money of a debtor, money that went back, a fee."""

import io

import bank_samples as samples
import pytest
from matching.bankfiles import read


def movements(text):
    return [one for _, entry in read(io.BytesIO(text.encode())) if entry for one in entry.transactions]


@pytest.mark.parametrize(
    ("code", "credit", "kind", "reason"),
    [
        ("18", True, "payment", None),
        ("C2", True, "payment", None),
        ("A3", True, "other", "unknown"),
        ("12", True, "other", "unknown"),
        ("62", False, "fee", None),
        ("64", False, "fee", None),
        ("61", False, "other", None),
        ("B1", False, "other", None),
        ("B3", False, "return", "unknown"),
        ("03", False, "return", "unknown"),
        ("C4", False, "return", "unknown"),
        ("ZZ", False, "other", None),
    ],
)
def test_cfonb_operation_codes(code, credit, kind, reason):
    text = samples.cfonb120()
    old = "30006015800001EUR2 12345678901" + ("18" if credit else "62")
    assert old in text
    one = movements(text.replace(old, old[:-2] + code))[0 if credit else 2]
    assert (one.credit, one.kind, one.return_reason) == (credit, kind, reason)


def test_a_reason_that_a_cfonb_movement_gives_is_kept():
    text = samples.cfonb120().replace("62020326  020326", "B302032604020326")
    assert [one.return_reason for one in movements(text)] == [None, None, "04"]


@pytest.mark.parametrize(("code", "who"), [("06", "CREANCIER"), ("B3", "DEBITEUR")])
def test_the_other_of_a_debit_is_who_is_paid_and_of_a_return_who_had_paid(code, who):
    text = samples.cfonb120().replace("12345678901" + "62", "12345678901" + code)
    at = text.rindex("07300")
    more = "".join(
        "05300060158" + f"00001EUR2 12345678901{code}020326     {q}{name:<70}  \n"
        for q, name in (("NPO", "POUR DEBITEUR"), ("NBU", "POUR CREANCIER"), ("NBE", "CREANCIER"), ("NPY", "DEBITEUR"))
    )
    one = movements(text[:at] + more + text[at:])[2]
    assert (one.counterparty_name, one.ultimate_name) == (who, f"POUR {who}")


@pytest.mark.parametrize(
    ("code", "kind", "credit", "reversal"),
    [
        ("142", "payment", True, False),
        ("257", "other", True, False),
        ("258", "other", True, True),
        ("722", "payment", True, False),
        ("557", "return", False, False),
        ("558", "return", False, True),
        ("567", "fee", False, False),
        ("760", "other", False, False),
    ],
)
def test_bai2_type_codes(code, kind, credit, reversal):
    old = "16,142,10000," if credit else "16,698,500,"
    one = movements(samples.bai2().replace(old, f"16,{code}," + old[7:]))[0 if credit else 2]
    assert (one.kind, one.credit, one.reversal) == (kind, credit, reversal)
    assert (one.return_reason is not None) == (kind == "return" or code in {"257", "258"})


def test_a_text_of_bai2_keeps_its_spaces_where_it_goes_on():
    text = samples.bai2().replace("Facture F-1001/", "Ref: 1, GS ID: 2")
    assert movements(text)[0].remittance == ["Ref: 1, GS ID: 2"]


def complemented(*more):
    """The first movement of the day, whose last complement gives way to these."""
    lines = samples.cfonb120().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if "LCC" in line)
    told = [f"{lines[at][:45]}{qualifier}{text:<70}  \n" for qualifier, text in more]
    return movements("".join([*lines[:at], *told, *lines[at + 1 :]]))[0]


@pytest.mark.parametrize(
    "said",
    [
        "Reglement de la facture F-1001 du 2 mars et de tout le reste de la F-10023 du 12 janvier",  # cut within a number
        "Reglement de la facture F-1001 du 2 mars et d'une partie de la facture F-10023 du 12 mai",  # before a word
        "Facture F-1001",
    ],
)
def test_the_two_halves_of_a_text_of_cfonb_are_one(said):
    one = complemented(*((name, part) for name, part in (("LCC", said[:70]), ("LC2", said[70:])) if part))
    assert one.remittance == ["VIR DUPONT SA", said]


def test_why_money_went_back_is_said_by_the_iso_code_of_cfonb():
    assert complemented(("RET", "AC04BA COMPTE CLOS")).return_reason == "AC04"
    assert complemented(("RET", "COMPTE CLOS")).return_reason is None
