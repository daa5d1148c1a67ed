"""The producer against a real broker; outages are in faults/."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: TID251 - what any client reads
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic  # noqa: TID251 - a topic that `topics` did not make
from shared.failures import UnavailableError
from shared.ids import new_id
from shared.kafka import Producer
from shared.recordbatches import build
from shared.testing.fixtures import Infrastructure
from shared.testing.waiting import eventually


async def test_a_partition_that_is_not_there_is_named_and_waited_for_and_nothing_else_is_sent(infrastructure: Infrastructure) -> None:
    """What was built for six partitions meets a topic of one; somebody adds the others, and all of it leaves, in its order."""
    topic = f"few-{new_id()}"
    admin, producer = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap), Producer(infrastructure.bootstrap, client_id="test")
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        lanes = {
            (topic, number): [build([(0, b"k", b"%d" % number, [("h", b"1")])])[0], *build([(0, b"k", b"then", [])])] for number in (0, 5)
        }
        with pytest.raises(UnavailableError, match=f"topic {topic} has no partition 5"):
            await producer.send(lanes)
        await admin.create_partitions({topic: NewPartitions(6)})

        async def sent() -> bool:
            try:
                await producer.send(lanes)
            except UnavailableError:
                return False
            return True

        await eventually(sent, seconds=60, what="the producer sees the new partitions")
        reader = AIOKafkaConsumer(bootstrap_servers=infrastructure.bootstrap, auto_offset_reset="earliest")
        await reader.start()
        try:
            parts = [TopicPartition(topic, number) for number in range(6)]
            reader.assign(parts)
            assert [await reader.end_offsets([part]) for part in parts] == [{part: 2 * (part.partition in {0, 5})} for part in parts]
            async with asyncio.timeout(20):
                found = [await reader.getone() for _ in range(4)]
        finally:
            await reader.stop()
    finally:
        await producer.close()
        await admin.close()
    assert {number: [one.value for one in found if one.partition == number] for number in (0, 5)} == {
        0: [b"0", b"then"],
        5: [b"5", b"then"],
    }


async def test_a_producer_that_is_closed_as_soon_as_it_is_open_calls_nobody_off(
    infrastructure: Infrastructure,
) -> None:
    producer = Producer(infrastructure.bootstrap, client_id="test")
    await producer._started()
    await producer.close()
