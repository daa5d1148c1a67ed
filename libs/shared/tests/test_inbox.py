import asyncio
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from shared import inbox
from shared.clock import machine_now
from shared.db import Database, fetch
from shared.service import prepare_inbox
from shared.testing.databases import Urls
from shared.testing.events import message
from toyservice.harness import TENANTS, reminder

TENANT = TENANTS[0]


@pytest.fixture(scope="module", autouse=True)
async def days(urls: Urls) -> None:
    database = Database(urls.app, application_name="days")
    await prepare_inbox(database)
    await prepare_inbox(database)  # twice is once
    await database.close()


async def test_duplicates_in_and_across_batches_are_claimed_once(database: Database) -> None:
    one, two, three = (message(TENANT, reminder(number)) for number in (1, 2, 3))
    async with database.transaction(TENANT) as conn:
        assert await inbox.claim(conn, "c", [one, two, one]) == [one, two]
    async with database.transaction(TENANT) as conn:
        assert await inbox.claim(conn, "c", [two, three, one, three]) == [three]
    async with database.transaction(TENANT) as conn:
        assert await inbox.claim(conn, "another consumer", [one]) == [one]


async def test_two_tenants_with_equal_numbers_are_two_facts(database: Database) -> None:
    twins = [message(tenant, reminder(10)) for tenant in TENANTS]
    async with database.transaction(*TENANTS) as conn:
        assert await inbox.claim(conn, "c", twins) == twins


async def test_of_concurrent_claims_one_wins_and_a_rollback_hands_over(database: Database) -> None:
    one = message(TENANT, reminder(20))
    won: list[int] = []
    claimed = asyncio.Event()

    async def claim(number: int) -> None:
        async with database.transaction(TENANT) as conn:
            if not await inbox.claim(conn, "c", [one]):
                return
            claimed.set()
            await asyncio.sleep(0.05)
            if number == 0:
                raise RuntimeError("the first gives up")
            won.append(number)

    first = asyncio.create_task(claim(0))
    await claimed.wait()
    others = await asyncio.gather(first, *(claim(number) for number in range(1, 6)), return_exceptions=True)
    assert isinstance(others[0], RuntimeError)
    assert others[1:] == [None] * 5
    assert len(won) == 1


async def test_old_days_are_dropped_and_new_ones_made_by_a_role_that_owns_nothing(database: Database) -> None:
    today = machine_now().date()
    async with database.transaction() as conn:
        await fetch(conn, "SELECT inbox_days(:first, :last)", first=today - timedelta(days=60), last=today)
        before = {row.relname for row in await fetch(conn, "SELECT relname FROM pg_class WHERE relname ~ '^inbox_[0-9]{8}$'")}
    await prepare_inbox(database)
    async with database.transaction() as conn:
        after = {row.relname for row in await fetch(conn, "SELECT relname FROM pg_class WHERE relname ~ '^inbox_[0-9]{8}$'")}
    assert len(before - after) == 15
    assert min(after) == f"inbox_{today - inbox.KEPT:%Y%m%d}"
    assert max(after) == f"inbox_{today + timedelta(days=7):%Y%m%d}"


async def test_the_oldest_fact_that_is_taken_still_has_its_day(database: Database) -> None:
    one = message(TENANT, reminder(30))
    oldest = msgspec.structs.replace(one, envelope=msgspec.structs.replace(one.envelope, time=machine_now() - inbox.KEPT))
    async with database.transaction(TENANT) as conn:
        assert await inbox.claim(conn, "c", [oldest]) == [oldest]
    assert UUID(int=30) == one.data.reminder_id
