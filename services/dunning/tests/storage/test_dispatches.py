"""What leaves the house: refused, later, in doubt, withdrawn; never twice and never blindly."""

import asyncio
import os
import signal
import sys
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest
from contracts.dunning import ReminderSent
from dunning.handlers import dispatches, disputes, promises, reminders
from dunning.handlers.promises import RefusedError
from dunning.smtp import Outcome, Smtp
from dunning_world import World, morning, new_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)


@pytest.fixture
async def planned(world: World):
    """One mail planned; gives (customer, item)."""
    await world.start()
    who, identity = world.customer()
    item = world.item(who.data.customer_id, due=DUE)
    await world.feed(who, identity, item)
    await world.decide(DAY)
    return who.data.customer_id, item.data.item_id


async def mail(world: World):
    [row] = await world.rows("SELECT * FROM dispatch WHERE tenant_id = :tenant", tenant=world.tenant)
    return row


async def set_back(world: World, **columns: timedelta) -> None:
    """Moves machine times of the tenant's mails into the past."""
    owner = await asyncpg.connect(world.urls.owner)
    try:
        async with owner.transaction():
            await owner.execute("SELECT set_config('app.tenants', $1, true)", f"{{{world.tenant}}}")
            for name, by in columns.items():
                statement = f"UPDATE dispatch SET {name} = {name} - $1::interval WHERE tenant_id = $2"  # noqa: S608 - a test's own names
                await owner.execute(statement, by, world.tenant)
    finally:
        await owner.close()


async def resolve(world: World, *, was_sent: bool) -> bool:
    row = await mail(world)
    async with world.database.transaction(world.tenant) as conn:
        return await dispatches.resolve(conn, world.tenant, row.reminder_id, was_sent=was_sent, now=morning(DAY))


@pytest.mark.usefixtures("planned")
async def test_a_permanent_refusal_fails_and_is_not_tried_again(world: World) -> None:
    world.mail_server.replies = ["550 no such mailbox"]
    await world.send(morning(DAY))
    row = await mail(world)
    assert (row.state, row.detail) == ("failed", "server replied 550")
    await world.send(morning(DAY))
    assert await world.told() == []
    assert not world.mail_server.mails
    assert (await world.run(DAY)).held == {"mail_failed": 1}
    assert await resolve(world, was_sent=False)
    assert (await world.day(DAY + timedelta(days=1))).sent == 1


@pytest.mark.usefixtures("planned")
async def test_a_transient_refusal_is_tried_again_after_a_while(world: World) -> None:
    world.mail_server.replies = ["451 try later"]
    await world.send(morning(DAY))
    row = await mail(world)
    assert (row.state, row.attempts, row.detail) == ("planned", 1, "server replied 451")
    await world.send(morning(DAY))
    assert not world.mail_server.mails
    await set_back(world, attempt_at=timedelta(hours=1))
    await world.send(morning(DAY))
    assert (await mail(world)).state == "sent"
    assert len(world.mail_server.mails) == len(await world.told()) == 1


@pytest.mark.usefixtures("planned")
async def test_an_unreachable_server_leaves_the_mail_planned(world: World) -> None:
    await dispatches.send_planned(world.context(morning(DAY)), world.tenant, Smtp("smtp://127.0.0.1:1"))
    assert (await mail(world)).state == "planned"


@pytest.mark.usefixtures("planned")
async def test_no_reply_after_the_content_is_in_doubt_and_told_by_a_person(world: World) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go\r\n")
            elif line == b".\r\n":
                break
            elif line[:4].upper() in (b"EHLO", b"MAIL", b"RCPT"):
                writer.write(b"250 ok\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        await dispatches.send_planned(
            world.context(morning(DAY)), world.tenant, Smtp(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        )
    assert (await mail(world)).state == "in_doubt"
    await world.send(morning(DAY))
    assert not world.mail_server.mails
    assert await resolve(world, was_sent=True)
    assert len(await world.told()) == 1
    with pytest.raises(RefusedError, match="is sent"):
        await resolve(world, was_sent=True)


@pytest.mark.fault
@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize(("place", "left"), [("dispatch.before_send", 0), ("dispatch.after_send", 1)])
async def test_killed_around_the_sending_it_is_in_doubt_and_never_repeated(world: World, place: str, left: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "kill_sender.py"),
        world.urls.app,
        str(world.tenant),
        world.mail_server.transport.url,
        morning(DAY).isoformat(),
        env={**os.environ, "ENCOURS_FAILPOINT": f"{place}:1"},
    )
    assert await process.wait() == -signal.SIGKILL
    assert (await mail(world)).state == "sending"
    await set_back(world, claimed_at=dispatches.DOUBT_AFTER + timedelta(seconds=1))
    await world.send(morning(DAY))
    assert (await mail(world)).state == "in_doubt"
    assert (len(world.mail_server.mails), await world.told()) == (left, [])
    assert (await world.run(DAY)).held == {"mail_in_doubt": 1}
    await world.day(DAY + timedelta(days=1))
    assert len(world.mail_server.mails) == left
    assert await resolve(world, was_sent=bool(left))
    await world.day(DAY + timedelta(days=2))
    assert len(world.mail_server.mails) == len(await world.told()) == 1


async def test_money_that_comes_after_the_decision_stops_the_mail(world: World, planned) -> None:
    customer, item = planned
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=0))
    await world.send(morning(DAY))
    assert (await mail(world)).state == "withdrawn"
    assert (await world.run(DAY)).held == {"paid": 1}
    await world.feed(world.item(customer, due=DUE, item_id=item))
    assert (await world.day(DAY + timedelta(days=1))).sent == 1


async def test_a_promise_or_dispute_after_the_decision_stops_the_mail(world: World, planned) -> None:
    customer, item = planned
    async with world.database.transaction(world.tenant) as conn:
        await promises.make(
            conn,
            world.tenant,
            new_id(),
            customer_id=customer,
            item_ids=[item],
            amount_minor=60_00,
            currency="EUR",
            due_on=DAY + timedelta(days=5),
            now=morning(DAY),
        )
    await world.send(morning(DAY))
    assert (await world.run(DAY)).held == {"changed": 1}
    await world.decide(DAY + timedelta(days=1))
    async with world.database.transaction(world.tenant) as conn:
        await disputes.open_dispute(conn, world.tenant, new_id(), item_id=item, amount_minor=100_00, currency="EUR", reason="quality")
    await world.send(morning(DAY + timedelta(days=1)))
    assert (await world.run(DAY + timedelta(days=1))).held == {"disputed": 1}
    assert not world.mail_server.mails


@pytest.mark.usefixtures("planned")
async def test_a_mail_not_sent_on_its_day_is_decided_anew(world: World) -> None:
    await world.day(DAY + timedelta(days=1))
    assert (await world.run(DAY)).held == {"not_sent_in_time": 1}
    assert (await world.run(DAY + timedelta(days=1))).sent == 1
    assert len(world.mail_server.mails) == 1


class Taken:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:  # noqa: ARG002 - the transport's signature
        self.mails.append(mail)
        return Outcome("sent", "accepted")

    async def close(self) -> None:
        """Nothing is kept."""


ACTS = st.lists(st.sampled_from(["item", "paid", "reconciled", "gate", "run", "send", "next_day"]), min_size=3, max_size=14)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
async def test_whatever_the_interleaving_what_is_known_as_paid_is_not_reminded(world: World, acts: list[str]) -> None:
    fresh = World(world.database, world.urls, world.mail_server)
    taken, day, paid = Taken(), DAY, False
    await fresh.start()
    who, identity = fresh.customer()
    customer, item = who.data.customer_id, new_id()
    opened = fresh.item(customer, due=DUE, item_id=item)
    settled = fresh.item(customer, due=DUE, item_id=item, open_minor=0, value_date=DUE)
    await fresh.feed(who, identity)
    for act in acts:
        before = len(taken.mails)
        match act:
            case "item":
                await fresh.feed(opened)
            case "paid":
                await fresh.feed(settled)
                paid = True
            case "reconciled":
                await fresh.feed(fresh.reconciled(day - timedelta(days=1)))
            case "gate":
                await fresh.open_gates(morning(day))
            case "run":
                await reminders.run_day(fresh.context(morning(day)), fresh.tenant)
            case "send":
                await dispatches.send_planned(fresh.context(morning(day)), fresh.tenant, taken)
            case _:
                day += timedelta(days=1)
        assert not (paid and len(taken.mails) > before)
    assert len(taken.mails) <= 1
    told: list[ReminderSent] = await fresh.told()
    assert len(told) == len(taken.mails)
