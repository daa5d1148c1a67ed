"""What the parts of the benchmark share: databases, topics, child processes, and counting what arrives on a topic."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from shared.clock import monotonic

from bench.cpu import Meter

PARTITIONS = 6
STALL_SECONDS = 60.0
COUNT_SECONDS = 0.05
Poll = Callable[[], Awaitable[int]]
"""Waits a little and says how many records have come since it was last asked."""


def free_port() -> int:
    """A port that nobody listens on now: two benchmarks on one machine must not answer each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """Progress, to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Rig:
    """The servers under test."""

    admin_dsn: str
    bootstrap: str

    def prefix(self) -> str:
        """A prefix for topics of one part."""
        return f"b{os.urandom(4).hex()}-"

    async def create(self, *names: str) -> None:
        """Creates topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        finally:
            await admin.close()

    @contextmanager
    def process(self, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A child process of this interpreter, killed at the end."""
        full = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, **environment}
        full.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles its libraries anew, beside what is measured
        child = subprocess.Popen([sys.executable, *command], env=full, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    @asynccontextmanager
    async def counting(self, topic: str) -> AsyncIterator[Poll]:
        """How many records a topic gets from now on, by the offsets at which it ends: to read them would cost what is measured a
        twentieth of the machine.
        """
        client = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]

        async def end() -> int:
            return sum((await client.end_offsets(partitions)).values())

        await client.start()
        try:
            reached = await end()

            async def more() -> int:
                nonlocal reached
                await asyncio.sleep(COUNT_SECONDS)
                before, reached = reached, await end()
                return reached - before

            yield more
        finally:
            await client.stop()

    @asynccontextmanager
    async def listening(self, topic: str, each: Callable[[ConsumerRecord], None]) -> AsyncIterator[Poll]:
        """What a topic gets from now on, record by record."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.bootstrap, auto_offset_reset="latest", max_partition_fetch_bytes=4 << 20)

        async def more() -> int:
            polled = await consumer.getmany(timeout_ms=200, max_records=5000)
            for lane in polled.values():
                for record in lane:
                    each(record)
            return sum(map(len, polled.values()))

        await consumer.start()
        try:
            await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
            yield more
        finally:
            await consumer.stop()


async def arrivals(more: Poll, count: int, *, meter: Meter | None = None) -> float:
    """Waits for so many records; returns how many a second arrived.

    Counted from when the first fifth is there: by then every process has started, joined its group and is warm; `meter` counts
    from then, too. Raises RuntimeError when nothing arrives for STALL_SECONDS.
    """
    seen, last = 0, monotonic()
    begun_at, begun = 0.0, 0
    while seen < count:
        got = await more()
        now = monotonic()
        if got:
            seen, last = seen + got, now
            if not begun and seen >= count // 5:
                begun_at, begun = now, seen
                if meter:
                    meter.begin(seen)
        elif now - last > STALL_SECONDS:
            raise RuntimeError(f"only {seen} of {count} arrived")
    if meter:
        meter.end(seen)
    return (seen - begun) / (last - begun_at) if last > begun_at else float("inf")
