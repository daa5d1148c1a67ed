"""How far the bank's word reaches."""

from datetime import date

import pytest
from matching.domain.reconciliation import Balances, Covered, Reach, reach, stands_apart, told_days
from matching.domain.statements import Day

START = date(2026, 3, 2)


def day(number: int) -> date:
    return date(2026, 3, number)


def one(first: int, opening: int, closing: int, *, last: int | None = None, sequence: int | None = None) -> Covered:
    return Covered(day(first), day(last or first), sequence, opening, closing)


def test_nothing_is_known_before_the_first_statement():
    assert reach(START, []) is None
    assert reach(START, [Covered(date(2026, 2, 1), date(2026, 2, 1), 1, 0, 0)]) is None


def test_days_without_entries_count_when_balances_connect():
    assert reach(START, [one(2, 0, 10), one(5, 10, 20)]) == Reach(day(5), day(5), [])


def test_a_missing_number_is_a_gap_even_when_balances_connect():
    assert reach(START, [one(2, 0, 10, sequence=1), one(5, 10, 20, sequence=3)]) == Reach(day(5), day(2), [(day(3), day(4))])


def test_a_balance_that_does_not_connect_is_a_gap():
    assert reach(START, [one(2, 0, 10), one(3, 11, 11)]) == Reach(day(3), day(1), [(day(2), day(2))])
    assert reach(START, [one(2, 0, 10), one(6, 11, 11)]) == Reach(day(6), day(2), [(day(3), day(5))])


def test_a_late_statement_closes_the_gap():
    assert reach(START, [one(2, 0, 10), one(6, 11, 11), one(4, 10, 11)]) == Reach(day(6), day(6), [])


def test_overlapping_statements_and_pages_of_one_day():
    assert reach(START, [one(2, 0, 10), one(2, 0, 30, last=6)]) == Reach(day(6), day(6), [])
    assert reach(START, [one(2, 0, 5), one(2, 5, 10), one(3, 10, 10)]) == Reach(day(3), day(3), [])


def test_the_account_starts_later_than_the_first_statement():
    assert reach(START, [one(4, 0, 0)]) == Reach(day(4), day(1), [(day(2), day(3))])


@pytest.mark.parametrize(
    ("one", "others", "apart"),
    [
        ((10, 20), [(0, 10)], True),
        ((0, 10), [(10, 20)], True),
        ((10, 20), [(20, 25), (0, 10)], True),
        ((20, 25), [(10, 20), (0, 10)], True),
        ((10, 20), [], False),
        ((10, 20), [(0, 10), (40, 50)], False),  # one is missing: it may be anywhere
        ((0, 10), [(0, 10)], False),  # the same
        ((0, 30), [(0, 10)], False),  # a longer one
        ((5, 10), [(0, 10)], False),
        ((10, 10), [(0, 10)], False),  # what moves nothing proves nothing
        ((0, 10), [(10, 0), (0, 10)], False),
    ],
)
def test_balances_prove_that_a_statement_has_entries_of_its_own(one, others, apart):
    assert stands_apart(told(*one), [told(*other) for other in others]) is apart


DAILY = [(0, 10, (2, 1, 10)), (10, 15, (3, 2, 5)), (15, 30, (4, 1, 15))]
WEEK = (0, 30, (2, 1, 10), (3, 2, 5), (4, 1, 15))


@pytest.mark.parametrize(
    ("one", "others", "days"),
    [
        (DAILY[0], [DAILY[0]], {2}),
        (WEEK, DAILY[::-1], {2, 3, 4}),  # day by day
        (WEEK, DAILY[1:], {3, 4}),
        (DAILY[1], [WEEK], {3}),
        ((15, 45, (4, 1, 15), (5, 1, 15)), [WEEK], {4}),  # two weeks, say
        ((0, 30, (4, 4, 30)), [WEEK], {4}),  # it says the days otherwise
        ((0, 30, (4, 3, 30)), [WEEK], set()),
        ((0, 10, (2, 1, 10)), [(0, 30, (2, 3, 30))], set()),  # a part, perhaps
        ((0, 0, (2, 2, 0)), [(0, 0, (2, 2, 0))], set()),  # what moves nothing proves nothing
        ((0, 10, (2, 1, 10)), [(0, 20, (2, 1, 20)), (20, 0, (2, 1, -20)), (0, 10, (2, 1, 10))], {2}),
        (DAILY[0], [], set()),
    ],
)
def test_balances_prove_which_days_of_a_statement_others_have_told(one, others, days):
    assert told_days(told(*one), [told(*other) for other in others]) == {day(number) for number in days}


@pytest.mark.parametrize(
    ("one", "pages", "days"),
    [
        ((0, 10, (2, 4, 6)), [], {2}),  # the first of its pages
        ((10, 25, (2, 15)), [(0, 10, (2, 4, 6))], {2}),
        ((25, 30, (2, 5)), [(10, 25, (2, 15)), (0, 10, (2, 4, 6))], {2}),
        ((10, 25, (2, 15)), [], set()),
        ((0, 10, (2, 10)), [], set()),  # another one, by its amount
        ((0, 40, (2, 4, 6, 15, 5, 10)), [], set()),  # more than that
        ((30, 36, (2, 6)), [(0, 30, (2, 4, 6, 15, 5))], set()),  # after that
        ((10, 25, (2, 15)), [(0, 30, (2, 4, 6, 15, 5)), (0, 10, (2, 4, 6))], {2}),  # which came in its own format, too
        ((0, 10, (3, 4, 6)), [], set()),  # another day
        ((0, 0, (2, 4, -4)), [], set()),
    ],
)
def test_pages_of_what_was_told_whole_tell_nothing_new(one, pages, days):
    def paged(opening, closing, *days):
        moved = [(day(number), Day(len(amounts), sum(amounts), list(amounts))) for number, *amounts in days]
        return Balances(opening, closing, moved, "MT940", "1", earlier=True)

    whole = paged(0, 30, (2, 4, 6, 15, 5))
    assert told_days(paged(*one), [whole], [paged(*other) for other in pages]) == {day(number) for number in days}
    assert told_days(paged(*one), [whole]) == set()


def told(opening, closing, *days):
    moved = [(day(number), Day(entries, minor)) for number, entries, minor in days]
    return Balances(opening, closing, moved, "camt.053", "1", earlier=True)
