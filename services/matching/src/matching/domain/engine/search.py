"""From clues to readings with their evidence: who may have paid, what they named, what adds up.

A `Source` finds candidates: the service by SQL, set-wise and by index; an evaluation from memory. The engine is the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from typing import Protocol

from shared.references import is_valid

from matching.domain.engine.cut import cut_off
from matching.domain.engine.days import OF_DAY, Days
from matching.domain.engine.features import Setting, features, name_of, of_party
from matching.domain.engine.habits import Learnt
from matching.domain.engine.hypotheses import add_promised, readings
from matching.domain.engine.missing import names_missing
from matching.domain.engine.misspelling import near
from matching.domain.engine.parties import likeness, same_name, same_person
from matching.domain.engine.readings import ALIKE_MAX, Reading, alike
from matching.domain.engine.records import (
    ADVANCE,
    BY_PARENT,
    LEARNED,
    NAMED,
    NO_RECEIVABLE,
    NOBODY,
    RUNS,
    Clues,
    Customer,
    Hypothesis,
    Id,
    OpenItem,
    Party,
    Promise,
)
from matching.domain.engine.text import (
    FULL,
    LONG,
    MEDIUM,
    NEAR,
    SHORT,
    VALUE_MIN,
    Hit,
    Span,
    Text,
    fold,
    forms,
    name_items,
    read,
)
from matching.domain.engine.ties import Ties, of_another_day

PARTIES_MAX = 8
"""Customers that are looked at for one payment."""
SHARED_MAX = 4
"""An alias of more customers than this is nobody's."""
OWNERS_MAX = 3
"""Customers who owe just what was paid, of more of whom the amount says nothing."""
KNOWN_WEIGHT = 2
"""What speaks for a payer who is known well, at least (`Party.weight`)."""
NAMED_MAX = 8
"""A number that more items carry says nothing of who pays: each customer's own may be counted from 1."""


class Source(Protocol):
    """Where candidates come from."""

    customers: dict[Id, Customer]
    children: dict[Id, list[Id]]
    by_iban: dict[str, Id]
    by_virtual_iban: dict[str, Id]
    by_former_iban: dict[str, Id]
    by_number: dict[str, Id]
    open: dict[Id, dict[Id, OpenItem]]
    promises: dict[Id, list[Promise]]

    def named(self, value: str) -> list[OpenItem]:
        """The items, open or not, that carry a number, an order or a reference."""
        ...

    def settled(self, customer_id: Id) -> Iterable[OpenItem]:
        """A customer's items that were settled lately: a payer may name one again."""
        ...

    def of_price(self, currency: str, amount: int, day: date) -> list[OpenItem]:
        """Open items of anybody that cost exactly that, with the discount that is offered or without; few, or none."""
        ...

    def like(self, written: str) -> Iterable[Customer]:
        """Customers whose name begins as this one does."""
        ...


@dataclass(slots=True)
class Found:
    """All readings of a payment, who was looked at, and the items of anybody that it names in full."""

    hypotheses: list[Hypothesis] = field(default_factory=list)
    parties: list[Party] = field(default_factory=list)
    text: Text | None = None
    documents: list[Hit] = field(default_factory=list)


def search(clues: Clues, source: Source, learnt: Learnt, text: Text | None = None) -> Found:
    """Every reading of the payment that the evidence gives, with its features; not yet judged. `text` are its words, once read."""
    if text is None:
        text = read(clues.remittance, (clues.end_to_end_id,), (clues.amount_minor, clues.currency))
    documents = _documents(clues, text, source)
    parties = _parties(clues, text, source, learnt, documents)
    found = Found(parties=parties, text=text, documents=documents)
    naming = False
    for party in parties:
        rival = max((_distance(other, party, source) for other in parties if other is not party), default=0.0)
        items = list(source.open.get(party.customer_id, {}).values())
        if not items:
            continue
        mine = {hit.item.item_id: hit.item for hit in documents if hit.item.customer_id == party.customer_id and not hit.item.open_minor}
        mine.update((item.item_id, item) for item in source.settled(party.customer_id))
        named = name_items(text, [*items, *mine.values()], _Known(source))
        named.loose += cut_off(text.words[slice(*text.parts[text.readings - 1])], (item.number for item in items))
        if clues.structured_reference:
            known = {hit.item.item_id for hit in named.hits}
            named.hits += [hit for hit in documents if hit.item.customer_id == party.customer_id and hit.item.item_id not in known]
            if not source.named(clues.structured_reference):
                close = [item for item in items if item.reference and _mistyped(clues.structured_reference, item.reference)]
                named.hits += [Hit(item, MEDIUM, Span(-1, -1, other=False), len(close) - 1) for item in close if item.item_id not in known]
        # 2025/10119 is another's number and hidden in RG-2025-10119
        firm = {(hit.span.start, hit.span.end) for hit in named.hits if hit.strength >= LONG}
        foreign = [
            hit
            for hit in documents
            if hit.item.customer_id != party.customer_id
            and hit.strength >= FULL
            and not hit.span.other
            and not any(start <= hit.span.start and hit.span.end <= end for start, end in firm)
        ]
        covered = {at for hit in foreign for at in range(hit.span.start, hit.span.end)}
        named.hits = [hit for hit in named.hits if hit.strength > NEAR or not covered.intersection(range(hit.span.start, hit.span.end))]
        naming = naming or any(not hit.span.other for hit in named.hits)
        others = len({hit.item.item_id for hit in foreign})
        habit = learnt.habit(party.customer_id)
        reference = int(bool(clues.structured_reference))
        setting = Setting(clues, party, rival, items, named, others, reference, text.advance, habit, learnt)
        every = readings(clues, items, named, learnt, habit)
        add_promised(every, clues, items, source.promises.get(party.customer_id, ()))
        missing = names_missing(text, named, (item.number for item in items), source.named)
        ties = Ties(items, named, clues.booking_date, astray=missing or others > 0 or named.loose > 0)
        for reading in every:
            one = Hypothesis(
                party.customer_id, f"{reading.rule}:{reading.money}", reading.lines, features(setting, reading, every),
                tie=ties.of(reading), unread=named.loose > 0, doubt=_doubt(clues, reading, ties, text.days, learnt),
                promise=reading.promise, missing=missing, former=party.former,
            )  # fmt: skip
            others_alike = islice(alike(reading, ties.same, ties.surely, clues.booking_date), ALIKE_MAX)
            one.alike = [replace(one, lines=other.lines, features=features(setting, other, every)) for other in others_alike]
            found.hypotheses.append(one)
    if text.advance and not (documents or naming):
        found.hypotheses += _advance(clues, text, parties, source, learnt)
    if not (documents or naming or clues.structured_reference) and all(party.weight() < KNOWN_WEIGHT for party in parties):
        found.hypotheses += _no_receivable(clues, learnt)
    return found


def _no_receivable(clues: Clues, learnt: Learnt) -> list[Hypothesis]:
    """Money that nobody owed, where all that ever came from the account or under the name was such.

    How sure that is says the rule of succession (Laplace 1814): after n such of n, (n + 1) / (n + 2).
    """
    seen = [held for held in (learnt.names.get(name_of(clues)), learnt.ibans.get(clues.debtor_iban or "")) if held]
    if not seen or any(held.keys() != {NOBODY} for held in seen):
        return []
    times = max(held[NOBODY] for held in seen)
    return [Hypothesis(NOBODY, NO_RECEIVABLE, [], of_party(None), confidence=(times + 1) / (times + 2), set_apart=times)]


def _advance(clues: Clues, text: Text, parties: Sequence[Party], source: Source, learnt: Learnt) -> list[Hypothesis]:
    """What the payer calls one, unless it says, however shortly, of which item it is: then it is a part of that."""
    items = [item for party in parties for item in source.open.get(party.customer_id, {}).values()]
    words = {fold(word) for word in text.words}
    if any(fold(item.number) in words or (text.days and text.days.of(item, clues.booking_date) == OF_DAY) for item in items):
        return []
    payer = _for_itself(clues, parties, source, learnt)
    if payer is None:
        return []
    doubt = None if learnt.keeps_advances() else "what was called an advance has settled items before"
    if payer.customer_id in source.children and not _by_agent(payer):
        doubt = "the payer has subsidiaries, and may pay it for one of them"
    return [Hypothesis(payer.customer_id, ADVANCE, [], of_party(payer), doubt=doubt)]


def _for_itself(clues: Clues, parties: Sequence[Party], source: Source, learnt: Learnt) -> Party | None:
    """The one known payer, unless its account mostly paid for others; whom an agent pays for, its virtual IBAN says."""
    payers = [one for one in parties if one.known()]
    # beside the account's holder, or who is called just so, with the legal form, whoever is called alike is nobody
    written = clues.ultimate_name or clues.debtor_name or ""
    payers = (
        [one for one in payers if 1 in (one.virtual_iban, one.own_iban)]
        or [one for one in payers if same_name(written, source.customers[one.customer_id].name)]
        or payers
    )
    if len(payers) != 1:
        return None
    payer = payers[0]
    paid_before = bool(clues.debtor_iban and learnt.ibans.get(clues.debtor_iban))
    return payer if _by_agent(payer) or not paid_before or payer.learned_iban >= LEARNED else None


def _by_agent(payer: Party) -> bool:
    return payer.virtual_iban == 1 and not payer.own_iban


def _doubt(clues: Clues, reading: Reading, ties: Ties, said: Days, learnt: Learnt) -> str | None:
    """What the seller's past has against a reading, or what the payer says of when: of a payment run that is the run's own day."""
    if any(line.reason == "discount" and not learnt.grants(line.item, clues.booking_date) for line in reading.lines):
        return "the discount was taken when it was over"
    if said and reading.rule not in RUNS and of_another_day(reading.lines, ties.same, ties.surely, said, clues.booking_date):
        return "the payer says of which day or month, and another item of the amount is of that"
    if said.days and reading.rule == "exact_amount" and reading.lines[0].item.item_id not in ties.surely:
        of_day = {one.item_id for held in ties.same.values() for one in held if said.of(one, clues.booking_date) == OF_DAY}
        if of_day and reading.lines[0].item.item_id not in of_day:
            return "the payer says of which day, and an item of another amount is of that"
    return ties.credit_doubt(reading)


class _Known:
    """Words that are customers' numbers."""

    def __init__(self, source: Source) -> None:
        self.numbers = source.by_number

    def __contains__(self, word: object) -> bool:
        return word in self.numbers


def _documents(clues: Clues, text: Text, source: Source) -> list[Hit]:
    """The items of anybody that the text or the reference names in full."""
    hits: list[Hit] = []
    for value, spans in text.runs.items():
        if len(value) >= VALUE_MIN:
            held = source.named(value)
            for item in held if len(held) <= NAMED_MAX else ():
                strength = FULL if value == fold(item.number) or value in item.order_numbers or value == item.reference else LONG + 1
                hits += [Hit(item, strength, span) for span in spans]
    if clues.structured_reference and len(held := source.named(clues.structured_reference)) <= NAMED_MAX:
        hits += [Hit(item, FULL, Span(-1, -1, other=False)) for item in held]
    return hits


def _mistyped(written: str, reference: str) -> bool:
    """Whether a reference must be this one with a letter wrong: its own check digits are right and those of what is written are not.

    Without two check digits, or with ten to choose from, what is one digit away may as well be the next invoice's.
    """
    proven = any(is_valid(scheme, reference) and not is_valid(scheme, written) for scheme in ("RF", "OGM", "QRR"))
    return proven and near(written, reference)


def _parties(  # noqa: C901, PLR0912 - one paragraph per kind of evidence
    clues: Clues, text: Text, source: Source, learnt: Learnt, documents: Sequence[Hit]
) -> list[Party]:
    found: dict[Id, Party] = {}

    def of(customer_id: Id) -> Party:
        return found.get(customer_id) or found.setdefault(customer_id, Party(customer_id))

    if clues.creditor_account and (owner := source.by_virtual_iban.get(clues.creditor_account)) is not None:
        of(owner).virtual_iban = 1.0
    alike = _alike(clues.ultimate_name or "", source)
    learned = _shares(learnt.names.get(name_of(clues)))
    meant = {one for one, score in alike.items() if score >= NAMED} | {one for one, _ in learned if clues.ultimate_name}

    def may_be(customer_id: Id) -> bool:
        """Where the bank says for whom it is paid, the account and the name it came from say nothing of others."""
        return not meant or customer_id in meant

    if clues.debtor_iban:
        if (owner := source.by_iban.get(clues.debtor_iban)) is not None and may_be(owner):
            of(owner).own_iban = 1.0
        for customer_id, share in _shares(learnt.ibans.get(clues.debtor_iban)):
            if may_be(customer_id):
                of(customer_id).learned_iban = share
    for customer_id, share in learned:
        if may_be(customer_id):
            of(customer_id).learned_name = share
    for customer_id, score in (alike if meant else _alike(clues.debtor_name or "", source)).items():
        of(customer_id).name = score
    for value in text.runs:
        if (owner := source.by_number.get(value)) is not None:
            of(owner).number = 1.0
    for hit in documents:
        if hit.strength >= LONG and not hit.span.other:
            party = of(hit.item.customer_id)
            party.document = max(party.document, 1.0 if hit.item.open_minor else 0.5)
    if all(party.weight() < KNOWN_WEIGHT for party in found.values()):
        if clues.creditor_account and (owner := source.by_former_iban.get(clues.creditor_account)) is not None:
            of(owner).former = True
        amount, currency = clues.amount_minor, clues.currency
        if clues.instructed_minor and clues.instructed_currency:
            amount, currency = clues.instructed_minor, clues.instructed_currency
        same = source.of_price(currency, amount, clues.booking_date)
        owners = {item.customer_id for item in same}
        for item in same:
            named = any(strength >= SHORT and form in text.runs for form, strength in forms(item.number))
            if named or len(owners) <= OWNERS_MAX:
                party = of(item.customer_id)
                party.amount = max(party.amount, 1.0 / len(owners))
                party.document = max(party.document, 0.4 * named)
    for party in list(found.values()):
        for child in source.children.get(party.customer_id, ()):
            one = of(child)
            one.via_parent = True
            one.virtual_iban = max(one.virtual_iban, BY_PARENT * party.virtual_iban)
            one.own_iban = max(one.own_iban, BY_PARENT * party.own_iban)
            one.name = max(one.name, BY_PARENT * party.name)
            one.learned_name = max(one.learned_name, BY_PARENT * party.learned_name)
    ordered = sorted(found.values(), key=lambda party: (-party.weight(), str(party.customer_id)))
    return ordered[:PARTIES_MAX]


def _shares(seen: Mapping[Id, int] | None) -> list[tuple[Id, float]]:
    """What part of what came from an account, or under a name, was each customer's, most first; of many customers it is nobody's."""
    if not seen or len(seen) > SHARED_MAX:
        return []
    total = sum(seen.values())
    return [(one, times / (total + 0.5)) for one, times in sorted(seen.items(), key=lambda pair: (-pair[1], str(pair[0]))) if one != NOBODY]


def _alike(written: str, source: Source) -> dict[Id, float]:
    """The customers who may be called so, and how alike their names are; where none is, who is but for the order of a person's words."""
    like = list(source.like(written))
    scores = {one.customer_id: likeness(written, one.name) for one in like}
    if all(score < NAMED for score in scores.values()):
        scores.update((one.customer_id, NAMED) for one in like if same_person(written, one.name))
    return {one: score for one, score in scores.items() if score >= 0.3}  # noqa: PLR2004 - less is no likeness


def _distance(other: Party, party: Party, source: Source) -> float:
    """How much more speaks for another customer; of one family, half of it."""
    step = other.weight() - party.weight() + 4.0
    a, b = source.customers.get(other.customer_id), source.customers.get(party.customer_id)
    related = a is not None and b is not None and (a.parent_id == b.customer_id or b.parent_id == a.customer_id)
    return max(0.0, step / 2 if related else step)
