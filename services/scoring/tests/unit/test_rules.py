from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring.domain import behaviour
from scoring.domain.behaviour import month_of, settled_item, summarise
from scoring.domain.policy import BandTerms, Exposure, Override, Policy, check, grant, hold_reason
from scoring.domain.scorecard import Bureau, assess, band_of

TODAY = date(2026, 6, 15)
NOTHING = summarise([], TODAY)


def paid(days_late, amount=1_000, currency="EUR", paid_on=date(2026, 6, 1)):
    return settled_item(currency=currency, amount_minor=amount, due=paid_on - timedelta(days=days_late), paid_on=paid_on)


def test_means_are_weighted_by_amount_and_early_is_on_time():
    found = summarise([paid(0, 9_000), paid(40, 1_000), paid(-10, 0)], TODAY)
    assert (found.days_tenths, found.late_share_bp, found.worst) == (40, 1_000, 31)
    assert found.count_days_tenths == 133


def test_currencies_are_combined_by_count_and_never_added():
    found = summarise([paid(10, 10**12, "JPY"), paid(0, 1, "EUR")], TODAY)
    assert found.days_tenths == 50


def test_months_before_the_window_are_seen_but_do_not_weigh():
    found = summarise([paid(90, paid_on=date(2025, 6, 30)), paid(0, paid_on=date(2025, 7, 1))], TODAY)
    assert (found.items, found.settled, found.days_tenths) == (2, 1, 0)


def test_months_are_named_by_their_first_day():
    assert month_of(date(2026, 1, 31), 11) == date(2025, 2, 1)
    assert month_of(date(2026, 12, 5), -1) == date(2027, 1, 1)


@given(st.lists(st.tuples(st.integers(-30, 200), st.integers(0, 10**15), st.sampled_from(["EUR", "USD"])), max_size=30), st.randoms())
def test_the_score_does_not_depend_on_the_order_and_stays_in_range(items, rng):
    buckets = [paid(days, amount, currency) for days, amount, currency in items]
    first = assess(summarise(buckets, TODAY), overdue_since=None, bureau=None, today=TODAY)
    rng.shuffle(buckets)
    assert assess(summarise(buckets, TODAY), overdue_since=None, bureau=None, today=TODAY) == first
    assert 0 <= first.score <= 100
    assert first.score == max(0, min(100, sum(factor.points for factor in first.factors)))
    assert first.band == band_of(first.score)


@given(st.lists(st.integers(0, 120), min_size=1, max_size=10), st.integers(1, 60))
def test_paying_later_never_raises_the_score(delays, more):
    on_time = [paid(days) for days in delays]
    later = [paid(days + more) for days in delays]
    scores = [assess(summarise(each, TODAY), overdue_since=None, bureau=None, today=TODAY).score for each in (on_time, later)]
    assert scores[1] <= scores[0]


@given(st.dates(date(2025, 1, 1), date(2027, 1, 1)), st.integers(0, 400))
def test_nothing_changes_before_the_next_review(overdue_since, ahead):
    bureau = Bureau(provider="creditsafe", band="B", as_of="2026-05-01T00:00:00+00:00", fresh_until=date(2026, 7, 20))
    found = assess(NOTHING, overdue_since=overdue_since, bureau=bureau, today=TODAY)
    assert found.next_review > TODAY
    day = TODAY + timedelta(days=ahead)
    if day < found.next_review:
        assert replace(assess(NOTHING, overdue_since=overdue_since, bureau=bureau, today=day), next_review=found.next_review) == found


@pytest.mark.parametrize(("band", "points"), [("A", 15), ("E", -40), (None, 0)])
def test_a_stale_bureau_gives_no_points_at_all(band, points):
    bureau = Bureau(provider="creditsafe", band=band, as_of="2026-05-01T00:00:00+00:00", fresh_until=TODAY)
    assert assess(NOTHING, overdue_since=None, bureau=bureau, today=TODAY).score == 55 + points
    assert assess(NOTHING, overdue_since=None, bureau=bureau, today=TODAY + timedelta(days=1)).score == 55


def test_limits_follow_band_bureau_and_person():
    policy = Policy()
    none = {"advised_minor": None, "advised_currency": None, "override": None, "today": TODAY}
    assert grant(policy, "A", **none).limit_minor == 10_000_000
    assert grant(policy, "A", **(none | {"advised_minor": 5, "advised_currency": "EUR"})).reason == "bureau"
    assert grant(policy, "A", **(none | {"advised_minor": 5, "advised_currency": "USD"})).reason == "band"
    person = Override(limit_minor=1, currency="EUR", expires_on=TODAY)
    assert grant(policy, "A", **(none | {"override": person})).limit_minor == 1
    assert grant(policy, "A", **(none | {"override": person, "today": TODAY + timedelta(days=1)})).limit_minor == 10_000_000


@given(exposure=st.integers(-(10**9), 10**9), reserved=st.integers(0, 10**9), limit=st.integers(0, 10**9), amount=st.integers(1, 10**9))
def test_an_approved_check_stays_within_the_limit(exposure, reserved, limit, amount):
    verdict = check(
        amount_minor=amount,
        currency="EUR",
        policy=Policy(),
        limit_minor=limit,
        exposure=Exposure(minor=exposure, reserved_minor=reserved, other={}),
        held=False,
    )
    assert (verdict.decision == "approved") == (exposure + reserved + amount <= limit)


def test_holds_follow_exposure_and_band_and_never_reservations():
    exposure = Exposure(minor=1_200, reserved_minor=10**9, other={})
    assert hold_reason(Policy(), firm_band="C", firm_limit_minor=1_000, exposure=exposure) is None
    assert hold_reason(Policy(), firm_band="C", firm_limit_minor=999, exposure=exposure) == "exposure_over_limit"
    assert hold_reason(Policy(), firm_band="E", firm_limit_minor=10**9, exposure=exposure) == "band"
    assert hold_reason(Policy(), firm_band="C", firm_limit_minor=0, exposure=Exposure(minor=0, reserved_minor=0, other={})) is None


def test_contributions_of_what_says_nothing():
    assert behaviour.promise(currency="EUR", due_on=TODAY, status="open") is None
    assert behaviour.dispute(currency="EUR", resolution="justified") is None
    assert BandTerms(limit_minor=0, payment_terms_days=0, down_payment_bp=0).limit_minor == 0
