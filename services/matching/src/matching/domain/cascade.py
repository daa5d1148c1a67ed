"""What a payment may settle before it is looked at under lock, and the carrying out. Pure: rows found go in, a proposal comes out.

Order: virtual IBAN of one invoice; structured reference (`direct`); all else is read by the engine, whose decision comes here as
`shares`. Ties are never decided: two equal candidates leave the payment unapplied with both named. What the payer names wins over
every guess (Code civil, art. 1342-10).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from matching.domain.books import Books, Payment
from matching.domain.exchange import BANK_RATE, exchange, implied
from matching.domain.rows import NO_RECEIVABLE


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
    inexact: bool = False
    """Whether the payment may be meant for the whole though its amount is another: a deduction, another currency."""
    written_off_minor: int = 0


@dataclass(slots=True)
class Share:
    """What the engine settles of an item, and how it saw it. `minor` leave the item, `diff_minor` of them without money, for `reason`.

    Of a credit note `minor` is below zero: it is set off against the other shares.
    """

    item_id: UUID
    account_id: UUID
    version: int
    open_minor: int
    minor: int
    diff_minor: int = 0
    reason: str | None = None


@dataclass(slots=True)
class Proposal:
    """What was found: items in the order they are to be paid, or the engine's shares, or neither and the reason.

    `party` is the payer where known without the items. `unapplied_minor` is what the engine saw of the payment, `rate_source`
    who says what items in another currency cost. `evidence`
    explains the engine's decision, `inputs` is what it decided on (both JSON); `clues` are what an item or a customer that comes
    later may be known by: (`document` or `name`, value). `accounts` are those that items were seen on.
    """

    rule: str
    targets: list[Candidate] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    party: UUID | None = None
    reason: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    candidate_customers: list[UUID] = field(default_factory=list)
    unapplied_minor: int = 0
    rate_source: str | None = None
    evidence: dict[str, object] | None = None
    inputs: str | None = None
    named_customers: list[UUID] = field(default_factory=list)
    clues: list[tuple[str, str]] = field(default_factory=list)
    accounts: set[UUID] = field(default_factory=set)


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
    reason = "written_off" if any(candidate.written_off_minor for _, candidate in found) else "already_paid"
    return Proposal(rule, reason=reason, party=_only_customer([first]), candidates=[candidate for _, candidate in found])


def touched(proposal: Proposal) -> list[tuple[UUID, UUID]]:
    """The items that it is about, each with the account it is on."""
    found = [(one.account_id, one.item_id) for one in proposal.targets]
    return found or [(one.account_id, one.item_id) for one in proposal.shares]


def moved(books: Books, payment: Payment, proposal: Proposal) -> bool:
    """Whether the payment is on another account than when it was looked at, or it or an item is no longer what the engine saw: it has to be
    decided on again.
    """
    if payment.account_id is not None and (payment.tenant_id, payment.account_id) not in books.accounts:
        return True
    if not proposal.shares:
        return False
    items = [(books.items.get((payment.tenant_id, share.item_id)), share) for share in proposal.shares]
    return payment.unapplied_minor != proposal.unapplied_minor or any(
        item is None or (item.version, item.open_minor, item.account_id) != (share.version, share.open_minor, share.account_id)
        for item, share in items
    )


def settle(books: Books, payment: Payment, proposal: Proposal) -> str | None:
    """Carries a proposal out on locked rows, which may have moved on since it was made; returns why some is unapplied.

    The engine's shares are to be as they were seen (`moved`).
    """
    if proposal.shares:
        if _cannot_add(payment, proposal):
            return "ambiguous"
        return (_exchange_out if proposal.rate_source else _share_out)(books, payment, proposal)
    if proposal.rule == NO_RECEIVABLE and proposal.reason == "unknown_party" and _is_free(payment):  # else a list or an announcement speaks
        books.set_apart(payment)
        return None
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
        if item.kind == "credit_note":
            reason = "ambiguous"
            continue
        allocated += books.allocate(payment, item, proposal.rule)
        if not payment.unapplied_minor:
            break
    if allocated:
        payment.rule = proposal.rule
        return "overpaid"  # counts only where something is left
    return reason or ("overpaid" if payment.allocated_minor else "already_paid")


def _is_free(payment: Payment) -> bool:
    """Whether it may be set apart by itself: booked, untouched, and not on the account of a customer."""
    return payment.account_id is None and payment.confirmation == "booked" and payment.unapplied_minor == payment.amount_minor


def _cannot_add(payment: Payment, proposal: Proposal) -> bool:
    """Whether the payment is on one of the items already in a way that nothing is added to: exchanged, or forgiven for another reason."""
    there = [(held, share) for share in proposal.shares if (held := payment.allocations.get(share.item_id)) is not None]
    return any(
        proposal.rate_source or held.exchange or (share.diff_minor and held.diff_reason not in {None, share.reason})
        for held, share in there
    )


def netted(lines: Sequence[tuple[UUID, int, int]]) -> tuple[dict[UUID, int], list[tuple[UUID, UUID, int]]]:
    """How the credit notes among lines (item, what leaves it, what of that without money) are set off against the items, the first first.

    Returns the money that goes to each item, and the set-offs (credit note, item, amount). What is forgiven keeps some money beside it.
    """
    left = {item: minor for item, minor, _ in lines if minor > 0}
    keeps = {item: diff + 1 if diff else 0 for item, _, diff in lines}
    set_offs = []
    for credit, minor, _ in lines:
        rest = -minor
        for item, owed in list(left.items()):
            step = min(rest, owed - keeps[item])
            if step > 0:
                set_offs.append((credit, item, step))
                left[item] -= step
                rest -= step
    return {item: left[item] - diff for item, minor, diff in lines if minor > 0}, set_offs


def _exchange_out(books: Books, payment: Payment, proposal: Proposal) -> str:
    """Settles items in another currency whole for what was received: nothing is gained or lost by that rate."""
    money, left = payment.unapplied_minor, sum(share.minor for share in proposal.shares)
    currency = books.items[payment.tenant_id, proposal.shares[0].item_id].currency
    rate = implied(money, payment.currency, left, currency)
    for share in proposal.shares:
        part = payment.unapplied_minor * share.minor // left  # the last one takes what is left of the rounding
        left -= share.minor
        item = books.items[payment.tenant_id, share.item_id]
        traded = exchange(part, payment.currency, share.minor, currency, rate, proposal.rate_source or BANK_RATE)
        books.allocate_across(payment, item, proposal.rule, part, traded)
    payment.rule = proposal.rule
    return "overpaid"


def _share_out(books: Books, payment: Payment, proposal: Proposal) -> str:
    """Sets the credit notes among the shares off against the items, and allocates the money to what is left."""
    tenant = payment.tenant_id
    money, set_offs = netted([(share.item_id, share.minor, share.diff_minor) for share in proposal.shares])
    for credit, item, amount in set_offs:
        taken = books.set_off(books.items[tenant, credit], books.items[tenant, item], amount)
        books.set_off_with.setdefault((tenant, payment.payment_id), []).append((credit, item, taken))
    for share in proposal.shares:
        if (amount := money.get(share.item_id, 0)) > 0:
            item_row = books.items[tenant, share.item_id]
            books.allocate(payment, item_row, proposal.rule, amount=amount, diff=share.diff_minor, reason=share.reason)
    payment.rule = proposal.rule
    return "overpaid"


def _only_customer(found: Iterable[Candidate]) -> UUID | None:
    distinct = {candidate.customer_id for candidate in found}
    return distinct.pop() if len(distinct) == 1 else None
