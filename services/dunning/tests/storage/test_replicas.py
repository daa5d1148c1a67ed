"""What dunning keeps of others, its schema, and its invariants."""

from datetime import date, timedelta

from contracts.catalogue import consumed_by
from contracts.credit import CreditHoldPlaced, CreditTermsChanged, ScoreChanged
from contracts.payments import StatementRejected
from dunning.invariants import CHECKS
from dunning.worker import ROUTES
from dunning_world import World, morning, new_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared import migrations
from shared.db import fetch
from shared.invariants import verify
from sqlalchemy.ext.asyncio import create_async_engine

DUE = date(2025, 3, 1)
KEPT = ("customer", "customer_identity", "invoice", "item", "instalment", "settlement", "balance", "payment", "bank_account", "credit_hold")


def test_routes_are_what_the_catalogue_lists():
    assert {event.__name__ for event in ROUTES} == consumed_by("dunning")


async def test_the_schema_is_that_of_the_tables(urls) -> None:
    await migrations.check_unchanged("dunning", urls.owner)


def history(world: World):
    who, identity = world.customer()
    customer, item, payment = who.data.customer_id, new_id(), new_id()
    hold = {
        "customer_id": customer,
        "active": True,
        "reason": "overdue",
        "exposure_minor": 1,
        "limit_minor": 0,
        "currency": "EUR",
        "decided_at": morning(DUE),
    }
    return [
        who,
        identity,
        world.invoice(item, customer, DUE),
        world.item(customer, due=DUE, item_id=item),
        world.item(customer, due=DUE, item_id=item, open_minor=40_00, value_date=DUE),
        world.item(customer, due=DUE + timedelta(days=9), item_id=item, open_minor=0, value_date=DUE + timedelta(days=2)),
        world.item(customer, due=DUE, item_id=item),
        world.balance(customer),
        world.balance(customer, unapplied_minor=7),
        world.payment_in_review(payment, unapplied_minor=7, candidates=[customer]),
        world.payment_in_review(payment, unapplied_minor=0, payer=customer),
        world.bank_account(new_id(), iban=None),
        world.message(CreditHoldPlaced(version=1, **hold)),
    ]


async def kept(world: World) -> dict[str, list[str]]:
    async with world.database.transaction(world.tenant) as conn:
        lines = {name: f"SELECT t::text AS line FROM {name} t WHERE tenant_id = :id" for name in KEPT}  # noqa: S608 - a test's own names
        return {name: sorted(row.line for row in await fetch(conn, statement, id=world.tenant)) for name, statement in lines.items()}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_order_and_repetition_keeps_the_same(world: World, data: st.DataObject) -> None:
    fresh = World(world.database, world.urls, world.mail_server)
    events = history(fresh)
    for event in events:
        await fresh.feed(event)
    wanted = await kept(fresh)
    async with fresh.database.transaction(fresh.tenant) as conn:
        for name in KEPT:
            await conn.exec_driver_sql(f"DELETE FROM {name} WHERE tenant_id = '{fresh.tenant}'")  # noqa: S608 - a test's own names
    shuffled = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=8))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    for first, last in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
        await fresh.feed(*shuffled[first:last])
    assert await kept(fresh) == wanted


async def test_statements_of_a_batch_do_not_grow_with_it(world: World) -> None:
    counts = []
    for size in (2, 500):
        customers = [new_id() for _ in range(size)]
        before = world.database.statements
        await world.feed(*(world.item(customer, due=DUE, open_minor=50_00, value_date=DUE) for customer in customers))
        counts.append(world.database.statements - before)
    assert counts[1] <= counts[0] <= 8


async def test_scores_terms_and_rejected_statements_are_kept(world: World) -> None:
    await world.start()
    customer, statement = new_id(), new_id()
    await world.feed(
        world.message(
            ScoreChanged(
                version=1, customer_id=customer, score=50, band="C", factors=[], bureau=None, reason="behaviour", as_of=morning(DUE)
            )
        ),
        world.message(
            CreditTermsChanged(
                version=1, customer_id=customer, limit_minor=5, currency="EUR", payment_terms_days=30, down_payment_bp=0, reason="policy"
            )
        ),
        world.message(
            StatementRejected(
                statement_id=statement,
                bank_account_id=world.account,
                file_sha256="0" * 64,
                statement_number="7",
                reason="balance",
                detail="does not add up",
            )
        ),
    )
    [row] = await world.rows(
        "SELECT s.band, c.limit_minor, r.reason FROM score s JOIN credit_terms c USING (tenant_id, customer_id) "
        "JOIN statement_rejected r USING (tenant_id) WHERE s.tenant_id = :tenant",
        tenant=world.tenant,
    )
    assert tuple(row) == ("C", 5, "balance")


async def test_a_hold_for_insolvency_stops_reminders(world: World) -> None:
    await world.start()
    who, identity = world.customer()
    hold = {"exposure_minor": 1, "limit_minor": 0, "currency": "EUR", "decided_at": morning(DUE)}
    await world.feed(
        who,
        identity,
        world.item(who.data.customer_id, due=DUE),
        world.message(CreditHoldPlaced(version=1, customer_id=who.data.customer_id, active=True, reason="insolvency", **hold)),
    )
    assert (await world.day(DUE + timedelta(days=7))).held == {"insolvent": 1}


async def test_the_invariants_hold_over_everything_these_tests_did(urls) -> None:
    engine = create_async_engine(urls.check.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as conn:
            assert {name: held for name, held in (await verify(conn, CHECKS)).items() if held is not True} == {}
    finally:
        await engine.dispose()
