"""Offsets that are lost or out of range stop their topic with an alert; `earliest` is for a first start only."""

import asyncio
import json
import random
import signal

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: TID251 - the test harms the group
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete  # noqa: TID251
from aiokafka.consumer.group_coordinator import GroupCoordinator  # noqa: TID251
from aiokafka.protocol.admin import DeleteGroupsRequest  # noqa: TID251
from shared.batches import Batches
from shared.clock import BusinessClock, monotonic
from shared.consumer import Worker
from shared.db import Database
from shared.kafka import BusyGroupError, Offsets, read_again
from shared.testing.waiting import eventually
from toyservice.harness import Child, System, Zygote, history
from toyservice.service import SERVICE

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def _handled(toy: System, zygote: Zygote) -> None:
    """Some history, handled by processes that have ended in order."""
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]
    await toy.feed(history(random.Random(41), 1, 20))
    await toy.settled()
    for child in children:
        assert await child.end(signal.SIGTERM) == 0


async def _stopped(toy: System, child: Child, why: str) -> set[tuple[str, int]]:
    """The partitions for which a process has raised the alert."""
    text = child.log.read_text() if child.log.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if "topic_stopped" in line]
    return {(line["topic"].removeprefix(toy.prefix), line["partition"]) for line in lines if line["why"] == why}


async def _counts(toy: System) -> tuple[int, int]:
    return await toy.count("SELECT count(*) FROM effect"), await toy.count("SELECT coalesce(sum(version), 0) FROM account")


async def test_lost_offsets_stop_every_topic_and_apply_nothing(toy: System, zygote: Zygote) -> None:
    await _handled(toy, zygote)
    admin = AIOKafkaAdminClient(bootstrap_servers=toy.bootstrap)
    await admin.start()
    group = toy.prefix + "toyservice"
    answer = await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))
    await admin.close()
    assert [code for _, code in answer.results] == [0]
    toy.injected["the group's offsets deleted"] += 1
    before = await _counts(toy)
    worker = await zygote.start("worker", toy.environment, toy.log("after"))
    await toy.feed(history(random.Random(42), 100, 5))

    async def alarmed() -> bool:
        return len(await _stopped(toy, worker, "offset_lost")) == 12

    await eventually(alarmed, seconds=40, what="an alert for each of the 12 partitions")
    assert await _counts(toy) == before
    assert worker.status is None
    # a person decides to read again from the start: what was known stays as it is, what is new is applied
    names = [toy.prefix + event for event in ("PaymentReceived", "ReminderSent")]
    with pytest.raises(BusyGroupError):
        await read_again(toy.bootstrap, group, names, partitions=6)
    assert await worker.end(signal.SIGTERM) == 0
    ahead = await read_again(toy.bootstrap, group, names, partitions=6)
    assert sum(ahead.values()) >= len(toy.fed.payments)
    children = [await zygote.start(role, toy.environment, toy.log(role)) for role in ("worker", "relay")]
    await toy.settled()
    for child in children:
        assert await child.end(signal.SIGTERM) == 0


async def test_an_offset_out_of_range_stops_its_partition_and_no_other(toy: System, zygote: Zygote) -> None:
    await _handled(toy, zygote)
    await toy.feed(history(random.Random(43), 100, 20))
    lost = TopicPartition(toy.prefix + "ReminderSent", 2)
    client = AIOKafkaConsumer(bootstrap_servers=toy.bootstrap)
    await client.start()
    end = (await client.end_offsets([lost]))[lost]
    await client.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=toy.bootstrap)
    await admin.start()
    await admin.delete_records({lost: RecordsToDelete(before_offset=end)})
    await admin.close()
    toy.injected["records removed beyond the group's offset"] += 1
    worker = await zygote.start("worker", toy.environment, toy.log("after"))

    async def alarmed() -> bool:
        return await _stopped(toy, worker, "offset_out_of_range") == {("ReminderSent", 2)}

    async def others_done() -> bool:
        return await toy.count("SELECT count(*) FROM payment") == len(toy.fed.payments)

    await eventually(alarmed, seconds=40, what="the alert")
    await eventually(others_done, seconds=40, what="the other topic")
    assert worker.status is None
    assert set((await toy.verify()).values()) == {True}
    assert await worker.end(signal.SIGTERM) == 0
    await read_again(toy.bootstrap, toy.prefix + "toyservice", [toy.prefix + "ReminderSent"], partitions=6)
    again = await zygote.start("worker", toy.environment, toy.log("again"))
    await toy.feed(history(random.Random(44), 200, 5))

    async def reads_on() -> bool:
        return await toy.count("SELECT count(*) FROM payment") == len(toy.fed.payments) and not await _stopped(
            toy, again, "offset_out_of_range"
        )

    await eventually(reads_on, seconds=40, what="the partition reads on")
    assert await again.end(signal.SIGTERM) == 0


async def test_offsets_that_the_broker_has_not_in_hand_yet_are_not_lost(
    toy: System, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that has just taken a group over answers with an error for the whole and no partitions: aiokafka finds none in that."""
    await _handled(toy, zygote)
    asked, begun = GroupCoordinator._do_fetch_commit_offsets, monotonic()

    async def answered(self: GroupCoordinator, partitions: list[TopicPartition]) -> object:
        found = await asked(self, partitions)
        return found if monotonic() > begun + 3 else {}

    monkeypatch.setattr(GroupCoordinator, "_do_fetch_commit_offsets", answered)
    database = Database(toy.urls.app, application_name="w")
    offsets = Offsets(toy.bootstrap)
    batches = Batches("toyservice", database, SERVICE.routes, offsets=offsets, topic_prefix=toy.prefix, clock=BusinessClock())
    worker = Worker(batches, database, bootstrap_servers=toy.bootstrap, topic_prefix=toy.prefix)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(worker.ready.wait(), 30)
    assert monotonic() < begun + 3
    await toy.feed(history(random.Random(45), 300, 20))

    async def read_on() -> bool:
        return await toy.count("SELECT count(*) FROM payment") == len(toy.fed.payments)

    await eventually(read_on, seconds=40, what="what came after the offsets")
    toy.injected["asked of a coordinator that has just taken over"] += 1
    worker.stop()
    await running
    await database.close()
