"""References by country, deposits, corrections, credit, duplicates, terms, search: what an invoice is seen beside."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from contracts.items import OpenItemChanged, Settled
from invoicing.worker import ROUTES
from shared.ids import new_id
from shared.references import is_valid
from shared.testing.events import context, message, published
from ublfile import ubl


async def events_of(urls, client, *names):
    return [each.data for each in await published(urls.owner, *names) if each.tenant_id == client.tenant_id]


def codes(answer):
    return [each["code"] for each in answer.json()["warnings"]]


# --- references -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("entity", "scheme"),
    [
        ({}, "RF"),
        ({"country": "BE"}, "OGM"),
        ({"country": "FI"}, "VIITE"),
        ({"country": "NO"}, "KID10"),
        ({"country": "NO", "reference_scheme": "KID11"}, "KID11"),
        ({"country": "CH"}, "RF"),  # no QR-IBAN is printed, so no QRR may be
        ({"country": "CH", "reference_scheme": "QRR", "reference_prefix": "123456"}, "QRR"),
        ({"country": "FR", "reference_scheme": "OGM"}, "OGM"),
        ({"country": "BE", "reference_scheme": "RF"}, "RF"),
    ],
)
async def test_a_reference_is_made_by_the_sellers_country(new_client, entity, scheme, checked):
    client = await new_client(**entity)
    made = [(await client.post("/v1/invoices", client.invoice(f"R{n}"))).json()["payment_reference"] for n in range(5)]
    assert len(set(made)) == 5
    assert [reference for reference in made if not is_valid(scheme, reference)] == []
    # a change keeps it
    again = await client.post("/v1/invoices", client.invoice("R1", source_version=2, due_date="2026-04-10"))
    assert again.json()["payment_reference"] == made[1]
    if "reference_prefix" in entity:
        assert all(reference.startswith("123456") for reference in made)
    await checked()


async def test_a_swiss_invoice_with_a_qr_iban_gets_a_qrr(new_client):
    client = await new_client(country="CH")
    answer = await client.post("/v1/invoices", client.invoice(payment_account="CH44 3199 9123 0008 8901 2"))
    assert is_valid("QRR", answer.json()["payment_reference"])


async def test_a_printed_reference_is_kept_and_checked(new_client):
    client = await new_client(country="BE")
    good = await client.post("/v1/invoices", client.invoice("G", payment_reference="+++090/9337/55493+++"))
    assert (good.json()["payment_reference"], codes(good)) == ("+++090/9337/55493+++", [])
    bad = await client.post("/v1/invoices", client.invoice("B", payment_reference="+++090/9337/55494+++"))
    assert (bad.status_code, codes(bad)) == (201, ["reference-check-digits"])
    free = await client.post("/v1/invoices", client.invoice("F", payment_reference="ORDER 12"))
    assert codes(free) == []


async def test_hundreds_of_references_cost_one_statement_more(new_client, database):
    client = await new_client(country="BE")

    async def send(count: int, prefix: str) -> int:
        before = database.statements
        answer = await client.post("/v1/invoices/batch", {"invoices": [client.invoice(f"{prefix}{n}") for n in range(count)]})
        assert len({each["payment_reference"] for each in answer.json()["results"]}) == count
        return database.statements - before

    await send(1, "warm")
    assert await send(3, "small") == await send(300, "large")


async def test_a_prefix_that_its_scheme_has_no_room_for_is_refused(client):
    entity = {"name": "x", "country": "BE", "currency": "EUR", "reference_prefix": "12"}
    answer = await client.put(f"/v1/entities/{new_id()}", entity)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")


# --- duplicates, order numbers, terms ---------------------------------------------------------------------------------
async def test_the_same_bill_under_another_id_is_flagged_or_refused(new_client):
    for setting in ("warn", "refuse"):
        client = await new_client(on_duplicate=setting)
        first = await client.post("/v1/invoices", client.invoice("F-1"))
        assert codes(first) == []
        twin = await client.post("/v1/invoices", client.invoice("F-1", source_id="other"))
        if setting == "refuse":
            assert (twin.status_code, twin.json()["code"]) == (409, "possible-duplicate")
            assert twin.json()["errors"][0]["pointer"] == "/invoice_number"
            continue
        assert (twin.status_code, codes(twin)) == (201, ["possible-duplicate"])
        assert "sap F-1" in twin.json()["warnings"][0]["detail"]
        # it stays with the invoice, and is told again
        kept = await client.get(f"/v1/invoices/{twin.json()['invoice_id']}")
        assert codes(kept) == ["possible-duplicate"]
        for other in ({"total_minor": 13000, "payable_minor": 13000}, {"issue_date": "2026-03-06"}, {"customer_number": "C2"}):
            assert codes(await client.post("/v1/invoices", client.invoice("F-1", source_id=str(other), **other))) == []
        both = [client.invoice("F-9", source_id="a"), client.invoice("F-9", source_id="b")]
        results = (await client.post("/v1/invoices/batch", {"invoices": both})).json()["results"]
        assert [bool(each.get("warnings")) for each in results] == [False, True]


async def test_another_tenant_bills_no_duplicate(new_client):
    one, two = await new_client(), await new_client()
    await one.post("/v1/invoices", one.invoice("F-1"))
    assert codes(await two.post("/v1/invoices", two.invoice("F-1", source_id="x"))) == []


@pytest.mark.parametrize(("setting", "status"), [("warn", 201), ("refuse", 422)])
async def test_an_order_number_is_missed_where_the_customer_demands_one(new_client, setting, status):
    client = await new_client(on_missing_order=setting)
    await client.put("/v1/customers/sap/C1", {"name": "Kervella", "requires_order_number": True})
    answer = await client.post("/v1/invoices", client.invoice())
    assert answer.status_code == status
    if status == 201:
        assert codes(answer) == ["order-number-missing"]
    else:
        assert (answer.json()["code"], answer.json()["errors"][0]["pointer"]) == ("order-number-missing", "/order_numbers")
    assert codes(await client.post("/v1/invoices", client.invoice("F-2", order_numbers=["PO-1"]))) == []
    credit = await client.post("/v1/invoices", client.invoice("CN", kind="credit_note"))
    assert (credit.status_code, codes(credit)) == (201, [])


async def test_a_term_beyond_the_law_is_told_with_its_rule(client):
    answer = await client.post("/v1/invoices", client.invoice(due_date="2026-06-15"))
    assert (answer.status_code, codes(answer)) == (201, ["term-exceeds-law"])
    assert "L441-10" in answer.json()["warnings"][0]["detail"]


# --- deposits, corrections, credit ------------------------------------------------------------------------------------
async def test_a_final_invoice_deducts_its_deposits(client, database):
    deposit = (await client.post("/v1/invoices", client.invoice("D-1", kind="deposit", total_minor=3000, payable_minor=3000))).json()
    final = client.invoice("F-1", prepaid_minor=3000, payable_minor=9000, deposit_invoice_ids=[deposit["invoice_id"]])
    answer = await client.post("/v1/invoices", final)
    assert (answer.status_code, codes(answer), answer.json()["payable_minor"]) == (201, [], 9000)
    more = client.invoice("F-2", prepaid_minor=3001, payable_minor=8999, deposit_invoice_ids=[deposit["invoice_id"]])
    assert codes(await client.post("/v1/invoices", more)) == ["prepaid-above-deposits"]
    item = OpenItemChanged(
        version=1,
        item_id=UUID(deposit["invoice_id"]),
        kind="deposit",
        customer_id=UUID(deposit["customer_id"]),
        source_system="sap",
        invoice_number="D-1",
        currency="EUR",
        issue_date=date(2026, 3, 5),
        original_minor=3000,
        open_minor=1000,
        disputed_minor=0,
        settled=Settled(cash_minor=2000),
        instalments=[],
        status="open",
    )
    async with database.transaction(client.tenant_id) as conn:
        await ROUTES[OpenItemChanged](conn, [message(client.tenant_id, item)], context(datetime(2026, 4, 1, tzinfo=UTC)))
    unpaid = client.invoice("F-3", prepaid_minor=3000, payable_minor=9000, deposit_invoice_ids=[deposit["invoice_id"]])
    assert codes(await client.post("/v1/invoices", unpaid)) == ["deposit-unpaid"]


async def test_a_deposit_that_is_none_is_refused_and_an_unknown_one_is_told(client):
    other = (await client.post("/v1/invoices", client.invoice("F-1"))).json()["invoice_id"]
    answer = await client.post("/v1/invoices", client.invoice("F-2", deposit_invoice_ids=[other]))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/deposit_invoice_ids/0")
    unknown = await client.post("/v1/invoices", client.invoice("F-3", deposit_invoice_ids=[str(new_id())]))
    assert (unknown.status_code, codes(unknown)) == (201, ["deposit-unknown"])


async def test_a_corrective_invoice_takes_the_place_of_the_corrected(client, urls, checked):
    first = (await client.post("/v1/invoices", client.invoice("F-1"))).json()
    correct = client.invoice("F-1C", total_minor=11000, payable_minor=11000, replaces_invoice_id=first["invoice_id"])
    answer = await client.post("/v1/invoices", correct)
    assert (answer.status_code, answer.json()["replaces_invoice_id"]) == (201, first["invoice_id"])
    old = (await client.get(f"/v1/invoices/{first['invoice_id']}")).json()
    assert (old["status"], old["version"], old["cancel_reason"]) == ("cancelled", 2, "replaced by F-1C")
    [cancelled] = await events_of(urls, client, "InvoiceCancelled")
    assert (str(cancelled.invoice_id), cancelled.version) == (first["invoice_id"], 2)
    # the same again, and a change of the corrective one, cancel nothing more
    assert (await client.post("/v1/invoices", correct)).status_code == 200
    changed = await client.post("/v1/invoices", {**correct, "source_version": 2, "due_date": "2026-04-10"})
    assert (changed.status_code, changed.json()["replaces_invoice_id"]) == (200, first["invoice_id"])
    assert len(await events_of(urls, client, "InvoiceCancelled")) == 1
    await checked()


async def test_what_cannot_be_replaced_is_refused(client):
    missing = await client.post("/v1/invoices", client.invoice("F-2", replaces_invoice_id=str(new_id())))
    assert (missing.status_code, missing.json()["code"]) == (422, "replaced-unknown")
    note = (await client.post("/v1/invoices", client.invoice("CN", kind="credit_note"))).json()["invoice_id"]
    answer = await client.post("/v1/invoices", client.invoice("F-3", replaces_invoice_id=note))
    assert (answer.status_code, answer.json()["code"]) == (422, "replaced-mismatch")


async def test_a_corrected_invoice_file_names_what_it_replaces_by_number(client, urls):
    first = (await client.post("/v1/invoices", client.invoice("F-1"))).json()
    file = ubl("F-1C", billing="F-1").replace(b"TypeCode>380<", b"TypeCode>384<")
    answer = await client.post("/v1/invoices/files", file)
    assert answer.status_code == 201, answer.text
    assert answer.json()["replaces_invoice_id"] == first["invoice_id"]
    assert len(await events_of(urls, client, "InvoiceCancelled")) == 1


async def test_credit_whole_in_part_and_never_beyond(client, urls):
    invoice = (await client.post("/v1/invoices", client.invoice())).json()
    path = f"/v1/invoices/{invoice['invoice_id']}/credit"
    part = await client.post(path, {"invoice_number": "AV-1", "issue_date": "2026-04-01", "total_minor": 2400, "tax_minor": 400})
    assert part.status_code == 201, part.text
    assert (part.json()["kind"], part.json()["credited_invoice_id"], part.json()["payable_minor"]) == (
        "credit_note",
        invoice["invoice_id"],
        2400,
    )
    again = await client.post(path, {"invoice_number": "AV-1", "issue_date": "2026-04-01", "total_minor": 2400, "tax_minor": 400})
    assert (again.status_code, again.json()["version"]) == (200, 1)
    whole = await client.post(path, {"invoice_number": "AV-2", "issue_date": "2026-04-01"})
    assert (whole.status_code, whole.json()["code"]) == (409, "more-than-billed")
    rest = await client.post(path, {"invoice_number": "AV-3", "issue_date": "2026-04-01", "total_minor": 9600, "tax_minor": 1600})
    assert rest.status_code == 201
    assert [each.total_minor for each in await events_of(urls, client, "CreditNoteIssued")] == [2400, 9600]
    note = await client.post(f"/v1/invoices/{rest.json()['invoice_id']}/credit", {"invoice_number": "AV-4", "issue_date": "2026-04-01"})
    assert note.json()["code"] == "credits-a-credit-note"
    assert (await client.post(f"/v1/invoices/{new_id()}/credit", {"invoice_number": "A", "issue_date": "2026-04-01"})).status_code == 404


# --- versions and search ----------------------------------------------------------------------------------------------
async def test_cancel_only_the_version_that_was_seen(client):
    invoice = (await client.post("/v1/invoices", client.invoice())).json()
    path = f"/v1/invoices/{invoice['invoice_id']}/cancel"
    headers = {**client.headers, "idempotency-key": new_id().hex, "if-match": '"7"'}
    stale = await client.http.post(path, json={"reason": "x"}, headers=headers)
    assert (stale.status_code, stale.headers["etag"]) == (412, '"1"')
    headers |= {"idempotency-key": new_id().hex, "if-match": '"1"'}
    assert (await client.http.post(path, json={"reason": "x"}, headers=headers)).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"order_number": "PO-7"}, {"F-1"}),
        ({"order_number": "PO"}, set()),
        ({"reference": "CONTRACT-9"}, {"F-2"}),
        ({"reference": "RF18539007547034"}, {"F-1"}),
        ({"customer_number": "C1"}, {"F-1", "F-2", "CN"}),
        ({"customer_number": "C1", "kind": "credit_note"}, {"CN"}),
        ({"source_system": "sap", "source_id": "F-2"}, {"F-2"}),
        ({"invoice_number": "F-1", "status": "cancelled"}, set()),
    ],
)
async def test_search_by_the_sources_own_numbers(new_client, query, found):
    client = await new_client()
    await client.post("/v1/invoices", client.invoice("F-1", order_numbers=["PO-7", "PO-8"], payment_reference="RF18539007547034"))
    await client.post("/v1/invoices", client.invoice("F-2", references=["CONTRACT-9"]))
    await client.post("/v1/invoices", client.invoice("CN", kind="credit_note"))
    page = (await client.get("/v1/invoices", **query)).json()
    assert {each["invoice_number"] for each in page["items"]} == found
