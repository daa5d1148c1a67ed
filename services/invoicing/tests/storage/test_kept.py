from datetime import UTC, date, datetime
from random import Random
from uuid import UUID

import pytest
from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged
from contracts.items import InvoicePaid, InvoiceReopened, OpenItemChanged, Settled
from invoicing.worker import ROUTES
from shared.db import fetch
from shared.ids import new_id
from shared.testing.events import context, message

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
ITEM, CUSTOMER = UUID(int=1), UUID(int=2)


def item(cls, version: int, open_minor: int, status: str = "open", kind: str = "invoice", item_id: UUID = ITEM):
    return cls(
        version=version,
        item_id=item_id,
        kind=kind,
        customer_id=CUSTOMER,
        source_system="sap",
        invoice_number="F-1",
        currency="EUR",
        issue_date=date(2026, 3, 5),
        original_minor=12000,
        open_minor=open_minor,
        disputed_minor=0,
        settled=Settled(cash_minor=12000 - open_minor),
        instalments=[],
        status=status,
    )


def hold(cls, version: int, *, active: bool):
    return cls(
        version=version,
        customer_id=CUSTOMER,
        active=active,
        reason="over_limit",
        exposure_minor=9,
        limit_minor=5,
        currency="EUR",
        decided_at=NOW,
    )


def terms(version: int, days: int):
    return CreditTermsChanged(
        version=version,
        customer_id=CUSTOMER,
        limit_minor=5,
        currency="EUR",
        payment_terms_days=days,
        down_payment_bp=0,
        reason="scored",
    )


HISTORY = [
    item(OpenItemChanged, 1, 12000),
    item(OpenItemChanged, 2, 7000),
    item(InvoicePaid, 3, 0, "paid"),
    item(OpenItemChanged, 3, 0, "paid"),
    item(InvoiceReopened, 4, 5000),
    item(OpenItemChanged, 1, 300, kind="late_charge", item_id=UUID(int=9)),
    hold(CreditHoldPlaced, 1, active=True),
    hold(CreditHoldReleased, 2, active=False),
    hold(CreditHoldPlaced, 3, active=True),
    terms(1, 30),
    terms(2, 14),
]


async def kept(database, tenant_id):
    async with database.transaction(tenant_id) as conn:
        return [
            [tuple(row)[1:] for row in await fetch(conn, f"SELECT * FROM {table} ORDER BY 1, 2")]  # noqa: S608 - table names are ours
            for table in ("invoice_balance", "credit_hold", "credit_terms")
        ]


async def deliver(database, messages):
    """Batches of one topic each, in the order given, as the consumer loop makes them."""
    while messages:
        event = type(messages[0].data)
        batch = []
        while messages and type(messages[0].data) is event:
            batch.append(messages.pop(0))
        async with database.transaction(*{each.tenant_id for each in batch}) as conn:
            await ROUTES[event](conn, batch, context(NOW))


@pytest.mark.parametrize("seed", range(30))
async def test_what_is_kept_is_the_same_for_every_order_and_repetition(database, seed):
    random = Random(seed)
    one, two = new_id(), new_id()
    history = [message(tenant, data) for tenant in (one, two) for data in HISTORY]
    shuffled = history + random.choices(history, k=seed % 7)
    random.shuffle(shuffled)
    await deliver(database, shuffled)
    expected = await kept(database, one)
    assert expected == await kept(database, two)
    [[balance], [held], [granted]] = expected
    assert balance[1:5] == (4, 12000, 5000, 0)
    assert held[1:3] == (3, True)
    assert granted[4] == 14
