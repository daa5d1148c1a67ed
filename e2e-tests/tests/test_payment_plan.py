"""A customer pays by instalments, from outside: the plan is agreed over HTTP, the money comes as a bank file, everybody hears of it."""

import time
from datetime import timedelta

import pytest
from sandbox import camt
from shared.clock import machine_now
from shared.days import business_day
from shared.ids import new_id

ACCOUNT = camt.Account(iban="FR7630006000011234567890189", currency="EUR", holder="Encours Demo SAS", bic="AGRIFRPP")
PAYER = "DE02120300000000202051"  # a German bank's published example


@pytest.fixture(scope="module")
def number():
    """Numbers that no other test uses."""
    return new_id().hex[-8:]


@pytest.fixture(scope="module")
def customer(ours, number):
    """One who owes two invoices, of 500.00 and 400.00, and whose IBAN is known."""
    body = {"name": "Instalment SARL", "known_ibans": [PAYER]}
    answer = ours.invoicing.put(f"/v1/customers/erp/P{number}", json=body)
    assert answer.status_code == 201, answer.text
    for letter, amount in (("A", 50_000), ("B", 40_000)):
        body = {
            "entity_id": ours.entity, "source_system": "erp", "source_id": f"{letter}{number}", "source_version": 1,
            "invoice_number": f"{letter}{number}", "kind": "invoice", "origin": "issued", "customer_number": f"P{number}",
            "issue_date": "2026-03-05", "currency": "EUR", "total_minor": amount, "tax_minor": 0, "prepaid_minor": 0,
            "payable_minor": amount, "due_date": "2026-04-04",
        }  # fmt: skip
        made = ours.invoicing.post("/v1/invoices", json=body, headers={"idempotency-key": f"e2e-plan-{letter}{number}"})
        assert made.status_code == 201, made.text
    return answer.json()["customer_id"]


def pays(ours, number, *amounts):
    today = business_day(machine_now())
    entries = [
        camt.Entry(
            reference=f"PLAN-{number}-{amount}-{at}",
            transactions=(
                camt.Transaction(
                    reference=f"PLAN-{number}-{amount}-{at}", amount_minor=amount, booking_date=today, value_date=today,
                    debtor_name="Instalment SARL", debtor_iban=PAYER, credited_iban=ACCOUNT.iban, end_to_end_id="NOTPROVIDED",
                ),
            ),
        )
        for at, amount in enumerate(amounts)
    ]  # fmt: skip
    message_id = f"PLAN-{number}-{sum(amounts)}"
    file = camt.notification(ACCOUNT, message_id=message_id, created=machine_now(), entries=entries)
    headers = {"content-type": "application/xml", "idempotency-key": message_id}
    answer = ours.matching.post("/v1/bank-files", content=file, headers=headers)
    assert answer.is_success, answer.text


def plan_of(ours, plan_id):
    answer = ours.dunning.get(f"/v1/payment-plans/{plan_id}")
    assert answer.is_success, answer.text
    return answer.json()


def test_a_plan_is_agreed_met_by_its_instalments_and_completed(ours, number, customer, until):
    today = business_day(machine_now())
    body = {
        "customer_id": customer,
        "currency": "EUR",
        "grace_days": 2,
        "items": [{"invoice_number": f"A{number}"}, {"invoice_number": f"B{number}"}],
        "instalments": [{"due_on": (today + timedelta(days=30 * n)).isoformat(), "amount_minor": 30_000} for n in range(3)],
    }

    def agree():
        return ours.dunning.post("/v1/payment-plans", json=body, headers={"idempotency-key": f"e2e-plan-{number}-{time.monotonic_ns()}"})

    made = until(lambda: (answer := agree()).status_code == 201 and answer).json()  # once dunning has heard of both invoices
    plan_id = made["payment_plan_id"]
    assert agree().json()["code"] == "already-in-a-plan"

    def expected():
        listed = ours.matching.get("/v1/expected-payments", params={"kind": "plan_instalment", "customer_id": customer}).json()["items"]
        return sorted(one["amount_minor"] for one in listed if one["payment_plan_id"] == plan_id and one["status"] == "waiting")

    until(lambda: expected() == [30_000, 60_000, 90_000])
    pays(ours, number, 30_000)
    until(lambda: [one["open_minor"] for one in plan_of(ours, plan_id)["instalments"]] == [0, 30_000, 30_000])
    assert [one["left_minor"] for one in plan_of(ours, plan_id)["items"]] == [20_000, 40_000]
    pays(ours, number, 60_000)
    until(lambda: plan_of(ours, plan_id)["status"] == "completed")

    def told():
        found = ours.partners.get("/v1/events", params={"types": "PaymentPlanAgreed,PaymentPlanCompleted", "limit": 500}).json()["events"]
        return [one["type"] for one in found if one["data"]["payment_plan_id"] == plan_id]

    until(lambda: "PaymentPlanCompleted" in told())
    assert (told()[0], told()[-1], told().count("PaymentPlanCompleted")) == ("PaymentPlanAgreed", "PaymentPlanCompleted", 1)
    shown = until(lambda: ours.reporting.get(f"/v1/customers/{customer}").json().get("payment_plans"))
    until(lambda: ours.reporting.get(f"/v1/customers/{customer}").json()["payment_plans"][0]["status"] == "completed")
    assert shown[0]["payment_plan_id"] == plan_id
    balances = ours.matching.get("/v1/balances", params={"customer_id": customer}).json()["items"]
    assert [one["open_minor"] + one["unapplied_minor"] for one in balances] == [0]


def test_what_always_holds_does(check):
    check()
