"""Hand work on a payment: allocated to items, or given to another customer.

Rules:
- all lines or none: a line that the payment or the item no longer has is refused, naming it;
- what leaves an item beside the money has a reason, and is within what one person may give away alone;
- an item that was written off owes again as far as money comes for it: the write-off is reversed with it;
- an item in another currency is settled by an exchange: both amounts and a rate, the bank's own or one that is given; what the
  rate makes of it beside the agreed amounts is a gain or loss of ours, within the same limit;
- a person's word stands: it lifts an earlier dismissal of the pair, and no rule undoes it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from shared.clock import machine_now
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Exchange, Item, Key, Payment
from matching.domain.exchange import BANK_RATE, exchange, implied
from matching.domain.rows import NO_RECEIVABLE
from matching.handlers.given_up import reverse_latest
from matching.handlers.limits import BY_HAND, RULE
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.handlers.refusals import refused
from matching.storage.account_balances import account_id
from matching.storage.books import Decided
from matching.storage.exchanges import instructed
from matching.storage.expected import note_set_offs
from matching.storage.items import debtors_of
from matching.storage.limits import forgiven_alone, limit_of
from matching.storage.parties import forget_payer, is_known, learn_payer
from matching.storage.payments import undismiss

MOVED = "moved"
"""The rule of a decision by which a person said whose payment it is."""
MOVED_ON = "The payment has another version by now: look at its candidates again"
ONE_CURRENCY = "The item is in the payment's own currency: nothing is exchanged"
_JSON = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Across:
    """What a line settles of an item in another currency. `rate`: units of it for one of the payment's; None: the bank's own."""

    item_amount_minor: int
    rate: Decimal | None = None
    source: str = BANK_RATE


@dataclass(frozen=True, slots=True)
class Line:
    """What of a payment goes to an item: received, and what else leaves the item with it, for a reason of `DIFFERENCES`.

    `across` is for an item in another currency; such a line has no difference of its own.
    """

    item_id: UUID
    amount_minor: int
    difference_minor: int = 0
    reason: str | None = None
    across: Across | None = None


@dataclass(frozen=True, slots=True)
class SetOff:
    """What of a credit note is set off against an item beside the money: unmatching the item from the payment undoes it."""

    credit_item_id: UUID
    item_id: UUID
    amount_minor: int


async def allocate(
    conn: AsyncConnection,
    tenant_id: UUID,
    payment_id: UUID,
    lines: Sequence[Line],
    *,
    set_offs: Sequence[SetOff] = (),
    customer_id: UUID | None,
    by: str,
    now: datetime,
    rule: str = RULE,
    version: int | None = None,
) -> Payment:
    """Allocates a payment as a person says; `customer_id` names the payer where that is new. Returns the payment as it is then.

    `version` is the one that the person looked at, where that matters.

    Raises Problem: 404 for an unknown payment, item or customer, 409 where one of them has not so much, 422 for what may never meet.
    """
    key = (tenant_id, payment_id)
    await known_customer(conn, tenant_id, customer_id)
    payer = customer_id or await _debtor_across(conn, tenant_id, lines)
    items = [(tenant_id, line.item_id) for line in lines]
    items += [(tenant_id, item) for one in set_offs for item in (one.credit_item_id, one.item_id)]
    books = await lock_with_items(conn, [key], items=list(dict.fromkeys(items)), customers={key: payer})
    payment = books.payments.get(key)
    if payment is None:
        raise Problem(404, "payment-unknown", "There is no such payment")
    if version not in {None, payment.version}:
        raise Problem(409, "payment-moved-on", MOVED_ON)
    exchanges = await _exchanges(conn, books, payment, lines)
    await _alone(conn, payment, lines)
    await _set_off(conn, books, key, set_offs)
    versions = []
    for at, line in enumerate(lines):
        item = _fitting(books, payment, line, at)
        versions.append({"item_id": item.item_id, "version": item.version, "open_minor": item.open_minor})
        exchanged = exchanges.get(at)
        missing = (exchanged.item_amount_minor if exchanged else line.amount_minor + line.difference_minor) - item.open_minor
        await _owes_again(conn, books, payment, item, missing, at)
        if line.amount_minor > payment.unapplied_minor:
            raise refused(409, "payment-has-less", "The payment has less than that unapplied", f"/lines/{at}")
        held = payment.allocations.get(item.item_id)
        if exchanged is not None:
            if held is not None:
                raise refused(409, "item-has-exchange", "This payment is exchanged for the item already: unmatch it first", f"/lines/{at}")
            books.allocate_across(payment, item, rule, line.amount_minor, exchanged)
            continue
        if line.difference_minor and held is not None and held.diff_reason not in {None, line.reason}:
            raise refused(409, "difference-has-another-reason", "This payment forgives the item for another reason already", f"/lines/{at}")
        books.allocate(payment, item, rule, amount=line.amount_minor, diff=line.difference_minor, reason=line.reason)
    payer_by = None if payment.account_id is not None and customer_id is None else "items" if customer_id is None else "person"
    _attribute(books, payment, lines, customer_id)
    payment.rule = rule
    books.decided(payment, payment.unapplied_reason or "overpaid")
    await undismiss(conn, key, [line.item_id for line in lines])
    told = {"by": by, "items": versions, "payer": payment.payer_customer_id, "payer_by": payer_by}
    evidence = _JSON({**told, "allocated_minor": payment.allocated_minor})
    await save_and_publish(conn, books, now, {}, decisions=[Decided(*key, payment.version + 1, rule, evidence.decode())])
    await learn_payer(conn, tenant_id, payment_id, customer_id, by=by)  # only who was named: a debtor is not always who pays
    return payment


async def _owes_again(conn: AsyncConnection, books: Books, payment: Payment, item: Item, missing: int, at: int) -> None:
    """What a line wants beyond what is open is taken back from the item's write-offs. Raises a 409 Problem where that is less."""
    if missing > 0 and item.close_cause == "cancelled":
        raise refused(409, "item-cancelled", "The invoice was cancelled: nothing of it is owed", f"/lines/{at}")
    if missing > item.written_off_minor:
        raise refused(409, "item-has-less", "The item has less than that open", f"/lines/{at}")
    if missing > 0:
        await reverse_latest(conn, books, item, missing, payment)


async def _set_off(conn: AsyncConnection, books: Books, payment: Key, set_offs: Sequence[SetOff]) -> None:
    """Sets credit notes off. Raises a 409 Problem where one of them, or its item, has less than that."""
    made = []
    for one in set_offs:
        credit, item = books.items.get((payment[0], one.credit_item_id)), books.items.get((payment[0], one.item_id))
        if (
            credit is None
            or item is None
            or credit.account_id != item.account_id
            or books.set_off(credit, item, one.amount_minor) < one.amount_minor
        ):
            raise Problem(409, "credit-has-less", "A credit note or its item has less than that open")
        made.append((one.credit_item_id, one.item_id, one.amount_minor))
    await note_set_offs(conn, {payment: made})


async def move(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, customer_id: UUID, *, by: str, now: datetime) -> Payment:
    """Says that a payment is a customer's, and learns it: what of it is unapplied counts on his account, and is looked at again.

    That it was another's is taken back, where nothing of it is allocated that says so. Allocations stay: they are undone by themselves
    (`unmatch`). Raises Problem: 404 for an unknown payment or customer, 409 for one that was set apart, which is nobody's.
    """
    key = (tenant_id, payment_id)
    await known_customer(conn, tenant_id, customer_id)
    books = await lock_with_items(conn, [key], customers={key: customer_id})
    payment = books.payments.get(key)
    if payment is None:
        raise Problem(404, "payment-unknown", "There is no such payment")
    if payment.return_reason == NO_RECEIVABLE:
        raise Problem(409, "payment-set-apart", "The payment was set apart: nobody owed it", "Unmatch it first.")
    before = payment.payer_customer_id
    if before == customer_id:
        return payment
    evidence = _JSON({"by": by, "payer": customer_id, "payer_by": "person", "payer_before": before}).decode()
    books.attribute(payment, books.accounts[tenant_id, account_id(tenant_id, customer_id, payment.entity_id, payment.currency)])
    payment.candidate_customer_ids = None
    books.touch_payment(payment)
    decision = Decided(*key, payment.version + 1, MOVED, evidence)
    await save_and_publish(conn, books, now, {}, decisions=[decision], looks={key: machine_now() if payment.unapplied_minor else None})
    if before is not None and not payment.allocations:
        await forget_payer(conn, tenant_id, payment_id, before)
    await learn_payer(conn, tenant_id, payment_id, customer_id, by=by)
    return payment


async def known_customer(conn: AsyncConnection, tenant_id: UUID, customer_id: UUID | None, pointer: str = "/customer_id") -> None:
    """Raises a 404 Problem for a customer of whom nothing is known; `pointer` is where the body names him."""
    if customer_id is not None and not await is_known(conn, tenant_id, customer_id):
        raise refused(404, "customer-unknown", "There is no such customer", pointer)


async def _alone(conn: AsyncConnection, payment: Payment, lines: Sequence[Line]) -> None:
    new = sum(line.difference_minor for line in lines)
    given = new + sum(one.diff_minor for one in payment.allocations.values() if one.rule in BY_HAND)  # else the limit is passed in slices
    if not new:
        return
    before = await forgiven_alone(conn, payment.tenant_id, [line.item_id for line in lines if line.difference_minor], BY_HAND)
    given = max(given, *(line.difference_minor + before.get(line.item_id, 0) for line in lines))
    if given > await limit_of(conn, payment.tenant_id, payment.entity_id, payment.currency):
        raise Problem(
            403,
            "difference-above-limit",
            "One person may not give away so much",
            "the differences are above the entity's limit: allocate what was received, and have the rest written off",
        )


def _fitting(books: Books, payment: Payment, line: Line, at: int) -> Item:
    item = books.items.get((payment.tenant_id, line.item_id))
    if item is None:
        raise refused(404, "item-unknown", "There is no such item", f"/lines/{at}")
    if item.kind == "credit_note":
        raise refused(422, "item-is-credit", "A payment does not settle a credit note", f"/lines/{at}")
    if item.entity_id != payment.entity_id:
        raise refused(422, "item-elsewhere", "The item is another entity's", f"/lines/{at}")
    if (item.currency != payment.currency) != (line.across is not None):
        title = "The item is in another currency: say what of it is settled, and at which rate" if line.across is None else ONE_CURRENCY
        raise refused(422, "item-currency", title, f"/lines/{at}")
    return item


async def _debtor_across(conn: AsyncConnection, tenant_id: UUID, lines: Sequence[Line]) -> UUID | None:
    """The one debtor of lines across currencies: an account in the payment's currency is made for him where there is none."""
    if not any(line.across for line in lines):
        return None
    debtors = await debtors_of(conn, tenant_id, [line.item_id for line in lines])
    return debtors.pop() if len(debtors) == 1 else None


async def _exchanges(conn: AsyncConnection, books: Books, payment: Payment, lines: Sequence[Line]) -> dict[int, Exchange]:
    """What the lines across currencies settle, by the line's place. Raises Problem for a rate that is missing, and beyond the limit."""
    across = {at: (line, line.across) for at, line in enumerate(lines) if line.across is not None}
    if not across:
        return {}
    key = (payment.tenant_id, payment.payment_id)
    told = (await instructed(conn, [key])).get(key)
    found: dict[int, Exchange] = {}
    gained: Counter[str] = Counter()
    before: Counter[str] = Counter()
    for one in payment.allocations.values():
        if one.exchange is not None and one.rule in BY_HAND:
            before[books.items[payment.tenant_id, one.item_id].currency] += abs(one.exchange.difference_minor)
    for at, (line, wanted) in across.items():
        item = _fitting(books, payment, line, at)
        rate = wanted.rate
        if rate is None:
            if told is None or told[0] != item.currency:
                raise refused(
                    422, "rate-missing", "The bank said no amount in the item's currency: give a rate and its source", f"/lines/{at}"
                )
            rate = implied(payment.amount_minor, payment.currency, told[1], item.currency)
        try:
            found[at] = exchange(line.amount_minor, payment.currency, wanted.item_amount_minor, item.currency, rate, wanted.source)
        except ValueError as error:
            raise refused(422, "rate-invalid", str(error), f"/lines/{at}") from None
        gained[item.currency] += abs(found[at].difference_minor)
    alone = await forgiven_alone(conn, payment.tenant_id, [line.item_id for line, _ in across.values()], BY_HAND)
    for at, (line, _) in across.items():  # by whichever payment: else it is passed in slices
        currency, given = books.items[payment.tenant_id, line.item_id].currency, abs(found[at].difference_minor)
        most = max(gained[currency] + before[currency], given + alone.get(line.item_id, 0))
        if given and most > await limit_of(conn, payment.tenant_id, payment.entity_id, currency):
            raise Problem(
                403,
                "difference-above-limit",
                "One person may not give away so much",
                f"at this rate {given} minor units of {currency} are gained or lost, which is above the limit with what was given before",
            )
    return found


def _attribute(books: Books, payment: Payment, lines: Sequence[Line], customer_id: UUID | None) -> None:
    """The payer: who was named, or else, where nobody is known yet, the one debtor of the lines."""
    tenant = payment.tenant_id
    if customer_id is None and payment.account_id is None:
        debtors = {books.items[tenant, line.item_id].customer_id for line in lines}
        customer_id = debtors.pop() if len(debtors) == 1 else None
    if customer_id is not None:
        account = books.accounts.get((tenant, account_id(tenant, customer_id, payment.entity_id, payment.currency)))
        if account is not None:
            books.attribute(payment, account)
            payment.candidate_customer_ids = None
