"""What is unavailable is tried again; everything else is poison."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from shared.db import Database, fetch, records
from shared.failures import PoisonError, UnavailableError, is_unavailable, sqlstate
from shared.kafka import Offsets, Producer
from shared.recordbatches import build
from shared.testing.databases import Urls
from sqlalchemy.exc import DBAPIError


@pytest.mark.parametrize("error", [UnavailableError("x"), TimeoutError(), ConnectionResetError(), OSError("no route")])
def test_outages_are_unavailable(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize("error", [PoisonError("x"), ValueError("x"), KeyError("x"), RuntimeError("x"), TypeError("x")])
def test_what_is_not_known_is_poison(error: Exception) -> None:
    assert not is_unavailable(error)


@pytest.mark.parametrize("execute", [fetch, records])
@pytest.mark.parametrize(
    ("statement", "code", "unavailable"),
    [
        ("SELECT 1 / 0", "22012", False),
        ("SELECT * FROM nowhere", "42P01", False),
        ("INSERT INTO tenant (tenant_id) VALUES (NULL) RETURNING 1", "23502", False),
        ("SELECT pg_sleep(1)", "57014", True),
    ],
)
async def test_the_server_says_which(
    database: Database,
    execute: Callable[..., Awaitable[object]],
    statement: str,
    code: str,
    unavailable: bool,  # noqa: FBT001 - pytest names it
) -> None:
    async def fail() -> None:
        async with database.transaction() as conn:
            await fetch(conn, "SELECT set_config('statement_timeout', '100', true)")
            await execute(conn, statement)

    with pytest.raises(DBAPIError) as caught:
        await fail()
    assert sqlstate(caught.value) == code
    assert is_unavailable(caught.value) is unavailable


async def test_what_the_driver_refuses_is_a_value_that_cannot_be_stored(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as conn:
            await records(conn, "SELECT CAST(:n AS int)", n=1 << 40)

    with pytest.raises(DBAPIError) as caught:
        await fail()
    assert isinstance(caught.value.orig, Exception)
    assert isinstance(caught.value.orig.__cause__, asyncpg.DataError | asyncpg.InterfaceError)
    assert str(1 << 40) not in str(caught.value)


async def test_records_are_those_of_one_transaction_and_are_counted(database: Database) -> None:
    async with database.engine.connect() as conn:
        with pytest.raises(RuntimeError):
            await records(conn, "SELECT 1")
    async with database.transaction() as conn:
        before = database.statements
        rows = await records(conn, "SELECT CAST(:a AS int), CAST(:b AS text), CAST(:a AS int)", b="x", a=1)
        assert ([tuple(row) for row in rows], database.statements - before) == ([(1, "x", 1)], 1)


@pytest.mark.parametrize("execute", [fetch, records])
async def test_a_deadlock_and_a_lost_connection_are_unavailable(
    database: Database, urls: Urls, execute: Callable[..., Awaitable[object]]
) -> None:
    async def cross(first: int, second: int) -> None:
        async with database.transaction() as conn:
            await execute(conn, "SELECT pg_advisory_xact_lock(CAST(:n AS bigint))", n=first)
            await asyncio.sleep(0.2)
            await execute(conn, "SELECT pg_advisory_xact_lock(CAST(:n AS bigint))", n=second)

    outcomes = await asyncio.gather(cross(1, 2), cross(2, 1), return_exceptions=True)
    (loser,) = [each for each in outcomes if isinstance(each, Exception)]
    assert sqlstate(loser) == "40P01"
    assert is_unavailable(loser)

    killer = await asyncpg.connect(urls.app)

    async def cut() -> None:
        async with database.transaction() as conn:
            await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tests'")
            await execute(conn, "SELECT 1")

    with pytest.raises(Exception, match=r".") as caught:
        await cut()
    await killer.close()
    assert is_unavailable(caught.value)
    await database.ping()  # the pool has thrown its dead connections away


async def test_a_broker_that_is_away_is_unavailable() -> None:
    """A handler that asks for offsets meanwhile must not have its messages dead-lettered."""
    offsets, producer = Offsets("127.0.0.1:1"), Producer("127.0.0.1:1", client_id="test")
    for asked in (offsets.ends(["PaymentReceived"]), offsets.committed("group"), producer.send({("t", 0): build([(0, b"k", b"v", [])])})):
        with pytest.raises(Exception, match="Kafka") as caught:
            await asked
        assert is_unavailable(caught.value)
    await offsets.close()
    await producer.close()
