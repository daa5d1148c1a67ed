"""The way of an invoice and its payment, from outside: files and HTTP in, HTTP and events out."""

import os
import signal
import time
from uuid import UUID

import pytest
from onemachine.stack import SERVICES


def post_xml(client, path, file, key):
    headers = {"content-type": "application/xml", "idempotency-key": key}
    answer = client.post(path, content=file.read_bytes(), headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def events(client, *names):
    answer = client.get("/v1/events", params={"types": ",".join(names), "limit": 500})
    assert answer.is_success, answer.text
    return answer.json()["events"]


TOLD = ("InvoiceIssued", "PaymentReceived", "PaymentMatched", "OpenItemChanged", "InvoicePaid")


@pytest.fixture(scope="module")
def paid(ours, until):
    """An invoice by UBL, its payment by camt.053, a subscriber; everything has arrived."""
    hook = {"url": f"{ours.sandbox.base_url}/receiver/e2e".replace("//receiver", "/receiver"), "events": ["InvoicePaid"]}
    made = ours.partners.post("/v1/subscriptions", json=hook, headers={"idempotency-key": "e2e-1"})
    assert made.status_code == 201, made.text
    invoice = post_xml(ours.invoicing, "/v1/invoices/files?source_system=erp", ours.folder / "invoice.xml", "e2e-2")
    post_xml(ours.matching, "/v1/bank-files", ours.folder / "statement.xml", "e2e-3")
    until(lambda: {event["type"] for event in events(ours.partners, *TOLD)} == set(TOLD))  # topics arrive one beside the other
    return invoice


def test_the_invoice_is_paid_in_full_by_its_reference(ours, paid):
    item = ours.matching.get("/v1/open-items", params={"invoice_number": "INV-2026-0001"}).json()["items"][0]
    assert (item["open_minor"], item["status"]) == (0, "paid")
    payment = ours.matching.get("/v1/payments").json()["items"][0]
    assert (payment["status"], payment["unapplied_minor"]) == ("matched", 0)


def test_the_public_log_tells_it_once_and_in_order_of_version(ours, paid, until):
    def versions():
        changes = [event["data"] for event in events(ours.partners, "OpenItemChanged")]
        return [item["version"] for item in changes if item["item_id"] == paid["invoice_id"]]

    until(lambda: len(versions()) > 1)  # other tests' items are in the log, too
    assert versions() == [1, 2]  # opened, paid
    told = events(ours.partners, *TOLD)
    assert [event["type"] for event in told].count("InvoicePaid") == 1
    assert len({(event["type"], event["id"]) for event in told}) == len(told)


def test_the_subscriber_got_a_signed_webhook(ours, paid, until):
    until(lambda: "InvoicePaid" in ours.sandbox.get("/receiver/e2e").text)


def test_invoicing_and_reporting_know_of_it(ours, paid, until):
    until(lambda: ours.invoicing.get(f"/v1/invoices/{paid['invoice_id']}").json().get("open_minor") == 0)
    until(lambda: ours.reporting.get("/v1/reports/money").is_success)


def test_the_same_files_again_change_nothing(ours, paid):
    before = len(events(ours.partners, "PaymentReceived"))
    post_xml(ours.invoicing, "/v1/invoices/files?source_system=erp", ours.folder / "invoice.xml", "e2e-again-1")
    post_xml(ours.matching, "/v1/bank-files", ours.folder / "statement.xml", "e2e-again-2")
    time.sleep(2)
    assert len(events(ours.partners, "PaymentReceived")) == before
    assert len(ours.matching.get("/v1/payments").json()["items"]) == 1


def test_another_tenant_sees_nothing(theirs, paid):
    assert theirs.invoicing.get(f"/v1/invoices/{paid['invoice_id']}").status_code == 404
    assert theirs.matching.get("/v1/payments").json()["items"] == []
    assert theirs.partners.get("/v1/events").json()["events"] == []


def test_without_a_token_there_is_nothing_to_see(ours):
    for name in SERVICES:
        answer = getattr(ours, name).get("/v1/events", headers={"authorization": ""})
        assert answer.status_code in (401, 404), (name, answer.text)


@pytest.mark.parametrize("body", [b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b'"\\ud800"', b"[" * 100_000])
def test_no_body_gives_a_500(ours, body):
    for client, path in ((ours.invoicing, "/v1/invoices"), (ours.matching, "/v1/payments"), (ours.dunning, "/v1/promises")):
        answer = client.post(path, content=body, headers={"content-type": "application/json", "idempotency-key": "e2e-bad"})
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_hostile_xml_is_refused_by_name(ours):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Invoice>&b;</Invoice>'
    for client, path in ((ours.invoicing, "/v1/invoices/files?source_system=erp"), (ours.matching, "/v1/bank-files")):
        answer = client.post(path, content=bomb, headers={"content-type": "application/xml", "idempotency-key": "e2e-bomb"})
        assert 400 <= answer.status_code < 500, answer.text


def test_everything_survives_kill_9_of_everything(ours, stack, paid, check):
    for status in stack.status():
        if status.process.pid:
            os.kill(status.process.pid, signal.SIGKILL)
    stack.up()
    assert ours.matching.get("/v1/payments").json()["items"][0]["status"] == "matched"
    assert len(events(ours.partners, "InvoicePaid")) == 1
    check()


def test_ids_are_functions_of_what_they_name(paid):
    assert UUID(paid["invoice_id"]).version == 5
