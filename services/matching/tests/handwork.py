"""What the tests of hand work share."""


async def item(world, tenant, number):
    return await world.one(
        tenant,
        "SELECT open_minor, cash_minor, discount_minor, charges_minor, written_off_minor, status, close_cause, value_date FROM open_item "
        "WHERE invoice_number = :number",
        number=number,
    )


async def limit(client, tenant, make, amount, currency="EUR"):
    answer = await client.put(f"/v1/hand-work-limits/{make.entity_id(tenant)}/{currency}", json={"limit_minor": amount})
    assert answer.status_code == 200, answer.text
