"""A command whose transaction the database ends, as it does one of two that wait for each other, is tried again, whatever it writes."""

import asyncio

import asyncpg
import pytest
from shared.testing.waiting import eventually

OURS = "FR7630006000011234567890189"
VIRTUAL = ["FR7630004000031234567890143", "DE89370400440532013000"]
WAITS = "wait_event_type = 'Lock' AND datname = current_database() AND query LIKE 'INSERT INTO audit %'"


@pytest.fixture
async def commands(world, tenant, make, client, camtfile):
    """By name: a request that writes something that is not there yet."""
    account = {"bank_account_id": str((await world.account(tenant, OURS)).bank_account_id)}
    pool = f"/v1/bank-accounts/{OURS}/virtual-ibans/pool"
    await client.post(pool, json={"ibans": VIRTUAL})
    assigned = account | {"holder_name": "Vendeur SA", "customer_id": str(make.customer_id(tenant, "C1"))}
    virtual = (await client.post("/v1/virtual-ibans", json=assigned, headers={"idempotency-key": "a"})).json()["virtual_iban_id"]
    entity = str(make.entity_id(tenant))
    body = {"entity_id": entity, "currency": "EUR", "holder_name": "Vendeur SAS", "start_date": "2026-01-01"}
    rate = {"currency": "USD", "first_day": "2026-03-01", "rate": "0.92", "source": "ecb"}
    file = camtfile.statement(OURS, "0.00", "7.00", camtfile.entry("7.00", ref="B1"))
    return {
        "account": ("PUT", f"/v1/bank-accounts/{OURS}", {"json": body}),
        "pool": ("POST", pool, {"json": {"ibans": ["GB33BUKB20201555555555"]}}),
        "assignment": ("POST", "/v1/virtual-ibans", {"json": assigned, "headers": {"idempotency-key": "b"}}),
        "release": ("POST", f"/v1/virtual-ibans/{virtual}/release", {}),
        "instruction": (
            "POST",
            "/v1/payment-instructions",
            {"json": account | {"source_system": "erp", "invoice_number": "FA-1", "customer_number": "C1"}},
        ),
        "file": ("POST", "/v1/bank-files", {"content": file, "headers": {"content-type": "application/xml"}}),
        "chart": ("PUT", f"/v1/ledger-accounts/{entity}", {"json": {"accounts": {"withheld": {"number": "4091", "label": "RG"}}}}),
        "rates": ("PUT", f"/v1/ledger-rates/{entity}", {"json": {"rates": [rate]}}),
        "limit": ("PUT", f"/v1/hand-work-limits/{entity}/EUR", {"json": {"limit_minor": 100}}),
        "policy": ("PUT", "/v1/matching-policy", {"json": {"threshold": 0.99}}),
        "imputation": ("PUT", f"/v1/imputation-settings/{entity}", {"json": {"after_days": 30}}),
    }


@pytest.mark.parametrize(
    "name", ["account", "pool", "assignment", "release", "instruction", "file", "chart", "rates", "limit", "policy", "imputation"]
)
async def test_a_command_that_the_database_ended_is_tried_again(world, tenant, client, commands, name):
    method, path, body = commands[name]

    async def ended():
        return await world.rows(tenant, f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {WAITS}")  # noqa: S608 - ours

    owner = await asyncpg.connect(world.urls.owner)
    try:
        holding = owner.transaction()
        await holding.start()
        await owner.execute("LOCK TABLE audit IN EXCLUSIVE MODE")  # every command writes there
        sending = asyncio.create_task(client.request(method, path, **body))
        await eventually(ended, seconds=10, what="the command")
        await holding.rollback()
        answer = await sending
    finally:
        await owner.close()
    assert answer.status_code in {200, 201}, answer.text
    await world.holds()
