"""The bare loop that the product is compared with, and what measurements of both have in common."""

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec
from shared.clock import monotonic
from shared.kafka import Producer
from shared.testing.events import Record, in_lanes

from bench.bare import DDL
from bench.cpu import Meter
from bench.rig import Rig, arrivals

TENANT = UUID(int=7)
CUSTOMERS = 1_000


@asynccontextmanager
async def database(rig: Rig, invoices: int) -> AsyncIterator[str]:
    """A database of the bare loop with open invoices REF-0, REF-1, ...; 100.00 each."""
    name = f"bare_{os.urandom(4).hex()}"
    admin = await asyncpg.connect(rig.admin_dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    dsn = rig.admin_dsn.rsplit("/", 1)[0] + "/" + name
    conn = await asyncpg.connect(dsn)
    await conn.execute(DDL)
    await conn.execute(
        "INSERT INTO b_invoice (id, tenant, ref, customer, total, open) SELECT gen_random_uuid(), $1, 'REF-' || n, "
        "('00000000-0000-0000-0000-' || lpad((n % $3)::text, 12, '0'))::uuid, 10000, 10000 FROM generate_series(0, $2::int - 1) AS n",
        TENANT, invoices, CUSTOMERS,
    )  # fmt: skip
    await conn.execute("VACUUM ANALYZE b_invoice")
    await conn.close()
    try:
        yield dsn
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


def payments(prefix: str, first: int, count: int) -> list[Record]:
    """Records of payments that name REF-first, ..."""
    found: list[Record] = []
    for number in range(first, first + count):
        body = {"event_id": UUID(int=number), "tenant": TENANT, "payment_id": UUID(int=number), "ref": f"REF-{number}", "amount": 10_000}
        found.append((prefix + "BarePayment", str(number).encode(), msgspec.json.encode(body), []))
    return found


async def bare_rate(rig: Rig, count: int, meter: Meter | None = None) -> float:
    """Payments a second through the bare loop: two workers and a relay process."""
    prefix = rig.prefix()
    await rig.create(prefix + "BarePayment", prefix + "BarePaid", prefix + "BareOther")
    async with database(rig, count) as dsn, rig.counting(prefix + "BarePaid") as paid:
        producer = Producer(rig.bootstrap, client_id="bench")
        for first in range(0, count, 5_000):
            await producer.send(in_lanes(payments(prefix, first, min(5_000, count - first))))
        await producer.close()
        environment = {"BENCH_DSN": dsn, "BENCH_PREFIX": prefix}
        with ExitStack() as running:
            for role in ("worker", "worker", "relay"):
                running.enter_context(rig.process("-m", "bench.bare", role, **environment))
            return await arrivals(paid, count, meter=meter)


async def bare_latency(rig: Rig, per_s: int, seconds: int) -> tuple[float, float]:
    """p50 and p99 in milliseconds from the payment's acknowledgement by the broker to the paid event, at a steady rate, once the first fifth
    is there.
    """
    prefix = rig.prefix()
    count = per_s * seconds
    await rig.create(prefix + "BarePayment", prefix + "BarePaid", prefix + "BareOther")
    sent: dict[str, float] = {}
    waits: list[float] = []
    async with (
        database(rig, count) as dsn,
        rig.listening(prefix + "BarePaid", lambda record: waits.append(since(record.value, sent))) as paid,
    ):
        environment = {"BENCH_DSN": dsn, "BENCH_PREFIX": prefix}
        with rig.process("-m", "bench.bare", "worker", **environment), rig.process("-m", "bench.bare", "relay", **environment):
            await asyncio.sleep(5)
            producer = Producer(rig.bootstrap, client_id="bench")

            async def feed() -> None:
                await steadily(per_s, count, send)
                await producer.close()

            async def send(first: int, number: int) -> None:
                await producer.send(in_lanes(payments(prefix, first, number)))
                now = monotonic()
                sent.update((f"REF-{one}", now) for one in range(first, first + number))

            feeding = asyncio.create_task(feed())
            await arrivals(paid, count)
            await feeding
    return quantiles(waits[count // 5 :])


async def steadily(per_s: int, count: int, send: Callable[[int, int], Coroutine[None, None, None]]) -> float:
    """Calls `send(first, how many)` a hundred times a second at most, so that `per_s` are sent every second, whether or not those before
    have been sent; returns how many a second were.
    """
    step = max(1, per_s // 100)
    start = monotonic()
    async with asyncio.TaskGroup() as sending:
        for first in range(0, count, step):
            wait = start + first / per_s - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            sending.create_task(send(first, min(step, count - first)))
    return count / (monotonic() - start)


def since(value: bytes, sent: dict[str, float]) -> float:
    """Seconds since the payment of a paid event was sent; 0 where the event was here before the acknowledgement was."""
    now = monotonic()
    return now - sent.get(msgspec.json.decode(value)["invoice_number"], now)


def quantiles(waits: list[float]) -> tuple[float, float]:
    """p50 and p99 of seconds in order of arrival, in milliseconds; the first third, while processes warm up, does not count."""
    cuts = statistics.quantiles(waits[len(waits) // 3 :], n=100)
    return cuts[49] * 1000, cuts[98] * 1000
