"""Kafka, as everything of ours meets it: the client's settings, the producer, topics and offsets.

Invariants: aiokafka's defaults are wrong for money and none is left to chance: no automatic commits, an idempotent
producer that waits for all replicas, `read_committed`, and no automatic reset of a lost offset.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, KafkaError, TopicAlreadyExistsError
from contracts.catalogue import topics

from shared.failures import UnavailableError
from shared.recordbatches import Ready, together

__all__ = [
    "AIOKafkaConsumer",
    "BusyGroupError",
    "ConsumerRecord",
    "KafkaError",
    "Lanes",
    "Offsets",
    "Producer",
    "TopicPartition",
    "consumer",
    "create_topics",
    "read_again",
]

SESSION_TIMEOUT_MS = 10_000
SEND_SECONDS = 15.0
"""aiokafka never gives up an idempotent batch: unbounded, an outage would not be noticed and the process could not end."""
Lanes = Mapping[tuple[str, int], Sequence[bytes]]
"""Record batches by topic (full name) and partition, in their order."""


def consumer(bootstrap_servers: str, group: str, *, client_id: str) -> AIOKafkaConsumer:
    """A group consumer with dynamic membership; it never commits by itself and never resets an offset by itself."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=group,
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=2_000,
        max_poll_interval_ms=300_000,
        fetch_max_wait_ms=250,
        max_partition_fetch_bytes=1 << 20,
        request_timeout_ms=30_000,
        retry_backoff_ms=200,
        metadata_max_age_ms=30_000,
    )


class Producer:
    """An idempotent producer that publishes batches built before, and waits for every acknowledgement."""

    def __init__(self, bootstrap_servers: str, *, client_id: str) -> None:
        self._servers = bootstrap_servers
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[str, set[int]] = {}

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._servers,
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_request_size=1 << 20,
                request_timeout_ms=20_000,
                retry_backoff_ms=200,
                metadata_max_age_ms=30_000,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def send(self, lanes: Lanes) -> None:
        """Publishes batches in their order per lane and returns when the broker has acknowledged all of them.

        Raises UnavailableError when that failed: some may have been stored. The producer is thrown away then, for
        its sequence numbers are in doubt; the caller sends the same batches again in the same order.
        """
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(await self._started(), lanes)
        except (KafkaError, OSError) as error:
            await self.close()
            raise UnavailableError(f"Kafka: {type(error).__name__}") from error

    async def _send(self, producer: AIOKafkaProducer, lanes: Lanes) -> None:
        for topic, partition in lanes:  # before anything is sent
            if topic not in self._partitions:
                self._partitions[topic] = await producer.partitions_for(topic)
            if partition not in self._partitions[topic]:
                await self.close()  # the next one asks the broker anew
                raise UnavailableError(f"topic {topic} has no partition {partition}: `topics` did not make it")
        waiting = []
        for (topic, partition), batches in lanes.items():
            waiting += [await producer.send_batch(Ready(batch), topic, partition=partition) for batch in together(batches)]
        for future in waiting:
            await future

    async def close(self) -> None:
        """Closes the connection; the next `send` opens a new one."""
        producer, self._producer = self._producer, None
        self._partitions.clear()
        if producer is not None:
            # not stop(): it waits for batches that an absent broker never takes; whoever gave them sends them again
            producer._closed = True  # noqa: SLF001 - aiokafka has no other way to let go
            if (sending := producer._sender.sender_task) is not None:  # noqa: SLF001
                sending.cancel()
                await asyncio.wait([sending])  # one that had not begun ends with a CancelledError, which is not ours
            await producer.client.close()


async def create_topics(bootstrap_servers: str, *, prefix: str, replication: int) -> list[str]:
    """Creates what the catalogue lists and the cluster lacks; returns the names of the new ones.

    Retention is for ever unless the topic's YAML says otherwise.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="encours-topics")
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        new = []
        for topic in topics().values():
            if prefix + topic.name in existing:
                continue
            settings = {"min.insync.replicas": str(max(1, replication - 1)), "max.message.bytes": str(1 << 20)}
            if topic.retention == "compacted":
                settings["cleanup.policy"] = "compact"
            else:
                days = topic.retention
                settings["retention.ms"] = "-1" if days == "forever" else str(int(days) * 86_400_000)
                settings["retention.bytes"] = "-1"
            new.append(NewTopic(prefix + topic.name, topic.partitions, replication, topic_configs=settings))
        if new:
            try:
                response = await admin.create_topics(new)
            except TopicAlreadyExistsError:
                return []
            for name, code, *rest in response.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise UnavailableError(f"topic {name} was not created: error {code} {rest}")
        return [topic.name for topic in new]
    finally:
        await admin.close()


async def read_again(bootstrap_servers: str, group: str, names: Sequence[str], *, partitions: int) -> dict[str, int]:
    """Sets a group back to the first record kept of whole topics (full names); returns how many records lie ahead, by topic.

    What repeats has no second effect: states go by version, facts through the inbox. Raises UnavailableError when the
    cluster does not answer, and BusyGroupError while a member of the group lives: its own commits would undo this.
    """
    client = consumer(bootstrap_servers, group, client_id="encours-read-again")
    with _unavailable():
        try:
            await client.start()
            chosen = [TopicPartition(name, number) for name in names for number in range(partitions)]
            client.assign(chosen)
            first, ends = await client.beginning_offsets(chosen), await client.end_offsets(chosen)
            try:
                await client.commit(dict(first))
            except CommitFailedError:
                raise BusyGroupError(f"the group {group} still has members: stop its workers first") from None
        finally:
            await client.stop()
    return {name: sum(ends[tp] - first[tp] for tp in chosen if tp.topic == name) for name in names}


class BusyGroupError(RuntimeError):
    """A consumer group that must be empty has members."""


class Offsets:
    """Where topics end and how far a group has committed."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def ends(self, events: Iterable[str], *, prefix: str = "") -> dict[tuple[str, int], int]:
        """The end offset of every partition of the topics of some events, by (full topic name, partition).

        Raises UnavailableError when the cluster does not answer.
        """
        partitions = [TopicPartition(prefix + name, number) for name in events for number in range(topics()[name].partitions)]
        with _unavailable():
            if self._consumer is None:
                client = AIOKafkaConsumer(bootstrap_servers=self._servers, enable_auto_commit=False)
                try:
                    await client.start()
                except BaseException:
                    await client.stop()
                    raise
                self._consumer = client
            found = await self._consumer.end_offsets(partitions)
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """What a group has committed, by partition. Raises UnavailableError when the cluster does not answer."""
        with _unavailable():
            if self._admin is None:
                admin = AIOKafkaAdminClient(bootstrap_servers=self._servers, client_id="encours-offsets")
                try:
                    await admin.start()
                except BaseException:
                    await admin.close()
                    raise
                self._admin = admin
            found = await self._admin.list_consumer_group_offsets(group)
        return {(tp.topic, tp.partition): value.offset for tp, value in found.items() if value.offset >= 0}

    async def close(self) -> None:
        """Closes the connections."""
        if self._consumer is not None:
            await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()
        self._consumer = self._admin = None


async def offsets_of(bootstrap_servers: str, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
    """What a group has committed of each of these partitions; None where it has nothing, and its coordinator says so.

    Raises UnavailableError where that does not say: then its answer has an error, which the clients do not look at, and no partitions.
    """
    if not partitions:
        return {}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="encours-offsets")
    with _unavailable():
        try:
            await admin.start()
            found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
        finally:
            await admin.close()
    if missing := set(partitions) - found.keys():
        raise UnavailableError(f"Kafka: the offsets of {len(missing)} partitions are not known at this moment")
    return {tp: found[tp].offset if found[tp].offset >= 0 else None for tp in partitions}


@contextmanager
def _unavailable() -> Iterator[None]:
    """What a handler or a job meets when the cluster is away must never look like poison."""
    try:
        yield
    except KafkaError as error:
        raise UnavailableError(f"Kafka: {type(error).__name__}") from error
