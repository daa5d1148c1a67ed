"""A database that was never analysed: the first minute of an import."""

import re

import asyncpg
import pytest
from matching.storage.account_balances import ADD_TO_ACCOUNTS
from matching.storage.books import DUE, LOCK_ITEMS, LOCK_PAYMENTS, SAVE
from matching.storage.candidates import DIRECT
from matching.storage.movements import DETAILS, NAMED
from matching.storage.told_before import TOLD_BEFORE
from shared.ids import new_id
from shared.testing.databases import fresh_database

_BY_KEY = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; SET enable_bitmapscan = off"
_KEYS = "(SELECT CAST(array_agg(gen_random_uuid()) AS text) FROM generate_series(1, 1000))"


async def test_rows_are_found_by_their_whole_keys(infrastructure):
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        conn = await asyncpg.connect(urls.app)
        try:
            await conn.execute(_BY_KEY)
            for statement, *indexes in (
                (LOCK_PAYMENTS, "payment_pkey"),
                (LOCK_ITEMS, "open_item_pkey"),
                (DIRECT, "payment_pkey", "item_reference_pkey", "open_item_pkey"),
                (DUE, "payment_due"),
            ):
                text = statement.replace(":tenants", _KEYS).replace(":ids", _KEYS)
                text = text.replace(":tenant", "(SELECT gen_random_uuid())").replace(":now", "now()")
                plan = "\n".join(row[0] for row in await conn.fetch("EXPLAIN " + text))
                used = re.findall(r"using (\w+) on (?:payment|item_reference|open_item) ", plan)
                assert sorted(used) == sorted(indexes), plan
        finally:
            await conn.close()


async def test_a_plan_made_while_little_is_there_finds_what_it_saves_by_its_whole_key(infrastructure):
    """It was kept: at 2,000 payments a second each batch read all that had come, until the table was analysed."""
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        conn = await asyncpg.connect(urls.app)
        try:
            await conn.execute(_BY_KEY)
            for statement, table, column in ((SAVE, "payment", "payment_id"), (SAVE, "open_item", "item_id")):
                plan = await _plan(conn, statement)
                looked_up = rf"{table}_pkey on {table}.*\n\s*Index Cond: \(\(tenant_id = \w+.tenant\) AND \({column} = \w+.id\)\)"
                assert re.search(looked_up, plan), plan
        finally:
            await conn.close()


async def test_accounts_are_added_to_in_the_order_of_their_keys(infrastructure):
    """Each is locked when its row comes, by its whole key: two workers that add to the same ones never wait for each other both."""
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        conn = await asyncpg.connect(urls.app)
        try:
            for settings in ("SELECT 1", _BY_KEY):  # as the API has it, as a worker does
                await conn.execute(settings)
                plan = await _plan(conn, ADD_TO_ACCOUNTS)
                assert re.search(r"Nested Loop.+Subquery Scan on t.+Sort Key: \w+.tenant, \w+.id.+on account_balance", plan, re.DOTALL), (
                    plan
                )
                key = r"account_balance_pkey on account_balance a .*\n\s*Index Cond: \(\(tenant_id = t.tenant\) AND \(account_id = t.id\)\)"
                assert re.search(key, plan), plan
        finally:
            await conn.close()


async def _plan(conn, statement):
    text = re.sub(r"(?<!:):[a-z_]+", "(SELECT CAST(NULL AS text))", statement)
    return "\n".join(row[0] for row in await conn.fetch("EXPLAIN " + text))


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (TOLD_BEFORE, {"payment_end_to_end", "payment_transaction"}),
        (NAMED + "SELECT * FROM named", {"payment_end_to_end", "payment_bank_reference", "payment_transaction"}),  # noqa: S608 - ours
        ("SELECT * FROM movement m CROSS JOIN LATERAL (" + DETAILS + ") d", {"payment_entry_reference"}),  # noqa: S608 - ours
    ],
    ids=["payments told before", "what returns name", "details of totals"],
)
async def test_what_an_import_looks_up_is_found_by_its_whole_key(infrastructure, statement, indexes):
    """A file of 20,000 entries spent two thirds of its time reading what it had booked before."""
    text = re.sub(r"(?<!:):(tenant|account)\b", "(SELECT gen_random_uuid())", statement)
    text = re.sub(r"(?<!:):[a-z0-9]+", "CAST((SELECT array_agg(n) FROM generate_series(1, 1000) n) AS text)", text)
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        conn = await asyncpg.connect(urls.app)
        try:
            plan = "\n".join(row[0] for row in await conn.fetch("EXPLAIN " + text))
            assert set(re.findall(r"using (payment_\w+) on payment ", plan)) == indexes, plan
            assert "Seq Scan on payment" not in plan, plan
        finally:
            await conn.close()


_MANY = (
    "INSERT INTO payment (tenant_id, payment_id, version, bank_account_id, entity_id, transaction_key, currency, amount_minor, "
    "allocated_minor, unapplied_minor, returned_minor, refunded_minor, booking_date, value_date, confirmation, source, status, looks, "
    "end_to_end_id, bank_reference, remittance, received_at) SELECT $1, gen_random_uuid(), 1, $2, gen_random_uuid(), 'ref:' || n || "
    "'|credit|1000', 'EUR', 1000, 0, 1000, 0, 0, '2026-01-01', '2026-01-01', 'booked', 'camt.053', 'received', 0, 'E' || n, 'B' || n, "
    "'{}', now() FROM generate_series(1, 2000) n"
)


@pytest.mark.parametrize(
    ("statement", "columns"),
    [(TOLD_BEFORE, ["end_to_end_id"]), (NAMED + "SELECT * FROM named", ["bank_reference", "end_to_end_id"])],  # noqa: S608 - ours
    ids=["payments told before", "what returns name"],
)
async def test_an_account_that_the_statistics_do_not_know_is_not_read_once_for_each_entry(infrastructure, statement, columns):
    """Its first file of 8,000 entries, and the next one that tells some of them again: a slice held the account for half a minute."""
    tenant, old, new = new_id(), new_id(), new_id()
    text = statement.replace(":tenant", f"'{tenant}'").replace(":account", f"'{new}'")
    text = re.sub(r"(?<!:):[a-z0-9]+", "CAST((SELECT array_agg(n) FROM generate_series(1, 1000) n) AS text)", text)
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        owner, app = await asyncpg.connect(urls.owner), await asyncpg.connect(urls.app)
        try:
            for conn in (owner, app):
                await conn.execute(f"SET app.tenants = '{{{tenant}}}'")
            await owner.fetch(_MANY, tenant, old)
            await owner.execute("ANALYZE payment")
            await owner.fetch(_MANY, tenant, new)
            plan = "\n".join(row[0] for row in await app.fetch("EXPLAIN " + text))
            looked_up = re.findall(r"Index Cond: \(.*bank_account_id = .*\((\w+) = \w+.\w+\)\)", plan)
            assert set(columns) <= set(looked_up), plan
            assert "payment_identity" not in plan, plan
        finally:
            await owner.close()
            await app.close()
