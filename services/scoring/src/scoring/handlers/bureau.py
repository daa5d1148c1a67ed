"""The bureau loop of a worker: onboarding pull, refresh, notifications.

Invariants: nothing is locked while a bureau answers (subjects are leased); requests are paced; after FAILURES_IN_A_ROW
the breaker opens and nobody is asked for a while, so what is known grows stale by its date and never turns good by
default; a notification is taken once per tenant and marked processed only after its company is down to be asked.
When to ask next is counted on the business clock (it is a matter of days); pacing and breaker on the machine's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx
from shared.clock import monotonic
from shared.db import Database
from shared.failures import is_unavailable
from shared.jobs import tenants_due
from shared.logging import log
from shared.service import Runtime
from sqlalchemy import Row

from scoring.creditsafe import BureauUnavailableError, Creditsafe
from scoring.domain.observation import from_creditsafe
from scoring.settings import ScoringSettings
from scoring.storage import bureau as storage

T = TypeVar("T")
BATCH = 50
LEASE = timedelta(minutes=15)
ROUND_SECONDS = 1.0
NOTIFICATIONS_EVERY = 30.0
TRIES = 3
PATIENCE_SECONDS = 5.0
FAILURES_IN_A_ROW = 3
OPEN_SECONDS = 60.0
NOT_FOUND_AGAIN = timedelta(days=90)
BACKOFF_DAYS_MOST = 7


class Breaker:
    """Says whether the bureau may be asked. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_from = 0.0

    @property
    def open(self) -> bool:
        """Whether asking has to wait."""
        return self._clock() < self._closed_from

    def succeeded(self) -> None:
        """The bureau answered."""
        self._failures = 0

    def failed(self, retry_after: float | None) -> None:
        """It did not; a `retry_after` of its own is obeyed at once."""
        self._failures += 1
        if retry_after is not None or self._failures >= FAILURES_IN_A_ROW:
            self._closed_from = self._clock() + max(retry_after or 0.0, OPEN_SECONDS if self._failures >= FAILURES_IN_A_ROW else 0.0)


class BureauDesk:
    """Asks one bureau on behalf of all tenants. `sleep` waits so many seconds; `spacing` lies before each request."""

    def __init__(
        self,
        database: Database,
        bureau: Creditsafe,
        *,
        refresh: timedelta,
        spacing: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        breaker: Breaker | None = None,
    ) -> None:
        self._database, self._bureau, self._refresh, self._spacing, self._sleep = database, bureau, refresh, spacing, sleep
        self.breaker = breaker or Breaker()

    async def pull(self, tenant_id: UUID, now: datetime) -> int:
        """Asks about the tenant's subjects that are due, at most BATCH; returns how many were settled."""
        if self.breaker.open:
            return 0
        async with self._database.transaction(tenant_id) as conn:
            subjects = list(await storage.lease(conn, tenant_id, now=now, until=now + LEASE, limit=BATCH))
        settled = 0
        while subjects and not self.breaker.open:
            subject = subjects.pop(0)
            try:
                await self._patiently(lambda subject=subject: self._ask(tenant_id, subject, now))  # type: ignore[misc] # bound now, not later
            except BureauUnavailableError as error:
                await self._put_off(tenant_id, subject, error, now)
            else:
                self.breaker.succeeded()
                settled += 1
        if subjects:
            async with self._database.transaction(tenant_id) as conn:
                await storage.hand_back(conn, tenant_id, [subject.customer_id for subject in subjects], now)
        return settled

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks again, TRIES times in all, while the bureau names a short wait."""
        for attempt in range(1, TRIES + 1):
            await self._sleep(self._spacing)
            try:
                return await ask()
            except BureauUnavailableError as error:
                if attempt == TRIES or error.retry_after is None or error.retry_after > PATIENCE_SECONDS:
                    raise
                await self._sleep(error.retry_after)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _ask(self, tenant_id: UUID, subject: Row[Any], now: datetime) -> None:
        reference = subject.reference
        if reference is None:
            country, number = subject.searched.split(":", 1)
            found = await self._bureau.find(country, number, subject.name)
            if found.reference is None:
                await self._settle(tenant_id, subject, found.status, None, now + NOT_FOUND_AGAIN)
                return
            reference = found.reference
            await self._sleep(self._spacing)
        report = await self._bureau.report(reference)
        if report is None:
            await self._settle(tenant_id, subject, "not_found", reference, now + NOT_FOUND_AGAIN)
            return
        observation = from_creditsafe(report, reference=reference, fetched_at=now)
        async with self._database.transaction(tenant_id) as conn:
            await storage.observe(conn, tenant_id, subject.customer_id, observation)
        await self._settle(tenant_id, subject, "found", reference, now + self._refresh)

    async def _settle(self, tenant_id: UUID, subject: Row[Any], status: str, reference: str | None, again: datetime) -> None:
        async with self._database.transaction(tenant_id) as conn:
            await storage.settle(conn, tenant_id, subject.customer_id, status=status, reference=reference, failures=0, again=again)

    async def _put_off(self, tenant_id: UUID, subject: Row[Any], error: BureauUnavailableError, now: datetime) -> None:
        self.breaker.failed(error.retry_after)
        log.warning("bureau_unavailable", why=str(error), failures=subject.failures + 1, breaker_open=self.breaker.open)
        wait = min(timedelta(minutes=2) * 2 ** min(subject.failures, 12), timedelta(days=BACKOFF_DAYS_MOST))
        async with self._database.transaction(tenant_id) as conn:
            status = "found" if subject.reference else "new"
            await storage.settle(
                conn, tenant_id, subject.customer_id, status=status, reference=None, failures=subject.failures + 1, again=now + wait
            )

    async def poll(self, tenants: Sequence[UUID], now: datetime) -> int:
        """Takes what the bureau notifies of and gives it to every tenant it concerns; returns how many were told.

        Marked as processed last: after a crash in between it comes again and is known by its id.
        """
        if self.breaker.open:
            return 0
        told = 0
        try:
            events = await self._patiently(self._bureau.notifications)
            for tenant_id in tenants if events else ():
                async with self._database.transaction(tenant_id) as conn:
                    told += await storage.notified(conn, tenant_id, [(each.id, each.reference, each.event_at) for each in events], now)
            for number in dict.fromkeys(each.id for each in events):
                await self._patiently(lambda number=number: self._bureau.processed(number))  # type: ignore[misc] # bound now, not later
        except BureauUnavailableError as error:
            self.breaker.failed(error.retry_after)
            log.warning("bureau_unavailable", why=str(error), breaker_open=self.breaker.open)
        else:
            self.breaker.succeeded()
        return told


async def watch(runtime: Runtime) -> None:
    """Pulls and polls for every tenant until the process stops. Does nothing without a bureau's address."""
    settings = runtime.settings
    if not isinstance(settings, ScoringSettings) or settings.bureau_url is None:
        return
    async with httpx.AsyncClient(base_url=settings.bureau_url) as client:
        bureau = Creditsafe(client, username=settings.bureau_username, password=settings.bureau_password.get_secret_value())
        refresh = timedelta(days=settings.bureau_refresh_days)
        desk = BureauDesk(runtime.database, bureau, refresh=refresh, spacing=1 / settings.bureau_requests_per_second)
        polled = monotonic()
        while not runtime.stopping.is_set():
            try:
                for tenant in await tenants_due(runtime.database, storage.DUE, runtime.clock.now()):
                    if runtime.stopping.is_set():
                        return
                    await desk.pull(tenant, runtime.clock.now())
                if monotonic() - polled >= NOTIFICATIONS_EVERY:
                    await desk.poll(await runtime.database.tenants(), runtime.clock.now())
                    polled = monotonic()
            except Exception as error:  # an outage of the database is waited for like anywhere else
                if not is_unavailable(error):
                    raise
                log.warning("bureau_waits", why=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runtime.stopping.wait(), ROUND_SECONDS)
