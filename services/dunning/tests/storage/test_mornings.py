"""A morning with many letters: side by side, on few connections, in few statements; none held or failed by another."""

import asyncio
import os
import signal
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from dunning.handlers import dispatches
from dunning.smtp import Outcome
from dunning_world import World, morning
from shared.testing.waiting import eventually

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
MANY = 3 * dispatches.SIDE_BY_SIDE


def address(number: int) -> str:
    return f"pay{number}@debtor.example"


async def plan(world: World, many: int = MANY) -> list[tuple[UUID, UUID]]:
    """A letter each to pay0@..., pay1@...; gives (customer, item)."""
    await world.start()
    found, messages = [], []
    for number in range(many):
        who, identity = world.customer(email=address(number))
        item = world.item(who.data.customer_id, due=DUE)
        found.append((who.data.customer_id, item.data.item_id))
        messages += [who, identity, item]
    await world.feed(*messages)
    await world.decide(DAY)
    return found


async def states(world: World) -> Counter[str]:
    return Counter(row.state for row in await world.rows("SELECT state FROM dispatch WHERE tenant_id = :tenant", tenant=world.tenant))


def recipients(world: World) -> list[str]:
    return sorted(mail["To"] for mail in world.mail_server.mails)


async def test_many_letters_leave_on_few_connections_by_few_statements(world: World) -> None:
    await plan(world)
    before = world.database.statements
    await world.send(morning(DAY))
    assert recipients(world) == sorted(map(address, range(MANY)))
    assert len(await world.told()) == MANY
    assert world.mail_server.connections <= dispatches.SIDE_BY_SIDE
    assert world.database.statements - before <= 25 * (MANY // dispatches.SIDE_BY_SIDE + 1)


async def test_one_address_that_is_refused_or_put_off_holds_up_no_other(world: World) -> None:
    await plan(world)
    world.mail_server.rcpt = {address(1): "550 no such mailbox", address(2): "451 try later", address(3): "554 go away"}
    await world.send(morning(DAY))
    assert await states(world) == {"sent": MANY - 3, "failed": 2, "planned": 1}
    assert len(world.mail_server.mails) == len(await world.told()) == MANY - 3
    assert world.mail_server.connections <= dispatches.SIDE_BY_SIDE


async def test_an_address_that_hangs_holds_up_no_other(world: World) -> None:
    await plan(world)
    world.mail_server.hangs = {address(0), address(1)}
    sending = asyncio.create_task(world.send(morning(DAY)))

    async def others_sent() -> bool:
        return await states(world) == {"sent": MANY - 2, "sending": 2}

    await eventually(others_sent, seconds=10, what="the others being sent, and noted")
    assert not sending.done()
    world.mail_server.wake.set()
    await sending
    assert await states(world) == {"sent": MANY}


async def test_a_connection_that_takes_no_further_mail_is_followed_by_a_new_one(world: World) -> None:
    world.mail_server.mails_each = 2
    await plan(world)
    await world.send(morning(DAY))
    assert await states(world) == {"sent": MANY}
    assert world.mail_server.connections >= MANY // 2


async def test_a_server_that_is_down_ends_the_round(world: World) -> None:
    await plan(world)
    world.mail_server.rcpt = {address(number): "450 not now" for number in range(MANY)}
    await world.send(morning(DAY))
    [row] = await world.rows("SELECT sum(attempts) AS n FROM dispatch WHERE tenant_id = :tenant", tenant=world.tenant)
    assert row.n <= dispatches.SIDE_BY_SIDE


class Till:
    """A transport whose first mail finds that everybody pays at that moment."""

    def __init__(self, world: World, owed: list[tuple[UUID, UUID]]) -> None:
        self.world, self.owed, self.asked = world, owed, 0
        self.paid = asyncio.Event()

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:  # noqa: ARG002 - the transport's signature
        self.asked += 1
        if self.asked == 1:
            await self.world.feed(
                *(self.world.item(customer, due=DUE, item_id=item, open_minor=0, value_date=DUE) for customer, item in self.owed)
            )
            self.paid.set()
        await self.paid.wait()
        return Outcome("sent", "accepted")

    async def close(self) -> None:
        """Nothing is kept."""


async def test_money_that_comes_while_mails_leave_stops_all_that_are_not_on_their_way(world: World) -> None:
    till = Till(world, await plan(world))
    await dispatches.send_planned(world.context(morning(DAY)), world.tenant, till)
    assert till.asked == dispatches.SIDE_BY_SIDE
    assert await states(world) == {"sent": till.asked, "withdrawn": MANY - till.asked}
    assert (await world.run(DAY)).held == {"paid": MANY - till.asked}


async def test_letters_of_several_legal_entities_leave_in_one_round(world: World) -> None:
    await plan(world, 3)
    other = World(world.database, world.urls, world.mail_server, tenant=world.tenant)
    await plan(other, 3)
    await world.send(morning(DAY))
    assert await states(world) == {"sent": 6}
    entities = await world.rows("SELECT DISTINCT entity_id FROM decision WHERE tenant_id = :tenant", tenant=world.tenant)
    assert {row.entity_id for row in entities} == {world.entity, other.entity}


class Spoiler:
    """A transport that takes everything, and spoils the decision behind one mail, so that it cannot be told of."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:  # noqa: ARG002 - the transport's signature
        if recipient == address(0):
            await self.world.rows(
                "UPDATE decision d SET level = -1 FROM dispatch p WHERE (p.tenant_id, p.reminder_id) = (d.tenant_id, d.reminder_id) "
                "AND p.tenant_id = :tenant AND p.recipient = :recipient RETURNING 1",
                tenant=self.world.tenant,
                recipient=recipient,
            )
        return Outcome("sent", "accepted")

    async def close(self) -> None:
        """Nothing is kept."""


async def test_an_outcome_that_cannot_be_stored_costs_no_other_its_own(world: World) -> None:
    await plan(world, dispatches.SIDE_BY_SIDE)
    with pytest.raises(Exception, match="level"):
        await dispatches.send_planned(world.context(morning(DAY)), world.tenant, Spoiler(world))
    assert await states(world) == {"sent": dispatches.SIDE_BY_SIDE - 1, "sending": 1}
    assert len(await world.told()) == dispatches.SIDE_BY_SIDE - 1


@pytest.mark.fault
@pytest.mark.parametrize(
    "place",
    ["dispatch.before_send:1", "dispatch.before_send:11", "dispatch.after_send:1", "dispatch.after_send:8", "dispatch.after_send:13"],
)
async def test_killed_in_a_batch_the_rest_leaves_once_and_what_is_in_doubt_never_again(world: World, place: str) -> None:
    await plan(world)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "kill_sender.py"),
        world.urls.app,
        str(world.tenant),
        world.mail_server.transport.url,
        morning(DAY).isoformat(),
        env={**os.environ, "ENCOURS_FAILPOINT": place},
    )
    assert await process.wait() == -signal.SIGKILL
    left = await states(world)
    assert 1 <= left["sending"] <= dispatches.SIDE_BY_SIDE
    await world.send(morning(DAY))
    assert await states(world) == {"sent": MANY - left["sending"], "sending": left["sending"]}
    await world.rows(
        "UPDATE dispatch SET claimed_at = claimed_at - CAST(:by AS interval) WHERE tenant_id = :tenant AND state = 'sending' RETURNING 1",
        tenant=world.tenant,
        by=dispatches.DOUBT_AFTER + timedelta(seconds=1),
    )
    await world.send(morning(DAY))
    await world.day(DAY + timedelta(days=1))
    assert await states(world) == {"sent": MANY - left["sending"], "in_doubt": left["sending"]}
    assert max(Counter(recipients(world)).values()) == 1
    told = Counter(reminder.customer_id for reminder in await world.told())
    assert (len(told), max(told.values())) == (MANY - left["sending"], 1)
    assert len(world.mail_server.mails) >= len(told)
