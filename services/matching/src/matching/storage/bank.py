"""Bank accounts, virtual IBANs, files, statements and what came in on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from shared.db import records, run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.rows import Payment
from matching.domain.statements import Amount, Transaction
from matching.storage.rows import fetch, from_lists, literal, texts


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


LISTED = "SELECT bank_account_id AS at, * FROM bank_account WHERE tenant_id = :tenant"
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


async def account_by_id(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID) -> BankAccount | None:
    """An account by its id, None where there is none."""
    rows = await fetch(
        conn,
        f"SELECT {_ACCOUNT} FROM bank_account WHERE tenant_id = :tenant AND bank_account_id = :id",  # noqa: S608 - ours
        tenant=tenant_id,
        id=bank_account_id,
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


_HALVES = ("hashtextextended(:id, 2)", "hashtextextended(:id, 3)")


async def hold_account(conn: AsyncConnection, bank_account_id: UUID, *, alone: bool) -> None:
    """Until the end of the transaction: files are booked on an account one after the other, notifications side by side.

    An account is held by its two halves, so that two slices of one statement may be booked at once (`hold_half`), and nothing else then.
    """
    share = "" if alone else "_shared"
    await records(conn, f"SELECT {', '.join(f'pg_advisory_xact_lock{share}({half})' for half in _HALVES)}", id=str(bank_account_id))


async def hold_half(conn: AsyncConnection, bank_account_id: UUID) -> None:
    """One half of an account, the one that is free, until the end of the transaction. Who holds it must not ask for the other one."""
    first, second = _HALVES
    if not (await records(conn, f"SELECT pg_try_advisory_xact_lock({first})", id=str(bank_account_id)))[0][0]:
        await records(conn, f"SELECT pg_advisory_xact_lock({second})", id=str(bank_account_id))


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
    """A payment that a transaction may be: how far it is confirmed, when it was booked, and the statement that told of it last."""

    payment_id: UUID
    transaction_key: str
    confirmation: str
    booking_date: date
    entry_reference: str | None
    amount_minor: int
    statement_id: UUID | None


KNOWN = "payment_id, transaction_key, confirmation, booking_date, entry_reference, amount_minor, statement_id"
"""The columns of `Known`."""


_BY = (
    f"SELECT {{column}}, {KNOWN} FROM payment WHERE tenant_id = :tenant AND bank_account_id = :account "  # noqa: S608 - ours
    "AND {column} = ANY(CAST(:keys AS text[]))"
)
_BY_KEY = f"{_BY.format(column='transaction_key')} UNION ALL {_BY.format(column='booked_key')} ORDER BY confirmation DESC"


async def known(conn: AsyncConnection, tenant_id: UUID, bank_account_id: UUID, keys: Sequence[str]) -> dict[str, Known]:
    """The account's payments by the keys under which they were told of first, and under which a statement knows them; what is booked comes
    before what is notified.
    """
    rows = await fetch(conn, _BY_KEY, tenant=tenant_id, account=bank_account_id, keys=list(keys))
    return {row[0]: Known(*row[1:]) for row in rows}


def _sent(one: Transaction) -> Amount | None:
    """What the payer told his bank to pay, where that says more than the amount credited: in another currency the bank's rate, else what
    banks took off on the way.
    """
    sent = one.instructed
    if sent is None or (sent.minor <= one.amount_minor if sent.currency == one.currency else not sent.minor):
        return None
    return sent


class New(NamedTuple):
    """A payment that is to be stored, as it stands by then, with its key and what the bank tells of it."""

    payment: Payment
    key: str
    told: Transaction


_STANDS = {
    "key": "varchar", "id": "uuid", "virtual": "uuid", "payer": "uuid", "account": "uuid", "version": "bigint", "amount": "bigint",
    "allocated": "bigint", "unapplied": "bigint", "booking": "date", "value": "date", "status": "text", "rule": "text",
    "looks": "smallint", "instructed": "bigint",
}  # fmt: skip
_TOLD = (
    "currency", "bank_ref", "entry_ref", "e2e", "tx", "structured", "remittance", "debtor_name", "debtor_iban", "ultimate", "instructed_in",
)  # fmt: skip
_INSERT = (
    "WITH new AS (INSERT INTO payment (tenant_id, payment_id, version, bank_account_id, entity_id, transaction_key, currency, "  # noqa: S608 - our own names
    "amount_minor, allocated_minor, unapplied_minor, booking_date, value_date, confirmation, source, status, virtual_iban_id, "
    "payer_customer_id, account_id, rule, looks, bank_reference, entry_reference, end_to_end_id, transaction_id, structured_reference, "
    "remittance, debtor_name, debtor_iban, ultimate_debtor_name, received_at, instructed_minor, instructed_currency, statement_id) "
    "SELECT CAST(:tenant AS uuid), id, version, CAST(:account AS uuid), CAST(:entity AS uuid), key, "
    "currency, amount, allocated, unapplied, booking, value, CAST(:confirmation AS text), CAST(:source AS text), status, virtual, "
    "payer, t.account, rule, looks, bank_ref, entry_ref, e2e, tx, structured, "
    "string_to_array(coalesce(remittance, ''), chr(31)), debtor_name, debtor_iban, ultimate, "
    "CAST(:at AS timestamptz), instructed, instructed_in, CAST(:statement AS uuid) "
    f"FROM {from_lists('n', _STANDS, *_TOLD)} ON CONFLICT DO NOTHING RETURNING payment_id, currency, amount_minor), "
    "entered AS (INSERT INTO ledger_entry (tenant_id, entity_id, currency, debit, credit, amount_minor, payment_id, at) "
    "SELECT CAST(:tenant AS uuid), CAST(:entity AS uuid), currency, 'bank', 'unapplied', amount_minor, payment_id, "
    "CAST(:now AS timestamptz) FROM new) SELECT payment_id FROM new"
)


async def insert_payments(
    conn: AsyncConnection, held: BankAccount, rows: Sequence[New], *, at: datetime, now: datetime, statement_id: UUID | None = None
) -> set[UUID]:
    """Stores new payments of an account, told in one way, and that their money came in; returns the ids of those that are new.

    `at` is the machine's clock, `now` the business moment of the entries, `statement_id` what they are told by, if it is a statement.
    """
    payments, told = [row.payment for row in rows], [row.told for row in rows]
    instructed = [_sent(one) for one in told]
    found = await records(
        conn,
        _INSERT,
        tenant=held.tenant_id,
        account=held.bank_account_id,
        entity=held.entity_id,
        confirmation=payments[0].confirmation,
        source=payments[0].source,
        at=at,
        now=now,
        statement=statement_id,
        n_key=[row.key for row in rows],
        n_id=[one.payment_id for one in payments],
        n_virtual=[one.virtual_iban_id for one in payments],
        n_payer=[one.payer_customer_id for one in payments],
        n_account=[one.account_id for one in payments],
        n_version=literal([one.version for one in payments]),
        n_amount=literal([one.amount_minor for one in payments]),
        n_allocated=literal([one.allocated_minor for one in payments]),
        n_unapplied=literal([one.unapplied_minor for one in payments]),
        n_booking=literal([one.booking_date for one in payments]),
        n_value=literal([one.value_date for one in payments]),
        n_status=literal([one.status for one in payments]),
        n_rule=literal([one.rule for one in payments]),
        n_looks=literal([one.looks for one in payments]),
        n_instructed=literal([other.minor if other else None for other in instructed]),
        n_currency=texts(one.currency for one in payments),
        n_bank_ref=texts(one.bank_reference for one in told),
        n_entry_ref=texts(one.entry_reference for one in told),
        n_e2e=texts(one.end_to_end_id for one in told),
        n_tx=texts(one.transaction_id for one in told),
        n_structured=texts(one.structured_reference for one in told),
        n_remittance=texts("\x1f".join([line.replace("\x1f", " ") for line in one.remittance]) for one in told),
        n_debtor_name=texts(one.counterparty_name for one in told),
        n_debtor_iban=texts(one.counterparty_iban for one in told),
        n_ultimate=texts(one.ultimate_name for one in told),
        n_instructed_in=texts(other.currency if other else None for other in instructed),
    )
    return {row[0] for row in found}


async def entity_known(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID) -> bool:
    """Whether anything is known of an entity: a bank account, or something that is owed to it."""
    return bool(
        await fetch(
            conn,
            "SELECT 1 FROM bank_account WHERE tenant_id = :tenant AND entity_id = :entity UNION ALL "
            "(SELECT 1 FROM item_reference WHERE tenant_id = :tenant AND entity_id = :entity LIMIT 1)",
            tenant=tenant_id,
            entity=entity_id,
        )
    )
