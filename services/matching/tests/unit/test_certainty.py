"""What the engine leaves to a person however sure it is, and what it learns of that."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from enginecases import DAY, clues, found, item
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import certainty, decide, judge, never_automatic
from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import Customer, Hypothesis, Line
from matching.domain.engine.search import search

LATE = "the discount was taken when it was over"


def _late(over: int, learnt: Learnt) -> Hypothesis:
    """The reading that takes a discount so many days after its last day, where the item is named in full."""
    terms = {"discount_percent": 2.0, "discount_until": DAY - timedelta(over)}
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 100_00, 20, **terms))
    hypotheses = search(clues(98_00, "FA2024-00001"), index, learnt).hypotheses
    judge(hypotheses, Model("even", 0.0, [], 1.0))
    return next(one for one in hypotheses if one.rule == "document_number:exact")


@pytest.mark.parametrize(
    ("over", "learnt", "kept"),
    [
        (0, Learnt(refused=Counter({1: 9})), True),  # in time
        (5, Learnt(), True),  # a long weekend and the way of the money
        (6, Learnt(), False),
        (3, Learnt(refused=Counter({2: 1})), False),  # refused sooner is refused later
        (3, Learnt(refused=Counter({4: 1})), True),
        (30, Learnt(granted=Counter({31: 2, 60: 1})), True),  # granted later is granted sooner
        (30, Learnt(granted=Counter({29: 9})), False),
        (30, Learnt(granted=Counter({40: 20}), refused=Counter({8: 1})), True),
        (30, Learnt(granted=Counter({40: 19}), refused=Counter({8: 1})), False),
    ],
)
def test_how_late_a_discount_is_granted_is_learnt(over, learnt, kept):
    """Which item is paid is clear; whether the seller grants the discount is for its history to say."""
    best = _late(over, learnt)
    assert (best.confidence, never_automatic([best])) == ((0.98, None) if kept else (0.5, LATE))


@pytest.mark.parametrize(
    ("cents", "diff", "reason", "taught"),
    [
        (100_00, 2_00, "discount", ({4: 1}, {})),
        (98_00, 0, None, ({}, {4: 1})),
        (97_00, 0, None, ({}, {})),
        (100_00, 0, None, ({}, {})),
        (100_00, 2_00, "bank_charges", ({}, {})),
    ],
)
def test_what_is_left_open_by_a_late_discount_was_refused(cents, diff, reason, taught):
    learnt = Learnt()
    owed = item("FA2024-00001", 100_00, discount_percent=2.0, discount_until=DAY - timedelta(4))
    learnt.learn(clues(cents - diff), "C1", [Line(owed, cents, diff, reason)], silent=False, older_left=0)
    assert (learnt.granted, learnt.refused) == taught


@pytest.mark.parametrize(("percent", "refused"), [(2.0, True), (3.0, False), (0.0, False)])
def test_what_is_missing_is_no_charge_where_one_of_the_items_has_a_discount_of_just_that(percent, refused):
    """15.00 is 2 % of 750.00, and what banks take; the other item is long overdue and paid in full."""
    learnt = Learnt(charges=Counter({15_00: 5}))
    terms = {"discount_percent": percent, "discount_until": DAY - timedelta(8)}
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 99_00, **terms))
    index.add_item(item("FA2024-00002", 750_00, 20, **terms))
    hypotheses = search(clues(834_00, "FA2024-00001 FA2024-00002"), index, learnt).hypotheses
    best = next(one for one in hypotheses if one.rule == "document_number:charges")
    best.confidence = 1.0
    assert (never_automatic([best]) is not None) == refused


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("FA2024-00001", None),
        ("FA2024-00001 TEL 564", None),
        ("FA2024-00001 564", "the payer names something else that nobody can read"),  # FA2024-00564, cut off
    ],
)
def test_a_part_is_a_guess_where_something_else_may_be_named(text, refused):
    hypotheses = found(clues(400_00, text), item("FA2024-00001", 900_00))
    short = next(one for one in hypotheses if one.rule == "document_number:short")
    short.confidence = 1.0
    assert never_automatic([short]) == refused


@pytest.mark.parametrize(("other", "refused"), [(70_00, None), (60_00, "another item of the same amount would do as well")])
def test_a_list_that_was_cut_off_is_completed_only_with_the_one_item_of_an_amount(other, refused):
    """Five are named, and the last one is what is missing of the sum, whichever day it is due."""
    named = [item(f"FA2024-0000{n}", 10_00 + n, n) for n in range(1, 6)]
    text = "FA2024-00001, 00002, 00003, 00004, 00005, 0"
    amount = sum(one.open_minor for one in named) + 60_00
    hypotheses = found(clues(amount, text), *named, item("FA2024-00006", 60_00, 6), item("FA2024-00007", other, 17))
    wholes = [one for one in hypotheses if one.rule in {"completed_list:exact", "run_of_items:exact"}]
    assert wholes
    for whole in wholes:
        whole.confidence = 1.0
        assert never_automatic([whole]) == refused


@pytest.mark.parametrize(("text", "kept"), [("ACOMPTE", True), ("ACOMPTE FACT 65", True), ("ACOMPTE FACT 64", False)])
def test_what_bears_an_items_number_is_no_advance_however_short_that_is(text, kept):
    hypotheses = found(clues(500_00, text), item("64", 1_301_03))
    assert [one.rule for one in hypotheses if not one.lines] == ["advance:on_account"] * kept


@pytest.mark.parametrize(
    ("written", "iban", "refused"),
    [
        ("DUPONT HOLDING SA", "FR76Z", None),
        ("DUPONT HOLDI", "FR76Z", None),  # cut off
        ("NOTAIRE LEGRAND", "FR76P", None),
        ("NOTAIRE LEGRAND", "FR76Z", "nobody knows the payer"),
        ("DUPONT HERITAGE", "FR76Z", "nobody knows the payer"),
    ],
)
def test_who_pays_for_its_subsidiary_is_known_by_its_name_or_its_account(written, iban, refused):
    customers = [
        Customer("C9", "10009", "Dupont Holding SA", "EUR", ["FR76P"]), Customer("C1", "10001", "Atelier Rouge SARL", "EUR", parent_id="C9")
    ]  # fmt: skip
    index = Index(customers)
    index.add_item(item("FA2024-00001", 7_419_23))
    payment = clues(7_419_23, "VIREMENT", debtor_name=written)
    (exact,) = search(replace(payment, debtor_iban=iban), index, Learnt()).hypotheses
    exact.confidence = 1.0
    assert (exact.customer_id, exact.rule, never_automatic([exact])) == ("C1", "exact_amount:exact", refused)


@pytest.mark.parametrize(("kept", "settled", "refused"), [(0, 0, False), (99, 1, False), (98, 1, True), (0, 1, True)])
def test_what_is_called_an_advance_is_one_where_it_mostly_was(kept, settled, refused):
    learnt = Learnt()
    owed = Line(item("FA2024-00009", 50_00), 50_00, 0, None)
    for lines in (*([] for _ in range(kept)), *([owed] for _ in range(settled))):
        learnt.learn(clues(50_00, "ACOMPTE"), "C1", lines, silent=True, older_left=0, advance=True)
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 900_00))
    (advance,) = [one for one in search(clues(300_00, "ACOMPTE"), index, learnt).hypotheses if not one.lines]
    assert (never_automatic([advance]) == "what was called an advance has settled items before") == refused


def test_no_item_completes_what_is_partly_called_an_advance():
    """500.00 of the 1,000.00 are a security, and as much is open of another item."""
    every = found(clues(1_000_00, "FA2024-00001 + KAUTION 500,00"), item("FA2024-00001", 500_00, 5), item("FA2024-00002", 500_00))
    completed = [one for one in every if one.rule in {"completed_list:exact", "run_of_items:exact"}]
    assert completed
    assert {never_automatic([one]) for one in completed} == {"the payer calls it, or a part of it, an advance"}


@pytest.mark.parametrize(("credit", "refused"), [(-20_00, True), (-60_00, False)])
def test_a_rate_is_doubted_where_a_credit_note_makes_it_more_like_those_seen(credit, refused):
    """900.00 for 1,020.00 are a rate of 0.882; 0.89 to 0.91 were seen. For 1,000.00 it is 0.9, for 960.00 0.9375."""
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 1_020_00, currency="USD"))
    index.add_item(item("CN2024-00001", credit, currency="USD"))
    hypotheses = search(clues(900_00, "FA2024-00001"), index, Learnt(rates={("EUR", "USD"): (0.89, 0.91, 5)})).hypotheses
    named = next(one for one in hypotheses if one.rule == "document_number:rate")
    others = [one for one in hypotheses if one is not named]
    reason = "with an open credit note the exchange rate would be more like those seen"
    assert (never_automatic([named, *others]) == reason) == refused


def _read(confidence: float, rule: str = "exact_amount:exact") -> Hypothesis:
    one = Hypothesis("C1", rule, [], [])
    one.confidence = confidence
    return one


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_readings_exclude_each_other(confidences):
    """No more than what speaks for the first alone; less with each other reading; together no more than one."""
    ranked = [_read(one) for one in sorted(confidences, reverse=True)]
    alone, among = certainty(ranked[:1]), certainty(ranked)
    assert alone == pytest.approx(ranked[0].confidence, abs=1e-8)
    assert 0 <= among <= alone
    assert sum(certainty([one, *(other for other in ranked if other is not one)]) for one in ranked) <= 1 + 1e-9


def test_payment_runs_share_one_probability():
    runs = [_read(0.9, "run_but_some:exact"), _read(0.08, "run_but_some:exact")]
    assert certainty(runs) == pytest.approx(0.9)
    assert certainty([*runs, _read(0.5)]) == pytest.approx(9 / 11)


@pytest.mark.parametrize(("paid", "refused"), [(300_00, True), (420_00, True), (292_50, True), (299_98, True), (310_00, False)])
def test_a_part_of_what_is_named_is_none_where_it_is_all_of_others(paid, refused):
    """The list may have the wrong number: 300.00 is what another item costs (292.50 less a charge), 420.00 what two others do."""
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    for number, amount in enumerate((500_00, 300_00, 120_00), 1):
        index.add_item(item(f"FA2024-0000{number}", amount))
    every = search(clues(paid, "FA2024-00001"), index, Learnt(charges=Counter({7_50: 9}))).hypotheses
    judge(every, Model("even", 0.0, [], 1.0))
    ranked = sorted(every, key=lambda one: (one.rule != "document_number:short", -one.confidence))
    said = "the sum is what another item costs: the payer may have named the wrong one"
    assert never_automatic(ranked) == (said if refused else None)


@pytest.mark.parametrize(("number", "amount", "refused"), [("1010", 900_00, True), ("1011", 900_00, False)])
def test_a_part_of_an_item_is_not_sure_where_somebody_else_who_may_pay_has_that_number(number, amount, refused):
    """A parent and its subsidiary count their invoices each for itself; by their amounts neither is paid."""
    index = Index([Customer("C1", "10001", "Dupont", "EUR", ["FR76A"]), Customer("C2", "10002", "Martin SA", "EUR", parent_id="C1")])
    index.add_item(item("1010", 500_00, customer="C2"))
    index.add_item(item(number, amount))
    every = search(clues(310_00, "RE 1010"), index, Learnt()).hypotheses
    ranked = sorted(every, key=lambda one: one.customer_id != "C2" or one.rule != "document_number:short")
    said = "the number is that of another one's item, too, and the amount is not this one's"
    assert never_automatic(ranked) == (said if refused else None)


@pytest.mark.parametrize(("charges", "rule"), [({5_00: 20}, "short"), ({5_00: 19, 12_34: 1}, "short"), ({5_00: 9, 8_90: 1}, "short_round")])
def test_a_small_sum_that_is_missing_may_be_a_charge_where_charges_are_any_sums(charges, rule):
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 500_00))
    every = search(clues(495_67, "FA2024-00001"), index, Learnt(charges=Counter(charges))).hypotheses
    assert [one.rule for one in every if one.lines[0].cents == 495_67] == [f"document_number:{rule}"]


def test_what_is_missing_beside_a_discount_is_no_charge_that_was_stated():
    """17.50 of 500.00 is the discount of 2 % and a charge of 7.50, and as well a claim of 3.5 %."""
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 500_00, discount_percent=2.0, discount_until=DAY))
    every = search(clues(482_50, "FA2024-00001"), index, Learnt(charges=Counter({7_50: 9}))).hypotheses
    best = next(one for one in every if one.rule == "document_number:charges")
    assert never_automatic([best]) == "charges that nobody stated, beside a discount: what is missing may be neither"


@pytest.mark.parametrize(("paid", "rule"), [(495_80, "short_round"), (489_17, "short")])
def test_less_than_the_discount_that_is_offered_may_be_a_discount(paid, rule):
    """2 % of 500.00 are offered: 4.20 may be 2 % of a part of it, or of the price without tax; 10.83 is more."""
    every = found(clues(paid, "FA2024-00001"), item("FA2024-00001", 500_00, discount_percent=2.0, discount_until=DAY))
    assert [one.rule for one in every if one.lines[0].cents == paid] == [f"document_number:{rule}"]


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (["PAIEMENT FACTURE FA2"], True),
        (["PAIEMENT FACTURE", " FA 2"], True),
        (["PAIEMENT FACTURE FA9"], False),
        (["PAIEMENT FACTURE"], False),
        (["LOYER DU 20"], False),
    ],
)
def test_which_of_equal_items_is_meant_is_not_known_where_the_number_was_cut_off(lines, refused):
    """Without a word the one that is due first is paid."""
    every = found(clues(500_00, *lines), item("FA2024-00001", 500_00, -9), item("FA2024-00002", 500_00))
    (best,) = [one for one in every if one.rule == "exact_amount:exact"]
    assert never_automatic([best]) == ("another item of the same amount would do as well" if refused else None)


@pytest.mark.parametrize(("text", "refused"), [("FA2024-00001 ET", True), ("FA2024-00001", False), ("FA2024-00001 MERCI", False)])
def test_more_than_the_named_item_costs_is_for_others_where_the_list_was_cut_off(text, refused):
    every = found(clues(800_00, text), item("FA2024-00001", 500_00), item("FA2024-00002", 300_00, -9), item("FA2024-00003", 300_00))
    (best,) = [one for one in every if one.rule == "document_number:over"]
    assert never_automatic([best]) == ("the payer names something else that nobody can read" if refused else None)


def test_what_is_missing_is_no_charge_where_a_credit_note_makes_up_for_it():
    """186.82 less a credit note of 5.00, or less what a bank takes: the text was cut off, or misses its number."""
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 186_82))
    index.add_item(item("AV2024-00007", -5_00))
    every = search(clues(181_82, "FA2024-00001"), index, Learnt(charges=Counter({5_00: 9}))).hypotheses
    ranked = sorted(every, key=lambda one: one.rule != "document_number:charges")
    assert never_automatic(ranked) == "an open credit note makes up for what is missing"
    assert never_automatic(ranked[:1]) is None


@pytest.mark.parametrize(("text", "refused"), [("FA2024-00001 ET 588", True), ("FA2024-00001", False)])
def test_an_item_is_not_sure_at_a_rate_that_nobody_states_where_another_number_cannot_be_read(text, refused):
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 400_00, currency="GBP"))
    every = search(clues(470_00, text), index, Learnt(rates={("EUR", "GBP"): (1.15, 1.19, 20)})).hypotheses
    (best,) = [one for one in every if one.rule == "document_number:rate"]
    assert never_automatic([best]) == ("the payer names something else that nobody can read" if refused else None)


@pytest.mark.parametrize(("other", "sure"), [(862_08, False), (700_00, True)])
def test_one_of_a_list_whose_other_number_is_somebody_elses_is_not_sure_where_several_have_the_amount(other, sure):
    """FA2024-09805 written as FA2024-08905, and one of the two was paid: which, nobody can tell."""
    items = [item("FA2024-10351", 862_08), item("FA2024-09805", other), item("FA2024-08905", 361_50, customer="C2")]
    one = next(one for one in found(clues(862_08, "FA2024-08905+10351"), *items) if one.rule == "document_number:exact")
    assert ([line.item.number for line in one.lines], never_automatic([one]) is None) == (["FA2024-10351"], sure)


@pytest.mark.parametrize("amount", [615_00, 300_00])
@pytest.mark.parametrize(("beside", "sure"), [("07405", False), ("", True)])
def test_what_is_over_or_missing_beside_somebody_elses_number_is_not_sure(amount, beside, sure):
    """FA2024-07005 written as FA2024-07405: what is over pays it."""
    items = [item("FA2024-07412", 480_00), item("FA2024-07005", 150_00), item("FA2024-07405", 361_50, customer="C2")]
    read = found(clues(amount, f"FA2024-07412 {beside and 'ET FA2024-'}{beside}"), *items)
    one = next(one for one in read if one.rule in {"document_number:over", "document_number:short"})
    assert ([line.item.number for line in one.lines], never_automatic([one]) is None) == (["FA2024-07412"], sure)


@pytest.mark.parametrize(
    ("text", "others", "confidence", "kind"),
    [
        ("", (100_00, 300_00), 0.97, "review"), ("", (100_00, 300_00), 0.99, "auto"), ("", (100_00, 200_00), 0.97, "auto"),
        ("FA2024-00001", (100_00, 300_00), 0.97, "auto"), ("", (100_00, 300_00), 0.94, "review"),
    ],
)  # fmt: skip
def test_one_of_several_sets_that_come_to_the_sum_has_to_be_surer_where_nothing_is_named(text, others, confidence, kind):
    items = [item(f"FA2024-0000{number}", amount) for number, amount in enumerate((400_00, *others), 1)]
    read = found(clues(400_00, text), *items)
    for one in read:
        one.confidence = confidence if [line.item.number for line in one.lines] == ["FA2024-00001"] else 0.0001
    assert decide(read, 0.85).kind == kind


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("RE NR. FA2024-20999", False), ("FA 2024 / 20999", False), ("2024-20999", False), ("FA2024-20101", True),
        ("", True), ("AVIS 1408653", True), ("BELEG 4711-20999", True), ("KDNR FA2024-20999", True),
    ],
)  # fmt: skip
def test_an_item_of_the_amount_is_not_sure_where_a_document_that_is_not_there_is_named(text, sure):
    """An invoice that comes after its payment: an older one costs the same."""
    read = found(
        clues(500_00, text), item("FA2024-20101", 500_00), item("FA2024-20555", 70_00), item("FA2024-20102", 500_00, customer="C2")
    )
    best = next(one for one in read if [line.item.number for line in one.lines] == ["FA2024-20101"])
    assert (never_automatic([best]) is None) == sure


@pytest.mark.parametrize(
    ("text", "amounts", "paid", "sure"),
    [
        # 10003 mistyped (10993), and 10004 not paid: which of the two was, where they cost the same, nobody can tell
        ("FA2024-10001, FA2024-10002, FA2024-10993, FA2024-10004", (100_00, 200_00, 300_00, 300_00), 600_00, False),
        ("FA2024-10001, FA2024-10002, FA2024-10993, FA2024-10004", (100_00, 200_00, 400_00, 300_00), 600_00, True),
        # one letter wrong: it is read, and left out
        ("FA2024-10001, FA2024-10002, FA2024-10903, FA2024-10004", (100_00, 200_00, 300_00, 300_00), 600_00, False),
        ("FA2024-10001, FA2024-10002, FA2024-10903, FA2024-10004", (100_00, 200_00, 400_00, 300_00), 600_00, True),
        ("FA2024-10001, FA2024-10002, FA2024-10903, FA2024-10004", (100_00, 200_00, 300_00, 300_00), 900_00, True),
        # somebody else's number
        ("FA2024-10001, FA2024-10002, FA2024-20555, FA2024-10004", (100_00, 200_00, 300_00, 300_00), 600_00, False),
        ("FA2024-10001, FA2024-10002, FA2024-10004", (100_00, 200_00, 300_00, 300_00), 600_00, True),
        # an ending that is none
        ("FA2024-10001, 002, 993, 004", (100_00, 200_00, 300_00, 300_00), 600_00, False),
        ("FA2024-10001, 002, 993, 004", (100_00, 200_00, 400_00, 300_00), 600_00, True),
        ("FA2024-10001, 002, 004 TEL 993", (100_00, 200_00, 300_00, 300_00), 600_00, True),
    ],
)  # fmt: skip
def test_a_list_with_a_number_that_is_not_clear_is_not_sure_where_its_item_may_be_another_of_an_amount(text, amounts, paid, sure):
    items = [item(f"FA2024-1000{number}", amount) for number, amount in enumerate(amounts, 1)]
    every = found(clues(paid, text), *items, item("FA2024-20555", 77_00, customer="C2"))
    paid_all = paid == sum(amounts)
    expected = {"FA2024-10001", "FA2024-10002", "FA2024-10004"} | ({"FA2024-10003"} if paid_all else set())
    one = next(one for one in every if {line.item.number for line in one.lines} == expected)
    assert (never_automatic([one]) is None) == sure


@pytest.mark.parametrize(
    ("text", "credit", "sure"),
    [("", 250_00, False), ("", 240_00, True), ("FA2024-10003 AV2024-10004", 250_00, True), ("FA2024-10001, FA2024-10002", 250_00, False)],
)
def test_whether_an_item_that_was_credited_whole_is_in_a_set_nobody_can_tell(text, credit, sure):
    """The sum is the same without the two of them."""
    items = [item("FA2024-10001", 100_00), item("FA2024-10002", 200_00), item("FA2024-10003", 250_00), item("AV2024-10004", -credit)]
    every = found(clues(550_00 - credit, text), *items)
    one = next(one for one in every if len(one.lines) == len(items))
    assert (never_automatic([one]) is None) == sure


@pytest.mark.parametrize(
    ("text", "age", "sure"),
    [
        ("FA2024-10001", 0, False),
        ("FA2024-10001", 1, False),
        ("FA2024-10001", 2, True),
        ("FA2024-10001 AV2024-10004", 0, True),
        ("", 0, False),
    ],
)
def test_a_credit_note_of_which_the_payer_need_not_have_known_makes_up_for_nothing(text, age, sure):
    """Half of the item, or all of it less a credit note that came when it was ordered to be paid."""
    note = replace(item("AV2024-10004", -250_00), issue_date=DAY - timedelta(age))
    one = next(one for one in found(clues(250_00, text), item("FA2024-10001", 500_00), note) if len(one.lines) > 1)
    assert (never_automatic([one]) is None) == sure


@pytest.mark.parametrize(
    ("text", "credit", "due", "sure"),
    [("", 250_00, 0, False), ("", 250_00, 1, True), ("", 240_00, 0, True), ("FA2024-10001", 250_00, 0, True)],
)
def test_whether_an_item_that_was_credited_whole_is_in_what_comes_to_the_sum_without_it_nobody_can_tell(text, credit, due, sure):
    items = [item("FA2024-10001", 100_00), item("FA2024-10003", 250_00, due), item("AV2024-10004", -credit)]
    one = next(one for one in found(clues(100_00, text), *items) if len(one.lines) == 1)
    assert (never_automatic([one]) is None) == sure
