"""Who is reminded of what, when, and when not."""

from datetime import UTC, date, datetime, timedelta

import pytest
from dunning.domain.reminder import decide
from dunning.handlers import reminders
from dunning.handlers.reminders import same_lines, situation_of
from dunning_world import World, morning, new_id
from shared.db import Database

DUE = date(2025, 3, 1)
WEEK = timedelta(days=7)


async def overdue(world: World, *, due: date = DUE, **known):
    """A customer with one open item; returns both ids."""
    who, identity = world.customer()
    item = world.item(who.data.customer_id, due=due, **known)
    await world.feed(who, identity, item)
    return who.data.customer_id, item.data.item_id


async def test_an_overdue_item_is_reminded_by_mail_once_per_level(world: World) -> None:
    await world.start()
    who, identity = world.customer()
    customer = who.data.customer_id
    item = world.item(customer, due=DUE)
    await world.feed(who, identity, item, world.invoice(item.data.item_id, customer, DUE))
    for days in (6, 7, 8, 20, 21, 22):
        run = await world.day(DUE + timedelta(days=days))
        assert run.state == "done"
    assert [event.level for event in await world.told()] == [1, 2]
    assert [event.sent_at for event in await world.told()] == [morning(DUE + timedelta(days=days)) for days in (7, 21)]
    [line] = (await world.told())[0].items
    assert (line.item_id, line.instalment, line.level, line.due_date, line.asked_minor) == (item.data.item_id, 1, 1, DUE, 100_00)
    assert (await world.told())[0].as_of == DUE + timedelta(days=6)
    mail = world.mail_server.mails[0]
    assert mail["To"] == "pay@debtor.example"
    assert mail["Message-ID"].endswith("@encours.example>")
    text = mail.get_body(("plain",)).get_content()
    for part in ("F-1", "100.00 EUR", "RF18539007547034", "FR7630006000011234567890189"):
        assert part in text


async def test_all_four_steps_and_what_the_formal_notice_states(world: World) -> None:
    await world.start()
    await overdue(world, due=date(2025, 5, 1))
    for days in range(-6, 40):
        await world.day(date(2025, 5, 1) + timedelta(days=days))
    told = await world.told()
    assert [(event.step, event.level) for event in told] == [("courtesy", 0), ("reminder_1", 1), ("reminder_2", 2), ("formal_notice", 3)]
    # 100.00 EUR, 35 days in 2025H1 at 13.15 %: 1.26; EUR 40 for one invoice
    assert [(event.interest_minor, event.compensation_minor) for event in told] == [(0, 0), (0, 0), (0, 0), (126, 4000)]
    assert "1.26 EUR" in world.mail_server.mails[-1].get_body(("plain",)).get_content()


async def test_no_interest_is_stated_where_a_rate_is_unknown(world: World) -> None:
    await world.start()
    await overdue(world, due=date(2026, 6, 15))
    await world.day(date(2026, 7, 20))
    [event] = await world.told()
    assert (event.level, event.interest_minor, event.compensation_minor) == (3, 0, 4000)
    assert "as provided by law" in world.mail_server.mails[0].get_body(("plain",)).get_content()


async def test_one_mail_groups_what_is_due_for_a_step_at_the_highest_level(world: World) -> None:
    await world.start()
    customer, first = await overdue(world)
    second = world.item(customer, due=DUE + timedelta(days=14), number="F-2", open_minor=50_00)
    untouched = world.item(customer, due=DUE + timedelta(days=60), number="F-3")
    await world.feed(second, untouched)
    await world.day(DUE + timedelta(days=21))
    [event] = await world.told()
    assert event.level == 2
    assert {(line.item_id, line.level, line.asked_minor) for line in event.items} == {(first, 2, 100_00), (second.data.item_id, 1, 50_00)}
    assert len(world.mail_server.mails) == 1


async def held(world: World, day: date = DUE + WEEK) -> dict[str, int]:
    run = await world.day(day)
    assert (run.state, run.sent) == ("done", 0)
    assert not world.mail_server.mails
    assert await world.told() == []
    return dict(run.held)


async def test_a_paid_item_is_not_reminded(world: World) -> None:
    await world.start()
    customer, item = await overdue(world)
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=0))
    assert await held(world) == {}


async def test_held_while_a_payment_may_cover_it_and_sent_once_it_is_clear(world: World) -> None:
    await world.start()
    customer, _ = await overdue(world)
    for candidates, payer in (([customer], None), ([], customer)):
        payment = new_id()
        await world.feed(world.payment_in_review(payment, unapplied_minor=5, payer=payer, candidates=candidates))
        assert await held(world, DUE + timedelta(days=7 + bool(payer))) == {"payment_in_review": 1}
        await world.feed(world.payment_in_review(payment, unapplied_minor=0, payer=new_id()))
    assert (await world.day(DUE + timedelta(days=9))).sent == 1


async def test_held_while_credit_covers_it(world: World) -> None:
    await world.start()
    customer, _ = await overdue(world)
    await world.feed(world.balance(customer, unapplied_minor=60_00, unused_credits_minor=40_00))
    assert await held(world) == {"in_credit": 1}


async def test_held_while_it_is_being_collected_and_sent_once_the_announcement_expired(world: World) -> None:
    await world.start()
    customer, item = await overdue(world)
    announced, announcement = world.announcement(customer, item, 100_00), new_id()
    await world.feed(announced(announcement, 1, "announced"))
    assert await held(world) == {"being_collected": 1}
    await world.feed(announced(announcement, 2, "expired"), announced(announcement, 1, "announced"))
    assert (await world.day(DUE + timedelta(days=8))).sent == 1


async def test_held_while_disputed_and_the_rest_is_asked(world: World) -> None:
    await world.start()
    customer, item = await overdue(world, disputed_minor=100_00)
    assert await held(world) == {"disputed": 1}
    await world.feed(world.item(customer, due=DUE, item_id=item, disputed_minor=30_00))
    await world.day(DUE + timedelta(days=8))
    assert (await world.told())[0].items[0].asked_minor == 70_00


async def test_held_without_a_contact_that_consented_and_below_the_minimum(world: World) -> None:
    await world.start()
    who, identity = world.customer(consent=False)
    await world.feed(who, identity, world.item(who.data.customer_id, due=DUE))
    assert await held(world) == {"no_contact": 1}
    await world.switch_on(minimum_minor={"EUR": 100_01})
    assert await held(world, DUE + timedelta(days=8)) == {"below_minimum": 1}


async def test_credit_notes_and_late_charges_are_not_dunned(world: World) -> None:
    await world.start()
    for kind in ("credit_note", "late_charge"):
        await overdue(world, kind=kind)
    assert await held(world) == {}


# --- the switch, missed days, time ------------------------------------------------------------------------------------
async def test_off_until_switched_on_and_days_before_are_never_caught_up(world: World) -> None:
    await world.feed(world.bank_account())
    await overdue(world)
    assert await held(world, DUE + WEEK) == {}
    await world.switch_on(DUE + timedelta(days=8))
    assert await held(world, DUE + timedelta(days=8)) == {}
    for days in (20, 21):
        await world.day(DUE + timedelta(days=days))
    assert [event.level for event in await world.told()] == [2]


async def test_missed_days_are_looked_at_once_as_of_today(world: World) -> None:
    await world.start()
    await overdue(world)
    await world.day(DUE + timedelta(days=40))
    await world.day(DUE + timedelta(days=41))
    assert [event.level for event in await world.told()] == [3]


async def test_an_opening_balance_goes_on_from_its_level(world: World) -> None:
    await world.start()
    customer, item = await overdue(world)
    await world.feed(world.invoice(item, customer, DUE, reminder_level=2))
    assert await held(world, DUE + timedelta(days=25)) == {}
    await world.day(DUE + timedelta(days=35))
    assert [event.level for event in await world.told()] == [3]


async def test_a_reopened_item_goes_on_where_it_was(world: World) -> None:
    await world.start()
    customer, item = await overdue(world)
    await world.day(DUE + WEEK)
    await world.feed(world.item(customer, due=DUE, item_id=item, open_minor=0))
    await world.day(DUE + timedelta(days=8))
    await world.feed(world.item(customer, due=DUE, item_id=item))
    for days in (9, 10, 21):
        await world.day(DUE + timedelta(days=days))
    assert [event.level for event in await world.told()] == [1, 2]


async def test_the_business_day_is_that_of_the_creditors_zone(world: World) -> None:
    await world.start()
    await overdue(world)
    late = datetime(2025, 3, 7, 22, 59, tzinfo=UTC)
    await world.decide(date(2025, 3, 8), now=late)
    assert (await world.run(date(2025, 3, 7), late)).held == {}
    midnight = datetime(2025, 3, 7, 23, 0, tzinfo=UTC)
    await reminders.run_day(world.context(midnight), world.tenant)
    await world.send(midnight)
    assert (await world.run(date(2025, 3, 8), midnight)).sent == 1


async def test_a_day_is_decided_once_however_often_it_runs(world: World) -> None:
    await world.start()
    customer, _ = await overdue(world)
    await world.day(DUE + WEEK)
    await world.feed(world.item(customer, due=DUE, number="F-2"))
    run = await world.day(DUE + WEEK)
    assert (run.state, run.sent) == ("done", 1)
    assert (await world.day(DUE + timedelta(days=8))).sent == 1


async def test_a_decision_replayed_on_its_inputs_is_the_same(world: World) -> None:
    await world.start()
    await overdue(world, disputed_minor=10_00)
    who, _ = world.customer(email=None)
    await world.feed(who, world.item(who.data.customer_id, due=DUE))
    await world.day(DUE + WEEK)
    rows = await world.rows("SELECT inputs, asked, outcome, reason FROM decision WHERE tenant_id = :tenant", tenant=world.tenant)
    assert {row.outcome for row in rows} == {"send", "held"}
    for row in rows:
        decision = decide(situation_of(row.inputs))
        assert decision.held == row.reason
        assert same_lines(row.asked, decision)


# --- the gate ---------------------------------------------------------------------------------------------------------
async def gate_says(world: World, day: date = DUE + WEEK) -> str:
    """Runs a day on whatever the bank has said; returns the run's state."""
    await world.open_gates(morning(day))
    await reminders.run_day(world.context(morning(day)), world.tenant)
    return (await world.run(day)).state


async def test_shut_without_an_account_and_without_a_word(world: World) -> None:
    await world.switch_on()
    await overdue(world)
    assert await gate_says(world) == "waiting"
    await world.feed(world.bank_account())
    assert await gate_says(world) == "waiting"
    assert (await world.run(DUE + WEEK)).held == {"gate_shut": 1}


async def test_shut_until_the_word_reaches_the_day_before(world: World) -> None:
    await world.start()
    await overdue(world)
    await world.feed(world.reconciled(DUE + timedelta(days=5)))
    assert await gate_says(world) == "waiting"
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    assert await gate_says(world) == "waiting"  # planned, and not offered to the server yet
    await world.send(morning(DUE + WEEK))
    assert await gate_says(world) == "done"


async def test_shut_until_our_positions_have_passed_the_ends_noted_then(world: World) -> None:
    await world.start()
    await overdue(world)
    world.offsets.end = 10
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    world.offsets.end = 99  # later words move the ends; the first is judged by its own
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    world.offsets.position = 9
    assert (await gate_says(world), (await world.run(DUE + WEEK)).held) == ("waiting", {"gate_shut": 1})
    world.offsets.position = 10
    await gate_says(world)
    assert (await world.run(DUE + WEEK)).held == {"mail_waiting": 1}


async def test_the_gate_of_an_entity_is_the_least_of_its_active_accounts(world: World) -> None:
    await world.start()
    await overdue(world)
    other = new_id()
    await world.feed(world.bank_account(other), world.reconciled(DUE + timedelta(days=6)))
    assert await gate_says(world) == "waiting"
    await world.feed(world.reconciled(DUE + timedelta(days=5), other))
    assert (await gate_says(world), (await world.run(DUE + WEEK)).held) == ("waiting", {"gate_shut": 1})
    await world.feed(world.bank_account(other, status="closed"))
    await gate_says(world)
    assert (await world.run(DUE + WEEK)).held == {"mail_waiting": 1}


async def test_a_word_that_falls_back_shuts_the_gate_at_once(world: World) -> None:
    await world.start()
    await overdue(world)
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    await world.open_gates(morning(DUE))
    world.offsets.end = 1
    await world.feed(world.reconciled(DUE), world.reconciled(DUE + timedelta(days=6)))
    assert (await gate_says(world), (await world.run(DUE + WEEK)).held) == ("waiting", {"gate_shut": 1})


async def test_shut_while_what_is_owed_lies_in_our_dead_letters(world: World) -> None:
    await world.start()
    await overdue(world)
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    await world.open_gates(morning(DUE + WEEK))
    await world.rows(
        'INSERT INTO dead_letter (consumer, event, partition, "offset", tenant_id, headers, parked, reason, created_at) '
        "VALUES ('dunning', 'OpenItemChanged', 0, :offset, :tenant, '[]', false, 'x', now()) RETURNING id",
        tenant=world.tenant,
        offset=world.tenant.int % 2**31,
    )
    assert (await gate_says(world), (await world.run(DUE + WEEK)).held) == ("waiting", {"gate_shut": 1})


async def test_two_tenants_with_the_same_ids_do_not_meet(world: World, database: Database, urls, mail_server) -> None:
    twin = World(database, urls, mail_server, entity=world.entity, account=world.account)
    await world.start()
    await twin.start()
    who, identity = world.customer()
    item = world.item(who.data.customer_id, due=DUE)
    theirs = [twin.message(each.data, entity=world.entity) for each in (who, identity)]
    paid = twin.item(who.data.customer_id, due=DUE, item_id=item.data.item_id, open_minor=0)
    await world.feed(who, *theirs, identity, item, paid)
    assert (await world.day(DUE + WEEK)).sent == 1
    assert (await twin.day(DUE + WEEK)).sent == 0
    assert await twin.told() == []


async def test_entities_run_each_by_its_own_gate(world: World) -> None:
    await world.start()
    customer, _ = await overdue(world)
    other, account = new_id(), new_id()
    await world.feed(world.bank_account(account, entity=other), world.item(customer, due=DUE, number="F-9", entity=other))
    run = await world.day(DUE + WEEK)
    assert (run.state, run.sent, run.held) == ("waiting", 1, {"gate_shut": 1})
    await world.feed(world.reconciled(DUE + timedelta(days=6), account))
    await gate_says(world)
    await world.send(morning(DUE + WEEK))
    assert (await world.run(DUE + WEEK)).sent == 2


@pytest.mark.parametrize("customers", [1, 150])
async def test_statements_of_a_run_do_not_grow_with_its_customers(world: World, database: Database, customers: int) -> None:
    await world.start()
    messages = []
    for _ in range(customers):
        who, identity = world.customer()
        messages += [who, identity, world.item(who.data.customer_id, due=DUE)]
    await world.feed(*messages)
    await world.feed(world.reconciled(DUE + timedelta(days=6)))
    await world.open_gates(morning(DUE + WEEK))
    before = database.statements
    await reminders.run_day(world.context(morning(DUE + WEEK)), world.tenant)
    assert database.statements - before <= 28
