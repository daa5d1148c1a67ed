"""CFONB 120: who pays and who is paid, reasons that are none."""

import bank_samples as samples
import pytest
from bank_samples import everything

OWN = "FR7630006000011234567890189"
OTHER = "FR1420041010050500013M02606"


def first_credit(complements: dict[str, str], old: str = "", new: str = ""):
    """The first movement of a day, a credit, with these complements (record 05) in place of its own."""
    lines = samples.cfonb120().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith("04"))
    behind = next(number for number, line in enumerate(lines) if number > at and line.startswith("04"))
    said = [lines[at + 1][:45] + f"{qualifier}{text:<70}  \n" for qualifier, text in complements.items()]
    movement = lines[at].replace(old, new)
    (statement,), found = everything("".join([*lines[:at], movement, *said, *lines[behind:]]).encode())
    assert (statement.verdict(), statement.account) == (None, OWN)
    return found[0]


@pytest.mark.parametrize(
    ("said", "name", "account", "virtual"),
    [
        ({"NPY": "DUPONT SA", "CPY": OTHER, "NBE": "VENDEUR SA", "CBE": OWN}, "DUPONT SA", OTHER, None),
        ({"NBE": "VENDEUR SA", "CBE": OWN}, None, None, None),  # who is paid is ourselves
        ({"CBE": OWN, "NPY": "DUPONT SA"}, "DUPONT SA", None, None),
        ({"NPY": "DUPONT SA", "CBE": OTHER}, "DUPONT SA", None, OTHER),
        ({"NBE": "DUPONT SA"}, "DUPONT SA", None, None),  # a bank that has the other there
    ],
)
def test_the_other_of_a_credit_is_who_pays_and_never_ourselves(said, name, account, virtual):
    one = first_credit(said)
    assert (one.kind, one.counterparty_name, one.counterparty_iban, one.virtual_iban) == ("payment", name, account, virtual)


@pytest.mark.parametrize("reason", ["00", "0 "])
def test_zeros_in_the_place_of_a_reason_are_none(reason):
    one = first_credit({"NPY": "DUPONT SA"}, "18020326  020326", f"18020326{reason}020326")
    assert (one.kind, one.return_reason) == ("payment", None)
