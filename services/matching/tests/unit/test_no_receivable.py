"""What nobody owed, as those before it from its account or under its name tell."""

import pytest
from enginecases import DAY, item
from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import decide, judge
from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import NOBODY, Clues, Customer, Line
from matching.domain.engine.search import search

TAX = "FINANZAMT MITTE"
MODEL = Model("none", -10.0, [], 0.85)


def payment(name=TAX, *, amount=777_00, iban=None, **more):
    return Clues("P", DAY, amount, "EUR", debtor_name=name, debtor_iban=iban, **more)


def decided(one, learnt, *items, threshold=0.85):
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"]), Customer("C2", "10002", "Finanz AG", "EUR")])
    for each in items:
        index.add_item(each)
    found = search(one, index, learnt).hypotheses
    judge(found, MODEL)
    decision = decide(found, threshold)
    return decision.kind if decision.ranked and decision.ranked[0].customer_id == NOBODY else None


def learnt(times, *more, name=TAX, iban=None):
    found = Learnt()
    for one in [payment(name, iban=iban)] * times:
        found.learn(one, None, [], silent=False, older_left=0)
    for one, customer, lines in more:
        found.learn(one, customer, lines, silent=False, older_left=0)
    return found


@pytest.mark.parametrize(("times", "kind"), [(0, None), (1, "review"), (17, "review"), (18, "auto"), (1_000, "auto")])
def test_after_n_of_n_the_next_is_as_sure_as_the_rule_of_succession_says(times, kind):
    assert decided(payment(), learnt(times)) == kind


@pytest.mark.parametrize("name", ["Finanzamt Österreich", "FINANZAMT ÖSTERREICH", "finanzamt osterreich"])
def test_a_name_is_the_same_with_its_accents_and_without(name):
    assert decided(payment(name), learnt(18, name="FINANZAMT OSTERREICH")) == "auto"


def test_a_tenants_own_threshold_holds_for_it_too():
    assert decided(payment(), learnt(97), threshold=0.99) == "review"
    assert decided(payment(), learnt(98), threshold=0.99) == "auto"
    assert decided(payment(), learnt(1_000), threshold=1) == "review"


@pytest.mark.parametrize(
    "one",
    [
        payment("FINANZAMT MITTE", remittance=["RECHNUNG FA2024-00001"]),
        payment(structured_reference="FA202400001"),
        payment(creditor_account="VIBAN"),
        payment(iban="FR76A"),
        payment("FINANZAMT NORD"),
    ],
)
def test_whatever_else_speaks_keeps_it_from_being_set_apart(one):
    index = learnt(100)
    customers = [Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"], "VIBAN")]
    source = Index(customers)
    source.add_item(item("FA2024-00001", 500_00))
    assert [found.rule for found in search(one, source, index).hypotheses if found.customer_id == NOBODY] == []


def test_one_payment_of_a_customer_under_the_name_or_from_the_account_is_enough_against_it():
    line = Line(item("FA2024-00001", 500_00), 500_00)
    assert decided(payment(), learnt(100, (payment(), "C1", [line]))) is None
    account = payment("ANOTHER NAME", iban="DE01")
    assert decided(payment(iban="DE01"), learnt(100, (account, "C1", [line]))) is None
    assert decided(payment(iban="DE02"), learnt(100, (account, "C1", [line]))) == "auto"


def test_it_is_known_by_the_account_where_the_name_is_a_new_one():
    assert decided(payment("BUNDESKASSE", iban="DE01"), learnt(18, iban="DE01")) == "auto"


def test_an_amount_that_somebody_owes_by_chance_does_not_speak_against_it():
    assert decided(payment(amount=500_00), learnt(100), item("FA2024-00001", 500_00)) == "auto"


def test_names_without_a_letter_that_is_compared_are_not_one_name():
    assert decided(payment("ΔΗΜΟΣ"), learnt(100, name="ΥΠΟΥΡΓΕΙΟ")) is None


def test_what_customers_pay_is_no_less_theirs_for_it():
    """Shares are of all that came from an account, also of what was nobody's."""
    line = Line(item("FA2024-00001", 500_00), 500_00)
    theirs = [(payment(iban="DE01"), "C1", [line])] * 3
    own = payment("DUPONT", remittance=["FA2024-00001"], iban="DE01")
    party = search(own, Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])]), learnt(3, *theirs, iban="DE01")).parties
    assert [(one.customer_id, one.learned_iban) for one in party] == [("C1", 3 / 6.5)]
