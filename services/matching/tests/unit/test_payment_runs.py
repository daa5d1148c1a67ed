"""Payment runs: what a large debtor pays at once, and what it withholds."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from math import expm1

import pytest
from enginecases import DAY, clues, found, item
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.decision import never_automatic
from matching.domain.engine.features import NAMES
from matching.domain.engine.habits import Habit, Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.payment_runs import Withheld, credit_sets, ways
from matching.domain.engine.records import Clues, Customer, OpenItem
from matching.domain.engine.search import search


def run_of(count: int = 60) -> list[OpenItem]:
    """Two items due a day, the last of them after the payment; no two pairs cost the same."""
    return [item(f"FA2024-{number:05}", 10_000 + number**3, -30 + number // 2) for number in range(count)]


def likeliest(payment: Clues, *items: OpenItem, learnt: Learnt | None = None):
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    for one in items:
        index.add_item(one)
    runs = [one for one in search(payment, index, learnt or Learnt()).hypotheses if one.rule == "run_but_some:exact"]
    best = min(runs, key=lambda one: one.features[NAMES.index("chance")])
    return {line.item.number for line in best.lines}, expm1(best.features[NAMES.index("chance")]) / 1e6


def test_a_payment_run_with_two_items_withheld():
    items = run_of()
    paid = [one for one in items if one.due_date <= DAY and one.number not in {"FA2024-00017", "FA2024-00041"}]
    taken, odds = likeliest(clues(sum(one.open_minor for one in paid)), *items)
    assert taken == {one.number for one in paid}
    assert odds < 0.05


def test_two_sets_of_withheld_items_that_cost_the_same_are_even():
    items = [item(f"FA2024-{number:05}", 10_000 + 37 * number * number, -30 + number // 2) for number in range(60)]
    _, odds = likeliest(clues(sum(one.open_minor for one in items if one.number not in {"FA2024-00017", "FA2024-00041"})), *items)
    assert odds >= 1  # 17 and 41, or 11 and 43


def test_sets_of_other_amounts_with_one_sum_are_never_taken_for_one_another():
    """15,000 + 19,800 and 25,000 + 9,800 are two ways to withhold 34,800, whatever the payer writes."""
    items = [*run_of(), *(item(f"FA2024-0009{n}", amount, -9) for n, amount in enumerate((15_000, 19_800, 25_000, 9_800)))]
    total = sum(one.open_minor for one in items if one.due_date <= DAY) - 34_800
    assert likeliest(clues(total, "SUPPLIER PAYMENT RUN"), *items)[1] >= 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 40), st.integers(1, 9))
def test_sets_are_counted_as_if_they_were_listed(amounts, total, last):
    listed = [sum(1 for one in combinations(amounts, size) if sum(one) == total) for size in range(last + 1)]
    assert ways(amounts, total, 1, last) == listed


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(1, 60), st.integers(1, 4))
def test_all_sets_of_withheld_amounts_are_found(amounts, excess, depth):
    counts = Counter(amounts)
    listed = {tuple(sorted(one)) for size in range(1, depth + 1) for one in combinations(amounts, size) if sum(one) == excess}
    held = Withheld(set(amounts), 80).sets(counts, excess, depth)
    assert sorted(tuple(sorted(Counter(one).elements())) for one in held) == sorted(listed)


def test_items_of_one_amount_are_even_only_where_the_payer_names_some():
    items = [*run_of(), item("FA2024-00060", 10_000 + 17**3, -9)]
    total = sum(one.open_minor for one in items if one.due_date <= DAY) - items[17].open_minor
    assert likeliest(clues(total, "SUPPLIER PAYMENT RUN"), *items)[1] < 0.05
    assert likeliest(clues(total, "REF 4711234567"), *items)[1] >= 1


def test_a_run_of_the_weekend_is_booked_on_monday_as_long_after_the_last_as_ever():
    monday = date(2026, 3, 9)
    items = run_of()
    learnt = Learnt()
    learnt.gaps[30] = 50
    for day in (7, 8):
        learnt.habits["C1"] = Habit(last_run=date(2026, 3, day) - timedelta(days=30))
        paid = [one for one in items if one.due_date <= date(2026, 3, day)]
        payment = Clues("P1", monday, sum(one.open_minor for one in paid), "EUR", debtor_iban="FR76A")
        taken, odds = likeliest(payment, *items, learnt=learnt)
        assert taken == {one.number for one in paid}
        assert odds < 0.05


def test_a_credit_note_younger_than_the_proposal_is_not_in_the_run():
    items = run_of()
    old, young = item("CN2024-00001", -7_777, 20), item("CN2024-00002", -7_777, 28)
    paid = [one for one in items if one.due_date <= DAY]
    taken, _ = likeliest(clues(sum(one.open_minor for one in [*paid, old])), *items, old, young)
    assert "CN2024-00001" in taken
    assert "CN2024-00002" not in taken


def test_many_items_of_one_amount_and_few_withheld_are_counted_and_not_listed():
    """Any 4 of 1,500 is 210 thousand million sets: each search looks at a few of them."""
    items = [item(f"FA2024-{number:05}", 100_00, -30 + number % 60) for number in range(3_000)]
    due = sum(one.open_minor for one in items if one.due_date <= DAY)
    hypotheses = found(clues(due - 400_00), *items)
    assert [one for one in hypotheses if one.rule == "run_but_some:exact" or len(one.lines) == due // 100_00 - 4]
    listed = found(clues(due - 400_00, "FA2024-00000, FA2024-00060, FA2024-00120, FA2024-00180, FA2024"), *items)
    assert len([one for one in listed if one.rule == "named_run:exact"]) <= 3


def test_the_likeliest_sets_of_credit_notes_are_few_however_many_there_are():
    notes = [item(f"CN2024-{number:05}", -1_00 - number, -10 + number % 30) for number in range(300)]
    sets = credit_sets(list(enumerate(one.issue_date for one in notes)), DAY, Habit(), set())
    assert len(sets) == 10
    assert [chance for chance, _ in sets] == sorted((chance for chance, _ in sets), reverse=True)
    young = {at for at, one in enumerate(notes) if (DAY - one.issue_date).days < 5}
    assert set(sets[0][1]) == set(range(300)) - young
    assert all(len(set(one).symmetric_difference(sets[0][1])) <= 4 for _, one in sets)


def test_twins_of_one_day_do_not_matter_to_a_payment_run_that_names_nothing():
    items = [*run_of(), item("FA2024-00060", 10_000 + 17**3, -22)]
    total = sum(one.open_minor for one in items if one.due_date <= DAY) - items[17].open_minor
    for text, refused in (("SUPPLIER PAYMENT RUN", False), ("REF 4711234567", True)):
        runs_found = [one for one in found(clues(total, text), *items) if one.rule == "run_but_some:exact"]
        best = min(runs_found, key=lambda one: one.features[NAMES.index("chance")])
        assert best.tie == refused


def test_a_run_that_leaves_some_out_is_doubted_where_all_that_is_due_comes_to_the_sum():
    """Two credit notes are younger than a run's proposal, and as large as one invoice: with all three, or without, it is the same sum."""
    items = run_of()
    (held,) = [one for one in items if one.number == "FA2024-00017"]
    day = DAY - timedelta(2)
    young = [replace(item(f"GS2024-{n}", -share, -2), issue_date=day) for n, share in enumerate((4_000, held.open_minor - 4_000))]
    paid = sum(one.open_minor for one in items if one.due_date <= DAY) - held.open_minor
    every = found(clues(paid), *items, *young)
    run = next(one for one in every if one.rule == "run_but_some:exact")
    assert held.number not in {line.item.number for line in run.lines}
    assert never_automatic([run, *(one for one in every if one is not run)]) == "all that is due comes to the sum, too"


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        ("FA2024-00039/041/042", True),  # 041 is left out
        ("FA2024-00001 - FA2024-00039", False),
        ("FA2024-00039", False),
    ],
)
def test_a_run_that_is_found_past_a_list_is_doubted(text, doubted):
    items = run_of()
    left_out = {"FA2024-00017", "FA2024-00041"}
    paid = sum(one.open_minor for one in items if one.due_date <= DAY and one.number not in left_out)
    runs = [one for one in found(clues(paid, text), *items) if one.rule == "run_but_some:exact"]
    run = next(one for one in runs if not left_out.intersection(line.item.number for line in one.lines))
    reason = "the payer lists items, and this is not as the list says"
    assert (never_automatic([run]) == reason) == doubted
    run.features[NAMES.index("named_share")] = 4 / len(run.lines)  # a list of four: what it says has a reading of its own
    assert never_automatic([run]) == reason
