"""Both servers, real ones: they start, survive kill -9 with all that was acknowledged, and leave nothing behind."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # noqa: TID251 - the test is a client of the broker, no part of the product
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: TID251 - as above
from onemachine.databases import provision
from onemachine.errors import LocalError
from onemachine.infrastructure import Infrastructure
from onemachine.java import kafka_java
from onemachine.kafka import Kafka
from onemachine.postgres import Postgres, RunAs
from onemachine.processes import MARK
from onemachine.testing import infrastructure

PASSWORDS = {kind: f"it's {kind}" for kind in ("owner", "app", "relay", "check")}


@pytest.fixture(autouse=True)
def _servers_of_our_own(monkeypatch):
    """These tests kill servers: never somebody else's."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "ENCOURS_POSTGRES_ADMIN_URL"):
        monkeypatch.delenv(name, raising=False)


def ours(root):
    """Every process that works for the data folder `root`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get(MARK, "").startswith(str(root)) or Path(process.cwd()).is_relative_to(root)
            ):
                found.append(process)
    return found


async def create_topic(bootstrap, name, replication=1):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, replication)])
    finally:
        await admin.close()


async def values(bootstrap, topic, count):
    """The first `count` values of a topic; fails after 20 s."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return [int((await consumer.getone()).value) for _ in range(count)]
    finally:
        await consumer.stop()


async def send(bootstrap, topic, numbers):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for number in numbers:
            await producer.send_and_wait(topic, str(number).encode())
    finally:
        await producer.stop()


async def query(dsn, *statements):
    """The value of the last statement."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def test_all_that_was_acknowledged_survives_kill_9_of_both_servers(tmp_path):
    with infrastructure(tmp_path) as servers:
        addresses = servers.admin_dsn, servers.bootstrap
        await query(servers.admin_dsn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42) RETURNING n")
        await create_topic(servers.bootstrap, "kept")
        await send(servers.bootstrap, "kept", range(100))
        for process in ours(tmp_path):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

        again = Infrastructure(tmp_path)
        again.start()
        assert (again.admin_dsn, again.bootstrap) == addresses
        assert await query(again.admin_dsn, "SELECT n FROM kept") == 42
        assert await values(again.bootstrap, "kept", 100) == list(range(100))
        pids = again.postgres.process.pid, again.kafka.processes[1].pid
        servers.start()
        assert (servers.postgres.process.pid, servers.kafka.processes[1].pid) == pids
        await _killed_and_restarted(servers)
        with pytest.raises(LocalError, match="holds a cluster of 1 broker"):
            Infrastructure(tmp_path, brokers=3)
    assert ours(tmp_path) == []
    assert not list((tmp_path / "run").iterdir())


async def _killed_and_restarted(servers):
    """The handles that fault tests use."""
    servers.postgres.kill()
    assert not servers.postgres.ready
    servers.postgres.start()
    assert await query(servers.admin_dsn, "SELECT n FROM kept") == 42
    servers.kafka.kill()
    assert not servers.kafka.ready
    servers.kafka.restart()
    assert await values(servers.bootstrap, "kept", 100) == list(range(100))


async def test_three_brokers_lose_a_leader_and_no_record(tmp_path):
    with infrastructure(tmp_path, brokers=3) as servers:
        assert servers.replication == 3
        await create_topic(servers.bootstrap, "kept", replication=3)
        producer = AIOKafkaProducer(bootstrap_servers=servers.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            for number in range(50):
                await producer.send_and_wait("kept", str(number).encode())
            leader = producer.client.cluster.leader_for_partition(TopicPartition("kept", 0))
            servers.kafka.kill(leader)
            for number in range(50, 100):
                await producer.send_and_wait("kept", str(number).encode())
        finally:
            await producer.stop()
        assert not servers.kafka.ready
        servers.kafka.restart(leader)
        assert servers.kafka.ready
        assert await values(servers.bootstrap, "kept", 100) == list(range(100))
    assert ours(tmp_path) == []


def test_a_broken_start_up_cache_never_prevents_the_start(tmp_path):
    java = kafka_java()
    own = type(java)(java.classpath, tmp_path / "cache")
    own.folder.mkdir()

    def spoil(file):
        file.write_bytes(b"\0" * 100_000)

    own.make_cache(spoil)
    assert own.intact()  # as far as the checksum can tell
    broker = Kafka(tmp_path, java=own)
    broker.folder.mkdir()
    (broker.folder / "cluster-id").write_text("-AAAAAAAAAAAAAAAAAAAAQ")  # one in 64 begins like an option
    try:
        broker.start()
        assert broker.ready
    finally:
        broker.stop()
    own.cache.write_bytes(b"torn") if own.cache.exists() else None
    assert not own.intact()
    assert "-XX:AOTCache" not in " ".join(own.command("kafka.Kafka", heap_mb=64))


@pytest.mark.parametrize("run_as", [None, RunAs.NOBODY])
async def test_postgres_runs_as_anybody_and_restarts_over_a_strangers_pid(tmp_path, run_as):
    if run_as is RunAs.NOBODY and os.geteuid() != 0:
        pytest.skip("only root can run the server as somebody else")
    root = tmp_path
    if run_as is RunAs.NOBODY:  # pytest's folders are for their owner alone
        root = Path(tempfile.mkdtemp())
        root.chmod(0o755)
    postgres = Postgres(root, run_as=run_as)
    try:
        postgres.start()
        first = await query(postgres.dsn(), "SELECT pg_postmaster_start_time()")
        for process in ours(root):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        # the pid that the dead server's lock names belongs to somebody else by now: us
        lock = postgres.data / "postmaster.pid"
        lock.write_text(re.sub(r"^\d+", str(os.getpid()), lock.read_text()))
        Postgres(root).start()
        assert await query(postgres.dsn(), "SELECT pg_postmaster_start_time()") > first
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(postgres.dsn(password="guess"), "SELECT 1")
    finally:
        postgres.stop()
        if root != tmp_path:
            shutil.rmtree(root)
    assert ours(root) == []


def test_a_folder_that_the_server_cannot_reach_is_named(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can run the server as somebody else")
    tmp_path.chmod(0o700)
    with pytest.raises(LocalError, match=rf"uid 65534.* cannot enter {tmp_path.parents[-3]}"):
        Postgres(tmp_path, run_as=RunAs.NOBODY).start()


async def test_a_service_has_a_database_and_four_roles_with_just_their_rights(tmp_path):
    postgres = Postgres(tmp_path)
    try:
        postgres.start()
        before = await provision(postgres.dsn(), "matching", dict.fromkeys(PASSWORDS, "old"))
        urls, other = await asyncio.gather(
            provision(postgres.dsn(), "matching", PASSWORDS), provision(postgres.dsn(), "scoring", PASSWORDS)
        )
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(before.app, "SELECT 1")
        await query(urls.owner, "CREATE TABLE t (n int)", "CREATE EXTENSION pg_trgm", "SELECT 1")
        for url in (urls.owner, urls.app, urls.relay):
            assert await query(url, "SELECT current_setting('app.tenants')") == "{}"
        for url in (urls.app, urls.relay, urls.check):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await query(url, "SELECT n FROM t")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await query(url, "CREATE TABLE u (n int)", "SELECT 1")
        bypasses = "SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user"
        assert [await query(url, bypasses) for url in (urls.owner, urls.app, urls.relay, urls.check)] == [False, False, False, True]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # another service's database is closed
            await query(other.app.removesuffix("scoring") + "matching", "SELECT 1")
    finally:
        postgres.stop()


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 5 << 20})())
    started = time.monotonic()
    with pytest.raises(LocalError, match=r"has 5 MiB left on its disk; at least 2048 MiB are needed"):
        Infrastructure(tmp_path).start()
    assert time.monotonic() - started < 1
