"""What the tests of hand work share."""

import itertools

from bankdays import ahead

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


async def refunded(world, client, tenant, make, bank):
    """A refund of 6.00 that was sent, and its EndToEndId."""
    await limit(client, tenant, make, 1_000)
    payment = await world.pay(bank.held, 1_000, debtor_name="Dupont", debtor_iban="DE89370400440532013000", number=1)
    await world.match(tenant)
    given = await post(client, "/v1/refunds", {"payment_id": str(payment), "amount_minor": 600, "reason": "twice"})
    assert given.json()["status"] == "approved", given.text
    await bank.books((1_000, {"ref": "B1"}))
    order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
    assert (await post(client, "/v1/refund-files", order)).status_code == 201
    return (await world.one(tenant, "SELECT end_to_end_id FROM refund"))[0]
