"""What the parts of the benchmark share: databases, topics, child processes, and counting what arrives on a topic."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from shared.clock import monotonic

from bench.cpu import Meter

PARTITIONS = 6
STALL_SECONDS = 60.0


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
    async def listening(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that reads a topic from its end as it is now."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.bootstrap, auto_offset_reset="latest", max_partition_fetch_bytes=4 << 20)
        await consumer.start()
        await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
        try:
            yield consumer
        finally:
            await consumer.stop()


async def arrivals(
    consumer: AIOKafkaConsumer, count: int, each: Callable[[ConsumerRecord], None] | None = None, *, meter: Meter | None = None
) -> float:
    """Waits for so many records; returns how many a second arrived.

    Counted from when the first fifth is there: by then every process has started, joined its group and is warm; `meter` counts
    from then, too. Raises RuntimeError when nothing arrives for STALL_SECONDS.
    """
    seen, last = 0, monotonic()
    begun_at, begun = 0.0, 0
    while seen < count:
        polled = await consumer.getmany(timeout_ms=200, max_records=5000)
        got = sum(map(len, polled.values()))
        now = monotonic()
        if got:
            seen, last = seen + got, now
            if not begun and seen >= count // 5:
                begun_at, begun = now, seen
                if meter:
                    meter.begin(seen)
            if each:
                for lane in polled.values():
                    for record in lane:
                        each(record)
        elif now - last > STALL_SECONDS:
            raise RuntimeError(f"only {seen} of {count} arrived")
    if meter:
        meter.end(seen)
    return (seen - begun) / (last - begun_at) if last > begun_at else float("inf")
