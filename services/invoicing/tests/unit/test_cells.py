"""Amounts and dates as sources write them: what is written is read back, what has another form is refused."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing.domain.cells import CellError, NumberFormat, check_date_form, parse_amount, parse_date, write_amount, write_date
from shared.money import MAX_MINOR

FORMATS = st.builds(
    NumberFormat,
    decimal=st.sampled_from([".", ","]),
    thousands=st.sampled_from(["", " ", "'"]),
    negative=st.sampled_from(["leading", "trailing", "parentheses"]),
)
DATE_FORMS = ["YYYY-MM-DD", "DD.MM.YYYY", "MM/DD/YYYY", "DD/MM/YYYY", "YYYYMMDD", "D.M.YYYY", "DD-MM-YY", "M/D/YY"]
GERMAN, FRENCH, SAP = NumberFormat(",", "."), NumberFormat(",", " "), NumberFormat(",", ".", "trailing")


@given(amount=st.integers(-MAX_MINOR, MAX_MINOR), form=FORMATS, places=st.sampled_from([0, 2, 3, 4]))
def test_an_amount_is_read_as_it_was_written(amount, form, places):
    assert parse_amount(write_amount(amount, form, places), form, places) == amount


@given(day=st.dates(date(2000, 1, 1), date(2099, 12, 31)), form=st.sampled_from(DATE_FORMS))
def test_a_day_is_read_as_it_was_written(day, form):
    assert parse_date(write_date(day, form), [form]) == day


@given(
    day=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    written=st.sampled_from(DATE_FORMS),
    declared=st.lists(st.sampled_from(DATE_FORMS), min_size=1),
)
def test_a_day_is_never_another_one_where_its_own_form_is_declared(day, written, declared):
    """With several forms declared, a text is the day that was meant, or it is refused."""
    forms = [*declared, written]
    text = write_date(day, written)
    readings = {parse_date(text, [form]) for form in forms if _reads(text, form)}
    if len(readings) == 1:
        assert parse_date(text, forms) == day
    else:
        with pytest.raises(CellError, match="may be"):
            parse_date(text, forms)


def _reads(text: str, form: str) -> bool:
    try:
        parse_date(text, [form])
    except CellError:
        return False
    return True


@given(text=st.one_of(st.text(max_size=40), st.text("0123456789.,' -()", max_size=20)), form=FORMATS)
def test_any_text_is_refused_or_means_its_own_digits(text, form):
    """Whatever is read has the digits of the text, in their order: nothing is dropped, added or moved but zeros at the ends."""
    try:
        amount = parse_amount(text, form, 2)
    except CellError:
        return
    whole, _, fraction = "".join(char for char in text if char.isdigit() or char == form.decimal).partition(form.decimal)
    assert abs(amount) == int(whole) * 100 + int((fraction + "00")[:2])
    assert not fraction[2:].strip("0")


@pytest.mark.parametrize(
    ("text", "form", "places", "amount"),
    [
        ("1.234,50", GERMAN, 2, 123450),
        ("1234,5", GERMAN, 2, 123450),
        ("1\u202f234\u00a0567,00", FRENCH, 2, 123456700),
        ("1.234,50-", SAP, 2, -123450),
        ("(12.00)", NumberFormat(negative="parentheses"), 2, -1200),
        ("1.500", NumberFormat(), 2, 150),
        ("1'234.50", NumberFormat(".", "'"), 2, 123450),
        ("1234", GERMAN, 0, 1234),
        ("12,345", GERMAN, 3, 12345),
    ],
)
def test_amounts(text, form, places, amount):
    assert parse_amount(text, form, places) == amount


@pytest.mark.parametrize(
    ("text", "form", "rule"),
    [
        ("1,234", GERMAN, "number-places"),  # a thousand to an American: never 1.23, and never 1234
        ("1.23", GERMAN, "number-form"),
        ("1.2345,00", GERMAN, "number-form"),
        ("12.34.567,00", GERMAN, "number-form"),
        ("1 234,50", GERMAN, "number-form"),
        ("-12,00", SAP, "number-form"),
        ("--12", NumberFormat(), "number-form"),
        ("(12", NumberFormat(negative="parentheses"), "number-form"),
        ("12)", NumberFormat(negative="parentheses"), "number-form"),
        ("1e5", NumberFormat(), "number-form"),
        ("\u0661\u0662", NumberFormat(), "number-form"),
        ("12 EUR", NumberFormat(), "number-form"),
        ("12.005", NumberFormat(), "number-places"),
        (".50", NumberFormat(), "number-form"),
        ("12.", NumberFormat(), "number-form"),
        ("", NumberFormat(), "number-form"),
        ("1000000000000000000", NumberFormat(), "number-range"),
        ("9" * 30, NumberFormat(), "number-range"),
        ("9" * 3_000_000, NumberFormat(), "number-form"),
    ],
)
def test_amounts_that_are_refused(text, form, rule):
    with pytest.raises(CellError) as refused:
        parse_amount(text, form, 2)
    assert refused.value.rule == rule
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(
    ("text", "forms", "rule"),
    [
        ("03/04/2026", ["DD/MM/YYYY", "MM/DD/YYYY"], "date-ambiguous"),
        ("31.02.2026", ["DD.MM.YYYY"], "date-form"),
        ("2026-3-5", ["YYYY-MM-DD"], "date-form"),
        ("05.03.26", ["DD.MM.YYYY"], "date-form"),
        ("0000-01-01", ["YYYY-MM-DD"], "date-form"),
        ("05.03.2026 00:00", ["DD.MM.YYYY"], "date-form"),
        ("46086", ["DD.MM.YYYY"], "date-form"),
    ],
)
def test_days_that_are_refused(text, forms, rule):
    with pytest.raises(CellError) as refused:
        parse_date(text, forms)
    assert refused.value.rule == rule


def test_a_day_that_only_one_form_reads_or_both_read_alike_is_that_day():
    assert parse_date("25/04/2026", ["DD/MM/YYYY", "MM/DD/YYYY"]) == date(2026, 4, 25)
    assert parse_date("04/04/2026", ["DD/MM/YYYY", "MM/DD/YYYY"]) == date(2026, 4, 4)


@pytest.mark.parametrize("form", ["DD.MM", "YYYY", "DDMMYYYYY", "DMYYYY", "YYYY-MM-DDT", "DD..MM.YYYY", "DD.DD.YYYY", "", "%d.%m.%Y"])
def test_date_forms_that_are_none(form):
    with pytest.raises(ValueError, match=r"date form|digits"):
        check_date_form(form)


def test_separators_that_cannot_be_told_apart_are_no_form():
    with pytest.raises(ValueError, match="separator"):
        NumberFormat(",", ",")
