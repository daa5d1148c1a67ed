"""What counts as a document number in free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.references import normalised, runs


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


@given(st.text(max_size=60))
def test_any_text_is_read_without_error(text):
    for value in runs([text]):
        assert normalised(value) == value


@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)
