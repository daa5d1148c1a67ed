"""The worker's handling of batches on a real database; what needs a broker is in faults/."""

import asyncio
import dataclasses
import json
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from contracts.envelope import done_by
from contracts.payments import PaymentReceived
from prometheus_client import REGISTRY
from shared import batches as module
from shared import deadletters
from shared.batches import Batches, Routes, WorkerStoppedError
from shared.clock import BusinessClock, machine_now
from shared.db import Database, fetch, run
from shared.ids import named_id
from shared.kafka import Offsets
from shared.service import prepare_inbox
from shared.testing.databases import Urls
from shared.testing.events import Record
from sqlalchemy.ext.asyncio import AsyncConnection
from toyservice.handlers import REFUSED_MINOR
from toyservice.harness import TENANTS, consumed, payment, record, reminder
from toyservice.service import SERVICE

TENANT, OTHER = TENANTS[:2]
NESTED = b'{"event":"PaymentReceived","more":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.fixture(autouse=True)
async def clean(urls: Urls) -> None:
    """These tests look at all of the database."""
    owner = await asyncpg.connect(urls.owner)
    await owner.execute("TRUNCATE account, payment, effect, reminded, inbox, outbox, dead_letter")
    await owner.close()


def _batches(database: Database, routes: Routes = SERVICE.routes) -> Batches:
    return Batches("toyservice", database, routes, offsets=Offsets("127.0.0.1:1"), clock=BusinessClock())


@pytest.fixture
async def batches(database: Database) -> Batches:
    await prepare_inbox(database)
    return _batches(database)


async def _payments(urls: Urls) -> set[int]:
    conn = await asyncpg.connect(urls.check)
    found = {row["payment_id"].int for row in await conn.fetch("SELECT payment_id FROM payment")}
    await conn.close()
    return found


async def _letters(database: Database) -> list[deadletters.DeadLetter]:
    async with database.transaction() as conn:
        return await deadletters.waiting(conn)


def _with(original: Record, *, value: bytes | None = None, header: tuple[str, bytes] | None = None) -> Record:
    topic, key, bytes_, headers = original
    headers = [each for each in headers if header is None or each[0] != header[0]] + ([header] if header else [])
    return topic, key, bytes_ if value is None else value, headers


def _poison(kind: str, number: int) -> Record:
    good = record(TENANT, payment(number))
    far = machine_now() + timedelta(days=400)
    return {
        "refused by the handler": lambda: record(TENANT, payment(number, amount=REFUSED_MINOR)),
        "refused by the database": lambda: record(TENANT, payment(number, amount=10**9)),
        "undecodable": lambda: _with(good, value=b"\xff\xfe\x00"),
        "empty": lambda: _with(good, value=b""),
        "nested beyond reason": lambda: _with(good, value=NESTED),
        "too large": lambda: _with(good, value=b" " * 70_000),
        "of another type": lambda: _with(good, header=("ce_type", b"ReminderSent")),
        "no tenant": lambda: _with(good, header=("ce_tenantid", b"")),
        "headers not UTF-8": lambda: _with(good, header=("ce_subject", b"\xff")),
        "a header's name with NUL": lambda: _with(good, header=("ce_\x00", b"\xff")),
        "another version than its header": lambda: _with(good, header=("ce_sequence", b"%020d" % 9)),
        "a moment without offset": lambda: _with(good, header=("ce_time", far.replace(tzinfo=None).isoformat().encode())),
    }[kind]()


@pytest.mark.parametrize("position", [0, 3, 6])
@pytest.mark.parametrize(
    "kind",
    [
        "refused by the handler",
        "refused by the database",
        "undecodable",
        "empty",
        "nested beyond reason",
        "too large",
        "of another type",
        "no tenant",
        "headers not UTF-8",
        "a header's name with NUL",
        "another version than its header",
        "a moment without offset",
    ],
)
async def test_poison_is_put_aside_alone(batches: Batches, database: Database, urls: Urls, kind: str, position: int) -> None:
    records = [record(tenant, payment(number)) for number, tenant in enumerate([TENANT, OTHER] * 3, 1)]
    records.insert(position, _poison(kind, 77))
    await batches.handle("PaymentReceived", consumed(records))
    assert await _payments(urls) == set(range(1, 7))
    (letter,) = await _letters(database)
    assert (letter.event, letter.offset, letter.value, letter.key) == (
        "PaymentReceived",
        position,
        records[position][2],
        records[position][1],
    )
    assert letter.headers == records[position][3]
    assert letter.tenant_id == (None if kind in ("no tenant", "headers not UTF-8", "a header's name with NUL") else TENANT)
    await batches.handle("PaymentReceived", consumed(records))  # delivered again: nothing is added anywhere
    assert len(await _letters(database)) == 1
    assert await _payments(urls) == set(range(1, 7))


async def test_a_value_that_no_column_holds_is_poison_and_not_tried_for_ever(database: Database) -> None:
    """The driver refuses it before the server sees it: an error of its own kind."""

    async def overflow(conn: AsyncConnection, messages: object, ctx: object) -> None:
        del ctx
        await run(conn, "INSERT INTO reminded VALUES (:t, :t, CAST(:n AS int))", t=TENANT, n=2**40)
        assert messages

    batches = _batches(database, {PaymentReceived: overflow})
    async with asyncio.timeout(10):
        await batches.handle("PaymentReceived", consumed([record(TENANT, payment(1))]))
    (letter,) = await _letters(database)
    assert letter.reason == "Error 22000"


async def test_what_the_service_has_done_as_it_told_it_is_passed_over(batches: Batches, urls: Urls, database: Database) -> None:
    done = [_with(record(TENANT, payment(number)), header=done_by(name)) for number, name in ((1, "toyservice"), (2, "reporting"))]
    unread = _with(done[0], value=b"not even JSON")
    await batches.handle("PaymentReceived", consumed([*done, unread, record(TENANT, payment(3))]))
    assert await _payments(urls) == {2, 3}
    assert await _letters(database) == []


async def test_a_fact_older_than_the_inbox_or_from_far_ahead_is_put_aside(batches: Batches, database: Database) -> None:
    for at in (machine_now() - timedelta(days=46), machine_now() + timedelta(days=30), datetime.fromisoformat("9999-12-31T23:59:59-12:00")):
        records = [record(TENANT, reminder(1)), _with(record(TENANT, reminder(2)), header=("ce_time", at.isoformat().encode()))]
        async with asyncio.timeout(10):
            await batches.handle("ReminderSent", consumed(records)[1:])
        (letter,) = await _letters(database)
        assert letter.tenant_id == TENANT
        async with database.transaction(TENANT) as conn:
            assert await fetch(conn, "SELECT 1 FROM effect") == []
            await fetch(conn, "DELETE FROM dead_letter RETURNING 1")


async def test_a_tombstone_is_skipped(batches: Batches, database: Database) -> None:
    (one,) = consumed([record(TENANT, payment(1))])
    await batches.handle("PaymentReceived", [dataclasses.replace(one, value=None)])
    assert await _letters(database) == []


async def test_too_much_poison_parks_its_tenant_and_leaves_others_alone(
    batches: Batches, database: Database, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARK_AFTER", 10)
    await batches.handle("PaymentReceived", consumed([_poison("undecodable", number) for number in range(10)]))
    mixed = [record(tenant, payment(number)) for number in range(100, 120) for tenant in (TENANT, OTHER)]
    await batches.handle("PaymentReceived", consumed([_poison("undecodable", 1)] * 10 + mixed))
    async with database.transaction(OTHER) as conn:
        assert len(await fetch(conn, "SELECT 1 FROM payment")) == 20
    parked = [letter for letter in await _letters(database) if letter.parked]
    assert {letter.tenant_id for letter in parked} == {TENANT}
    assert len(parked) == 20
    # a new process still knows, and what is replayed comes into effect
    fresh = _batches(database)
    await fresh.load_parked()
    assert fresh._parked == {TENANT}
    assert await fresh.replay(parked) == 20
    await fresh.load_parked()
    assert fresh._parked == set()
    assert await _payments(urls) == set(range(100, 120))
    assert all(not letter.parked for letter in await _letters(database))


async def test_poison_of_many_tenants_stops_the_worker(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARK_AFTER", 3)
    tenants = [named_id("tenant", UUID(int=number)) for number in range(6)]
    with pytest.raises(WorkerStoppedError, match="6 tenants"):
        await batches.handle(
            "PaymentReceived",
            consumed([record(tenant, payment(number, amount=REFUSED_MINOR)) for number in range(3) for tenant in tenants]),
        )


async def test_dead_letters_are_replayed_by_the_same_handler_on_the_same_bytes(
    batches: Batches, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await batches.handle(
        "PaymentReceived", consumed([record(TENANT, payment(1, amount=REFUSED_MINOR)), record(OTHER, payment(1, amount=10**9))])
    )
    letters = await _letters(database)
    assert [letter.tenant_id for letter in letters] == [TENANT, OTHER]
    async with database.transaction() as conn:
        assert [letter.id for letter in await deadletters.waiting(conn, tenant_id=OTHER)] == [letters[1].id]
    assert await batches.replay(letters) == 0
    assert len(await _letters(database)) == 2
    monkeypatch.setattr("toyservice.handlers.REFUSED_MINOR", 0)
    assert await batches.replay(letters) == 1
    assert await batches.replay(letters) == 1  # again: the version holds
    assert [letter.tenant_id for letter in await _letters(database)] == [OTHER]
    async with database.transaction(TENANT) as conn:
        assert (await fetch(conn, "SELECT total_minor FROM account"))[0].total_minor == REFUSED_MINOR


async def test_a_fact_that_was_handled_is_not_applied_by_its_replay(batches: Batches, database: Database) -> None:
    records = consumed([record(TENANT, reminder(1))])
    await batches.handle("ReminderSent", records)
    letter = batches._letter("ReminderSent", records[0], "put aside by mistake")
    async with database.transaction() as conn:
        await deadletters.put(conn, "toyservice", [letter])
    assert await batches.replay(await _letters(database)) == 1
    async with database.transaction(TENANT) as conn:
        assert (await fetch(conn, "SELECT times FROM reminded"))[0].times == 1


async def test_two_tenants_with_equal_numbers_in_one_batch_stay_apart(batches: Batches, database: Database) -> None:
    records = [record(tenant, payment(1, amount=amount)) for amount, tenant in enumerate(TENANTS, 1)]
    await batches.handle("PaymentReceived", consumed(records))
    for amount, tenant in enumerate(TENANTS, 1):
        async with database.transaction(tenant) as conn:
            assert [tuple(row) for row in await fetch(conn, "SELECT tenant_id, amount_minor FROM payment")] == [(tenant, amount)]


@pytest.mark.parametrize("size", [1, 1000])
async def test_statements_per_batch_do_not_grow_with_it(batches: Batches, database: Database, size: int) -> None:
    await batches.handle("PaymentReceived", consumed([record(TENANT, payment(0))]))  # the tenant is known from here on
    before = database.statements
    await batches.handle("PaymentReceived", consumed([record(TENANT, payment(number, 2)) for number in range(size)]))
    assert database.statements - before == 7  # scope; insert, lock and read accounts' rows; keep; sum; outbox
    before = database.statements
    await batches.handle("ReminderSent", consumed([record(TENANT, reminder(number)) for number in range(size)]))
    assert database.statements - before == 5  # scope, inbox, effect, count, outbox


async def test_what_is_unavailable_is_tried_again_and_never_put_aside(batches: Batches, database: Database, urls: Urls) -> None:
    blocker = await asyncpg.connect(urls.owner)
    change = blocker.transaction()
    await change.start()
    await blocker.execute("LOCK TABLE payment")
    async with database.engine.begin() as conn:
        await conn.exec_driver_sql("SET lock_timeout = '200ms'")  # this session of the pool gives up soon
    handling = asyncio.create_task(batches.handle("PaymentReceived", consumed([record(TENANT, payment(1))])))
    await asyncio.sleep(1.5)
    await blocker.execute("SELECT 1")
    await change.rollback()
    await blocker.close()
    await asyncio.wait_for(handling, 30)
    assert await _payments(urls) == {1}
    assert await _letters(database) == []
    retries = REGISTRY.get_sample_value("encours_batch_retries_total", {"topic": "PaymentReceived"})
    assert retries is not None
    assert retries >= 1


async def test_a_lost_connection_in_mid_batch_is_tried_again(batches: Batches, database: Database, urls: Urls) -> None:
    async def cut() -> None:
        killer = await asyncpg.connect(urls.app)
        for _ in range(20):
            await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tests'")
            await asyncio.sleep(0.01)
        await killer.close()

    cutting = asyncio.create_task(cut())
    for number in range(10):
        await batches.handle("PaymentReceived", consumed([record(TENANT, payment(number))]))
        await batches.handle("ReminderSent", consumed([record(TENANT, reminder(number))]))
    await cutting
    assert await _payments(urls) == set(range(10))
    assert await _letters(database) == []
    async with database.transaction(TENANT) as conn:
        assert (await fetch(conn, "SELECT sum(times) AS n FROM reminded"))[0].n == 10


async def test_dead_letters_keep_no_secret_of_the_connection(batches: Batches, database: Database) -> None:
    await batches.handle("PaymentReceived", consumed([record(TENANT, payment(1, amount=10**9))]))
    (letter,) = await _letters(database)
    assert "payment_amount" in letter.reason
    assert "1000000000" not in letter.reason.replace("payment_amount", "")
    assert json.dumps(letter.reason)
