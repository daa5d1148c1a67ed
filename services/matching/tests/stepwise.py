"""A database that is brought to one revision after another, with rows in it as they were then."""

from functools import partial

import asyncpg
from alembic import command
from shared import migrations
from shared.ids import new_id

_PLAIN = {"uuid": "gen_random_uuid()", "text": "'x'", "bigint": "1", "smallint": "1", "boolean": "false", "jsonb": "'[]'", "ARRAY": "'{}'"}
_NOW = {"date": "'2026-03-02'", "timestamp with time zone": "'2026-03-02 09:00+00'", "bytea": "''", "numeric": "1"}


async def upgrade(urls, to):
    """Brings a database to a revision."""
    await migrations._with_connection(urls.owner, partial(_upgrade, to=to))


def _upgrade(connection, *, to):
    config = migrations._config("matching")
    config.attributes["connection"] = connection
    command.upgrade(config, to)


async def insert(urls, tenants, table, **given):
    """A row of each tenant, all columns that need something filled with anything; by the application's role, as the service writes."""
    app = await asyncpg.connect(urls.app)
    await app.execute("SELECT set_config('app.tenants', $1, false)", "{" + ",".join(map(str, tenants)) + "}")
    needed = await app.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1 AND is_nullable = 'NO' "
        "AND column_default IS NULL AND is_identity = 'NO'",
        table,
    )
    filled = {name: (_PLAIN | _NOW)[kind] for name, kind in needed} | given
    for tenant in tenants:
        columns = filled | {"tenant_id": f"'{tenant}'"}
        await app.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(columns.values())})")  # noqa: S608 - the test's own
    await app.close()


async def seen(urls, query):
    """What a query finds over all tenants."""
    check = await asyncpg.connect(urls.check)
    rows = [tuple(row) for row in await check.fetch(query)]
    await check.close()
    return rows


def two():
    """Two tenants."""
    return new_id(), new_id()
