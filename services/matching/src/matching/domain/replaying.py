"""Deciding again on what a decision was taken on, and whether the same comes of it.

A direct hit is replayed from its evidence, the engine's decision from its inputs; both go the way of a payment: a proposal, carried
out on items as they were. A person's decisions and the debtor's own (lists, announcements) are words, not outcomes of a rule.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from matching.domain.books import Account, Books, Item, Payment
from matching.domain.cascade import Candidate, Proposal, direct, settle
from matching.domain.engine.confidence import Model
from matching.domain.engine.inputs import InputsError, from_stored
from matching.domain.proposing import propose
from matching.domain.rows import received

DIRECT = ("virtual_iban_invoice", "structured_reference")
_ID, _DAY = UUID(int=0), date(2000, 1, 1)


def outcome(books: Books, payment: Payment, before: Mapping[UUID, tuple[int, int]]) -> dict[str, Any]:
    """What a decision did to a payment, as it is kept: [item, received, difference, reason] and [credit note, item, amount].

    `before` is what was allocated already: received and difference by item.
    """
    settled = []
    for item_id, held in payment.allocations.items():
        amount, diff = before.get(item_id, (0, 0))
        if (held.amount_minor, held.diff_minor) != (amount, diff):
            settled.append([item_id, held.amount_minor - amount, held.diff_minor - diff, held.diff_reason])
    answer: dict[str, Any] = {"settled": settled}
    if netted := books.set_off_with.get((payment.tenant_id, payment.payment_id)):
        answer["set_off"] = [list(one) for one in netted]
    return answer


def replay(rule: str, evidence: Mapping[str, Any], inputs: Mapping[str, Any] | None, currency: str, model: Model) -> dict[str, Any]:
    """What the decision comes to now, in the form of its evidence: `settled`, `set_off`, and for the engine how sure and why.

    Raises InputsError where it cannot be replayed: another model, another form, inputs erased, or no rule's decision.
    """
    if rule in DIRECT:
        proposal = _direct(rule, evidence)
        money = evidence["unapplied_minor"]
        items = [(UUID(one["item_id"]), one["open_minor"], one["kind"], one["currency"]) for one in evidence["items"]]
    elif inputs is None and "decision" not in evidence:
        raise InputsError("this is no rule's decision, but the word of a person or of the debtor")
    else:
        given = from_stored(inputs)
        proposal = propose(given, model, {item.item_id: _ID for item in (*given.items, *given.settled)}, whole=True)
        money = given.clues.amount_minor
        currencies = {item.item_id: item.currency for item in given.items}
        items = [
            (share.item_id, share.open_minor, "credit_note" if share.minor < 0 else "invoice", currencies[share.item_id])
            for share in proposal.shares
        ]
    books = Books()
    books.accounts[_ID, _ID] = Account(_ID, _ID, _ID, _ID, currency)
    payment = _payment(money, currency)
    for item_id, opened, kind, of in items:
        books.items[_ID, item_id] = _item(item_id, opened, kind, of)
    settle(books, payment, proposal)
    return {"rule": proposal.rule, **outcome(books, payment, {}), **(proposal.evidence or {})}


def differences(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """What of a replayed outcome is not as it was stored (both as JSON holds them)."""
    return sorted(name for name, value in now.items() if _kept(value) != _kept(then.get(name)))


def _kept(value: Any) -> Any:
    """A value without what follows from the evidence and is not stored of every decision: what moved the confidence, why it lost."""
    if isinstance(value, list):
        return [_kept(one) for one in value]
    return {name: one for name, one in value.items() if name not in {"moved_by", "lost"}} if isinstance(value, dict) else value


def _direct(rule: str, evidence: Mapping[str, Any]) -> Proposal:
    hits = [(one["found"], one) for one in evidence["candidates"]] or [(rule, one) for one in evidence["items"]]
    return direct([(how, Candidate(UUID(one["item_id"]), _ID, _ID, one["open_minor"], "", "", _DAY)) for how, one in hits])


def _payment(money: int, currency: str) -> Payment:
    return received(
        _ID, _ID, bank_account_id=_ID, entity_id=_ID, currency=currency, amount_minor=money, booking_date=_DAY, value_date=_DAY,
        confirmation="booked", source="",
    )  # fmt: skip


def _item(item_id: UUID, opened: int, kind: str, currency: str) -> Item:
    settled = ("cash", "discount", "credit", "charges", "withheld", "set_off", "written_off", "contested")
    return Item(
        _ID, item_id, 0, 0, _ID, _ID, _ID, kind, currency, "", "", _DAY, _DAY, [_DAY], [opened], None, opened, opened,
        status="open" if opened else "paid", close_cause=None, value_date=None, **{f"{name}_minor": 0 for name in settled},
    )  # fmt: skip
