"""Nothing of an erased person is in any table of dunning: no name, no address, no mail that was sent, no note."""

from datetime import date

from contracts.customers import Contact, CustomerErased, CustomerIdentityChanged
from dunning.handlers import promises
from dunning_world import morning, new_id
from shared.testing.mentions import mentions

DUE = date(2025, 3, 3)
PERSON = ("Yvonne Le Gall", "yvonne@legall.example", "her husband rang", "F-2025-0815")


async def test_nothing_of_the_person_is_left_and_nothing_late_brings_it_back(world):
    await world.start()
    customer, _ = world.customer()
    person = customer.data.customer_id
    contact = Contact(role="billing", name="Yvonne", email="yvonne@legall.example")
    who = world.message(CustomerIdentityChanged(version=1, customer_id=person, name="Yvonne Le Gall", contacts=[contact]))
    item = world.item(person, due=DUE, number="F-2025-0815")
    await world.feed(customer, who, item)
    for ordinal in range(DUE.toordinal() + 1, DUE.toordinal() + 12):
        await world.day(date.fromordinal(ordinal))
    assert [mail["to"] for mail in world.mail_server.mails] == ["yvonne@legall.example"]
    async with world.database.transaction(world.tenant) as conn:
        promise = new_id()
        await promises.make(
            conn, world.tenant, promise, customer_id=person, item_ids=[], amount_minor=5, currency="EUR", due_on=date(2025, 6, 1),
            now=morning(date(2025, 3, 20)),
        )  # fmt: skip
        await promises.cancel(conn, world.tenant, promise, reason="her husband rang", by="me")
    found = await mentions(world.urls.owner, *PERSON)
    assert "dispatch.mail: F-2025-0815" in found
    assert {where.split(": ")[1] for where in found} == set(PERSON)
    gone = CustomerErased(version=5, customer_id=person, source_system="erp", customer_number="C1", erased_on=date(2036, 1, 1))
    await world.feed(world.message(gone))
    await world.feed(world.message(CustomerIdentityChanged(version=4, customer_id=person, name="Yvonne Le Gall", contacts=[contact])))
    # the invoice's number stays where it is owed and decided about: it names no person
    left = await mentions(world.urls.owner, *PERSON)
    assert left == ["decision.asked: F-2025-0815", "decision.inputs: F-2025-0815", "item.invoice_number: F-2025-0815"]


async def test_a_planned_mail_is_withdrawn(world):
    await world.start()
    customer, who = world.customer()
    person = customer.data.customer_id
    await world.feed(customer, who, world.item(person, due=DUE))
    ordinal = DUE.toordinal() + 1
    while not await world.rows("SELECT 1 FROM dispatch WHERE state = 'planned'"):
        await world.decide(date.fromordinal(ordinal))
        ordinal += 1
    gone = CustomerErased(version=5, customer_id=person, source_system="erp", customer_number="C1", erased_on=date(2036, 1, 1))
    await world.feed(world.message(gone))
    await world.send(morning(date.fromordinal(ordinal - 1)))
    assert world.mail_server.mails == []
    [row] = await world.rows("SELECT p.state, p.mail, p.recipient, d.reason FROM dispatch p JOIN decision d USING (tenant_id, reminder_id)")
    assert (row.state, bytes(row.mail), row.recipient, row.reason) == ("withdrawn", b"", "", "erased")
