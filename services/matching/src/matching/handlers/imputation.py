"""Legal imputation: a payment that names nothing settles what the debtor owes in the order of the law of the debtor's country.

Rules:
- the debtor's choice comes first: what names an item, or fits one or a set exactly, never comes here by itself;
- only a known payer's own open items of the payment's entity and currency, without what is disputed or was undone by a person;
- what the law of a country is, is known or refused (`matching.domain.imputation`);
- a person asks for it, or the entity has it done by itself after a number of days without any better knowledge.
"""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import msgspec
from shared.aliases import stands_for
from shared.days import business_day
from shared.jobs import JobContext
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key, Payment
from matching.domain.imputation import LAWS, Debt, UnknownLawError, debts_of, impute
from matching.handlers.allocations import known_customer
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.handlers.refusals import refused
from matching.storage import imputation as stored
from matching.storage.account_balances import account_id
from matching.storage.books import Decided
from matching.storage.parties import learn_payer
from matching.storage.payments import place_of

RULE = "imputation"
SLICE = 200
_JSON = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Imputed:
    """What the law makes of a payment: the payment, by which law, and what goes to which debt, in the order of payment."""

    payment: Payment
    country: str
    law: str
    interest_first: bool
    parts: list[tuple[Debt, int]]


async def propose(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, *, customer_id: UUID | None) -> Imputed:
    """What the law would make of a payment. Nothing is changed. Raises Problem as `carry_out`."""
    _, imputed = await _imputed(conn, (tenant_id, payment_id), customer_id)
    return imputed


async def carry_out(
    conn: AsyncConnection,
    tenant_id: UUID,
    payment_id: UUID,
    *,
    customer_id: UUID | None,
    by: str,
    now: datetime,
    version: int | None = None,
) -> Payment:
    """Allocates what is unapplied of a payment as the law says; `customer_id` names the payer where nobody is known yet.

    Raises Problem: 404 for an unknown payment or customer; 409 where nothing is unapplied, nobody is known to have paid, or another
    customer, nothing is owed, or the payment is not the `version` that the person looked at; 422 where the debtor's country or its law is
    not known.
    """
    key = (tenant_id, payment_id)
    books, imputed = await _imputed(conn, key, customer_id)
    payment = imputed.payment
    if version not in {None, payment.version}:
        raise Problem(409, "payment-moved-on", "The payment has another version by now: look at it again")
    versions = {item_id: item.version for (_, item_id), item in books.items.items()}
    for debt, part in imputed.parts:
        books.allocate(payment, books.items[tenant_id, debt.item_id], RULE, amount=part)
    payment.rule = RULE
    payment.candidate_customer_ids = None
    books.decided(payment, "overpaid")
    evidence = _JSON(
        {
            "by": by,
            "law": imputed.law,
            "country": imputed.country,
            "interest_first": imputed.interest_first,
            "on": payment.value_date,
            "payer": payment.payer_customer_id,
            "payer_by": None if customer_id is None else "person",
            "items": [
                {
                    "item_id": debt.item_id,
                    "version": versions[debt.item_id],
                    "kind": debt.kind,
                    "due_date": debt.due_date,
                    "open_minor": debt.open_minor,
                    "amount_minor": part,
                }
                for debt, part in imputed.parts
            ],
            "allocated_minor": payment.allocated_minor,
        }
    )
    await save_and_publish(conn, books, now, {}, decisions=[Decided(*key, payment.version + 1, RULE, evidence.decode())])
    await learn_payer(conn, tenant_id, payment_id, customer_id, by=by)
    return payment


async def impute_waiting(context: JobContext, tenant_id: UUID) -> None:
    """Job: booked money of a known payer that names nothing, after the days that its entity has set; a payment a commit."""
    last, today = (date.min, UUID(int=0)), business_day(context.now)
    while True:
        async with context.database.transaction(tenant_id) as conn:
            waiting = await stored.waiting(conn, tenant_id, LAWS, today, after=last, limit=SLICE)
        for _, payment_id in waiting:
            async with context.database.transaction(tenant_id) as conn:
                try:
                    await carry_out(conn, tenant_id, payment_id, customer_id=None, by="imputation", now=context.now)
                except Problem as problem:
                    if problem.status != 409:  # noqa: PLR2004 - it was decided on, or its debts were paid, since it was looked for
                        raise
        if len(waiting) < SLICE:
            return
        last = waiting[-1]


async def _imputed(conn: AsyncConnection, key: Key, customer_id: UUID | None) -> tuple[Books, Imputed]:
    """The payment and its payer's open items, locked, and what the law makes of them."""
    tenant_id, payment_id = key
    await known_customer(conn, tenant_id, customer_id)
    seen = await place_of(conn, tenant_id, payment_id)
    if seen is None:
        raise Problem(404, "payment-unknown", "There is no such payment")
    named = await stands_for(conn, tenant_id, customer_id) if customer_id else None
    account = seen.account_id or (account_id(tenant_id, named, seen.entity_id, seen.currency) if named else None)
    owed = await stored.owed(conn, key, account) if account else []
    payer = named if seen.account_id is None else None
    books = await lock_with_items(conn, [key], items=[(tenant_id, item_id) for item_id in owed], customers={key: payer})
    payment = books.payments[key]
    if payment.account_id is None and account is not None:
        books.attribute(payment, books.accounts[tenant_id, account])
    if not payment.unapplied_minor:
        raise Problem(409, "nothing-unapplied", "Nothing of the payment is unapplied")
    if payment.payer_customer_id is None:
        raise Problem(409, "payer-unknown", "Nobody is known to have paid: name the customer")
    if named not in {None, payment.payer_customer_id}:
        raise refused(409, "payer-is-another", "The payment is another customer's: move it first, where that is wrong", "/customer_id")
    country = await stored.country_of(conn, tenant_id, payment.payer_customer_id)
    if country is None:
        raise Problem(422, "country-unknown", "The debtor's country is not known, and with it the law: choose the items")
    setting = await stored.setting_of(conn, tenant_id, seen.entity_id)
    mine = [item for (_, item_id), item in books.items.items() if item_id in owed and item.account_id == payment.account_id]
    mine.sort(key=lambda item: (item.due_date, item.issue_date, item.invoice_number, item.item_id.int))
    debts = [debt for item in mine for debt in debts_of(item)]
    if not debts:
        raise Problem(409, "nothing-owed", "The payer owes nothing that is undisputed in this entity and currency")
    try:
        parts = impute(payment.unapplied_minor, debts, country, payment.value_date, interest_first=setting.interest_first)
    except UnknownLawError as error:
        raise Problem(422, "law-unknown", "The order that this country's law sets is not known", str(error)) from None
    return books, Imputed(payment, country, LAWS[country], setting.interest_first, parts)
