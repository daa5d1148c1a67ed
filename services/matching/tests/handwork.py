"""What the tests of hand work share."""

import itertools

_KEYS = itertools.count()


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"b{next(_KEYS)}"})


async def unexplained(client):
    """Amounts of what a person has to look at."""
    return sorted(one["amount_minor"] for one in (await client.get("/v1/unexplained-movements")).json()["items"])


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
