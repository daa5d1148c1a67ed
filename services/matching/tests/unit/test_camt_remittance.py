"""Structured remittance of camt: documents, references, and what is remitted for each."""

import io

import camtfile
import pytest
from matching.bankfiles import read


def remittance(amount, *structured):
    data = camtfile.statement("FR7630006000011234567890189", "0.00", amount, camtfile.entry(amount, ref="B1", structured=structured))
    ((_, entry), _) = read(io.BytesIO(data))
    (one,) = entry.transactions
    return one.remittance, [reference.value for reference in one.references]


@pytest.mark.parametrize(
    ("amount", "structured", "lines"),
    [
        ("900.00", [("F-1", "600.00"), ("F-2", "300")], ["F-1 600.00", "F-2 300.00"]),
        ("500.00", [("F-1", "600.00"), ("A-2", "-100.00")], ["F-1 600.00", "A-2 -100.00"]),
        ("900.00", [("F-1", "600.00"), ("F-2", "300.01")], ["F-1", "F-2"]),  # not what was paid
        ("900.00", [("F-1", "600.00"), ("F-2", "3,00")], ["F-1", "F-2"]),  # no amount of XML
        ("900.00", [("F-1", "900.00")], ["F-1"]),  # all of it
    ],
)
def test_what_is_remitted_stands_behind_its_document_where_it_is_all_that_was_paid(amount, structured, lines):
    assert remittance(amount, *structured) == (lines, [])


def test_references_without_amounts_are_references():
    assert remittance("900.00", "REF000001", "REF000002") == ([], ["REF000001", "REF000002"])
