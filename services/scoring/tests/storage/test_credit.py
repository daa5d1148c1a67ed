import asyncio
from dataclasses import replace
from datetime import date, timedelta

import msgspec
import pytest
from contracts.catalogue import consumed_by
from contracts.invoices import InvoiceCancelled
from contracts.payments import PaymentReturned
from scoring.domain.policy import Policy, Verdict
from scoring.domain.review import CheckInputs, ReviewInputs, ReviewOutcome, decide_check, review
from scoring.handlers import credit
from scoring.worker import ROUTES
from shared import migrations


async def test_a_migrated_database_is_what_the_code_says(world):
    await migrations.check_unchanged("scoring", world.urls.owner)


def test_the_worker_takes_what_the_catalogue_says():
    assert consumed_by("scoring") == {event.__name__ for event in ROUTES}


async def test_a_new_customer_gets_a_score_and_terms_once(world):
    someone = world.id("someone")
    await world.feed(world.customer(someone))
    await world.review()
    await world.feed(world.customer(someone), world.customer(someone, 2, segment="retail"))
    await world.review()
    (score,) = await world.published("ScoreChanged")
    assert (score.version, score.score, score.band, score.reason) == (1, 55, "C", "new_customer")
    (terms,) = await world.published("CreditTermsChanged")
    assert (terms.limit_minor, terms.currency, terms.payment_terms_days, terms.reason) == (2_000_000, "EUR", 30, "band")
    await world.invariants_hold()


async def test_late_payment_lowers_the_score_and_many_events_cost_one_review(world):
    someone = world.id("late")
    await world.feed(world.customer(someone))
    await world.review()
    items = [world.item(world.id("late", n), someone, paid_on=date(2026, 6, 5)) for n in range(20)]
    await world.feed(*items)
    await world.review()
    scores = await world.published("ScoreChanged")
    assert [score.version for score in scores] == [1, 2]
    assert scores[1].score == 55 - 25 - 10 - 3 + 5
    assert scores[1].reason == "days_beyond_terms"
    assert {factor.name for factor in scores[1].factors} >= {"base", "days_beyond_terms", "late_share", "worst_delay", "experience"}
    await world.invariants_hold()


async def test_the_score_moves_with_the_date_alone_and_only_when_a_class_is_passed(world):
    someone = world.id("overdue")
    await world.feed(world.item(world.id("overdue item"), someone, due=date(2026, 6, 20)))
    for _ in range(60):
        world.now = world.now + timedelta(days=1)
        await world.review()
    scores = await world.published("ScoreChanged")
    assert [score.score for score in scores] == [55, 50, 43]
    assert scores[2].factors[-1].value == "31 days or more"


async def test_what_is_overdue_alone_never_places_a_hold(world):
    someone = world.id("overdue only")
    await world.feed(world.item(world.id("overdue only item"), someone, due=date(2025, 6, 10), amount=100))
    await world.feed(world.account(someone, open_minor=100))
    for n in range(3):
        returned = PaymentReturned(
            version=2,
            payment_id=world.id("payment", n),
            bank_account_id=world.id("bank"),
            amount_minor=5,
            currency="EUR",
            booking_date=date(2026, 6, 1),
            value_date=date(2026, 6, 1),
            confirmation="booked",
            source="camt.053",
            allocations=[],
            unapplied_minor=0,
            returned_minor=5,
            refunded_minor=0,
            payer_customer_id=someone,
        )
        await world.feed(returned)
    for n, reason in enumerate(("duplicate", "cancellation", "regulatory"), 3):  # the banks' or the law's: no word about him
        await world.feed(msgspec.structs.replace(returned, payment_id=world.id("payment", n), return_class=reason))
    await world.review()
    (score,) = await world.published("ScoreChanged")
    assert (score.score, score.band) == (55 - 30 - 24, "E")
    assert await world.published("CreditHoldPlaced") == []


async def test_a_hold_comes_with_exposure_and_goes_with_it(world):
    someone = world.id("big")
    await world.feed(world.account(someone, open_minor=2_400_001))
    await world.review()
    (placed,) = await world.published("CreditHoldPlaced")
    assert (placed.active, placed.reason, placed.exposure_minor, placed.limit_minor) == (True, "exposure_over_limit", 2_400_001, 2_000_000)
    await world.feed(world.account(someone, 2, open_minor=2_400_001, unapplied_minor=1))
    await world.review()
    (released,) = await world.published("CreditHoldReleased")
    assert (released.version, released.active, released.exposure_minor) == (2, False, 2_400_000)
    await world.invariants_hold()


async def test_a_persons_release_outlasts_the_rule_until_its_day(world):
    someone = world.id("released")
    await world.feed(world.account(someone, open_minor=9_000_000))
    await world.review()
    async with world.database.transaction(world.tenant) as conn:
        await credit.change_hold(
            conn, world.tenant, someone, active=False, note="wire is under way", actor="ann", expires_on=date(2026, 6, 17), now=world.now
        )
    for _ in range(3):
        await world.review()
        world.now += timedelta(days=1)
    assert len(await world.published("CreditHoldPlaced")) == 1
    await world.review()
    assert [event.version for event in await world.published("CreditHoldPlaced", "CreditHoldReleased")] == [1, 2, 3]
    await world.invariants_hold()


async def test_a_persons_hold_is_lifted_by_no_rule(world):
    someone = world.id("held by ann")
    await world.feed(world.customer(someone))
    async with world.database.transaction(world.tenant) as conn:
        await credit.change_hold(conn, world.tenant, someone, active=True, note="fraud?", actor="ann", expires_on=None, now=world.now)
    await world.feed(world.account(someone, open_minor=5))
    await world.review()
    async with world.database.transaction(world.tenant) as conn:
        row = await credit.check_credit(conn, world.tenant, someone, amount_minor=1, currency="EUR", now=world.now)
    assert (row["decision"], row["reasons"]) == ("refused", ["on_hold"])
    assert await world.published("CreditHoldReleased") == []


async def test_two_checks_at_once_cannot_both_take_the_same_room(world):
    someone = world.id("racer")
    await world.feed(world.account(someone, open_minor=1_000_000))

    async def ask():
        async with world.database.transaction(world.tenant) as conn:
            return (await credit.check_credit(conn, world.tenant, someone, amount_minor=600_000, currency="EUR", now=world.now))["decision"]

    assert sorted(await asyncio.gather(*(ask() for _ in range(4)))) == ["approved", "refused", "refused", "refused"]
    await world.invariants_hold()


@pytest.mark.parametrize("item_first", [True, False])
async def test_a_reservation_lasts_until_its_invoice_stands_in_the_exposure(world, item_first):
    someone = world.id("buyer", item_first)
    await world.feed(world.customer(someone))

    async def ask(amount):
        async with world.database.transaction(world.tenant) as conn:
            return await credit.check_credit(conn, world.tenant, someone, amount_minor=amount, currency="EUR", now=world.now)

    first = await ask(1_500_000)
    second = await ask(1_500_000)
    assert (first["decision"], second["decision"], second["reserved_minor"]) == ("approved", "refused", 1_500_000)
    number = world.id("its invoice", item_first)
    events = [
        world.invoice(number, someone, amount=1_500_000, credit_check_id=first["credit_check_id"]),
        world.item(number, someone, amount=1_500_000, due=date(2026, 7, 1)),
    ]
    await world.feed(*(reversed(events) if item_first else events))
    await world.feed(world.account(someone, open_minor=1_500_000))
    third = await ask(500_000)
    assert (third["decision"], third["exposure_minor"], third["reserved_minor"]) == ("approved", 1_500_000, 0)
    await world.invariants_hold()


async def test_a_cancelled_invoice_and_time_end_reservations(world):
    someone = world.id("canceller")
    await world.feed(world.customer(someone))
    for amount in (1_000_000, 900_000):
        async with world.database.transaction(world.tenant) as conn:
            row = await credit.check_credit(conn, world.tenant, someone, amount_minor=amount, currency="EUR", now=world.now)
        if amount == 1_000_000:
            issued = world.invoice(world.id("gone"), someone, 2, credit_check_id=row["credit_check_id"], status="cancelled")
            await world.feed(msgspec.convert(msgspec.to_builtins(issued) | {"event": "InvoiceCancelled"}, InvoiceCancelled))
    assert (row["decision"], row["reserved_minor"]) == ("approved", 0)
    world.now += timedelta(days=15)
    async with world.database.transaction(world.tenant) as conn:
        row = await credit.check_credit(conn, world.tenant, someone, amount_minor=2_000_000, currency="EUR", now=world.now)
    assert (row["decision"], row["reserved_minor"]) == ("approved", 0)


async def test_other_currencies_are_never_converted(world):
    someone = world.id("exporter")
    await world.feed(world.account(someone, open_minor=100), world.account(someone, open_minor=7, currency="USD"))
    for currency, reason in (("EUR", "exposure_in_other_currency"), ("USD", "currency_not_of_policy")):
        async with world.database.transaction(world.tenant) as conn:
            row = await credit.check_credit(conn, world.tenant, someone, amount_minor=5, currency=currency, now=world.now)
        assert (row["decision"], row["reasons"], row["exposure_minor"]) == ("review", [reason], 100)


async def test_a_persons_limit_holds_until_it_expires(world):
    someone = world.id("vip")
    await world.feed(world.customer(someone))
    async with world.database.transaction(world.tenant) as conn:
        await credit.set_limit(
            conn,
            world.tenant,
            someone,
            limit_minor=7_000_000,
            currency="EUR",
            expires_on=date(2026, 6, 16),
            note="season",
            actor="ann",
            now=world.now,
        )
    for _ in range(4):
        await world.review()
        world.now += timedelta(days=1)
    terms = await world.published("CreditTermsChanged")
    assert [(each.limit_minor, each.reason) for each in terms] == [(7_000_000, "manual"), (2_000_000, "band")]


async def test_a_new_policy_reaches_every_customer(world):
    await world.feed(*(world.customer(world.id("many", n)) for n in range(30)))
    await world.review()
    stricter = replace(Policy(), bands={band: replace(terms, limit_minor=1) for band, terms in Policy().bands.items()})
    async with world.database.transaction(world.tenant) as conn:
        await credit.set_policy(conn, world.tenant, stricter, actor="ann", now=world.now)
    await world.review()
    terms = await world.published("CreditTermsChanged")
    assert len(terms) == 60
    assert {each.limit_minor for each in terms[30:]} == {1}


async def test_replaying_a_decision_gives_the_same_outcome(world):
    someone = world.id("replayed")
    await world.feed(world.customer(someone), *(world.item(world.id("r", n), someone, paid_on=date(2026, 5, 1 + n)) for n in range(12)))
    await world.feed(world.account(someone, open_minor=9_999_999))
    await world.review()
    async with world.database.transaction(world.tenant) as conn:
        await credit.check_credit(conn, world.tenant, someone, amount_minor=5, currency="EUR", now=world.now)
    kinds = set()
    for row in await world.rows("SELECT kind, inputs, outcome FROM decision"):
        kinds.add(row.kind)
        if row.kind == "review":
            assert review(msgspec.convert(row.inputs, ReviewInputs)) == msgspec.convert(row.outcome, ReviewOutcome)
        else:
            assert decide_check(msgspec.convert(row.inputs, CheckInputs)) == msgspec.convert(row.outcome, Verdict)
    assert kinds == {"review", "credit_check"}


async def test_a_batch_costs_a_fixed_number_of_statements(world):
    def batch(size):
        return [world.item(world.id("counted", size, n), world.id("payer", n % 50), paid_on=date(2026, 5, 2)) for n in range(size)]

    costs = []
    for size in (10, 500):
        before = world.database.statements
        await world.feed(*batch(size))
        costs.append(world.database.statements - before)
    assert costs[0] - 1 == costs[1] <= 12  # the first one also notes the tenant
    before = world.database.statements
    await world.review()
    assert world.database.statements - before <= 20
