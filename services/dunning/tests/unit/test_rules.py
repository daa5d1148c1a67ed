"""Policy steps, the decision to remind, and promises."""

from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

import pytest
from dunning.domain.policy import Step, check_steps, due_dates, due_step
from dunning.domain.promise import Paid, judge, received
from dunning.domain.reminder import Collection, Line, Promise, Situation, decide
from hypothesis import given
from hypothesis import strategies as st

STEPS = (Step("courtesy", 0, -5, "a"), Step("one", 1, 7, "b"), Step("two", 2, 21, "c"), Step("formal", 3, 35, "d"))
DUE = date(2025, 6, 1)
ITEMS = [UUID(int=number) for number in range(1, 4)]


def step_on(days, *, enabled=date(2020, 1, 1), reached=None):
    found = due_step(STEPS, due=DUE, today=DUE + timedelta(days=days), enabled_from=enabled, reached=reached)
    return found.code if found else None


@pytest.mark.parametrize(
    ("days", "code"), [(-6, None), (-5, "courtesy"), (0, "courtesy"), (1, None), (6, None), (7, "one"), (21, "two"), (400, "formal")]
)
def test_the_step_is_the_highest_one_reached(days, code):
    assert step_on(days) == code


def test_a_window_entered_before_the_switch_is_not_caught_up():
    enabled = DUE + timedelta(days=10)
    assert step_on(10, enabled=enabled) is None
    assert step_on(20, enabled=enabled) is None
    assert step_on(21, enabled=enabled) == "two"
    assert step_on(7, enabled=DUE + timedelta(days=7)) == "one"


def test_a_level_reached_is_not_reached_again():
    assert step_on(22, reached=2) is None
    assert step_on(8, reached=2) is None
    assert step_on(35, reached=2) == "formal"


@given(st.integers(-40, 90), st.integers(-40, 90), st.none() | st.integers(0, 3))
def test_the_search_window_misses_nothing(days, enabled, reached):
    today, enabled_from = DUE + timedelta(days=days), DUE + timedelta(days=enabled)
    if due_step(STEPS, due=DUE, today=today, enabled_from=enabled_from, reached=reached):
        first, last = due_dates(STEPS, today=today, enabled_from=enabled_from)
        assert first <= DUE <= last


@pytest.mark.parametrize("steps", [(), STEPS[::-1], (STEPS[0], STEPS[0]), (STEPS[0], replace(STEPS[1], level=0))])
def test_steps_that_do_not_rise_are_refused(steps):
    with pytest.raises(ValueError, match="step"):
        check_steps(steps)


# --- the decision -----------------------------------------------------------------------------------------------------
def line(item=ITEMS[0], open_minor=100, due=DUE, instalment=1):
    return Line(item, instalment, 1, "one", f"F-{item.int}", due, due, 7, open_minor, 0)


def situation(*lines, **known):
    usual = {
        "contested_minor": {},
        "promises": (),
        "in_review": (),
        "credit_minor": 0,
        "insolvent": False,
        "reachable": True,
        "minimum_minor": 0,
    }
    return Situation(lines=lines or (line(),), **{**usual, **known})


def promise(missing, *items):
    return Promise(UUID(int=9), 1, items, missing)


def collection(amount, item=None):
    return Collection(UUID(int=8), 1, item, amount)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"lines": (line(open_minor=0),)}, "paid"),
        ({"contested_minor": {ITEMS[0]: 100}}, "disputed"),
        ({"promises": (promise(100),)}, "promised"),
        ({"promises": (promise(100, ITEMS[0]),)}, "promised"),
        ({"collections": (collection(100),)}, "being_collected"),
        ({"collections": (collection(100, ITEMS[0]),)}, "being_collected"),
        ({"insolvent": True}, "insolvent"),
        ({"in_review": ((UUID(int=5), 1),)}, "payment_in_review"),
        ({"credit_minor": 100}, "in_credit"),
        ({"minimum_minor": 101}, "below_minimum"),
        ({"reachable": False}, "no_contact"),
    ],
)
def test_held(known, reason):
    decision = decide(replace(situation(), **known))
    assert (decision.lines, decision.held) == ((), reason)


def test_the_undisputed_and_unpromised_part_is_asked():
    decision = decide(situation(line(), line(ITEMS[1]), contested_minor={ITEMS[0]: 30}, promises=(promise(50, ITEMS[1]),)))
    assert {each.item_id: each.asked_minor for each in decision.lines} == {ITEMS[0]: 70, ITEMS[1]: 50}


def test_a_promise_about_another_item_takes_nothing_away():
    assert decide(situation(promises=(promise(100, ITEMS[1]),))).asked_minor == 100


def test_the_rest_of_what_is_being_collected_is_asked():
    decision = decide(situation(line(), line(ITEMS[1]), collections=(collection(40, ITEMS[0]),)))
    assert {each.item_id: each.asked_minor for each in decision.lines} == {ITEMS[0]: 60, ITEMS[1]: 100}


amounts = st.integers(0, 300)
situations = st.builds(
    lambda opens, contested, promised, review, credit, minimum, insolvent, reachable: situation(
        *(line(item, open_minor=amount, instalment=number) for number, (item, amount) in enumerate(opens)),
        contested_minor=contested,
        promises=tuple(promise(missing, *items) for items, missing in promised),
        in_review=tuple((UUID(int=each), 1) for each in review),
        credit_minor=credit,
        minimum_minor=minimum,
        insolvent=insolvent,
        reachable=reachable,
    ),
    st.lists(st.tuples(st.sampled_from(ITEMS), amounts), min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(ITEMS), amounts),
    st.lists(st.tuples(st.lists(st.sampled_from(ITEMS), max_size=2, unique=True), amounts), max_size=3),
    st.lists(st.integers(1, 9), max_size=1),
    amounts,
    amounts,
    st.booleans(),
    st.booleans(),
)


@given(situations)
def test_what_is_asked_is_never_paid_contested_or_promised(known):
    decision = decide(known)
    assert decision == decide(replace(known, lines=known.lines[::-1]))
    if decision.held:
        assert not decision.lines
        return
    assert not known.in_review
    assert known.reachable
    assert not known.insolvent
    assert decision.asked_minor > known.credit_minor
    opened = sum(each.open_minor for each in known.lines)
    assert decision.asked_minor + sum(each.missing_minor for each in known.promises if not each.item_ids) <= opened
    for item in ITEMS:
        of_item = [each for each in known.lines if each.item_id == item]
        asked = sum(each.asked_minor for each in decision.lines if each.item_id == item)
        assert asked <= max(0, sum(each.open_minor for each in of_item) - known.contested_minor.get(item, 0))
        assert all(0 < each.asked_minor <= each.open_minor for each in decision.lines)


# --- promises ---------------------------------------------------------------------------------------------------------
DAY = date(2025, 6, 10)


def test_money_in_time_since_the_promise_counts():
    history = {ITEMS[0]: [Paid(2, 40, DAY - timedelta(days=9)), Paid(3, 100, DAY), Paid(4, 130, DAY + timedelta(days=1))]}
    assert received(history, {ITEMS[0]: 130}, {ITEMS[0]: (2, 40)}, due_on=DAY) == 60


def test_money_that_went_back_does_not_count():
    history = {ITEMS[0]: [Paid(3, 100, DAY), Paid(4, 0, DAY)]}
    assert received(history, {ITEMS[0]: 0}, {ITEMS[0]: (2, 0)}, due_on=DAY) == 0


STANDING = st.lists(st.one_of(st.tuples(st.integers(1, 9), st.integers(-3, 3)), st.integers(0, 1)), max_size=8)


@given(STANDING)
def test_whichever_of_two_payments_goes_back_the_other_counts_by_its_own_day(steps):
    """Payments of (amount, days after the day) come, and the first or second that stands goes; one or two stand at a time. Of two only the
    latest day is said, so what comes second comes no earlier."""
    standing, history = [], []
    for step in steps:
        if isinstance(step, int):
            standing[step : step + 1] = []
        elif len(standing) < 2:
            standing.append((step[0], max([step[1], *(late for _, late in standing)])))
        last = max((late for _, late in standing), default=None)
        day = None if last is None else DAY + timedelta(days=last)
        history.append(Paid(2 + len(history), sum(minor for minor, _ in standing), day))
    came = received({ITEMS[0]: history}, {ITEMS[0]: sum(minor for minor, _ in standing)}, {ITEMS[0]: (1, 0)}, due_on=DAY)
    assert came == sum(minor for minor, late in standing if late <= 0)


@given(st.permutations([Paid(3, 50, DAY), Paid(4, 90, DAY + timedelta(days=1)), Paid(5, 100, DAY)]))
def test_the_order_of_arrival_does_not_matter(history):
    assert received({ITEMS[0]: history}, {ITEMS[0]: 100}, {}, due_on=DAY) == 60


@pytest.mark.parametrize(
    ("got", "gate", "covered", "verdict"),
    [
        (100, None, False, "kept"),
        (99, DAY - timedelta(days=1), False, None),
        (99, None, False, None),
        (99, DAY, False, "broken"),
        (99, DAY, True, None),
    ],
)
def test_the_verdict_on_a_promise(got, gate, covered, verdict):
    assert judge(amount_minor=100, received_minor=got, due_on=DAY, gate=gate, maybe_covered=covered) == verdict
