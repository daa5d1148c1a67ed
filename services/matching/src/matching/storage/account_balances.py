"""Customers' accounts: what each owes an entity in a currency. Sums that many transactions add to side by side (docs/adr/0014).

Invariants: an account is locked at the end of a transaction, after payments and items, and nothing is locked after it; accounts are
locked by (tenant, id); its version goes up by one a transaction.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from shared.aliases import survivor
from shared.db import records
from shared.failures import sqlstate
from shared.ids import named_id
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Account, Books, Key
from matching.storage.rows import by_keys, from_lists, keys, literal

NewAccount = tuple[UUID, UUID, UUID, UUID, str]
"""Tenant, account, entity, customer, currency."""
ASKED = survivor(":tenant", "CAST(:customer_id AS uuid)")
"""SQL: whoever stands for the customer that is asked for."""
ASKED_ALL = f"(SELECT {ASKED} UNION ALL SELECT id FROM alias WHERE tenant_id = :tenant AND survivor_id = {ASKED})"  # noqa: S608 - ours
"""SQL: he and all for whom he stands, for what stays under whom it names."""
LISTED = (
    "SELECT account_id AS at, * FROM account_balance WHERE tenant_id = :tenant "  # noqa: S608 - our own text
    f"AND (CAST(:customer_id AS uuid) IS NULL OR customer_id = {ASKED})"
)
_B = {"tenant": "uuid", "id": "uuid", "open": "bigint", "unapplied": "bigint", "credits": "bigint"}
ADD_TO_ACCOUNTS = f"""
UPDATE account_balance AS a SET version = a.version + 1, open_minor = a.open_minor + t.open,
  unapplied_minor = a.unapplied_minor + t.unapplied, unused_credits_minor = a.unused_credits_minor + t.credits
{by_keys(from_lists("b", _B), "b_id", "a", "account_id")}
RETURNING a.tenant_id, a.account_id, a.version, a.open_minor, a.unapplied_minor, a.unused_credits_minor
"""  # noqa: S608 - our own names
_OUT_OF_RANGE = "22003"  # SQLSTATE numeric_value_out_of_range


class Balance(NamedTuple):
    """What an account holds from a version on, in minor units."""

    tenant_id: UUID
    account_id: UUID
    version: int
    open_minor: int
    unapplied_minor: int
    unused_credits_minor: int


def account_id(tenant_id: UUID, customer_id: UUID, entity_id: UUID, currency: str) -> UUID:
    """The account of a customer with an entity in a currency."""
    return named_id("account", tenant_id, customer_id, entity_id, currency)


async def make_accounts(conn: AsyncConnection, accounts: Sequence[NewAccount]) -> None:
    """Makes those that are not there, with nothing on them."""
    await records(
        conn,
        "INSERT INTO account_balance (tenant_id, account_id, version, entity_id, customer_id, currency) "
        "SELECT DISTINCT tenant, account, 0, entity, customer, currency FROM unnest(CAST(:tenants AS uuid[]), "
        "CAST(:accounts AS uuid[]), CAST(:entities AS uuid[]), CAST(:customers AS uuid[]), CAST(:currencies AS text[])) "
        "AS t(tenant, account, entity, customer, currency) "
        "ORDER BY tenant, account ON CONFLICT DO NOTHING",
        tenants=[row[0] for row in accounts],
        accounts=[row[1] for row in accounts],
        entities=[row[2] for row in accounts],
        customers=[row[3] for row in accounts],
        currencies=[row[4] for row in accounts],
    )


async def name_accounts(conn: AsyncConnection, books: Books, accounts: Iterable[Key], new: Sequence[NewAccount]) -> None:
    """Puts accounts into the books: whose each is never changes, so one that is new or that a locked item is on need not be read."""
    for tenant, account, entity, customer, currency in new:
        books.accounts[tenant, account] = Account(tenant, account, entity, customer, currency)
    missing = {key for key in accounts if key not in books.accounts}
    for item in books.items.values():
        key = (item.tenant_id, item.account_id)
        if key in missing:
            missing.remove(key)
            books.accounts[key] = Account(*key, item.entity_id, item.customer_id, item.currency)
    if missing:
        rows = await records(
            conn,
            "SELECT a.tenant_id, a.account_id, a.entity_id, a.customer_id, a.currency FROM "
            "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant, id) "
            "JOIN account_balance a ON a.tenant_id = k.tenant AND a.account_id = k.id",
            **keys(missing),
        )
        for row in rows:
            books.accounts[row[0], row[1]] = Account(*row)


async def add_to_accounts(conn: AsyncConnection, accounts: Sequence[Account]) -> list[Balance]:
    """Adds to accounts, each once, what they are to be added, whoever else does; returns what they hold then.

    They are locked one after the other in the order of their keys, until the transaction ends. Raises OverflowError where a sum is larger
    than any amount may be, which is as much as a column holds.
    """
    try:
        rows = await records(
            conn,
            ADD_TO_ACCOUNTS,
            b_tenant=[one.tenant_id for one in accounts],
            b_id=[one.account_id for one in accounts],
            b_open=literal([one.open_minor for one in accounts]),
            b_unapplied=literal([one.unapplied_minor for one in accounts]),
            b_credits=literal([one.unused_credits_minor for one in accounts]),
        )
    except DBAPIError as error:
        if sqlstate(error) != _OUT_OF_RANGE:
            raise
        raise OverflowError("a customer's balance is larger than any that is kept") from error
    if len(rows) != len(accounts):
        raise RuntimeError("an account of a payment or an item is not there")
    return [Balance(*row) for row in rows]
