"""Expected payments meet the money: remittance lists, announced money, promises, payment plans, whichever comes first.

Rules:
- an expected payment is met by the one payment of its entity, currency and amount that says its reference; or, where none
  says it, by the only one of its payer, if it is his only one of that amount; two that fit equally well decide nothing, unless they are
  announcements that say the same;
- a list and an announcement, or a promise, that fit equally well are one money, unless that names an item which the list does not: the
  list says what it is for, and the announcement has come with it;
- money that says the reference of a list of another amount is not the list's by itself: a person sees which list, whichever comes first,
  unless something else settles it;
- money that says the reference of an announcement whose days are over (at most 120 days before) is met by it still;
- what was promised or agreed with dunning before goes behind what the payment itself says: where it names an open item that the promise
  or the plan would not settle with it, the rules decide; a plan is met by one payment after the other;
- what its lines then do to the payment is in `handlers.remittance_lines`, what reminders are told of it in `handlers.announcements`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from contracts.envelope import Envelope
from shared.clock import machine_now
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.cascade import Proposal
from matching.domain.references import normalised, runs
from matching.domain.remittances import Fit, fitting, listed, pick, with_list
from matching.handlers.announcements import announce, still_holds
from matching.handlers.refusals import refused
from matching.handlers.remittance_lines import settle
from matching.handlers.said_again import same
from matching.storage import expected as stored
from matching.storage import plans as stored_plans
from matching.storage.bank import entity_known
from matching.storage.expected import Expected
from matching.storage.expected_items import items_elsewhere, lists_said, resolve, saying, settled_by, texts_beside_lists
from matching.storage.items import debtors_of


class Differing(NamedTuple):
    """Lists of another amount that a payment names, as evidence, and who owes what they name."""

    lists: list[dict[str, object]]
    debtors: list[UUID]


Ties = Mapping[Key, Sequence[UUID]]
"""By payment the expected payments that fit it equally well."""


async def meet(conn: AsyncConnection, payments: Sequence[Key], now: datetime, causes: Mapping[Key, Envelope]) -> tuple[list[Key], Ties]:
    """Settles those of the payments that were expected as the debtor said; returns the others, in their order, and which of these several
    expected payments fit equally well.
    """
    left, locked = list(payments), set[Key]()
    while True:
        found = await stored.meeting(conn, left)
        chosen: dict[Key, UUID] = {}
        for key in left:
            if key in found and (one := pick(found[key], chosen.values())) is not None:
                chosen[key] = one
        beside = await _beside(conn, chosen, found)
        chosen = await _not_elsewhere(conn, chosen, found)
        plans = {(key[0], plan) for key, one in chosen.items() if (plan := found[key][one].payment_plan_id) is not None}
        if plans - locked:  # before all other rows; what a plan expects may have moved on until it was ours
            await stored_plans.lock(conn, plans)
            locked |= plans
            continue
        taken: set[UUID] = set()
        pairs = {}
        for key, expected_id in chosen.items():
            turn = found[key][expected_id].payment_plan_id or expected_id
            if turn not in taken:
                pairs[key] = (key[0], expected_id)
                taken.add(turn)
        done = await settle(conn, pairs, now, causes, beside=beside) if pairs else set()
        left = [key for key in left if key not in done]
        if not done or not any(found[key][one].payment_plan_id for key, one in chosen.items() if key not in done):
            open_ = [key for key in left if key in found and key not in chosen]
            return left, {key: sorted(fits) for key in open_ if len(fits := fitting(found[key])) > 1}


def tell_of_tie(proposal: Proposal, fits: Sequence[UUID]) -> None:
    """Has a decision say that several expected payments fit equally well; where nothing else settles anything, that is why."""
    why = "several expected payments fit it equally well: none of them decides"
    proposal.evidence = {**(proposal.evidence or {}), "expected_payments": {"fit": list(fits), "why": why}}
    if not proposal.targets and not proposal.shares:
        proposal.reason = "ambiguous"


async def differing(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, Differing]:
    """Of payments that no list has met, the lists of another amount whose reference they say, and whose items those name."""
    said = [
        (row.tenant_id, row.payment_id, value)
        for row in await texts_beside_lists(conn, payments)
        for value in sorted({normalised(row.structured_reference or ""), normalised(row.end_to_end_id or ""), *runs(row.remittance)} - {""})
    ]
    lists = await lists_said(conn, said) if said else {}
    held = await stored.load(conn, {(key[0], one) for key, found in lists.items() for one in found}, lock=False) if lists else {}
    owe = {key: await debtors_of(conn, key[0], list((await resolve(conn, one)).values())) for key, one in held.items()}
    return {
        key: Differing(
            [{"expected_id": one, "amount_minor": held[key[0], one].amount_minor} for one in found],
            sorted({customer for one in found for customer in owe[key[0], one]}),
        )
        for key, found in lists.items()
    }


def tell_of_lists(proposal: Proposal, found: Differing) -> None:
    """Has a decision say that the payment names lists of another amount; where nothing else settles anything, that is why."""
    why = "it says the reference of a remittance list of another amount: the list does not decide"
    proposal.evidence = {**(proposal.evidence or {}), "remittance_lists": {"differ": found.lists, "why": why}}
    proposal.candidate_customers = [*proposal.candidate_customers, *found.debtors]
    if not proposal.targets and not proposal.shares:
        proposal.reason = "remittance_differs"


async def _beside(conn: AsyncConnection, chosen: dict[Key, UUID], found: Mapping[Key, Mapping[UUID, Fit]]) -> dict[Key, list[UUID]]:
    """By payment the announcements that are the same money as its list. Where nothing was `chosen` for one, for a list and they fit it
    equally well, its list is.
    """
    lists = {key: one for key, fits in found.items() if len(fits) > 1 and (one := listed(fits)) and chosen.get(key, one) == one}
    held = await stored.load(conn, {(key[0], one) for key, one in lists.items()}, lock=False) if lists else {}
    items = {key: frozenset((await resolve(conn, each)).values()) for key, each in held.items()}
    beside = {}
    for key, one in lists.items():
        if (same_money := with_list(found[key], one, items[key[0], one])) is not None:
            chosen[key], beside[key] = one, same_money
    return beside


async def _not_elsewhere(conn: AsyncConnection, chosen: Mapping[Key, UUID], found: Mapping[Key, Mapping[UUID, Fit]]) -> dict[Key, UUID]:
    """Those of the payments that name no open item beside what dunning expects of them. Asked only of what dunning expects."""
    fits = {key: found[key][one] for key, one in chosen.items()}
    asked = {key: fit for key, fit in fits.items() if fit.kind in {"promise", "plan_instalment"} and fit.items}
    if not asked:
        return dict(chosen)
    said = [
        (*key, value)
        for key, fit in asked.items()
        for reference in [fit.spoken.structured_reference or ""]
        for value in sorted({reference, normalised(reference), normalised(fit.spoken.end_to_end_id or ""), *runs(fit.spoken.remittance)})
    ]
    named = await stored_plans.named(conn, said)
    return {key: one for key, one in chosen.items() if key not in asked or named.get(key, set()) <= asked[key].items}


async def possible(conn: AsyncConnection, held: Expected) -> None:
    """Raises a 422 Problem for what could never come true: an entity of which nothing is known, an item of another one, or money of which
    neither the reference nor the payer is said. An item that is not there yet may come: events have no order.
    """
    if not await entity_known(conn, held.tenant_id, held.entity_id):
        raise refused(422, "entity-unknown", "There is no such entity here: it has neither a bank account nor an item", "/entity_id")
    elsewhere = await items_elsewhere(conn, held.tenant_id, held.entity_id, [line.item_id for line in held.lines if line.item_id])
    for at, line in enumerate(held.lines):
        if line.item_id in elsewhere:
            raise refused(422, "item-elsewhere", "The item is another entity's", f"/lines/{at}/item_id")
    if held.reference is None and held.payer_customer_id is None:
        raise refused(
            422, "payment-unnamed", "The list says neither the reference of its payment nor who pays: no payment could be it", "/reference"
        )


async def receive(conn: AsyncConnection, held: Expected, end_to_end_id: str | None, now: datetime) -> Expected:
    """Takes an expected payment in, and meets the money that came before it. The same again (by its id) changes nothing.

    Raises Problem: 409 for an announcement that says something else under its id, 422 for one that has not come and holds nothing.
    """
    if not await stored.insert(conn, held):
        known = (await stored.load(conn, [(held.tenant_id, held.expected_id)], lock=False))[held.tenant_id, held.expected_id]
        same(held, known)
        return known
    resolved = await resolve(conn, held)
    early = await stored.payments_for(conn, held, list(resolved.values()), end_to_end_id)
    key = (held.tenant_id, held.expected_id)
    if early:
        payment = await _early(conn, held, early, resolved)
        if payment is not None:
            await settle(conn, {payment: key}, now, {}, redo=True)
    held = (await stored.load(conn, [key]))[key]
    if held.status == "waiting":
        await _look_at_those_that_say(conn, held, end_to_end_id)
        still_holds(held, now)
        await announce(conn, held)
    return held


async def _look_at_those_that_say(conn: AsyncConnection, held: Expected, end_to_end_id: str | None) -> None:
    """Money of another amount that came before a list whose reference it says is looked at as if it came now."""
    if held.kind != "remittance" or held.reference is None:
        return
    if early := await saying(conn, held, end_to_end_id or held.reference):
        spoken = await stored.spoken(conn, early)
        await stored.look_at(conn, [key for key, said in spoken.items() if said.says(held.reference)], machine_now())


async def _early(conn: AsyncConnection, held: Expected, early: Sequence[Key], items: Mapping[int, UUID]) -> Key | None:
    """The one of the payments that came before which is meant: by its reference, else as if it came now, or else, of a list, the one that
    has settled its `items`, by line, as it says.
    """
    if held.reference is not None:
        says = [key for key, spoken in (await stored.spoken(conn, early)).items() if spoken.says(held.reference)]
        if says:
            return says[0] if len(says) == 1 else None
    fits = [key for key, found in (await stored.meeting(conn, early)).items() if pick(found) == held.expected_id]
    if not fits and held.reference is None and held.kind == "remittance" and len(items) == len(held.lines):
        wanted = Counter[UUID]()
        for at, item in items.items():
            wanted[item] += held.lines[at].net_minor
        fits = [key for key, given in (await settled_by(conn, early)).items() if given == wanted]
    return fits[0] if len(fits) == 1 else None
