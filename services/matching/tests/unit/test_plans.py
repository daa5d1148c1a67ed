"""What is expected of a payment plan."""

from datetime import date, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from matching.domain.plans import Instalment, cut, restore, through

A, B = UUID(int=1), UUID(int=2)


def plan(*opens):
    return [Instalment(number, date(2026, 1, 1) + timedelta(days=number), amount) for number, amount in enumerate(opens, 1)]


def shares(found):
    return [(one.amount_minor, [(line.item_id, line.net_minor) for line in one.lines]) for one in found]


def test_each_instalment_with_all_before_it_in_the_plans_order():
    assert shares(through([(A, 150), (B, 50)], plan(100, 100), {A: 150})) == [(100, [(A, 100)]), (200, [(A, 150), (B, 50)])]


def test_what_is_not_owed_any_more_has_met_the_first_instalments():
    assert shares(through([(A, 150), (B, 50)], plan(100, 100), {A: 30, B: 50})) == [(0, []), (80, [(A, 30), (B, 50)])]


def test_an_instalment_of_nothing_is_not_expected_again():
    assert [one.amount_minor for one in through([(A, 150)], plan(0, 100, 50, 0), {A: 150})] == [0, 100, 150, 0]


def test_what_is_owed_less_and_was_not_paid_takes_from_the_last_instalments():
    left, rest = cut([(A, 150), (B, 50)], plan(100, 60, 40), {A: (50, 20), B: (90, 30)})  # 100 of A was paid before that
    assert (left, [one.open_minor for one in rest]) == ([(A, 120), (B, 30)], [100, 50, 0])


@given(st.integers(0, 150), st.integers(0, 90), st.integers(0, 150), st.integers(0, 90))
def test_what_is_owed_again_goes_back_where_it_was_taken(a, b, less_of_a, less_of_b):
    left, agreed = [(A, 150), (B, 50)], plan(100, 60, 40)
    owed = {A: (a, max(0, a - less_of_a)), B: (b, max(0, b - less_of_b))}
    rest, kept = cut(left, agreed, owed)
    taken = {item: was - now for (item, was), (_, now) in zip(left, rest, strict=True)}
    assert restore(rest, kept, taken, {item: (now, was) for item, (was, now) in owed.items()}) == (left, agreed)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.lists(st.integers(0, 60), min_size=5, max_size=5), st.data())
def test_amounts_differ_and_are_never_more_than_is_owed(opens, owed, data):
    total, left = sum(opens), []
    for number in range(4):
        left.append((UUID(int=number), data.draw(st.integers(0, total - sum(amount for _, amount in left)))))
    left.append((UUID(int=4), total - sum(amount for _, amount in left)))
    known = {UUID(int=number): amount for number, amount in enumerate(owed)}
    found = through(left, plan(*opens), known)
    amounts = [one.amount_minor for one in found if one.amount_minor]
    assert amounts == sorted(set(amounts))
    for one in found:
        assert sum(line.net_minor for line in one.lines) == one.amount_minor
        assert all(0 < line.net_minor <= known[line.item_id] for line in one.lines)
