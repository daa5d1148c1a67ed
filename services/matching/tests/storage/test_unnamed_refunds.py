"""Refunds whose debits, or returns, name neither them nor their file: over HTTP. Whose account it is, and how much, has to tell."""

from datetime import timedelta

import pytest
from bankdays import Bank, ahead, money
from handwork import limit, post, unexplained
from shared.clock import machine_now
from shared.days import business_day

PAYER = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000"}
IBAN = PAYER["debtor_iban"]
OTHER = "NL91ABNA0417164300"


class Refunds:
    """Refunds of an account: of each a whole payment."""

    def __init__(self, world, tenant, client, bank):
        self.world, self.tenant, self.client, self.bank = world, tenant, client, bank
        self.numbers = iter(range(1, 1_000))

    async def ask(self, *amounts, **payer):
        """Payments of which all is to go back, booked by the bank; returns the payments."""
        payments = []
        for amount in amounts:
            number = next(self.numbers)
            payments.append(str(await self.world.pay(self.bank.held, amount, **{**PAYER, **payer}, number=number)))
            await self.bank.books((amount, {"ref": f"B{number}"}))
            answer = await post(self.client, "/v1/refunds", {"payment_id": payments[-1], "reason": "paid twice"})
            assert answer.status_code == 201, answer.text
        return payments

    async def order(self):
        body = {"bank_account_id": str(self.bank.held.bank_account_id), "execution_date": ahead(0)}
        return await post(self.client, "/v1/refund-files", body)

    async def send(self, *amounts, **payer):
        payments = await self.ask(*amounts, **payer)
        assert (await self.order()).json()["refunds"] == len(amounts)
        return payments

    async def states(self):
        return [one["status"] for one in (await self.client.get("/v1/refunds")).json()["items"]]

    async def explain(self, payment, amount):
        """A person says of the first waiting movement of the amount which payment it is about."""
        waiting = (await self.client.get("/v1/unexplained-movements")).json()["items"]
        movement = next(one["movement_id"] for one in waiting if one["amount_minor"] == amount)
        body = {"payment_id": payment, "reason": "the bank's advice says so"}
        return await post(self.client, f"/v1/unexplained-movements/{movement}/explanation", body)


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    """Its statements are of today and later: a refund is asked for today."""
    bank = Bank(world, client, await world.account(tenant), camtfile)
    bank.day = business_day(machine_now()) - timedelta(days=1)
    return bank


@pytest.fixture
async def refunds(world, tenant, make, client, bank):
    await limit(client, tenant, make, 100_000)
    return Refunds(world, tenant, client, bank)


@pytest.mark.parametrize("account", [IBAN, "37040044/532013000"])
@pytest.mark.parametrize("said", [{}, {"e2e": "NOTPROVIDED"}])
async def test_a_debit_without_a_name_pays_the_one_refund_of_its_amount_to_its_account(world, refunds, bank, client, account, said):
    await refunds.send(600, 601)
    await bank.books((-600, {"ref": "D1", "cdtr": account, **said}))
    assert (await refunds.states(), await unexplained(client)) == (["paid", "sent"], [])
    await bank.again()
    await bank.books((-600, {"ref": "D2", "cdtr": account}), (-602, {"ref": "X1", "cdtr": account}), (-600, {"ref": "X2", "cdtr": OTHER}))
    assert (await refunds.states(), await unexplained(client)) == (["paid", "sent"], [-600])  # executed twice, or another payment
    await world.holds()


@pytest.mark.parametrize("unnamed_first", [True, False])
async def test_one_that_its_debit_names_and_another_of_its_amount_to_its_account_may_have_been_executed_twice(
    world, tenant, refunds, bank, client, unnamed_first
):
    await refunds.send(600)
    end = (await world.one(tenant, "SELECT end_to_end_id FROM refund"))[0]
    lines = [(-600, {"ref": "D1", "cdtr": IBAN}), (-600, {"ref": "D2", "cdtr": IBAN, "e2e": end})]
    await bank.books(*lines[:: 1 if unnamed_first else -1], (-600, {"ref": "X1"}), (-600, {"ref": "X2", "cdtr": OTHER}))
    assert (await refunds.states(), await unexplained(client)) == (["paid"], [-600])
    await bank.again()
    await world.holds()


@pytest.mark.parametrize(
    "said",
    [
        {"cdtr": OTHER},
        {"cdtr": IBAN, "e2e": "INVOICE-7"},
        {"cdtr": IBAN, "reason": "AC04"},
        {"cdtr": IBAN, "day": "2026-03-02"},
        {"cdtr": IBAN, "text": f"REFUND-{'0' * 28}"},
    ],
)
async def test_a_debit_to_somebody_else_of_another_name_or_of_before_is_no_refund(world, refunds, bank, said):
    await refunds.send(600)
    await bank.books((-600, {"ref": "D1", **said}))
    assert await refunds.states() == ["sent"]
    await world.holds()


async def test_which_of_two_alike_it_was_a_person_says_and_then_one_is_left(world, refunds, bank, client):
    _, second = await refunds.send(600, 600)
    await bank.books((-600, {"ref": "D1", "cdtr": IBAN}))
    assert (await refunds.states(), await unexplained(client)) == (["sent", "sent"], [-600])
    answer = await refunds.explain(second, -600)
    assert (answer.status_code, answer.json()["moved_minor"]) == (200, -600)
    assert (await refunds.states(), await unexplained(client)) == (["sent", "paid"], [])
    await bank.books((-600, {"ref": "D2", "cdtr": IBAN}))
    assert (await refunds.states(), await unexplained(client)) == (["paid", "paid"], [])
    await bank.again()
    await world.holds()


async def test_of_two_alike_one_that_its_debit_names_leaves_the_other(world, tenant, refunds, bank, client):
    await refunds.send(600, 600)
    (_, (end,)) = await world.rows(tenant, "SELECT end_to_end_id FROM refund ORDER BY refund_id")
    await bank.books((-600, {"ref": "D1", "cdtr": IBAN}), (-600, {"ref": "D2", "cdtr": IBAN, "e2e": end}))
    assert (await refunds.states(), await unexplained(client)) == (["paid", "paid"], [])
    await world.holds()


async def test_a_debit_that_names_it_afterwards_pays_nothing_twice(world, tenant, refunds, bank, client):
    await refunds.send(600)
    end = (await world.one(tenant, "SELECT end_to_end_id FROM refund"))[0]
    await bank.books((-600, {"ref": "D1", "cdtr": IBAN}))
    await bank.books((-600, {"ref": "D2", "e2e": end}))
    assert (await refunds.states(), await unexplained(client)) == (["paid"], [-600])
    assert tuple(await world.one(tenant, "SELECT refunded_minor, refund_pending_minor FROM payment")) == (600, 0)
    await bank.books((600, {"ref": "C1", "e2e": end, "reason": "AC04"}))
    assert await refunds.states() == ["returned"]
    await bank.again()
    await world.holds()


async def test_what_comes_back_without_a_name_from_its_account_is_unapplied_again(world, tenant, refunds, bank, client):
    await refunds.send(600)
    await bank.books((-600, {"ref": "D1", "cdtr": IBAN}))
    await bank.books((600, {"ref": "C1", "cdtr": IBAN, "reason": "AC04", "day": ahead(2)}))
    assert (await refunds.states(), await unexplained(client)) == (["returned"], [])
    assert tuple(await world.one(tenant, "SELECT unapplied_minor, refunded_minor FROM payment")) == (600, 0)
    await bank.again()
    await bank.books((600, {"ref": "C2", "cdtr": IBAN, "reason": "AC04", "day": ahead(3)}))
    assert await refunds.states() == ["returned"]
    await world.holds()


async def test_a_debit_that_names_nobody_may_be_it_and_a_person_says(world, refunds, bank, client):
    (payment,) = await refunds.send(600)
    await bank.books((-600, {"ref": "D1"}), (-599, {"ref": "X1"}))
    assert (await refunds.states(), await unexplained(client)) == (["sent"], [-600])
    assert (await refunds.explain(payment, -600)).json()["moved_minor"] == -600
    assert (await refunds.states(), await unexplained(client)) == (["paid"], [])
    await world.holds()


async def test_one_that_somebody_sent_by_hand_before_it_was_approved_is_not_sent_again(world, tenant, make, refunds, bank, client, second):
    await limit(client, tenant, make, 0)
    await refunds.ask(600)
    await bank.books((-600, {"ref": "D1", "cdtr": IBAN}))
    assert (await refunds.states(), await unexplained(client)) == (["requested"], [-600])
    (asked,) = (await client.get("/v1/refunds")).json()["items"]
    approved = await post(second, f"/v1/refunds/{asked['refund_id']}/decision", {"approve": True})
    assert (approved.json()["status"], await unexplained(client)) == ("paid", [])
    assert (await refunds.order()).json()["code"] == "nothing-to-send"
    await world.holds()


async def test_a_debit_that_names_a_file_and_no_refund_is_the_one_of_its_amount_in_it(world, refunds, bank, client):
    await refunds.send(600, 601, 601)
    await refunds.send(600)
    (file_id,) = {one["refund_file_id"] for one in (await client.get("/v1/refunds")).json()["items"][:3]}
    message = (await client.get(f"/v1/refund-files/{file_id}")).text.partition("<MsgId>")[2].partition("<")[0]
    bank.day += timedelta(days=1)
    lines = [bank.entry(-amount, ref=f"D{at}").replace("<TxDtls>", f"<Btch><PmtInfId>{message}</PmtInfId></Btch><TxDtls>")
             for at, amount in enumerate((600, 601, 602))]  # fmt: skip
    await bank.brings("053", "500.00", "481.97", *lines)
    assert (await refunds.states(), await unexplained(client)) == (["paid", "sent", "sent", "sent"], [-602, -601])
    await bank.again()
    await world.holds()


def whole(bank, amount, name=""):
    """A debit for a file, of which the bank tells neither details nor which it is."""
    entry = bank.entry(-amount, ref="D1")
    who = f"<TxDtls><RltdPties><Cdtr><Nm>{name}</Nm></Cdtr></RltdPties></TxDtls>" if name else "<Btch><NbOfTxs>3</NbOfTxs></Btch>"
    return entry[: entry.index("<NtryDtls>")] + f"<NtryDtls>{who}</NtryDtls></Ntry>"


@pytest.mark.parametrize(
    ("files", "name", "amount", "ended", "waits"),
    [
        (1, "", 1_803, "paid", False),
        (1, "", 1_802, "sent", False),
        (1, "Landlord", 1_803, "sent", False),
        (2, "", 1_803, "sent", True),
    ],
)
async def test_one_debit_for_a_file_that_it_does_not_name(world, refunds, bank, client, files, name, amount, ended, waits):
    for _ in range(files):
        await refunds.send(600, 601, 602)
    bank.day += timedelta(days=1)
    await bank.brings("053", "500.00", money(50_000 - amount), whole(bank, amount, name))
    assert await refunds.states() == [ended] * 3 * files
    assert await unexplained(client) == ([-amount] if waits else [])
    await bank.again()
    await world.holds()
