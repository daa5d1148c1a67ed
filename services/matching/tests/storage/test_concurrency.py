"""Many workers at once, and histories in any order."""

import asyncio
import random
from datetime import UTC, datetime
from functools import partial

import asyncpg
import pytest
from matching.handlers import matching as engine
from matching.handlers.payments import unmatch
from matching.storage.books import lock
from shared.db import fetch, run
from shared.failures import is_unavailable
from shared.ids import new_id
from shared.testing.waiting import eventually

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

REFERENCE = "RF18539007547034"


@pytest.mark.parametrize("new", [True, False])
async def test_fifty_transactions_on_one_item_never_over_allocate(world, tenant, make, new):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference=REFERENCE))
    pays = [await world.pay(held, 300, REFERENCE, number=n) for n in range(50)]

    async def match(payment):
        await world.handled(tenant, by=partial(engine.match, new=new), given=([(tenant, payment)], NOW, {}))

    await asyncio.gather(*(match(payment) for payment in pays))
    assert tuple(await world.one(tenant, "SELECT open_minor, cash_minor, version FROM open_item")) == (0, 10_000, 35)
    assert (await world.one(tenant, "SELECT CAST(sum(unapplied_minor) AS bigint) FROM payment"))[0] == 5_000
    versions = [m.data.version for m in await world.events("OpenItemChanged") if m.tenant_id == tenant]
    assert versions == list(range(1, 36))
    await world.holds()


async def test_a_payment_that_two_workers_have_at_once_is_decided_on_once(world, tenant, make):
    """A rebalance delivers it again: whoever comes second decides again, and sees what the other made of it."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 700, reference=f"REF{n:06d}") for n in range(20)))
    for n in range(20):
        await world.pay(held, 1_000, f"REF{n:06d}", number=n)
    told = [m for m in await world.events("PaymentReceived") if m.tenant_id == tenant]
    await asyncio.gather(*(world.feed(*told) for _ in range(4)))
    rows = await world.rows(tenant, "SELECT status, version, allocated_minor, unapplied_minor, count(*) FROM payment GROUP BY 1, 2, 3, 4")
    assert [tuple(row) for row in rows] == [("partly_matched", 2, 700, 300, 20)]
    assert (await world.one(tenant, "SELECT count(*) FROM decision"))[0] == 20
    await world.holds()


@pytest.mark.parametrize("new", [True, False])
async def test_payment_and_invoice_at_the_same_moment_meet_at_the_latest_on_another_look(world, tenant, make, new):
    held = await world.account(tenant)
    pairs = 30
    pays = [await world.pay(held, 100, f"REF{n:06d}", number=n) for n in range(pairs)]

    async def match(n):
        await world.handled(tenant, by=partial(engine.match, new=new), given=([(tenant, pays[n])], NOW, {}))

    async def issue(n):
        await world.feed(make.invoice(tenant, f"F-{n}", 100, reference=f"REF{n:06d}", customer=f"C{n % 3}"))

    await asyncio.gather(*(work(n) for n in range(pairs) for work in (match, issue)))
    async with world.database.transaction(tenant) as conn:
        due = await fetch(conn, "SELECT tenant_id, payment_id FROM payment WHERE next_look_at IS NOT NULL")
        await engine.match(conn, [(row[0], row[1]) for row in due], NOW, {})
    assert (await world.one(tenant, "SELECT count(*) FROM payment WHERE status <> 'matched'"))[0] == 0
    await world.holds()


async def test_a_credit_note_and_its_invoice_at_the_same_moment_meet(world, tenant, make):
    """Of one customer and of two, each in transactions that neither sees of the other before its commit."""
    for n in range(20):
        item = make.invoice_id(tenant, f"F-{n}")
        await asyncio.gather(
            world.feed(make.invoice(tenant, f"F-{n}", 1_000, customer=f"C{n % 3}")),
            world.feed(make.invoice(tenant, f"A-{n}", 400, cls=make.Credit, credited_invoice_id=item, customer=f"C{n % 2}")),
        )
    rows = await world.rows(tenant, "SELECT kind, open_minor, count(*) FROM open_item GROUP BY 1, 2 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("credit_note", 0, 20), ("invoice", 600, 20)]
    await world.holds()


_ROWS = ("payment", "open_item")
_ONE = "SELECT 1 FROM {} WHERE tenant_id = :t FOR UPDATE"


@pytest.mark.parametrize("held", range(len(_ROWS)))
async def test_rows_are_locked_in_the_order_payment_item_and_accounts_not_yet(world, tenant, make, held):
    """While one of the two is another's, what comes before it is locked already, what comes after it is not, nor is the account."""
    bank_account = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference=REFERENCE))
    payment = await world.pay(bank_account, 10_000, REFERENCE)
    item = make.invoice_id(tenant, "F-1")
    (account,) = await world.one(tenant, "SELECT account_id FROM account_balance")

    async def free(conn):
        return [bool(await fetch(conn, _ONE.format(table) + " SKIP LOCKED", t=tenant)) for table in _ROWS]

    async def take():
        async with world.database.transaction(tenant) as conn:
            return await lock(conn, accounts=[(tenant, account)], payments=[(tenant, payment)], items=[(tenant, item)])

    async with world.database.transaction(tenant) as other:
        await fetch(other, _ONE.format(_ROWS[held]), t=tenant)
        waiting = asyncio.create_task(take())

        async def waits() -> bool:
            return bool(
                await world.rows(tenant, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
            )

        await eventually(waits, seconds=10, what="the locking transaction")
        async with world.database.transaction(tenant) as looking:
            assert await free(looking) == [place > held for place in range(len(_ROWS))]
            assert await fetch(looking, _ONE.format("account_balance") + " SKIP LOCKED", t=tenant)
    books = await waiting
    assert (list(books.accounts), list(books.payments), list(books.items)) == ([(tenant, account)], [(tenant, payment)], [(tenant, item)])


async def test_what_is_locked_is_as_the_one_before_left_it(world, tenant, make):
    """Each row comes as it is when its lock is had, not as it was when the statement began."""
    bank_account = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference=REFERENCE))
    first, second = await world.pay(bank_account, 4_000, REFERENCE, number=1), await world.pay(bank_account, 9_000, REFERENCE, number=2)
    item = make.invoice_id(tenant, "F-1")
    (account,) = await world.one(tenant, "SELECT account_id FROM account_balance")

    async def take():
        async with world.database.transaction(tenant) as conn:
            return await lock(conn, accounts=[(tenant, account)], payments=[(tenant, second)], items=[(tenant, item)])

    async with world.database.transaction(tenant) as conn:
        await engine.match(conn, [(tenant, first)], NOW, {})
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0.3)
        assert not waiting.done()
    books = await waiting
    assert books.items[tenant, item].open_minor == 6_000


async def test_two_that_settle_items_of_one_customer_wait_for_nothing_but_the_commit(world, tenant, make):
    """What is decided on first may commit last: the account is added to at the end, and its versions follow the commits."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 100 * n, reference=f"REF{n:06d}", customer="C1") for n in (1, 2, 3)))
    pays = [await world.pay(held, 100 * n, f"REF{n:06d}", number=n) for n in (1, 2)]
    async with world.database.transaction(tenant) as slow:
        await engine.match(slow, [(tenant, pays[0])], NOW, {})
        async with asyncio.timeout(5), world.database.transaction(tenant) as fast:
            await engine.match(fast, [(tenant, pays[1])], NOW, {})
        assert (await world.one(tenant, "SELECT open_minor FROM account_balance"))[0] == 400
    told = [m.data for m in await world.events("AccountBalanceChanged") if m.tenant_id == tenant]
    assert [(one.version, one.open_minor) for one in told] == [(1, 600), (2, 400), (3, 300)]
    await world.holds()


async def test_what_the_database_cannot_take_now_is_tried_again_and_never_taken_for_poison(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 300, reference=REFERENCE))
    pay = await world.pay(held, 300, REFERENCE)

    async def match():
        async with world.database.transaction(tenant) as conn:
            await run(conn, "SET LOCAL lock_timeout = '100ms'")
            await engine.match(conn, [(tenant, pay)], NOW, {})

    other = await asyncpg.connect(world.urls.owner)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE ledger_entry IN SHARE ROW EXCLUSIVE MODE")  # everything is decided, nothing can be written
            with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever it is, it has to be known for what it is
                await match()
            assert is_unavailable(refused.value), refused.value
    finally:
        await other.close()
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT open_minor FROM open_item"))[0] == 0
    await world.holds()


async def kept(world, tenant):
    """What is kept of others, without our own versions."""
    items = await world.rows(tenant, "SELECT invoice_number, invoice_version, original_minor, contested_minor FROM open_item ORDER BY 1")
    references = await world.rows(tenant, "SELECT value, kind FROM item_reference ORDER BY 1, 2")
    accounts = await world.rows(
        tenant,
        "SELECT customer_id, currency, open_minor, unused_credits_minor FROM account_balance WHERE open_minor + unused_credits_minor > 0",
    )
    return items, references, accounts


async def test_what_is_kept_is_the_same_in_every_order_and_repetition(world, make):
    outcomes = []
    for seed in range(6):
        tenant = new_id()
        item = make.invoice_id(tenant, "F-1")
        history = [
            make.invoice(tenant, "F-1", 1_000, reference="AAA111"),
            make.invoice(tenant, "F-1", 1_200, reference="BBB222", version=2, cls=make.Changed),
            make.invoice(tenant, "F-2", 500),
            make.invoice(tenant, "F-2", 500, version=2, cls=make.Cancelled),
            make.invoice(tenant, "F-3", 700, customer="C2"),
            make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=item),
            make.invoice(tenant, "F-4", 10, version=3, cls=make.Changed),
        ]
        feed = history + random.Random(seed).sample(history, 4)
        random.Random(seed).shuffle(feed)
        await world.feed(*feed)
        items, references, accounts = await kept(world, tenant)
        shape = [(r[0], r[1], r[2], r[3]) for r in items], [tuple(r) for r in references], sorted((r[2], r[3]) for r in accounts)
        outcomes.append(shape)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    await world.holds()


async def test_random_histories_conserve_money(world, make):
    for seed in range(4):
        tenant, dice = new_id(), random.Random(seed)
        held = await world.account(tenant)

        def issue(number, kind="F", *, tenant=tenant, dice=dice, **more):
            return make.invoice(
                tenant, f"{kind}-{number}", dice.randint(1, 900), reference=f"REF{number:06d}", customer=f"C{number % 3}", **more
            )

        open_work = [issue(n) for n in range(8)]
        open_work += [issue(n, "A", cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, f"F-{n}")) for n in range(4)]
        open_work += [issue(n, version=2, cls=dice.choice([make.Changed, make.Cancelled])) for n in range(0, 8, 3)]
        open_work += [("pay", n) for n in range(12)] + [("unmatch", n) for n in range(6)]
        dice.shuffle(open_work)
        pays = []
        for step in open_work:
            if not isinstance(step, tuple):
                await world.feed(step)
            elif step[0] == "pay":
                pays.append(await world.pay(held, dice.randint(1, 900), f"REF{dice.randrange(8):06d}", number=step[1]))
                await world.match(tenant)
            elif pays:
                async with world.database.transaction(tenant) as conn:
                    await unmatch(conn, tenant, dice.choice(pays), None, "wrong", NOW)
        await world.holds()


@pytest.mark.parametrize("matched", [True, False])
async def test_two_lists_of_one_payment_that_come_at_the_same_moment_are_both_taken_in(world, tenant, make, client, matched):
    """They name items of each other in another order: the money is for one of them, and the other waits for its own."""
    held = await world.account(tenant)
    numbers = [f"F-{n}" for n in range(8)]
    await world.feed(*(make.invoice(tenant, number, 1_000, customer=f"C{at % 3}") for at, number in enumerate(numbers)))
    for turn in range(4):
        await world.pay(held, 600, end_to_end_id=f"LIST-{turn}", number=turn)
    if matched:
        await world.match(tenant)

    async def send(turn, order, payer):
        query = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "reference": f"LIST-{turn}"}
        query["payer_customer_id"] = str(make.customer_id(tenant, payer))
        content = "document_number;net\n" + "".join(f"{number};1,00\n" for number in order)
        headers = {"content-type": "text/csv"}
        return await client.post("/v1/remittances/file", params=query, content=content.encode(), headers=headers)

    lists = [(turn, order, payer) for turn in range(4) for order, payer in ((numbers[:6], "C0"), (numbers[:1:-1], "C1"))]
    answers = await asyncio.gather(*(send(*one) for one in lists))
    assert [one.status_code for one in answers] == [201] * 8
    assert sorted(one.json()["status"] for one in answers) == ["received"] * 4 + ["waiting"] * 4
    assert (await world.one(tenant, "SELECT CAST(sum(cash_minor) AS bigint) FROM open_item"))[0] == 4 * 600
    await world.holds()
