from uuid import UUID

import asyncpg
import pytest
from shared import audit
from shared.db import Database
from shared.ids import named_id
from shared.testing.databases import Urls

TENANT, OTHER = (named_id("audited", UUID(int=number)) for number in (1, 2))


async def _written(database: Database) -> None:
    for tenant in (TENANT, OTHER):
        for number in range(3):
            async with database.transaction(tenant) as conn:
                await audit.record(conn, tenant, [("ann", "invoice.cancel", f"invoice {number}.{k}", {"k": k, "x": 0.1}) for k in range(4)])
                await audit.record(conn, tenant, [])
            assert await audit.seal(database, tenant) == 4
        assert await audit.seal(database, tenant) == 0


async def _broken(urls: Urls) -> list[str]:
    checker = Database(urls.check, application_name="check", pool_max=2)
    try:
        async with checker.engine.begin() as conn:
            return await audit.broken_seals(conn)
    finally:
        await checker.close()


async def test_every_way_of_tampering_is_found(database: Database, urls: Urls) -> None:
    await _written(database)
    assert await _broken(urls) == []
    owner = await asyncpg.connect(urls.owner)
    await owner.execute("ALTER TABLE audit NO FORCE ROW LEVEL SECURITY; ALTER TABLE audit_seal NO FORCE ROW LEVEL SECURITY")
    row = "tenant_id = $1 AND id = (SELECT min(id) FROM audit WHERE tenant_id = $1 AND sealed_by = 2)"
    for tampering in (
        f"UPDATE audit SET actor = 'bob' WHERE {row}",  # noqa: S608 - our own text
        f"UPDATE audit SET detail = '{{}}' WHERE {row}",  # noqa: S608 - our own text
        f"UPDATE audit SET at = at + interval '1 us' WHERE {row}",  # noqa: S608 - our own text
        f"UPDATE audit SET sealed_by = NULL WHERE {row}",  # noqa: S608 - our own text
        f"UPDATE audit SET sealed_by = 3 WHERE {row}",  # noqa: S608 - our own text
        f"DELETE FROM audit WHERE {row}",  # noqa: S608 - our own text
        "INSERT INTO audit (tenant_id, at, actor, action, subject, detail, sealed_by) VALUES ($1, now(), 'a', 'b', 'c', '{}', 2)",
        "DELETE FROM audit_seal WHERE tenant_id = $1 AND number = 1",
        "UPDATE audit_seal SET hash = sha256('') WHERE tenant_id = $1 AND number = 1",
    ):
        await owner.execute(tampering, TENANT)
        broken = await _broken(urls)
        assert broken, tampering
        assert all(str(TENANT) in each for each in broken)
        await owner.execute("DELETE FROM audit; DELETE FROM audit_seal")
        await _written(database)
        assert await _broken(urls) == []
    await owner.execute("ALTER TABLE audit FORCE ROW LEVEL SECURITY; ALTER TABLE audit_seal FORCE ROW LEVEL SECURITY")
    await owner.close()


async def test_the_application_adds_rows_and_never_changes_one(urls: Urls) -> None:
    app = await asyncpg.connect(urls.app)
    await app.execute("SELECT set_config('app.tenants', $1, false)", f"{{{TENANT}}}")
    for forbidden in (
        "UPDATE audit SET actor = 'bob'",
        "UPDATE audit SET detail = '{}'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "UPDATE audit_seal SET hash = ''",
        "DELETE FROM audit_seal",
        "ALTER TABLE audit DISABLE ROW LEVEL SECURITY",
        "DROP TABLE audit",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(forbidden)
    await app.close()
