from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing.domain.lifecycle import STATUSES, Logged, stands

START = datetime(2026, 3, 1, tzinfo=UTC)


def log(*statuses):
    return [Logged(f"m{place}", START + timedelta(hours=place), status) for place, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        ((), None),
        ((200, 202, 203, 205, 211, 212), 212),
        ((200, 205, 203), 205),  # a platform's word with a late clock does not undo the buyer's
        ((203, 202), 203),
        ((204, 208, 209), 209),
        ((207, 205), 205),
        ((205, 207), 207),
        ((210, 205), 210),  # refused is over: the seller corrects with another invoice
        ((210, 212), 212),  # but money is money
        ((212, 211), 212),
        ((212, 205), 212),
        ((212, 207), 207),
        ((212, 212), 212),
        ((213,), 213),
        ((206, 207, 206), 206),
    ],
)
def test_what_stands(statuses, wanted):
    found = stands(log(*statuses))
    assert (found and found.status) == wanted


def test_what_was_taken_back_does_not_stand_whenever_it_was_said():
    lines = [*log(205, 207), Logged("back", START + timedelta(days=1), None, lifts="m1")]
    assert stands(lines).status == 205
    assert stands([lines[2], lines[1]]) is None


@given(st.lists(st.tuples(st.sampled_from(sorted(STATUSES)), st.integers(0, 5)), max_size=12), st.integers(0, 2**16))
def test_order_and_repetition_make_no_difference(said, seed):
    lines = [Logged(f"m{place}", START + timedelta(hours=hour), status) for place, (status, hour) in enumerate(said)]
    shuffled = lines + Random(seed).choices(lines, k=len(lines)) if lines else []
    Random(seed).shuffle(shuffled)
    assert stands(shuffled) == stands(lines)
