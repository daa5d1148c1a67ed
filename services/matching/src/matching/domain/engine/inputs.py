"""All that the engine is given to decide on one payment, so that it can be stored and decided the same again.

The service gathers it by SQL; `conclude` feeds it to the same search, model and rules as `matching evaluate` does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import Decision, decide, judge
from matching.domain.engine.features import name_of
from matching.domain.engine.habits import Learnt, Past, Settled
from matching.domain.engine.index import Index
from matching.domain.engine.records import Clues, Customer, Id, OpenItem, Promise
from matching.domain.engine.search import Found, search
from matching.domain.engine.text import Text

FORM = 4
"""The form of stored inputs: raised when a field is added or changes its meaning. Still read are form 1, an item with all of its fields,
form 2, without promises, former virtual IBANs and a past, and form 3, without what was written off.
"""
_PLAIN = ((), None, 0.0, None, 0)
"""What most items have of the fields that end a row: orders, reference, discount and its last day, what is in dispute."""
_REST: tuple[Any, ...] = (None, None, *_PLAIN)
"""What a row ends in that was cut off: before these its original amount and currency, where they are what is open and the payment's."""


class InputsError(ValueError):
    """Inputs that cannot be decided on: says why."""


@dataclass(slots=True)
class Inputs:
    """What is known of a payment, of who may have paid, and of what they owe.

    `items` are open, in due order, `settled` no more, oldest first. `ibans` and `names` say how often who paid from the payment's
    account or under its payer's name; `history` holds what customers' last payments tell of their habits, oldest first;
    `charges` how often which bank charge was seen, `rates` what an item's currency cost in the payment's: lowest, highest, how often
    (minor units for one of the item's); `promises` are what customers have promised to pay, `past` is what
    the seller's own payments tell; `written_off` is what was given up of items. `versions` are those of the items;
    `left_out` says what was too much to look at.
    """

    clues: Clues
    threshold: float
    model: str
    customers: list[Customer] = field(default_factory=list)
    items: list[OpenItem] = field(default_factory=list)
    settled: list[OpenItem] = field(default_factory=list)
    ibans: dict[Id, int] = field(default_factory=dict)
    names: dict[Id, int] = field(default_factory=dict)
    history: dict[Id, list[Settled]] = field(default_factory=dict)
    charges: dict[int, int] = field(default_factory=dict)
    rates: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    versions: dict[Id, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    promises: dict[Id, list[Promise]] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    written_off: dict[Id, int] = field(default_factory=dict)


def conclude(inputs: Inputs, model: Model, text: Text | None = None) -> tuple[Decision, Found]:
    """Decides. Deterministic: the same inputs and model give the same decision; `text` is what was read of their words already.

    Raises InputsError for another model, and where the engine fails on the inputs: no payment may stop those beside it.
    """
    if inputs.model != model.name:
        raise InputsError(f"the inputs were decided on by model {inputs.model!r}, this is {model.name!r}")
    try:
        found = readings(inputs, text)
        judge(found.hypotheses, model)
        return decide(found.hypotheses, inputs.threshold), found
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputsError(f"the engine fails on these inputs: {type(error).__name__}") from error


def readings(inputs: Inputs, text: Text | None = None) -> Found:
    """All that a payment may be for, not yet judged by a model."""
    index = Index(inputs.customers)
    for item in inputs.items:
        index.add_item(item)
    for item in inputs.settled:
        index.add_settled(item)
    index.promises = inputs.promises
    learnt = Learnt(
        charges=Counter(inputs.charges),
        rates={(inputs.clues.currency, other): seen for other, seen in inputs.rates.items()},
        granted=Counter(inputs.past.granted),
        refused=Counter(inputs.past.refused),
        advances=Counter({False: inputs.past.kept, True: inputs.past.settled}),
    )
    if inputs.clues.debtor_iban and inputs.ibans:
        learnt.ibans[inputs.clues.debtor_iban] = Counter(inputs.ibans)
    if inputs.names:
        learnt.names[name_of(inputs.clues)] = Counter(inputs.names)
    for customer_id, payments in inputs.history.items():
        for one in payments:
            learnt.note(customer_id, one)
    return search(inputs.clues, index, learnt, text)


def stored(inputs: Inputs) -> dict[str, Any]:
    """The inputs as JSON can hold them (ids and days are written by whoever encodes it), without what can be left out.

    An item's row ends where nothing but the usual follows: most of what is stored are the items.
    """
    owners = {customer: place for place, customer in enumerate(dict.fromkeys(one.customer_id for one in (*inputs.items, *inputs.settled)))}
    return {
        "form": FORM,
        "model": inputs.model,
        "threshold": inputs.threshold,
        "clues": [getattr(inputs.clues, name) for name in Clues.__slots__],
        "customers": [[getattr(one, name) for name in Customer.__slots__] for one in inputs.customers],
        "owners": list(owners),
        "items": [_row(one, owners, inputs) for one in inputs.items],
        "settled": [_row(one, owners, inputs) for one in inputs.settled],
        "ibans": [[customer, times] for customer, times in inputs.ibans.items()],
        "names": [[customer, times] for customer, times in inputs.names.items()],
        "history": [[customer, [_values(one) for one in rows]] for customer, rows in inputs.history.items()],
        "charges": [[charge, times] for charge, times in inputs.charges.items()],
        "rates": [[other, *seen] for other, seen in inputs.rates.items()],
        "left_out": inputs.left_out,
        "promises": [[customer, [_values(one) for one in held]] for customer, held in inputs.promises.items()],
        "past": inputs.past.as_list() if inputs.past != Past() else [],
        "written_off": [[item, minor] for item, minor in inputs.written_off.items()],
    }  # fmt: skip


def from_stored(held: Mapping[str, Any] | None) -> Inputs:
    """Stored inputs as they were. Raises InputsError where they were erased, or are of another form."""
    if held is None:
        raise InputsError("the inputs were erased together with a person who is named in them, or there were none")
    if held.get("form") not in range(1, FORM + 1):
        raise InputsError(f"the inputs are stored in form {held.get('form')}, this engine reads 1 to {FORM}")
    try:
        return _read(held)
    except (KeyError, TypeError, ValueError) as error:
        raise InputsError(f"the stored inputs are missing or broken: {type(error).__name__}") from error


def _read(held: Mapping[str, Any]) -> Inputs:
    (payment, booked, *rest) = held["clues"]
    clues = Clues(UUID(payment), _day(booked), *rest)
    owners = [UUID(customer) for customer in held["owners"]] if held["form"] > 1 else None
    rows = [[_whole_item(row) if owners is None else _item(row, owners, clues) for row in held[name]] for name in ("items", "settled")]
    items, settled = ([item for item, _ in some] for some in rows)
    return Inputs(
        clues,
        held["threshold"],
        held["model"],
        [_customer(*row) for row in held["customers"]],
        items,
        settled,
        {UUID(customer): times for customer, times in held["ibans"]},
        {UUID(customer): times for customer, times in held["names"]},
        {UUID(customer): [_settled(row) for row in rows] for customer, rows in held["history"]},
        dict(held["charges"]),
        {other: (low, high, seen) for other, low, high, seen in held["rates"]},
        {item.item_id: version for some in rows for item, version in some},
        held["left_out"],
        {UUID(customer): [_promise(*row) for row in promised] for customer, promised in held.get("promises", ())},
        Past.from_list(held.get("past", ())),
        {UUID(item): minor for item, minor in held.get("written_off", ())},
    )


def _promise(promise_id: str, currency: str, amount: int, due_on: str, items: Sequence[str], waits: int) -> Promise:
    return Promise(UUID(promise_id), currency, amount, _day(due_on), [UUID(item) for item in items], waits)


def _customer(
    customer_id: str, number: str, name: str, currency: str, ibans: list[str], account: str | None, parent: str | None,
    former: str | None = None,
) -> Customer:  # fmt: skip
    return Customer(UUID(customer_id), number, name, currency, ibans, account, UUID(parent) if parent else None, former)


def _values(one: Settled | Promise) -> list[Any]:
    return [getattr(one, name) for name in one.__slots__]


def _row(item: OpenItem, owners: Mapping[Id, int], inputs: Inputs) -> list[Any]:
    """An item: id, place of its customer, number, days, open amount, version, then what is not as with most items."""
    row = [
        item.item_id,
        owners[item.customer_id],
        item.number,
        item.issue_date,
        item.due_date,
        item.open_minor,
        inputs.versions.get(item.item_id),
    ]
    rest = (tuple(item.order_numbers), item.reference, item.discount_percent, item.discount_until, item.contested_minor)
    original = item.original_minor if item.original_minor != item.open_minor else None
    currency = item.currency if item.currency != inputs.clues.currency else None
    if rest != _PLAIN:
        row += [original, currency, *rest]
    elif currency is not None:
        row += [original, currency]
    elif original is not None:
        row.append(original)
    return row


def _item(row: Sequence[Any], owners: Sequence[UUID], clues: Clues) -> tuple[OpenItem, Any]:
    item_id, owner, number, issued, due, opened, version, *rest = row
    original, currency, orders, reference, percent, until, contested = [*rest, *_REST[len(rest) :]]
    return OpenItem(
        UUID(item_id), owners[owner], number, currency or clues.currency, _day(issued), _day(due), opened if original is None else original,
        opened, tuple(orders), reference, percent, _day(until) if until else None, contested,
    ), version  # fmt: skip


def _whole_item(row: Sequence[Any]) -> tuple[OpenItem, Any]:
    """An item of form 1."""
    item_id, customer, number, currency, issued, due, original, opened, orders, reference, percent, until, contested, version = row
    return OpenItem(
        UUID(item_id), UUID(customer), number, currency, _day(issued), _day(due), original, opened, tuple(orders), reference, percent,
        _day(until) if until else None, contested,
    ), version  # fmt: skip


def _settled(row: Sequence[Any]) -> Settled:
    amount, booked, lines, invoices, first, last, *rest = row
    return Settled(amount, _day(booked), lines, invoices, _day(first) if first else None, _day(last) if last else None, *rest)


def _day(value: str) -> date:
    return date.fromisoformat(value)
