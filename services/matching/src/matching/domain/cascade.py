"""The cascade: which items a payment may settle, by which rule, and why not. Pure: the rows found go in, a proposal comes out.

Order: virtual IBAN of one invoice; structured reference; an RF reference in the text; then, with the party known by its
virtual IBAN or its own IBAN, document numbers in the text; then one open item of exactly that amount.
Ties are never decided: two equal candidates leave the payment unapplied with both named. Without a party neither a
document number nor an amount is enough. What the payer names wins over every guess (Code civil, art. 1342-10).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from matching.domain.books import Books, Payment
from matching.domain.references import is_creditor_reference, outermost, runs


@dataclass(slots=True)
class Candidate:
    """An item that something in the payment points to."""

    item_id: UUID
    account_id: UUID
    customer_id: UUID
    open_minor: int
    currency: str
    invoice_number: str
    due_date: date
    value: str = ""
    kind: str = ""


@dataclass(slots=True)
class Proposal:
    """What the cascade found: items in the order they are to be paid, or none and the reason.

    `party` is the payer where known without the items. `exact` asks that the item is open with just the payment's amount.
    """

    rule: str
    targets: list[Candidate] = field(default_factory=list)
    party: UUID | None = None
    reason: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    candidate_customers: list[UUID] = field(default_factory=list)
    exact: bool = False


@dataclass(slots=True)
class Clues:
    """What a payment without a direct hit offers. `parties` are the customers its IBANs point to."""

    currency: str
    unapplied_minor: int
    structured_reference: str | None
    remittance: Sequence[str]
    end_to_end_id: str | None
    parties: Sequence[UUID]

    def values(self) -> dict[str, list[tuple[int, int, int]]]:
        """The runs of words that may be document numbers."""
        return runs([*self.remittance, self.structured_reference or "", self.end_to_end_id or ""])


def direct(found: Sequence[tuple[str, Candidate]]) -> Proposal:
    """The proposal of a payment whose virtual IBAN or structured reference hit at least one item, best rule first."""
    if len(found) == 1 and found[0][1].open_minor:
        return Proposal(found[0][0], [found[0][1]])
    for rule in ("virtual_iban_invoice", "structured_reference"):
        hits = [candidate for name, candidate in found if name == rule]
        still = [candidate for candidate in hits if candidate.open_minor]
        if len(still) == 1:
            return Proposal(rule, still)
        if still:
            return Proposal(rule, reason="ambiguous", party=_only_customer(still), candidates=still)
    rule, first = found[0]
    return Proposal(rule, reason="already_paid", party=_only_customer([first]), candidates=[candidate for _, candidate in found])


def by_text(clues: Clues, found: Sequence[Candidate]) -> Proposal | None:  # noqa: PLR0911 - one line per rule, in their order
    """The proposal from what the text names: `found` are the items (open or not) whose references stand in it. None: go on."""
    places: Mapping[str, list[tuple[int, int, int]]] = clues.values()
    named = set(outermost({candidate.value: places[candidate.value] for candidate in found}))
    hits = [candidate for candidate in found if candidate.value in named]
    references = [hit for hit in hits if hit.kind == "structured" and is_creditor_reference(hit.value) and hit.open_minor]
    if len({hit.item_id for hit in references}) == 1:
        return Proposal("reference_in_text", references[:1], party=_only(clues.parties))
    party = _only(clues.parties)
    if party is None:
        if hits:
            reason = "ambiguous" if len(set(clues.parties)) > 1 else "unknown_party"
            return Proposal("document_number", reason=reason, candidates=_distinct(hits))
        return None
    mine = _distinct([hit for hit in hits if hit.customer_id == party])
    if not mine:
        if hits:  # the text names somebody else's items: neither a guess by amount nor theirs
            return Proposal("document_number", party=party, reason="ambiguous", candidates=_distinct(hits))
        return None
    by_value: dict[str, set[UUID]] = {}
    for hit in hits:
        if hit.customer_id == party and hit.open_minor:
            by_value.setdefault(hit.value, set()).add(hit.item_id)
    if any(len(items) > 1 for items in by_value.values()):
        return Proposal("document_number", party=party, reason="ambiguous", candidates=mine)
    still = [hit for hit in mine if hit.open_minor]
    if not still:
        return Proposal("document_number", party=party, reason="already_paid", candidates=mine)
    return Proposal("document_number", still, party=party, candidates=mine)


def by_amount(clues: Clues, same_amount: Sequence[Candidate]) -> Proposal:
    """The last proposal. `same_amount` are undisputed open items of exactly that amount: of the party where it is known,
    else of the whole entity, which are candidates only.
    """
    party = _only(clues.parties)
    if party is None:
        reason = "ambiguous" if len(set(clues.parties)) > 1 else "unknown_party"
        return Proposal("none", reason=reason, candidates=list(same_amount), candidate_customers=list(clues.parties))
    mine = [candidate for candidate in same_amount if candidate.customer_id == party]
    if len(mine) == 1:
        return Proposal("exact_amount", mine, party=party, exact=True)
    return Proposal("none", party=party, reason="ambiguous" if mine else "no_reference", candidates=mine)


def settle(books: Books, payment: Payment, proposal: Proposal) -> str | None:
    """Carries a proposal out on locked rows, which may have moved on since it was made; returns why some is unapplied."""
    tenant = payment.tenant_id
    reason = proposal.reason
    allocated = 0
    for target in proposal.targets:
        item = books.items.get((tenant, target.item_id))
        if item is None:
            continue
        if item.currency != payment.currency:
            reason = "currency"
            continue
        if item.kind == "credit_note" or (proposal.exact and (item.open_minor != payment.unapplied_minor or item.contested_minor)):
            reason = "ambiguous"
            continue
        allocated += books.allocate(payment, item, proposal.rule)
        if not payment.unapplied_minor:
            break
    if allocated:
        payment.rule = proposal.rule
        return "overpaid"  # counts only where something is left
    return reason or ("overpaid" if payment.allocated_minor else "already_paid")


def _only(values: Iterable[UUID]) -> UUID | None:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _only_customer(found: Iterable[Candidate]) -> UUID | None:
    return _only(candidate.customer_id for candidate in found)


def _distinct(found: Iterable[Candidate]) -> list[Candidate]:
    """Each item once, in due order, then by number: the order in which they are paid."""
    once = {candidate.item_id: candidate for candidate in found}
    return sorted(once.values(), key=lambda candidate: (candidate.due_date, candidate.invoice_number, str(candidate.item_id)))
