from contextlib import suppress
from random import Random

import pytest
from invoicing import statusfiles
from invoicing.handlers.refusals import Refusal
from statusfile import cdar, response


@pytest.fixture
async def invoice(client):
    return (await client.post("/v1/invoices", client.invoice())).json()


async def test_a_cdar_message_finds_its_invoice(client, invoice):
    answer = await client.post("/v1/statuses", cdar())
    assert answer.status_code == 200, answer.text
    [result] = answer.json()["results"]
    entry = result["entry"]
    assert (entry["invoice_id"], entry["source"], entry["status"]) == (invoice["invoice_id"], "cdar", 207)
    assert entry["at"] == "2026-04-01T12:00:00+02:00"  # French legal time
    assert (entry["reasons"], entry["note"]) == ([{"code": "PU_ERR", "action": "CNP"}], "unit price")
    assert entry["amounts"] == [{"kind": "MNATTC", "amount_minor": 500, "tax_rate_bp": 2000}]
    again = await client.post("/v1/statuses", cdar())
    assert again.json()["results"][0]["created"] is False


@pytest.mark.parametrize(("code", "status"), [("IP", 204), ("AP", 205), ("UQ", 208), ("RE", 210), ("PD", 211)])
async def test_a_peppol_response_is_mapped_where_that_is_certain(client, invoice, code, status):
    answer = await client.post("/v1/statuses", response(code=code))
    assert answer.status_code == 200, answer.text
    entry = answer.json()["results"][0]["entry"]
    assert (entry["status"], entry["source"], entry["reasons"]) == (status, "peppol", [{"code": "DEL", "action": "CNP"}])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (cdar(number="F-2"), "invoice-unknown"),
        (cdar(issued="20260306"), "invoice-unknown"),
        (cdar(seller="552100554"), "invoice-unknown"),
        (cdar(status="214"), "status-unknown"),
        (cdar(status="\N{SUPERSCRIPT TWO}07"), "status-unknown"),
        (cdar(at="2026-04-01"), "date-malformed"),
        (cdar(at="20269999999999"), "date-malformed"),
        (cdar(currency="USD"), "currency-differs"),
        (cdar(currency="QQQ"), "amount-refused"),
        (cdar(amount="5.001"), "amount-refused"),
        (cdar(amount="1e99999"), "amount-refused"),
        (cdar(amount="NaN"), "amount-refused"),
        (cdar(amount="five"), "amount-refused"),
        (cdar(message_id=""), "field-missing"),
        (cdar(message_id="x" * 300), "text-refused"),
        (response(code="CA"), "status-unmapped"),
        (response(number="F-9"), "invoice-unknown"),
        (b"<Invoice/>", "message-unknown"),
        (b"%PDF-1.7", "message-unreadable"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "message-unreadable"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(client, invoice, body, code):
    answer = await client.post("/v1/statuses", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_number_that_two_sellers_use_is_told_apart_by_the_seller(client):
    second = "0fe3ab8c-0000-5000-8000-000000000001"
    entity = {"name": "Morvan Nord", "country": "FR", "currency": "EUR", "company_ids": [{"scheme": "0002", "value": "732829320"}]}
    assert (await client.put(f"/v1/entities/{second}", entity)).status_code == 200
    await client.post("/v1/invoices", client.invoice())
    other = (await client.post("/v1/invoices", client.invoice(entity_id=second))).json()
    found = (await client.post("/v1/statuses", cdar(seller="732 829 320"))).json()["results"][0]
    assert found["entry"]["invoice_id"] == other["invoice_id"]
    assert (await client.post("/v1/statuses", response())).json()["code"] == "invoice-ambiguous"


def test_the_published_messages_are_read(shared_data):
    folder = shared_data / "invoices"
    found = {path.name: statusfiles.read(path.read_bytes()) for path in sorted((folder / "phive-france-cdar" / "cdar").glob("*.xml"))}
    assert len(found) >= 9
    for name, meant in found.items():
        [(number, issued, seller, said)] = meant
        assert str(said.status) in name
        assert name.split("_")[1] == number
        assert (issued.year, issued.month) == (2025, 7)
        assert seller == ("0002:100000009",)
    paid = found["UC1_F202500003_07-CDV-212_Encaissee.xml"][0].said
    assert [(each.kind, each.amount_minor, each.tax_rate_bp) for each in paid.amounts] == [("MEN", 1200000, 2000)]
    responses = [statusfiles.read(path.read_bytes()) for path in sorted(folder.rglob("T111-*.xml"))]
    assert sorted(meant[0].said.status for meant in responses) == [204, 205, 205, 208, 208, 210, 210, 210, 211]


@pytest.mark.parametrize("make", [cdar, response])
def test_mutated_messages_are_read_or_refused(make):
    chance = Random(11)
    whole = make()
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body))
            body[at : at + chance.randint(0, 8)] = bytes(chance.choices(b"<>/&;\"' 019azAZ\x00\xff", k=chance.randint(0, 4)))
        with suppress(Refusal):  # and nothing else
            assert statusfiles.read(bytes(body))
