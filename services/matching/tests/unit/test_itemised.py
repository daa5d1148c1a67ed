"""What a payer says of how much is for which item, in amounts that come to what he paid."""

import pytest
from enginecases import DAY, clues, found, item, settled
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.decision import never_automatic
from matching.domain.engine.text import read

ITEMS = (item("FA2024-00001", 600_00), item("FA2024-00002", 400_00, 3), item("FA2024-00003", 1_000_00, 5), item("AV2024-00009", -100_00))
PARTS = {"FA2024-00001": 600_00, "FA2024-00003": 300_00}


@pytest.mark.parametrize(
    ("paid", "text", "settles"),
    [
        (900_00, "FA2024-00001 600,00 FA2024-00003 300,00", PARTS),
        (900_00, "FA2024-00001: EUR 600.00; FA2024-00003: EUR 300.00; TOTAL EUR 900.00", PARTS),
        (900_00, "600,00 FA2024-00001 300,00 FA2024-00003", PARTS),
        (800_00, "FA2024-00001 600,00 FA2024-00003 300,00 AV2024-00009 -100,00", {**PARTS, "AV2024-00009": -100_00}),
        (800_00, "FA2024-00001 600,00 FA2024-00003 300,00 AV2024-00009 100,00-", {**PARTS, "AV2024-00009": -100_00}),
        (900_00, "FA2024-00001 600,00 FA2024-00003 300,01", None),  # they come to more
        (900_00, "FA2024-00001 600,00 FA2024-00003", None),
        (900_00, "FA2024-00001 FA2024-00003 600,00 300,00", None),  # which is for which is not said
        (900_00, "FA2024-00001 500,00 FA2024-00002 400,00 FA2024-00003", None),
        (1_200_00, "FA2024-00001 700,00 FA2024-00003 500,00", None),  # the first owes less
    ],
)
def test_each_item_gets_what_the_payer_says(paid, text, settles):
    every = found(clues(paid, text), *ITEMS)
    told = [lines for lines in settled(every, "document_number:short") if len(lines) > 1]
    assert told == ([settles] if settles else [])
    if settles:
        (one,) = [one for one in every if one.rule == "document_number:short" and len(one.lines) > 1]
        assert never_automatic([one]) is None


def test_what_may_be_a_discount_or_a_banks_charge_is_for_a_person_as_it_is_of_one_item():
    (one,) = [one for one in found(clues(970_00, "FA2024-00001 570,00 FA2024-00002 400,00"), *ITEMS) if one.rule.endswith(":short_round")]
    assert {line.item.number: line.cents for line in one.lines} == {"FA2024-00001": 570_00, "FA2024-00002": 400_00}
    assert never_automatic([one]) == "what is missing may be a bank's charge, or a discount that nobody offered"


def test_the_discount_of_the_terms_is_taken_of_the_item_that_it_is_said_of():
    first = item("FA2024-00001", 600_00, 20, discount_percent=2.0, discount_until=DAY)
    second = item("FA2024-00002", 400_00, 20, discount_percent=2.0, discount_until=DAY)
    every = found(clues(988_00, "FA2024-00001 588,00 FA2024-00002 400,00"), first, second)
    assert {"FA2024-00001": 600_00, "FA2024-00002": 400_00} in settled(every, "document_number:exact")


def test_an_amount_that_was_paid_is_no_number_that_nobody_can_read():
    (one,) = [one for one in found(clues(300_00, "FA2024-00003 300,00"), *ITEMS) if one.rule == "document_number:short"]
    assert not one.unread


def test_where_amounts_do_not_come_to_what_was_paid_they_are_read_as_numbers():
    assert "12345678" in read(["123456,78"], paid=(1, "EUR")).runs
    assert not read(["123456,78"], paid=(12_345_678, "EUR")).runs
    for currency in ("JPY", "HRK", ""):  # which has no decimals, is no more, is not known
        assert read(["123456,78"], paid=(12_345_678, currency)).runs


def test_a_payment_in_a_currency_that_is_no_more_is_read_as_any_other():
    lost = item("FA2024-00001", 600_00, currency="HRK")
    assert settled(found(clues(600_00, "FA2024-00001", currency="HRK"), lost), "document_number:exact") == [{"FA2024-00001": 600_00}]


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=8),
    st.sampled_from(["{0},{1:02}", "{0}.{1:02}", "EUR {0},{1:02}", "{0},{1:02} EUR"]),
    st.booleans(),
)
def test_the_amounts_of_a_text_are_found_whatever_their_form(amounts, form, total):
    paid = sum(amounts)
    text = " ".join(f"FA{number} {form.format(*divmod(amount, 100))}" for number, amount in enumerate(amounts, 100))
    if total:
        text += f" TOTAL {form.format(*divmod(paid, 100))}"
    told = read([text], paid=(paid, "EUR")).amounts.told
    assert [one.minor for one in told] == amounts
