"""Hand work on money and items that come in any order: money is conserved, each decision replays, and looks come to rest."""

import random
from datetime import date, timedelta

import pytest
from contracts.invoices import DiscountTerm
from decided import iban, identity, look, replayed
from handwork import limit, post

ITEMS, PAYMENTS, CUSTOMERS = 24, 30, 4
ACTS = ("unmatch", "move", "write_off", "dismiss", "confirm", "look") * 4


def came(make, tenant, dice):
    """Items of a few customers, and payments that say more or less of what they are for: (amount, number, what they say)."""
    work = [identity(tenant, make, number) for number in range(CUSTOMERS)]
    amounts = [dice.choice([dice.randint(200, 90_000), 12_000]) for _ in range(ITEMS)]
    for n, amount in enumerate(amounts):
        more = {"reference": f"REF{n:06d}"} if n % 5 == 0 else {}
        more |= {"discounts": [DiscountTerm(until=date(2026, 3, 10), percent_bp=200)]} if n % 4 == 0 else {}
        more |= {"cls": make.Credit} if n % 11 == 10 else {}
        due = date(2026, 3, 1) + timedelta(days=dice.randint(0, 9) * 3)
        work.append(make.invoice(tenant, f"FA2026-{n:05d}", amount, customer=f"C{n % CUSTOMERS}", due=due, **more))
    for n in range(PAYMENTS):
        one, two = dice.randrange(ITEMS), dice.randrange(ITEMS)
        said = [
            {"debtor_iban": iban(one % CUSTOMERS)},
            {"debtor_name": f"ACHETEUR {one % CUSTOMERS:03d}", "remittance": [f"FA2026-{one:05d}"]},
            {"debtor_iban": iban(one % CUSTOMERS), "remittance": [f"FA2026 {one:05d}, {two:05d}"]},
            {"reference": f"REF{one:06d}"},
            {"remittance": ["virement"]},
            {"remittance": ["ACOMPTE COMMANDE 88"], "debtor_iban": iban(0)},
        ]
        amount = dice.choice([amounts[one], amounts[one] * 98 // 100, amounts[one] + amounts[two], amounts[one] // 2])
        work.append((amount, n, dice.choice(said)))
    return work


async def act(client, make, tenant, dice, name, payments):
    """What a person does to anything that is there; he may be refused, never fail."""
    if name in {"confirm", "dismiss"}:
        waiting = (await client.get("/v1/review-queue")).json()["items"]
        if not (shown := [one for one in waiting if one["candidates"]]):
            return
        one = dice.choice(shown)
        chosen = dice.choice(one["candidates"])
        body = {"candidate": chosen["rank"], "version": one["version"]}
        if name == "dismiss":
            body = {"item_ids": [line["item_id"] for line in chosen["lines"]], "reason": "not his"}
        answer = await post(client, f"/v1/payments/{one['payment_id']}/{name}", body)
        assert answer.status_code == 200, answer.text  # what is shown can be done
    elif name == "write_off":
        item = str(make.invoice_id(tenant, f"FA2026-{dice.randrange(ITEMS):05d}"))
        answer = await post(client, "/v1/write-offs", {"item_id": item, "reason": "goodwill"})
        assert answer.status_code in {201, 404, 409, 422}, answer.text
    elif payments:
        body = {"reason": "wrong"}
        if name == "move":
            body["customer_id"] = str(make.customer_id(tenant, f"C{dice.randrange(CUSTOMERS)}"))
        answer = await post(client, f"/v1/payments/{dice.choice(payments)}/{name}", body)
        assert answer.status_code in {200, 404}, answer.text


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_by_hand_the_books_hold_and_looks_come_to_rest(world, tenant, make, client, seed):
    dice = random.Random(seed)
    held = await world.account(tenant)
    await limit(client, tenant, make, 10_000_000)
    work, payments = [*came(make, tenant, dice), *ACTS], []
    dice.shuffle(work)
    for one in work:
        if one == "look":
            await look(world, tenant)
        elif isinstance(one, str):
            await act(client, make, tenant, dice, one, payments)
        elif isinstance(one, tuple):
            payments.append(await world.pay(held, one[0], number=one[1], **one[2]))
            await world.match(tenant)
        else:
            await world.feed(one)
    seen = [await looked(world, tenant) for _ in range(5)]
    assert seen[-3] == seen[-1]
    assert (
        await world.rows(tenant, "SELECT 1 FROM payment WHERE unapplied_reason = 'unknown_party' AND payer_customer_id IS NOT NULL") == []
    )
    await replayed(world, tenant)
    await world.holds()


async def looked(world, tenant):
    """The payments' versions after one more look at all that waits."""
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() WHERE status IN ('unapplied', 'partly_matched') RETURNING 1")
    await look(world, tenant)
    return {row[0]: row[1] for row in await world.rows(tenant, "SELECT payment_id, version FROM payment")}
