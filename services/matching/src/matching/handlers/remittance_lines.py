"""What the lines of an expected payment do to the payment that meets it, on locked rows.

Rules:
- they are the debtor's designation: they go before every rule, and undo what rules (never what a person) had decided;
- what is granted of a deduction is in `domain.deductions`: by the item's terms, and within one person's limit; the rest stays open, and the
  decision says of which line and why;
- what a line gives to an item in another currency, and at which rate, is in `domain.exchanged_lines`; no deduction is granted there;
- a line whose item is not there yet waits for it, one below zero for its credit note though all of the money is given; what of the
  payment has no line is unapplied; what a person has undone is not done again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

import msgspec
from contracts.envelope import Envelope
from shared import aliases
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item, Key, Payment
from matching.domain.deductions import Granted, Room, grant, reason_of
from matching.domain.exchange import exchange
from matching.domain.exchanged_lines import Rates, Share, shares
from matching.domain.references import normalised
from matching.domain.remittances import RULES, RemittanceLine
from matching.handlers.announcements import announce
from matching.handlers.limits import BY_HAND
from matching.handlers.payments import lock_with_items, take_off
from matching.handlers.plans import expect
from matching.handlers.publishing import save_and_publish
from matching.storage import expected as stored
from matching.storage.account_balances import account_id
from matching.storage.books import Decided
from matching.storage.decisions import refused_of
from matching.storage.evidence import rates
from matching.storage.exchanges import instructed
from matching.storage.expected import Expected
from matching.storage.expected_items import resolve
from matching.storage.limits import rooms
from matching.storage.payments import dismissed

BY_PERSON = frozenset({"hand", "confirmed", "remittance", "announced", "settlement"})
"""Rules that a remittance list does not undo: a person's word, and the debtor's own."""
_JSON = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Pair:
    """A payment and the list that it meets. `items` by the line's number from 0, and `kept_open`: why a line, or what it deducts, is not
    carried out. `payer` stands for him whom the list names.

    `rooms` are those of all items of a batch; `undone` are items that a person has taken off the payment; `earlier` says what of the
    list was refused when fewer of its items were there, and why.
    """

    payment: Payment
    held: Expected
    payer: UUID | None
    items: dict[int, UUID]
    rates: Rates
    rooms: Mapping[Key, Room]
    shares: list[Share] = field(default_factory=list)
    kept_open: dict[int, str] = field(default_factory=dict)
    undone: set[UUID] = field(default_factory=set)
    earlier: Mapping[int, str] = field(default_factory=dict)
    set_off: list[tuple[UUID, UUID, int]] = field(default_factory=list)

    @property
    def refused(self) -> list[dict[str, object]]:
        """The lines that a person has to look at, and why."""
        whys = {share.at: share.refused for share in self.shares if share.refused} | self.kept_open
        return [{"line": at, "why": whys[at]} for at in sorted(whys)]


async def settle(
    conn: AsyncConnection,
    pairs: Mapping[Key, Key],
    now: datetime,
    causes: Mapping[Key, Envelope],
    *,
    beside: Mapping[Key, Sequence[UUID]] = MappingProxyType({}),
    redo: bool = False,
) -> set[Key]:
    """Carries the lines out on the payments; returns the payments on which nothing is left to decide. One round of locks for all.

    `beside`: announcements that a payment is too, and that come with it.
    """
    unlocked = await stored.load(conn, pairs.values(), lock=False)
    items = {key: await resolve(conn, held) for key, held in unlocked.items()}
    wanted = sorted({(key[0], item) for key, found in items.items() for item in found.values()}, key=str)
    payers = await _payers(conn, {key: unlocked[one] for key, one in pairs.items()})
    books = await lock_with_items(conn, list(pairs), items=wanted, customers=payers)
    locked = await stored.load(conn, {*pairs.values(), *((key[0], one) for key in pairs for one in beside.get(key, ()))})
    lists = {key: (locked[one], items[one]) for key, one in pairs.items()}
    rates, forgivable = await _rates(conn, books, lists), await _rooms(conn, lists)
    undone = set() if redo else await dismissed(conn, pairs)  # the list that comes after that is the newer word
    earlier = await _refused(conn, locked.values())
    done: set[Key] = set()
    decisions: list[Decided] = []
    made: dict[Key, list[tuple[UUID, UUID, int]]] = {}
    for key, expected_key in pairs.items():
        held, payment = locked[expected_key], books.payments[key]
        if held.status not in {"waiting", "partly", "expired"}:
            continue
        pair = _Pair(payment, held, payers[key], items[expected_key], rates[key], forgivable, earlier=earlier.get(expected_key, {}))
        pair.undone = {item for item in pair.items.values() if (*key, item) in undone}
        if redo and payment.allocations and not await _redo(conn, books, pair):
            continue
        if held.status != "partly" and payment.unapplied_minor != payment.amount_minor and not redo:
            continue
        before = (held.status, held.missing, held.payment_id)
        _carry_out(books, pair)
        made[key] = pair.set_off
        if held.lines:
            done.add(key)
            rule = RULES.get(held.kind, "announced")
            payment.rule = rule
            abroad = any(share.refused for share in pair.shares if share.item_id not in pair.undone)
            reason = "remittance_misses_items" if held.missing else "currency" if abroad else "remittance_differs"
            if pair.kept_open and before[0] != "partly":  # told, though the money may stay where it was
                books.touch_payment(payment)
            if books.decided(payment, reason):  # another look that found nothing has nothing to say
                evidence = {
                    "expected_payment": held.expected_id,
                    "version": held.version,
                    "reference": held.reference,
                    "missing": held.missing,
                }
                if pair.refused:
                    evidence["refused"] = pair.refused
                decisions.append(Decided(*key, payment.version + 1, rule, _JSON(evidence).decode()))
        if (held.status, held.missing, held.payment_id) != before:
            await stored.save(conn, held)
            await announce(conn, held)
    await _come_with_lists(conn, made, beside, locked)
    await stored.note_set_offs(conn, made)
    await save_and_publish(conn, books, now, causes, decisions=decisions)
    await expect(conn, {(key[0], plan) for key, held in locked.items() if (plan := held.payment_plan_id) is not None}, now)
    return done


async def _come_with_lists(
    conn: AsyncConnection, payments: Iterable[Key], beside: Mapping[Key, Sequence[UUID]], locked: Mapping[Key, Expected]
) -> None:
    """Announced money has come: a list says what it is for."""
    for tenant, payment in payments:
        for one in beside.get((tenant, payment), ()):
            announced = locked[tenant, one]
            if announced.status in {"waiting", "expired"}:
                announced.status, announced.payment_id = "received", payment
                await stored.save(conn, announced)
                await announce(conn, announced)


async def _redo(conn: AsyncConnection, books: Books, pair: _Pair) -> bool:
    """Undoes what rules had put elsewhere; False where a person, or the debtor before, has said something else about the payment."""
    payment, lines = pair.payment, pair.held.lines
    wanted = Counter[UUID]()
    for at, item in pair.items.items():
        wanted[item] += lines[at].net_minor
    stands = Counter({item: one.amount_minor for item, one in payment.allocations.items()}) == wanted
    if any(one.rule in BY_PERSON for one in payment.allocations.values()):
        return stands and pair.held.kind == "remittance"  # announced again it is other money
    if any(one.exchange for one in payment.allocations.values()) and set(payment.allocations) == set(pair.items.values()):
        return True  # it is where the list wants it, and was exchanged already
    more = False
    if stands:
        for item_id, one in payment.allocations.items():
            there = books.items[payment.tenant_id, item_id]
            granted = _grant(books, pair, there, one.amount_minor, there.open_minor + one.amount_minor + one.diff_minor)
            more = more or granted.diff_minor > one.diff_minor
    if more or not stands:
        await take_off(conn, books, payment)
        pair.kept_open.clear()
    return True


def _carry_out(books: Books, pair: _Pair) -> None:
    payment, held = pair.payment, pair.held
    tenant = payment.tenant_id
    if pair.payer is not None:
        account = books.accounts.get((tenant, account_id(tenant, pair.payer, payment.entity_id, payment.currency)))
        if account is not None and payment.account_id is None:
            books.attribute(payment, account)
            books.touch_payment(payment)
    lines = {at: books.items[tenant, item_id] for at, item_id in pair.items.items()}
    pair.shares = shares(held.lines, lines, held.currency, held.amount_minor, payment, pair.rates)
    for credit_id, item_id, amount in books.set_off_with.get((tenant, payment.payment_id), []):  # when fewer of its items were there
        credits_ = [share for share in pair.shares if share.item_id == credit_id and share.owed_minor < 0]
        others = [share for share in pair.shares if share.item_id == item_id]
        if credits_ and others:
            _move(credits_[0], others[0], amount)
    _leave_undone(pair)
    for share in pair.shares:
        if share.owed_minor < 0 and not share.refused:
            _deduct_credit(books, pair, share)
    _give_all(books, pair)
    held.missing = [_name(line) for at, line in enumerate(held.lines) if at not in pair.items]
    deducts = any(line.gross_minor < 0 for at, line in enumerate(held.lines) if at not in pair.items)  # a credit note needs no money left
    held.status = "partly" if held.missing and (payment.unapplied_minor or deducts) else "received"
    held.payment_id = payment.payment_id


def _give_all(books: Books, pair: _Pair) -> None:
    """Gives each item of the list what is for it, in the list's order."""
    payment = pair.payment
    before = set(payment.allocations)  # given when fewer of the list's items were there
    pair.kept_open |= {at: why for at, why in pair.earlier.items() if pair.items.get(at) in before}
    of_item: dict[UUID, list[Share]] = {}
    for share in pair.shares:  # a list may name an item in several lines
        of_item.setdefault(share.item_id, []).append(share)
    for item_id, named in of_item.items():
        item = books.items[payment.tenant_id, item_id]
        if item.kind == "credit_note" or item_id in before:
            continue
        _give(books, pair, item, [share for share in named if not share.refused])


def _leave_undone(pair: _Pair) -> None:
    """What a person has undone a list does not do again."""
    for share in pair.shares:
        if share.item_id in pair.undone:
            share.refused = "a person has undone that"


def _name(line: RemittanceLine) -> str:
    """What a line whose item is not there yet waits for, as it is compared: an item's id, or a document's number."""
    return normalised(str(line.item_id) if line.item_id else line.document_number or "")


def _move(credit: Share, other: Share, amount: int) -> None:
    """So much of the item is settled by the credit note, and the money that the payer kept for it is not there."""
    kept = credit.money_minor * amount // credit.owed_minor
    credit.money_minor += kept
    credit.owed_minor += amount
    other.money_minor -= kept
    other.owed_minor -= amount


def _deduct_credit(books: Books, pair: _Pair, share: Share) -> None:
    """Sets a credit note off against the list's items, as far as the payer deducts it."""
    tenant = pair.payment.tenant_id
    credit = books.items[tenant, share.item_id]
    if credit.kind != "credit_note":
        return
    for other in pair.shares:
        item = books.items[tenant, other.item_id]
        step = min(-share.owed_minor, other.owed_minor, credit.open_minor, item.open_minor)
        if step > 0 and item.kind != "credit_note" and credit.account_id == item.account_id and not other.refused:
            step = books.set_off(credit, item, step)
            pair.set_off.append((credit.item_id, item.item_id, step))
            _move(share, other, step)


def _give(books: Books, pair: _Pair, item: Item, shares: Sequence[Share]) -> None:
    """Allocates the shares of an item: in one currency together, across currencies each by itself."""
    if here := [share for share in shares if share.rate is None]:
        _pay(books, pair, item, here)
    for share in shares:
        if share.rate is not None and share.source is not None and share.owed_minor > 0:
            _exchange(books, pair, item, share, share.rate, share.source)


def _pay(books: Books, pair: _Pair, item: Item, shares: Sequence[Share]) -> None:
    """Allocates what lines say of an item, as far as both have it, with what is granted of their deductions."""
    payment = pair.payment
    money = min(sum(share.money_minor for share in shares if share.owed_minor > 0), payment.unapplied_minor, item.open_minor)
    granted = _grant(books, pair, item, money, item.open_minor)
    room = pair.rooms.get((item.tenant_id, item.item_id))
    if room is not None:
        room.alone_minor += granted.alone_minor
    if money > 0:
        rule = RULES.get(pair.held.kind, "announced")
        books.allocate(payment, item, rule, amount=money, diff=granted.diff_minor, reason=granted.reason)


def _grant(books: Books, pair: _Pair, item: Item, money: int, owed: int) -> Granted:
    """What is granted of all that the list deducts of an item which gets so much `money` of what is `owed`; notes what is not, and why."""
    lines = {at: pair.held.lines[at] for at, item_id in pair.items.items() if item_id == item.item_id}
    beside = [*books.set_off_with.get((item.tenant_id, pair.payment.payment_id), []), *pair.set_off]
    set_off = sum(amount for _, of, amount in beside if of == item.item_id)
    room = pair.rooms.get((item.tenant_id, item.item_id), Room())
    granted = grant(lines, money, owed, pair.payment.value_date, room, set_off=set_off)
    pair.kept_open |= granted.refused
    return granted


def _exchange(books: Books, pair: _Pair, item: Item, share: Share, rate: Decimal, source: str) -> None:
    """Allocates a share across currencies as the line says, or not at all."""
    payment = pair.payment
    if item.item_id in payment.allocations:
        share.refused = "the item is exchanged by another line already"
        return
    if share.owed_minor > item.open_minor or not 0 < share.money_minor <= payment.unapplied_minor:
        share.refused = "the item or the payment has less than that"
        return
    try:
        traded = exchange(share.money_minor, payment.currency, share.owed_minor, item.currency, rate, source)
    except ValueError as error:
        share.refused = str(error)
        return
    books.allocate_across(payment, item, RULES.get(pair.held.kind, "announced"), share.money_minor, traded)
    if reason_of(pair.held.lines[share.at]) is not None:
        pair.kept_open[share.at] = "the item is in another currency: what is deducted of it stays open"


async def _payers(conn: AsyncConnection, lists: Mapping[Key, Expected]) -> dict[Key, UUID | None]:
    """Who stands for the payer of each list, by its payment."""
    said = {key: held.payer_customer_id for key, held in lists.items()}
    stands = await aliases.resolve(conn, [(key[0], payer) for key, payer in said.items() if payer is not None])
    return {key: payer and stands.get((key[0], payer), payer) for key, payer in said.items()}


async def _refused(conn: AsyncConnection, lists: Iterable[Expected]) -> dict[Key, dict[int, str]]:
    """What was refused of those of the lists that are met already and wait for an item."""
    partly = [(held.tenant_id, held.expected_id, held.payment_id) for held in lists if held.status == "partly" and held.payment_id]
    return await refused_of(conn, partly) if partly else {}


async def _rooms(conn: AsyncConnection, wanted: Mapping[Key, tuple[Expected, Mapping[int, UUID]]]) -> dict[Key, Room]:
    """What may be forgiven of the items, which are locked, of which lists deduct something."""
    items = {(key[0], item) for key, (held, found) in wanted.items() for at, item in found.items() if reason_of(held.lines[at]) is not None}
    return await rooms(conn, sorted(items, key=str), BY_HAND) if items else {}


async def _rates(conn: AsyncConnection, books: Books, wanted: Mapping[Key, tuple[Expected, Mapping[int, UUID]]]) -> dict[Key, Rates]:
    """What is known of the rates that payments need: nothing is looked up where everything is in one currency."""
    across = [
        key
        for key, (held, items) in wanted.items()
        if any(books.items[key[0], item].currency != books.payments[key].currency for item in items.values())
    ]
    if not across:
        return dict.fromkeys(wanted, Rates())
    told = await instructed(conn, across)
    seen = await rates(conn, {key[0] for key in across}, max(books.payments[key].booking_date for key in across))
    return {
        key: Rates(
            (held.rate_currency, held.rate) if held.rate_currency is not None and held.rate is not None else None,
            told.get(key),
            seen.get((key[0], books.payments[key].currency), {}),
        )
        for key, (held, _) in wanted.items()
    }
