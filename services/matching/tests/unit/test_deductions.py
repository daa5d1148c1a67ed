"""How much of what lists deduct is granted: by the item's terms, and within what one person may give away alone."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.deductions import Room, beyond, grant
from matching.domain.remittances import RemittanceLine

DAY = date(2026, 3, 2)
TERMS = "2026-03-02:200"


def line(net, cut, reason):
    return RemittanceLine("F-1", None, net + cut, cut, reason, net)


@pytest.mark.parametrize(
    ("terms", "limit", "lines", "granted"),
    [
        (None, 0, [(980, 20, "discount")], (0, None, [0])),
        (TERMS, 0, [(980, 20, "discount")], (20, "discount", [])),
        ("2026-02-25:200", 0, [(980, 20, "discount")], (20, "discount", [])),  # five days late
        ("2026-02-24:200", 0, [(980, 20, "discount")], (0, None, [0])),
        ("2026-02-20:300 2026-03-02:200", 0, [(970, 30, "discount")], (20, "discount", [0])),
        ("2026-02-20:300 2026-03-02:200", 10, [(970, 30, "discount")], (30, "discount", [])),
        (TERMS, 30, [(950, 50, "discount")], (50, "discount", [])),  # two per cent of the whole, and 30
        (TERMS, 29, [(950, 50, "discount")], (19, "discount", [0])),  # of what came
        (TERMS, 30, [(950, 20, "discount"), (0, 30, "discount")], (50, "discount", [])),
        (TERMS, 0, [(1, 999, "discount")], (0, None, [0])),  # two per cent of a cent
        (TERMS, 0, [(500, 20, "discount")], (10, "discount", [0])),  # of the part that is paid
        (TERMS, 999, [(980, 20, "bank_charges")], (20, "bank_charges", [])),
        (TERMS, 19, [(980, 20, "bank_charges")], (0, None, [0])),  # terms are for a discount
        (None, 20, [(980, 20, "commission")], (20, "bank_charges", [])),
        (None, 20, [(980, 20, "withholding")], (20, "withheld", [])),
        (None, 1, [(999, 1, "rounding")], (1, "rounding", [])),
        (None, 999, [(980, 20, "dispute")], (0, None, [])),  # a person's, as everybody knows
        (None, 20, [(500, 15, "commission"), (480, 5, "bank_charges")], (20, "bank_charges", [])),
        (None, 19, [(500, 15, "commission"), (480, 5, "bank_charges")], (15, "bank_charges", [1])),
        (TERMS, 0, [(490, 10, "discount"), (490, 10, "discount")], (20, "discount", [])),
        (TERMS, 0, [(980, 0, None), (0, 20, "discount")], (20, "discount", [])),  # a line of its own for it
        (None, 999, [(0, 20, "commission")], (0, None, [0])),
        (TERMS, 999, [(970, 20, "discount"), (5, 5, "bank_charges")], (20, "discount", [1])),
        (None, 999, [(990, 20, "commission")], (0, None, [0])),  # the item has less
    ],
)
def test_what_is_granted(terms, limit, lines, granted):
    named = dict(enumerate(line(*one) for one in lines))
    found = grant(named, sum(net for net, _, _ in lines), 1_000, DAY, Room(terms, limit))
    assert (found.diff_minor, found.reason, list(found.refused)) == granted


@given(
    percent=st.integers(0, 10_000),
    limit=st.integers(0, 400),
    lists=st.lists(
        st.tuples(
            st.integers(-30, 30),
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.sampled_from(("discount", "commission", "rounding", "bonus")))),
        ),
        max_size=6,
    ),
)
def test_no_lists_give_more_than_the_terms_and_the_limit(percent, limit, lists):
    """Whatever they say, of an item of 1,000, each list beginning with what those before it gave, as it stands in the books."""
    terms = f"{DAY:%Y-%m-%d}:{percent}"
    owed, by_term, alone = 1_000, 0, 0
    for late, lines in lists:
        day = DAY + timedelta(days=late)
        money = min(sum(net for net, _, _ in lines), owed)
        found = grant(dict(enumerate(line(*one) for one in lines)), money, owed, day, Room(terms, limit, alone))
        agreed = found.diff_minor - beyond(terms, found.reason, day, money, found.diff_minor)
        assert found.diff_minor - agreed == found.alone_minor
        assert money or not found.diff_minor
        alone, by_term, owed = alone + found.alone_minor, by_term + agreed, owed - money - found.diff_minor
        assert owed >= 0
    assert alone <= limit
    assert by_term <= 1_000 * percent / 10_000 + len(lists) / 2
