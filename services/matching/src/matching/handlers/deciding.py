"""Feeding the matching engine with what is known of payments, a batch at a time, and turning its decisions into proposals.

A payment is decided on as if those before it in the batch had been carried out already. Three statements a slice of the batch at most,
whatever is in it; deciding on more than a few runs in a thread, so that the service goes on listening.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import msgspec
from shared.logging import log
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.cascade import Proposal
from matching.domain.engine.confidence import Model
from matching.domain.engine.habits import Past, Settled
from matching.domain.engine.index import SAME_MAX, wanted_keys, written_keys
from matching.domain.engine.inputs import Inputs, InputsError, stored
from matching.domain.engine.parties import likeness
from matching.domain.engine.readings import term
from matching.domain.engine.records import NAMED, NOBODY, SAID, Clues, Customer, Id, OpenItem, Promise
from matching.domain.engine.search import NAMED_MAX, OWNERS_MAX, SHARED_MAX
from matching.domain.engine.text import ORDER_MIN, VALUE_MIN, Text, fold, read
from matching.domain.proposing import propose
from matching.storage import evidence
from matching.storage.candidates import Direct, Waiting
from matching.storage.evidence import Debtor, Experience, Person, Pointed, Rates, Seen
from matching.storage.models import model_or_shipped, shipped

SLICE = 250
"""Payments that are gathered for at once."""
FEW = 2
"""Payments that are decided on in passing: of more, the service goes on listening meanwhile."""
PARTIES_MAX = 10
"""Customers that are fed for one payment, beside their subsidiaries."""
VALUES_MAX = 200
"""Runs of words of one payment that are looked up as numbers."""
SILENT = frozenset({"exact_amount", "run_of_items", "combination", "run_but_some", "only_item", "instalment", "near_amount"})
"""Rules by which a payment was settled that named nothing."""
_ENCODE = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Case:
    """A payment with what was gathered for it."""

    asked: Waiting
    text: Text
    values: list[str]
    pointed: Pointed = field(default_factory=Pointed)
    people: list[Person] = field(default_factory=list)
    model: Model = field(default_factory=lambda: shipped().model)
    past: Past = field(default_factory=Past)
    threshold: float | None = None
    left_out: list[str] = field(default_factory=list)

    def written(self) -> list[str]:
        """The values that may be documents: its reference first, then what its words make."""
        reference = [fold(self.asked.structured_reference)] if self.asked.structured_reference else []
        return list(dict.fromkeys([*reference, *(value for value in self.values if len(value) >= VALUE_MIN)]))

    def names(self) -> list[str]:
        """The names that it came with: for whom it was paid, and who paid."""
        return [name for name in (self.asked.ultimate_debtor_name, self.asked.debtor_name) if name]

    def may_misspell(self) -> bool:
        """Whether it may name an item by an order's number or a reference that is written wrong: what it names right was found."""
        runs = self.text.runs
        known = {at for value in self.pointed.found for span in runs.get(value, ()) for at in range(span.start, span.end)}
        return self.asked.structured_reference is not None or any(
            len(value) >= ORDER_MIN - 1 and any(not span.other and known.isdisjoint(range(span.start, span.end)) for span in spans)
            for value, spans in runs.items()
        )

    def names_plainly(self) -> bool:
        """Whether it names an open document, by a value that few carry and no word says is something else."""
        return (
            self.pointed.open
            and len(self.pointed.documents) <= NAMED_MAX
            and not any(span.other for spans in self.text.runs.values() for span in spans)
        )


@dataclass(slots=True)
class _Gathered:
    cases: list[_Case]
    items: dict[Debtor, list[Seen]]
    history: dict[Key, list[Settled]]
    experience: Experience
    rates: Rates = field(default_factory=dict)
    seen: dict[tuple[int, int, date], OpenItem] = field(default_factory=dict)
    """Items as the engine takes them, by which of `items`, what is taken of it and the day: payments of one customer share them."""


@dataclass(slots=True)
class _Before:
    """What the payments before one in its batch do: what they take of items, and what waits of debtors' money, by currency."""

    taken: dict[Key, int] = field(default_factory=dict)
    waits: dict[tuple[Debtor, str], int] = field(default_factory=dict)


async def decide(conn: AsyncConnection, payments: Sequence[Key], found: Direct, direct: Mapping[Key, Proposal]) -> dict[Key, Proposal]:
    """The engine's proposal for each payment of the batch that no direct hit decides; `payments` are in payment order, `direct` what the
    hits propose.

    Of a direct hit whose amount is another one it is asked whether all of the item is meant (a discount, charges, an exchange); if that
    is not certain, the hit stands as it is.
    """
    proposals: dict[Key, Proposal] = {}
    before = _Before()
    for first in range(0, len(payments), SLICE):
        batch = payments[first : first + SLICE]
        inexact = {key for key in batch if key in direct and any(one.inexact for one in direct[key].targets)}
        asked = [found.waiting[key] for key in batch if key in found.waiting and (key not in direct or key in inexact)]
        gathered = await _gather(conn, asked) if asked else _Gathered([], {}, {}, Experience())
        if len(asked) > FEW:
            proposals |= await asyncio.to_thread(_decide, batch, gathered, found, direct, before)
        else:  # the way to the thread and back is a fifth of what one takes
            proposals |= _decide(batch, gathered, found, direct, before)
    return proposals


def _decide(
    batch: Sequence[Key], gathered: _Gathered, found: Direct, direct: Mapping[Key, Proposal], before: _Before
) -> dict[Key, Proposal]:
    """The engine's proposals, in payment order; `before` goes on with what each does."""
    proposals: dict[Key, Proposal] = {}
    cases = {(case.asked.tenant_id, case.asked.payment_id): case for case in gathered.cases}
    for key in batch:
        hit = direct.get(key)
        if key in cases:
            proposal = _propose(cases[key], gathered, before)
            if hit is None or {one.item_id for one in hit.targets} <= {share.item_id for share in proposal.shares}:
                proposals[key] = proposal
                _take(before, cases[key].asked, proposal)
                continue
        if hit is not None:
            _take_direct(before.taken, key[0], hit, found.payments[key].unapplied_minor)
    return proposals


def _take(before: _Before, asked: Waiting, proposal: Proposal) -> None:
    for share in proposal.shares:
        key = (asked.tenant_id, share.item_id)
        before.taken[key] = before.taken.get(key, 0) + abs(share.minor)
    if not proposal.shares and proposal.party is not None:
        place = ((asked.tenant_id, asked.entity_id, proposal.party), asked.currency)
        before.waits[place] = before.waits.get(place, 0) + asked.unapplied_minor


def _take_direct(taken: dict[Key, int], tenant: UUID, hit: Proposal, money: int) -> None:
    for target in hit.targets:
        key = (tenant, target.item_id)
        step = min(money, target.open_minor - taken.get(key, 0))
        taken[key] = taken.get(key, 0) + max(step, 0)
        money -= max(step, 0)


async def _gather(conn: AsyncConnection, asked: Sequence[Waiting]) -> _Gathered:
    cases = []
    for one in asked:
        text = read(one.remittance, (one.end_to_end_id,), (one.unapplied_minor, one.currency))
        case = _Case(one, text, list(text.runs)[:VALUES_MAX])
        if len(text.runs) > VALUES_MAX:
            case.left_out.append("words of a long text")
        cases.append(case)
    await _who(conn, cases)
    debtors: dict[Debtor, bool] = {}
    for case in cases:
        for person in case.people:
            debtor = (case.asked.tenant_id, case.asked.entity_id, person.customer_id)
            debtors[debtor] = debtors.get(debtor, False) or case.may_misspell()
    also = {
        (case.asked.tenant_id, item)
        for case in cases
        for item, customer in (case.pointed.documents | case.pointed.priced).items()
        if (case.asked.tenant_id, case.asked.entity_id, customer) in debtors
    }
    if not debtors:  # nobody owes anything that it could be for
        return _Gathered(cases, {}, {}, Experience())
    items, experience = await evidence.owed(conn, dict(sorted(debtors.items())), sorted(also), [one.payment_id for one in asked])
    history = {key: [_settled(row) for row in held] for key, held in experience.history.items()}
    gathered = _Gathered(cases, items, history, experience)
    if abroad := {case.asked.tenant_id for case in cases if any(_owes_abroad(case, debtor, items) for debtor in case.people)}:
        gathered.rates = await evidence.rates(conn, sorted(abroad), max(one.booking_date for one in asked))
    return gathered


def _owes_abroad(case: _Case, debtor: Person, items: Mapping[Debtor, Sequence[Seen]]) -> bool:
    """Whether somebody who may have paid owes something in another currency than the payment's: only then its rate is asked for."""
    owed = items.get((case.asked.tenant_id, case.asked.entity_id, debtor.customer_id), ())
    return any(one.currency != case.asked.currency for one in owed)


def _settled(row: tuple[object, ...]) -> Settled:
    amount, booked, lines, invoices, first, last, rule, discounted, offered = row
    return Settled(amount, booked, lines, invoices, first, last, rule in SILENT, discounted, offered)  # type: ignore[arg-type] # a row


async def _who(conn: AsyncConnection, cases: Sequence[_Case]) -> None:
    """Who may have paid each: those that its accounts, its name, its words and its amount point to, likeliest first."""
    numbers = [(at, value) for at, case in enumerate(cases) for value in case.values]
    names = [(at, key) for at, case in enumerate(cases) for key in sorted({key for name in case.names() for key in written_keys(name)})]
    values = [(at, value) for at, case in enumerate(cases) for value in case.written()]
    found = await evidence.who(conn, [case.asked for case in cases], numbers, names, values)
    own = {tenant: await model_or_shipped(conn, tenant, name) for tenant, name in found.models.items()}
    for case, pointed in zip(cases, found.pointed, strict=True):
        tenant = case.asked.tenant_id
        case.pointed, case.threshold = pointed, found.thresholds.get(tenant)
        if tenant in own:
            case.model, case.past = own[tenant].model, own[tenant].past
    children: dict[Key, list[Person]] = {}
    for (tenant, _), person in found.people.items():
        if person.parent is not None:
            children.setdefault((tenant, person.parent), []).append(person)
    for case in cases:
        _choose(case, found.people, children)


def _pointed(pointed: Pointed, *, names: bool = True) -> dict[UUID, None]:
    """The customers that something points to, surest signs first; without `names` those that something else does."""
    known = pointed.known
    signs: list[UUID] = [one for one in (pointed.owner, pointed.payer) if one is not None]
    order = (evidence.OWN, evidence.ALIAS_IBAN, evidence.PAST, evidence.ALIAS_NAME, evidence.NUMBER)
    # what came from many customers' account points to none of them: to the engine it is nobody's
    signs += [customer for how in order if len(known.get(how, ())) <= SHARED_MAX for customer in known.get(how, ())]
    named = known.get(evidence.NAME, ()) if names else ()
    last = [pointed.former] if pointed.former else []
    every = dict.fromkeys([*signs, *pointed.documents.values(), *named, *pointed.priced.values(), *last])
    every.pop(NOBODY, None)
    return every


def _choose(case: _Case, people: Mapping[Key, Person], children: Mapping[Key, list[Person]]) -> None:
    tenant, known = case.asked.tenant_id, case.pointed.known
    alike = {
        customer: max(likeness(written, people[tenant, customer].name) for written in case.names())
        for customer in known.get(evidence.NAME, ())
    }
    priced = case.pointed.priced
    if (
        case.names_plainly()
        or max(alike.values(), default=0.0) >= 1.0  # the engine asks whose item costs just that only where nobody is known so well
        or len(priced) > SAME_MAX
        or (len(set(priced.values())) > OWNERS_MAX and not case.text.runs)  # of so many only one that is named is meant
    ):
        priced.clear()
    order = {customer: place for place, customer in enumerate(_pointed(case.pointed))}
    otherwise = set(_pointed(case.pointed, names=False))
    sure = bool(case.pointed.owner or case.pointed.payer or known.get(evidence.OWN))
    # where the account says who paid, a name that does not agree but begins alike says nothing
    pointed = [one for one in order if one in otherwise or alike.get(one, 0.0) >= (NAMED if sure else 0.0)]
    found = sorted(pointed, key=lambda one: (one not in otherwise, -alike.get(one, 0.0) if one not in otherwise else 0.0, order[one]))
    if len(found) > PARTIES_MAX:
        case.left_out.append("customers to whom less points")
    chosen = [people[tenant, customer] for customer in found[:PARTIES_MAX]]
    inside = {one.customer_id for one in chosen}
    for parent in list(chosen):
        for child in children.get((tenant, parent.customer_id), ()):
            if child.customer_id not in inside:
                inside.add(child.customer_id)
                chosen.append(child)
    case.people = chosen


def _inputs(case: _Case, gathered: _Gathered, before: _Before) -> tuple[Inputs, dict[Id, UUID]]:
    asked = case.asked
    tenant = asked.tenant_id
    pointed, known = case.pointed, case.pointed.known
    own = known.get(evidence.OWN, {})
    owner = pointed.owner or pointed.payer
    account = pointed.virtual_iban if pointed.owner else SAID if pointed.payer else None
    former = pointed.virtual_iban if pointed.former and not account else None
    inputs = Inputs(
        Clues(
            asked.payment_id, asked.booking_date, asked.unapplied_minor, asked.currency, account or former, asked.debtor_name,
            asked.debtor_iban, None if asked.end_to_end_id == "NOTPROVIDED" else asked.end_to_end_id,
            fold(asked.structured_reference) if asked.structured_reference else None, list(asked.remittance),
            asked.instructed_minor, asked.instructed_currency if asked.instructed_minor else None, asked.ultimate_debtor_name,
        ),
        case.model.threshold if case.threshold is None else case.threshold,
        case.model.name,
        charges=gathered.experience.charges.get(tenant, {}),
        rates=gathered.rates.get((tenant, asked.currency), {}),
        left_out=list(case.left_out),
        past=case.past,
    )  # fmt: skip
    accounts: dict[Id, UUID] = {}
    shared = own if len(own) > 1 else {}  # an IBAN of several customers is nobody's own
    for how in (shared, known.get(evidence.ALIAS_IBAN, {}), known.get(evidence.PAST, {})):
        for customer, times in how.items():
            inputs.ibans[customer] = inputs.ibans.get(customer, 0) + times
    for customer, times in known.get(evidence.ALIAS_NAME, {}).items():
        inputs.names[customer] = times
    for person in case.people:
        customer = person.customer_id
        ibans = [asked.debtor_iban] if asked.debtor_iban and len(own) == 1 and customer in own else []
        virtual, was = account if customer == owner else None, former if customer == pointed.former else None
        inputs.customers.append(Customer(customer, person.number, person.name, asked.currency, ibans, virtual, person.parent, was))
        owed = [one for one in gathered.items.get((tenant, asked.entity_id, customer), ()) if one.item_id not in pointed.dismissed]
        for one in owed:
            gone = before.taken.get((tenant, one.item_id), 0) if before.taken else 0
            place = (id(one), gone, asked.booking_date)
            item = gathered.seen.get(place) or gathered.seen.setdefault(place, _open_item(one, gone, asked.booking_date))
            inputs.versions[one.item_id] = one.version
            (inputs.items if item.open_minor else inputs.settled).append(item)
            if one.written_off_minor:
                inputs.written_off[one.item_id] = one.written_off_minor
            accounts[one.item_id] = one.account_id
        if sum(one.open_minor > 0 for one in owed) > evidence.ITEMS_MAX:
            inputs.left_out.append(f"items of customer {customer} due later")
        if rows := [row for row in gathered.history.get((tenant, customer), ()) if row.booked <= asked.booking_date]:
            inputs.history[customer] = rows
        debtor = (tenant, asked.entity_id, customer)
        if promised := gathered.experience.promises.get(debtor):
            inputs.promises[customer] = [
                Promise(key, currency, amount, due_on, meant, waits + before.waits.get((debtor, currency), 0))
                for key, currency, amount, due_on, meant, waits in promised
            ]
    return inputs, accounts


def _open_item(one: Seen, taken: int, day: date) -> OpenItem:
    sign = -1 if one.kind == "credit_note" else 1
    others: tuple[str, ...] = ()
    structured = None
    if one.names:
        names = [name.partition(":") for name in sorted(one.names.split())]
        structured = next((fold(value) for kind, _, value in reversed(names) if kind == "structured"), None)
        number = fold(one.number)
        others = tuple(dict.fromkeys(other for kind, _, value in names if kind != "structured" and (other := fold(value)) != number))
    until, percent = term(one.discounts, day) if one.discounts else (None, 0)
    return OpenItem(
        one.item_id, one.customer_id, one.number, one.currency, one.issue_date, one.due_date, sign * one.original_minor,
        sign * max(one.open_minor - taken, 0), others, structured, percent / 100, until, one.contested_minor,
    )  # fmt: skip


def _propose(case: _Case, gathered: _Gathered, before: _Before) -> Proposal:
    """Decides on one payment, as it is after those before it in the batch."""
    inputs, accounts = _inputs(case, gathered, before)
    try:
        proposal = propose(inputs, case.model, accounts, case.text)
    except InputsError as error:  # a person decides then, and sees why
        log.error("engine failed", payment_id=str(case.asked.payment_id), tenant_id=str(case.asked.tenant_id), error=str(error))
        refused: dict[str, object] = {"decision": "review", "refused": str(error), "candidates": []}
        proposal = Proposal("none", reason="uncertain", unapplied_minor=case.asked.unapplied_minor, evidence=refused)
    proposal.inputs = _ENCODE(stored(inputs)).decode()
    proposal.named_customers = [person.customer_id for person in case.people]
    proposal.accounts = set(accounts.values())
    proposal.clues = wanted_keys(case.written(), case.names())
    return proposal
