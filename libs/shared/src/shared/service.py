"""A service as a value, and its roles: `api`, `worker`, `relay`, `migrate`, `check`, and `all` for one machine.

Invariants: a role refuses to start on a schema that is not the newest; SIGTERM finishes what is in hand within 25 s;
a part that fails for good ends the process, so that whoever supervises it knows.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import uvicorn
from contracts.catalogue import topics
from cryptography.exceptions import UnsupportedAlgorithm
from fastapi import APIRouter, FastAPI
from sqlalchemy import MetaData

from shared import audit, inbox, invariants, logging, migrations, telemetry
from shared.batches import Batches, Routes
from shared.clock import BusinessClock, machine_now, monotonic
from shared.consumer import Worker
from shared.db import Database, fetch
from shared.invariants import Check
from shared.jobs import Job, JobContext, Scheduler
from shared.kafka import Offsets, Producer
from shared.logging import log
from shared.relay import Notifier, Relay
from shared.settings import Settings
from shared.web.app import create_app, server_config
from shared.web.auth import Verifier
from shared.web.idempotency import forget_old
from shared.web.pagination import Cursors

IDEMPOTENCY_KEPT = timedelta(days=30)
STALL_SECONDS = 120.0
_JOBS_POOL = 6
"""Connections of a worker's jobs: one says which process runs them."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What tells one service from another."""

    name: str
    settings: type[Settings]
    metadata: MetaData
    routes: Routes
    routers: Iterable[APIRouter]
    jobs: tuple[Job, ...] = ()
    checks: tuple[Check, ...] = ()
    public_paths: frozenset[str] = frozenset()
    background: tuple[Callable[["Runtime"], Coroutine[None, None, None]], ...] = ()
    """Loops of the worker role that are neither jobs nor handlers; each returns soon after `Runtime.stopping` is set."""
    on_start: Callable[["Runtime"], Awaitable[None]] | None = None


@dataclass(kw_only=True)
class Runtime:
    """A running process of a service. `app.state.runtime` in the API."""

    service: Service
    settings: Settings
    database: Database
    clock: BusinessClock
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


def open_runtime(service: Service, settings: Settings) -> Runtime:
    """The parts that every role shares."""
    database = Database(
        settings.database_url.get_secret_value(), application_name=f"encours-{service.name}", pool_max=settings.database_pool_max
    )
    return Runtime(service=service, settings=settings, database=database, clock=BusinessClock(settings.clock_file))


def api(runtime: Runtime, readiness: Mapping[str, Callable[[], Awaitable[object]]] | None = None) -> FastAPI:
    """The service's FastAPI application. Ends the process where tokens cannot be verified by what the settings say."""
    settings, service = runtime.settings, runtime.service
    try:
        verifier = Verifier(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            public_key_file=settings.jwt_public_key_file,
            jwks_url=settings.jwt_jwks_url,
        )
    except (OSError, ValueError, UnsupportedAlgorithm) as error:  # the last: a key of a kind that the library does not know
        raise SystemExit(f"{service.name}: settings: ENCOURS_JWT_PUBLIC_KEY_FILE={settings.jwt_public_key_file}: {error}") from None
    app = create_app(
        title=f"Encours {service.name}",
        version="1",
        routers=service.routers,
        verifier=verifier,
        database=runtime.database,
        cursors=Cursors(settings.cursor_secret.get_secret_value().encode()),
        readiness={"database": runtime.database.ping, **(readiness or {})},
        public=service.public_paths,
    )
    app.state.runtime = runtime
    return app


async def run_roles(service: Service, settings: Settings, roles: frozenset[str]) -> None:
    """Runs roles of a service in this process until SIGTERM or SIGINT."""
    logging.configure(service.name, settings.log_level)
    telemetry.configure(service.name, settings.otlp_endpoint)
    if not await migrations.is_current(service.name, settings.database_url.get_secret_value()):
        raise SystemExit(f"{service.name}: the database's schema is not this code's newest: run `python -m {service.name} migrate`")
    runtime = open_runtime(service, settings)
    spare_the_collector()
    _keep_memory()
    try:
        if service.on_start is not None:
            await service.on_start(runtime)
        async with asyncio.TaskGroup() as group:
            stoppers: list[Callable[[], object]] = [runtime.stopping.set]
            if "relay" in roles:
                stoppers.append(await _start_relay(group, runtime))
            else:
                notifier = Notifier(runtime.database)
                runtime.database.after_commit.append(notifier.wake)
                group.create_task(notifier.run())
                stoppers.append(notifier.stop)
            readiness = {}
            if "worker" in roles:
                workers = await _start_workers(group, runtime, stoppers)
                readiness["consumer"] = lambda: _alive(workers)
            if "api" in roles:
                stoppers.append(_start_api(group, api(runtime, readiness), settings, runtime))
            group.create_task(_until_signalled(runtime.stopping, stoppers))
    finally:
        await runtime.database.close()


def spare_the_collector() -> None:
    """A batch makes many objects that live until its end, and no cycles: the collector would look at them over and over again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)


def _keep_memory() -> None:
    """A batch's texts are megabytes, which glibc gives back to the system after each and takes again, page by page, for the next.

    What the largest batch took stays with the process instead. Another C library decides for itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


async def _start_relay(group: asyncio.TaskGroup, runtime: Runtime) -> Callable[[], object]:
    settings, name = runtime.settings, runtime.service.name
    url = settings.relay_database_url or settings.database_url
    database = Database(url.get_secret_value(), application_name=f"encours-{name}-relay", pool_max=2)
    producer = Producer(settings.kafka_bootstrap_servers, client_id=f"{name}-relay")
    relay = Relay(database, producer, topic_prefix=settings.topic_prefix)
    runtime.database.after_commit.append(relay.wake)

    async def serve() -> None:
        try:
            await relay.run()
        finally:
            await database.close()

    group.create_task(serve())
    return relay.stop


async def _start_workers(group: asyncio.TaskGroup, runtime: Runtime, stoppers: list[Callable[[], object]]) -> list[Worker]:
    service, settings = runtime.service, runtime.settings
    # jobs have connections of their own: one that they took would be missed by the next batch, whose statements it has learnt, and
    # another one takes a tenth of a second to learn them
    database = Database(settings.database_url.get_secret_value(), application_name=f"encours-{service.name}-jobs", pool_max=_JOBS_POOL)
    database.after_commit = runtime.database.after_commit
    scheduler = Scheduler(
        service.name,
        database,
        (*service.jobs, Job("housekeeping", 60.0, _housekeeping)),
        clock=runtime.clock,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        topic_prefix=settings.topic_prefix,
    )
    await prepare_inbox(runtime.database)
    group.create_task(_inbox_days(runtime))
    workers = make_workers(runtime)
    for worker in workers:
        group.create_task(worker.run())

    async def schedule() -> None:
        try:
            await scheduler.run()
        finally:
            await database.close()

    group.create_task(schedule())
    for loop in service.background:
        group.create_task(loop(runtime))
    stoppers += [*(worker.stop for worker in workers), scheduler.stop]
    return workers


def make_batches(runtime: Runtime) -> Batches:
    """The handlers of a service, with what guards them."""
    settings = runtime.settings
    return Batches(
        runtime.service.name,
        runtime.database,
        runtime.service.routes,
        offsets=Offsets(settings.kafka_bootstrap_servers),
        topic_prefix=settings.topic_prefix,
        clock=runtime.clock,
    )


def make_workers(runtime: Runtime) -> list[Worker]:
    """The consumer loops of a service, not yet running: one for what it tells itself, one for what others tell it.

    A fetch names every partition of its client and is sent anew with each arrival: beside the ninety of all that others tell, the
    payments that matching hands itself cost the worker a fifth more, where they come one by one.
    """
    settings = runtime.settings
    batches = make_batches(runtime)
    own = [name for name in batches.topics if topics()[name].owner == runtime.service.name]
    others = [name for name in batches.topics if name not in own]
    return [
        Worker(
            batches,
            runtime.database,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            topic_prefix=settings.topic_prefix,
            batch_max=settings.batch_max,
            topics=names,
        )
        for names in (own, others)
        if names
    ]


def _start_api(group: asyncio.TaskGroup, app: FastAPI, settings: Settings, runtime: Runtime) -> Callable[[], object]:
    server = uvicorn.Server(server_config(app, host=settings.http_host, port=settings.http_port))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment] # this process handles them for all roles

    async def serve() -> None:
        await server.serve()
        if not runtime.stopping.is_set():
            raise SystemExit(f"{runtime.service.name}: the API stopped by itself (is port {settings.http_port} taken?)")

    group.create_task(serve())
    return lambda: setattr(server, "should_exit", True)


async def _until_signalled(stopping: asyncio.Event, stoppers: list[Callable[[], object]]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    log.info("stopping")
    for stop in stoppers:
        stop()


async def _alive(workers: Sequence[Worker]) -> None:
    if not all(worker.ready.is_set() and monotonic() - worker.last_poll <= STALL_SECONDS for worker in workers):
        raise RuntimeError("the consumer has not joined its group or no longer polls")


async def prepare_inbox(database: Database) -> None:
    """Makes the inbox's partitions from as far back as it remembers to a week ahead, and drops older ones."""
    today = machine_now().date()
    async with database.transaction() as conn:
        await fetch(conn, "SELECT inbox_days(:first, :last)", first=today - inbox.KEPT, last=today + timedelta(days=7))


async def _inbox_days(runtime: Runtime) -> None:
    while not runtime.stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(runtime.stopping.wait(), 3600)
        if not runtime.stopping.is_set():
            await prepare_inbox(runtime.database)


async def _housekeeping(context: JobContext, tenant: UUID) -> None:
    while await audit.seal(context.database, tenant):
        pass
    while True:
        async with context.database.transaction(tenant) as conn:
            if not await forget_old(conn, machine_now() - IDEMPOTENCY_KEPT):
                return


async def check(service: Service, settings: Settings) -> dict[str, bool | str]:
    """The service's invariants on its database, through the role that sees every tenant."""
    if settings.check_database_url is None:
        raise SystemExit("ENCOURS_CHECK_DATABASE_URL is not set: checks read every tenant through a role of their own")
    database = Database(settings.check_database_url.get_secret_value(), application_name=f"encours-{service.name}-check", pool_max=2)
    try:
        async with database.engine.begin() as conn:
            return await invariants.verify(conn, service.checks)
    finally:
        await database.close()


def print_checks(result: Mapping[str, bool | str]) -> int:
    """Prints the outcome as one JSON object; returns the exit status."""
    print(json.dumps(result, indent=2))  # noqa: T201 - a command's answer
    return 0 if all(value is True for value in result.values()) else 1
