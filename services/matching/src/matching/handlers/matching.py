"""Matching payments with open items: direct hits, and what the engine reads, over a batch.

The hot way, when references hit of what was not settled as it was booked (`handlers.settling`): planner guard, proposal, save, and
at the transaction's end add to the accounts and publish: a statement each, and nothing is locked before it is written
(`storage.books.save`).
What no direct hit decides, the engine does (`handlers.deciding`); what it has seen is looked at again under lock.
What finds nothing there is looked at again after 2 s and after 60 s of the machine's clock, so that a payment and its
invoice that are handled at the same moment by two workers still meet; what comes in between (another invoice of the customer)
wakes a payment, too, and takes none of these looks away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from contracts.envelope import Envelope, Message
from contracts.payments import PaymentReceived
from shared.batches import Context
from shared.clock import machine_now
from shared.jobs import JobContext
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Account, Books, Key, Payment
from matching.domain.cascade import Proposal, direct, moved, settle, touched
from matching.domain.replaying import outcome
from matching.handlers.deciding import decide
from matching.handlers.expected import Differing, Ties, differing, meet, tell_of_lists, tell_of_tie
from matching.handlers.publishing import save_and_publish
from matching.storage import candidates
from matching.storage.account_balances import account_id
from matching.storage.books import AS_IT_WAS, DUE, Decided, Look, by_key, lock, look_again
from matching.storage.candidates import Direct
from matching.storage.clues import forget_settled, note_clues
from matching.storage.decisions import Shown, shown_of
from matching.storage.expected import note_set_offs
from matching.storage.items import set_offs_of
from matching.storage.payments import dismissed
from matching.storage.rows import fetch

LOOKS = (timedelta(seconds=2), timedelta(seconds=60))
UNDECIDED = frozenset({"unknown_party", "ambiguous", "uncertain"})
"""Reasons of what waits for somebody to choose: another look that finds nothing to choose from has another one."""
_JSON = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Batch:
    """What is to be stored of a batch beside its books.

    `machine` is the machine's clock; `in_time`: the payments were due for another look. `quiet` are payments about which nothing new was
    found, with the looks they have had and the next one; `done` are those that need no clues any more; `shown` is what a person
    sees of payments that wait.
    """

    machine: datetime
    in_time: bool = False
    decisions: list[Decided] = field(default_factory=list)
    looks: dict[Key, Look] = field(default_factory=dict)
    quiet: dict[Key, tuple[int, Look]] = field(default_factory=dict)
    clues: list[tuple[UUID, str, str, UUID]] = field(default_factory=list)
    done: list[Key] = field(default_factory=list)
    shown: dict[Key, Shown] = field(default_factory=dict)


async def match_payments(conn: AsyncConnection, messages: Sequence[Message[PaymentReceived]], ctx: Context) -> None:
    """PaymentReceived: decides on the payments, as far as nobody has."""
    causes = {(message.tenant_id, message.data.payment_id): message.envelope for message in messages}
    await match(conn, list(causes), ctx.now, causes, new=True)


async def look_at_due(context: JobContext, tenant_id: UUID) -> None:
    """Job: payments that ended unmatched and are due for another look, in slices of 1,000."""
    while True:
        async with context.database.transaction(tenant_id) as conn:
            await by_key(conn, [tenant_id])  # a plan made before the first payment came reads all of them, and is kept
            # read without a lock: rows are locked in the fixed order by `match`, which sees what was decided meanwhile
            rows = await fetch(conn, DUE, tenant=tenant_id, now=machine_now())
            if rows:
                await match(conn, [(row[0], row[1]) for row in rows], context.now, {}, in_time=True)
        if len(rows) < 1000:  # noqa: PLR2004 - the slice above
            return


async def forget_clues(context: JobContext, tenant_id: UUID) -> None:
    """Job: what payments say that wait no more, however they were settled, wakes nobody up."""
    async with context.database.transaction(tenant_id) as conn:
        await forget_settled(conn, tenant_id)


async def match(
    conn: AsyncConnection,
    payments: Sequence[Key],
    now: datetime,
    causes: Mapping[Key, Envelope],
    *,
    new: bool = False,
    in_time: bool = False,
) -> None:
    """Decides on payments in the order given (the payment order): those received, unapplied or partly matched.

    `now` is the business moment of the decision. `new`: hardly anybody works on the payments yet, so they and what they name are not
    locked, and ChangedError (unavailable: the batch is handled again) is raised where somebody does; others are locked when it is
    clear what becomes of them. `in_time`: the payments are due for another look, others were woken. A payment about which nothing new is
    found keeps its version.
    """
    ties: Ties = {}
    lists: Mapping[Key, Differing] = {}
    if (await by_key(conn, (key[0] for key in payments))).payments_expected:  # the debtor's own word goes first
        payments, ties = await meet(conn, payments, now, causes)
        lists = await differing(conn, payments)
    found = await candidates.direct(conn, payments)
    proposals = await _propose(conn, payments, found)
    for key in ties.keys() & proposals.keys():
        tell_of_tie(proposals[key], ties[key])
    for key in lists.keys() & proposals.keys():
        tell_of_lists(proposals[key], lists[key])
    if not proposals:
        return
    books = await _lock(conn, found, proposals, new=new)
    undone = set() if new else await dismissed(conn, [key for key, one in proposals.items() if touched(one)])  # since they were read
    batch = Batch(machine_now(), in_time)
    if again := [key for key, payment in books.payments.items() if payment.status != "received"]:
        batch.shown = await shown_of(conn, again)
    order = {key: at for at, key in enumerate(payments)}
    for key in sorted(books.payments, key=order.__getitem__):  # the rows' own ids: the driver's compare faster
        payment = books.payments[key]
        if payment.status not in {"received", "unapplied", "partly_matched"} or not payment.unapplied_minor:
            continue
        if moved(books, payment, proposals[key]) or any((*key, item) in undone for _, item in touched(proposals[key])):
            batch.quiet[key] = (payment.looks, batch.machine)
        else:
            carry_out(books, payment, proposals[key], batch)
    await note_set_offs(conn, books.set_off_with)
    await note_clues(conn, batch.clues, batch.done)
    await save_and_publish(conn, books, now, causes, decisions=batch.decisions, looks=batch.looks)
    await look_again(conn, batch.quiet)


def carry_out(books: Books, payment: Payment, proposal: Proposal, into: Batch) -> None:
    """Does to a payment what was proposed, and notes what is to be stored of that."""
    key = (payment.tenant_id, payment.payment_id)
    attributed = _attribute(books, payment, proposal)
    seen = [
        {"item_id": item.item_id, "version": item.version, "open_minor": item.open_minor, "kind": item.kind, "currency": item.currency}
        for _, item_id in touched(proposal)
        if (item := books.items.get((key[0], item_id)))
    ]
    held = {one.item_id: (one.amount_minor, one.diff_minor) for one in payment.allocations.values()}
    rest = payment.unapplied_minor
    reason = settle(books, payment, proposal)
    if reason == "unknown_party" and payment.payer_customer_id is not None:
        reason = "no_reference"  # what says who paid is not in the payment
    waits = payment.status != "received" and payment.unapplied_minor == rest
    if waits and not attributed and not _says_more(payment, proposal, into.shown.get(key, Shown())):
        reason = payment.unapplied_reason  # another look that found nothing has nothing to say
    else:
        payment.candidate_customer_ids = _customers(proposal) if payment.unapplied_minor and not payment.payer_customer_id else None
        if waits:
            books.touch_payment(payment)  # though its reason be the same: on whose account it is, too
            if reason == "no_reference" and payment.unapplied_reason not in UNDECIDED:
                reason = payment.unapplied_reason  # a guess says nothing of why it waits
    if payment.unapplied_minor and not payment.looks:
        into.clues += [(key[0], kind, value, key[1]) for kind, value in proposal.clues]
    elif not payment.unapplied_minor and payment.status != "received":
        into.done.append(key)
    changed = books.decided(payment, reason if payment.unapplied_minor else None)
    next_look = _next_look(payment, into.machine, due=into.in_time)
    if not changed:
        into.quiet[key] = (payment.looks, next_look)
        return
    into.looks[key] = next_look
    evidence = _evidence(proposal, payment, seen, rest, outcome(books, payment, held))
    into.decisions.append(Decided(*key, payment.version + 1, proposal.rule, evidence, proposal.inputs, proposal.named_customers))


async def _propose(conn: AsyncConnection, payments: Sequence[Key], found: Direct) -> dict[Key, Proposal]:
    """The proposal for each payment that can still be decided on."""
    proposals = {key: direct(hits) for key, hits in found.hits.items()}
    if found.waiting:
        proposals.update(await decide(conn, payments, found, proposals))
    return proposals


async def _lock(conn: AsyncConnection, found: Direct, proposals: Mapping[Key, Proposal], *, new: bool) -> Books:
    """The payments and items that the proposals need, locked in that order but for what `new` ones have read already; and accounts."""
    accounts: dict[Key, None] = {}
    items: dict[Key, None] = {}
    new_accounts = []
    for key, proposal in proposals.items():
        for account, item in touched(proposal):
            accounts[key[0], account] = None
            items[key[0], item] = None
        payment = found.payments[key]
        if payment.account_id is not None:
            accounts[key[0], payment.account_id] = None
        if proposal.party is not None:
            account = account_id(key[0], proposal.party, payment.entity_id, payment.currency)
            if account in proposal.accounts:
                accounts[key[0], account] = None
            else:
                new_accounts.append((key[0], account, payment.entity_id, proposal.party, payment.currency))
    read = Books(payments={key: found.payments[key] for key in proposals}, items=found.items) if new else Books()
    books = await lock(
        conn,
        accounts=accounts,
        new_accounts=new_accounts,
        payments=[key for key in proposals if key not in read.payments],
        items=[key for key in items if key not in read.items],
        read=read,
    )
    netted = [(key[0], share.item_id) for key, proposal in proposals.items() for share in proposal.shares if share.minor < 0]
    if netted:
        books.set_offs = await set_offs_of(conn, netted)
    return books


def _attribute(books: Books, payment: Payment, proposal: Proposal) -> bool:
    """Says who paid, where that is known now and was not before; returns whether it is new."""
    if payment.account_id is not None:
        return False
    account = _account_of(books, payment, proposal)
    if account is None:
        return False
    books.attribute(payment, account)
    return True


def _account_of(books: Books, payment: Payment, proposal: Proposal) -> Account | None:
    """The account of who paid: the party's, or else that of the one customer whose items were named."""
    if proposal.party is not None:
        return books.accounts.get((payment.tenant_id, account_id(payment.tenant_id, proposal.party, payment.entity_id, payment.currency)))
    named = {target.account_id for target in proposal.targets}
    account = books.accounts.get((payment.tenant_id, named.pop())) if len(named) == 1 else None
    return account if account is not None and account.currency == payment.currency else None


def _readings(proposal: Proposal) -> list[dict[str, Any]]:
    """What a person is to choose from, as a decision keeps it."""
    if proposal.evidence and "candidates" in proposal.evidence:
        return proposal.evidence["candidates"]  # type: ignore[return-value] # as `propose` explains
    return [
        {"item_id": one.item_id, "customer_id": one.customer_id, "open_minor": one.open_minor, "found": proposal.rule}
        for one in proposal.candidates[:10]
    ]


def _says_more(payment: Payment, proposal: Proposal, shown: Shown) -> bool:
    """Whether another look sees what nobody is told yet: who paid is known, an item came, owes another amount or is meant no more;
    or it says a list of another amount that had not come, or waits no more.
    """
    differing: Any = (proposal.evidence or {}).get("remittance_lists", {})
    if {str(one["expected_id"]) for one in differing.get("differ", ())} != shown.lists:
        return True
    if payment.unapplied_reason == "unknown_party" and payment.payer_customer_id is not None:
        return True
    # of an item that owes nothing its reference tells, too, where it was paid by this very payment
    found, told = ({_settles(one) for one in some if one.get("open_minor") != 0} for some in (_readings(proposal), shown.candidates))
    return found != told


def _settles(reading: Mapping[str, Any]) -> frozenset[tuple[str, int]]:
    """What a reading settles of which items, and which credit notes it sets off."""
    lines = [(str(line["item_id"]), line.get("amount_minor", 0)) for line in reading.get("lines", [reading])]
    return frozenset(lines + [(str(one["credit_item_id"]), -one["amount_minor"]) for one in reading.get("set_offs", ())])


def _next_look(payment: Payment, machine: datetime, *, due: bool) -> Look:
    """When to look again: only where something is left, and not for ever. A look that was not due, but the first, does not count."""
    if payment.looks and not due:
        return AS_IT_WAS if payment.unapplied_minor else None
    looked = payment.looks
    payment.looks = min(looked + 1, len(LOOKS) + 1)
    return machine + LOOKS[looked] if payment.unapplied_minor and looked < len(LOOKS) else None


def _customers(proposal: Proposal) -> list[UUID]:
    """Who may have paid: those whose items are candidates, then those the payer's IBAN is known of; at most ten."""
    found: Iterable[UUID] = [*(candidate.customer_id for candidate in proposal.candidates), *proposal.candidate_customers]
    return list(dict.fromkeys(found))[:10]


def _evidence(proposal: Proposal, payment: Payment, seen: Sequence[Mapping[str, object]], rest: int, done: Mapping[str, object]) -> str:
    """What a decision was taken on and what it did, as JSON: to explain it, and to repeat it (`domain.replaying`).

    `seen` are the items under lock and `rest` what was unapplied, both before; `done` is what the decision changed.
    """
    return _JSON(
        {
            "items": seen,
            "unapplied_minor": rest,
            "payer": payment.payer_customer_id,
            "reason": payment.unapplied_reason,
            "allocated_minor": payment.allocated_minor,
            **done,
            **(proposal.evidence or {}),
            "candidates": _readings(proposal),
        }
    ).decode()
