"""What is kept is a function of the set of events, of each tenant by itself."""

import random

from contracts.catalogue import consumed_by, events, topics
from contracts.envelope import Event, Message, StateEvent, decode
from contracts.testing import events as any_event
from contracts.testing import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reporting.handlers import KEPT
from reporting.invariants import CHECKS
from reporting.tables import READ_MODELS
from reporting.worker import ROUTES
from shared import invariants, migrations
from shared.db import Database
from shared.ids import new_id
from shared.testing.databases import fresh_database
from shared.testing.events import message
from sqlalchemy import text


def test_reporting_listens_to_what_the_catalogue_says():
    assert {event.__name__ for event in ROUTES} == consumed_by("reporting")
    assert set(KEPT.values()) | {table for table in READ_MODELS if table.name in {"alias", "event_seen"}} == set(READ_MODELS)


async def test_the_migrations_make_the_tables_of_the_code(urls):
    await migrations.check_unchanged("reporting", urls.owner)


async def test_every_example_of_every_event_is_kept(database, urls, apply, rows_of):
    tenants = set()
    for example in examples():
        if example.event in consumed_by("reporting"):
            found = decode(events()[example.event], example.headers, example.value)
            tenants.add(found.tenant_id)
            await apply(database, found)
    for table in READ_MODELS:
        assert any([await rows_of(urls.owner, table.name, tenant) for tenant in sorted(tenants)]), table.name


_STATES = sorted((event for event in KEPT if issubclass(event, StateEvent)), key=lambda event: event.__name__)
_FACTS = sorted((event for event in KEPT if not issubclass(event, StateEvent)), key=lambda event: event.__name__)


@st.composite
def histories(draw) -> list[Event]:
    """Events of a few aggregates: whatever their classes allow, several versions each; of one version one content."""
    found: list[Event] = []
    for _ in range(draw(st.integers(1, 4))):
        event = draw(st.sampled_from(_STATES))
        key = topics()[event.__name__].key
        states = draw(st.lists(any_event(event), min_size=1, max_size=4, unique_by=lambda state: state.version))
        identity = getattr(states[0], key)
        siblings = [other for other in _STATES if KEPT[other] is KEPT[event] and other.__struct_fields__ == event.__struct_fields__]
        for state in states:
            values = {name: getattr(state, name) for name in event.__struct_fields__} | {key: identity}
            found.append(draw(st.sampled_from(siblings))(**values))
    for event in _FACTS:
        found += draw(st.lists(any_event(event), max_size=2))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories(), seed=st.integers(0, 2**32))
async def test_any_order_and_repetition_of_a_history_leaves_the_same_rows(history, seed, database, urls, apply, rows_of):
    ordered, shuffled, entity = new_id(), new_id(), new_id()
    for event in history:
        await apply(database, message(ordered, event, entity_id=entity))
    chance = random.Random(seed)
    again = history + chance.choices(history, k=len(history))
    chance.shuffle(again)
    # batches of one topic, the two tenants side by side
    by_class: dict[type[Event], list[Message[Event]]] = {}
    for event in again:
        by_class.setdefault(type(event), []).append(message(shuffled, event, entity_id=entity))
        if chance.random() < 0.5:
            by_class[type(event)].append(message(ordered, event, entity_id=entity))
    for batch in chance.sample(list(by_class.values()), k=len(by_class)):
        cut = chance.randint(0, len(batch))
        for part in (batch[:cut], batch[cut:]):
            if part:
                await apply(database, *part)
    for table in READ_MODELS:
        first, second = [await rows_of(urls.owner, table.name, tenant) for tenant in (ordered, shuffled)]
        if table.name == "event_seen":  # ids are drawn from the tenant, too
            first, second = sorted(row["event"] for row in first), sorted(row["event"] for row in second)
        assert first == second, table.name


async def test_two_tenants_with_the_same_numbers_in_one_batch(database, apply, rows_of, urls, ledger):
    one, two = ledger(new_id()), ledger(new_id())
    await apply(
        database,
        one.item("F1", "c1", ("2026-05-01", 100)),
        two.item("F1", "c1", ("2026-05-01", 700)),
        one.item("F1", "c1", ("2026-05-01", 40), paid=60, version=2),
    )
    assert [row["open_minor"] for row in await rows_of(urls.owner, "open_item", one.tenant_id)] == [40]
    assert [row["open_minor"] for row in await rows_of(urls.owner, "open_item", two.tenant_id)] == [700]


async def test_a_batch_takes_as_many_statements_as_a_single_event(database, apply, ledger):
    book = ledger(new_id())
    await apply(database, book.balance("c0", owes=1))

    async def statements(*batch) -> int:
        before = database.statements
        await apply(database, *batch)
        return database.statements - before

    assert await statements(book.balance("c1", owes=1)) == 3  # scope, rows, events seen
    assert await statements(*(book.balance(f"c{number}", owes=number) for number in range(2, 1002))) == 3


async def test_the_checks_find_what_does_not_add_up(infrastructure, apply, ledger):
    # a database of its own: what hypothesis makes adds up to nothing
    async with fresh_database(infrastructure.admin_dsn, "reporting") as urls:
        database, checker = (Database(url, application_name="t", pool_max=2) for url in (urls.app, urls.check))

        async def verify() -> set[str]:
            async with checker.engine.begin() as conn:
                return {name for name, found in (await invariants.verify(conn, CHECKS)).items() if found is not True}

        book = ledger(new_id())
        await apply(database, book.item("F1", "c1", ("2026-05-01", 100), ("2026-06-01", 50)))
        await apply(database, book.item("C1", "c1", ("2026-05-01", 30), kind="credit_note"))
        await apply(database, book.payment("P1", 20, payer="c1"), book.payment("P2", 5))
        await apply(database, book.balance("c1", owes=150, unapplied=20, credits_=30))
        assert await verify() == set()
        await apply(database, book.balance("c1", owes=149, unapplied=21, credits_=30, version=2))
        assert await verify() == {"at_rest_balances_equal_items", "at_rest_balances_equal_unapplied_payments"}
        await apply(database, book.balance("c1", owes=150, unapplied=20, credits_=30, version=3))
        for further, found in ((2, set()), (0, {"payments_are_conserved"})):  # allocations that the event has no room for
            async with database.transaction(book.tenant_id) as conn:
                await conn.execute(
                    text("UPDATE payment SET unapplied_minor = 3, further_allocations = :n WHERE payer_customer_id IS NULL"), {"n": further}
                )
            assert await verify() == found
        async with database.transaction(book.tenant_id) as conn:
            await conn.execute(text("UPDATE open_item SET instalments = '[]', original_minor = 7, status = 'paid' WHERE kind = 'invoice'"))
            await conn.execute(text("UPDATE payment SET returned_minor = 1"))
            await conn.execute(text("DELETE FROM event_seen WHERE event = 'PaymentUnapplied'"))
        assert await verify() == {
            "ageing_is_all_that_is_open",
            "items_add_up",
            "open_means_open",
            "payments_are_conserved",
            "every_kept_state_came_in_an_event",
        }
        await database.close()
        await checker.close()
