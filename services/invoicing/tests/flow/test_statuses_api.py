import asyncio
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest
from contracts.dunning import DisputeOpened, DisputeResolved
from contracts.items import InvoicePaid, InvoiceReopened, Settled
from invoicing.worker import ROUTES
from shared.ids import new_id
from shared.testing.events import context, message, published

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def status(code, *, message_id=None, at="2026-04-01T10:00:00+02:00", **fields):
    return {"message_id": message_id or f"m{code}", "status": code, "at": at, **fields}


async def told(urls, client):
    return [each.data for each in await published(urls.owner, "InvoiceStatusChanged") if each.tenant_id == client.tenant_id]


async def tell(database, client, *events):
    async with database.transaction(client.tenant_id) as conn:
        await ROUTES[type(events[0])](conn, [message(client.tenant_id, each) for each in events], context(NOW))


@pytest.fixture
async def invoice(client):
    answer = await client.post("/v1/invoices", client.invoice())
    return answer.json()


def path(invoice):
    return f"/v1/invoices/{invoice['invoice_id']}/statuses"


async def test_a_status_is_logged_and_published(client, invoice, urls):
    said = status(
        207, reasons=[{"code": "TX_TVA_ERR", "action": "NIN"}], amounts=[{"kind": "MNATTC", "amount_minor": 500}], note="rate of 10 %"
    )
    answer = await client.post(path(invoice), said)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["status"], body["origin"], body["version"], body["entry"]["name"]) == (207, "outside", 1, "En litige")
    [event] = await told(urls, client)
    assert (event.status, event.outside.reasons[0].action, event.outside.amounts[0].amount_minor, event.ours) == (207, "NIN", 500, None)
    again = await client.post(path(invoice), said)
    assert (again.status_code, again.json()["created"], again.json()["version"]) == (200, False, 1)
    other = await client.post(path(invoice), {**said, "status": 205})
    assert (other.status_code, other.json()["code"]) == (409, "message-id-reused")
    assert len(await told(urls, client)) == 1
    log = (await client.get(path(invoice))).json()["items"]
    assert [(each["status"], each["note"]) for each in log] == [(207, "rate of 10 %")]


async def test_late_and_reordered_statuses_end_the_same(client, invoice, urls):
    life = [status(code, at=f"2026-04-01T{hour:02}:00:00Z") for hour, code in enumerate((200, 202, 203, 205, 207, 205), 1)]
    life[-1]["message_id"] = "again"
    Random(3).shuffle(life)
    for each in life:
        assert (await client.post(path(invoice), each)).status_code == 201
    events = await told(urls, client)
    assert [each.version for each in events] == list(range(1, len(events) + 1))
    assert (events[-1].status, events[-1].outside.message_id) == (205, "again")
    pages, cursor = [], None
    while True:
        page = (await client.get(path(invoice), limit=2, **({"cursor": cursor} if cursor else {}))).json()
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [each["status"] for each in pages] == [200, 202, 203, 205, 207, 205]


async def test_twenty_of_one_message_at_once_are_one_line(client, invoice, urls):
    answers = await asyncio.gather(*(client.post(path(invoice), status(210)) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len(await told(urls, client)) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": 199}, "validation-failed"),
        ({"status": 214}, "validation-failed"),
        ({"at": "2026-04-01T10:00:00"}, "validation-failed"),
        ({"at": "2199-01-01T00:00:00Z"}, "status-in-future"),
        ({"reasons": [{"code": "tx tva"}]}, "validation-failed"),
        ({"amounts": [{"kind": "MEN", "amount_minor": 10**18}]}, "validation-failed"),
    ],
)
async def test_what_makes_no_sense_is_refused(client, invoice, fields, code):
    answer = await client.post(path(invoice), {**status(207), **fields})
    assert answer.status_code in {400, 422}, answer.text
    assert code in {None, answer.json()["code"]}


async def test_an_unknown_invoice_and_anothers_are_404(new_client, invoice):
    other = await new_client()
    assert (await other.post(path(invoice), status(205))).status_code == 404
    assert (await other.get(path(invoice))).status_code == 404


def dispute(cls, invoice, version, *, origin="ours"):
    return cls(
        version=version,
        dispute_id=UUID(int=5),
        item_id=UUID(invoice["invoice_id"]),
        customer_id=UUID(invoice["customer_id"]),
        amount_minor=500,
        currency="EUR",
        reason="quality",
        status="open" if cls is DisputeOpened else "resolved",
        resolution=None if cls is DisputeOpened else "rejected",
        origin=origin,
    )


async def test_our_dispute_sets_the_status_and_its_end_takes_it_back(client, invoice, urls, database):
    await client.post(path(invoice), status(205))
    await tell(database, client, dispute(DisputeOpened, invoice, 1))
    await tell(database, client, dispute(DisputeOpened, invoice, 1))
    _, disputed = await told(urls, client)
    assert (disputed.status, disputed.origin, disputed.outside.status, disputed.ours.status) == (207, "ours", 205, 207)
    assert [(each.kind, each.amount_minor) for each in disputed.ours.amounts] == [("MNATTC", 500)]
    await tell(database, client, dispute(DisputeResolved, invoice, 2))
    *_, resolved = await told(urls, client)
    assert (resolved.status, resolved.origin, resolved.ours) == (205, "outside", None)
    assert len(await told(urls, client)) == 3


async def test_the_end_of_a_dispute_before_its_beginning_leaves_nothing(client, invoice, urls, database):
    await tell(database, client, dispute(DisputeResolved, invoice, 2))
    await tell(database, client, dispute(DisputeOpened, invoice, 1))
    assert await told(urls, client) == []


async def test_a_dispute_that_a_status_opened_sets_none(client, invoice, urls, database):
    await client.post(path(invoice), status(207))
    await tell(database, client, dispute(DisputeOpened, invoice, 1, origin="outside"))
    await tell(database, client, dispute(DisputeResolved, invoice, 2, origin="outside"))
    assert [each.origin for each in await told(urls, client)] == ["outside"]


def item(cls, invoice, version, cash, open_minor, kind="invoice"):
    return cls(
        version=version,
        item_id=UUID(invoice["invoice_id"]),
        kind=kind,
        customer_id=UUID(invoice["customer_id"]),
        source_system="sap",
        invoice_number="F-1",
        currency="EUR",
        issue_date=NOW.date(),
        original_minor=12000,
        open_minor=open_minor,
        disputed_minor=0,
        settled=Settled(cash_minor=cash, discount_minor=12000 - cash - open_minor),
        instalments=[],
        status="paid" if cls is InvoicePaid else "open",
    )


def collected(events):
    return [{each.kind: each.amount_minor for each in event.ours.amounts} for event in events]


async def test_collected_goes_out_when_the_money_is_in_and_back_when_it_is_returned(client, invoice, urls, database):
    await tell(database, client, item(InvoicePaid, invoice, 4, 11760, 0))
    await tell(database, client, item(InvoicePaid, invoice, 4, 11760, 0))
    await tell(database, client, item(InvoiceReopened, invoice, 5, 0, 12000))
    await tell(database, client, item(InvoicePaid, invoice, 7, 12000, 0))
    events = await told(urls, client)
    assert {(each.status, each.origin) for each in events} == {(212, "ours")}
    assert collected(events) == [{"MEN": 11760, "RAP": 0}, {"MEN": -11760, "RAP": 12000}, {"MEN": 12000, "RAP": 0}]
    body = (await client.get(f"/v1/invoices/{invoice['invoice_id']}")).json()
    assert (body["open_minor"], body["item_status"]) == (0, "paid")


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_reported_adds_up_to_the_cash_in_any_order(client, invoice, urls, database, seed):
    life = [
        item(InvoicePaid, invoice, 2, 12000, 0),
        item(InvoiceReopened, invoice, 3, 4000, 8000),
        item(InvoicePaid, invoice, 5, 11000, 0),
        item(InvoiceReopened, invoice, 6, 9000, 3000),
    ]
    chance = Random(seed)
    life += chance.choices(life, k=3)
    chance.shuffle(life)
    for each in life:
        await tell(database, client, each)
    assert sum(each["MEN"] for each in collected(await told(urls, client))) == 9000


async def test_our_statuses_are_fetched_until_they_are_acknowledged(client, invoice, database):
    await client.post(path(invoice), status(205))
    await tell(database, client, item(InvoicePaid, invoice, 1, 12000, 0))
    [mine] = (await client.get("/v1/statuses/outgoing")).json()["items"]
    assert (mine["status"], mine["origin"], mine["acknowledged_at"]) == (212, "ours", None)
    for _ in range(2):
        answer = await client.post(f"/v1/statuses/outgoing/{mine['entry_id']}/acknowledge", None)
        assert answer.status_code == 204, answer.text
    assert (await client.get("/v1/statuses/outgoing")).json()["items"] == []
    assert (await client.post(f"/v1/statuses/outgoing/{new_id()}/acknowledge", None)).status_code == 404
    # what comes back to us with our own message is no news
    echo = await client.post(path(invoice), status(212, message_id=mine["message_id"]))
    assert (echo.status_code, echo.json()["created"]) == (200, False)


async def test_late_charges_and_credit_notes_are_no_life_cycle(client, invoice, urls, database):
    await tell(database, client, item(InvoicePaid, invoice, 1, 12000, 0, kind="credit_note"))
    await tell(database, client, dispute(DisputeOpened, {**invoice, "invoice_id": str(new_id())}, 1))
    assert await told(urls, client) == []
