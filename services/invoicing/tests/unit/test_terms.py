from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing.domain.terms import excess

DAYS = st.dates(date(1900, 1, 1), date(2199, 1, 1))


@pytest.mark.parametrize(
    ("country", "issued", "latest"),
    [
        # 60 days: 30 April; end of March and 45 days: 15 May; 45 days (15 April) and its end of month: 30 April
        ("FR", date(2026, 3, 1), date(2026, 5, 15)),
        # 60 days: 1 May; end of March and 45 days: 15 May; 45 days (16 April) and its end of month: 30 April
        ("FR", date(2026, 3, 2), date(2026, 5, 15)),
        # 60 days: 3 July; end of May and 45 days: 15 July; 45 days (18 June) and its end of month: 30 June
        ("FR", date(2026, 5, 4), date(2026, 7, 15)),
        # here the 60 days win: end of January and 45 days is 17 March, and its end of month 31 March
        ("FR", date(2026, 1, 31), date(2026, 4, 1)),
        ("BE", date(2026, 3, 1), date(2026, 4, 30)),
        ("DE", date(2026, 3, 1), date(2026, 4, 30)),
    ],
)
def test_last_lawful_day(country, issued, latest):
    assert excess(country, issued=issued, due=latest) is None
    found = excess(country, issued=issued, due=latest + timedelta(days=1))
    assert found is not None
    assert found.latest == latest
    assert latest.isoformat() in found.detail


def test_agreement_is_named_where_the_law_lets_it_decide():
    found = excess("DE", issued=date(2026, 1, 1), due=date(2026, 12, 31))
    assert found is not None
    assert "BGB 271a" in found.detail
    assert "expressly agreed" in found.detail


@given(DAYS, st.integers(0, 60))
def test_sixty_days_are_lawful_in_every_country_of_the_table(issued, days):
    for country in ("FR", "BE", "DE", "NL", "ES", "IT", "LU"):
        assert excess(country, issued=issued, due=issued + timedelta(days=days)) is None


def test_of_other_countries_nothing_is_said():
    assert excess("US", issued=date(2026, 1, 1), due=date(2027, 1, 1)) is None
