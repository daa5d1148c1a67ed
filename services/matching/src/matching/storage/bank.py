"""Bank accounts, virtual IBANs, files, statements and what came in on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import records, run
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Amount, Transaction
from matching.storage.rows import fetch, literal, texts


@dataclass(frozen=True, slots=True)
class BankAccount:
    """One of our own accounts. Entries before `start_date` are not ours to match.

    `number` is what files call it: the IBAN, or else the bank's own number, and then `bank_id` says whose.
    """

    tenant_id: UUID
    bank_account_id: UUID
    version: int
    entity_id: UUID
    iban: str | None
    currency: str
    holder_name: str
    start_date: date
    status: str
    number: str
    bank_id: str | None


_ACCOUNT = "tenant_id, bank_account_id, version, entity_id, iban, currency, holder_name, start_date, status, number, bank_id"


async def account(conn: AsyncConnection, tenant_id: UUID, number: str, *, lock: bool = False) -> BankAccount | None:
    """The account with an IBAN or number, None where there is none; locked where it is about to change."""
    rows = await records(
        conn,
        f"SELECT {_ACCOUNT} FROM bank_account WHERE tenant_id = :tenant AND number = :number" + (" FOR UPDATE" if lock else ""),  # noqa: S608 - ours
        tenant=tenant_id,
        number=number,
    )
    return BankAccount(*rows[0]) if rows else None


async def accounts(conn: AsyncConnection, tenant_id: UUID) -> list[BankAccount]:
    """A tenant's accounts."""
    rows = await fetch(conn, f"SELECT {_ACCOUNT} FROM bank_account WHERE tenant_id = :tenant ORDER BY number", tenant=tenant_id)  # noqa: S608 - ours
    return [BankAccount(*row) for row in rows]


async def account_of_virtual(conn: AsyncConnection, tenant_id: UUID, iban: str) -> tuple[BankAccount, UUID] | None:
    """The account behind a virtual IBAN, and the virtual IBAN's id."""
    rows = await records(
        conn,
        "SELECT a.tenant_id, a.bank_account_id, a.version, a.entity_id, a.iban, a.currency, a.holder_name, a.start_date, a.status, "
        "a.number, a.bank_id, v.virtual_iban_id FROM virtual_iban v JOIN bank_account a USING (tenant_id, bank_account_id) "
        "WHERE v.tenant_id = :tenant AND v.iban = :iban",
        tenant=tenant_id,
        iban=iban,
    )
    return (BankAccount(*rows[0][:11]), rows[0][11]) if rows else None


async def put_account(conn: AsyncConnection, held: BankAccount) -> None:
    """Stores an account as it is now."""
    await run(
        conn,
        f"INSERT INTO bank_account ({_ACCOUNT}) VALUES (:tenant, :id, :version, :entity, :iban, :currency, "  # noqa: S608 - ours
        ":holder, :start, :status, :number, :bank) "
        "ON CONFLICT (tenant_id, bank_account_id) DO UPDATE SET version = EXCLUDED.version, holder_name = EXCLUDED.holder_name, "
        "start_date = EXCLUDED.start_date, status = EXCLUDED.status",
        tenant=held.tenant_id,
        id=held.bank_account_id,
        version=held.version,
        entity=held.entity_id,
        iban=held.iban,
        currency=held.currency,
        holder=held.holder_name,
        start=held.start_date,
        status=held.status,
        number=held.number,
        bank=held.bank_id,
    )


async def hold_account(conn: AsyncConnection, bank_account_id: UUID, *, alone: bool) -> None:
    """Until the end of the transaction: files are booked on an account one after the other, notifications side by side."""
    share = "" if alone else "_shared"
    await records(conn, f"SELECT pg_advisory_xact_lock{share}(hashtextextended(:id, 2))", id=str(bank_account_id))


async def virtual_ibans(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, ibans: Sequence[str]) -> dict[str, UUID]:
    """Ids of those of the IBANs that are virtual ones of the account."""
    rows = await fetch(
        conn,
        "SELECT iban, virtual_iban_id FROM virtual_iban WHERE tenant_id = :tenant AND bank_account_id = :account "
        "AND iban = ANY(CAST(:ibans AS text[]))",
        tenant=tenant_id,
        account=bank_account_id,
        ibans=list(ibans),
    )
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class Known:
    """A payment that a transaction may be: how far it is confirmed and when it was booked."""

    payment_id: UUID
    transaction_key: str
    confirmation: str
    booking_date: date
    entry_reference: str | None
    amount_minor: int


_KNOWN = "payment_id, transaction_key, confirmation, booking_date, entry_reference, amount_minor"


async def known(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, keys: Sequence[str]) -> dict[str, Known]:
    """The account's payments by transaction key."""
    rows = await fetch(
        conn,
        f"SELECT {_KNOWN} FROM payment WHERE tenant_id = :tenant AND bank_account_id = :account AND "  # noqa: S608 - ours
        "transaction_key = ANY(CAST(:keys AS text[]))",
        tenant=tenant_id,
        account=bank_account_id,
        keys=list(keys),
    )
    return {row[1]: Known(*row) for row in rows}


# Each is looked up by its whole key: of a table without statistics the planner would read all of the account, once a slice.
BY_END_TO_END = (
    f"SELECT p.*, e.end_to_end_id FROM unnest(CAST(:ends AS text[])) AS e(end_to_end_id) CROSS JOIN LATERAL (SELECT {_KNOWN} "  # noqa: S608 - ours
    "FROM payment WHERE tenant_id = :tenant AND bank_account_id = :account AND end_to_end_id = e.end_to_end_id OFFSET 0) AS p "
    "ORDER BY p.confirmation DESC, p.payment_id"
)


async def by_end_to_end(
    conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, ends: Sequence[str]
) -> dict[tuple[str, int], list[Known]]:
    """The account's payments by EndToEndId and amount."""
    rows = await fetch(conn, BY_END_TO_END, tenant=tenant_id, account=bank_account_id, ends=list(dict.fromkeys(ends)))
    found: dict[tuple[str, int], list[Known]] = {}
    for row in rows:
        found.setdefault((row[6], row[5]), []).append(Known(*row[:6]))
    return found


def _in_another_currency(one: Transaction) -> Amount | None:
    """What the payer told his bank to pay, where that was another currency: with the amount credited it says the bank's rate."""
    return one.instructed if one.instructed is not None and one.instructed.minor and one.instructed.currency != one.currency else None


_TOLD = {
    "amounts": "bigint", "bookings": "date", "values": "date", "instructeds": "bigint", "currencies": "", "bank_refs": "", "entry_refs": "",
    "e2es": "", "txs": "", "structureds": "", "remittances": "", "debtor_names": "", "debtor_ibans": "", "instructed_ins": "",
}  # fmt: skip
"""What is told of payments, as one text a column: of numbers and days an array literal, else `texts`."""
_COLUMNS = ", ".join(
    f"CAST(CAST(:{name} AS text) AS {kind}[])" if kind else f"string_to_array(CAST(:{name} AS text), chr(30), '')"
    for name, kind in _TOLD.items()
)
_INSERT = (
    "WITH new AS (INSERT INTO payment (tenant_id, payment_id, version, bank_account_id, entity_id, transaction_key, currency, "  # noqa: S608 - our own names
    "amount_minor, unapplied_minor, booking_date, value_date, confirmation, source, status, virtual_iban_id, bank_reference, "
    "entry_reference, end_to_end_id, transaction_id, structured_reference, remittance, debtor_name, debtor_iban, received_at, "
    "instructed_minor, instructed_currency) SELECT CAST(:tenant AS uuid), id, 1, CAST(:account AS uuid), CAST(:entity AS uuid), key, "
    "currencies, amounts, amounts, bookings, values, CAST(:confirmation AS text), CAST(:source AS text), 'received', virtual, bank_refs, "
    "entry_refs, e2es, txs, structureds, string_to_array(coalesce(remittances, ''), chr(31)), debtor_names, debtor_ibans, "
    "CAST(:at AS timestamptz), instructeds, instructed_ins "
    f"FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:virtuals AS uuid[]), {_COLUMNS}) "
    f"AS t(id, key, virtual, {', '.join(_TOLD)}) ON CONFLICT DO NOTHING RETURNING payment_id, currency, amount_minor), "
    "entered AS (INSERT INTO ledger_entry (tenant_id, entity_id, currency, debit, credit, amount_minor, payment_id, at) "
    "SELECT CAST(:tenant AS uuid), CAST(:entity AS uuid), currency, 'bank', 'unapplied', amount_minor, payment_id, "
    "CAST(:now AS timestamptz) FROM new) SELECT payment_id FROM new"
)


async def insert_payments(
    conn: AsyncConnection,
    held: BankAccount,
    rows: Sequence[tuple[UUID, str, Transaction, UUID | None]],
    *,
    confirmation: str,
    source: str,
    at: datetime,
    now: datetime,
) -> set[UUID]:
    """Stores new payments (id, key, transaction, virtual IBAN) and their ledger entries; returns the ids of those that are new.

    `at` is the machine's clock, `now` the business moment of the entries.
    """
    told = [one for _, _, one, _ in rows]
    instructed = [_in_another_currency(one) for one in told]
    found = await records(
        conn,
        _INSERT,
        tenant=held.tenant_id,
        account=held.bank_account_id,
        entity=held.entity_id,
        confirmation=confirmation,
        source=source,
        at=at,
        now=now,
        ids=[row[0] for row in rows],
        keys=[row[1] for row in rows],
        virtuals=[row[3] for row in rows],
        currencies=texts(one.currency for one in told),
        amounts=literal([one.amount_minor for one in told]),
        bookings=literal([one.day for one in told]),
        values=literal([one.value_date or one.day for one in told]),
        bank_refs=texts(one.bank_reference for one in told),
        entry_refs=texts(one.entry_reference for one in told),
        e2es=texts(one.end_to_end_id for one in told),
        txs=texts(one.transaction_id for one in told),
        structureds=texts(one.structured_reference for one in told),
        remittances=texts("\x1f".join([line.replace("\x1f", " ") for line in one.remittance]) for one in told),
        debtor_names=texts(one.counterparty_name for one in told),
        debtor_ibans=texts(one.counterparty_iban for one in told),
        instructeds=literal([other.minor if other else None for other in instructed]),
        instructed_ins=texts(other.currency if other else None for other in instructed),
    )
    return {row[0] for row in found}


async def insert_movements(
    conn: AsyncConnection, held: BankAccount, rows: Sequence[tuple[UUID, Transaction, bool]], *, at: datetime
) -> None:
    """Stores movements that are no payments (id, transaction, resolved), so that every entry of a balance is accounted for.

    A total is stored under the reference that its details have too. `at` is the machine's clock.
    """
    await run(
        conn,
        "INSERT INTO movement (tenant_id, movement_id, bank_account_id, kind, amount_minor, booking_date, "
        "bank_reference, end_to_end_id, resolved, received_at) "
        "SELECT :tenant, id, :account, kind, amount, booking, ref, e2e, resolved, :at "
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), "
        "CAST(:amounts AS bigint[]), CAST(:bookings AS date[]), CAST(:refs AS text[]), CAST(:e2es AS text[]), CAST(:resolveds AS bool[])) "
        "AS t(id, kind, amount, booking, ref, e2e, resolved) ON CONFLICT DO NOTHING",
        tenant=held.tenant_id,
        account=held.bank_account_id,
        at=at,
        ids=[row[0] for row in rows],
        kinds=[row[1].kind for row in rows],
        amounts=[row[1].signed_minor for row in rows],
        bookings=[row[1].day for row in rows],
        refs=[row[1].entry_reference if row[1].kind == "total" else row[1].bank_reference for row in rows],
        e2es=[row[1].end_to_end_id for row in rows],
        resolveds=[row[2] for row in rows],
    )


_PAYMENTS_BY = (
    "SELECT r.at, p.payment_id FROM r CROSS JOIN LATERAL (SELECT payment_id FROM payment WHERE tenant_id = :tenant "
    "AND bank_account_id = :account AND {column} = r.{value} OFFSET 0) AS p"
)
# a look by its whole key each: an OR, or a join, would compare every movement with every payment of the account
NAMED = (
    "WITH r AS (SELECT * FROM unnest(CAST(:ats AS int[]), CAST(:amounts AS bigint[]), CAST(:refs AS text[]), CAST(:txs AS text[]), "  # noqa: S608 - ours
    "CAST(:e2es AS text[])) AS t(at, amount, ref, tx, e2e)), named AS ("
    + " UNION ".join(
        _PAYMENTS_BY.format(column=column, value=value)
        for column, value in (("end_to_end_id", "e2e"), ("bank_reference", "ref"), ("transaction_id", "tx"))
    )
    + ") "
)
"""The payments that movements name, by the bank's reference, TxId or EndToEndId."""


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


async def waiting_movement(
    conn: AsyncConnection, tenant_id: UUID, movement_id: UUID, *, total: bool
) -> tuple[BankAccount, Row[Any]] | None:
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


async def resolve_movements(conn: AsyncConnection, tenant_id: UUID, movement_ids: Sequence[UUID], payment_id: UUID | None = None) -> None:
    """They wait no more; `payment_id`: what a batch total was booked as."""
    await run(
        conn,
        "UPDATE movement SET resolved = true, payment_id = :payment WHERE tenant_id = :tenant AND movement_id = ANY(CAST(:ids AS uuid[]))",
        tenant=tenant_id,
        ids=list(movement_ids),
        payment=payment_id,
    )


_RETURNED = (
    "CASE WHEN p.return_reason = 'replaced_by_details' THEN 0 ELSE p.returned_minor - p.withdrawn_minor "
    "- (SELECT coalesce(sum(c.amount_minor), 0) FROM recall c WHERE c.tenant_id = p.tenant_id "
    "AND c.payment_id = p.payment_id AND c.status IN ('open', 'requested', 'accepted')) END"
)
"""SQL: how much of a payment `p` a bank has returned: recalls that wait, what was withdrawn and what details replace aside."""


async def left_and_returned(conn: AsyncConnection, held: BankAccount, payment_id: UUID) -> tuple[int, int] | None:
    """What a payment has left and what a bank returned of it; None where it came on another account, or never."""
    rows = await fetch(
        conn,
        f"SELECT p.allocated_minor + p.unapplied_minor, {_RETURNED} FROM payment p WHERE p.tenant_id = :tenant "  # noqa: S608 - ours
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
    """For each return, the payments that it may take back, with what they have left: by the bank's reference, TxId or EndToEndId.

    Those of just its amount where there are any; else those that have as much left; else those that have less.
    """
    rows = await fetch(
        conn,
        NAMED + "SELECT r.at, p.payment_id, p.allocated_minor + p.unapplied_minor AS left_minor, CASE WHEN p.amount_minor = r.amount "
        "AND p.returned_minor + p.refunded_minor = 0 THEN 0 WHEN p.allocated_minor + p.unapplied_minor >= r.amount THEN 1 ELSE 2 END "
        "FROM named JOIN r USING (at) JOIN payment p ON p.tenant_id = :tenant AND p.payment_id = named.payment_id "
        "WHERE p.allocated_minor + p.unapplied_minor > 0 ORDER BY r.at, p.payment_id",
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
