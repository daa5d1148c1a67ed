from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting.api.models import decimal_text
from reporting.domain import dso
from reporting.domain.ageing import BUCKETS, OTHERS, Ageing, bucket

_MONEY = st.integers(-(2**62), 2**62)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-40, "not_due"),
        (0, "not_due"),
        (1, "days_1_30"),
        (30, "days_1_30"),
        (31, "days_31_60"),
        (60, "days_31_60"),
        (61, "days_61_90"),
        (90, "days_61_90"),
        (91, "days_91_plus"),
        (4000, "days_91_plus"),
    ],
)
def test_a_bucket_counts_from_the_day_after_the_due_date(days, expected):
    due = date(2026, 3, 31)
    assert bucket(due, due + timedelta(days=days)) == expected


@given(st.lists(_MONEY, min_size=9, max_size=9))
def test_the_sums_of_ageing_follow_from_its_parts(amounts):
    found = Ageing.of({f"{name}_minor": amount for name, amount in zip((*BUCKETS, *OTHERS), amounts, strict=True)})
    assert found.open == sum(amounts[:5])
    assert found.overdue == found.open - amounts[0]
    assert found.net == found.open + found.credit_notes + found.unapplied


def test_period_dso():
    assert dso.period(454_000_00, 1_289_000_00, 90).value == Fraction(454_000 * 90, 1_289_000)
    assert dso.period(0, 100, 90).value == 0
    assert dso.period(-50, 100, 30).value == -15
    assert dso.period(100, 0, 90).value is None
    assert dso.period(100, -5, 90).value is None
    with pytest.raises(ValueError, match="at least one day"):
        dso.period(1, 1, 0)


def test_count_back_takes_whole_months_and_the_fraction_of_the_last():
    # 12,000 owed: 4,000 + 5,000 in the two latest months, 3,000 of the 6,000 before: 31 + 30 + 15.5
    assert dso.count_back(12_000, [(31, 4_000), (30, 5_000), (31, 6_000), (28, 9_000)]) == (Fraction(153, 2), True)
    assert dso.count_back(4_000, [(15, 4_000), (30, 5_000)]) == (15, True)
    assert dso.count_back(1, [(30, 3)]) == (10, True)


def test_count_back_stops_where_sales_do():
    assert dso.count_back(10, [(31, 4), (30, 0), (31, 100)]) == (31, False)
    assert dso.count_back(10, [(31, -4), (30, 50)]) == (0, False)
    assert dso.count_back(10, []) == (0, False)
    assert dso.count_back(0, [(31, 4)]) == (0, True)
    assert dso.count_back(-7, [(31, 4)]) == (0, True)


@given(st.integers(0, 10**15), st.lists(st.tuples(st.integers(1, 31), st.integers(1, 10**14)), max_size=40))
def test_count_back_explains_exactly_the_receivables(receivables, months):
    counted, exhausted = dso.count_back(receivables, months)
    assert exhausted == (receivables <= sum(sales for _, sales in months))
    left, explained = counted, Fraction(0)
    for days, sales in months:
        taken = min(left, Fraction(days))
        explained += sales * taken / days
        left -= taken
    assert explained == min(receivables, sum(sales for _, sales in months))


def test_months_go_back_over_a_year_with_the_latest_cut_at_the_day():
    assert dso.months_back(date(2026, 2, 10), 4) == [
        (date(2026, 2, 1), 10),
        (date(2026, 1, 1), 31),
        (date(2025, 12, 1), 31),
        (date(2025, 11, 1), 30),
    ]


def test_a_day_without_anything_has_undefined_figures_and_never_zero():
    figures = dso.measure(Ageing.none(), {}, date(2026, 6, 15))
    assert {name: figure.value for name, figure in figures.items()} == {
        "dso_period": None,
        "dso_count_back": 0,
        "best_possible_dso": None,
        "overdue_share": None,
        "at_risk_share": None,
    }
    assert figures.keys() == dso.DEFINITIONS.keys()


@given(st.fractions())
def test_a_figure_for_people_is_the_exact_one_rounded_half_even(value):
    assert Fraction(decimal_text(value)) == round(value, 4)
