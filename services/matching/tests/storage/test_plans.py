"""Payment plans: their instalments are expected payments, met in order, and what the payment itself says goes before them."""

import asyncio
import random
from datetime import UTC, date, datetime

import pytest
from bankdays import waiting_for_a_lock
from contracts.dunning import (
    DisputeOpened,
    PaymentPlanAgreed,
    PaymentPlanBroken,
    PaymentPlanCancelled,
    PaymentPlanCompleted,
    PlanInstalment,
    PlanItem,
    PromiseMade,
)
from handwork import limit, post
from matching.handlers import matching as engine
from matching.storage.parties import set_known_ibans
from shared.db import run
from shared.ids import new_id
from shared.testing.events import message

IBAN = "DE89370400440532013000"
OTHERS_IBAN = "FR7630004000031234567890143"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAYS = [date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1)]
CLASSES = {"active": PaymentPlanAgreed, "completed": PaymentPlanCompleted, "broken": PaymentPlanBroken, "cancelled": PaymentPlanCancelled}


@pytest.fixture
def says(make, tenant):
    """Dunning's word about the tenant's one plan: FA-2026-001 (600) and FA-2026-002 (300) in three instalments; what is left of either."""

    def word(version, status="active", left=(600, 300), instalments=(300, 300, 300), of=tenant):
        more = {"broken_instalment": 1, "missing_minor": 1} if status == "broken" else {}
        data = CLASSES[status](
            version=version,
            payment_plan_id=make.invoice_id(of, "the plan"),
            customer_id=make.customer_id(of, "C1"),
            currency="EUR",
            agreed_on=date(2026, 3, 1),
            grace_days=3,
            items=[
                PlanItem(item_id=make.invoice_id(of, number), invoice_number=number, amount_minor=amount, left_minor=rest)
                for number, amount, rest in zip(("FA-2026-001", "FA-2026-002"), (600, 300), left, strict=True)
            ],
            instalments=[
                PlanInstalment(number=at, due_on=day, amount_minor=300, open_minor=rest)
                for at, (day, rest) in enumerate(zip(DAYS, instalments, strict=True), 1)
            ],
            status=status,
            **more,
        )
        return message(of, data, entity_id=make.entity_id(of))

    return word


@pytest.fixture
async def held(world, tenant, make):
    """An account, a payer's known IBAN, the plan's invoices and two others of the same customer."""
    found = await world.account(tenant)
    await known(world, make, tenant)
    await world.feed(
        *(
            make.invoice(tenant, number, amount)
            for number, amount in (("FA-2026-001", 600), ("FA-2026-002", 300), ("FA-2026-007", 300), ("FA-2026-008", 2_000))
        )
    )
    return found


async def known(world, make, tenant):
    customer = (tenant, make.customer_id(tenant, "C1"))
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [customer], [(*customer, IBAN)])


async def owed(world, tenant):
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor FROM open_item ORDER BY invoice_number")
    return {row[0]: row[1] for row in rows}


async def expected(world, tenant):
    rows = await world.rows(tenant, "SELECT status, amount_minor FROM expected_payment WHERE kind = 'plan_instalment' ORDER BY expected_on")
    return [row[1] if row[0] == "waiting" else row[0] for row in rows]


async def rules(world, tenant):
    return [row[0] for row in await world.rows(tenant, "SELECT rule FROM payment ORDER BY booking_date, bank_reference")]


async def test_the_next_instalment_or_several_at_once_settle_the_plans_items_in_its_order(world, tenant, held, says):
    await world.feed(says(1))
    assert await expected(world, tenant) == [300, 600, 900]
    await world.pay(held, 300, debtor_iban=IBAN, number=1)
    await world.match(tenant)
    assert (await owed(world, tenant), await expected(world, tenant)) == (
        {"FA-2026-001": 300, "FA-2026-002": 300, "FA-2026-007": 300, "FA-2026-008": 2_000},
        ["received", 300, 600],
    )
    await world.pay(held, 600, debtor_iban=IBAN, number=2)
    await world.match(tenant)
    assert (await owed(world, tenant), await expected(world, tenant)) == (
        {"FA-2026-001": 0, "FA-2026-002": 0, "FA-2026-007": 300, "FA-2026-008": 2_000},
        ["received"] * 3,
    )
    assert await rules(world, tenant) == ["payment_plan"] * 2
    # dunning's older and newer words about it change nothing
    await world.feed(says(2, left=(300, 300), instalments=(0, 300, 300)), says(3, "completed", (0, 0), (0, 0, 0)))
    assert await expected(world, tenant) == ["received"] * 3
    await world.pay(held, 300, debtor_iban=IBAN, number=3)
    await world.match(tenant)
    assert (await rules(world, tenant))[2] != "payment_plan"
    await world.holds()


async def test_money_that_came_before_the_plan_and_waits_is_looked_at_again(world, tenant, make, held, says):
    await world.feed(make.invoice(tenant, "FA-2026-009", 300))  # the amount alone says nothing
    await world.pay(held, 300, debtor_iban=IBAN, number=1)
    await world.match(tenant)
    due = "SELECT count(*) FROM payment WHERE next_look_at <= now()"
    await world.rows(tenant, "UPDATE payment SET next_look_at = NULL RETURNING 1")  # its looks are over
    assert (await world.one(tenant, "SELECT status FROM payment"))[0] == "unapplied"
    await world.feed(says(1))
    assert (await world.one(tenant, due))[0] == 1
    await world.match(tenant)
    assert (await owed(world, tenant))["FA-2026-001"] == 300
    assert (await expected(world, tenant), await rules(world, tenant)) == (["received", 300, 600], ["payment_plan"])
    await world.rows(tenant, "UPDATE payment SET next_look_at = NULL RETURNING 1")
    await world.feed(says(2, left=(300, 300), instalments=(0, 300, 300)))  # says nothing new
    assert (await world.one(tenant, due))[0] == 0
    await world.holds()


async def test_several_instalments_in_one_batch_follow_each_other(world, tenant, held, says):
    await world.feed(says(1))
    for number in range(3):
        await world.pay(held, 300, debtor_iban=IBAN, number=number)
    await world.match(tenant)
    assert await owed(world, tenant) == {"FA-2026-001": 0, "FA-2026-002": 0, "FA-2026-007": 300, "FA-2026-008": 2_000}
    assert (await rules(world, tenant), await expected(world, tenant)) == (["payment_plan"] * 3, ["received"] * 3)
    await world.holds()


@pytest.mark.parametrize(
    ("text", "iban", "paid"),
    [
        ("FACTURE FA-2026-007", IBAN, {"FA-2026-007"}),  # what the payment says goes before what was agreed
        ("ECHEANCE 1 FA-2026-001", IBAN, {"FA-2026-001"}),
        ("REF-FA-2026-007", IBAN, {"FA-2026-007"}),
        ("", OTHERS_IBAN, set()),  # somebody of whom nothing is known
    ],
)
async def test_what_the_payment_says_itself_goes_before_the_plan(world, tenant, held, says, make, text, iban, paid):
    await world.feed(
        make.invoice(tenant, "FA-2026-007", 300, reference="REF-FA-2026-007", cls=make.Changed, version=2, kind="invoice"), says(1)
    )
    before = await owed(world, tenant)
    reference = {"reference": text} if text.startswith("REF") else {"remittance": [text]} if text else {}
    await world.pay(held, 300, debtor_iban=iban, **reference)
    await world.match(tenant)
    assert {number for number, rest in (await owed(world, tenant)).items() if rest != before[number]} == paid
    assert ("payment_plan" in await rules(world, tenant)) == (paid == {"FA-2026-001"})
    await world.holds()


async def test_a_promise_too_goes_behind_what_the_payment_says(world, tenant, held, make):
    promise = PromiseMade(
        version=1,
        promise_id=make.invoice_id(tenant, "the promise"),
        customer_id=make.customer_id(tenant, "C1"),
        item_ids=[make.invoice_id(tenant, "FA-2026-002")],
        amount_minor=300,
        currency="EUR",
        due_on=date(2026, 3, 31),
        status="open",
    )
    await world.feed(message(tenant, promise))
    await world.pay(held, 300, debtor_iban=IBAN, remittance=["FA-2026-007"], number=1)
    await world.match(tenant)
    assert (await owed(world, tenant))["FA-2026-007"] == 0
    await world.pay(held, 300, debtor_iban=IBAN, number=2)
    await world.match(tenant)
    assert (await owed(world, tenant))["FA-2026-002"] == 0
    assert (await rules(world, tenant))[1] == "promise"
    await world.holds()


@pytest.mark.parametrize("status", ["broken", "cancelled", "completed"])
@pytest.mark.parametrize("order", [1, -1])
async def test_a_plan_that_ended_expects_nothing_whichever_word_comes_first(world, tenant, held, says, status, order):
    await world.feed(*[says(1), says(2, status)][::order], says(1))
    assert {one for one in await expected(world, tenant) if isinstance(one, int)} == set()
    await world.pay(held, 300, debtor_iban=IBAN)
    await world.match(tenant)
    assert "payment_plan" not in await rules(world, tenant)
    await world.holds()


async def test_what_is_paid_beside_it_credited_or_disputed_is_not_expected(world, tenant, held, says, make, client):
    await world.feed(says(1))
    await world.feed(make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "FA-2026-002")))
    await world.feed(says(2, left=(600, 0), instalments=(300, 300, 0)))
    assert await expected(world, tenant) == [300, 600, "received"]
    payment = await world.pay(held, 100)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "FA-2026-001")), "amount_minor": 100}
    by_hand = await client.post(f"/v1/payments/{payment}/allocations", json={"lines": [line]}, headers={"idempotency-key": "a"})
    assert by_hand.status_code == 200, by_hand.text
    await world.feed(says(3, left=(500, 0), instalments=(200, 300, 0)))
    assert await expected(world, tenant) == [200, 500, "received"]
    disputed = {"item_id": make.invoice_id(tenant, "FA-2026-001"), "customer_id": make.customer_id(tenant, "C1"), "currency": "EUR"}
    dispute = DisputeOpened(version=1, dispute_id=make.invoice_id(tenant, "D"), amount_minor=100, reason="price", status="open", **disputed)
    await world.feed(message(tenant, dispute, entity_id=make.entity_id(tenant)), says(4, left=(400, 0), instalments=(200, 200, 0)))
    assert await expected(world, tenant) == [200, 400, "received"]
    await world.holds()


async def test_a_returned_instalment_is_expected_again(world, tenant, held, says, client):
    await world.feed(says(1))
    payment = await world.pay(held, 300, debtor_iban=IBAN)
    await world.match(tenant)
    undone = await client.post(f"/v1/payments/{payment}/unmatch", json={"reason": "wrong"}, headers={"idempotency-key": "u"})
    assert undone.status_code == 200, undone.text
    await world.feed(says(2, left=(300, 300), instalments=(0, 300, 300)), says(3))
    assert await expected(world, tenant) == [300, 600, 900]
    await world.holds()


async def test_an_item_that_is_not_there_yet_is_waited_for(world, tenant, make, says):
    held = await world.account(tenant)
    await known(world, make, tenant)
    await world.feed(make.invoice(tenant, "FA-2026-001", 600), says(1))
    assert await expected(world, tenant) == [300, 600, 900]
    await world.pay(held, 900, debtor_iban=IBAN)
    await world.match(tenant)
    assert await owed(world, tenant) == {"FA-2026-001": 0}
    await world.feed(make.invoice(tenant, "FA-2026-002", 300))
    assert await owed(world, tenant) == {"FA-2026-001": 0, "FA-2026-002": 0}
    await world.holds()


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_and_repetition_of_dunnings_words_expects_the_same(world, tenant, held, says, seed):
    words = [says(1), says(2, left=(500, 300), instalments=(200, 300, 300)), says(3, left=(500, 100), instalments=(200, 300, 100))]
    for word in random.Random(seed).sample([*words, *words], k=6):
        await world.feed(word)
    # what the first word alone says has no instalment that fits: nothing is paid here, so dunning's newest word stands
    assert await expected(world, tenant) == [200, 500, 600]
    await world.holds()


async def test_two_tenants_with_the_same_plan_in_one_batch(world, tenant, make, says):
    accounts, other_tenant = {}, new_id()
    for one in (tenant, other_tenant):
        accounts[one] = await world.account(one)
        await known(world, make, one)
        await world.feed(make.invoice(one, "FA-2026-001", 600), make.invoice(one, "FA-2026-002", 300))
    await world.feed(says(1), says(1, left=(600, 0), instalments=(300, 300, 0), of=other_tenant))
    for one in (tenant, other_tenant):
        await world.pay(accounts[one], 600, debtor_iban=IBAN)
    await world.match(tenant, other_tenant)
    assert (await owed(world, tenant), await owed(world, other_tenant)) == (
        {"FA-2026-001": 0, "FA-2026-002": 300},
        {"FA-2026-001": 0, "FA-2026-002": 300},
    )
    assert await expected(world, tenant) == ["received", "received", 300]
    assert await expected(world, other_tenant) == ["received", "received"]
    await world.holds()


async def test_many_workers_and_dunnings_words_at_once_meet_one_plan_in_order(world, tenant, make):
    held = await world.account(tenant)
    await known(world, make, tenant)
    await world.feed(make.invoice(tenant, "FA-2026-001", 400), make.invoice(tenant, "FA-2026-002", 200))
    items = [(make.invoice_id(tenant, number), number, amount) for number, amount in (("FA-2026-001", 400), ("FA-2026-002", 200))]

    def word(version):
        """Dunning lags behind: nothing of the plan was paid when it said this."""
        return message(
            tenant,
            PaymentPlanAgreed(
                version=version,
                payment_plan_id=make.invoice_id(tenant, "the plan"),
                customer_id=make.customer_id(tenant, "C1"),
                currency="EUR",
                agreed_on=date(2026, 3, 1),
                grace_days=0,
                items=[
                    PlanItem(item_id=item, invoice_number=number, amount_minor=amount, left_minor=amount) for item, number, amount in items
                ],
                instalments=[PlanInstalment(number=at, due_on=date(2026, 3, at), amount_minor=50, open_minor=50) for at in range(1, 13)],
                status="active",
            ),
            entity_id=make.entity_id(tenant),
        )

    await world.feed(word(1))
    pays = [await world.pay(held, 50, debtor_iban=IBAN, number=n) for n in range(12)]

    async def match(payment):
        async with world.database.transaction(tenant) as conn:
            await engine.match(conn, [(tenant, payment)], NOW, {})

    words = [world.feed(word(version)) for version in range(2, 5)]
    await asyncio.gather(*(match(payment) for payment in pays[:6]), *words, *(match(payment) for payment in pays[6:]))
    assert await owed(world, tenant) == {"FA-2026-001": 0, "FA-2026-002": 0}
    assert await rules(world, tenant) == ["payment_plan"] * 12
    await world.holds()


@pytest.mark.parametrize(
    ("how", "first"), [("lowered", "word"), ("lowered", "money"), ("credited", "word"), ("credited", "money"), ("cancelled", "word")]
)
async def test_what_is_not_owed_any_more_is_not_expected_before_dunning_says_so(world, tenant, held, says, make, how, first):
    """It takes from the last instalments, as it does for dunning; money of what is left then meets the plan, whichever comes first."""
    await world.feed(says(1))
    left = 600 if how == "cancelled" else 800
    if first == "money":
        await world.pay(held, left, debtor_iban=IBAN)
        await world.match(tenant)
        assert await rules(world, tenant) != ["payment_plan"]
    if how == "lowered":
        await world.feed(make.invoice(tenant, "FA-2026-001", 500, cls=make.Changed, version=2))
    elif how == "credited":
        of = make.invoice_id(tenant, "FA-2026-001")
        await world.feed(make.invoice(tenant, "A-1", 100, cls=make.Credit, credited_invoice_id=of))
    else:
        await world.feed(make.invoice(tenant, "FA-2026-002", 300, cls=make.Cancelled, version=2))
    if first == "word":
        assert await expected(world, tenant) == [300, 600, "received" if how == "cancelled" else 800]
        await world.pay(held, left, debtor_iban=IBAN)
    await world.match(tenant)
    assert (await rules(world, tenant), await expected(world, tenant)) == (["payment_plan"], ["received"] * 3)
    after = await owed(world, tenant)
    assert (after["FA-2026-001"], after["FA-2026-002"]) == (0, 0)
    await world.holds()


@pytest.mark.parametrize("approved", [False, True])
async def test_what_is_written_off_is_not_expected_and_is_again_once_that_is_reversed(
    world, tenant, held, says, make, client, second, approved
):
    await world.feed(says(1))
    await limit(client, tenant, make, 0 if approved else 1_000)
    body = {"item_id": str(make.invoice_id(tenant, "FA-2026-001")), "reason": "goodwill", "amount_minor": 400}
    given = (await post(client, "/v1/write-offs", body)).json()["write_off_id"]
    if approved:
        assert await expected(world, tenant) == [300, 600, 900]
        assert (await post(second, f"/v1/write-offs/{given}/decision", {"approve": True})).json()["status"] == "booked"
    assert await expected(world, tenant) == [300, 500, "received"]
    await post(client, f"/v1/write-offs/{given}/reverse", {"reason": "he.pays", "amount_minor": 250})
    assert await expected(world, tenant) == [300, 600, 750]
    await post(client, f"/v1/write-offs/{given}/reverse", {"reason": "he.pays"})
    assert await expected(world, tenant) == [300, 600, 900]
    await world.pay(held, 900, debtor_iban=IBAN)
    await world.match(tenant)
    assert (await rules(world, tenant), await expected(world, tenant)) == (["payment_plan"], ["received"] * 3)
    await world.holds()


async def test_a_write_off_and_dunnings_words_at_once_wait_for_each_other(world, tenant, held, says, make, client):
    await world.feed(says(1))
    await limit(client, tenant, make, 1_000)
    body = {"item_id": str(make.invoice_id(tenant, "FA-2026-001")), "reason": "goodwill", "amount_minor": 10}
    await world.pay(held, 300, debtor_iban=IBAN)  # half of the item: there is something to write off, whichever comes first
    answers, *_ = await asyncio.gather(
        asyncio.gather(*(post(client, "/v1/write-offs", body) for _ in range(6))),
        *(world.feed(says(version)) for version in range(2, 6)),
        world.match(tenant),
    )
    assert {one.status_code for one in answers} == {201}
    await world.holds()


@pytest.mark.parametrize("how", ["written_off", "lowered", "credited"])
async def test_money_that_comes_while_less_is_owed_does_not_count_as_what_nobody_pays(world, tenant, held, says, make, client, how):
    """100 are given up while 300 are being paid of the same item: the last instalment is less by 100, the first has come."""
    await world.feed(says(1))
    await limit(client, tenant, make, 1_000)
    of, paid = make.invoice_id(tenant, "FA-2026-001"), await world.pay(held, 300, debtor_iban=OTHERS_IBAN)
    line = {"lines": [{"item_id": str(of), "amount_minor": 300}]}
    less = {
        "written_off": lambda: post(client, "/v1/write-offs", {"item_id": str(of), "reason": "goodwill", "amount_minor": 100}),
        "lowered": lambda: world.feed(make.invoice(tenant, "FA-2026-001", 500, cls=make.Changed, version=2)),
        "credited": lambda: world.feed(make.invoice(tenant, "A-1", 100, cls=make.Credit, credited_invoice_id=of)),
    }
    async with world.database.transaction(tenant) as conn:  # the item is held until both are under way, so they wait in their order
        await run(conn, "SELECT 1 FROM open_item WHERE item_id = :id FOR UPDATE", id=of)
        paying = asyncio.create_task(post(client, f"/v1/payments/{paid}/allocations", line))
        await waiting_for_a_lock(world, tenant, 1)
        giving = asyncio.create_task(less[how]())
        await waiting_for_a_lock(world, tenant, 2)
    assert (await asyncio.gather(paying, giving))[0].status_code == 200
    assert await expected(world, tenant) == ["received", 300, 500]  # what was paid took from the last, too
    await world.holds()
