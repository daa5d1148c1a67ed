"""The engine's readings: what a payer wrote and paid, against one customer's items."""

import json
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

import pytest
from enginecases import DAY, clues, found, item, settled
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.combinations import few, runs
from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import decide, judge, never_automatic
from matching.domain.engine.features import NAMES
from matching.domain.engine.habits import Learnt, Past, Settled
from matching.domain.engine.index import Index
from matching.domain.engine.inputs import Inputs, InputsError, from_stored, stored
from matching.domain.engine.parties import likeness
from matching.domain.engine.records import Clues, Customer, OpenItem, Promise
from matching.domain.engine.search import search

PAYMENT, CUSTOMER, ITEM, OTHER = (UUID(int=number) for number in (1, 2, 3, 4))


def test_an_iban_of_several_customers_is_nobodys_own():
    index = Index([Customer(f"C{n}", f"1000{n}", f"Commune {n}", "EUR", [f"FR76{n}", "FR76T", "FR76T"]) for n in range(3)])
    assert index.by_iban == {"FR760": "C0", "FR761": "C1", "FR762": "C2"}


@pytest.mark.parametrize(("text", "refused"), [("", True), ("FA2024-00001", False)])
def test_what_is_disputed_is_paid_only_where_it_is_named(text, refused):
    every = found(clues(900, text), item("FA2024-00001", 900, contested_minor=100))
    (exact,) = [one for one in every if one.rule in {"exact_amount:exact", "document_number:exact"}]
    assert (never_automatic([exact]) == "what is disputed is paid only where it is named") == refused


@pytest.mark.parametrize(
    ("dues", "text", "shown", "lost"),
    [
        ((0, 0), "", [["1"], ["2"]], "another item of the same amount would do as well"),
        ((0, 0, 0), "", [["1"], ["2"], ["3"]], "another item of the same amount would do as well"),
        ((9, 4), "", [["2"], ["1"]], "an item of the same amount is due sooner"),
        ((0,) * 9, "", [["1"], ["2"], ["3"], ["4"], ["5"]], "another item of the same amount would do as well"),
    ],
)
def test_all_items_that_tie_are_shown_in_due_order_with_why_each_lost(dues, text, shown, lost):
    every = found(clues(500_00, text), *(item(f"FA2024-0000{number}", 500_00, due) for number, due in enumerate(dues, 1)))
    decision = decide(every, 1.0)
    assert [[line.item.number[-1] for line in one.lines] for one in decision.ranked] == shown
    assert [one.lost for one in decision.ranked] == [None, *[lost] * (len(shown) - 1)]


def test_what_is_not_in_dispute_is_a_price_alone_and_in_a_set_and_what_is_is_none():
    items = [
        item("FA2024-00001", 900_00, contested_minor=100_00),
        item("FA2024-00002", 50_00),
        item("FA2024-00003", 70_00, contested_minor=70_00),
    ]
    assert settled(found(clues(800_00), *items), "exact_amount:exact") == [{"FA2024-00001": 800_00}]
    assert settled(found(clues(850_00), *items), "run_of_items:exact") == [{"FA2024-00001": 800_00, "FA2024-00002": 50_00}]
    assert settled(found(clues(800_00, "FA2024-00001"), *items), "document_number:exact") == [{"FA2024-00001": 800_00}]
    assert settled(found(clues(100_00), *items), "exact_amount:exact") == []


def test_of_items_that_are_near_the_amount_all_are_shown():
    items = [item("FA2024-00001", 500_03), item("FA2024-00002", 499_98), item("FA2024-00003", 500_20)]
    ranked = decide(found(clues(500_00), *items), 1.0).ranked
    assert [(one.rule, one.lines[0].item.number[-1], one.lost) for one in ranked if one.rule == "exact_amount:rounding"] == [
        ("exact_amount:rounding", "2", None), ("exact_amount:rounding", "1", "another item is about as near the amount")
    ]  # fmt: skip


def test_of_items_that_what_was_received_may_be_at_a_usual_rate_all_are_shown():
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    for number, amount in enumerate((1_000_00, 1_010_00, 2_000_00), 1):
        index.add_item(item(f"FA2024-0000{number}", amount, currency="USD"))
    every = search(clues(905_00), index, Learnt(rates={("EUR", "USD"): (0.89, 0.91, 5)})).hypotheses
    ranked = decide(every, 1.0).ranked
    assert [(one.rule, one.lines[0].item.number[-1]) for one in ranked] == [("exact_amount:rate", "1"), ("exact_amount:rate", "2")]


def test_what_is_named_does_not_tie_and_is_shown_once():
    ranked = decide(found(clues(500_00, "FA2024-00002"), item("FA2024-00001", 500_00), item("FA2024-00002", 500_00)), 1.0).ranked
    assert sorted((one.rule, one.lines[0].item.number[-1]) for one in ranked) == [
        ("document_number:exact", "2"),
        ("exact_amount:exact", "1"),
    ]


def test_sets_that_tie_with_a_single_item_or_with_each_other_are_shown_as_well():
    items = [item("FA2024-00001", 500_00), item("FA2024-00002", 200_00), item("FA2024-00003", 300_00), item("FA2024-00004", 300_00)]
    ranked = decide(found(clues(500_00), *items), 1.0).ranked
    sets = [{line.item.number[-1] for line in one.lines} for one in ranked]
    assert sets in ([{"1"}, {"2", "3"}, {"2", "4"}], [{"2", "3"}, {"2", "4"}, {"1"}])
    assert all(sum(line.cents for line in one.lines) == 500_00 for one in ranked)


def test_what_is_named_wins_over_what_has_the_amount():
    hypotheses = found(clues(500, "FA2024-00001"), item("FA2024-00001", 900), item("FA2024-00002", 500))
    assert settled(hypotheses, "document_number:short") == [{"FA2024-00001": 500}]
    exact = next(one for one in hypotheses if one.rule == "exact_amount:exact")
    exact.confidence = 1.0
    assert never_automatic([exact]) == "the payer names an open item that this leaves out"


def test_the_discount_of_the_terms_is_taken_off():
    terms = {"discount_percent": 2.0, "discount_until": DAY}
    hypotheses = found(clues(98_00, "FA2024-00001"), item("FA2024-00001", 100_00, 20, **terms))
    best = next(one for one in hypotheses if one.rule == "document_number:exact")
    assert [(line.cents, line.diff_cents, line.reason) for line in best.lines] == [(100_00, 2_00, "discount")]


def test_a_credit_note_is_netted():
    hypotheses = found(clues(70_00), item("FA2024-00001", 100_00, -5), item("FA2024-00002", -30_00, -4), item("FA2024-00003", 55_00, 9))
    assert {"FA2024-00001": 100_00, "FA2024-00002": -30_00} in settled(hypotheses, "run_of_items:exact")


def test_charges_that_the_bank_states_are_no_short_payment():
    hypotheses = found(clues(97_50, "FA2024-00001", instructed_minor=100_00, instructed_currency="EUR"), item("FA2024-00001", 100_00))
    best = next(one for one in hypotheses if one.rule == "document_number:charges_stated")
    assert [(line.cents, line.diff_cents, line.reason) for line in best.lines] == [(100_00, 2_50, "bank_charges")]


def test_another_amount_than_the_named_items_is_not_carried_out_for_a_stranger():
    """A mistyped number may be another customer's: only who is known to be the customer pays a part of it, or too much."""
    for amount in (30_000, 70_000):
        for known, refused in ((True, False), (False, True)):
            payment = replace(clues(amount, "FA2024-00001"), debtor_iban="FR76A" if known else "DE00FOREIGN", debtor_name="Notaire")
            best = max(found(payment, item("FA2024-00001", 50_000)), key=lambda one: one.features[NAMES.index("named_share")])
            assert best.rule in {"document_number:short", "document_number:over"}
            assert (never_automatic([best]) is not None) == refused


@pytest.mark.parametrize(
    ("ultimate", "parties"),
    [
        (None, {"C2"}),
        ("MARTIN SA", {"C1"}),
        ("Caisse centrale", {"C2"}),  # nobody's name: who pays is who is meant
        ("DUPONT SARL", {"C2"}),
    ],
)
def test_for_whom_the_bank_says_it_is_paid_goes_before_whose_account_it_came_from(ultimate, parties):
    """C2 has paid from this account before, for itself and for C1."""
    index = Index([Customer("C1", "10001", "Martin SA", "EUR"), Customer("C2", "10002", "Dupont SARL", "EUR", ["FR76A"])])
    for number in (1, 2):
        index.add_item(item(f"FA2024-0000{number}", 500_00, customer=f"C{number}"))
    payment = clues(500_00, debtor_name="DUPONT SARL", ultimate_name=ultimate)
    learnt = Learnt()
    for customer in ("C1", "C2", "C2"):
        learnt.learn(replace(payment, ultimate_name=None), customer, [], silent=True, older_left=0)
    known = {one.customer_id for one in search(payment, index, learnt).parties if one.known()}
    assert known == parties


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("VIREMENT 1806", True), ("FA2024-99917", True), ("REGLEMENT 03/2024", False), ("", False), ("RUN 0104", False),
        ("VERTRAG 4711008", False), ("NIP 5260001246", False), ("KLANTNR 200331", False),
    ],
)  # fmt: skip
def test_a_number_that_nobody_can_read_may_be_any_item_of_the_amount(text, refused):
    """FA2024-01860, mistyped: without a word the oldest of two that cost the same is paid, with one that nobody can read neither."""
    hypotheses = found(clues(67_33, text), item("FA2024-00978", 67_33, -32), item("FA2024-01860", 67_33, 3))
    best = next(one for one in hypotheses if one.rule == "exact_amount:exact")
    assert (never_automatic([best]) is not None) == refused


def test_a_part_of_what_is_named_is_not_paid_where_the_payer_names_more_that_nobody_can_read():
    """The second number is a credit note's, mistyped: what is missing is not a part."""
    hypotheses = found(clues(1_121_26, "24041883 ET 2404355488"), item("24041883", 1_269_69), item("24043545", -148_43))
    best = next(one for one in hypotheses if one.rule == "document_number:short")
    assert never_automatic([best]) == "the payer names something else that nobody can read"


def test_what_may_as_well_be_a_third_of_another_item_is_left_to_a_person():
    hypotheses = found(clues(500_00), item("FA2024-00001", 500_00, -12), item("FA2024-00002", 1_500_00, -3))
    ranked = sorted(hypotheses, key=lambda one: one.rule != "exact_amount:exact")
    assert never_automatic(ranked) == "it may as well be an instalment of another item"
    assert never_automatic(ranked[:1]) is None


def test_a_missing_sum_such_as_banks_charge_is_no_part():
    best = found(clues(48_500, "FA2024-00001"), item("FA2024-00001", 50_000))[0]
    assert never_automatic([best]) == "what is missing may be a bank's charge, or a discount that nobody offered"


@pytest.mark.parametrize(("paid", "rule"), [(98_00, "short_round"), (97_01, "short_round"), (95_50, "short"), (99_08, "short_round")])
def test_a_missing_share_such_as_discounts_are_is_no_part(paid, rule):
    """2 and 3 % of 100.00, the second a cent off; 4.50 is no usual discount of it, and no bank's charge; 0.92 may be rounded away."""
    assert settled(found(clues(paid, "FA2024-00001"), item("FA2024-00001", 100_00)), f"document_number:{rule}")


def test_a_part_is_not_paid_where_a_credit_note_makes_up_for_what_is_missing():
    """The list names both, but the bank cut it off."""
    items = [item("FA2024-00001", 500_00), item("FA2024-00002", -117_13), item("FA2024-00003", 80_00)]
    hypotheses = found(clues(382_87, "FA2024-00001 + FA2024-0"), *items)
    judge(hypotheses, Model("even", 0.0, [], 1.0))
    part = next(one for one in hypotheses if one.rule == "document_number:short")
    whole = next(one for one in hypotheses if one.rule == "completed_list:exact")
    assert never_automatic([part, whole]) == "an open credit note makes up for what is missing"
    assert part.confidence == whole.confidence == 0.5  # what is named in part is no designation
    alone = found(clues(382_87, "FA2024-00001"), items[0], items[2])
    judge(alone, Model("even", 0.0, [], 1.0))
    assert max(one.confidence for one in alone) == 0.98


@pytest.mark.parametrize(("text", "others"), [("RECHNUNG RG-2025-10119", 0), ("RG-2025-10119 UND 2025/10119", 1), ("2025/10119", 0)])
def test_a_number_that_lies_inside_of_a_longer_one_of_the_payer_is_not_somebody_elses(text, others):
    every = found(clues(630_70, text), item("RG-2025-10119", 630_70), item("2025/10119", 77_00, customer="C2"))
    mine = [dict(zip(NAMES, one.features, strict=True)) for one in every if one.customer_id == "C1"]
    assert {one["others_named"] for one in mine} == {float(others)}


def test_what_a_parent_pays_for_is_not_taken_for_the_same_number_of_a_subsidiary():
    index = Index([Customer("C1", "1", "Dupont", "EUR", ["FR76A"]), Customer("C2", "2", "Dupont Sud", "EUR", parent_id="C1")])
    for customer, amount in (("C1", 250_00), ("C2", 900_00)):
        index.add_item(OpenItem(customer, customer, "2026-003", "EUR", DAY, DAY, amount, amount))
    hypotheses = search(clues(250_00, "2026-003"), index, Learnt()).hypotheses
    judge(hypotheses, Model("even", 0.0, [], 1.0))
    assert all(one.confidence <= 0.98 for one in hypotheses)
    best = max(hypotheses, key=lambda one: one.confidence)
    assert (best.customer_id, best.rule) != ("C2", "document_number:short")


def test_another_of_the_same_amount_may_be_meant_where_the_payer_names_something():
    """What it names is settled, or is a weak sign: without a word the oldest of equal ones is paid, with one neither is sure."""
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    for number, due in (("FA2024-00978", -32), ("FA2024-01860", 3)):
        index.add_item(item(number, 67_33, due))
    index.add_settled(replace(item("FA2024-04913", 50_00, -90), open_minor=0))
    for text, refused in (("", False), ("FACT 4913", True)):
        best = next(one for one in search(clues(67_33, text), index, Learnt()).hypotheses if one.rule == "exact_amount:exact")
        assert (never_automatic([best]) is not None) == refused


def test_nothing_is_automatic_where_nobody_knows_the_payer():
    hypotheses = found(Clues("P1", DAY, 500, "EUR", debtor_name="Somebody Else", remittance=["THANKS"]), item("FA2024-00001", 500))
    assert hypotheses
    assert decide(hypotheses, 0.0).refused == "nobody knows the payer"


@pytest.mark.parametrize(("text", "known"), [("1439", True), ("1439, 0203", False)])
def test_whose_item_has_the_amount_and_the_end_of_a_number_is_not_known_where_another_one_cannot_be_read(text, known):
    """An agent pays for somebody who has both."""
    payment = Clues("P1", DAY, 380_00, "EUR", debtor_name="ADYEN N.V.", remittance=[text])
    one = next(one for one in found(payment, item("250314-39", 380_00)) if one.rule == "document_number:exact")
    assert never_automatic([one]) == (None if known else "nobody knows the payer")


def test_no_reading_is_none_at_all():
    assert decide([], 0.5).kind == "unmatched"


@pytest.mark.parametrize(
    ("written", "known", "least"),
    [
        ("DUPONT SARL", "Dupont SARL", 1.0),
        ("STE DUPONTDURAND SARL", "Dupont Durand SARL", 1.0),
        ("MULVALTECHEURL", "Mülval Tech EURL", 1.0),
        ("BOUVARD LOGISTI", "Bouvard Logistique SA", 0.85),
        ("MUELLER UND SOEHNE", "Müller und Söhne GmbH", 1.0),
        ("Müller und Söhne", "MUELLER UND SOEHNE GMBH", 1.0),
        ("KOLODZIEJ SP Z O O", "Kołodziej Sp. z o.o.", 1.0),
        ("СТРОЙМОНТАЖ СОФИЯ", "Строймонтаж София", 1.0),
        ("ΜΕΤΑΦΟΡΕΣ ΑΙΓΑΙΟ", "Μεταφορές Αιγαίο", 1.0),
    ],
)
def test_names_as_banks_write_them(written, known, least):
    assert likeness(written, known) >= least


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("CABINET MARTIN COMPTA", "Dupont SARL"),
        ("БАЛКАН INTERNATIONAL 2000", "София International 2000"),
        ("ΑΙΓΑΙΟ SHIPPING 24", "Κρήτη Shipping 24"),
    ],
)
def test_other_names_are_not_alike(written, known):
    assert likeness(written, known) == 0.0


@pytest.mark.parametrize(
    ("written", "whose"),
    [
        ("MUELLER PAUL", "C1"), ("Müller, Paul", "C1"), ("MULLER PAUL", "C1"), ("PAUL MUELLER", "C1"), ("WEBER ANNA MARIA", "C3"),
        ("MARTIN BERNARD", "C5"), ("BERNARD MARTIN", "C4"), ("BAU DUPONT SARL", None), ("MUELLER PAUL PETER", None), ("MUELLER PA", None),
    ],
)  # fmt: skip
def test_a_person_may_be_named_with_the_family_name_first(written, whose):
    """Not where somebody is called just as it is written, nor what has a legal form."""
    names = ("Paul Müller", "Dupont Bau SARL", "Anna Maria Weber", "Bernard Martin", "Martin Bernard")
    index = Index([Customer(f"C{n}", f"1000{n}", name, "EUR") for n, name in enumerate(names, 1)])
    for n in range(1, 6):
        index.add_item(item(f"FA2024-0000{n}", 100_00, customer=f"C{n}"))
    known = [one for one in search(Clues("P1", DAY, 100_00, "EUR", debtor_name=written), index, Learnt()).parties if one.known()]
    assert [one.customer_id for one in known] == [whose] * (whose is not None)


AMOUNTS = st.lists(st.integers(-500, 5_000).filter(bool), min_size=2, max_size=12)


@given(AMOUNTS, st.data())
def test_sets_add_up_and_one_that_is_there_is_found(amounts, data):
    places = data.draw(st.sets(st.integers(0, len(amounts) - 1), min_size=2, max_size=4))
    target = sum(amounts[at] for at in places)
    solutions = few(amounts, target)
    assert all(sum(amounts[at] for at in one) == target and len(set(one)) == len(one) for one in solutions)
    assert solutions
    assert all(sum(amounts[start:end]) == target for start, end in runs(amounts, target))


def test_stored_inputs_are_what_they_were():
    given_ = Inputs(
        Clues(PAYMENT, DAY, 500, "EUR", debtor_iban="FR76A", debtor_name="Dupont", remittance=["FA2024-00001"]), 0.9, "m",
        [Customer(CUSTOMER, "10001", "Dupont SARL", "EUR", ["FR76A"], None, CUSTOMER)],
        [
            OpenItem(ITEM, CUSTOMER, "FA2024-00001", "EUR", DAY, DAY, 500, 500, ("A1",), "RF18", 2.0, DAY, 10),
            OpenItem(OTHER, PAYMENT, "FA2024-00002", "EUR", DAY, DAY, 900, 900),
            OpenItem(CUSTOMER, PAYMENT, "FA2024-00003", "USD", DAY, DAY, 900, 900),
            OpenItem(PAYMENT, CUSTOMER, "FA2024-00004", "EUR", DAY, DAY, 900, 400),
        ],
        [OpenItem(UUID(int=9), CUSTOMER, "FA2023-00001", "USD", DAY, DAY, 700, 0)],
        {CUSTOMER: 2}, {CUSTOMER: 1}, {CUSTOMER: [Settled(500, DAY, 1, 1, DAY, DAY, silent=True)]}, {1500: 3}, {"USD": (0.9, 0.93, 4)},
        {ITEM: 7, OTHER: 1, CUSTOMER: 2, PAYMENT: 3, UUID(int=9): 4}, ["words of a long text"],
        {CUSTOMER: [Promise(UUID(int=8), "EUR", 900, DAY, [ITEM], 100)]}, Past({7: 3, 12: 1}, {20: 2}, 40, 1),
    )  # fmt: skip
    assert from_stored(json.loads(json.dumps(stored(given_), default=str))) == given_


def test_inputs_of_the_first_form_are_still_read():
    row = [str(ITEM), str(CUSTOMER), "FA2024-00001", "EUR", "2024-06-03", "2024-07-03", 500, 400, ["A1"], None, 2.0, "2024-06-10", 0, 7]
    held = {
        "form": 1, "model": "m", "threshold": 0.9,
        "clues": [str(PAYMENT), "2024-07-01", 400, "EUR", *[None] * 5, ["FA2024-00001"], None, None],
        "customers": [], "items": [row], "settled": [], "ibans": [], "names": [], "history": [], "charges": [], "rates": [], "left_out": [],
    }  # fmt: skip
    read_ = from_stored(held)
    issued, due, until = (date.fromisoformat(day) for day in (row[4], row[5], row[11]))
    assert read_.items == [OpenItem(ITEM, CUSTOMER, "FA2024-00001", "EUR", issued, due, 500, 400, ("A1",), None, 2.0, until, 0)]
    assert read_.versions == {ITEM: 7}
    assert from_stored(json.loads(json.dumps(stored(read_), default=str))) == read_


@pytest.mark.parametrize(
    ("held", "why"), [(None, "erased"), ({"form": 99}, "form 99"), ({"form": 1, "model": "other"}, "missing or broken")]
)
def test_inputs_that_cannot_be_decided_on_say_why(held, why):
    with pytest.raises(InputsError, match=why):
        from_stored(held)


@pytest.mark.parametrize("days", [3, 14, 30])
def test_after_how_many_days_money_comes_twice_is_learnt(days):
    def refused(learnt):
        learnt.note("C1", Settled(500_00, DAY - timedelta(days=days), lines=1, invoices=1, first_due=DAY, last_due=DAY))
        index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
        index.add_item(item("FA2024-00001", 500_00))
        return never_automatic(search(clues(500_00), index, learnt).hypotheses[:1])

    assert refused(Learnt()) is None
    taught = Learnt()
    for customer in ("C7", "C8", "C9"):
        for day, lines in ((50, 1), (50 - days, 0)):
            taught.note(customer, Settled(77_00, DAY - timedelta(days=day), lines=lines))
    assert taught.twice == taught.again == {days: 3}
    often = Learnt(twice=taught.twice.copy(), again=Counter({days: 100}))
    assert refused(often) is None
    assert refused(taught) == "the same amount was paid just before: it may be paid twice"


def test_a_payment_that_is_looked_at_after_later_ones_does_not_count_them_as_paid_before():
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    index.add_item(item("FA2024-00001", 500))
    learnt = Learnt()
    learnt.note("C1", Settled(500, DAY + timedelta(days=1), 1, 1, DAY, DAY))
    (exact,) = [one for one in search(clues(500), index, learnt).hypotheses if one.rule == "exact_amount:exact"]
    assert dict(zip(NAMES, exact.features, strict=True))["paid_same_lately"] == 0
