"""Payments and items as the engine's unit tests take them."""

from datetime import date, timedelta

from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import Clues, Customer, OpenItem
from matching.domain.engine.search import search

DAY = date(2026, 3, 10)


def item(number: str, amount: int, due: int = 0, **more) -> OpenItem:
    day = DAY + timedelta(days=due)
    return OpenItem(
        number, more.pop("customer", "C1"), number, more.pop("currency", "EUR"), day - timedelta(30), day, amount, amount, **more
    )


def clues(amount: int, *lines: str, **more) -> Clues:
    return Clues("P1", DAY, amount, more.pop("currency", "EUR"), debtor_iban="FR76A", remittance=lines, **more)


def found(payment: Clues, *items: OpenItem):
    index = Index([Customer("C1", "10001", "Dupont SARL", "EUR", ["FR76A"]), Customer("C2", "10002", "Martin SA", "EUR", ["FR76B"])])
    for one in items:
        index.add_item(one)
    answer = search(payment, index, Learnt()).hypotheses
    for one in answer:
        one.confidence = 0.9
    return answer


def settled(hypotheses, rule):
    return [{line.item.item_id: line.cents for line in one.lines} for one in hypotheses if one.rule == rule]
