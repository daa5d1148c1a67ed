"""How a payment plan stands, and the verdict on it."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from dunning.domain.plan import Instalment, Owed, deadlines, judge, standing
from hypothesis import given
from hypothesis import strategies as st

A, B = UUID(int=1), UUID(int=2)
FIRST = date(2025, 4, 1)
DAYS = [FIRST, FIRST + timedelta(days=30), FIRST + timedelta(days=60)]
THREE = [Instalment(number, day, 100) for number, day in enumerate(DAYS, 1)]
AGREED = {A: 200, B: 100}


def now(paid, in_time=None, owed=None):
    """`paid` of A and B, the same at each deadline unless said, all else owed unless said."""
    return standing(
        AGREED,
        THREE,
        paid=dict(zip(AGREED, paid, strict=True)),
        in_time=[dict(zip(AGREED, each, strict=True)) for each in in_time or [paid] * 3],
        owed=owed or {item: Owed(AGREED[item] - got, 0) for item, got in zip(AGREED, paid, strict=True)},
    )


def test_a_part_of_an_instalment_is_remembered():
    seen = now((150, 0))
    assert (seen.left, seen.open, seen.missing) == ({A: 50, B: 100}, [0, 50, 100], [0, 50, 150])


def test_what_is_credited_takes_from_the_last_instalment():
    seen = now((100, 0), owed={A: Owed(100, 0), B: Owed(40, 0)})
    assert (seen.open, seen.missing) == ([0, 100, 40], [0, 100, 140])


def test_what_is_contested_is_not_expected_and_settles_nothing():
    seen = now((200, 0), owed={A: Owed(0, 0), B: Owed(100, 100)})
    assert (seen.open, seen.missing, seen.settled) == ([0, 0, 0], [0, 0, 0], False)
    assert judge(seen, DAYS, gate=DAYS[2], maybe_covered=False) is None


def test_money_beyond_what_an_item_has_in_the_plan_meets_no_instalment():
    assert now((0, 150), owed={A: Owed(200, 0), B: Owed(0, 0)}).open == [0, 100, 100]


@pytest.mark.parametrize(
    ("paid", "in_time", "gate", "covered", "verdict"),
    [
        ((200, 100), None, None, False, ("completed", None)),
        ((200, 100), [(0, 0), (200, 0), (200, 100)], DAYS[0], False, ("broken", 0)),
        ((200, 100), [(0, 0), (200, 0), (200, 100)], DAYS[0] - timedelta(days=1), False, None),
        ((100, 0), [(100, 0), (100, 0), (100, 0)], DAYS[0], False, None),
        ((100, 0), [(100, 0), (100, 0), (100, 0)], DAYS[1], False, ("broken", 1)),
        ((100, 0), [(100, 0), (100, 0), (100, 0)], DAYS[1], True, None),
        ((100, 0), [(100, 0), (100, 0), (100, 0)], None, False, None),
    ],
)
def test_the_verdict_on_a_plan(paid, in_time, gate, covered, verdict):
    assert judge(now(paid, in_time), DAYS, gate=gate, maybe_covered=covered) == verdict


def test_grace_moves_the_last_day_and_never_beyond_the_calendar():
    assert deadlines(THREE, 3) == [day + timedelta(days=3) for day in DAYS]
    assert deadlines([Instalment(1, date.max, 1)], 60) == [date.max]


_PART = st.integers(0, 100)


@given(st.tuples(_PART, _PART), st.tuples(_PART, _PART), st.tuples(_PART, _PART))
def test_never_more_is_expected_than_is_owed_and_the_sums_agree(paid, credited, contested):
    owed = {
        item: Owed(max(0, AGREED[item] - paid[at] - credited[at]), min(contested[at], max(0, AGREED[item] - paid[at] - credited[at])))
        for at, item in enumerate(AGREED)
    }
    seen = now(paid, owed=owed)
    assert sum(seen.open) == sum(seen.left.values())
    assert all(0 <= seen.left[item] <= owed[item].open_minor - owed[item].contested_minor for item in AGREED)
    assert all(0 <= rest <= each.amount_minor for rest, each in zip(seen.open, THREE, strict=True))
    assert seen.settled == all(each.open_minor == 0 for each in owed.values())
