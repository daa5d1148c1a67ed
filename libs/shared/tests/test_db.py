"""The transaction edge: what it leaves behind when something goes wrong between its begin and its commit."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import asyncpg
import pytest
from shared.db import Database, at_end, fetch, records, run, savepoint
from shared.testing.databases import Urls
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from toyservice.harness import TENANTS

ONE = TENANTS[0]


@pytest.fixture
async def single(urls: Urls) -> Database:
    """A pool of one connection: whoever comes next gets the one that went before."""
    return Database(urls.app, application_name="single", pool_max=1)


async def scope(database: Database, *tenants: UUID) -> str:
    async with database.transaction(*tenants) as conn:
        return str((await fetch(conn, "SELECT current_setting('app.tenants') AS scope"))[0].scope)


async def test_a_transaction_sees_the_tenants_it_names_and_the_next_one_none_of_them(single: Database) -> None:
    assert await scope(single, *TENANTS) == "{" + ",".join(sorted(map(str, TENANTS))) + "}"
    assert await scope(single) == "{}"
    await single.close()


async def test_what_was_stopped_on_its_way_is_undone_and_its_connection_serves_the_next(single: Database) -> None:
    begun = asyncio.Event()

    async def slow() -> None:
        async with single.transaction(ONE) as conn:
            await run(conn, "CREATE TEMPORARY TABLE left_behind (id int)")
            begun.set()
            await records(conn, "SELECT pg_sleep(60)")

    task = asyncio.create_task(slow())
    await begun.wait()
    await asyncio.sleep(0.05)
    for _ in range(3):  # also while it rolls back
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    async with single.transaction(ONE) as conn:
        assert (await fetch(conn, "SELECT to_regclass('left_behind') AS found"))[0].found is None
    await single.close()


async def test_what_is_put_off_is_done_once_before_the_commit_and_what_a_savepoint_took_back_is_not(single: Database) -> None:
    done: list[tuple[str, list[int]]] = []

    async def early(conn: AsyncConnection, given: Sequence[int]) -> None:
        done.append(("early", [*given]))
        at_end(conn, late, 9, last=True)

    async def late(conn: AsyncConnection, given: Sequence[int]) -> None:
        await records(conn, "SELECT 1")  # still within the transaction
        done.append(("late", [*given]))

    async with single.transaction(ONE) as conn:
        at_end(conn, late, 1, last=True)
        at_end(conn, early, 2)
        with suppress(ValueError):
            async with savepoint(conn):
                at_end(conn, early, 3)
                at_end(conn, late, 3, last=True)
                raise ValueError
        async with savepoint(conn) as trial:
            at_end(conn, early, 4)
            await trial.rollback()
        async with savepoint(conn):
            at_end(conn, early, 5)
        assert not done
    assert done == [("early", [2, 5]), ("late", [1, 9])]
    with suppress(ValueError):
        async with single.transaction(ONE) as conn:
            at_end(conn, early, 6)
            raise ValueError
    assert len(done) == 2
    async with single.engine.connect() as conn:
        with pytest.raises(RuntimeError, match="nothing ends here"):
            at_end(conn, early, 7)
    await single.close()


async def test_a_swallowed_refusal_does_not_pass_for_a_commit(single: Database) -> None:
    async def swallow() -> None:
        async with single.transaction(ONE) as conn:
            with suppress(DBAPIError):
                await records(conn, "SELECT 1 / (SELECT 0)")

    with pytest.raises(RuntimeError, match="nothing of it was committed"):
        await swallow()
    assert await scope(single, ONE) == "{" + str(ONE) + "}"
    await single.close()


async def test_connections_that_the_server_closed_fail_nobody_who_comes_later(urls: Urls) -> None:
    database = Database(urls.app, application_name="closed", pool_max=3)
    together = asyncio.Barrier(3)

    async def hold() -> None:
        async with database.transaction(ONE):
            await together.wait()

    await asyncio.gather(*(hold() for _ in range(3)))
    killer = await asyncpg.connect(urls.app)
    await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'closed'")
    await killer.close()
    await asyncio.sleep(0.1)
    await asyncio.gather(*(hold() for _ in range(3)))
    await database.close()
