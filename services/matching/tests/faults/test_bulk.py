"""A bulk import of open items beside live payments of the same tenant."""

import asyncio
from statistics import median

import pytest
from shared.clock import monotonic
from shared.ids import new_id
from shared.testing.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
ITEMS = 20_000
LIVE = 400
PER_S = 5
BOUND_SECONDS = 15.0
"""What a live payment may take at most, from the notification's commit to InvoicePaid on the topic, on a shared machine."""


async def test_live_payments_beside_a_bulk_import(system, make, feed):
    tenant = new_id()
    held = await system.account(tenant)
    live = [
        make.invoice(tenant, f"INV{number:06d}", 10_000, reference=f"REF{number:06d}", customer=f"C{number % 30}") for number in range(LIVE)
    ]
    children = [await system.start(role) for role in ("worker", "relay")]
    await system.joined(1)
    await system.send([system.record(one) for one in live])

    async def items(count: int) -> bool:
        return await system.count("SELECT count(*) FROM open_item") == count

    await eventually(lambda: items(LIVE), seconds=60, what="the live items")
    bulk = [system.record(make.invoice(tenant, f"BULK{n:06d}", 5_000, customer=f"B{n % 200}")) for n in range(ITEMS)]
    sent: dict[str, float] = {}
    waits: dict[str, float] = {}
    told = asyncio.Event()

    async def listen() -> None:
        async with system.reading("InvoicePaid") as (client, _):
            told.set()
            while True:
                for records in (await client.getmany(timeout_ms=100)).values():
                    now = monotonic()
                    for record in records:
                        number = record.value.partition(b'"invoice_number":"')[2].partition(b'"')[0].decode()
                        waits.setdefault(number, now - sent[number])

    async def bulk_import() -> float:
        began = monotonic()
        await system.send(bulk)
        await eventually(lambda: items(LIVE + ITEMS), seconds=200, what="the import")
        return monotonic() - began

    listening = asyncio.create_task(listen())
    await told.wait()
    began = monotonic()
    importing = asyncio.create_task(bulk_import())
    count = 0
    while count < LIVE and not (importing.done() and count >= 50):
        # at a steady rate, whatever the answers: who waits for them measures the good moments only
        await asyncio.sleep(max(0.0, began + count / PER_S - monotonic()))
        sent[f"INV{count:06d}"] = monotonic()
        await system.notify(held, feed.transfer(count))
        count += 1
    seconds = await importing

    async def paid() -> bool:
        assert not listening.done(), listening.exception()
        return len(waits) == count

    await eventually(paid, seconds=90, what="every live payment's InvoicePaid")
    listening.cancel()
    system.injected["open items imported"] += ITEMS
    print(  # noqa: T201 - the record
        f"import in {seconds:.0f} s; {count} live payments took "
        f"{median(waits.values()):.2f} s (median), {max(waits.values()):.2f} s at most"
    )
    assert max(waits.values()) < BOUND_SECONDS
    await system.settled(payments=count, paid=count)
    await system.ended(*children)
