"""From what is known of a payment to what is to be done with it: the engine's decision as a proposal, with its evidence."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from matching.domain.cascade import Proposal, Share, netted
from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import NOT_ITS_ACCOUNT, Decision, contributions
from matching.domain.engine.features import NAMES
from matching.domain.engine.inputs import Inputs, conclude
from matching.domain.engine.records import ADVANCE, NOBODY, SAID, Clues, Hypothesis, Id, Party
from matching.domain.engine.search import Found
from matching.domain.engine.text import FULL, Text
from matching.domain.exchange import BANK_RATE, exchange, implied
from matching.domain.rows import NO_RECEIVABLE

KNOWN = 0.6
"""How sure an IBAN is a payer's that earlier payments were made from."""
USUAL_RATE = "usual"
"""The source of a rate that nobody stated, near those seen lately."""
GIVEN_UP = "some of what it names was written off: a person says whether the money is for that, which reverses the write-off"
"""Why nothing is settled where more came than is owed of what is named in full."""
CUSTOMERS_MAX = 10
"""Customers that are named as those who may have paid."""


def propose(inputs: Inputs, model: Model, accounts: Mapping[Id, UUID], text: Text | None = None, *, whole: bool = False) -> Proposal:
    """The engine's proposal. `accounts` are those of the items, `text` is what was read of the payment's words already. The same inputs and
    model give the same one.

    Of what is automatic its evidence says what moved the confidence only as a `whole`: that is a tenth of the time, and for a person.
    """
    decision, found = conclude(inputs, model, text)
    party = _payer(found.parties)
    given_up = _given_up(inputs, found) if decision.kind != "auto" else []
    proposal = Proposal(
        "none",
        party=party,
        unapplied_minor=inputs.clues.amount_minor,
        evidence=_explained(decision, inputs.clues, model if whole or decision.kind != "auto" else None),
        candidate_customers=_candidates(decision, found, given_up),
    )
    best = decision.ranked[0] if decision.ranked else None
    if decision.kind != "auto" or best is None:
        proposal.reason = _reason(inputs, decision, found, party)
        if given_up and proposal.evidence is not None:
            proposal.evidence["candidates"] = [*given_up, *proposal.evidence["candidates"]]  # type: ignore[misc] # as `_explained` makes it
            proposal.evidence["refused"] = GIVEN_UP
    elif best.customer_id == NOBODY:
        proposal.rule, proposal.reason = NO_RECEIVABLE, "unknown_party"
    elif best.rule == ADVANCE:
        proposal.rule = proposal.reason = "advance"
        proposal.party = party or UUID(str(best.customer_id))
    elif any(line.item.currency != inputs.clues.currency for line in best.lines) and _rate_of(best, inputs.clues) is None:
        proposal.evidence = {
            **_explained(decision, inputs.clues, model),
            "decision": "review",
            "refused": "the items are in another currency",
        }
        proposal.reason = "currency"
    else:
        proposal.rule = best.rule.split(":")[0]
        proposal.party = party or UUID(str(best.customer_id))
        if best.lines[0].item.currency != inputs.clues.currency:
            proposal.rate_source = _rate_of(best, inputs.clues)
        proposal.shares = [
            Share(
                UUID(str(line.item.item_id)), accounts[line.item.item_id], inputs.versions[line.item.item_id], abs(line.item.open_minor),
                line.cents, line.diff_cents, line.reason,
            )
            for line in best.lines
        ]  # fmt: skip
    return proposal


def _rate_of(best: Hypothesis, clues: Clues) -> str | None:
    """Where the rate comes from at which items in another currency are settled whole, without a deduction; None where nobody knows one.

    The bank's own, where it says what was sent; else what was received for them, where that is near the rates seen.
    """
    sent, money = sum(line.cents for line in best.lines), clues.amount_minor
    currencies = {line.item.currency for line in best.lines}
    plain = len(currencies) == 1 and all(not line.diff_cents and 0 < sent <= money * line.cents for line in best.lines)
    if not plain:
        return None
    other = best.lines[0].item.currency
    try:
        exchange(money, clues.currency, sent, other, implied(money, clues.currency, sent, other), BANK_RATE)
    except ValueError:  # two amounts that make no rate
        return None
    if best.rule.endswith(":exchanged") and currencies == {clues.instructed_currency} and sent == clues.instructed_minor:
        return BANK_RATE
    return USUAL_RATE if best.rule.endswith(":rate") else None


def _payer(parties: Sequence[Party]) -> UUID | None:
    """Who paid, where that is known without the items: by virtual IBAN, by what was said, or by the IBAN it came from."""
    sure = [one.customer_id for one in parties if one.virtual_iban == 1]
    known = sure or [one.customer_id for one in parties if one.own_iban == 1 or (one.learned_iban >= KNOWN and not one.via_parent)]
    return UUID(str(known[0])) if len(known) == 1 else None


def _given_up(inputs: Inputs, found: Found) -> list[dict[str, object]]:
    """Readings of what was written off and is named in full, where more came than is open of it: each by itself, or with all that is named
    of its customer, where that comes to the sum.
    """
    money, currency = inputs.clues.amount_minor, inputs.clues.currency
    hits = [hit for hit in found.documents if hit.strength >= FULL and not hit.span.other and hit.item.currency == currency]
    named = {hit.item.item_id: hit.item for hit in hits}
    owed = {item_id: item.open_minor + inputs.written_off.get(item_id, 0) for item_id, item in named.items()}
    readings: list[dict[str, object]] = []
    for item_id in [one for one, item in named.items() if one in inputs.written_off and item.open_minor < money]:
        customer = named[item_id].customer_id
        every = [one for one, item in named.items() if item.customer_id == customer and owed[one] > 0]
        whole = sum(owed[one] for one in every) == money
        lines = {one: owed[one] for one in every} if whole else {item_id: min(owed[item_id], money)}
        told = [{"item_id": one, "amount_minor": minor, "difference_minor": 0, "reason": None} for one, minor in lines.items()]
        if (reading := {"customer_id": customer, "rule": "written_off", "lines": told}) not in readings:
            readings.append(reading)
    return readings


def _candidates(decision: Decision, found: Found, given_up: Sequence[Mapping[str, object]]) -> list[UUID]:
    """Who may have paid: those whose items are candidates, then those the payer's IBAN is known of, or whose the virtual IBAN was."""
    ids = [one["customer_id"] for one in given_up]
    ids += [one.customer_id for one in decision.ranked]
    ids += [one.customer_id for one in found.parties if one.own_iban or one.learned_iban or one.former]
    return [UUID(str(one)) for one in dict.fromkeys(ids) if one != NOBODY][:CUSTOMERS_MAX]


def _reason(inputs: Inputs, decision: Decision, found: Found, party: UUID | None) -> str:
    """Why nothing is settled, as one of the words that PaymentUnapplied has for it."""
    if party is None:
        return "ambiguous" if len(inputs.ibans) > 1 else "unknown_party"
    mine = [hit.item for hit in found.documents if hit.item.customer_id == party]
    owed = [item for item in mine if item.open_minor]
    if mine and all(item.currency != inputs.clues.currency for item in owed):
        return "currency" if owed else "written_off" if any(item.item_id in inputs.written_off for item in mine) else "already_paid"
    if found.documents and not mine:
        return "ambiguous"  # it names somebody else's item
    if not decision.ranked or decision.kind == "unmatched":
        return "no_reference"
    best = decision.ranked[0]
    value = dict(zip(NAMES, best.features, strict=True))
    if value["equal_items"] or best.tie or decision.refused == "another reading is as good":
        return "ambiguous"
    return "uncertain" if value["named_share"] or best.rule.endswith((":exact", ":charges_stated", ":rounding")) else "no_reference"


def _explained(decision: Decision, clues: Clues, model: Model | None) -> dict[str, object]:
    """A decision as it is shown: how sure, why not automatic, why the second lost, and the readings with their evidence and why each lost,
    best first; with the model also what moved its confidence.
    """
    said = clues.creditor_account == SAID
    return {
        "decision": decision.kind,
        "confidence": round(decision.confidence, 6),
        "refused": decision.refused,
        "runner_up": _lost(decision.runner_up, said=said),
        "candidates": [
            _reading(one, None if place and decision.kind == "auto" else model, said=said) for place, one in enumerate(decision.ranked)
        ],
    }


def _evidence(name: str, *, said: bool) -> str:
    """What evidence is called: who is `said` to have paid is as sure as if it had come on his virtual IBAN, and it had not."""
    return "payer_said" if said and name == "virtual_iban" else name


def _lost(why: str | None, *, said: bool) -> str | None:
    return "is not who is said to have paid" if said and why == NOT_ITS_ACCOUNT else why


def _reading(one: Hypothesis, model: Model | None, *, said: bool) -> dict[str, object]:
    """A reading as a person confirms it: money and difference per item, which credit notes are set off, and what moved the confidence."""
    money, set_offs = netted([(UUID(str(line.item.item_id)), line.cents, line.diff_cents) for line in one.lines])
    shown: dict[str, object] = {
        "customer_id": None if one.customer_id == NOBODY else one.customer_id,
        "rule": one.rule,
        "confidence": round(one.confidence, 6),
        "lines": [
            {"item_id": item, "amount_minor": money[item], "difference_minor": line.diff_cents, "reason": line.reason}
            for line in one.lines
            if (item := UUID(str(line.item.item_id))) in money
        ],
        "evidence": {"set_apart": one.set_apart}
        if one.set_apart
        else {_evidence(name, said=said): round(value, 4) for name, value in zip(NAMES, one.features, strict=True) if value},
    }
    if one.former:
        shown["former_holder"] = True
    if one.promise is not None:
        shown["promise"] = {
            "promise_id": one.promise.promise_id,
            "amount_minor": one.promise.amount_minor,
            "due_on": one.promise.due_on,
            "waits_minor": one.promise.waits_minor,
        }
    if one.lost is not None:
        shown["lost"] = _lost(one.lost, said=said)
    if model is not None and one.lines:
        shown["moved_by"] = {_evidence(name, said=said): round(step, 2) for name, step in contributions(model.explained(one.features))}
    if set_offs:
        shown["set_offs"] = [{"credit_item_id": credit, "item_id": item, "amount_minor": amount} for credit, item, amount in set_offs]
    return shown
