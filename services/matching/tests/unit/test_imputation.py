"""The order that the law sets for what the debtor did not name. Golden cases follow the words of Code civil art. 1342-10, 1343-1."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.imputation import Debt, UnknownLawError, impute

TODAY = date(2026, 3, 10)


def debt(name: str, amount: int, due: int, burden: int = 0, kind="principal") -> Debt:
    day = TODAY + timedelta(days=due)
    return Debt(name, kind, day, day - timedelta(30), amount, burden)


def order(amount, *debts, **terms):
    return [(one.item_id, part) for one, part in impute(amount, debts, "FR", TODAY, **terms)]


def test_debts_that_are_due_come_first():
    assert order(150, debt("later", 100, 5, burden=900), debt("due", 120, -1)) == [("due", 120), ("later", 30)]


def test_among_due_ones_the_one_that_burdens_the_debtor_most_then_the_oldest():
    assert order(130, debt("old", 70, -90), debt("dear", 50, -2, burden=1215), debt("new", 90, -5)) == [
        ("dear", 50),
        ("old", 70),
        ("new", 10),
    ]


def test_debts_alike_share_in_proportion_to_the_cent():
    assert order(101, debt("a", 100, -3), debt("b", 200, -3)) == [("a", 34), ("b", 67)]


def test_an_exact_amount_is_a_choice_and_interest_never_comes_before_it():
    late = debt("interest", 40, -50, kind="interest")
    assert order(90, debt("old", 70, -90), debt("new", 90, -5), late, interest_first=True) == [("new", 90)]
    assert order(60, debt("old", 70, -90), late, interest_first=True) == [("interest", 40), ("old", 20)]
    assert order(60, debt("old", 70, -90), late) == [("old", 60)]


def test_a_law_that_is_not_known_is_refused():
    with pytest.raises(UnknownLawError, match="law of IT"):
        impute(10, [debt("a", 10, 0)], "IT", TODAY)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(-50, 50), st.integers(0, 2)), max_size=8), st.integers(1, 10**10))
def test_nothing_is_lost_and_no_debt_is_paid_twice_or_beyond(rows, amount):
    debts = [debt(str(at), owed, due, burden) for at, (owed, due, burden) in enumerate(rows)]
    parts = impute(amount, debts, "FR", TODAY)
    assert sum(part for _, part in parts) == min(amount, sum(one.open_minor for one in debts))
    assert all(0 < part <= one.open_minor for one, part in parts)
    assert len({id(one) for one, _ in parts}) == len(parts)


def test_an_item_paid_to_the_cent_is_chosen_with_all_its_instalments():
    parts = [debt("plan", 60, -40), debt("plan", 30, 20)]
    assert order(90, debt("old", 70, -90), *parts) == [("plan", 60), ("plan", 30)]
