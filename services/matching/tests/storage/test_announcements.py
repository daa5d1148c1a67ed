"""Money that is announced: told, met, over."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from bankdays import job
from expecting import IBAN_OF_C1, announcement, into, items, known, post, remittance
from matching.handlers import announcements
from matching.handlers.matching import look_at_due
from shared.jobs import JobContext
from shared.money import MAX_MINOR
from shared.testing.events import context

CLOCK = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def expire(world, tenant, day=2):
    """The job that lets go, on a day of March 2026."""
    ctx = context(datetime(2026, 3, day, 9, tzinfo=UTC))
    await announcements.expire(JobContext(world.database, ctx.now, ctx.offsets, ctx.topic_prefix, ctx.consumer), tenant)


async def test_announced_money_is_told_met_and_expires(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "direct_debit",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "DD-2026-1",
        "lines": [{"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 1_000}],
    }
    first = (await post(client, "/v1/payment-announcements", body)).json()
    assert (first["status"], first["holds_until"]) == ("waiting", "2026-03-07")
    payment = await world.pay(held, 1_000, end_to_end_id="DD-2026-1")
    await world.match(tenant)
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0}
    cheque = {
        **body,
        "kind": "cheque",
        "reference": "CHQ-1",
        "lines": [{**body["lines"][0], "item_id": str(make.invoice_id(tenant, "F-1"))}],
    }
    second = (await post(client, "/v1/payment-announcements", cheque)).json()
    for day, status in ((7, "waiting"), (8, "expired")):
        await expire(world, tenant, day)
        assert (await client.get(f"/v1/expected-payments/{second['expected_id']}")).json()["status"] == status
    told = [m.data for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert [(t.kind, t.status, t.payment_id) for t in told] == [
        ("direct_debit", "announced", None),
        ("direct_debit", "received", payment),
        ("cheque", "announced", None),
        ("cheque", "expired", None),
    ]
    assert told[0].items[0].item_id == make.invoice_id(tenant, "F-2")
    assert told[0].holds_until == date(2026, 3, 7)
    assert (
        await post(client, f"/v1/expected-payments/{first['expected_id']}/end", {"status": "cancelled", "reason": "late"})
    ).status_code == 409
    taken = await post(client, f"/v1/expected-payments/{second['expected_id']}/end", {"status": "failed", "reason": "no_funds"})
    assert taken.json()["status"] == "failed"
    await world.holds()


async def test_an_announcement_without_items_says_who_pays_and_the_rules_go_on(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 400))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "transfer",
        "amount_minor": 700,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "WIRE-7",
    }
    assert (await post(client, "/v1/payment-announcements", body)).status_code == 201
    payment = await world.pay(held, 700, end_to_end_id="WIRE-7")
    await world.match(tenant)
    row = await world.one(tenant, "SELECT status, payer_customer_id FROM payment")
    assert tuple(row) == ("unapplied", make.customer_id(tenant, "C1"))
    (listed,) = (await client.get("/v1/expected-payments")).json()["items"]
    assert (listed["status"], listed["payment_id"]) == ("received", str(payment))
    balances = (await client.get("/v1/balances")).json()["items"]
    assert [(one["open_minor"], one["unapplied_minor"]) for one in balances] == [(1_400, 700)]
    await world.holds()


async def test_the_same_cheque_announced_twice_is_one_until_it_is_over(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = announcement(make, tenant, 1_000, "F-1", reference="CHQ 0004711", holds_until="2026-06-30")

    async def announced(**more):
        answer = await post(client, "/v1/payment-announcements", {**body, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["expected_id"]

    first = await announced()
    assert await announced(reference="chq-0004711") == first
    others = [await announced(kind="transfer"), await announced(reference="CHQ 0004712")]
    assert len({first, *others}) == 3
    told = [m.data.announcement_id for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert sorted(map(str, told)) == sorted([first, *others])
    await post(client, f"/v1/expected-payments/{first}/end", {"status": "failed", "reason": "no_funds"})
    second = await announced()  # presented again
    assert second != first
    await post(client, f"/v1/expected-payments/{others[0]}/end", {"status": "cancelled", "reason": "twice"})
    await world.pay(held, 1_000, remittance=["CHQ-0004711"])
    await world.match(tenant)
    assert (await client.get(f"/v1/expected-payments/{second}")).json()["status"] == "received"
    assert await announced() == second
    assert await announced(expected_on="2026-04-02") not in {first, second, *others}
    await world.holds()


async def test_the_same_cheque_announced_otherwise_is_refused_until_the_one_that_is_known_is_ended(world, tenant, make, client):
    """A message that comes late would else undo the correction of what it says: nothing tells the two apart."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    body = announcement(make, tenant, 1_000, "F-1", "F-2", reference="CHQ 0004711", holds_until="2026-03-20")
    first = (await post(client, "/v1/payment-announcements", body)).json()
    turned = {**body, "lines": body["lines"][::-1]}
    assert (await post(client, "/v1/payment-announcements", turned)).json() == first  # the items are the same in any order
    for change, places in (
        ({"expected_on": "2026-03-04"}, ["/expected_on"]),
        ({"holds_until": None}, ["/holds_until"]),
        ({"lines": []}, ["/lines"]),
        ({"amount_minor": 1_001, "lines": []}, ["/amount_minor", "/lines"]),
        ({"currency": "USD", "lines": []}, ["/currency", "/lines"]),
    ):
        refused = await post(client, "/v1/payment-announcements", {**body, **change}, key := "-".join(change))
        assert (refused.status_code, refused.json()["code"]) == (409, "announced-otherwise"), refused.text
        assert [one["pointer"] for one in refused.json()["errors"]] == places
        assert f"/v1/expected-payments/{first['expected_id']}/end" in refused.json()["detail"]
        again = await post(client, "/v1/payment-announcements", {**body, **change}, key)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (409, "true")
    assert (await client.get(f"/v1/expected-payments/{first['expected_id']}")).json() == first
    assert (await post(client, f"/v1/expected-payments/{first['expected_id']}/end", {"status": "cancelled", "reason": "typo"})).is_success
    corrected = (await post(client, "/v1/payment-announcements", {**body, "expected_on": "2026-03-04"})).json()
    assert (corrected["status"], corrected["expected_on"]) == ("waiting", "2026-03-04")
    told = [m.data.status for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert told == ["announced", "cancelled", "announced"]
    await world.pay(held, 1_000, remittance=["CHQ-0004711"])
    await world.match(tenant)
    late = await post(client, "/v1/payment-announcements", {**body, "expected_on": "2026-03-04", "lines": []})
    assert (late.status_code, late.json()["detail"]) == (409, "It has come: announce other money under another reference")
    await world.holds()


async def test_two_who_announce_the_same_cheque_at_once_announce_one_and_of_two_days_one_is_refused(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    bodies = [announcement(make, tenant, 1_000, reference="CHQ 1", expected_on=f"2026-03-0{day}") for day in (2, 3) for _ in range(4)]
    answers = await asyncio.gather(*(post(client, "/v1/payment-announcements", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [409] * 4
    assert len((await client.get("/v1/expected-payments")).json()["items"]) == 1
    await world.holds()


@pytest.mark.parametrize("first", ["C1", "C2"])
@pytest.mark.parametrize("what", ["cheque", "list"])
async def test_what_is_said_of_a_merged_customer_and_of_who_stands_for_him_is_one(world, tenant, make, client, what, first):
    """Whether it was said before they were merged or after, of C1 that was merged into C2, and once more of C0 that was merged into C1."""
    await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, customer=f"C{n}") for n in range(4)))

    async def said(customer):
        payer = str(make.customer_id(tenant, customer))
        if what == "cheque":
            body = announcement(make, tenant, 1_000, reference="CHQ 1", customer_id=payer)
            answer = await post(client, "/v1/payment-announcements", body)
        else:
            body = remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="CHQ 1", payer_customer_id=payer)
            answer = await post(client, "/v1/remittances", body)
        assert answer.status_code == 201, answer.text
        return answer.json()["expected_id"]

    before = await said(first)
    await world.feed(into(make, tenant, "C1", "C2"), into(make, tenant, "C0", "C1"))
    assert {await said(customer) for customer in ("C1", "C2", "C0")} == {before}
    assert await said("C3") != before
    await world.holds()


@pytest.mark.parametrize("came", [False, True])
async def test_a_cheque_that_was_announced_under_two_ids_before_their_merge_is_expected_once(world, tenant, make, client, came):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 2_000), make.invoice(tenant, "F-2", 2_000, customer="C2"))
    made = []
    for customer in ("C1", "C2"):
        payer = str(make.customer_id(tenant, customer))
        body = announcement(make, tenant, 1_000, reference="CHQ 7", customer_id=payer)
        made.append((await post(client, "/v1/payment-announcements", body)).json()["expected_id"])
    other = announcement(make, tenant, 1_000, reference="CHQ 8", customer_id=str(make.customer_id(tenant, "C1")))
    another = (await post(client, "/v1/payment-announcements", other)).json()["expected_id"]
    await known(world, tenant, make)
    if came:
        await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1, end_to_end_id="CHQ7")
        await world.match(tenant)
    await world.feed(into(make, tenant, "C1", "C2"))
    await look_at_due(job(world), tenant)
    if not came:
        await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1, end_to_end_id="CHQ7")
        await world.match(tenant)
    found = {one["expected_id"]: one["status"] for one in (await client.get("/v1/expected-payments")).json()["items"]}
    assert (sorted(found[one] for one in made), found[another]) == (["cancelled", "received"], "waiting")
    told = {str(m.data.announcement_id): m.data.status for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant}
    assert told == {one: {"waiting": "announced"}.get(status, status) for one, status in found.items()}
    await world.holds()


async def test_without_a_reference_the_key_alone_tells_equal_announcements_apart(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    body = announcement(make, tenant, 1_000)
    one, again, other = [(await post(client, "/v1/payment-announcements", body, key)).json()["expected_id"] for key in ("a", "a", "b")]
    assert (one == again, one == other) == (True, False)


async def test_an_announced_item_may_come_later_but_is_never_another_entitys(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "G-1", 1_000, entity="sister"))
    body = {
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "kind": "transfer",
        "amount_minor": 1_000,
        "currency": "EUR",
        "expected_on": "2026-03-02",
        "reference": "WIRE-9",
    }
    theirs, later = ({"item_id": str(make.invoice_id(tenant, number)), "amount_minor": 1_000} for number in ("G-1", "F-2"))
    answer = await post(client, "/v1/payment-announcements", {**body, "lines": [theirs]})
    assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "item-elsewhere", "/lines/0/item_id")
    row = {"item_id": theirs["item_id"], "gross_minor": 1_000, "net_minor": 1_000}
    answer = await post(client, "/v1/remittances", {**remittance(make, tenant, 1_000), "lines": [row]})
    assert (answer.status_code, answer.json()["code"]) == (422, "item-elsewhere")
    assert (await post(client, "/v1/payment-announcements", {**body, "lines": [later]})).status_code == 201
    await world.pay(held, 1_000, end_to_end_id="WIRE-9")
    await world.match(tenant)
    await world.feed(make.invoice(tenant, "F-2", 1_000))
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"F-1": 1_000, "F-2": 0, "G-1": 1_000}
    await world.holds()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("numbers", "merged"), [((), False), (("F-1",), False), ((), True)])
async def test_of_equal_announcements_each_has_one_of_the_payers_equal_payments(world, tenant, make, client, together, numbers, merged):
    """Announced under one payer's id or, before these were merged, under two; nothing tells them apart, and nothing needs to."""
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 2_000), make.invoice(tenant, "F-2", 2_000, customer="C2"))
    for customer, day in (("C1", 2), ("C2" if merged else "C1", 3)):
        payer = str(make.customer_id(tenant, customer))
        body = announcement(
            make, tenant, 1_000, *numbers, customer_id=payer, expected_on=f"2026-03-0{day}", reference="CHQ" if merged else None
        )
        assert (await post(client, "/v1/payment-announcements", body)).status_code == 201
    if merged:
        await world.feed(into(make, tenant, "C1", "C2"))
    await known(world, tenant, make)
    for number in range(2):
        await world.pay(held, 1_000, number=number, debtor_iban=IBAN_OF_C1, end_to_end_id="CHQ" if merged else None)
        if number or not together:
            await world.match(tenant)
    found = (await client.get("/v1/expected-payments")).json()["items"]
    assert [one["status"] for one in found] == ["received", "received"]
    assert len({one["payment_id"] for one in found}) == 2
    assert (await items(world, tenant))["F-1"][0] == (0 if numbers else 2_000)
    for one in (await client.get("/v1/review-queue")).json()["items"]:
        assert "expected_payments" not in one["evidence"]
    await world.holds()


async def test_of_equal_announcements_for_different_items_a_person_decides(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 1_000))
    await known(world, tenant, make)
    for number in ("F-1", "F-2"):
        await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, number))
    await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1)
    await world.match(tenant)
    (waits,) = (await client.get("/v1/review-queue")).json()["items"]
    assert (waits["reason"], len(waits["evidence"]["expected_payments"]["fit"])) == ("ambiguous", 2)
    await world.holds()


async def test_money_that_has_come_for_one_announcement_comes_for_no_other(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 2_000))
    await known(world, tenant, make)
    first = (await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000))).json()["expected_id"]
    payment = await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1)
    await world.match(tenant)
    await post(client, "/v1/payment-announcements", announcement(make, tenant, 1_000, kind="direct_debit"))
    await world.match(tenant)
    found = {one["expected_id"]: (one["status"], one["payment_id"]) for one in (await client.get("/v1/expected-payments")).json()["items"]}
    assert found.pop(first) == ("received", str(payment))
    assert list(found.values()) == [("waiting", None)]
    # a list says what it is for
    listed = await post(
        client,
        "/v1/remittances",
        remittance(make, tenant, 1_000, ("F-1", 1_000, 0, None), reference="TRX-1", payer_customer_id=str(make.customer_id(tenant, "C1"))),
    )
    assert (listed.json()["status"], (await items(world, tenant))["F-1"][0]) == ("received", 1_000)
    await world.holds()


async def test_an_announcement_names_as_many_items_as_its_event_has_room_for(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    most = MAX_MINOR // 700
    body = announcement(make, tenant, 700 * most, *(f"F-{n}" for n in range(700)), reference="DD-1")
    assert (await post(client, "/v1/payment-announcements", body)).json()["status"] == "waiting"
    (told,) = [m.data for m in await world.events("PaymentAnnouncementChanged") if m.tenant_id == tenant]
    assert len(told.items) == 700
    body = announcement(make, tenant, 701, *(f"F-{n}" for n in range(701)), reference="DD-2")
    refused = await post(client, "/v1/payment-announcements", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/lines")


@pytest.mark.parametrize("again", [False, True])
async def test_a_cheque_that_comes_after_its_days_is_met_by_its_reference_alone(world, tenant, make, client, again):
    """Unless it was announced once more; and not by what was announced without one, whoever pays."""
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000) for n in range(1, 5)))
    await known(world, tenant, make)
    bodies = [
        announcement(make, tenant, 1_000, "F-2", reference="CHQ-0001", holds_until="2026-03-02"),
        announcement(make, tenant, 900, "F-3", holds_until="2026-03-02"),
        announcement(make, tenant, 800, "F-3", reference="CHQ-0002", holds_until="2026-03-02"),
    ]
    first, *others = [(await post(client, "/v1/payment-announcements", body)).json()["expected_id"] for body in bodies]
    await expire(world, tenant, 3)
    if again:
        body = announcement(make, tenant, 1_000, "F-4", reference="CHQ-0001", expected_on="2026-03-03")
        first = (await post(client, "/v1/payment-announcements", body)).json()["expected_id"]
    payment = await world.pay(held, 1_000, debtor_iban=IBAN_OF_C1, remittance=["CHQ-0001"], number=1)
    await world.pay(held, 900, debtor_iban=IBAN_OF_C1, number=2)
    await world.pay(held, 800, debtor_iban=IBAN_OF_C1, remittance=["CHQ-0002"], number=3, day=date(2026, 7, 1))
    await world.match(tenant)
    found = {one["expected_id"]: (one["status"], one["payment_id"]) for one in (await client.get("/v1/expected-payments")).json()["items"]}
    assert found.pop(first) == ("received", str(payment))
    assert [found[one] for one in others] == [("expired", None)] * 2
    paid = [number for number, row in (await items(world, tenant)).items() if row[0] == 0]
    assert paid == (["F-4"] if again else ["F-2"])
    told = [m.data.status for m in await world.events("PaymentAnnouncementChanged") if str(m.data.announcement_id) == first]
    assert told == (["announced", "received"] if again else ["announced", "expired", "received"])
    await world.holds()


async def test_items_that_do_not_add_up_to_the_money_are_said_at_its_amount(world, tenant, make, client):
    await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    answer = await post(client, "/v1/payment-announcements", {**announcement(make, tenant, 1_000, "F-1"), "amount_minor": 900})
    assert (answer.status_code, answer.json()["code"]) == (422, "remittance-differs")
    assert answer.json()["errors"][0]["pointer"] == "/amount_minor"


@pytest.mark.parametrize(
    ("named", "said", "settled"),
    [
        (["FA-1001"], {}, True),  # by their payer alone
        ([], {}, True),
        (["FA-1001"], {"reference": "TRX-7777"}, True),
        ([], {"reference": "TRX-7777"}, True),
        (["FA-1002"], {}, False),  # it is for something else: two of the payer's, and nothing tells which this is
        (["FA-1002"], {"reference": "TRX-7777"}, False),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
async def test_a_transfer_that_is_announced_and_listed_is_one(world, tenant, make, client, named, said, settled, order):
    held = await world.account(tenant)
    await world.feed(*(make.invoice(tenant, number, 300) for number in ("FA-1001", "FA-1002")))
    await known(world, tenant, make)
    told = [
        ("/v1/payment-announcements", announcement(make, tenant, 300, *named, kind="transfer", **said)),
        (
            "/v1/remittances",
            remittance(make, tenant, 300, ("FA-1001", 300, 0, None), payer_customer_id=str(make.customer_id(tenant, "C1")), **said),
        ),
    ]
    for path, body in told[::order]:
        assert (await post(client, path, body)).status_code == 201
    payment = await world.pay(held, 300, debtor_iban=IBAN_OF_C1, remittance=["TRX-7777"] if said else [])
    await world.match(tenant)
    found = (await client.get("/v1/expected-payments")).json()["items"]
    assert {(one["status"], one["payment_id"]) for one in found} == {("received", str(payment)) if settled else ("waiting", None)}
    assert {number: row[0] for number, row in (await items(world, tenant)).items()} == {"FA-1001": 0 if settled else 300, "FA-1002": 300}
    events = [one.data.status for one in await world.events("PaymentAnnouncementChanged") if one.tenant_id == tenant]
    assert events == ["announced", *(["received"] if settled else [])]
    await world.holds()
