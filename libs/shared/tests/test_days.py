"""The business day and where it begins: 23:00 UTC in winter, 22:00 in summer."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from shared.days import business_day, day_start


def test_the_business_day_is_that_of_paris():
    assert business_day(datetime(2025, 6, 1, 21, 59, tzinfo=UTC)) == date(2025, 6, 1)
    assert business_day(datetime(2025, 6, 1, 22, 0, tzinfo=UTC)) == date(2025, 6, 2)
    assert business_day(datetime(2025, 12, 1, 22, 59, tzinfo=UTC)) == date(2025, 12, 1)
    assert business_day(datetime(2025, 12, 31, 23, 0, tzinfo=UTC)) == date(2026, 1, 1)


@given(st.dates(min_value=date(1950, 1, 1), max_value=date(2200, 1, 1)))
def test_a_day_goes_from_its_start_to_the_next_ones(day):
    first, after = day_start(day).astimezone(UTC), day_start(day + timedelta(days=1)).astimezone(UTC)
    assert business_day(first) == business_day(after - timedelta(microseconds=1)) == day
    assert business_day(first - timedelta(microseconds=1)) < day
