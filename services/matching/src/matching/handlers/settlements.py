"""Items settled beside the bank, with proof: netted with what we owe the customer elsewhere, or paid in cash.

Rules:
- up to the entity's limit one person books it, above it another one approves; nothing changes before;
- one proof settles once per entity and kind;
- cash is a payment (source `cash`, on the entity's cash desk), allocated to the lines; netting is no payment: it closes items;
- reversed, everything is as before. Rows are locked after the payment's and the items'.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from contracts.payments import PaymentReceived
from shared.clock import machine_now
from shared.db import run
from shared.ids import named_id, new_id
from shared.outbox import Outgoing, publish
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Payment
from matching.handlers import allocations
from matching.handlers.limits import limit_of, second_person
from matching.handlers.payments import lock_items, lock_with_items, take_off
from matching.handlers.publishing import payment_event, save_and_publish
from matching.handlers.refusals import refused
from matching.storage.rows import fetch

RULE = "settlement"


@dataclass(slots=True)
class Settlement:
    """A settlement as it stands. `lines`: (item, minor units)."""

    settlement_id: UUID
    entity_id: UUID
    customer_id: UUID
    kind: str
    currency: str
    amount_minor: int
    lines: list[tuple[UUID, int]]
    proof_reference: str
    proof_sha256: str | None
    value_date: date
    status: str
    payment_id: UUID | None
    requested_by: str
    decided_by: str | None
    requested_at: datetime
    decided_at: datetime | None


COLUMNS = (
    "settlement_id, entity_id, customer_id, kind, currency, amount_minor, CAST(lines AS text), proof_reference, proof_sha256, value_date, "
    "status, payment_id, requested_by, decided_by, requested_at, decided_at"
)


async def request(conn: AsyncConnection, tenant_id: UUID, given: Settlement, *, now: datetime) -> Settlement:
    """Takes a settlement in, and books it where one person may. Raises a 409 Problem for a proof that has settled already."""
    given.settlement_id = new_id()
    stored = await run(
        conn,
        "INSERT INTO settlement (tenant_id, settlement_id, entity_id, customer_id, kind, currency, amount_minor, lines, proof_reference, "
        "proof_sha256, value_date, status, requested_by, requested_at) "
        "VALUES (:tenant, :id, :entity, :customer, :kind, :currency, :amount, "
        "CAST(:lines AS jsonb), :proof, :sha256, :value_date, 'requested', :by, :now) ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        id=given.settlement_id,
        entity=given.entity_id,
        customer=given.customer_id,
        kind=given.kind,
        currency=given.currency,
        amount=given.amount_minor,
        lines=json.dumps([{"item_id": str(item), "amount_minor": amount} for item, amount in given.lines]),
        proof=given.proof_reference,
        sha256=given.proof_sha256,
        value_date=given.value_date,
        by=given.requested_by,
        now=now,
    )
    if not stored:
        raise refused(409, "proof-used", "This proof has settled something of the entity already", "/proof/reference")
    await _fitting(conn, tenant_id, given)
    if given.amount_minor <= await limit_of(conn, tenant_id, given.entity_id, given.currency):
        await _book(conn, tenant_id, given, by=given.requested_by, now=now)
    return given


async def decide(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, approve: bool, by: str, now: datetime) -> Settlement:
    """Another person books a requested settlement, or anybody refuses it."""
    given = await _locked(conn, tenant_id, settlement_id)
    if given.status != "requested":
        raise Problem(409, "settlement-decided", "The settlement is decided already")
    if approve:
        second_person(given.requested_by, by)
        await _book(conn, tenant_id, given, by=by, now=now)
    else:
        await _set(conn, tenant_id, given, "refused", by=by, now=now)
    return given


async def reverse(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID, *, by: str, now: datetime) -> Settlement:
    """A booked settlement is taken back: its items owe again, cash is given back."""
    given = await _locked(conn, tenant_id, settlement_id)
    if given.status != "booked":
        raise Problem(409, "settlement-not-booked", "The settlement is not booked, or reversed already")
    if given.payment_id is None:
        books = await lock_items(conn, [(tenant_id, item) for item, _ in given.lines])
        if any(item.close_cause == "cancelled" for item in books.items.values()):
            raise Problem(409, "item-cancelled", "An invoice of it was cancelled: nothing of it is owed")
        for item_id, amount in given.lines:
            books.undo_net(books.items[tenant_id, item_id], amount)
    else:
        books = await lock_with_items(conn, [(tenant_id, given.payment_id)])
        payment = books.payments[tenant_id, given.payment_id]
        await take_off(conn, books, payment)
        books.give_back(payment, "cash_given_back", ledger="cash")
    await _set(conn, tenant_id, given, "reversed", by=by, now=now)
    await save_and_publish(conn, books, now, {})
    return given


async def _fitting(conn: AsyncConnection, tenant_id: UUID, given: Settlement) -> Books:
    """The items of a settlement, locked. Raises a Problem for a line that no approval could book."""
    books = await lock_items(conn, [(tenant_id, item) for item, _ in given.lines])
    for at, (item_id, amount) in enumerate(given.lines):
        item = books.items.get((tenant_id, item_id))
        if item is None:
            raise refused(404, "item-unknown", "There is no such item", f"/lines/{at}")
        if (item.entity_id, item.currency) != (given.entity_id, given.currency) or item.kind == "credit_note":
            raise refused(422, "item-elsewhere", "The item is another entity's, in another currency, or a credit note", f"/lines/{at}")
        if item.customer_id != given.customer_id:
            raise refused(422, "item-is-anothers", "The item is another customer's", f"/lines/{at}")
        if amount > item.open_minor:
            raise refused(409, "item-has-less", "The item has less than that open", f"/lines/{at}")
    return books


async def _book(conn: AsyncConnection, tenant_id: UUID, given: Settlement, *, by: str, now: datetime) -> None:
    books = await _fitting(conn, tenant_id, given)
    if given.kind == "netting":
        for item_id, amount in given.lines:
            books.net(books.items[tenant_id, item_id], amount)
        await save_and_publish(conn, books, now, {})
    else:
        given.payment_id = await _cash(conn, tenant_id, given, now)
        lines = [allocations.Line(item, amount) for item, amount in given.lines]
        await allocations.allocate(conn, tenant_id, given.payment_id, lines, customer_id=given.customer_id, by=by, now=now, rule=RULE)
    await _set(conn, tenant_id, given, "booked", by=by, now=now)


async def _cash(conn: AsyncConnection, tenant_id: UUID, given: Settlement, now: datetime) -> UUID:
    """The payment that cash is: received on the entity's cash desk, which is no bank account."""
    payment = Payment(
        tenant_id=tenant_id,
        payment_id=named_id("payment", tenant_id, "cash", given.settlement_id),
        version=1,
        bank_account_id=named_id("cash_desk", tenant_id, given.entity_id, given.currency),
        entity_id=given.entity_id,
        currency=given.currency,
        amount_minor=given.amount_minor,
        allocated_minor=0,
        unapplied_minor=given.amount_minor,
        returned_minor=0,
        refunded_minor=0,
        booking_date=given.value_date,
        value_date=given.value_date,
        confirmation="booked",
        source="cash",
        status="received",
        virtual_iban_id=None,
        payer_customer_id=None,
        account_id=None,
        rule=None,
        unapplied_reason=None,
        candidate_customer_ids=None,
        return_reason=None,
        looks=0,
    )
    await run(
        conn,
        "WITH new AS (INSERT INTO payment (tenant_id, payment_id, version, bank_account_id, entity_id, transaction_key, currency, "
        "amount_minor, unapplied_minor, booking_date, value_date, confirmation, source, status, remittance, received_at) VALUES (:tenant, "
        ":id, 1, :account, :entity, :key, :currency, :amount, :amount, :day, :day, 'booked', 'cash', 'received', '{}', :at) "
        "RETURNING tenant_id, entity_id, currency, amount_minor, payment_id) "
        "INSERT INTO ledger_entry (tenant_id, entity_id, currency, debit, credit, amount_minor, payment_id, at) "
        "SELECT tenant_id, entity_id, currency, 'cash', 'unapplied', amount_minor, payment_id, :now FROM new",
        tenant=tenant_id,
        id=payment.payment_id,
        account=payment.bank_account_id,
        entity=payment.entity_id,
        key=f"cash:{given.settlement_id}",
        currency=payment.currency,
        amount=payment.amount_minor,
        day=given.value_date,
        at=machine_now(),
        now=now,
    )
    await publish(conn, [Outgoing(tenant_id, payment_event(PaymentReceived, payment), payment.entity_id)])
    return payment.payment_id


async def _locked(conn: AsyncConnection, tenant_id: UUID, settlement_id: UUID) -> Settlement:
    """A settlement with the items and the payment that it is about: those are locked before it."""
    query = f"SELECT {COLUMNS} FROM settlement WHERE tenant_id = :tenant AND settlement_id = :id"  # noqa: S608 - ours
    rows = await fetch(conn, query, tenant=tenant_id, id=settlement_id)
    if not rows:
        raise Problem(404, "settlement-unknown", "There is no such settlement")
    first = _settlement(rows[0])
    items = [(tenant_id, item) for item, _ in first.lines]
    await lock_with_items(conn, [(tenant_id, first.payment_id)] if first.payment_id else [], items=items)
    return _settlement((await fetch(conn, query + " FOR UPDATE", tenant=tenant_id, id=settlement_id))[0])


def _settlement(row: tuple[object, ...]) -> Settlement:
    given = Settlement(*row)  # type: ignore[arg-type] # the query names its columns
    given.lines = [(UUID(line["item_id"]), line["amount_minor"]) for line in json.loads(str(row[6]))]
    return given


async def _set(conn: AsyncConnection, tenant_id: UUID, given: Settlement, status: str, *, by: str, now: datetime) -> None:
    given.status, given.decided_by, given.decided_at = status, by, now
    await run(
        conn,
        "UPDATE settlement SET status = :status, decided_by = :by, decided_at = :now, payment_id = :payment "
        "WHERE tenant_id = :tenant AND settlement_id = :id",
        tenant=tenant_id,
        id=given.settlement_id,
        status=status,
        payment=given.payment_id,
        by=by,
        now=now,
    )
