"""Duplicates merged and separated: what is owed moves and comes back, whatever the order of events."""

import asyncio

from contracts.customers import CustomerIdentityChanged, CustomerMerged, CustomerUnmerged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matching.handlers.customers import move_merged
from shared.ids import new_id
from shared.jobs import JobContext
from shared.testing.events import context, message

IBAN_OF_A = "FR7630004000031234567890143"


def merged(make, tenant, one, into, version=2):
    ids = {"customer_id": make.customer_id(tenant, one), "into_customer_id": make.customer_id(tenant, into)}
    return message(tenant, CustomerMerged(version=version, source_system="erp", customer_number=one, status="merged", **ids))


def separated(make, tenant, one, into, version=3):
    ids = {"customer_id": make.customer_id(tenant, one), "into_customer_id": make.customer_id(tenant, into)}
    return message(tenant, CustomerUnmerged(version=version, source_system="erp", customer_number=one, status="separate", **ids))


def known(make, tenant, name, *ibans, version=1):
    who = CustomerIdentityChanged(version=version, customer_id=make.customer_id(tenant, name), name=name, known_ibans=list(ibans))
    return message(tenant, who)


async def job(world, tenant, now):
    ctx = context(now)
    await move_merged(JobContext(world.database, now, ctx.offsets, "", "test"), tenant)


async def standing(world, make, tenant) -> dict[str, tuple[int, int, int]]:
    """Open, unapplied and unused credits of each customer that has any."""
    names = {make.customer_id(tenant, name): name for name in "ABCD"}
    rows = await world.rows(
        tenant,
        "SELECT customer_id, CAST(sum(open_minor) AS bigint) AS o, CAST(sum(unapplied_minor) AS bigint) AS u, "
        "CAST(sum(unused_credits_minor) AS bigint) AS c FROM account_balance GROUP BY 1",
    )
    return {names[row.customer_id]: (row.o, row.u, row.c) for row in rows if row.o or row.u or row.c}


async def test_what_is_owed_and_what_is_unapplied_moves_and_comes_back_exactly(world, make, tenant):
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F1", 10_000, customer="A", reference="RF18539007547034"),
        make.invoice(tenant, "F2", 5_000, customer="B", reference="RF332200000012"),
        make.invoice(tenant, "N1", 300, customer="A", cls=make.Credit),
    )
    await world.pay(held, 12_000, "RF18539007547034", number=1)  # 2,000 too much, of A
    await world.feed(make.invoice(tenant, "F3", 700, customer="A"))
    await world.match(tenant)
    assert await standing(world, make, tenant) == {"A": (700, 2_000, 300), "B": (5_000, 0, 0)}
    before = len(await world.events())
    await world.feed(merged(make, tenant, "A", "B"))
    assert await standing(world, make, tenant) == {"B": (5_700, 2_000, 300)}
    told = (await world.events())[before:]
    balances = {m.data.customer_id: m.data for m in told if m.envelope.type == "AccountBalanceChanged"}
    assert (balances[make.customer_id(tenant, "A")].open_minor, balances[make.customer_id(tenant, "B")].open_minor) == (0, 5_700)
    moved = {m.data.invoice_number: m.data.customer_id for m in told if m.envelope.type == "OpenItemChanged"}
    assert moved == dict.fromkeys(["F1", "F3", "N1"], make.customer_id(tenant, "B"))
    [payment] = [m.data for m in told if m.envelope.type == "PaymentUnapplied"]
    assert (payment.payer_customer_id, payment.unapplied_minor) == (make.customer_id(tenant, "B"), 2_000)
    await world.feed(make.invoice(tenant, "F4", 40, customer="B"), make.invoice(tenant, "F5", 2, customer="A"))  # since; late
    assert await standing(world, make, tenant) == {"B": (5_742, 2_000, 300)}
    await world.feed(merged(make, tenant, "A", "B"), separated(make, tenant, "A", "B"))
    assert await standing(world, make, tenant) == {"A": (702, 2_000, 300), "B": (5_040, 0, 0)}
    await world.feed(merged(make, tenant, "A", "B"))  # late: an older version
    assert await standing(world, make, tenant) == {"A": (702, 2_000, 300), "B": (5_040, 0, 0)}
    assert await world.rows(tenant, "SELECT 1 FROM open_item WHERE moved_from_customer_id IS NOT NULL") == []
    await world.holds()


async def test_the_old_id_answers_for_the_survivor(world, make, tenant, client):
    await world.feed(make.invoice(tenant, "F1", 100, customer="A"), merged(make, tenant, "A", "B"))
    for name in ("A", "B"):
        asked = {"customer_id": str(make.customer_id(tenant, name))}
        [item] = (await client.get("/v1/open-items", params=asked)).json()["items"]
        assert (item["invoice_number"], item["customer_id"]) == ("F1", str(make.customer_id(tenant, "B")))
        assert [row["open_minor"] for row in (await client.get("/v1/balances", params=asked)).json()["items"]] == [100]


async def test_iban_and_virtual_iban_of_the_old_customer_identify_the_survivor(world, make, tenant):
    held = await world.account(tenant)
    await world.feed(known(make, tenant, "A", IBAN_OF_A), known(make, tenant, "B", IBAN_OF_A))
    await world.feed(make.invoice(tenant, "F1", 4_200, customer="B"))
    await world.pay(held, 4_200, number=1, debtor_iban=IBAN_OF_A)
    await world.match(tenant)
    waiting = await world.one(tenant, "SELECT status, unapplied_reason FROM payment")
    assert tuple(waiting) == ("unapplied", "ambiguous")  # two customers are known by this IBAN
    await world.feed(merged(make, tenant, "A", "B"))
    due = await world.one(tenant, "SELECT looks, next_look_at IS NOT NULL AS again FROM payment")
    assert tuple(due) == (0, True)
    await world.match(tenant)
    assert (await world.one(tenant, "SELECT status FROM payment")).status == "matched"
    assert (await world.one(tenant, "SELECT payer_customer_id AS id FROM payment")).id == make.customer_id(tenant, "B")
    await world.holds()


async def test_an_invoice_that_changes_its_customer_is_not_brought_back(world, make, tenant, now):
    await world.feed(make.invoice(tenant, "F1", 100, customer="A"), merged(make, tenant, "A", "B"))
    await world.feed(make.invoice(tenant, "F1", 100, customer="C", version=2, cls=make.Changed))
    assert await standing(world, make, tenant) == {"C": (100, 0, 0)}
    await job(world, tenant, now)
    await world.feed(separated(make, tenant, "A", "B"))
    assert await standing(world, make, tenant) == {"C": (100, 0, 0)}
    await world.feed(make.invoice(tenant, "F1", 100, customer="A", version=3, cls=make.Changed))
    await world.feed(merged(make, tenant, "A", "B", version=4))
    assert await standing(world, make, tenant) == {"B": (100, 0, 0)}
    await world.holds()


async def test_more_than_a_slice_moves_with_the_job(world, make, tenant, now):
    await world.feed(*(make.invoice(tenant, f"F{number}", 10, customer="A") for number in range(1_100)))
    await world.feed(merged(make, tenant, "A", "B"))
    assert await standing(world, make, tenant) == {"A": (1_000, 0, 0), "B": (10_000, 0, 0)}
    await job(world, tenant, now)
    assert await standing(world, make, tenant) == {"B": (11_000, 0, 0)}
    await world.holds()


async def test_an_invoice_stored_beside_the_merge_is_found_by_the_job(world, make, tenant, now):
    await asyncio.gather(
        world.feed(*(make.invoice(tenant, f"F{number}", 10, customer="A") for number in range(50))),
        world.feed(merged(make, tenant, "A", "B")),
        world.feed(make.invoice(tenant, "G", 10, customer="B")),
    )
    await job(world, tenant, now)
    assert await standing(world, make, tenant) == {"B": (510, 0, 0)}
    await world.holds()


async def test_two_tenants_with_the_same_numbers_in_one_batch(world, make, tenant):
    other = new_id()
    await world.feed(make.invoice(tenant, "F1", 100, customer="A"), make.invoice(other, "F1", 70, customer="A"))
    await world.feed(merged(make, tenant, "A", "B"), merged(make, other, "A", "C"))
    assert await standing(world, make, tenant) == {"B": (100, 0, 0)}
    assert await standing(world, make, other) == {"C": (70, 0, 0)}
    await world.holds()


@st.composite
def histories(draw):
    """Invoices of four customers, some changed, and merges of them: (what, arguments), in an order that could have been."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        found.append(("invoice", f"F{number}", draw(st.sampled_from("ABCD")), 1))
        if draw(st.booleans()):
            found.append(("invoice", f"F{number}", draw(st.sampled_from("ABCD")), 2))
    into: dict[str, str] = {}
    versions = dict.fromkeys("ABCD", 1)
    for _ in range(draw(st.integers(1, 6))):
        one = draw(st.sampled_from("ABCD"))
        versions[one] += 1
        if one in into:
            found.append(("separated", one, into.pop(one), versions[one]))
        else:
            other = draw(st.sampled_from([name for name in "ABCD" if name != one]))
            end = other
            while end in into:
                end = into[end]
            if end != one:
                into[one] = other
                found.append(("merged", one, other, versions[one]))
    return found, into


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories(), data=st.data())
async def test_every_order_and_repetition_of_invoices_and_merges_ends_alike(history, data, world, make, now):
    events, into = history
    results = []
    for order in (events, data.draw(st.permutations(events + events[::2]))):
        tenant = new_id()
        for what, one, other, version in order:
            if what == "invoice":
                cls = make.Changed if version > 1 else type(make.invoice(tenant, "x", 1).data)
                await world.feed(make.invoice(tenant, one, 100 + int(one[1:]), customer=other, version=version, cls=cls))
            else:
                await world.feed((merged if what == "merged" else separated)(make, tenant, one, other, version))
        await job(world, tenant, now)
        names = {make.customer_id(tenant, name): name for name in "ABCD"}
        rows = await world.rows(tenant, "SELECT invoice_number, customer_id, moved_from_customer_id AS named FROM open_item ORDER BY 1")
        results.append([(row.invoice_number, names[row.customer_id], names.get(row.named)) for row in rows])
    assert results[0] == results[1]
    newest = {one: other for what, one, other, _ in events if what == "invoice"}
    for number, stands, named in results[0]:
        end = newest[number]
        while end in into:
            end = into[end]
        assert (stands, named) == (end, None if end == newest[number] else newest[number])
    await world.holds()
