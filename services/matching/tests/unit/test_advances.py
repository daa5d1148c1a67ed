"""What a payer calls an advance, and whose it is."""

from dataclasses import replace

import pytest
from enginecases import clues, found, item
from matching.domain.engine.decision import never_automatic
from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import Customer
from matching.domain.engine.search import search


@pytest.mark.parametrize(
    ("text", "iban", "kept"),
    [
        ("PREPAYMENT 3669380", "FR76A", True), ("ANZAHLUNG AUFTRAG 969681", "FR76A", True), ("VIREMENT 969681", "FR76A", False),
        ("ACOMPTE FA2024-00001", "FR76A", False), ("PREPAYMENT 3669380", "DE00FOREIGN", False),
        ("VORKASSE AUFTRAG 969681", "FR76A", True), ("ZALICZKA 3669380", "FR76A", True), ("AANBETALING", "FR76A", True),
        ("ZÁLOHA 3669380", "FR76A", True), ("Förskott order 969681", "FR76A", True),
        ("Előleg 3669380", "FR76A", True), ("ADIANTAMENTO ENCOMENDA 969681", "FR76A", True), ("ENNAKKO TILAUS 969681", "FR76A", True),
    ],
)  # fmt: skip
def test_what_a_known_payer_calls_an_advance_and_names_nothing_stays_on_its_account(text, iban, kept):
    advances = [one for one in found(replace(clues(9_000_00, text), debtor_iban=iban), item("FA2024-00001", 500_00)) if not one.lines]
    assert [(one.customer_id, one.rule, never_automatic([one])) for one in advances] == [("C1", "advance:on_account", None)] * kept


def test_an_advance_is_whose_account_it_came_from_whoever_else_is_called_alike():
    others = [Customer("C2", "10002", "Dupont SARL", "EUR"), Customer("C3", "10003", "Dupont", "EUR")]
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"]), *others])
    payment = clues(9_000_00, "PREPAYMENT 3669380", debtor_name="DUPONT SARL")
    assert [one.customer_id for one in search(payment, index, Learnt()).hypotheses] == ["C1"]
    assert not search(replace(payment, debtor_iban="FR76B"), index, Learnt()).hypotheses


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("KELGAU BAU AG", ["C1"]), ("STE KELGAU BAU AG", ["C1"]), ("KELGAU BAU", []), ("KELGAU BAU GMBH", []),
        ("KELGAU BAU SUED AG", ["C4"]),
    ],
)  # fmt: skip
def test_an_advance_is_his_who_is_called_just_so_with_the_legal_form(written, kept):
    names = ("Kelgau Bau AG", "Kelgau Bau GmbH", "Kelgau Bau GmbH", "Kelgau Bau Süd AG")
    index = Index([Customer(f"C{n}", f"1000{n}", name, "EUR") for n, name in enumerate(names, 1)])
    payment = clues(9_000_00, "PREPAYMENT 3669380", debtor_name=written)
    assert [one.customer_id for one in search(payment, index, Learnt()).hypotheses] == kept


@pytest.mark.parametrize(("own", "others", "kept"), [(0, 0, True), (1, 0, True), (4, 1, True), (2, 2, False), (0, 1, False), (9, 7, False)])
def test_an_advance_from_an_account_that_mostly_paid_for_others_may_be_theirs(own, others, kept):
    payment = clues(9_000_00, "PREPAYMENT 3669380")
    learnt = Learnt()
    for number in range(own + others):
        learnt.learn(payment, "C1" if number < own else f"X{number}", [], silent=True, older_left=0)
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"])])
    assert [one.rule for one in search(payment, index, learnt).hypotheses] == ["advance:on_account"] * kept


def test_whom_an_agent_pays_an_advance_for_its_virtual_iban_says():
    """The account of a payment service has paid for many, and never for this customer."""
    payment = clues(9_000_00, "PREPAYMENT 3669380", creditor_account="FR76V")
    learnt = Learnt()
    for number in range(5):
        learnt.learn(payment, f"X{number}", [], silent=True, older_left=0)
    customers = [Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76B"], virtual_iban="FR76V")]
    assert [(one.customer_id, one.rule) for one in search(payment, Index(customers), learnt).hypotheses] == [("C1", "advance:on_account")]
    assert not search(replace(payment, creditor_account=None), Index(customers), learnt).hypotheses


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"debtor_name": "KELGAU BAU AG", "debtor_iban": "FR76SUB"}, ["SUB"]),  # the parent's name, from the subsidiary's own account
        ({"debtor_name": "KELGAU BAU AG", "creditor_account": "VIRTUAL"}, ["SUB"]),
        ({"debtor_name": "KELGAU BAU SERVICE GMBH"}, ["SUB"]),
        ({"debtor_name": "KELGAU BAU AG"}, ["TOP"]),  # and a person decides: see below
        ({"debtor_name": "KELGAU BAU AG", "debtor_iban": "FR76TOP"}, ["TOP"]),
        ({"debtor_iban": "FR76TOP", "creditor_account": "VIRTUAL"}, []),  # for whom it pays is for a person to say
    ],
)
def test_an_advance_is_the_subsidiarys_where_its_own_account_says_so_though_its_parent_is_known_too(more, kept):
    top = Customer("TOP", "10001", "Kelgau Bau AG", "EUR", ["FR76TOP"])
    sub = Customer("SUB", "10002", "Kelgau Bau Service GmbH", "EUR", ["FR76SUB"], "VIRTUAL", "TOP")
    payment = replace(clues(9_000_00, "PREPAYMENT 3669380"), debtor_iban=None)
    assert [one.customer_id for one in search(replace(payment, **more), Index([top, sub]), Learnt()).hypotheses] == kept


@pytest.mark.parametrize(
    ("more", "sure"),
    [
        ({"debtor_iban": "FR76TOP"}, False), ({}, False), ({"creditor_account": "VIRTUAL"}, True),
        ({"debtor_name": "SERVICE KELGAU GMBH"}, True),
    ],
)  # fmt: skip
def test_an_advance_of_one_who_has_subsidiaries_may_be_for_one_of_them(more, sure):
    """It pays for them, as a rule, and what is not invoiced yet names no item. What it paid before, all for itself, does not tell."""
    top = Customer("TOP", "10001", "Kelgau Bau AG", "EUR", ["FR76TOP"], "VIRTUAL")
    sub = Customer("SUB", "10002", "Service Kelgau GmbH", "EUR", (), None, "TOP")
    payment = replace(clues(9_000_00, "PREPAYMENT 3669380", debtor_name="KELGAU BAU AG"), debtor_iban=None)
    payment = replace(payment, **more)
    learnt = Learnt()
    for _ in range(30):
        learnt.learn(payment, "TOP", [], silent=True, older_left=0)
    (advance,) = search(payment, Index([top, sub]), learnt).hypotheses
    assert (never_automatic([advance]) is None) == sure
