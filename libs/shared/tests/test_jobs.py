import asyncio
from uuid import UUID

import asyncpg
import pytest
from shared import jobs as module
from shared.clock import BusinessClock
from shared.db import Database, fetch
from shared.jobs import Job, JobContext, Scheduler
from shared.testing.databases import Urls
from shared.testing.waiting import eventually
from toyservice.harness import TENANTS


async def _served(database: Database) -> None:
    async with database.transaction(*TENANTS):
        pass


def _scheduler(database: Database, *jobs: Job) -> Scheduler:
    return Scheduler("toyservice", database, jobs, clock=BusinessClock(), bootstrap_servers="127.0.0.1:1", topic_prefix="")


async def test_one_process_leads_and_another_takes_over_when_its_lock_is_lost(urls: Urls) -> None:
    databases = [Database(urls.app, application_name=f"jobs-{number}", pool_max=4) for number in range(2)]
    await _served(databases[0])
    ran: list[tuple[int, UUID]] = []
    running = [0, 0]

    def job(number: int) -> Job:
        async def run(context: JobContext, tenant: UUID) -> None:
            assert context.now.tzinfo is not None
            running[number] += 1
            assert min(running) == 0, "two leaders at once"
            await asyncio.sleep(0.005)
            running[number] -= 1
            ran.append((number, tenant))

        return Job("job", 0.05, run)

    schedulers = [_scheduler(database, job(number)) for number, database in enumerate(databases)]
    tasks = [asyncio.create_task(scheduler.run()) for scheduler in schedulers]

    async def all_tenants() -> bool:
        return len(ran) >= 3 * len(TENANTS)

    await eventually(all_tenants)
    leader = ran[0][0]
    assert {number for number, _ in ran} == {leader}
    assert {tenant for _, tenant in ran} == set(TENANTS)

    schedulers[leader].stop()
    await tasks[leader]

    async def taken_over() -> bool:
        return ran[-1][0] != leader

    await eventually(taken_over)
    schedulers[1 - leader].stop()
    await tasks[1 - leader]
    for database in databases:
        await database.close()


async def test_a_process_that_does_not_lead_keeps_its_connection(urls: Urls) -> None:
    """It ended the session that it had asked with: another one had to learn all of its statements again, every two seconds."""
    leading, waiting = (Database(urls.app, application_name=name, pool_max=2) for name in ("leads", "waits"))
    schedulers = [_scheduler(leading), _scheduler(waiting)]
    tasks = [asyncio.create_task(schedulers[0].run())]

    async def sessions(name: str) -> set[int]:
        async with leading.transaction() as conn:
            rows = await fetch(conn, "SELECT pid FROM pg_stat_activity WHERE application_name = :name", name=name)
        return {row.pid for row in rows}

    async def asked(times: int) -> bool:
        return waiting.statements >= times

    async def leads() -> bool:
        return leading.statements > 1

    await eventually(leads)
    tasks.append(asyncio.create_task(schedulers[1].run()))
    await eventually(lambda: asked(1))
    first = await sessions("waits")
    await eventually(lambda: asked(2))
    assert first
    assert await sessions("waits") == first
    for scheduler in schedulers:
        scheduler.stop()
    await asyncio.gather(*tasks)
    await leading.close()
    await waiting.close()


async def test_a_job_that_fails_and_a_lock_that_breaks_are_survived(urls: Urls) -> None:
    database = Database(urls.app, application_name="jobs-broken", pool_max=4)
    await _served(database)
    rounds = {"good": 0, "bad": 0}

    async def good(context: JobContext, tenant: UUID) -> None:
        del context, tenant
        rounds["good"] += 1

    async def bad(context: JobContext, tenant: UUID) -> None:
        rounds["bad"] += 1
        raise ValueError(str(tenant) + str(context.now))

    scheduler = _scheduler(database, Job("good", 0.05, good), Job("bad", 0.05, bad))
    task = asyncio.create_task(scheduler.run())

    async def several() -> bool:
        return min(rounds.values()) >= 3

    await eventually(several)
    owner = await asyncpg.connect(urls.owner)
    killer = await asyncpg.connect(urls.app)
    await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jobs-broken'")
    rounds.update(good=0, bad=0)
    await eventually(several)
    scheduler.stop()
    await task
    for conn in (owner, killer):
        await conn.close()
    await database.close()


async def test_what_fails_for_one_tenant_is_done_for_the_others(urls: Urls) -> None:
    """The first one's failure used to end the round, and the next round began with it again."""
    database = Database(urls.app, application_name="jobs-poison", pool_max=4)
    await _served(database)
    poisoned, *others = sorted(TENANTS)
    done: set[UUID] = set()

    async def run(context: JobContext, tenant: UUID) -> None:
        del context
        if tenant == poisoned:
            raise ValueError("always")
        done.add(tenant)

    scheduler = _scheduler(database, Job("job", 0.05, run))
    task = asyncio.create_task(scheduler.run())

    async def all_others() -> bool:
        return done == set(others)

    await eventually(all_others)
    scheduler.stop()
    await task
    await database.close()


async def test_a_round_that_took_longer_than_its_period_is_followed_by_the_next(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(urls.app, application_name="jobs-long", pool_max=4)
    await _served(database)
    clock = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])

    async def run(context: JobContext, tenant: UUID) -> None:
        del context, tenant
        clock[0] += 4_000.0

    scheduler = _scheduler(database, Job("job", 3_600.0, run))
    task = asyncio.create_task(scheduler.run())

    async def several() -> bool:
        return clock[0] > 4_000.0 * len(TENANTS) * 2

    await eventually(several)
    scheduler.stop()
    await task
    await database.close()


async def test_of_a_job_that_says_so_only_tenants_with_something_to_do_are_gone_through(urls: Urls) -> None:
    database = Database(urls.app, application_name="jobs-due", pool_max=4)
    await _served(database)
    (mine, *_), done = sorted(TENANTS), list[UUID]()

    async def run(context: JobContext, tenant: UUID) -> None:
        del context
        done.append(tenant)

    scheduler = _scheduler(database, Job("job", 0.02, run, f"t.tenant_id = '{mine}' AND :today > DATE '2000-01-01'"))
    task = asyncio.create_task(scheduler.run())

    async def often() -> bool:
        return len(done) > 3

    await eventually(often)
    scheduler.stop()
    await task
    assert set(done) == {mine}
    await database.close()


async def test_what_several_share_goes_on_in_all_of_them(urls: Urls) -> None:
    """Also in the one that leads, and until it is told to stop; nothing else does."""
    databases = [Database(urls.app, application_name=f"shares-{number}", pool_max=4) for number in range(2)]
    await _served(databases[0])
    shared, led = [0, 0], [0, 0]

    def jobs(number: int) -> tuple[Job, Job]:
        async def share(_: JobContext, __: UUID) -> None:
            shared[number] += 1

        async def lead(_: JobContext, __: UUID) -> None:
            led[number] += 1

        return Job("share", 0.02, share, everywhere=True), Job("lead", 0.02, lead)

    schedulers = [_scheduler(database, *jobs(number)) for number, database in enumerate(databases)]
    tasks = [asyncio.create_task(scheduler.run()) for scheduler in schedulers]

    async def both() -> bool:
        return min(shared) > 3 and max(led) > 3

    await eventually(both)
    assert min(led) == 0
    for scheduler, task, database in zip(schedulers, tasks, databases, strict=True):
        scheduler.stop()
        await task
        await database.close()
    ended = list(shared)
    await asyncio.sleep(0.1)
    assert shared == ended
