"""A customer merged, separated and erased, from outside: every service agrees, and every one forgets."""

import pytest
from shared.ids import new_id


@pytest.fixture(scope="module")
def number():
    """Numbers that no other test uses."""
    return new_id().hex[-8:]


def customer(ours, number, name):
    contact = {"role": "billing", "name": name, "email": f"{number.lower()}@debtor.example"}
    answer = ours.invoicing.put(f"/v1/customers/erp/{number}", json={"name": name, "contacts": [contact]})
    assert answer.status_code == 201, answer.text
    return answer.json()["customer_id"]


def bill(ours, number, customer_number, amount):
    body = {
        "entity_id": ours.entity, "source_system": "erp", "source_id": number, "source_version": 1, "invoice_number": number,
        "kind": "invoice", "origin": "issued", "customer_number": customer_number, "issue_date": "2026-03-05", "currency": "EUR",
        "total_minor": amount, "tax_minor": 0, "prepaid_minor": 0, "payable_minor": amount, "due_date": "2026-04-04",
    }  # fmt: skip
    answer = ours.invoicing.post("/v1/invoices", json=body, headers={"idempotency-key": f"e2e-customers-{number}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def owed(ours, customer_id):
    items = ours.matching.get("/v1/balances", params={"customer_id": customer_id}).json()["items"]
    return sum(item["open_minor"] for item in items)


def reported(ours, customer_id):
    answer = ours.reporting.get(f"/v1/customers/{customer_id}")
    return sum(total["open_minor"] for total in answer.json()["ageing"]) if answer.is_success else None


def exposure(ours, customer_id):
    answer = ours.scoring.get(f"/v1/customers/{customer_id}/credit")
    return answer.json()["exposure_minor"] if answer.is_success else None


def told_of(ours, customer_id, *types):
    """The types of a customer's events in the public log, in order of the alphabet: topics arrive there one beside the other."""
    events = ours.partners.get("/v1/events", params={"types": ",".join(types), "limit": 500}).json()["events"]
    return sorted(event["type"] for event in events if event["data"]["customer_id"] == customer_id)


def test_merged_separated_and_refused(ours, number, until):
    one, two = customer(ours, f"A{number}", "Kervella SARL"), customer(ours, f"B{number}", "S.A.R.L. Kervella")
    bill(ours, f"F1-{number}", f"A{number}", 100)
    bill(ours, f"F2-{number}", f"B{number}", 7)
    until(lambda: (owed(ours, one), owed(ours, two)) == (100, 7))
    assert ours.invoicing.post(f"/v1/customers/{one}/merge", json={"into": two}).is_success
    assert bill(ours, f"F3-{number}", f"A{number}", 1_000)["customer_id"] == two  # the old number finds the survivor
    until(lambda: owed(ours, one) == owed(ours, two) == 1_107)
    until(lambda: reported(ours, one) == reported(ours, two) == 1_107)
    until(lambda: exposure(ours, one) == exposure(ours, two) == 1_107)
    assert ours.invoicing.post(f"/v1/customers/{one}/unmerge").is_success
    until(lambda: (owed(ours, one), owed(ours, two)) == (100, 1_007))
    until(lambda: (reported(ours, one), reported(ours, two)) == (100, 1_007))
    until(lambda: (exposure(ours, one), exposure(ours, two)) == (100, 1_007))
    until(lambda: told_of(ours, one, "CustomerMerged", "CustomerUnmerged") == ["CustomerMerged", "CustomerUnmerged"])
    refused = ours.invoicing.post(f"/v1/customers/{one}/erase")
    assert refused.status_code == 409
    assert "owed" in {error["code"] for error in refused.json()["errors"]}


def test_erased_everywhere(ours, number, check, until):
    gone = customer(ours, f"P{number}", "Yvonne Le Gall")
    until(lambda: ours.reporting.get(f"/v1/customers/{gone}").json().get("name") == "Yvonne Le Gall")
    assert ours.invoicing.post(f"/v1/customers/{gone}/erase").is_success
    until(lambda: ours.reporting.get(f"/v1/customers/{gone}").json()["name"] is None)
    assert ours.invoicing.get(f"/v1/customers/{gone}").json()["name"] is None
    told = until(lambda: ours.partners.get("/v1/events", params={"types": "CustomerErased", "limit": 500}).json()["events"])
    assert [event["data"]["customer_id"] for event in told] == [gone]
    assert "Le Gall" not in ours.partners.get("/v1/events", params={"limit": 500}).text
    check()
