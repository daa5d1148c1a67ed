"""What is unmatched by a person of what a credit note alone has settled: no money was there."""

from expecting import items, post, remittance


async def test_an_item_that_a_credit_note_alone_has_settled_is_unmatched_by_itself(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 300), make.invoice(tenant, "A-1", 300, cls=make.Credit)
    )
    lines = [("F-2", 300, 0, None), ("A-1", -300, 0, None), ("F-1", 1_000, 0, None)]
    assert (await post(client, "/v1/remittances", remittance(make, tenant, 1_000, *lines, reference="TRX 4711"))).status_code == 201
    payment = await world.pay(held, 1_000, remittance=["TRX4711"])
    await world.match(tenant)
    assert await items(world, tenant) == {"A-1": (0, 0, 0, 300), "F-1": (0, 1_000, 0, 0), "F-2": (0, 0, 0, 300)}
    told = len(await world.events("InvoiceReopened"))
    wrong = {"reason": "wrong", "item_id": str(make.invoice_id(tenant, "F-2"))}
    undone = await post(client, f"/v1/payments/{payment}/unmatch", wrong)
    assert (undone.status_code, undone.json().get("status")) == (200, "matched")  # no money was there
    assert await items(world, tenant) == {"A-1": (300, 0, 0, 0), "F-1": (0, 1_000, 0, 0), "F-2": (300, 0, 0, 0)}
    reopened = (await world.events("InvoiceReopened"))[told:]
    assert {(one.data.invoice_number, one.data.open_minor) for one in reopened} == {("A-1", 300), ("F-2", 300)}
    await world.holds()
    assert (await post(client, f"/v1/payments/{payment}/unmatch", wrong)).status_code == 404


async def test_what_a_credit_note_alone_settled_stays_undone_where_the_list_waits_for_another_item(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000), make.invoice(tenant, "F-2", 300), make.invoice(tenant, "A-1", 300, cls=make.Credit)
    )
    lines = [("F-2", 300, 0, None), ("A-1", -300, 0, None), ("F-1", 1_000, 0, None), ("F-3", 500, 0, None)]
    assert (await post(client, "/v1/remittances", remittance(make, tenant, 1_500, *lines, reference="TRX 4711"))).status_code == 201
    payment = await world.pay(held, 1_500, remittance=["TRX4711"])
    await world.match(tenant)
    assert (await post(client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code == 200
    await world.feed(make.invoice(tenant, "F-3", 500))
    opened = {number: row[0] for number, row in (await items(world, tenant)).items()}
    assert opened == {"A-1": 0, "F-1": 1_000, "F-2": 300, "F-3": 0}  # the list deducts the credit note still, from what is left of it
    await world.holds()
