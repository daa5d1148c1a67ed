import asyncio
import hashlib

import pytest
from ciifile import cii, facturx
from shared import documents
from shared.testing.events import published
from ublfile import party, ubl

MEANS = (
    "<cac:PaymentMeans><cbc:PaymentMeansCode>58</cbc:PaymentMeansCode><cbc:PaymentID>RF18 5390 0754 7034</cbc:PaymentID>"
    "<cac:PayeeFinancialAccount><cbc:ID>FR76 3000 6000 0112 3456 7890 189</cbc:ID></cac:PayeeFinancialAccount></cac:PaymentMeans>"
)


async def test_file_is_booked_with_what_it_prints_and_kept(client, runtime, urls):
    data = ubl(payment=MEANS)
    answer = await client.post("/v1/invoices/files", data, source_system="sap")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["customer_number"], body["payable_minor"], body["kind"]) == ("C1", 12000, "invoice")
    assert body["payment_reference"] == "RF18 5390 0754 7034"
    assert body["payment_account"] == "FR7630006000011234567890189"
    digest = hashlib.sha256(data).hexdigest()
    assert body["documents"] == [{"kind": "ubl", "sha256": digest}]
    assert documents.path_of(runtime.settings.documents_dir, client.tenant_id, digest).read_bytes() == data
    [event] = [m for m in await published(urls.owner, "InvoiceIssued") if m.tenant_id == client.tenant_id]
    assert event.data.documents[0].sha256 == digest
    again = await client.post("/v1/invoices/files", data.replace(b"\n", b"\n\n"), source_system="sap")
    assert (again.status_code, again.json()) == (200, body)


@pytest.mark.parametrize(("data", "kind"), [(cii("X-1"), "cii"), (facturx(cii("X-1")), "pdf")])
async def test_cii_and_pdf_are_told_apart_by_content_and_the_original_is_kept(client, runtime, data, kind):
    answer = await client.post("/v1/invoices/files", data, source_system="sap")
    assert answer.status_code == 201, answer.text
    body, digest = answer.json(), hashlib.sha256(data).hexdigest()
    assert (body["customer_number"], body["payable_minor"], body["payment_reference"]) == ("C1", 12000, "RF18539007547034")
    assert (body["order_numbers"], body["payment_account"]) == (["PO-7"], "FR7630006000011234567890189")
    assert body["documents"] == [{"kind": kind, "sha256": digest}]
    assert documents.path_of(runtime.settings.documents_dir, client.tenant_id, digest).read_bytes() == data
    broken = await client.post("/v1/invoices/files", cii("X-2", payable="1.00"))
    assert "BR-CO-16" in {each["code"] for each in broken.json()["errors"]}


async def test_same_invoice_in_another_format_is_the_same(client):
    first = await client.post("/v1/invoices/files", cii("X-3"), source_system="sap")
    again = await client.post("/v1/invoices/files", facturx(cii("X-3")), source_system="sap")
    assert (again.status_code, again.json()["invoice_id"], again.json()["version"]) == (200, first.json()["invoice_id"], 1)


async def test_reference_is_made_where_none_is_printed_and_terms_where_no_date(client):
    terms = "<cac:PaymentTerms><cbc:Note>net</cbc:Note></cac:PaymentTerms>"
    body = (await client.post("/v1/invoices/files", ubl(due="", terms=terms), source_system="sap")).json()
    assert body["payment_reference"].startswith("RF")
    assert body["instalments"] == [{"number": 1, "due_date": "2026-04-04", "amount_minor": 12000}]


async def test_instalments_and_rounding(client):
    due = "<cbc:PaymentDueDate>2026-0{}-01</cbc:PaymentDueDate>"
    part = f"<cac:PaymentTerms><cbc:Amount currencyID='EUR'>{{}}</cbc:Amount>{due}</cac:PaymentTerms>"
    good = ubl(
        terms=part.format("70.00", 5) + part.format("50.05", 4),
        payable="120.05",
        more_totals="<cbc:PayableRoundingAmount currencyID='EUR'>0.05</cbc:PayableRoundingAmount>",
    )
    body = (await client.post("/v1/invoices/files", good)).json()
    assert (body["total_minor"], body["payable_minor"]) == (12005, 12005)
    assert [(each["due_date"], each["amount_minor"]) for each in body["instalments"]] == [("2026-04-01", 5005), ("2026-05-01", 7000)]
    wrong = await client.post("/v1/invoices/files", ubl("U-2", terms=part.format("70.00", 4)))
    assert wrong.json()["errors"][0]["code"] == "ENC-INSTALMENTS"


async def test_credit_note_is_tied_to_its_invoice(client, urls):
    invoice = (await client.post("/v1/invoices/files", ubl("A-1"), source_system="sap")).json()
    note = await client.post("/v1/invoices/files", ubl("CN-1", root="CreditNote", billing="A-1", due=""), source_system="sap")
    assert note.status_code == 201, note.text
    assert note.json()["credited_invoice_id"] == invoice["invoice_id"]
    assert note.json()["references"] == ["A-1"]
    assert [m.data.invoice_number for m in await published(urls.owner, "CreditNoteIssued") if m.tenant_id == client.tenant_id] == ["CN-1"]
    loose = (await client.post("/v1/invoices/files", ubl("CN-2", root="CreditNote", billing="unheard-of", due=""))).json()
    assert (loose["credited_invoice_id"], loose["references"]) == (None, ["unheard-of"])


async def test_negative_invoice_is_a_credit_note(client):
    data = ubl("NEG", net="-100.00", gross="-120.00", payable="-120.00").replace(b">20.00<", b">-20.00<")
    body = (await client.post("/v1/invoices/files", data)).json()
    assert (body["kind"], body["total_minor"], body["tax_minor"], body["payable_minor"]) == ("credit_note", 12000, 2000, 12000)


async def test_seller_who_is_none_of_ours_is_refused_by_name(client):
    answer = await client.post("/v1/invoices/files", ubl(seller=party("Fremde GmbH", vat="DE123456789")))
    assert answer.status_code == 422
    assert answer.json()["code"] == "seller-unknown"
    assert "Fremde GmbH" in answer.json()["detail"]


async def test_buyer_is_found_by_number_then_company_then_made(client, urls):
    await client.put("/v1/customers/sap/C2", {"name": "Other", "vat_id": "FR83404833048"})
    by_number = ubl("B1", buyer=party("X", siren="552100554", number="C2"))
    by_vat = ubl("B2", buyer=party("X", vat="FR 83 404 833 048"))
    assert (await client.post("/v1/invoices/files", by_number, source_system="sap")).json()["customer_number"] == "C2"
    assert (await client.post("/v1/invoices/files", by_vat)).json()["customer_number"] == "C2"
    made = (await client.post("/v1/invoices/files", ubl("B3", buyer=party("New & Co".replace("&", "et"), siren="999999999")))).json()
    customer = (await client.get(f"/v1/customers/{made['customer_id']}")).json()
    assert (customer["status"], customer["name"], customer["customer_number"]) == ("unconfirmed", "New et Co", "0002:999999999")
    same = (await client.post("/v1/invoices/files", ubl("B4", buyer=party("Renamed", siren="999999999")))).json()
    assert same["customer_id"] == made["customer_id"]
    unnamed = [(await client.post("/v1/invoices/files", ubl(n, buyer=party("Somebody")))).json()["customer_id"] for n in ("B5", "B6")]
    assert unnamed[0] == unnamed[1]


async def test_unknown_buyer_is_refused_by_setting_and_ambiguous_always(new_client):
    client = await new_client(unknown_buyer="refuse")
    answer = await client.post("/v1/invoices/files", ubl(buyer=party("Nobody", siren="111111111")))
    assert (answer.status_code, answer.json()["code"]) == (422, "customer-unknown")
    for number in ("D1", "D2"):
        await client.put(f"/v1/customers/sap/{number}", {"name": "Twin", "vat_id": "FR83404833048"})
    answer = await client.post("/v1/invoices/files", ubl(buyer=party("Twin", vat="FR83404833048")))
    assert answer.json()["code"] == "buyer-ambiguous"


@pytest.mark.parametrize(
    ("data", "rule", "xpath"),
    [
        (ubl(payable="119.00"), "BR-CO-16", "/Invoice[1]/cac:LegalMonetaryTotal[1]"),
        (ubl(gross="121.00", payable="121.00"), "BR-CO-15", "/Invoice[1]"),
        (ubl(payable="one"), "XSD", "/Invoice/cac:LegalMonetaryTotal/cbc:PayableAmount"),
        (ubl(payable="120.001", gross="120.001"), "BR-DEC-18", "/Invoice[1]/cac:LegalMonetaryTotal[1]"),
        (ubl(number=""), "BR-02", "/Invoice[1]"),
    ],
)
async def test_unsound_file_names_rule_and_xpath(client, data, rule, xpath):
    answer = await client.post("/v1/invoices/files", data)
    assert answer.status_code == 422
    assert rule in {each["code"] for each in answer.json()["errors"]}
    assert any(each["code"] == rule and each["pointer"].startswith(xpath) for each in answer.json()["errors"]), answer.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7",
        b"<a",
        b"\xff\xfe\x00",
        b"<a>" * 100_000,
        b"<Invoice/>",
        ubl(prolog='<!DOCTYPE Invoice [<!ENTITY x SYSTEM "file:///etc/passwd">]>', number="&x;"),
        ubl(prolog='<!DOCTYPE Invoice [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>', number="&b;"),
    ],
)
async def test_hostile_files_are_refused(client, data):
    answer = await client.post("/v1/invoices/files", data)
    assert answer.status_code == 422, answer.text


async def test_same_file_twenty_times_at_once_is_one_invoice(client, checked):
    answers = await asyncio.gather(*(client.post("/v1/invoices/files", ubl("RACE")) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    await checked()


async def test_changed_file_needs_a_higher_version(client):
    await client.post("/v1/invoices/files", ubl("V"))
    later = ubl("V", due="<cbc:DueDate>2026-05-04</cbc:DueDate>")
    assert (await client.post("/v1/invoices/files", later)).status_code == 409
    changed = await client.post("/v1/invoices/files", later, source_version=2)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
