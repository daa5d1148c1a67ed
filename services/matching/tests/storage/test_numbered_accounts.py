"""Accounts without an IBAN: set up by their number and bank, and what files call them."""

import bank_samples as samples
import pytest
from bankdays import ahead, book, post_file
from handwork import post
from iso20022 import valid


def numbered(make, tenant, number="123456789", **more):
    bank = {} if "bic" in more else {"clearing": {"system": "USABA", "member_id": "121140399"}}
    fields = {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "holder_name": "Seller Inc", "start_date": "2026-03-01"}
    return {"number": number, **fields, **bank, **more}


@pytest.mark.parametrize(("name", "number"), [("bai2", "123456789"), ("bai2", "000123456789"), ("ofx", "123 456 789")])
async def test_an_account_without_an_iban_is_set_up_by_its_number_and_bank_and_its_files_are_booked(
    world, tenant, make, client_of, name, number
):
    client = await client_of(tenant)
    refused = await post_file(client, samples.ALL[name]())
    assert (refused.status_code, refused.json()["code"]) == (422, "account-unknown")
    answers = [await client.post("/v1/bank-accounts", json=numbered(make, tenant, number)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    held = answers[0].json()
    assert (held["iban"], held["number"], held["bank_id"]) == (None, "".join(number.split()), "USABA:121140399")
    assert answers[1].json() == held
    (statement,) = await book(client, samples.ALL[name]())
    assert (statement["verdict"], statement["iban"], statement["new_payments"]) == ("booked", None, 2)
    assert statement["account"] == held["number"]
    assert (await client.get("/v1/bank-accounts")).json()["items"] == [held]
    (event,) = [m for m in await world.events("CollectionAccountChanged") if m.tenant_id == tenant]
    assert (event.data.iban, event.data.number, event.data.bank_id) == (None, held["number"], "USABA:121140399")
    await world.holds()


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"number": "DE89370400440532013000"}, 422, "number-is-iban"),
        ({"number": "12/34;DROP"}, 422, None),
        ({"clearing": None}, 422, None),
        ({"bic": "BOFAUS3N", "clearing": {"system": "USABA", "member_id": "121140399"}}, 422, None),
        ({"clearing": {"system": "USABA", "member_id": "121140398"}}, 422, None),
        ({"bic": "nobic"}, 422, None),
        ({"bic": "BOFAUS3N"}, 409, "account-is-anothers"),
    ],
)
async def test_an_account_that_is_not_identified_is_refused(tenant, make, client_of, more, status, code):
    client = await client_of(tenant)
    assert (await client.post("/v1/bank-accounts", json=numbered(make, tenant))).status_code == 200
    answer = await client.post("/v1/bank-accounts", json=numbered(make, tenant, **more))
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code


async def test_a_number_of_two_accounts_names_neither(tenant, make, client_of):
    client = await client_of(tenant)
    for number in ("0123456789", "00123456789"):
        assert (await client.post("/v1/bank-accounts", json=numbered(make, tenant, number))).status_code == 200
    assert (await post_file(client, samples.bai2())).json()["code"] == "account-unknown"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({}, {"ClrSysMmbId/{*}ClrSysId/{*}Cd": "USABA", "ClrSysMmbId/{*}MmbId": "121140399"}),
        ({"bic": "BOFAUS3N"}, {"BICFI": "BOFAUS3N"}),
    ],
)
async def test_a_refund_from_an_account_without_an_iban_tells_the_bank_which_account_and_whose(world, tenant, make, client_of, more, named):
    client, second = [await client_of(tenant, subject=person) for person in ("tester", "second")]
    held = (await client.post("/v1/bank-accounts", json=numbered(make, tenant, **more))).json()
    await book(client, samples.bai2())
    payment = (await world.rows(tenant, "SELECT payment_id FROM payment ORDER BY amount_minor"))[0][0]
    payee = {"creditor_name": "Dupont", "creditor_iban": "DE89370400440532013000"}
    await world.match(tenant)
    refund = (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "paid twice", **payee})).json()
    await post(second, f"/v1/refunds/{refund['refund_id']}/decision", {"approve": True})
    sent = await post(client, "/v1/refund-files", {"bank_account_id": held["bank_account_id"], "execution_date": ahead(1)})
    assert sent.status_code == 201, sent.text
    document = valid((await client.get(f"/v1/refund-files/{sent.json()['refund_file_id']}")).content)
    assert document.findtext(".//{*}DbtrAcct/{*}Id/{*}Othr/{*}Id") == "123456789"
    assert {path: document.findtext(f".//{{*}}DbtrAgt/{{*}}FinInstnId/{{*}}{path}") for path in named} == named
    assert document.find(".//{*}DbtrAgt/{*}FinInstnId/{*}Othr") is None
    head, _, rest = samples.ofx().partition("<STMTTRN>")
    debit = (
        "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20260302<TRNAMT>-50.50<FITID>BANK-9<NAME>Dupont<MEMO>" + document.findtext(".//{*}Ustrd").upper()
    )
    await book(client, f"{head}{debit}</STMTTRN>\n</BANKTRANLIST>{rest.partition('</BANKTRANLIST>')[2]}")
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["paid"]
    await world.holds()
