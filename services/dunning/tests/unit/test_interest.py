"""Statutory interest: golden figures, conventions, refusals."""

import csv
import json
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from dunning.__main__ import SERVICE, interest_tool
from dunning.domain import interest
from dunning.domain.interest import RateUnknownError, compensation_minor, segments, statutory_percent, total_minor
from hypothesis import given
from hypothesis import strategies as st
from shared.cli import main

DUE = st.dates(date(2016, 1, 1), date(2026, 6, 29))
KNOWN_THROUGH = date(2026, 6, 30)


def rows_of(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_golden_case_of_three_halves():
    # 10,000.00 EUR due 2024-11-15 and paid 2025-08-20: 46 days at 14.25 %, 181 at 13.15 %, 51 at 12.15 % (ECB rate of the
    # half + 10 points, C. com. L441-10), ACT/365: 1,001.45 EUR
    parts = segments(1_000_000, due=date(2024, 11, 15), paid=date(2025, 8, 20))
    assert [(part.days, part.percent) for part in parts] == [(46, Decimal("14.25")), (181, Decimal("13.15")), (51, Decimal("12.15"))]
    assert total_minor(parts) == 100_145


@pytest.mark.parametrize("paid", [date(2024, 11, 14), date(2024, 11, 15)])
def test_nothing_is_due_until_the_day_after_the_due_date(paid):
    assert segments(1_000_000, due=date(2024, 11, 15), paid=paid) == []


def test_one_day_late_is_one_day():
    [part] = segments(36_500_00, due=date(2025, 1, 31), paid=date(2025, 2, 1))
    assert (part.first, part.last, part.days) == (date(2025, 2, 1), date(2025, 2, 1), 1)
    assert total_minor([part]) == 1315  # 36,500.00 x 13.15 % / 365 = 13.15


def test_a_leap_year_still_counts_365():
    [part] = segments(36_500_00, due=date(2024, 2, 28), paid=date(2024, 2, 29))
    assert total_minor([part]) == 1450


def test_a_partial_payment_starts_a_segment_on_the_day_after_it():
    parts = segments(1_000_000, due=date(2025, 1, 10), paid=date(2025, 1, 30), payments=[(date(2025, 1, 20), 400_000)])
    assert [(part.last, part.days, part.principal_minor) for part in parts] == [
        (date(2025, 1, 20), 10, 1_000_000),
        (date(2025, 1, 30), 10, 600_000),
    ]


def test_a_payment_before_the_due_date_lowers_the_principal_from_the_start():
    [part] = segments(1_000_000, due=date(2025, 1, 10), paid=date(2025, 1, 30), payments=[(date(2025, 1, 5), 400_000)])
    assert part.principal_minor == 600_000


@given(DUE, st.integers(0, 4000), st.integers(0, 10**12))
def test_segments_cover_every_day_once_and_split_at_halves(due, days, principal):
    paid = min(due + timedelta(days=days), KNOWN_THROUGH)
    parts = segments(principal, due=due, paid=paid)
    if principal:
        assert sum(part.days for part in parts) == max(0, (paid - due).days)
    for before, after in pairwise(parts):
        assert after.first == before.last + timedelta(days=1)
        assert (after.first.month, after.first.day) in {(1, 1), (7, 1)}


@given(DUE, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 500), st.integers(0, 400))
def test_interest_of_a_sum_paid_in_parts_lies_between(due, principal, part, days, offset):
    paid = min(due + timedelta(days=days), KNOWN_THROUGH)
    part = min(part, principal)
    whole = total_minor(segments(principal, due=due, paid=paid))
    split = total_minor(segments(principal, due=due, paid=paid, payments=[(due + timedelta(days=offset), part)]))
    rest = total_minor(segments(principal - part, due=due, paid=paid))
    assert rest <= split <= whole


def test_an_unknown_half_year_is_refused_by_name():
    with pytest.raises(RateUnknownError, match="2026H2"):
        segments(1_000_000, due=date(2026, 5, 1), paid=date(2026, 7, 1))
    with pytest.raises(RateUnknownError, match="2015H2"):
        segments(1_000_000, due=date(2015, 12, 1), paid=date(2016, 2, 1))


def test_a_contract_rate_is_at_least_three_times_the_legal_rate():
    # 3 x 4.92 % = 14.76 % in 2024H2
    [part] = segments(1_000_000, due=date(2024, 8, 1), paid=date(2024, 8, 31), contract_percent=Decimal("14.76"))
    assert part.percent == Decimal("14.76")
    with pytest.raises(ValueError, match=r"14\.76 %"):
        segments(1_000_000, due=date(2024, 8, 1), paid=date(2024, 8, 31), contract_percent=Decimal("14.75"))


def test_the_compensation_is_in_euros_only():
    assert compensation_minor("EUR", 2) == 8000
    assert compensation_minor("CHF", 2) is None


def test_every_rate_names_its_source():
    for name in ("ecb_main_refinancing.csv", "french_legal_interest.csv"):
        rows = rows_of(Path(interest.__file__).parent / "data" / name)
        assert rows
        assert all(row["source"] for row in rows)


def test_the_ecb_rates_agree_with_a_daily_series(shared_data):
    path = shared_data / "reference" / "rates" / "ECBMRRFR_daily_fred.csv"
    if not path.is_file():
        pytest.skip("the daily series of the ECB's rate is not among the outside data")
    daily = {row["observation_date"]: row["ECBMRRFR"] for row in rows_of(path)}
    compared = 0
    for half in interest._table("ecb_main_refinancing.csv"):
        day = date(int(half[:4]), 1 if half.endswith("1") else 7, 1)
        if found := daily.get(day.isoformat()):
            assert statutory_percent(day) == Decimal(found) + 10
            compared += 1
    assert compared >= 10


def run(capsys, *arguments):
    status = main(SERVICE, ["interest", *arguments], tools=(interest_tool,))
    return status, *capsys.readouterr()


def test_the_command_prints_one_object(capsys):
    status, out, _ = run(
        capsys, "--country", "FR", "--amount", "10000.00", "--currency", "EUR", "--due", "2024-11-15", "--paid", "2025-08-20"
    )
    answer = json.loads(out)
    assert status == 0
    assert (answer["total_minor"], answer["compensation_minor"], len(answer["segments"])) == (100_145, 4000, 3)


@pytest.mark.parametrize(
    ("country", "amount", "paid", "said"),
    [
        ("DE", "10.00", "2025-08-20", "'DE'"),
        ("FR", "10.001", "2025-08-20", "decimal places"),
        ("FR", "10.00", "2026-08-20", "2026H2"),
        ("FR", "-10.00", "2025-08-20", "not negative"),
    ],
)
def test_the_command_refuses_with_a_reason(capsys, country, amount, paid, said):
    status, out, err = run(capsys, "--country", country, f"--amount={amount}", "--currency", "EUR", "--due", "2024-11-15", "--paid", paid)
    assert (status, out) == (1, "")
    assert said in err
