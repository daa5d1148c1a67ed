"""Over a real broker: events become read models, days are measured, and a rebuild comes to the same rows."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from contracts.envelope import Message, encode, headers
from reporting.cli import SERVICE
from reporting.measures import measure_days
from reporting.rebuild import rebuild
from shared.ids import new_id
from shared.jobs import JobContext
from shared.kafka import Offsets, Producer, create_topics
from shared.service import check, make_workers, prepare_inbox
from shared.testing.events import in_lanes, published
from shared.testing.waiting import eventually


@pytest.fixture(scope="module")
async def producer(settings) -> AsyncIterator[Producer]:
    await create_topics(settings.kafka_bootstrap_servers, prefix=settings.topic_prefix, replication=1)
    found = Producer(settings.kafka_bootstrap_servers, client_id="test")
    yield found
    await found.close()


@pytest.fixture(scope="module")
async def send(producer, settings):
    async def run(*messages: Message[Any]) -> None:
        await producer.send(
            in_lanes(
                (
                    settings.topic_prefix + each.envelope.type,
                    f"{each.tenant_id}:{each.envelope.subject}".encode(),
                    encode(each.data),
                    headers(each.envelope),
                )
                for each in messages
            )
        )

    return run


@asynccontextmanager
async def _running(runtime) -> AsyncIterator[None]:
    await prepare_inbox(runtime.database)
    (worker,) = make_workers(runtime)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


@pytest.fixture(scope="module")
async def offsets(settings) -> AsyncIterator[Offsets]:
    found = Offsets(settings.kafka_bootstrap_servers)
    yield found
    await found.close()


@pytest.fixture
def measured(runtime, settings, offsets):
    """Runs the job once, as the scheduler does, and tells how many days have been measured."""
    context = JobContext(runtime.database, runtime.clock.now(), offsets, settings.topic_prefix, settings.topic_prefix + "reporting")

    async def run(tenant_id: UUID) -> int:
        await measure_days(context, tenant_id)
        async with runtime.database.transaction(tenant_id) as conn:
            return (await conn.exec_driver_sql("SELECT count(*) FROM measured_day WHERE taken_at IS NOT NULL")).scalar_one()

    return run


def _answer(capsys) -> dict[str, Any]:
    """The command's JSON object, after what the log said."""
    out = capsys.readouterr().out
    found: dict[str, Any] = json.loads(out[out.rindex("\n{\n") if "\n{\n" in out else 0 :])
    return found


async def _owner(urls, statement: str, *values: object, tenant_id: UUID) -> Any:
    conn = await asyncpg.connect(urls.owner)
    try:
        await conn.execute("SELECT set_config('app.tenants', $1, false)", f"{{{tenant_id}}}")
        return await conn.execute(statement, *values)
    finally:
        await conn.close()


async def test_from_events_to_figures_and_back_from_the_topics(runtime, settings, urls, producer, send, measured, ledger, capsys, rows_of):
    book = ledger(new_id())
    history = [
        book.account(),
        book.invoice("F1", 9_000, issued="2026-05-10"),
        book.item("F1", "c1", ("2026-06-01", 9_000), issued="2026-05-10"),
        book.item("F1", "c1", ("2026-06-01", 4_000), paid=5_000, version=2, issued="2026-05-10"),
        book.item("F2", "c2", ("2026-07-01", 70), issued="2026-06-14"),
        book.payment("P1", 30, payer="c1"),
        book.balance("c1", owes=4_000, unapplied=30),
        book.balance("c2", owes=70),
        book.word("2026-06-13"),
    ]
    await send(*history, *reversed(history))
    # what cannot be decoded is put aside here as it is there
    await producer.send(in_lanes([(settings.topic_prefix + "OpenItemChanged", b"x", b"{}", headers(history[2].envelope))]))
    async with _running(runtime):

        async def first_day() -> bool:
            return await measured(book.tenant_id) == 1

        await eventually(first_day, what="the first measured day")
        await send(book.word("2026-06-14", version=2))

        async def second_day() -> bool:
            return await measured(book.tenant_id) == 2

        await eventually(second_day, what="the second measured day")
        await measured(book.tenant_id)
        figures = [message.data for message in await published(urls.owner, "KpiMeasured")]
        assert len(figures) == 10
        found = {(figure.as_of.day, figure.kpi): (figure.numerator, figure.denominator) for figure in figures}
        # an item issued on the 14th is none of the 13th's; 3,970 x 90 / 9,000
        assert found[(13, "dso_period")] == (397, 10)
        assert found[(14, "overdue_share")] == (4_000 // 10, 4_070 // 10)
        assert found[(13, "overdue_share")] == (1, 1)

        assert await rebuild(settings, compare=True) == 0
        answer = _answer(capsys)
        assert (answer["different"], answer["refused"], answer["read"]) == ({}, 1, 2 * len(history) + 2)

        before = await rows_of(urls.owner, "open_item", book.tenant_id)
        await _owner(urls, "UPDATE open_item SET open_minor = 1 WHERE invoice_number = 'F1'", tenant_id=book.tenant_id)
        await _owner(urls, "DELETE FROM payment", tenant_id=book.tenant_id)
        assert await rebuild(settings, compare=True) == 1
        different = _answer(capsys)["different"]
        assert different == {
            "open_item": [f"{book.tenant_id}/{book.id('F1')}: open_minor"],
            "payment": [f"{book.tenant_id}/{book.id('P1')}: missing in the live table"],
        }

        await rebuild(settings, compare=False)
        replaced = _answer(capsys)["replaced"]
        assert {name: count for name, count in replaced.items() if count} == {"open_item": 1, "payment": 1}
        assert await rows_of(urls.owner, "open_item", book.tenant_id) == before
        assert await rebuild(settings, compare=True) == 0
    assert all(found is True for found in (await check(SERVICE, settings)).values())


async def test_a_day_is_measured_only_after_what_came_before_the_banks_word_is_read(runtime, settings, send, measured, ledger, apply):
    book = ledger(new_id())
    # the word is known here, what was on the topics before it is not yet read: no worker runs
    await send(book.item("F1", "c1", ("2026-06-01", 9_000)))
    await apply(runtime.database, book.account())
    await apply(runtime.database, book.word("2026-06-13"))
    for _ in range(3):
        assert await measured(book.tenant_id) == 0
    async with _running(runtime):

        async def taken() -> bool:
            return await measured(book.tenant_id) == 1

        await eventually(taken, what="the measured day")
    async with runtime.database.transaction(book.tenant_id) as conn:
        assert (await conn.exec_driver_sql("SELECT sum(days_1_30_minor) FROM ageing_day")).scalar_one() == 9_000
