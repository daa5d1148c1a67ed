"""Row-level security, as the catalogue of the database has it and as raw SQL meets it."""

import asyncpg
import pytest
from shared.db import Database, fetch, run
from shared.tables import WITHOUT_TENANT_SCOPE
from shared.testing.databases import Urls
from toyservice.harness import TENANTS
from toyservice.tables import METADATA

_TABLES = """
SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced, pg_get_userbyid(c.relowner) AS owner,
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS policy
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname !~ '^inbox_[0-9]{8}$'
"""


async def unscoped(connection: asyncpg.Connection) -> set[str]:
    """The tables that are not under forced row-level security with a policy."""
    return {row["name"] for row in await connection.fetch(_TABLES) if not (row["forced"] and row["policy"])}


async def test_every_table_but_the_named_ones_is_under_forced_row_level_security(urls: Urls) -> None:
    owner = await asyncpg.connect(urls.owner)
    rows = await owner.fetch(_TABLES)
    assert {row["name"] for row in rows} == set(METADATA.tables) | {"alembic_version"}
    assert {row["owner"] for row in rows} == {"toyservice_owner"}
    assert await unscoped(owner) == WITHOUT_TENANT_SCOPE
    change = owner.transaction()
    await change.start()
    await owner.execute("CREATE TABLE one_more (tenant_id uuid)")
    assert await unscoped(owner) == WITHOUT_TENANT_SCOPE | {"one_more"}
    await change.rollback()
    await owner.close()


async def test_tenant_leads_every_key_and_unique_index() -> None:
    for table in METADATA.sorted_tables:
        if table.name not in WITHOUT_TENANT_SCOPE:
            assert next(iter(table.primary_key)).name == "tenant_id", table.name
            assert all(next(iter(index.columns)).name == "tenant_id" for index in table.indexes), table.name


async def test_no_role_but_the_checks_passes_row_level_security(urls: Urls) -> None:
    owner = await asyncpg.connect(urls.owner)
    rows = await owner.fetch("SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname LIKE 'toyservice%'")
    assert {row["rolname"]: row["rolbypassrls"] for row in rows} == {
        "toyservice": False,
        "toyservice_owner": False,
        "toyservice_relay": False,
        "toyservice_check": True,
    }
    assert not any(row["rolsuper"] or row["rolcreaterole"] for row in rows)
    await owner.close()


async def test_raw_sql_without_a_scope_sees_and_changes_nothing(database: Database, urls: Urls) -> None:
    async with database.transaction(*TENANTS) as conn:
        for tenant in TENANTS:
            await run(conn, "INSERT INTO reminded VALUES (:t, :c, 1)", t=tenant, c=TENANTS[0])
    app = await asyncpg.connect(urls.app)
    scoped = [name for name in METADATA.tables if name not in WITHOUT_TENANT_SCOPE]
    for name in scoped:
        assert await app.fetchval(f"SELECT count(*) FROM {name}") == 0  # noqa: S608 - our own text
    assert await app.execute("UPDATE reminded SET times = 9") == "UPDATE 0"
    assert await app.execute("DELETE FROM reminded") == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await app.execute("INSERT INTO reminded VALUES ($1, $1, 1)", TENANTS[0])
    await app.close()
    check = await asyncpg.connect(urls.check)
    assert await check.fetchval("SELECT count(*) FROM reminded") == len(TENANTS)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await check.execute("DELETE FROM reminded")
    await check.close()


async def test_a_scope_shows_its_tenants_alone_and_ends_with_its_transaction(database: Database) -> None:
    async with database.transaction(TENANTS[1]) as conn:
        assert {row.tenant_id for row in await fetch(conn, "SELECT tenant_id FROM reminded")} == {TENANTS[1]}
        assert await run(conn, "UPDATE reminded SET times = 5") == 1
    with pytest.raises(Exception, match="row-level security"):
        async with database.transaction(TENANTS[1]) as conn:
            await run(conn, "UPDATE reminded SET tenant_id = :other", other=TENANTS[0])
    for _ in range(20):  # every connection of the pool has served a scope by now
        async with database.transaction() as conn:
            assert await fetch(conn, "SELECT 1 FROM reminded") == []


async def test_a_tenant_is_noted_when_it_is_first_served(database: Database) -> None:
    assert set(TENANTS) <= set(await database.tenants())
