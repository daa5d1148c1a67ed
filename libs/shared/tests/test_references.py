import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.references import SCHEMES, compact, is_valid, printed, schemes_of, with_check
from stdnum.ch import esr
from stdnum.iso11649 import is_valid as is_iso11649

DIGITS = {"OGM": (10, 10), "QRR": (26, 26), "VIITE": (3, 19), "KID10": (2, 24), "KID11": (2, 24)}

# The scheme's own publication where it has an example, else libraries whose tests state it.
GOLDEN = [
    ("RF", "539007547034", "RF18539007547034"),  # Wikipedia on ISO 11649; python-stdnum's doctest
    ("OGM", "0909337554", "090933755493"),  # Febelfin's example 090/9337/55493
    ("QRR", "12345600000000000011223344", "123456000000000000112233440"),  # php-swiss-qr-bill, tests of its generator
    ("QRR", "24765600003073000002311006", "247656000030730000023110061"),  # as above
    ("VIITE", "1234567", "12345672"),  # Finance Finland's example, with its working: 118, so 2
    ("VIITE", "123123", "1231234"),  # enberg/viite, README
    ("VIITE", "23409678", "234096783"),  # tanty/finnish-reference-number, README
    ("KID10", "234567", "2345676"),  # norwegian-numbers, tests; navikt/mulighetsrommet, ModulusTest
    ("KID10", "1234", "12344"),  # kid-util, README
    ("KID11", "1234", "12343"),  # as above
    ("KID11", "2345678", "23456788"),  # as above
    ("KID11", "012955", "0129550"),  # kiowa/kid-number, README
]


@pytest.mark.parametrize(("scheme", "body", "whole"), GOLDEN)
def test_published_examples(scheme, body, whole):
    assert with_check(scheme, body) == whole
    assert is_valid(scheme, printed(scheme, whole))
    assert scheme in schemes_of(whole)


def bodies(scheme):
    if scheme == "RF":
        return st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=21)
    least, most = DIGITS[scheme]
    return st.text("0123456789", min_size=least, max_size=most).filter(lambda body: body.strip("0"))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.data())
def test_what_is_made_is_recognised_and_one_wrong_digit_is_not(scheme, data):
    made = with_check(scheme, data.draw(bodies(scheme)))
    assert is_valid(scheme, made)
    assert compact(printed(scheme, made)) == made
    at = data.draw(st.integers(0, len(made) - 1).filter(lambda place: made[place].isdigit()))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != made[at]]))
    assert not is_valid(scheme, made[:at] + other + made[at + 1 :])


@given(st.from_regex("RF[0-9]{2}[0-9A-Z]{1,21}", fullmatch=True))
def test_rf_agrees_with_the_library(text):
    assert is_valid("RF", text) == is_iso11649(text)


@given(st.from_regex("[0-9]{27}", fullmatch=True))
def test_qrr_agrees_with_the_library(text):
    assert is_valid("QRR", text) == esr.is_valid(text)


@pytest.mark.parametrize("text", ["", "RF", "RF18", "\N{ARABIC-INDIC DIGIT ONE}23", "1" * 28, "RF18 5390-0754", "KID"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_other_text_is_no_reference_and_no_error(scheme, text):
    assert not is_valid(scheme, text)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("body", ["", "1" * 30, "a", "12-4", "\N{SUPERSCRIPT TWO}23"])
def test_a_body_that_the_scheme_does_not_take_is_refused(scheme, body):
    with pytest.raises(ValueError, match=scheme):
        with_check(scheme, body)


def test_published_vectors(shared_data):
    rows = list(csv.DictReader((shared_data / "vectors" / "identifiers.csv").read_text(encoding="utf-8").splitlines()))
    vectors = [("RF", row) for row in rows if row["kind"].startswith("RF")]
    # a QRR is an ESR number of 27 digits with the zeros in front written out
    vectors += [("QRR", row) for row in rows if row["kind"].startswith("QRR/") and len(compact(row["value"])) == 27]
    assert len(vectors) > 60
    assert [row["value"] for scheme, row in vectors if is_valid(scheme, row["value"]) != (row["verdict"] == "valid")] == []
