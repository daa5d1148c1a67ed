"""What the tests of expected payments share."""

import itertools
from datetime import date

from contracts.customers import CustomerMerged
from contracts.invoices import DiscountTerm
from matching.storage.parties import set_known_ibans
from shared.testing.events import message

_KEYS = itertools.count()
IBAN_OF_C1 = "FR7630004000031234567890143"
TWO_PERCENT = [DiscountTerm(until=date(2026, 3, 9), percent_bp=200)]


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"e{next(_KEYS)}"})


def remittance(make, tenant, total, *lines, **more):
    rows = [
        {"document_number": number, "gross_minor": net + cut, "deduction_minor": cut, "deduction_reason": reason, "net_minor": net}
        for number, net, cut, reason in lines
    ]
    return {"entity_id": str(make.entity_id(tenant)), "currency": "EUR", "total_minor": total, "lines": rows, **more}


def announcement(make, tenant, amount, *numbers, **more):
    """Money of C1 that is announced, for the whole of these items where there is one."""
    lines = [{"item_id": str(make.invoice_id(tenant, number)), "amount_minor": amount // len(numbers)} for number in numbers]
    ids = {"entity_id": str(make.entity_id(tenant)), "customer_id": str(make.customer_id(tenant, "C1"))}
    return {**ids, "kind": "cheque", "amount_minor": amount, "currency": "EUR", "expected_on": "2026-03-02", "lines": lines, **more}


async def known(world, tenant, make):
    """IBAN_OF_C1 is the IBAN of C1."""
    customer = make.customer_id(tenant, "C1")
    async with world.database.transaction(tenant) as conn:
        await set_known_ibans(conn, [(tenant, customer)], [(tenant, customer, IBAN_OF_C1)])


async def expected(client):
    """What is expected, by reference: its status and the payment that met it."""
    found = (await client.get("/v1/expected-payments")).json()["items"]
    return {one["reference"]: (one["status"], one["payment_id"]) for one in found}


def into(make, tenant, one, other):
    ids = {"customer_id": make.customer_id(tenant, one), "into_customer_id": make.customer_id(tenant, other)}
    return message(tenant, CustomerMerged(version=2, source_system="erp", customer_number=one, status="merged", **ids))


async def items(world, tenant):
    rows = await world.rows(
        tenant, "SELECT invoice_number, open_minor, cash_minor, discount_minor, credit_minor FROM open_item ORDER BY invoice_number"
    )
    return {row[0]: tuple(row[1:]) for row in rows}
