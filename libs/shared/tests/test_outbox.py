import asyncio
import contextlib
import json
from dataclasses import replace
from itertools import pairwise

import asyncpg
import msgspec
import pytest
from contracts.customers import CustomerIdentityChanged
from contracts.envelope import ContractError, encode, event_id, retold
from contracts.items import AccountBalanceChanged
from contracts.payments import PaymentMatched, PaymentReceived, PaymentUnapplied
from shared.db import Database, fetch
from shared.failures import UnavailableError
from shared.kafka import Lanes
from shared.outbox import ROW_BYTES, ROW_EVENTS, Outgoing, Tombstone, as_rows, depth, headers_for, prepare, publish, put, unfold
from shared.recordbatches import BATCH_BYTES, read
from shared.relay import Relay
from shared.testing.databases import Urls
from shared.testing.events import message, published
from toyservice.harness import TENANTS, payment, reminder

TENANT = TENANTS[0]


class _Producer:
    """Keeps what it is given; every third time it fails midway."""

    def __init__(self) -> None:
        self.records: list = []
        self.sends = 0

    async def send(self, lanes: Lanes) -> None:
        self.sends += 1
        records = [(topic, *record[1:]) for (topic, _), batches in lanes.items() for batch in batches for record in read(batch)]
        if self.sends % 3 == 0:  # half of them were stored
            self.records += records[: len(records) // 2]
            raise UnavailableError("Kafka: away")
        self.records += records

    async def close(self) -> None: ...


async def _drain(urls: Urls) -> list:
    database, producer = Database(urls.relay, application_name="relay", pool_max=2), _Producer()
    relay = Relay(database, producer, batch=7)
    async with database.engine.connect() as raw:
        conn = await raw.execution_options(isolation_level="AUTOCOMMIT")
        more = 1
        while more:
            with contextlib.suppress(UnavailableError):
                more = await relay.round(conn)
    await database.close()
    return producer.records


async def test_versions_of_one_key_leave_in_the_order_of_their_commits(database: Database, urls: Urls) -> None:
    """Ten writers bump one aggregate under its row's lock; whatever the interleaving, 1..n leaves as 1..n."""
    async with database.transaction(TENANT) as conn:
        await fetch(conn, "INSERT INTO account VALUES (:t, :a, 0, 0) RETURNING 1", t=TENANT, a=payment(1).bank_account_id)

    async def write() -> None:
        for _ in range(10):
            async with database.transaction(TENANT) as conn:
                row = (await fetch(conn, "UPDATE account SET version = version + 1 RETURNING version"))[0]
                await publish(conn, [Outgoing(TENANT, payment(1, row.version)), Outgoing(TENANT, payment(2, row.version))])
                await asyncio.sleep(0.001)

    await asyncio.gather(*(write() for _ in range(10)))
    sent = await _drain(urls)
    for number in (1, 2):
        key = f"{TENANT}:{payment(number).payment_id}".encode()
        versions = [json.loads(value)["version"] for _, k, value, _ in sent if k == key]
        assert list(dict.fromkeys(versions)) == list(range(1, 101))
        assert all(after <= before + 1 for before, after in pairwise(versions)), "what was sent again began behind what had been sent"
    assert await published(urls.owner) == []


@pytest.mark.parametrize(
    "wrong",
    [{"amount_minor": -1}, {"amount_minor": 2**63}, {"currency": "eur"}, {"source": "\ud800"}, {"version": 0}, {"allocations": None}],
)
async def test_a_breach_of_the_schema_rolls_the_caller_back(database: Database, urls: Urls, wrong: dict) -> None:
    async def change() -> None:
        async with database.transaction(TENANT) as conn:
            await fetch(conn, "INSERT INTO reminded VALUES (:t, :t, 1) RETURNING 1", t=TENANT)
            await publish(conn, [Outgoing(TENANT, payment(3)), Outgoing(TENANT, msgspec.structs.replace(payment(4), **wrong))])

    with pytest.raises(ContractError, match="PaymentReceived"):
        await change()
    assert await published(urls.owner) == []
    async with database.transaction(TENANT) as conn:
        assert await fetch(conn, "SELECT * FROM reminded") == []


def test_what_a_batch_is_told_with_is_what_each_event_is_told_with_alone() -> None:
    """States and facts of several tenants and entities, with causes and without, under one name or two: key, headers and bytes."""
    cause = message(TENANT, payment(5)).envelope
    outs = [
        Outgoing(tenant, data, entity_id=entity, cause=why, also=also)
        for tenant in TENANTS
        for entity in (None, tenant)
        for why in (None, cause, msgspec.structs.replace(cause, correlationid='of "another"\n'))
        for data, also in ((payment(1, 7), None), (payment(2), PaymentMatched), (payment(3), PaymentUnapplied), (reminder(1), None))
    ]
    prepared = prepare(outs)
    at = prepared.now.isoformat()
    rows = [
        (topic, key, {name: text.decode() for name, text in headers}, (value or b"").decode())
        for row in as_rows([prepared])
        for topic, key, value, headers in unfold(row["topics"], row["batches"])
    ]
    alone = [(*headers_for(out, at=at, trace=""), encode(out.data).decode()) for out in outs]
    again = [(out, msgspec.structs.asdict(out.data)) for out in outs if out.also]
    alone += [
        (*headers_for(msgspec.structs.replace(out, data=out.also(**fields)), at=at, trace=""), encode(out.also(**fields)).decode())
        for out, fields in again
        if out.also
    ]
    assert sorted(rows, key=str) == sorted(alone, key=str)
    for key in {row[1] for row in alone}:  # those of a key in their order
        assert [row for row in rows if row[:2] == ("PaymentReceived", key)] == [row for row in alone if row[:2] == ("PaymentReceived", key)]


async def test_many_and_large_events_fill_several_batches_and_rows_and_leave_in_their_order(database: Database, urls: Urls) -> None:
    items = [{"item_id": TENANT, "instalment": 1, "level": 1, "due_date": reminder(1).as_of, "asked_minor": 1}] * 300
    wide = [Outgoing(TENANT, msgspec.structs.replace(reminder(number), items=items)) for number in range(100)]
    many = [Outgoing(TENANT, payment(1 + version % 7, version)) for version in range(1, 2 * ROW_EVENTS)]
    prepared = prepare([*many[:150], *wide[:30], *many[150:], *wide[30:]])
    assert len([batch for batch in prepared.batches if batch.topic == "ReminderSent"]) > 6
    assert max(sum(len(value) for *_, value, _ in read(batch.records)) for batch in prepared.batches) <= BATCH_BYTES
    async with database.transaction(TENANT) as conn:
        put(conn, prepared)
    async with database.transaction() as conn:
        *full, last = [row.events for row in await fetch(conn, "SELECT events FROM outbox ORDER BY id")]
        assert full
        assert all(ROW_EVENTS <= events < 2 * ROW_EVENTS for events in full)
        assert sum(full) + last == await depth(conn, 10) == len(many) + len(wide)
    sent = [json.loads(value) for _, _, value, _ in await _drain(urls)]
    for number in range(1, 8):
        versions = [one["version"] for one in sent if one.get("payment_id") == str(payment(number).payment_id)]
        assert list(dict.fromkeys(versions)) == [version for version in range(1, 2 * ROW_EVENTS) if 1 + version % 7 == number]
    assert {one["reminder_id"] for one in sent if one["event"] == "ReminderSent"} == {str(out.data.reminder_id) for out in wide}


def test_rows_are_bounded_by_their_bytes_too() -> None:
    prepared = prepare([Outgoing(TENANT, payment(number)) for number in range(6)])
    large = [batch._replace(records=bytes(ROW_BYTES // 2)) for batch in prepared.batches]
    rows = list(as_rows([replace(prepared, batches=large)]))
    assert [len(row["batches"]) for row in rows] == [2] * (len(large) // 2) + [1] * (len(large) % 2)
    assert sum(row["events"] for row in rows) == 6


async def test_an_event_beyond_the_size_limit_is_refused(database: Database) -> None:
    item = {"item_id": TENANT, "instalment": 1, "level": 1, "due_date": reminder(1).as_of, "asked_minor": 1}
    large = msgspec.structs.replace(reminder(1), items=[item] * 1000)
    with pytest.raises(ContractError, match="bytes, more than"):
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, large)])


async def test_a_cause_is_carried_on_and_ids_name_the_change(database: Database, urls: Urls) -> None:
    cause = message(TENANT, payment(5)).envelope
    async with database.transaction(TENANT) as conn:
        before = database.statements
        await publish(conn, [Outgoing(TENANT, reminder(5), entity_id=TENANT, cause=cause), Outgoing(TENANT, payment(6, 3))])
        await publish(conn, [])
        await publish(conn, [Outgoing(TENANT, payment(6, 4))])
        assert database.statements == before
    assert database.statements - before == 1
    async with database.transaction() as conn:
        assert await depth(conn, 10) == 3
    fact, state, _ = sorted(await published(urls.owner), key=lambda one: one.envelope.sequence)
    assert (fact.envelope.causationid, fact.envelope.correlationid) == (str(cause.id), str(cause.id))
    assert (fact.envelope.entityid, fact.envelope.sequence) == (TENANT, 0)
    assert (state.envelope.sequence, state.envelope.correlationid) == (3, str(state.envelope.id))
    assert state.envelope.id == message(TENANT, payment(6, 3)).envelope.id != message(TENANT, payment(6, 4)).envelope.id
    await _drain(urls)


async def test_an_event_with_which_its_service_is_done_says_so(database: Database, urls: Urls) -> None:
    async with database.transaction(TENANT) as conn:
        await publish(conn, [Outgoing(TENANT, payment(7), done=True), Outgoing(TENANT, payment(8))])
    found = {json.loads(value)["payment_id"]: dict(headers).get("ce_doneby") for _, _, value, headers in await _drain(urls)}
    assert found == {str(payment(7).payment_id): b"matching", str(payment(8).payment_id): None}


async def test_the_relays_role_reaches_the_outbox_alone(urls: Urls) -> None:
    conn = await asyncpg.connect(urls.relay)
    assert await conn.fetch("SELECT * FROM outbox") == []
    for forbidden in ("SELECT 1 FROM payment", "SELECT 1 FROM audit", "SELECT 1 FROM dead_letter", "UPDATE outbox SET trace = ''"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(forbidden)
    await conn.close()


async def test_a_tombstone_leaves_as_a_record_without_a_value_under_the_key_of_what_it_ends(database: Database, urls: Urls) -> None:
    who = CustomerIdentityChanged(version=1, customer_id=TENANT, name="Kervella")
    async with database.transaction(TENANT) as conn:
        await publish(conn, [Outgoing(TENANT, who), Tombstone(TENANT, CustomerIdentityChanged, TENANT, 2), Outgoing(TENANT, payment(1))])
    [said, ended, other] = await _drain(urls)
    assert (ended[:2], ended[2]) == (said[:2], None)
    assert json.loads(said[2])["name"] == "Kervella"
    assert dict(ended[3])["ce_sequence"] == b"00000000000000000002"
    assert json.loads(other[2])["event"] == "PaymentReceived"


async def test_a_tombstone_for_a_topic_that_is_not_compacted_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="not compacted"):
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Tombstone(TENANT, PaymentReceived, TENANT, 2)])


async def test_a_state_told_under_two_names_is_two_events_with_ids_of_their_own(database: Database, urls: Urls) -> None:
    async with database.transaction(TENANT) as conn:
        await publish(conn, [Outgoing(TENANT, payment(7, 2), also=PaymentMatched)])
    received, matched = await published(urls.owner)
    assert (type(received.data), type(matched.data)) == (PaymentReceived, PaymentMatched)
    assert msgspec.structs.asdict(received.data) == msgspec.structs.asdict(matched.data)
    assert matched.envelope.id == event_id(TENANT, PaymentMatched, payment(7).payment_id, 2)
    with pytest.raises(TypeError, match="not two names of one state"):
        retold(encode(payment(7)), PaymentReceived, AccountBalanceChanged)
    await _drain(urls)
