"""Sending webhooks: signed by the Standard Webhooks rules, to public addresses only, each attempt recorded.

Invariants:
- a delivery is leased before it is sent and its outcome written after; a sender that dies in between sends it again when
  the lease ends, with the same `webhook-id`, which is what receivers tell repetitions by;
- the address that was checked is the one that is called; redirects are never followed; an answer is read up to 64 KiB.
"""

import asyncio
import random
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from shared.clock import machine_now
from shared.db import Database
from shared.jobs import tenants_due
from shared.logging import log
from shared.service import Runtime
from standardwebhooks.webhooks import Webhook

from partners import storage
from partners.domain.addresses import is_public
from partners.domain.schedule import DISABLE_AFTER, next_attempt
from partners.settings import Settings

LEASE = timedelta(seconds=60)
TIMEOUT = httpx.Timeout(15.0, connect=5.0)
ATTEMPT_SECONDS = 20.0
ANSWER_BYTES_MAX = 64 * 1024
BATCH = 200
CONCURRENT = 32
PORTS = (443, 8443)
_OK = range(200, 300)
_GONE = 410


class UrlRefusedError(ValueError):
    """A webhook may not go there. The text says why."""


async def checked_address(url: str, *, allow_loopback: bool) -> str:
    """The numeric address to call for a webhook URL.

    Raises UrlRefusedError unless it is https on port 443 or 8443, without credentials, and every address that its name
    resolves to is public. With `allow_loopback` plain http and any port are allowed for 127.0.0.1 and ::1.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise UrlRefusedError("the URL cannot be read") from None
    host = parts.hostname or ""
    if allow_loopback and host in ("127.0.0.1", "::1"):
        return host
    if parts.scheme != "https" or port not in PORTS:
        raise UrlRefusedError("a webhook needs https on port 443 or 8443")
    if parts.username or parts.password:
        raise UrlRefusedError("a webhook's URL may hold no credentials")
    if not host or parts.fragment:
        raise UrlRefusedError("a webhook's URL needs a host and no fragment")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UrlRefusedError("the host's name does not resolve") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise UrlRefusedError("the host is not on a public address")
    return addresses[0]


async def post(client: httpx.AsyncClient, row: Any, *, allow_loopback: bool) -> tuple[int | None, str | None, timedelta | None]:
    """One attempt: (HTTP status or None, what went wrong or None, what Retry-After asks for)."""
    try:
        address = await checked_address(row.url, allow_loopback=allow_loopback)
    except UrlRefusedError as error:
        return None, str(error), None
    now = machine_now()
    body = row.cloudevent
    url = httpx.URL(row.url)
    headers = {
        "host": url.netloc.decode(),
        "content-type": "application/cloudevents+json",
        "user-agent": "Encours-Webhooks/1",
        "webhook-id": str(row.event_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(row.secret).sign(str(row.event_id), now, body),
    }
    request = client.build_request(
        "POST", url.copy_with(host=address), content=body.encode(), headers=headers, extensions={"sni_hostname": url.host}
    )
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):  # whatever trickles in: an attempt ends well within its lease
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                read = 0
                async for chunk in answer.aiter_raw():
                    read += len(chunk)
                    if read > ANSWER_BYTES_MAX:
                        break
            finally:
                await answer.aclose()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        return None, type(error).__name__, None
    problem = None if answer.status_code in _OK else f"the receiver answered {answer.status_code}"
    return answer.status_code, problem, _retry_after(answer.headers.get("retry-after"), now)


def _retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date (RFC 9110, section 10.2.3); anything else is as if it were not there."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:9]), 86_400))
    try:
        return max(timedelta(0), parsedate_to_datetime(value) - now)
    except (ValueError, TypeError):
        return None


async def send_due(database: Database, client: httpx.AsyncClient, tenant_id: UUID, *, allow_loopback: bool) -> int:
    """Sends what is due for a tenant; returns how many attempts that were."""
    now = machine_now()
    async with database.transaction(tenant_id) as conn:
        rows = await storage.lease(conn, tenant_id, now=now, until=now + LEASE, limit=BATCH)
    if not rows:
        return 0
    gate = asyncio.Semaphore(CONCURRENT)

    async def attempt(row: Any) -> tuple[int | None, str | None, timedelta | None]:
        async with gate:
            return await post(client, row, allow_loopback=allow_loopback)

    answers = await asyncio.gather(*(attempt(row) for row in rows))
    await _record(database, tenant_id, rows, answers)
    return len(rows)


async def _record(
    database: Database, tenant_id: UUID, rows: Sequence[Any], answers: Sequence[tuple[int | None, str | None, timedelta | None]]
) -> None:
    now = machine_now()
    outcomes: list[tuple[Any, ...]] = []
    worked, failed, gone = set(), set(), set()
    for row, (status, problem, retry_after) in zip(rows, answers, strict=True):
        if problem is None:
            worked.add(row.subscription_id)
            outcomes.append((row.delivery_id, "delivered", None, status, None))
            continue
        failed.add(row.subscription_id)
        if status == _GONE:
            gone.add(row.subscription_id)
        after = next_attempt(row.attempts + 1, now=now, spread=random.random(), retry_after=retry_after)  # noqa: S311 - jitter
        outcomes.append((row.delivery_id, "pending" if after else "failed", after, status, problem))
    async with database.transaction(tenant_id) as conn:
        await storage.finish(conn, tenant_id, outcomes, now=now)
        await storage.note_health(conn, tenant_id, sorted(worked), sorted(failed - worked), now=now)
        for subscription_id in sorted(gone):
            await storage.set_status(conn, tenant_id, subscription_id, "disabled")
        if disabled := await storage.disable_failing(conn, tenant_id, before=now - DISABLE_AFTER):
            log.warning("subscriptions_disabled", tenant=str(tenant_id), count=disabled)


async def send_until_stopped(runtime: Runtime) -> None:
    """The sender's loop: tenants in turn, a short rest when nothing is due."""
    settings = runtime.settings
    if not isinstance(settings, Settings):
        raise TypeError("partners runs on its own settings")
    limits = httpx.Limits(max_connections=CONCURRENT, max_keepalive_connections=CONCURRENT)
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False) as client:
        while not runtime.stopping.is_set():
            sent = 0
            try:
                for tenant_id in await tenants_due(runtime.database, storage.DELIVERY_DUE, runtime.clock.now()):
                    sent += await send_due(runtime.database, client, tenant_id, allow_loopback=settings.allow_loopback_webhooks)
            except Exception as error:  # noqa: BLE001 - leases end by themselves: whatever failed is sent again
                log.warning("webhooks_wait", why=type(error).__name__)
            if not sent:
                try:
                    await asyncio.wait_for(runtime.stopping.wait(), 0.2)
                except TimeoutError:
                    continue
