"""What was expected when the money that met it goes back whole: what waits again, and what has failed."""

from datetime import UTC, date, datetime

import pytest
from bankdays import Bank, job
from camtfile import camt056
from contracts.dunning import PaymentPlanAgreed, PlanInstalment, PlanItem, PromiseKept, PromiseMade
from expecting import IBAN_OF_C1, announcement, expected, items, known, post, remittance
from handwork import limit
from matching.handlers.disputes import meet_late
from matching.handlers.matching import look_at_due
from matching.storage.items import open_credit_notes
from shared.testing.events import message

CLOCK = datetime(2026, 3, 2, 9, tzinfo=UTC)
UNDONE = ("returned", "recalled", "unmatched", "withdrawn")


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def paid(world, tenant, bank, number, amount=1_000, text="TRX-1", **more):
    """A payment of the EndToEndId E1, E2 ..., matched."""
    payment = await world.pay(bank.held, amount, end_to_end_id=f"E{number}", remittance=[text], number=number, **more)
    await world.match(tenant)
    return str(payment)


async def returned(bank, number, amount=1_000, reason="AM04"):
    await bank.books((-amount, {"ref": f"R{number}", "e2e": f"E{number}", "reason": reason}))


async def told(world, tenant):
    events = [m.data for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    return [(one.status, one.payment_id and str(one.payment_id)) for one in events]


def promised(make, tenant, version, cls=PromiseMade, status="open"):
    """Dunning's word: 10.00 for F-2 by the end of March."""
    data = cls(
        version=version, promise_id=make.invoice_id(tenant, "P"), customer_id=make.customer_id(tenant, "C1"), amount_minor=1_000,
        item_ids=[make.invoice_id(tenant, "F-2")], currency="EUR", due_on=date(2026, 3, 31), status=status,
    )  # fmt: skip
    return message(tenant, data)


def netted(make, tenant, number, amount=1_000):
    return {
        "kind": "netting", "entity_id": str(make.entity_id(tenant)), "customer_id": str(make.customer_id(tenant, "C1")), "currency": "EUR",
        "value_date": "2026-03-01", "proof": {"reference": f"N {number}"},
        "lines": [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount}],
    }  # fmt: skip


async def opened(world, tenant):
    return {number: row[0] for number, row in (await items(world, tenant)).items()}


@pytest.mark.parametrize("second", ["after", "before"])
async def test_a_list_whose_payment_is_returned_waits_for_the_debtors_next_one(world, tenant, make, client, bank, second):
    """And is met by it though it came before the return, when the list had its payment."""
    await world.feed(make.invoice(tenant, "F-1", 600), make.invoice(tenant, "F-2", 400, customer="C2"))
    body = remittance(make, tenant, 1_000, ("F-1", 600, 0, None), ("F-2", 400, 0, None), ("F-3", 0, 7, "bonus"), reference="TRX-1")
    await post(client, "/v1/remittances", body)
    first = await paid(world, tenant, bank, 1)
    assert await expected(client) == {"TRX1": ("received", first)}
    again = await paid(world, tenant, bank, 2) if second == "before" else None
    await returned(bank, 1)
    assert (await expected(client), await opened(world, tenant)) == ({"TRX1": ("waiting", None)}, {"F-1": 600, "F-2": 400})
    again = again or await paid(world, tenant, bank, 2)
    await look_at_due(job(world), tenant)
    assert (await expected(client), await opened(world, tenant)) == ({"TRX1": ("received", again)}, {"F-1": 0, "F-2": 0})
    await world.holds()


async def test_a_list_that_waits_for_an_item_waits_for_its_payment_again_too(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 600))
    await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-1", 600, 0, None), ("F-2", 400, 0, None), reference="TRX-1"))
    await paid(world, tenant, bank, 1)
    await returned(bank, 1)
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["payment_id"], listed["missing"]) == ("waiting", None, [])
    await world.feed(make.invoice(tenant, "F-2", 400))
    await paid(world, tenant, bank, 2)
    assert await opened(world, tenant) == {"F-1": 0, "F-2": 0}
    await world.holds()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_list_of_which_a_person_undid_something_or_a_part_is_returned_waits_no_more(world, tenant, make, client, bank, whole):
    await world.feed(make.invoice(tenant, "F-1", 600), make.invoice(tenant, "F-2", 400))
    await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-1", 600, 0, None), ("F-2", 400, 0, None), reference="TRX-1"))
    first = await paid(world, tenant, bank, 1)
    if whole:
        item = str(make.invoice_id(tenant, "F-2"))
        assert (await post(client, f"/v1/payments/{first}/unmatch", {"item_id": item, "reason": "wrong"})).status_code == 200
    await returned(bank, 1, 1_000 if whole else 999)
    assert await expected(client) == {"TRX1": ("received", first)}
    await world.holds()


async def test_a_list_whose_payment_the_bank_recalled_waits_once_the_bank_took_it(world, tenant, make, client, bank, camtfile):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await post(client, "/v1/remittances", remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="TRX-1"))
    first = await paid(world, tenant, bank, 1)
    await client.post("/v1/recalls", content=camtfile.camt056("E1", "10.00"), headers={"content-type": "application/xml"})
    assert await expected(client) == {"TRX1": ("received", first)}  # it may be refused yet
    await returned(bank, 1, reason="FRAD")
    assert await expected(client) == {"TRX1": ("waiting", None)}
    again = await paid(world, tenant, bank, 2)
    assert (await expected(client), await opened(world, tenant)) == ({"TRX1": ("received", again)}, {"F-1": 0})
    await world.holds()


@pytest.mark.parametrize("kind", ["cheque", "direct_debit", "card", "transfer"])
async def test_announced_money_that_is_returned_has_failed_until_that_is_reversed(world, tenant, make, client, bank, kind):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = announcement(make, tenant, 1_000, "F-2", kind=kind, reference="TRX-1")
    await post(client, "/v1/payment-announcements", body)
    first = await paid(world, tenant, bank, 1)
    await returned(bank, 1)
    assert (await expected(client), await opened(world, tenant)) == ({"TRX1": ("failed", first)}, {"F-1": 1_000, "F-2": 1_000})
    assert await told(world, tenant) == [("announced", None), ("received", first), ("failed", first)]
    await bank.books((1_000, {"ref": "R2", "e2e": "E1", "reversal": True}))
    await look_at_due(job(world), tenant)
    assert (await expected(client), await opened(world, tenant)) == ({"TRX1": ("received", first)}, {"F-1": 1_000, "F-2": 0})
    assert (await told(world, tenant))[3:] == [("announced", None), ("received", first)]
    await world.holds()


@pytest.mark.parametrize("together", [True, False])
async def test_a_debit_that_is_given_back_before_it_was_decided_on_has_failed(world, tenant, make, client, bank, together):
    """Booked and returned in one statement, or the return first; its list, if there is one, waits for the next payment."""
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 700))
    await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, "F-1", kind="direct_debit", reference="E1"))
    await post(client, "/v1/remittances", remittance(make, tenant, 700, ("F-2", 700, 0, None), reference="E2"))
    debits = [(1_000, {"ref": "B1", "e2e": "E1"}), (700, {"ref": "B2", "e2e": "E2"})]
    returns = [(-1_000, {"ref": "R1", "e2e": "E1", "reason": "AM04"}), (-700, {"ref": "R2", "e2e": "E2", "reason": "AM04"})]
    for lines in [debits + returns] if together else [returns, debits]:
        await bank.books(*lines)
    await world.match(tenant)
    payment = str((await world.one(tenant, "SELECT payment_id FROM payment WHERE amount_minor = 1000"))[0])
    assert await expected(client) == {"E1": ("failed", payment), "E2": ("waiting", None)}
    assert await told(world, tenant) == [("announced", None), ("received", payment), ("failed", payment)]
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 700}
    await world.holds()


async def test_a_cheque_of_a_deposit_that_bounces_leaves_the_others_paid(world, tenant, make, client, bank):
    """Two of them in one statement, and a part that is several cheques', or no cheque's: then nobody knows which, and a person looks."""
    amounts = {"F-1": 1_000, "F-2": 700, "F-3": 500, "F-4": 400, "F-5": 400}
    await world.feed(*(make.invoice(tenant, number, amount, customer=f"C{number}") for number, amount in amounts.items()))
    await world.feed(make.invoice(tenant, "A-1", 100, cls=make.Credit, customer="CF-2"))
    lines = [(number, amount, 0, None) for number, amount in amounts.items()]
    body = remittance(make, tenant, 2_900, *lines, ("A-1", -100, 0, None), reference="REMISE-1", form="cheque_deposit")
    await post(client, "/v1/remittances", body)
    first = await paid(world, tenant, bank, 1, 2_900, text="REMISE-1")
    assert set((await opened(world, tenant)).values()) == {0}
    await bank.books((2_900, {"ref": "B1", "e2e": "E1"}))
    back = [(-amount, {"ref": f"R{amount}", "e2e": "E1", "reason": "AM04"}) for amount in (600, 500)]
    await bank.books(*back)
    left = {"A-1": 100, "F-1": 0, "F-2": 700, "F-3": 500, "F-4": 0, "F-5": 0}
    assert (await expected(client), await opened(world, tenant)) == ({"REMISE1": ("received", first)}, left)
    shown = (await client.get(f"/v1/payments/{first}")).json()
    assert (shown["status"], shown["unapplied_minor"], shown["returned_minor"]) == ("matched", 0, 1_100)
    await look_at_due(job(world), tenant)
    assert await opened(world, tenant) == left
    await world.holds()
    await bank.books((-400, {"ref": "R400", "e2e": "E1", "reason": "AM04"}))
    assert await opened(world, tenant) == {"A-1": 100} | amounts
    await bank.again()
    await world.holds()


async def test_a_cheque_that_bounces_bit_by_bit_fails_once(world, tenant, make, client, bank):
    """The bank takes it back, brings a part of it back, and takes that again."""
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, "F-1", reference="TRX-1"))
    first = await paid(world, tenant, bank, 1)
    await bank.books((-600, {"ref": "R1", "e2e": "E1", "reason": "AM04"}))
    assert await expected(client) == {"TRX1": ("received", first)}
    await bank.books((-400, {"ref": "R2", "e2e": "E1", "reason": "AM04"}))
    await bank.books((400, {"ref": "R3", "e2e": "E1", "reversal": True}))
    await bank.books((-400, {"ref": "R4", "e2e": "E1", "reason": "AM04"}))
    assert await told(world, tenant) == [("announced", None), ("received", first), ("failed", first)]
    await world.holds()


async def test_a_cheque_that_bounced_is_announced_again(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    body = announcement(make, tenant, 1_000, "F-1", reference="TRX-1")
    first = (await post(client, "/v1/payment-announcements", body)).json()["expected_id"]
    await paid(world, tenant, bank, 1)
    await returned(bank, 1)
    second = (await post(client, "/v1/payment-announcements", body)).json()
    assert (second["status"], second["expected_id"] == first) == ("waiting", False)
    again = await paid(world, tenant, bank, 2)
    shown = (await client.get(f"/v1/expected-payments/{second['expected_id']}")).json()
    assert (shown["payment_id"], await opened(world, tenant)) == (again, {"F-1": 0})
    await world.holds()


async def test_what_was_only_notified_and_has_not_come_is_on_its_way_still(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 500))
    await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, "F-1", reference="TRX-1", holds_until="2026-06-30"))
    await post(client, "/v1/remittances", remittance(make, tenant, 500, ("F-2", 500, 0, None), reference="TRX-2"))
    one, two = await paid(world, tenant, bank, 1), await paid(world, tenant, bank, 2, 500, text="TRX-2")
    await bank.goes_on()
    assert await expected(client) == {"TRX1": ("waiting", None), "TRX2": ("waiting", None)}
    assert await opened(world, tenant) == {"F-1": 1_000, "F-2": 500}
    await bank.books((1_000, {"ref": "B1", "e2e": "E1"}), (500, {"ref": "B2", "e2e": "E2"}))
    await look_at_due(job(world), tenant)
    assert await expected(client) == {"TRX1": ("received", one), "TRX2": ("received", two)}
    assert await opened(world, tenant) == {"F-1": 0, "F-2": 0}
    await world.holds()


async def test_a_promise_that_is_open_waits_for_the_next_money(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    await known(world, tenant, make)
    promise = promised(make, tenant, 1)
    await world.feed(promise)
    for number in (1, 2):
        one = await paid(world, tenant, bank, number, text="MERCI", debtor_iban=IBAN_OF_C1)
        assert (await expected(client), await opened(world, tenant)) == ({None: ("received", one)}, {"F-1": 1_000, "F-2": 0})
        if number == 1:
            await returned(bank, 1)
    await world.holds()


@pytest.mark.parametrize("late", [False, True])
async def test_a_promise_that_was_kept_by_it_waits_again_once_dunning_says_that_it_is_open(world, tenant, make, client, bank, late):
    """Whether dunning's word that it was kept comes before the return or after it, and whatever had waited is met by it."""
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000), promised(make, tenant, 1))
    await known(world, tenant, make)
    await paid(world, tenant, bank, 1, text="MERCI", debtor_iban=IBAN_OF_C1)
    kept, again = promised(make, tenant, 2, PromiseKept, "kept"), promised(make, tenant, 3)
    if not late:
        await world.feed(kept)
    await returned(bank, 1)
    second = await paid(world, tenant, bank, 2, text="MERCI", debtor_iban=IBAN_OF_C1) if not late else None
    await world.feed(*([kept, again] if late else [again, kept, again]))
    if late:
        assert (await expected(client), await opened(world, tenant)) == ({None: ("waiting", None)}, {"F-1": 1_000, "F-2": 1_000})
        second = await paid(world, tenant, bank, 2, text="MERCI", debtor_iban=IBAN_OF_C1)
    await look_at_due(job(world), tenant)
    assert (await expected(client), await opened(world, tenant)) == ({None: ("received", second)}, {"F-1": 1_000, "F-2": 0})
    await world.holds()


async def test_a_promise_that_a_person_undid_is_not_done_again(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000), promised(make, tenant, 1))
    await known(world, tenant, make)
    one = await paid(world, tenant, bank, 1, text="MERCI", debtor_iban=IBAN_OF_C1)
    await world.feed(promised(make, tenant, 2, PromiseKept, "kept"))
    assert (await post(client, f"/v1/payments/{one}/unmatch", {"reason": "wrong"})).status_code == 200
    await world.feed(promised(make, tenant, 3))
    await look_at_due(job(world), tenant)
    assert (await expected(client), await opened(world, tenant)) == ({None: ("received", one)}, {"F-1": 1_000, "F-2": 1_000})
    await world.holds()


async def test_a_credit_note_that_came_while_its_invoice_was_paid_is_set_off_when_the_money_goes_back(world, tenant, make, client, bank):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="RF18539007547034"))
    await paid(world, tenant, bank, 1, text="RF18539007547034")
    await world.feed(make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-1")))
    assert await opened(world, tenant) == {"A-1": 300, "F-1": 0}
    await returned(bank, 1)
    assert await opened(world, tenant) == {"A-1": 0, "F-1": 700}
    await world.holds()


async def test_credit_notes_that_nothing_can_be_done_with_keep_no_other_from_being_set_off(world, tenant, make, client):
    """The job looks at so many at a time; here its invoice owes again, for its netting was taken back."""
    await limit(client, tenant, make, 1_000)
    *others, last = sorted((f"A-{number}" for number in range(4)), key=lambda number: make.invoice_id(tenant, number))
    for number, credit in enumerate([*others, last], 1):
        await world.feed(make.invoice(tenant, f"F-{number}", 1_000))
        settled = await post(client, "/v1/settlements", netted(make, tenant, f"F-{number}"))
        assert (settled.status_code, settled.json()["status"]) == (201, "booked"), settled.text
        await world.feed(make.invoice(tenant, credit, 100, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, f"F-{number}")))
    path = f"/v1/settlements/{settled.json()['settlement_id']}/reverse"
    assert (await post(client, path, {"reason": "mistake"})).status_code == 200
    async with world.database.transaction(tenant) as conn:
        assert await open_credit_notes(conn, tenant, 1) == [(tenant, make.invoice_id(tenant, last))]
    await meet_late(job(world), tenant)
    assert await opened(world, tenant) == dict.fromkeys(others, 100) | {last: 0, "F-1": 0, "F-2": 0, "F-3": 0, "F-4": 900}
    await world.holds()


@pytest.mark.parametrize("accept", [True, False])
async def test_a_recall_that_is_refused_puts_that_back(world, tenant, make, client, bank, accept):
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="RF18539007547034"))
    one = await paid(world, tenant, bank, 1, text="RF18539007547034")
    await world.feed(make.invoice(tenant, "A-1", 300, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-1")))
    asked = await client.post("/v1/recalls", content=camt056("E1", "10.00"), headers={"content-type": "application/xml"})
    assert asked.status_code == 201, asked.text
    assert await opened(world, tenant) == {"A-1": 0, "F-1": 700}
    [recall] = (await client.get("/v1/recalls")).json()["items"]
    answer = await post(client, f"/v1/recalls/{recall['recall_id']}/decision", {"accept": accept})
    assert answer.status_code == 200, answer.text
    assert await opened(world, tenant) == ({"A-1": 0, "F-1": 700} if accept else {"A-1": 300, "F-1": 0})
    left = await world.one(tenant, "SELECT unapplied_minor FROM payment WHERE payment_id = :id", id=one)
    assert left[0] == 0
    await world.holds()


async def planned(world, tenant, make):
    """F-1 of 10.00, to be paid in instalments of 6.00 and 4.00, and F-2 of 6.00 beside it."""
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 600))
    await known(world, tenant, make)
    plan = PaymentPlanAgreed(
        version=1, payment_plan_id=make.invoice_id(tenant, "PLAN"), customer_id=make.customer_id(tenant, "C1"), currency="EUR",
        agreed_on=date(2026, 3, 1), grace_days=3, status="active",
        items=[PlanItem(item_id=make.invoice_id(tenant, "F-1"), invoice_number="F-1", amount_minor=1_000, left_minor=1_000)],
        instalments=[
            PlanInstalment(number=number, due_on=date(2026, 3 + number, 1), amount_minor=amount, open_minor=amount)
            for number, amount in ((1, 600), (2, 400))
        ],
    )  # fmt: skip
    await world.feed(message(tenant, plan, entity_id=make.entity_id(tenant)))


async def taken(bank, client, payment, how, amount):
    if how == "returned":
        await returned(bank, 1, amount)
    elif how == "recalled":
        body = camt056("E1", f"{amount // 100}.00")
        assert (await client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})).status_code == 201
    elif how == "unmatched":
        assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code == 200
    else:
        await bank.goes_on()


async def waiting(world, tenant):
    return [row[0] for row in await world.rows(tenant, "SELECT amount_minor FROM expected_payment WHERE status = 'waiting' ORDER BY 1")]


@pytest.mark.parametrize("how", UNDONE)
async def test_what_goes_back_of_a_plan_is_expected_again_though_dunning_has_nothing_to_say(world, tenant, make, client, bank, how):
    """It has read of the money and of its end at once."""
    await planned(world, tenant, make)
    one = await paid(world, tenant, bank, 1, 600, text="MERCI", debtor_iban=IBAN_OF_C1)
    assert (await waiting(world, tenant), await opened(world, tenant)) == ([400], {"F-1": 400, "F-2": 600})
    await taken(bank, client, one, how, 600)
    await look_at_due(job(world), tenant)
    assert (await waiting(world, tenant), await opened(world, tenant)) == ([600, 1_000], {"F-1": 1_000, "F-2": 600})
    await paid(world, tenant, bank, 2, 600, text="MERCI", debtor_iban=IBAN_OF_C1)
    assert await opened(world, tenant) == {"F-1": 400, "F-2": 600}
    await world.holds()


@pytest.mark.parametrize("how", UNDONE)
async def test_a_plan_expects_what_is_owed_beside_a_write_off_that_stands_again(world, tenant, make, client, bank, how):
    """Late money for all of it came by hand, and the invoice was raised meanwhile."""
    await limit(client, tenant, make, 1_000)
    await planned(world, tenant, make)
    lost = {"item_id": str(make.invoice_id(tenant, "F-1")), "reason": "goodwill", "amount_minor": 300}
    assert (await post(client, "/v1/write-offs", lost)).json()["status"] == "booked"
    one = await paid(world, tenant, bank, 1, text="MERCI")
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 1_000}
    assert (await post(client, f"/v1/payments/{one}/allocations", {"lines": [line]})).status_code == 200
    await world.feed(make.invoice(tenant, "F-1", 1_200, cls=make.Changed, version=2))
    await taken(bank, client, one, how, 1_000)
    assert (await waiting(world, tenant), await opened(world, tenant)) == ([600, 900], {"F-1": 900, "F-2": 600})
    await world.holds()
