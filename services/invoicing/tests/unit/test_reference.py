import csv
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from invoicing.domain.reference import creditor_reference, is_creditor_reference
from stdnum.iso11649 import is_valid


@given(st.text(max_size=60), st.uuids())
def test_made_references_are_valid_for_every_number(number, invoice_id):
    made = creditor_reference(number, invoice_id)
    assert is_valid(made)
    assert is_creditor_reference(made)
    assert len(made) <= 25
    assert made == creditor_reference(number, invoice_id)


@given(st.from_regex("RF[0-9]{2}[0-9A-Z]{1,21}", fullmatch=True))
def test_agrees_with_the_library(text):
    assert is_creditor_reference(text) == is_valid(text)


def test_shows_the_number_and_tells_alike_numbers_apart():
    one, two = creditor_reference("2026-01", UUID(int=1)), creditor_reference("20-2601", UUID(int=2))
    assert one[4:10] == two[4:10] == "202601"
    assert one != two


def test_published_vectors(shared_data):
    rows = csv.DictReader((shared_data / "vectors" / "identifiers.csv").read_text(encoding="utf-8").splitlines())
    vectors = [(row["value"], row["verdict"]) for row in rows if row["kind"].startswith("RF")]
    assert vectors
    wrong = [(value, verdict) for value, verdict in vectors if is_creditor_reference(value) != (verdict == "valid")]
    assert wrong == []
