"""Several statements of one day: each has entries of its own, and none takes the place of another."""

import asyncio

import pytest
from bankdays import FIRST, Bank
from shared.ids import new_id

EQUAL = {"text": "Cotisation", "iban": "DE89370400440532013000", "day": FIRST.isoformat()}


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


async def booked(world, tenant):
    return (await world.one(tenant, "SELECT count(*), coalesce(sum(amount_minor), 0) FROM payment WHERE confirmation = 'booked'"))[:2]


async def test_equal_entries_of_two_statements_of_a_day_that_follow_each_other_are_two(world, tenant, bank):
    await bank.tells(bank.entry(1_000, **EQUAL), bank.entry(1_000, **EQUAL), bank.entry(1_000, **EQUAL))
    for opening, closing in (("0.00", "10.00"), ("10.00", "19.00"), ("19.00", "29.00")):
        lines = [bank.entry(1_000, **EQUAL)]
        if opening == "10.00":
            lines.append(bank.entry(-100, day=FIRST.isoformat(), text="Frais"))
        await bank.brings("053", opening, closing, *lines)
    assert await booked(world, tenant) == (3, 3_000)
    assert await world.rows(tenant, "SELECT 1 FROM payment WHERE confirmation = 'notified'") == []
    await bank.again()
    # one of all the day, and one of them once more in another file
    day = [bank.entry(1_000, **EQUAL) for _ in range(3)] + [bank.entry(-100, day=FIRST.isoformat(), text="Frais")]
    await bank.brings("053", "0.00", "29.00", *day)
    await bank.brings("053", "19.00", "29.00", bank.entry(1_000, **EQUAL))
    assert await booked(world, tenant) == (3, 3_000)
    await world.holds()


async def test_statements_in_any_order_have_their_own_entries(world, tenant, bank):
    fee = {"text": "Frais", "day": FIRST.isoformat()}
    await bank.brings("053", "10.00", "19.00", bank.entry(1_000, **EQUAL), bank.entry(-100, **fee))
    await bank.brings("053", "1.00", "10.00", bank.entry(1_000, **EQUAL), bank.entry(-100, **fee))
    assert await booked(world, tenant) == (2, 2_000)
    assert (await world.one(tenant, "SELECT count(*) FROM movement"))[0] == 2
    await world.holds()


@pytest.mark.parametrize(("opening", "closing", "payments"), [("10.00", "20.00", 2), ("0.00", "10.00", 1)])
async def test_an_end_to_end_id_that_is_used_again_is_another_payment_where_balances_prove_it(
    world, tenant, bank, opening, closing, payments
):
    """The bank gave only one of the two a reference of its own."""
    await bank.brings("053", "0.00", "10.00", bank.entry(1_000, ref="B1", e2e="RENT", day=FIRST.isoformat()))
    await bank.brings("053", opening, closing, bank.entry(1_000, e2e="RENT", day=FIRST.isoformat()))
    await bank.again()
    assert await booked(world, tenant) == (payments, payments * 1_000)
    await world.holds()


async def test_what_balances_do_not_prove_to_be_another_is_the_same(world, tenant, bank):
    await bank.brings("053", "0.00", "10.00", bank.entry(1_000, **EQUAL))
    await bank.brings(
        "053", "0.00", "30.00", bank.entry(1_000, **EQUAL), bank.entry(2_000, ref="B2", day=FIRST.isoformat())
    )  # from the start
    await bank.brings("053", "7.00", "17.00", bank.entry(1_000, **EQUAL))  # nobody knows where it begins
    assert await booked(world, tenant) == (2, 3_000)
    await world.holds()


async def test_pages_of_an_mt940_have_their_own_entries(world, client, tenant, bank):
    def page(number, opening, closing):
        return (
            f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/{number:03}\r\n:60{'F' if number == 1 else 'M'}:C260301EUR{opening}\r\n"
            ":61:2603010301C10,00NTRFNONREF\r\n:86:166?00GUTSCHRIFT?20Beitrag?31DE89370400440532013000?32Dupont\r\n"
            f":62{'M' if number == 1 else 'F'}:C260301EUR{closing}\r\n-\r\n"
        ).encode()

    for _ in range(2):
        await bank.again([page(1, "0,00", "10,00") + page(2, "10,00", "20,00")])
    await bank.again([page(2, "10,00", "20,00")])
    assert await booked(world, tenant) == (2, 2_000)
    await world.holds()


async def test_files_with_statements_of_two_accounts_in_any_order_are_taken_in_at_once(world, client, tenant, bank):
    other = await world.account(tenant, "DE89370400440532013000")

    def sent(number):
        accounts = [bank.held, other] if number % 2 else [other, bank.held]
        lines = [bank.camtfile.entry("1.00", ref=f"B{number}-{at}") for at in range(100)]
        parts = [bank.camtfile.statement(one.iban, "0.00", "100.00", *lines, number=number).decode() for one in accounts]
        behind = parts[1][parts[1].index("<Stmt>") :]
        return (parts[0][: parts[0].index("</Stmt>") + len("</Stmt>")] + behind).encode()

    answers = await asyncio.gather(
        *(client.post("/v1/bank-files", content=sent(number), headers={"content-type": "application/xml"}) for number in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    assert await booked(world, tenant) == (1_600, 160_000)


async def test_another_statement_of_the_day_does_not_take_the_place_of_one_that_does_not_add_up(world, client, client_of, tenant, bank):
    async def sent(opening, closing, *lines):
        bank.files.append(
            bank.camtfile.statement(bank.held.iban, opening, closing, *lines, day=FIRST.isoformat(), number=len(bank.files) + 1)
        )
        answer = await client.post("/v1/bank-files", content=bank.files[-1], headers={"content-type": "application/xml"})
        return answer.json()["statements"][0]

    wrong = await sent("0.00", "20.00", bank.entry(1_000, ref="B1", day=FIRST.isoformat()))
    assert wrong["verdict"] == "rejected"
    assert (await sent("10.00", "40.00", bank.entry(3_000, ref="B2", day=FIRST.isoformat())))["verdict"] == "booked"
    second = await client_of(tenant, subject="second")
    accept = {"json": {"reason": "the bank's word"}, "headers": {"idempotency-key": str(new_id())}}
    answer = await second.post(f"/v1/statements/{wrong['statement_id']}/acceptance", **accept)
    assert (answer.status_code, answer.json().get("verdict")) == (200, "booked"), answer.text
    assert await booked(world, tenant) == (2, 4_000)
    await world.holds()
