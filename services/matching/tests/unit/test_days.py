"""What a payer says of when: read, and held against items of one amount. Items are issued thirty days before they are due."""

from datetime import date, timedelta

import pytest
from enginecases import DAY, clues, found, item
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.days import OF_DAY, OF_MONTH, named_days
from matching.domain.engine.decision import never_automatic

OTHER = "the payer says of which day or month, and another item of the amount is of that"
LONG_AGO, JANUARY, FEBRUARY = -60, -20, 0
"""Days from the payment to the due date of items that were issued on 10 December, 19 January and 8 February."""


@pytest.mark.parametrize(
    ("lines", "day"),
    [
        (["RE VOM 19.01.2026"], OF_DAY),
        (["FACTURE DU 19/01/26"], OF_DAY),
        (["RE V. 19.1. DANKE"], OF_DAY),
        (["INVOICE 2026-01-19"], OF_DAY),
        (["RE VOM 19.01.20", "26"], OF_DAY),
        (["ABO 01/2026"], OF_MONTH),
        (["2026-01"], OF_MONTH),
        (["Licence janvier"], OF_MONTH),
        (["JANUAR2026"], OF_MONTH),
        (["Miete Jänner 2026"], OF_MONTH),
        (["SAMMELRECHNUNG KW 4"], OF_MONTH),
        (["FAELLIG 18.02.2026"], OF_MONTH),  # the due date
        (["RE VOM 20.01.2026"], 0),
        (["ABO 01/2025"], 0),
        (["JANUAR 2025"], 0),
        (["119.01.2026"], 0),
        (["MARTINA JANSEN"], 0),
        (["19.01"], 0),  # an amount
        (["KW 5"], 0),
        ([], 0),
    ],
)
def test_an_item_is_of_the_day_or_month_that_is_said(lines, day):
    assert named_days(lines).of(item("FA2024-00001", 500_00, JANUARY), DAY) == day


def test_a_day_just_before_the_booking_is_the_payments_own():
    said = named_days(["ZAHLLAUF 08.03.2026"])
    issued = item("FA2024-00001", 500_00, 28)
    assert issued.issue_date == date(2026, 3, 8)
    assert (said.of(issued, DAY), said.of(issued, DAY + timedelta(2))) == (0, OF_DAY)


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.sampled_from(["%d.%m.%Y", "%d/%m/%y", "%d-%m-%Y", "%Y-%m-%d"]))
def test_every_day_is_read_however_it_is_written(day, form):
    assert named_days([f"RE VOM {day.strftime(form)} DANKE"]).days == {(day.year, day.month, day.day)}


@given(st.text(max_size=300))
def test_no_text_is_too_odd(text):
    named_days([text, text])


@pytest.mark.parametrize(
    ("text", "number", "refused"),
    [
        ("", "1", None),  # the oldest
        ("RE VOM 08.02.2026", "3", None),
        ("LICENCE FEVRIER", "3", OTHER),  # or a payment of that month
        ("LICENCE DECEMBRE", "1", None),
        ("LICENCE MAI", "1", None),
    ],
)
def test_of_items_of_an_amount_that_of_the_day_is_paid_and_by_a_month_none_is_passed_over(text, number, refused):
    every = found(clues(500_00, text), *(item(f"FA2024-0000{n}", 500_00, due) for n, due in enumerate((LONG_AGO, JANUARY, FEBRUARY), 1)))
    (best,) = [one for one in every if one.rule == "exact_amount:exact"]
    assert (best.lines[0].item.number[-1], never_automatic([best])) == (number, refused)


@pytest.mark.parametrize(("text", "doubted"), [("RE VOM 08.02.2026", True), ("RE VOM 09.02.2026", False), ("LICENCE FEVRIER", False)])
def test_the_day_of_an_item_of_another_amount_may_mean_a_part_of_that(text, doubted):
    every = found(clues(500_00, text), item("FA2024-00001", 500_00, JANUARY), item("FA2024-00002", 700_00, FEBRUARY))
    (best,) = [one for one in every if one.rule == "exact_amount:exact"]
    assert (never_automatic([best]) == "the payer says of which day, and an item of another amount is of that") == doubted


def test_two_items_of_the_day_and_amount_are_a_tie():
    items = item("FA2024-00001", 500_00, FEBRUARY), item("FA2024-00002", 500_00, FEBRUARY)
    items[1].due_date += timedelta(14)
    (best,) = [one for one in found(clues(500_00, "RE VOM 08.02.2026"), *items) if one.rule == "exact_amount:exact"]
    assert never_automatic([best]) == OTHER


def test_of_two_months_the_items_in_due_order_are_not_taken_instead():
    every = found(
        clues(1_000_00, "01/2026+02/2026"),
        *(item(f"FA2024-0000{n}", 500_00, due) for n, due in enumerate((LONG_AGO, JANUARY, FEBRUARY), 1)),
    )
    runs = [one for one in every if one.rule == "run_of_items:exact"]
    assert {tuple(line.item.number[-1] for line in one.lines) for one in runs} == {("1", "2")}
    assert [never_automatic([one]) for one in runs] == [OTHER]


def test_a_word_of_when_says_nothing_against_what_is_named():
    every = found(
        clues(500_00, "FA2024-00001 LICENCE FEVRIER"), item("FA2024-00001", 500_00, LONG_AGO), item("FA2024-00002", 500_00, FEBRUARY)
    )
    (best,) = [one for one in every if one.rule == "document_number:exact"]
    assert never_automatic([best]) is None


@pytest.mark.parametrize(("text", "kept"), [("ACOMPTE", True), ("CHANTIER 08.02. ACOMPTE", False), ("CHANTIER 09.02. ACOMPTE", True)])
def test_what_is_called_an_advance_and_says_the_day_of_an_item_is_a_part_of_that(text, kept):
    every = found(clues(100_00, text), item("FA2024-00001", 500_00, FEBRUARY))
    assert [one.rule for one in every if not one.lines] == ["advance:on_account"] * kept


@pytest.mark.parametrize(
    ("text", "named"), [("REGLEMENT 08/2024", []), ("REGLEMENT 2024", ["24042024"]), ("08/2024 24042024", ["24042024"])]
)
def test_the_year_of_a_month_is_no_ending_of_a_number(text, named):
    every = found(clues(500_00, text), item("24042024", 900_00), item("24042025", 500_00))
    assert {line.item.number for one in every if one.rule.startswith("document_number") for line in one.lines} == set(named)
