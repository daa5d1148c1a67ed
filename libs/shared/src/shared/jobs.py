"""Scheduled work of a worker: in one process of a service at a time (but for what several share, `Job.everywhere`), tenant by tenant, in
slices.

What is looked for several times a second is asked for all tenants in one statement (`Job.due`): a service with hundreds of tenants, of
whom hardly any has something to do, would do nothing else.

Invariants: the process that runs the jobs holds an advisory lock on a connection of its own and stops them when that
breaks; what fails of a round is logged, counted and tried again, and the other tenants' is done; a job is told `now` (the
business clock) and commits through Database.transaction only. A job tolerates a second runner for a moment (a lost
connection): its own row locks decide.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import metrics
from shared.clock import BusinessClock, machine_now, monotonic
from shared.days import business_day
from shared.db import Database, fetch, script
from shared.failures import is_unavailable
from shared.kafka import Offsets
from shared.logging import log

STOP_SECONDS = 20.0
_LOCK = 0x6A6F6273  # "jobs": one scheduler per database
_BY_INDEX = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; "
    "SET LOCAL plan_cache_mode = force_custom_plan"
)
"""A plan that is kept was made while the tables were small, when any index was as good as the right one: it would read all of them."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a job may use: its database, the business moment, the topics' offsets under the configured prefix."""

    database: Database
    now: datetime
    offsets: Offsets
    topic_prefix: str
    consumer: str


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done every `every_seconds` for each tenant that the service has seen, and at once again where that took longer.

    `due`: only for those of whom this says that there may be something to do, a condition of `tenants_due`. Where it says no the work
    would find nothing; where it says yes it may. `everywhere`: in all processes at once, which share the work by locks of their own.
    """

    name: str
    every_seconds: float
    run: Callable[[JobContext, UUID], Awaitable[None]]
    due: str | None = None
    everywhere: bool = False


async def tenants_due(database: Database, condition: str, now: datetime) -> list[UUID]:
    """The tenants that a service has seen and that fulfil a condition: one statement for all of them.

    It is SQL about `t.tenant_id` that an index of that tenant's answers, and may use `:now`, `:today` (its business day) and
    `:machine` (the machine's clock).
    """
    moments = {"now": now, "today": business_day(now), "machine": machine_now()}
    bound = {name: moment for name, moment in moments.items() if f":{name}" in condition}
    tenants = await database.tenants()
    async with database.transaction(*tenants) as conn:
        await script(conn, _BY_INDEX)
        statement = f"SELECT t.tenant_id FROM unnest(CAST(:tenants AS uuid[])) AS t(tenant_id) WHERE {condition} ORDER BY 1"  # noqa: S608 - ours
        return [row.tenant_id for row in await fetch(conn, statement, tenants=tenants, **bound)]


class Scheduler:
    """Runs a service's jobs until told to stop."""

    def __init__(
        self, service: str, database: Database, jobs: tuple[Job, ...], *, clock: BusinessClock, bootstrap_servers: str, topic_prefix: str
    ) -> None:
        self._service = service
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._offsets = Offsets(bootstrap_servers)
        self._prefix = topic_prefix
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Finish the rounds in hand and leave."""
        self._stop.set()

    async def run(self) -> None:
        """Runs all jobs until `stop`: what goes on everywhere, and the rest in whichever process of the service holds the lock."""
        async with self._rounds(job for job in self._jobs if job.everywhere):
            await self._stand()
        await self._offsets.close()

    async def _stand(self) -> None:
        """Asks for the lock until `stop`, and leads once it has it."""
        while not self._stop.is_set():
            try:
                async with self._database.engine.connect() as raw:
                    conn = await raw.execution_options(isolation_level="AUTOCOMMIT")
                    if (await fetch(conn, "SELECT pg_try_advisory_lock(:lock) AS held", lock=_LOCK))[0].held:
                        try:
                            await self._lead(conn)
                        finally:
                            await raw.invalidate()  # the session goes, and the lock with it
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("scheduler_waits", why=type(error).__name__)
            await self._sleep(2.0)

    async def _lead(self, conn: AsyncConnection) -> None:
        """Runs the jobs for as long as the connection that holds the lock answers."""
        async with self._rounds(job for job in self._jobs if not job.everywhere):
            while not self._stop.is_set():
                await fetch(conn, "SELECT 1")
                await self._sleep(2.0)

    @asynccontextmanager
    async def _rounds(self, jobs: Iterable[Job]) -> AsyncGenerator[None]:
        """Meanwhile these jobs run; their rounds in hand are given some time to end, unless what went on beside them failed."""
        rounds = [asyncio.create_task(self._loop(job), name=job.name) for job in jobs]
        try:
            yield
            if rounds:
                await asyncio.wait(rounds, timeout=STOP_SECONDS)
        finally:
            for task in rounds:
                task.cancel()
            await asyncio.gather(*rounds, return_exceptions=True)

    async def _loop(self, job: Job) -> None:
        while not self._stop.is_set():
            started = monotonic()
            try:
                await self._round(job)
            except Exception as error:  # noqa: BLE001 - a job that fails is told of and tried again; it takes nothing down
                _tell(job, error)
            metrics.JOB_SECONDS.labels(job.name).observe(monotonic() - started)
            await self._sleep(max(0.0, started + job.every_seconds - monotonic()))

    async def _round(self, job: Job) -> None:
        due = job.due
        for tenant in await (self._database.tenants() if due is None else tenants_due(self._database, due, self._clock.now())):
            if self._stop.is_set():
                return
            context = JobContext(self._database, self._clock.now(), self._offsets, self._prefix, self._prefix + self._service)
            try:
                await job.run(context, tenant)
            except Exception as error:
                if is_unavailable(error):  # so it is for the next tenant: the round waits
                    raise
                _tell(job, error, tenant)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


def _tell(job: Job, error: Exception, tenant: UUID | None = None) -> None:
    metrics.JOB_FAILURES.labels(job.name).inc()
    whose = {} if tenant is None else {"tenant": str(tenant)}
    if is_unavailable(error):
        log.warning("job_waits", job=job.name, why=type(error).__name__, detail=str(error)[:200], **whose)
    else:
        log.error("job_failed", job=job.name, exc_info=error, **whose)
