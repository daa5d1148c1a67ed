"""A percentage that the payer names, and that what is missing of an item comes to: a part of it, and the rest stays open."""

from datetime import timedelta

import pytest
from enginecases import DAY, clues, found, item
from matching.domain.engine.decision import decide, judge
from matching.domain.engine.percents import is_share
from matching.storage.models import shipped

GUESS = "what is missing may be a bank's charge, or a discount that nobody offered"


def _decided(amount: int, *lines: str, **terms):
    """What is settled of an item of 3,333.33 by the model that is shipped, and why that is not automatic."""
    every = found(clues(amount, *lines), item("FA2024-00001", 3_333_33, 3, **terms), item("FA2024-00777", 512_00))
    judge(every, shipped().model)
    decision = decide(every, 0.85)
    return [(one.item.number, one.cents, one.diff_cents) for one in decision.ranked[0].lines], decision.refused


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (3_166_66, "FA2024-00001 LESS 5PCT COMMISSION"),
        (3_166_67, "FA2024-00001 -5% SE"),  # 166.6665, whichever way it is rounded
        (3_166_66, "abzgl. 5 % Sicherheitseinbehalt FA2024-00001"),
        (3_000_00, "FA2024-00001 RETENUE DE GARANTIE 10%"),
        (3_000_00, "RETENUE 10 POUR CENT FA2024-00001"),
        (3_250_00, "FA2024-00001 MENO 2,5 PER CENTO"),
        (3_250_00, "FA2024-00001 CLAIM 2.5 percent, QUALITY 4711"),
        (1_000_00, "30 PROCENT FA2024-00001"),  # what is paid of it
        (3_000_00, "FA2024-00001 INHOUDING 10%, NIET 2%"),
    ],
)
def test_what_is_missing_to_the_cent_by_the_percentage_named_stays_open(amount, text):
    assert _decided(amount, text) == ([("FA2024-00001", amount, 0)], None)


@pytest.mark.parametrize(
    ("amount", "text", "without"),
    [
        (3_166_00, "FA2024-00001 -5% SE", "FA2024-00001 SE"),  # 5.02 % are missing
        (3_166_66, "FA2024-00001 -15% SE", "FA2024-00001 SE"),
        (3_166_66, "FA2024-00001 LESS 0% CLAIM", "FA2024-00001 LESS CLAIM"),
        (2_900_00, "FA2024-00001 CLAIM 13.001 %", "FA2024-00001 CLAIM"),
    ],
)
def test_another_percentage_than_the_one_that_is_missing_says_nothing(amount, text, without):
    assert _decided(amount, text) == _decided(amount, without)


@pytest.mark.parametrize("text", ["FA2024-00001 LESS COMMISSION", "FA2024-00001 5 PCS", "FA2024-00001 105%"])
def test_five_percent_that_nobody_names_may_be_a_discount(text):
    assert _decided(3_166_66, text)[1] is not None


def test_a_percentage_that_a_bank_cut_in_two_is_read():
    assert _decided(3_000_00, "FA2024-00001 RETENUE DE GARANTIE 1", "0% CHANTIER") == ([("FA2024-00001", 3_000_00, 0)], None)


def test_whether_the_items_own_discount_is_granted_late_is_not_the_payers_to_say():
    terms = {"discount_percent": 3.0, "discount_until": DAY - timedelta(30)}
    assert _decided(3_233_33, "FA2024-00001 ABZGL. 3% SKONTO", **terms)[1] in {GUESS, "the discount was taken when it was over"}


@pytest.mark.parametrize(
    ("other", "text", "refused"),
    [
        (512_01, "RECHNUNG -5% SE", None),
        (3_333_34, "RECHNUNG -5% SE", "a part of an item that nobody named is a guess"),  # 3,166.67 is 95 % of it, too
        (512_01, "RECHNUNG 77 -5% SE", "the payer names something else that nobody can read"),
        (512_01, "RECHNUNG -4% SE", "a part of an item that nobody named is a guess"),
    ],
)
def test_where_nothing_is_named_the_percentage_finds_the_one_item_that_it_is_true_of(other, text, refused):
    every = found(clues(3_166_67, text), item("FA2024-00001", 3_333_33, 3), item("FA2024-00888", other, 90))
    judge(every, shipped().model)
    assert decide(every, 0.85).refused == refused


@pytest.mark.parametrize(
    ("part", "whole", "share"), [(17, 333, True), (16, 333, True), (15, 333, False), (18, 333, False), (0, 333, False)]
)
def test_a_share_is_one_to_the_cent_rounded_either_way(part, whole, share):
    assert is_share(part, whole, frozenset({5_000})) == share
