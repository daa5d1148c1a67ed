"""Loading and saving the rows of a sub-ledger transaction.

Invariants: rows are locked in the fixed order payment, item, account, each by (tenant, id); payments and items are written over the
version that was read and no other, whether it was locked since or not (`save`); accounts are added to at the transaction's very end
(`account_balances`); every touched aggregate's version goes up by one, once; one statement writes payments and items with what
belongs to them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared.db import records, run
from shared.failures import UnavailableError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Item, Key, Payment
from matching.storage.account_balances import NewAccount, make_accounts, name_accounts
from matching.storage.allocations import change_allocations, load_allocations
from matching.storage.items import insert_items
from matching.storage.rows import LOCK, by_keys, from_lists, keys, literal, texts

ITEM = (
    "tenant_id, item_id, version, invoice_version, entity_id, account_id, customer_id, kind, currency, source_system, invoice_number, "
    "issue_date, due_date, instalment_dues, instalment_amounts, credited_item_id, original_minor, open_minor, cash_minor, discount_minor, "
    "credit_minor, charges_minor, withheld_minor, set_off_minor, written_off_minor, contested_minor, status, close_cause, value_date"
)
PAYMENT = (
    "tenant_id, payment_id, version, bank_account_id, entity_id, currency, amount_minor, allocated_minor, unapplied_minor, returned_minor, "
    "refunded_minor, booking_date, value_date, confirmation, source, status, virtual_iban_id, payer_customer_id, account_id, rule, "
    "unapplied_reason, candidate_customer_ids, return_reason, looks, refund_pending_minor, withdrawn_minor"
)
LOCK_PAYMENTS = LOCK.format(columns=PAYMENT, table="payment", id="payment_id")
LOCK_ITEMS = LOCK.format(columns=ITEM, table="open_item", id="item_id")
DUE = "SELECT tenant_id, payment_id FROM payment WHERE tenant_id = :tenant AND next_look_at <= :now ORDER BY next_look_at LIMIT 1000"
"""Payments that are to be looked at again by now. To be asked after `by_key`."""
LOOK_DUE = "EXISTS (SELECT 1 FROM payment WHERE tenant_id = t.tenant_id AND next_look_at <= :machine)"
"""For `Job.due`."""


AS_IT_WAS: Literal["-infinity"] = "-infinity"
Look = datetime | Literal["-infinity"] | None
"""When a payment is to be looked at again (machine clock): never, or as it was to be before."""


class Open(NamedTuple):
    """What of the transaction's tenants waits for something to come, so that nobody asks again where nothing does."""

    payments_expected: bool
    invoices_instructed: bool
    payment_clues: bool


def _any(table: str, where: str = "") -> str:
    """Whether one of the tenants has a row, found by an index a tenant: row-level security alone would read what others have first."""
    return f"EXISTS (SELECT 1 FROM k CROSS JOIN LATERAL (SELECT 1 FROM {table} WHERE tenant_id = k.tenant_id{where} LIMIT 1) x)"  # noqa: S608 - our own names


_BY_KEY = (
    "WITH k AS MATERIALIZED (SELECT unnest(CAST(:tenants AS uuid[])) AS tenant_id) "
    "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), "
    "set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('plan_cache_mode', 'force_generic_plan', true), "
    + ", ".join(
        (_any("expected_payment", " AND status IN ('waiting', 'partly', 'expired')"), _any("payment_instruction"), _any("payment_clue"))
    )
)


async def by_key(conn: AsyncConnection, tenants: Iterable[UUID]) -> Open:
    """For this transaction: look rows up by key, whatever the planner believes of tables that it has no statistics of yet.

    Returns what else is to be asked of the tenants in this transaction.

    A batch's statements join a thousand keys with large tables; a plan made while those were small would read them whole.
    """
    rows = await records(conn, _BY_KEY, tenants=sorted(set(tenants)))
    return Open(*rows[0][5:])


async def lock(
    conn: AsyncConnection,
    *,
    accounts: Iterable[Key] = (),
    new_accounts: Sequence[NewAccount] = (),
    payments: Iterable[Key] = (),
    items: Iterable[Key] = (),
    read: Books | None = None,
) -> Books:
    """The named payments and items, locked, and accounts, which are not. `new_accounts` are made where missing.

    They join the payments and items that were `read` without a lock. All payments come with their allocations. Ids that are not there
    are left out.
    """
    books = read or Books()
    if listed := list(payments):
        books.payments |= {(row[0], row[1]): Payment(*row) for row in await records(conn, LOCK_PAYMENTS, **keys(listed))}
    await load_allocations(conn, books, [key for key, payment in books.payments.items() if payment.allocated_minor])
    if new_accounts:
        await make_accounts(conn, new_accounts)
    if wanted := dict.fromkeys(items):
        for row in await records(conn, LOCK_ITEMS, **keys(wanted)):
            books.items[row[0], row[1]] = Item(*row)
    await name_accounts(conn, books, accounts, new_accounts)
    return books


class ChangedError(UnavailableError):
    """Rows that were read without a lock have changed since: nothing was written, and what was to be decided is decided again."""


class Decided(NamedTuple):
    """A decision on a payment, at its new version. `evidence` and the engine's `inputs` are JSON; `named` are customers named in these."""

    tenant_id: UUID
    payment_id: UUID
    version: int
    rule: str
    evidence: str
    inputs: str | None = None
    named: Sequence[UUID] = ()


_P = {
    "tenant": "uuid",
    "id": "uuid",
    "version": "bigint",
    "allocated": "bigint",
    "unapplied": "bigint",
    "returned": "bigint",
    "refunded": "bigint",
    "refund_pending": "bigint",
    "withdrawn": "bigint",
    "status": "text",
    "payer": "uuid",
    "account": "uuid",
    "rule": "text",
    "reason": "text",
    "looks": "smallint",
    "next": "timestamptz",
    "confirmation": "text",
}
_I = {
    "tenant": "uuid",
    "id": "uuid",
    "version": "bigint",
    "original": "bigint",
    "open": "bigint",
    "cash": "bigint",
    "discount": "bigint",
    "credit": "bigint",
    "charges": "bigint",
    "withheld": "bigint",
    "set_off": "bigint",
    "written_off": "bigint",
    "contested": "bigint",
    "status": "text",
    "cause": "text",
    "value_date": "date",
    "account": "uuid",
    "customer": "uuid",
    "invoice_version": "bigint",
}
_A = {"tenant": "uuid", "payment": "uuid", "item": "uuid", "amount": "bigint", "rule": "text", "diff": "bigint", "reason": "text"}
_D = {"tenant": "uuid", "payment": "uuid", "version": "bigint", "rule": "text"}
_L = {
    "tenant": "uuid",
    "entity": "uuid",
    "currency": "text",
    "debit": "text",
    "credit": "text",
    "amount": "bigint",
    "payment": "uuid",
    "item": "uuid",
}


SAVE = f"""
WITH p AS (
  UPDATE payment SET version = t.version, allocated_minor = t.allocated, unapplied_minor = t.unapplied, returned_minor = t.returned,
    refunded_minor = t.refunded, refund_pending_minor = t.refund_pending, withdrawn_minor = t.withdrawn,
    status = t.status, payer_customer_id = t.payer, account_id = t.account, rule = t.rule, unapplied_reason = t.reason,
    return_reason = t.return, candidate_customer_ids = CAST(t.candidates AS uuid[]), looks = t.looks,
    next_look_at = CASE WHEN CAST(:keep_looks AS bool) OR t.next = '{AS_IT_WAS}' THEN payment.next_look_at ELSE t.next END,
    confirmation = t.confirmation
  {by_keys(from_lists("p", _P, "candidates", "return"), "p_id", "payment", "payment_id")} AND payment.version = t.version - 1 RETURNING 1
), i AS (
  UPDATE open_item SET version = t.version, original_minor = t.original, open_minor = t.open, cash_minor = t.cash,
    discount_minor = t.discount, credit_minor = t.credit, charges_minor = t.charges, withheld_minor = t.withheld,
    set_off_minor = t.set_off, written_off_minor = t.written_off, contested_minor = t.contested, status = t.status,
    close_cause = t.cause, value_date = t.value_date, account_id = t.account, customer_id = t.customer, invoice_version = t.invoice_version
  {by_keys(from_lists("i", _I), "i_id", "open_item", "item_id")} AND open_item.version = t.version - 1 RETURNING 1
), written AS (
  SELECT (SELECT count(*) FROM p) = cardinality(CAST(:p_id AS uuid[]))
    AND (SELECT count(*) FROM i) = cardinality(CAST(:i_id AS uuid[])) AS whole
), a AS (
  INSERT INTO allocation (tenant_id, payment_id, item_id, amount_minor, rule, diff_minor, diff_reason)
  SELECT t.* FROM {from_lists("a", _A)} WHERE (SELECT whole FROM written)
), d AS (
  INSERT INTO decision (tenant_id, payment_id, payment_version, rule, evidence, decided_at, inputs, named_customers)
  SELECT tenant, payment, version, rule, CAST(evidence AS jsonb), CAST(:now AS timestamptz), CAST(inputs AS jsonb), CAST(named AS uuid[])
  FROM {from_lists("d", _D, "evidence", "inputs", "named")} WHERE (SELECT whole FROM written)
), l AS (
  INSERT INTO ledger_entry (tenant_id, entity_id, currency, debit, credit, amount_minor, payment_id, item_id, at)
  SELECT t.*, CAST(:now AS timestamptz) FROM {from_lists("l", _L)} WHERE (SELECT whole FROM written)
)
SELECT whole FROM written
"""  # noqa: S608 - our own names


async def save(
    conn: AsyncConnection,
    books: Books,
    now: datetime,
    *,
    decisions: Sequence[Decided] = (),
    looks: Mapping[Key, Look] | None = None,
    keep_looks: bool = False,
) -> None:
    """Writes what was done to the books and raises the versions of everything touched, in memory too, but for payments just `booked`.

    `now` is the business moment of the entries. `looks` says when a payment is to be looked at again (machine clock). Raises ChangedError
    where a payment or item is no longer at the version that was read.
    """
    if not (books.acts or books.items_before or books.entries):
        return
    looks = looks or {}
    payments = [books.payments[key] for key in books.acts if key not in books.booked]
    items = [books.items[key] for key, before in books.items_before.items() if before is not None]
    new = [books.items[key] for key, before in books.items_before.items() if before is None]
    touched: tuple[Payment | Item, ...] = (*payments, *items, *new)
    for row in touched:
        row.version += 1
    if new:
        await insert_items(conn, new)
    stored = books.stored
    allocated = [(key, held) for key, held in books.changed_allocations.items() if held is not None and not (stored and key in stored)]
    entries = books.entries
    await change_allocations(conn, books)
    ((whole,),) = await records(
        conn,
        SAVE,
        now=now,
        keep_looks=keep_looks,
        p_tenant=[p.tenant_id for p in payments],
        p_id=[p.payment_id for p in payments],
        p_version=literal([p.version for p in payments]),
        p_allocated=literal([p.allocated_minor for p in payments]),
        p_unapplied=literal([p.unapplied_minor for p in payments]),
        p_returned=literal([p.returned_minor for p in payments]),
        p_refunded=literal([p.refunded_minor for p in payments]),
        p_refund_pending=literal([p.refund_pending_minor for p in payments]),
        p_withdrawn=literal([p.withdrawn_minor for p in payments]),
        p_status=literal([p.status for p in payments]),
        p_payer=[p.payer_customer_id for p in payments],
        p_account=[p.account_id for p in payments],
        p_rule=literal([p.rule for p in payments]),
        p_reason=literal([p.unapplied_reason for p in payments]),
        p_return=texts(p.return_reason for p in payments),
        p_candidates=texts(literal(p.candidate_customer_ids) if p.candidate_customer_ids is not None else None for p in payments),
        p_looks=literal([p.looks for p in payments]),
        p_next=literal([looks.get((p.tenant_id, p.payment_id)) for p in payments]),
        p_confirmation=literal([p.confirmation for p in payments]),
        i_tenant=[i.tenant_id for i in items],
        i_id=[i.item_id for i in items],
        i_version=literal([i.version for i in items]),
        i_original=literal([i.original_minor for i in items]),
        i_open=literal([i.open_minor for i in items]),
        i_cash=literal([i.cash_minor for i in items]),
        i_discount=literal([i.discount_minor for i in items]),
        i_credit=literal([i.credit_minor for i in items]),
        i_charges=literal([i.charges_minor for i in items]),
        i_withheld=literal([i.withheld_minor for i in items]),
        i_set_off=literal([i.set_off_minor for i in items]),
        i_written_off=literal([i.written_off_minor for i in items]),
        i_contested=literal([i.contested_minor for i in items]),
        i_status=literal([i.status for i in items]),
        i_cause=literal([i.close_cause for i in items]),
        i_value_date=literal([i.value_date for i in items]),
        i_account=[i.account_id for i in items],
        i_customer=[i.customer_id for i in items],
        i_invoice_version=literal([i.invoice_version for i in items]),
        a_tenant=[key[0] for key, _ in allocated],
        a_payment=[key[1] for key, _ in allocated],
        a_item=[key[2] for key, _ in allocated],
        a_amount=literal([held.amount_minor for _, held in allocated]),
        a_rule=literal([held.rule for _, held in allocated]),
        a_diff=literal([held.diff_minor for _, held in allocated]),
        a_reason=literal([held.diff_reason for _, held in allocated]),
        d_tenant=[d[0] for d in decisions],
        d_payment=[d[1] for d in decisions],
        d_version=literal([d[2] for d in decisions]),
        d_rule=literal([d[3] for d in decisions]),
        d_evidence=texts(d[4] for d in decisions),
        d_inputs=texts(d.inputs for d in decisions),
        d_named=texts(literal(d.named) if d.inputs else None for d in decisions),
        l_tenant=[e.tenant_id for e in entries],
        l_entity=[e.entity_id for e in entries],
        l_currency=literal([e.currency for e in entries]),
        l_debit=literal([e.debit for e in entries]),
        l_credit=literal([e.credit for e in entries]),
        l_amount=literal([e.amount_minor for e in entries]),
        l_payment=[e.payment_id for e in entries],
        l_item=[e.item_id for e in entries],
    )
    if not whole:
        raise ChangedError("a payment or an item was changed at the same moment")
    stored.update([key for key, _ in allocated])


_LOOKS = (
    "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:looks AS smallint[]), CAST(:next AS timestamptz[])) "
    "AS t(tenant, id, looks, next_look)"
)
_LOOK_AGAIN = (
    f"UPDATE payment SET looks = t.looks, next_look_at = t.next_look {by_keys(_LOOKS, 'ids', 'payment', 'payment_id')} "  # noqa: S608 - our own names
    "AND payment.status IN ('received', 'unapplied', 'partly_matched')"
)


async def look_again(conn: AsyncConnection, looks: Mapping[Key, tuple[int, Look]]) -> None:
    """Notes, for payments about which nothing else changed, how often they were looked at and when again, unless that is as it was.

    One that was read without a lock may be settled by now: it is not to be looked at any more, and no look would say so.
    """
    noted = {key: look for key, look in looks.items() if look[1] != AS_IT_WAS}
    if noted:
        await run(
            conn,
            _LOOK_AGAIN,
            **keys(noted),
            looks=[count for count, _ in noted.values()],
            next=[at for _, at in noted.values()],
        )
