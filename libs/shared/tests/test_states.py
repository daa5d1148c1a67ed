import random
from uuid import UUID

from shared.db import Database, fetch
from shared.ids import named_id
from shared.states import keep
from shared.testing.databases import Urls
from toyservice.harness import TENANTS
from toyservice.tables import PAYMENT


def _rows(chance: random.Random) -> list[dict]:
    """A history of payments of two tenants that use the same ids; the amount tells the version."""
    return [
        {"tenant_id": tenant, "payment_id": UUID(int=number), "version": version, "account_id": UUID(int=1), "amount_minor": version * 10}
        for tenant in TENANTS[:2]
        for number in range(20)
        for version in range(1, chance.randrange(2, 6))
    ]


async def _kept(database: Database) -> list[tuple]:
    async with database.transaction(*TENANTS) as conn:
        return [tuple(row) for row in await fetch(conn, "SELECT tenant_id, payment_id, version, amount_minor FROM payment ORDER BY 1, 2")]


async def test_any_shuffle_and_repetition_leaves_the_same_rows(database: Database, urls: Urls) -> None:
    del urls
    history = _rows(random.Random(1))
    expected = sorted({(row["tenant_id"], row["payment_id"]): (row["version"], row["amount_minor"]) for row in history}.items())
    for seed in range(25):
        chance = random.Random(seed)
        shuffled = history + chance.choices(history, k=30)
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randrange(1, 40)
            async with database.transaction(*TENANTS) as conn:
                await keep(conn, PAYMENT, shuffled[:size])
            shuffled = shuffled[size:]
        assert await _kept(database) == [(*key, *value) for key, value in expected]
        async with database.transaction(*TENANTS) as conn:
            await fetch(conn, "DELETE FROM payment RETURNING 1")


async def test_it_tells_which_rows_were_applied(database: Database) -> None:
    tenant = named_id("tenant", UUID(int=99))

    def row(number: int, version: int) -> dict:
        return {"tenant_id": tenant, "payment_id": UUID(int=number), "version": version, "account_id": UUID(int=1), "amount_minor": 1}

    async with database.transaction(tenant) as conn:
        assert await keep(conn, PAYMENT, []) == set()
        assert await keep(conn, PAYMENT, [row(1, 2), row(2, 1), row(1, 1)]) == {(tenant, UUID(int=1)), (tenant, UUID(int=2))}
        assert await keep(conn, PAYMENT, [row(1, 2), row(2, 2), row(1, 1)]) == {(tenant, UUID(int=2))}


async def test_a_batch_of_thousands_is_a_few_statements(database: Database) -> None:
    tenant = named_id("tenant", UUID(int=98))
    rows = [
        {"tenant_id": tenant, "payment_id": UUID(int=number), "version": 1, "account_id": UUID(int=1), "amount_minor": 1}
        for number in range(10_000)
    ]
    async with database.transaction(tenant) as conn:
        before = database.statements
        assert len(await keep(conn, PAYMENT, rows)) == 10_000
        assert database.statements - before == 1
