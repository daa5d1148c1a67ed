"""What counts as a document number in free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.references import is_creditor_reference, normalised, outermost, runs


@pytest.mark.parametrize(
    ("text", "number", "there"),
    [
        ("INV-1042", "INV-1042", True),
        ("paying inv 1042 today", "INV-1042", True),
        ("INV/1042.", "inv-1042", True),
        ("INV-10421", "INV-1042", False),  # the false match of substring search
        ("XINV-1042", "INV-1042", False),
        ("facture nº F 2026 000 17", "F-2026-000-17", True),
        ("12", "12", False),  # too short to be a sign
        ("MERCI", "MERCI", False),  # no digit
    ],
)
def test_whole_words_only(text, number, there):
    assert (normalised(number) in runs([text])) is there


def test_a_longer_find_hides_a_shorter_inside_it():
    found = runs(["INV 100 1"])
    assert outermost({value: found[value] for value in ("INV100", "INV1001")}) == ["INV1001"]


def test_the_same_number_elsewhere_still_counts():
    found = runs(["INV 100 1", "INV100"])
    assert outermost({value: found[value] for value in ("INV100", "INV1001")}) == ["INV100", "INV1001"]


@pytest.mark.parametrize(
    ("value", "valid"), [("RF18539007547034", True), ("RF19539007547034", False), ("RF18", False), ("539007547034", False)]
)
def test_creditor_references(value, valid):
    assert is_creditor_reference(value) is valid


@given(st.text(max_size=60))
def test_any_text_is_read_without_error(text):
    for value in runs([text]):
        assert normalised(value) == value


@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)
