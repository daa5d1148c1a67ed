"""Movements on our accounts that are no payments, the payments that they name, and batch totals with their details."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction
from matching.storage.bank import BankAccount, account, hold_account
from matching.storage.rows import fetch

_OF_ACCOUNT = (
    "m.bank_account_id, a.number AS account, a.iban, m.amount_minor, a.currency, m.booking_date, m.bank_reference AS reference, "
    "m.end_to_end_id, m.received_at FROM movement m JOIN bank_account a USING (tenant_id, bank_account_id) "
    "WHERE m.tenant_id = :tenant AND NOT m.resolved AND (CAST(:bank_account_id AS uuid) IS NULL OR m.bank_account_id = :bank_account_id)"
)
TOTALS = f"SELECT m.movement_id AS at, m.movement_id AS batch_total_id, {_OF_ACCOUNT} AND m.kind = 'total'"
UNEXPLAINED = f"SELECT m.movement_id AS at, m.movement_id, m.kind, {_OF_ACCOUNT} AND m.kind <> 'total'"


async def insert(conn: AsyncConnection, held: BankAccount, rows: Sequence[tuple[UUID, Transaction, bool]], *, at: datetime) -> None:
    """Stores movements that are no payments (id, transaction, resolved), so that every entry of a balance is accounted for.

    A total is stored under the reference that its details have too. `at` is the machine's clock.
    """
    await run(
        conn,
        "INSERT INTO movement (tenant_id, movement_id, bank_account_id, kind, amount_minor, booking_date, "
        "bank_reference, end_to_end_id, transaction_id, return_reason, resolved, received_at) "
        "SELECT :tenant, id, :account, kind, amount, booking, ref, e2e, tx, reason, resolved, :at "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:amounts AS bigint[]), CAST(:bookings AS date[]), "
        "CAST(:refs AS text[]), CAST(:e2es AS text[]), CAST(:txs AS text[]), CAST(:reasons AS text[]), CAST(:resolveds AS bool[])) "
        "AS t(id, kind, amount, booking, ref, e2e, tx, reason, resolved) ON CONFLICT DO NOTHING",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        at=at,
        ids=[row[0] for row in rows],
        kinds=[row[1].kind for row in rows],
        amounts=[row[1].signed_minor for row in rows],
        bookings=[row[1].day for row in rows],
        refs=[row[1].entry_reference if row[1].kind == "total" else row[1].bank_reference for row in rows],
        e2es=[row[1].end_to_end_id for row in rows],
        txs=[row[1].transaction_id for row in rows],
        reasons=[row[1].return_reason for row in rows],
        resolveds=[row[2] for row in rows],
    )


_PAYMENTS_BY = (
    "SELECT r.at, p.payment_id, {rank} AS rank FROM r CROSS JOIN LATERAL (SELECT payment_id FROM payment "
    "WHERE tenant_id = (SELECT CAST(:tenant AS uuid)) AND bank_account_id = (SELECT CAST(:account AS uuid)) "
    "AND {column} = r.{value} OFFSET 0) AS p"
)
# a look by its whole key each: an OR, or a join, would compare every movement with every payment of the account, and so would the plan
# for an account that the statistics do not know yet (hence the selects)
NAMED = (
    "WITH r AS (SELECT * FROM unnest(CAST(:ats AS int[]), CAST(:amounts AS bigint[]), CAST(:refs AS text[]), CAST(:txs AS text[]), "  # noqa: S608 - ours
    "CAST(:e2es AS text[])) AS t(at, amount, ref, tx, e2e)), known AS ("
    + " UNION ALL ".join(
        _PAYMENTS_BY.format(rank=rank, column=column, value=value)
        for rank, column, value in ((0, "bank_reference", "ref"), (0, "transaction_id", "tx"), (1, "end_to_end_id", "e2e"))
    )
    + "), named AS (SELECT DISTINCT at, payment_id FROM (SELECT *, min(rank) OVER (PARTITION BY at) AS best FROM known) k "
    "WHERE rank = best) "
)
"""The payments that movements name, by the bank's reference or TxId, else by EndToEndId, which payers use again."""


def _names(held: BankAccount, moved: Sequence[Transaction]) -> dict[str, object]:
    return {
        "tenant": held.tenant_id,
        "account": held.bank_account_id,
        "ats": list(range(len(moved))),
        "amounts": [one.amount_minor for one in moved],
        "refs": [one.bank_reference for one in moved],
        "txs": [one.transaction_id for one in moved],
        "e2es": [one.end_to_end_id for one in moved],
    }


_WAITING = (
    "SELECT movement_id, kind, amount_minor, booking_date, bank_reference, end_to_end_id, transaction_id, return_reason FROM movement "
    "WHERE tenant_id = :tenant AND bank_account_id = :account AND NOT resolved AND "
)


async def waiting_returns(conn: AsyncConnection, held: BankAccount, limit: int) -> list[tuple[UUID, Transaction]]:
    """Returns on an account that wait, with what they say of the payment that they take back."""
    rows = await fetch(
        conn,
        _WAITING + "kind = 'return' AND amount_minor < 0 ORDER BY booking_date, movement_id LIMIT :limit",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        limit=limit,
    )
    return [(row[0], _moved(held, *row[1:])) for row in rows]


async def waiting_credits(conn: AsyncConnection, held: BankAccount, ends: Collection[str]) -> list[tuple[UUID, Transaction]]:
    """Credits on an account that wait and bear one of these EndToEndIds."""
    rows = await fetch(
        conn,
        _WAITING + "kind <> 'total' AND amount_minor > 0 AND end_to_end_id = ANY(CAST(:ends AS text[])) ORDER BY booking_date, movement_id",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        ends=list(ends),
    )
    return [(row[0], _moved(held, *row[1:])) for row in rows]


async def waiting_debit(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, end: str, amount: int) -> UUID | None:
    """A debit of the amount on an account that waits and bears an EndToEndId, the first one; None where there is none."""
    rows = await fetch(
        conn,
        _WAITING + "kind <> 'total' AND amount_minor = -CAST(:amount AS bigint) AND end_to_end_id = :end "
        "ORDER BY booking_date, movement_id LIMIT 1",
        tenant=tenant_id,
        account=bank_account_id,
        end=end,
        amount=amount,
    )
    return rows[0].movement_id if rows else None


def _moved(
    held: BankAccount, kind: str, minor: int, day: date, reference: str | None, end: str | None, transaction: str | None, reason: str | None
) -> Transaction:
    return Transaction(
        kind=kind,
        credit=minor > 0,
        amount_minor=abs(minor),
        currency=held.currency,
        day=day,
        bank_reference=reference,
        end_to_end_id=end,
        transaction_id=transaction,
        return_reason=reason,
    )


async def waiting(conn: AsyncConnection, tenant_id: UUID, movement_id: UUID, *, total: bool) -> tuple[BankAccount, Row[Any]] | None:
    """A batch total, or another movement that a person may have to look at, with its account; None where there is no such.

    The account is held as for a statement: nothing else is booked on it meanwhile. `resolved`: it waits no more.
    """
    found = await fetch(
        conn,
        "SELECT a.number FROM movement m JOIN bank_account a USING (tenant_id, bank_account_id) "
        "WHERE m.tenant_id = :tenant AND m.movement_id = :id AND (m.kind = 'total') = :total",
        tenant=tenant_id,
        id=movement_id,
        total=total,
    )
    held = await account(conn, tenant_id, found[0].number) if found else None
    if held is None:
        return None
    await hold_account(conn, held.bank_account_id, alone=True)
    (row,) = await fetch(
        conn,
        "SELECT kind, amount_minor, booking_date, bank_reference, end_to_end_id, resolved FROM movement "
        "WHERE tenant_id = :tenant AND movement_id = :id FOR UPDATE",
        tenant=tenant_id,
        id=movement_id,
    )
    return held, row


async def resolve(conn: AsyncConnection, tenant_id: UUID, movement_ids: Sequence[UUID], payment_id: UUID | None = None) -> None:
    """They wait no more; `payment_id`: what a batch total was booked as."""
    await run(
        conn,
        "UPDATE movement SET resolved = true, payment_id = :payment WHERE tenant_id = :tenant AND movement_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(movement_ids),
        payment=payment_id,
    )


async def lacking_details(conn: AsyncConnection, held: BankAccount, references: Sequence[str]) -> set[str]:
    """Those of the references that are of batch totals of an account which wait for their details, or were booked by hand without them."""
    rows = await fetch(
        conn,
        "SELECT bank_reference FROM movement WHERE tenant_id = :tenant AND bank_account_id = :account AND kind = 'total' "
        "AND (NOT resolved OR payment_id IS NOT NULL) AND bank_reference = ANY(CAST(:references AS text[]))",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        references=list(references),
    )
    return {row[0] for row in rows}


_RETURNED = (
    "CASE WHEN p.return_reason IN ('replaced_by_details', 'no_receivable') THEN 0 ELSE p.returned_minor - p.withdrawn_minor "
    "- (SELECT coalesce(sum(c.amount_minor), 0) FROM recall c WHERE c.tenant_id = p.tenant_id "
    "AND c.payment_id = p.payment_id AND c.status IN ('open', 'requested', 'accepted')) END"
)
"""SQL: how much of a payment `p` a bank has returned, without recalls that wait, and what was withdrawn, set apart or replaced."""


LEFT = (
    "(p.allocated_minor + p.unapplied_minor + CASE WHEN p.return_reason = 'no_receivable' THEN p.returned_minor ELSE 0 END "
    "+ CASE WHEN p.refund_pending_minor > 0 THEN "
    "(SELECT CAST(coalesce(sum(f.amount_minor), 0) AS bigint) FROM refund f "
    "WHERE f.tenant_id = p.tenant_id AND f.payment_id = p.payment_id AND f.status = 'approved') ELSE 0 END)"
)
"""SQL: what a payment `p` has left for a bank to take back: a refund that was not sent yet is taken back first, and one that
was set apart is taken in."""


async def left_and_returned(conn: AsyncConnection, held: BankAccount, payment_id: UUID) -> tuple[int, int] | None:
    """What a payment has left and what a bank returned of it; None where it came on another account, or never."""
    rows = await fetch(
        conn,
        f"SELECT {LEFT}, {_RETURNED} FROM payment p WHERE p.tenant_id = :tenant "  # noqa: S608 - ours
        "AND p.payment_id = :payment AND p.bank_account_id = :account",
        tenant=held.tenant_id,
        payment=payment_id,
        account=held.bank_account_id,
    )
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


async def returned(conn: AsyncConnection, held: BankAccount, credits_: Sequence[Transaction]) -> list[list[tuple[UUID, int]]]:
    """For each credit, the payments that it names, and how much of each a bank has returned."""
    rows = await fetch(
        conn,
        NAMED + f"SELECT r.at, p.payment_id, {_RETURNED} FROM named JOIN r USING (at) "  # noqa: S608 - ours
        "JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = named.payment_id ORDER BY r.at, p.payment_id",
        **_names(held, credits_),
    )
    found: list[list[tuple[UUID, int]]] = [[] for _ in credits_]
    for at, payment_id, back in rows:
        found[at].append((payment_id, int(back)))
    return found


async def originals(conn: AsyncConnection, held: BankAccount, returns: Sequence[Transaction]) -> list[list[tuple[UUID, int]]]:
    """For each return, the payments that it may take back, with what they have left: by the bank's reference or TxId, else by EndToEndId.

    Those of just its amount where there are any; else those that have as much left; else those that have less.
    """
    rows = await fetch(
        conn,
        NAMED + "SELECT l.at, l.payment_id, l.left_minor, CASE WHEN l.amount_minor = l.amount AND l.left_minor = l.amount THEN 0 "  # noqa: S608 - ours
        f"WHEN l.left_minor >= l.amount THEN 1 ELSE 2 END FROM (SELECT r.at, r.amount, p.payment_id, p.amount_minor, {LEFT} AS left_minor "
        "FROM named JOIN r USING (at) JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = named.payment_id) l "
        "WHERE l.left_minor > 0 ORDER BY l.at, l.payment_id",
        **_names(held, returns),
    )
    best: dict[int, int] = {}
    for at, _, _, rank in rows:
        best[at] = min(rank, best.get(at, rank))
    found: list[list[tuple[UUID, int]]] = [[] for _ in returns]
    for at, payment_id, left, rank in rows:
        if rank == best[at]:
            found[at].append((payment_id, left))
    return found


async def refunded(conn: AsyncConnection, tenant_id: UUID, payment_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the payments of which we have sent something back ourselves."""
    rows = await fetch(
        conn,
        "SELECT payment_id FROM refund WHERE tenant_id = :tenant AND payment_id = ANY(CAST(:ids AS uuid[])) AND status IN ('sent', 'paid')",
        tenant=tenant_id,
        ids=list(payment_ids),
    )
    return {row[0] for row in rows}


DETAILS = (
    "SELECT payment_id, amount_minor, booking_date FROM payment WHERE tenant_id = m.tenant_id AND bank_account_id = m.bank_account_id "
    "AND entry_reference = m.bank_reference OFFSET 0"
)
"""SQL: the payments that bear the reference of a total `m`, looked up by it: a join may read all of the account."""


class CompleteTotal(NamedTuple):
    """A total that waits, its booking day, and its details, which are all here."""

    movement_id: UUID
    details: list[UUID]
    booking_date: date


class BookedTotal(NamedTuple):
    """A total booked by hand, and the details that are here. `whole`: nothing of its payment went out; `complete`: they sum to it."""

    movement_id: UUID
    payment_id: UUID
    amount_minor: int
    booking_date: date
    whole: bool
    complete: bool
    details: list[UUID]


async def complete_totals(conn: AsyncConnection, held: BankAccount) -> list[CompleteTotal]:
    """An account's totals that wait and whose details are all here."""
    rows = await fetch(
        conn,
        "SELECT m.movement_id, array_agg(d.payment_id), m.booking_date FROM movement m "  # noqa: S608 - ours
        f"CROSS JOIN LATERAL ({DETAILS}) d WHERE m.tenant_id = :tenant AND m.bank_account_id = :account AND NOT m.resolved "
        "AND m.kind = 'total' GROUP BY m.tenant_id, m.movement_id HAVING sum(d.amount_minor) = m.amount_minor",
        tenant=held.tenant_id,
        account=held.bank_account_id,
    )
    return [CompleteTotal(*row) for row in rows]


async def booked_totals(conn: AsyncConnection, held: BankAccount, references: Sequence[str], days: int) -> list[BookedTotal]:
    """Of each reference the total that was booked by hand, at most so many days from its details: those that are here now."""
    rows = await fetch(
        conn,
        # details are those of one total, though another one has the same reference
        "SELECT DISTINCT ON (m.bank_reference) m.movement_id, m.payment_id, m.amount_minor, m.booking_date, "  # noqa: S608 - ours
        "t.returned_minor + t.refunded_minor = 0 AS whole, "
        "sum(d.amount_minor) = m.amount_minor AS complete, array_agg(d.payment_id) AS details FROM movement m JOIN payment t "
        f"ON t.tenant_id = m.tenant_id AND t.payment_id = m.payment_id CROSS JOIN LATERAL ({DETAILS}) d "
        "WHERE abs(d.booking_date - m.booking_date) <= CAST(:days AS int) AND m.tenant_id = :tenant AND m.bank_account_id = :account "
        "AND m.payment_id IS NOT NULL AND m.bank_reference = ANY(CAST(:references AS text[])) "
        "GROUP BY m.tenant_id, m.movement_id, t.tenant_id, t.payment_id "
        "ORDER BY m.bank_reference, complete DESC, whole DESC, m.movement_id",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        references=list(references),
        days=days,
    )
    return [BookedTotal(*row) for row in rows]


async def booked_on(conn: AsyncConnection, tenant_id: UUID, movements: Sequence[UUID]) -> dict[UUID, date]:
    """The booking days of those of the movements that are there."""
    rows = await fetch(
        conn,
        "SELECT movement_id, booking_date FROM movement WHERE tenant_id = :tenant AND movement_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(movements),
    )
    return {row[0]: row[1] for row in rows}
