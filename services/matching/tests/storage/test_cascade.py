"""What the cascade decides, on a real database."""

import json
from datetime import UTC, date, datetime

import pytest
from contracts.customers import CustomerIdentityChanged
from contracts.dunning import DisputeOpened
from matching.handlers import accounts
from matching.handlers.matching import look_at_due
from matching.handlers.payments import unmatch
from shared.clock import machine_now
from shared.ids import named_id, new_id
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.testing.events import message

REFERENCE = "RF18539007547034"
PAYER = "DE89370400440532013000"


def identity(tenant, make, customer="C1", ibans=(PAYER,), version=1):
    data = CustomerIdentityChanged(
        version=version, customer_id=make.customer_id(tenant, customer), name="Acheteur", known_ibans=list(ibans)
    )
    return message(tenant, data)


async def outcome(world, tenant, payment):
    row = await world.one(tenant, "SELECT status, rule, unapplied_minor, unapplied_reason FROM payment WHERE payment_id = :id", id=payment)
    await world.holds()
    return tuple(row)


async def virtual_iban(world, held, **to):
    async with world.database.transaction(held.tenant_id) as conn:
        number = f"FR76{new_id().int % 10**23:023d}"
        await accounts.add_to_pool(conn, held.tenant_id, held.iban, [number])
        rest = {"customer_id": None, "invoice_id": None, "holder_name": "V", "quarantine_days": 400, "now": machine_now()}
        return await accounts.assign(conn, held.tenant_id, held.bank_account_id, **{**rest, **to})


async def test_an_exact_reference_pays_the_invoice(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-2026-001", 12_000, reference="RF18 5390 0754 7034"))
    payment = await world.pay(held, 12_000, REFERENCE)
    await world.match(tenant)
    paid = [m.data for m in await world.events("InvoicePaid") if m.tenant_id == tenant]
    assert [(p.item_id, p.open_minor, p.settled.cash_minor) for p in paid] == [(make.invoice_id(tenant, "F-2026-001"), 0, 12_000)]
    matched = [m.data for m in await world.events("PaymentMatched") if m.tenant_id == tenant]
    assert [(m.payment_id, m.unapplied_minor, m.allocations[0].rule) for m in matched] == [(payment, 0, "structured_reference")]
    balances = [m.data for m in await world.events("AccountBalanceChanged") if m.tenant_id == tenant]
    assert [b.open_minor for b in balances] == [12_000, 0]
    await world.holds()


async def test_a_batch_takes_a_handful_of_statements(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 100, reference=f"REF{n:09d}", customer=f"C{n % 50}") for n in range(1000)))
    for n in range(0, 1000, 5):
        await world.pay(held, 100, f"REF{n:09d}", number=n)
    before = world.database.statements
    await world.match(tenant)
    assert world.database.statements - before <= 6  # scope, planner guard, propose, save, accounts, publish
    assert (await world.one(tenant, "SELECT count(*) FROM payment WHERE status = 'matched'"))[0] == 200
    await world.holds()


async def test_a_payment_that_comes_alone_takes_few_statements_more_for_the_engine(world, tenant, make):
    """Each is a round trip that nobody shares with it."""
    held = await world.account(tenant)
    await world.feed(identity(tenant, make), *(make.invoice(tenant, f"INV-{n}", 1_000 + n) for n in range(1, 4)))
    await world.pay(held, 1_002, remittance=["INV-2"], debtor_iban=PAYER)
    before = world.database.statements
    await world.match(tenant)
    assert world.database.statements - before <= 9  # who may have paid; what they owe, and what earlier payments tell
    assert (await world.one(tenant, "SELECT status, rule FROM payment"))[0] == "matched"
    await world.holds()


async def test_a_payment_on_its_payers_account_settles_what_it_names_of_another(world, tenant, make):
    """It waits on the account of whom its IBAN is known of; the invoice with its reference comes later, and is somebody else's."""
    held = await world.account(tenant)
    await world.feed(identity(tenant, make), make.invoice(tenant, "INV-1", 555))
    payment = await world.pay(held, 777, REFERENCE, debtor_iban=PAYER)
    await world.match(tenant)
    assert (await outcome(world, tenant, payment))[0] == "unapplied"
    balance = await world.one(
        tenant, "SELECT unapplied_minor FROM account_balance WHERE customer_id = :c", c=make.customer_id(tenant, "C1")
    )
    assert balance[0] == 777
    await world.feed(make.invoice(tenant, "INV-2", 777, customer="C2", reference=REFERENCE))
    assert await outcome(world, tenant, payment) == ("matched", "structured_reference", 0, None)


async def test_partial_and_over_payment(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference=REFERENCE))
    part = await world.pay(held, 4_000, REFERENCE)
    await world.match(tenant)
    assert await outcome(world, tenant, part) == ("matched", "structured_reference", 0, None)
    rest = await world.pay(held, 7_000, REFERENCE)
    await world.match(tenant)
    assert await outcome(world, tenant, rest) == ("partly_matched", "structured_reference", 1_000, "overpaid")
    double = await world.pay(held, 10_000, REFERENCE)
    await world.match(tenant)
    assert await outcome(world, tenant, double) == ("unapplied", None, 10_000, "already_paid")
    balance = await world.one(tenant, "SELECT open_minor, unapplied_minor, customer_id FROM account_balance")
    assert tuple(balance) == (0, 11_000, make.customer_id(tenant, "C1"))


async def test_several_payments_of_one_batch_share_one_item_in_their_order(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference=REFERENCE))
    pays = [await world.pay(held, 6_000, REFERENCE), await world.pay(held, 6_000, REFERENCE), await world.pay(held, 6_000, REFERENCE)]
    await world.match(tenant)
    assert [(await outcome(world, tenant, p))[2] for p in pays] == [0, 2_000, 6_000]


async def test_virtual_iban_of_an_invoice_comes_first(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 10_000, reference="AAA1"), make.invoice(tenant, "F-2", 10_000, reference="BBB2"))
    given = await virtual_iban(world, held, invoice_id=make.invoice_id(tenant, "F-2"))
    payment = await world.pay(held, 10_000, "AAA1", virtual_iban=given.virtual_iban)
    await world.match(tenant)
    assert (await outcome(world, tenant, payment))[:2] == ("matched", "virtual_iban_invoice")
    assert (await world.one(tenant, "SELECT invoice_number FROM open_item WHERE status = 'paid'"))[0] == "F-2"


async def test_party_by_virtual_iban_or_known_iban_and_numbers_in_the_text(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make),
        *(make.invoice(tenant, f"INV-{n}", 1_000 * n, due=date(2026, 4, n)) for n in (1, 2, 10)),
        make.invoice(tenant, "INV-3", 500, customer="C2"),
    )
    several = await world.pay(held, 3_000, remittance=["inv 2, INV/1 merci"], debtor_iban=PAYER)
    await world.match(tenant)
    assert await outcome(world, tenant, several) == ("matched", "document_number", 0, None)
    items = {row[0]: row[1] for row in await world.rows(tenant, "SELECT invoice_number, open_minor FROM open_item")}
    assert items == {"INV-1": 0, "INV-2": 0, "INV-10": 10_000, "INV-3": 500}
    given = await virtual_iban(world, held, customer_id=make.customer_id(tenant, "C1"))
    ten = await world.pay(held, 10_000, remittance=["payment of INV10"], virtual_iban=given.virtual_iban)
    await world.match(tenant)
    assert (await outcome(world, tenant, ten))[:2] == ("matched", "document_number")


@pytest.mark.parametrize(
    ("text", "iban", "reason"),
    [
        ("INV-10", None, "unknown_party"),  # no party: a number alone is not enough
        ("INV-100", PAYER, "no_reference"),  # INV-10 is not in INV-100, and no item has the amount
        ("INV-30", PAYER, "ambiguous"),  # somebody else's number
        ("", None, "unknown_party"),
    ],
)
async def test_what_is_left_unapplied_and_why(world, tenant, make, text, iban, reason):
    held = await world.account(tenant)
    await world.feed(identity(tenant, make), make.invoice(tenant, "INV-10", 777), make.invoice(tenant, "INV-30", 555, customer="C2"))
    payment = await world.pay(held, 554, remittance=[text], debtor_iban=iban)
    await world.match(tenant)
    assert await outcome(world, tenant, payment) == ("unapplied", None, 554, reason)


async def test_one_item_of_exactly_the_amount_of_a_known_party(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(
        identity(tenant, make), make.invoice(tenant, "F-1", 777), make.invoice(tenant, "F-2", 888), make.invoice(tenant, "F-3", 888)
    )
    one, tie = await world.pay(held, 777, debtor_iban=PAYER), await world.pay(held, 888, debtor_iban=PAYER)
    await world.match(tenant)
    assert (await outcome(world, tenant, one))[:2] == ("matched", "exact_amount")
    assert await outcome(world, tenant, tie) == ("unapplied", None, 888, "ambiguous")


async def test_an_amount_alone_names_candidates_and_no_more(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 777))
    payment = await world.pay(held, 777)
    await world.match(tenant)
    assert (await outcome(world, tenant, payment))[3] == "unknown_party"
    told = [m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant]
    assert told[-1].candidate_customer_ids == [make.customer_id(tenant, "C1")]


async def test_a_contested_item_is_matched_only_when_named(world, tenant, make):
    held = await world.account(tenant)
    item = make.invoice_id(tenant, "F-1")
    dispute = DisputeOpened(
        version=1,
        dispute_id=new_id(),
        item_id=item,
        customer_id=make.customer_id(tenant, "C1"),
        amount_minor=100,
        currency="EUR",
        reason="quality",
        status="open",
    )
    await world.feed(identity(tenant, make), message(tenant, dispute), make.invoice(tenant, "F-1", 777, reference=REFERENCE))
    assert [m.data.disputed_minor for m in await world.events("OpenItemChanged") if m.tenant_id == tenant] == [100]
    guess = await world.pay(held, 777, debtor_iban=PAYER)
    await world.match(tenant)
    assert (await outcome(world, tenant, guess))[3] == "uncertain"
    named = await world.pay(held, 777, REFERENCE)
    await world.match(tenant)
    assert (await outcome(world, tenant, named))[0] == "matched"


@pytest.mark.parametrize("tied", [False, True])
async def test_what_is_not_contested_is_matched_without_a_word_unless_something_ties_with_it(world, tenant, make, tied):
    held = await world.account(tenant)
    dispute = DisputeOpened(
        version=1, dispute_id=new_id(), item_id=make.invoice_id(tenant, "F-1"), customer_id=make.customer_id(tenant, "C1"),
        amount_minor=20_000, currency="EUR", reason="quality", status="open",
    )  # fmt: skip
    await world.feed(identity(tenant, make), message(tenant, dispute), make.invoice(tenant, "F-1", 101_327))
    if tied:
        await world.feed(make.invoice(tenant, "F-2", 81_327))
    payment = await world.pay(held, 81_327, debtor_iban=PAYER)
    await world.match(tenant)
    if tied:
        assert await outcome(world, tenant, payment) == ("unapplied", None, 81_327, "uncertain")
        (evidence,) = await world.one(tenant, "SELECT CAST(evidence AS text) FROM decision")
        shown = {line["item_id"]: line["amount_minor"] for one in json.loads(evidence)["candidates"] for line in one["lines"]}
        assert shown == {str(make.invoice_id(tenant, number)): 81_327 for number in ("F-1", "F-2")}
    else:
        assert (await outcome(world, tenant, payment))[:2] == ("matched", "exact_amount")
        assert tuple(await world.one(tenant, "SELECT open_minor, contested_minor FROM open_item")) == (20_000, 20_000)


async def test_another_currency_is_never_matched(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 777, reference=REFERENCE, currency="USD"))
    payment = await world.pay(held, 777, REFERENCE)
    await world.match(tenant)
    assert (await outcome(world, tenant, payment))[3] == "currency"


async def test_two_tenants_and_two_entities_with_equal_numbers_in_one_batch(world, make):
    one, two = new_id(), new_id()
    held = [await world.account(one), await world.account(two), await world.account(one, "DE89370400440532013000", entity="other")]
    await world.feed(
        identity(one, make),
        identity(two, make),
        make.invoice(one, "F-1", 1_000, reference=REFERENCE),
        make.invoice(two, "F-1", 2_000, reference=REFERENCE),
    )
    pays = [await world.pay(account, 500, REFERENCE, number=1, debtor_iban=PAYER) for account in held]
    await world.match(one, two)
    assert (await world.one(one, "SELECT open_minor FROM open_item"))[0] == 500
    assert (await world.one(two, "SELECT open_minor FROM open_item"))[0] == 1_500
    assert (await outcome(world, one, pays[2]))[0] == "unapplied"
    assert (await world.one(two, "SELECT count(*) FROM payment"))[0] == 1


async def test_the_invoice_may_come_after_the_payment(world, tenant, make):
    held = await world.account(tenant)
    payment = await world.pay(held, 1_000, REFERENCE)
    later = await virtual_iban(world, held, invoice_id=make.invoice_id(tenant, "F-2"))
    other = await world.pay(held, 2_000, virtual_iban=later.virtual_iban)
    await world.match(tenant)
    assert (await outcome(world, tenant, payment))[0] == "unapplied"
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE), make.invoice(tenant, "F-2", 2_000))
    assert await outcome(world, tenant, payment) == ("matched", "structured_reference", 0, None)
    assert await outcome(world, tenant, other) == ("matched", "virtual_iban_invoice", 0, None)
    told = [m for m in await world.events() if m.tenant_id == tenant and getattr(m.data, "payment_id", None) == payment]
    assert [m.envelope.type for m in told] == ["PaymentReceived", "PaymentUnapplied", "PaymentMatched"]
    assert told[-1].data.unapplied_minor == 0  # whoever held a reminder back because of it learns that nothing is left


async def test_what_ended_unmatched_is_looked_at_again(world, tenant, make):
    held = await world.account(tenant)
    payment = await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    row = await world.one(tenant, "SELECT looks, next_look_at - received_at < interval '10 s' AS soon FROM payment")
    assert tuple(row) == (1, True)
    # as if both had been handled at the same moment: the item is there, but its handler did not see the payment
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="OTHER1"))
    await world.rows(tenant, "UPDATE item_reference SET value = :value WHERE kind = 'structured' RETURNING 1", value=REFERENCE)
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() RETURNING 1")

    await look_at_due(JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test"), tenant)
    assert await outcome(world, tenant, payment) == ("matched", "structured_reference", 0, None)


async def test_what_wakes_a_payment_takes_none_of_its_looks_away(world, tenant, make):
    """Its invoice may be another worker's still, uncommitted, while others of the customer come."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-0", 5, customer="C1"), identity(tenant, make))
    payment = await world.pay(held, 1_000, None, debtor_iban=PAYER, remittance=["FA2026-00009"])
    await world.match(tenant)
    (before,) = await world.one(tenant, "SELECT next_look_at FROM payment")
    for number in range(1, 5):
        await world.feed(make.invoice(tenant, f"F-{number}", 40_000 + number, customer="C1"))
    assert tuple(await world.one(tenant, "SELECT looks, next_look_at FROM payment")) == (1, before)
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() RETURNING 1")
    await look_at_due(JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test"), tenant)
    looks, after = await world.one(tenant, "SELECT looks, next_look_at FROM payment")
    assert (looks, (after - machine_now()).total_seconds()) == (2, pytest.approx(60, abs=10))
    await world.feed(make.invoice(tenant, "FA2026-00009", 1_000, customer="C1"))
    assert (await outcome(world, tenant, payment))[0] == "matched"
    assert tuple(await world.one(tenant, "SELECT looks, next_look_at FROM payment")) == (2, None)


async def test_unmatching_undoes_and_is_not_repeated(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    payment = await world.pay(held, 1_000, REFERENCE)
    before = await world.one(tenant, "SELECT open_minor, cash_minor, status, close_cause FROM open_item")
    await world.match(tenant)
    async with world.database.transaction(tenant) as conn:
        assert await unmatch(conn, tenant, payment, None, "wrong", held_now()) is not None
    assert await world.one(tenant, "SELECT open_minor, cash_minor, status, close_cause FROM open_item") == before
    assert [m.data.open_minor for m in await world.events("InvoiceReopened") if m.tenant_id == tenant] == [1_000]
    assert [m.data.unapplied_minor for m in await world.events("PaymentUnmatched") if m.tenant_id == tenant] == [1_000]
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE, version=2, cls=make.Changed))
    assert (await outcome(world, tenant, payment))[0] == "unapplied"


def held_now():

    return datetime(2026, 3, 3, tzinfo=UTC)


async def test_a_credit_note_is_set_off_whichever_comes_first(world, tenant, make):
    item = make.invoice_id(tenant, "F-1")
    credit = make.invoice(tenant, "A-1", 400, cls=make.Credit, credited_invoice_id=item)
    await world.feed(credit)
    assert tuple(await world.one(tenant, "SELECT unused_credits_minor, open_minor FROM account_balance")) == (400, 0)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "A-2", 900, cls=make.Credit, credited_invoice_id=item))
    rows = await world.rows(tenant, "SELECT invoice_number, open_minor, credit_minor, status, close_cause FROM open_item ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        ("A-1", 0, 400, "closed", "credit"),
        ("A-2", 300, 600, "open", None),
        ("F-1", 0, 1_000, "closed", "credit"),
    ]
    assert tuple(await world.one(tenant, "SELECT unused_credits_minor, open_minor FROM account_balance")) == (300, 0)
    await world.feed(make.invoice(tenant, "F-1", 1_000, version=2, cls=make.Cancelled))
    assert tuple(await world.one(tenant, "SELECT unused_credits_minor, open_minor FROM account_balance")) == (1_300, 0)
    assert [m.data.close_cause for m in await world.events("InvoiceClosed") if m.tenant_id == tenant and m.data.item_id == item] == [
        "credit",
        "cancelled",
    ]
    await world.holds()


async def test_cancelling_gives_the_money_back_to_the_payment(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    payment = await world.pay(held, 1_000, REFERENCE)
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE, version=2, cls=make.Cancelled))
    assert await outcome(world, tenant, payment) == ("unapplied", "structured_reference", 1_000, "item_cancelled")
    assert tuple(await world.one(tenant, "SELECT open_minor, status, close_cause FROM open_item")) == (0, "closed", "cancelled")


async def test_a_change_follows_the_newest_version(world, tenant, make):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference=REFERENCE))
    await world.pay(held, 600, REFERENCE)
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_500, reference=REFERENCE, version=3, cls=make.Changed, customer="C9"))
    assert tuple(await world.one(tenant, "SELECT original_minor, open_minor, cash_minor FROM open_item")) == (1_500, 900, 600)
    await world.feed(make.invoice(tenant, "F-1", 700, reference=REFERENCE, version=2, cls=make.Changed))
    assert (await world.one(tenant, "SELECT open_minor FROM open_item"))[0] == 900  # an older version changes nothing
    await world.feed(make.invoice(tenant, "F-1", 500, reference=REFERENCE, version=4, cls=make.Changed, customer="C9"))
    assert tuple(await world.one(tenant, "SELECT original_minor, open_minor, cash_minor FROM open_item")) == (500, 0, 500)
    await world.holds()


async def test_history_opens_nothing_and_an_opening_balance_what_was_open(world, tenant, make):
    await world.feed(
        make.invoice(tenant, "H-1", 1_000, origin="history"), make.invoice(tenant, "O-1", 1_000, origin="opening", opening_open_minor=250)
    )
    rows = await world.rows(tenant, "SELECT invoice_number, original_minor, open_minor FROM open_item")
    assert [tuple(row) for row in rows] == [("O-1", 250, 250)]
    assert named_id("invoice", tenant, "O-1") == make.invoice_id(tenant, "O-1")
    await world.holds()


async def test_a_cancellation_that_is_taken_back_opens_the_item_again(world, tenant, make):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-1", 1_000, version=2, cls=make.Cancelled))
    assert (await world.one(tenant, "SELECT open_minor FROM account_balance"))[0] == 0
    await world.feed(make.invoice(tenant, "F-1", 1_100, version=3, cls=make.Changed))
    assert tuple(await world.one(tenant, "SELECT original_minor, open_minor, credit_minor, status FROM open_item")) == (
        1_100,
        1_100,
        0,
        "open",
    )
    assert [m.data.open_minor for m in await world.events("InvoiceReopened") if m.tenant_id == tenant] == [1_100]
    await world.holds()
