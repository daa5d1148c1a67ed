"""Reports through HTTP, on the real app and database."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from contracts.catalogue import consumed_by, events
from contracts.envelope import decode
from contracts.testing import examples
from reporting.measures import publish_figures
from reporting.storage import days
from shared.ids import new_id
from shared.testing import tokens

BUCKETS = ("not_due", "days_1_30", "days_31_60", "days_61_90", "days_91_plus")
TODAY = "2026-06-15"
_MORNING = datetime(2026, 6, 15, 8, 0, tzinfo=UTC)


def _auth(tenant_id: UUID, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens.token(tenant_id, *(scopes or ('reports:read',)))}"}


@pytest.fixture
def get(client, tenant):
    async def answer(path: str, *, status: int = 200, tenant_id: UUID = tenant, **query: object):
        found = await client.get(path, headers=_auth(tenant_id), params=query)
        assert found.status_code == status, found.text
        return found.json()

    return answer


@pytest.fixture
async def book(database, apply, ledger, tenant):
    """Two customers: one due over every bucket, with a credit note, money on account and a dispute; one with little."""
    found = ledger(tenant)
    parts = [("2026-06-15", 1), ("2026-06-14", 20), ("2026-05-15", 300), ("2026-04-15", 4_000), ("2026-03-16", 50_000)]
    await apply(
        database,
        found.item("F1", "c1", *parts, disputed=250),
        found.item("F2", "c1", ("2026-05-16", 600_000), kind="late_charge"),
        found.item("F3", "c1", paid=9, version=2),
        found.item("C1", "c1", ("2026-01-01", 77), kind="credit_note"),
        found.item("F4", "c2", ("2026-07-01", 10)),
        found.item("F5", "c2", ("2026-07-01", 11), currency="USD"),
    )
    await apply(
        database,
        found.payment("P1", 5, payer="c1", booked="2026-06-05"),
        found.payment("P2", 6, candidates=("c1", "c2"), booked="2026-06-10"),
    )
    await apply(database, found.balance("c1", owes=654_321, unapplied=5, credits_=77))
    await apply(database, found.account())
    await apply(database, found.word("2026-06-14"))
    return found


async def test_ageing_by_customer_and_in_total(get, book):
    report = await get("/v1/reports/ageing")
    assert (report["as_of"], report["basis"]) == (TODAY, "current")
    assert "due date" in report["definition"]
    assert report["bank_word"] == [{"entity_id": str(book.entity_id), "booked_through": "2026-06-14", "matched_through": "2026-06-14"}]
    lines = {(line["customer_id"], line["currency"]): line for line in report["items"]}
    first = lines[(str(book.id("c1")), "EUR")]
    assert [first[f"{name}_minor"] for name in BUCKETS] == [1, 600_020, 300, 4_000, 50_000]
    assert (first["open_minor"], first["overdue_minor"]) == (654_321, 654_320)
    assert (first["disputed_minor"], first["late_charges_minor"]) == (250, 600_000)
    assert (first["credit_notes_minor"], first["unapplied_minor"], first["net_minor"]) == (-77, -5, 654_239)
    assert lines[(None, "EUR")]["unapplied_minor"] == -6
    assert lines[(str(book.id("c2")), "USD")]["not_due_minor"] == 11
    totals = {total["currency"]: total for total in report["totals"]}
    assert (totals["EUR"]["open_minor"], totals["EUR"]["unapplied_minor"], totals["USD"]["open_minor"]) == (654_331, -11, 11)


async def test_ageing_comes_in_pages_of_one_order(get, book):
    whole = (await get("/v1/reports/ageing"))["items"]
    pages, cursor = [], None
    while True:
        page = await get("/v1/reports/ageing", limit=1, **({"cursor": cursor} if cursor else {}))
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == whole
    assert len(whole) == 4
    await get("/v1/reports/ageing", status=400, cursor="abc")


async def test_no_tenant_sees_anothers(get, book):
    other = new_id()
    assert (await get("/v1/reports/ageing", tenant_id=other))["items"] == []
    assert (await get("/v1/reports/money", tenant_id=other)) == {"payments": [], "items": []}
    assert (await get("/v1/reports/events", tenant_id=other))["total"] == 0
    assert (await get("/v1/reports/unapplied", tenant_id=other))["items"] == []
    await get(f"/v1/customers/{book.id('c1')}", status=404, tenant_id=other)


async def test_a_token_without_the_scope_is_refused(client, tenant):
    for path in ("reports/ageing", "reports/dso", "reports/unapplied", "reports/money", "reports/events", f"customers/{tenant}"):
        assert (await client.get(f"/v1/{path}", headers=_auth(tenant, "bank:read"))).status_code == 403
        assert (await client.get(f"/v1/{path}")).status_code == 401


async def test_a_day_in_the_past_is_answered_as_measured_or_not_at_all(get, book, database, apply):
    day = date(2026, 6, 14)
    refused = await get("/v1/reports/ageing", status=422, as_of="2026-06-14")
    assert refused["errors"][0]["pointer"] == "/as_of"
    await get("/v1/reports/ageing", status=422, as_of="2026-06-16")
    await get("/v1/reports/ageing", status=422, as_of="14.06.2026")
    async with database.transaction(book.tenant_id) as conn:
        await days.note_days(conn, book.tenant_id, [(book.entity_id, day)], ends={}, now=_MORNING)
        assert await days.take_ageing(conn, book.tenant_id, book.entity_id, day, now=_MORNING)
        await publish_figures(conn, book.tenant_id, book.entity_id, day)
        assert not await days.take_ageing(conn, book.tenant_id, book.entity_id, day, now=_MORNING)
    # what comes later does not change the day
    await apply(database, book.item("F1", "c1", ("2026-06-15", 1), paid=54_320, version=2))
    report = await get("/v1/reports/ageing", as_of="2026-06-14", entity_id=book.entity_id)
    assert report["basis"] == "measured"
    first = next(line for line in report["items"] if line["customer_id"] == str(book.id("c1")))
    assert [first[f"{name}_minor"] for name in BUCKETS] == [21, 600_300, 4_000, 50_000, 0]
    assert (await get("/v1/reports/dso", to="2026-06-14"))["basis"] == "measured"


async def test_dso_over_a_period(get, book, database, apply):
    await apply(database, book.invoice("I1", 40_000, issued="2026-06-01"), book.invoice("I2", 30_000, issued="2026-05-20"))
    report = await get("/v1/reports/dso", entity_id=book.entity_id, **{"from": "2026-05-17", "to": TODAY})
    euro = next(item for item in report["items"] if item["currency"] == "EUR")
    assert (report["days"], euro["sales_minor"]) == (30, 70_000)
    assert euro["receivables_minor"] == 654_331 - 600_000 - 77 - 11
    assert euro["dso_period"]["numerator"] == 54_243 * 30
    assert euro["dso_period"]["value"] == "23.2470"
    # 40,000 in 15 days of June, 14,243 of May's 30,000
    assert euro["dso_count_back"]["value"] == "29.7178"
    dollar = next(item for item in report["items"] if item["currency"] == "USD")
    assert dollar["dso_period"] == {"numerator": 330, "denominator": 0, "value": None}
    assert (dollar["dso_count_back"]["value"], dollar["count_back_days_at_least"]) == (None, "0.0000")
    assert "undefined" in report["definitions"]["dso_period"]
    await get("/v1/reports/dso", status=422, **{"from": "2026-06-16"})
    await get("/v1/reports/dso", status=422, to="0001-01-01")
    await get("/v1/reports/dso", status=422, **{"from": "0001-01-01"})


async def test_unapplied_cash_with_age_reason_and_candidates(get, book):
    report = await get("/v1/reports/unapplied")
    assert [(item["age_days"], item["reason"], item["unapplied_minor"]) for item in report["items"]] == [
        (10, "no_reference", 5),
        (5, "no_reference", 6),
    ]
    assert sorted(report["items"][1]["candidate_customer_ids"]) == sorted([str(book.id("c1")), str(book.id("c2"))])
    [total] = report["totals"]
    assert (total["payments"], total["unapplied_minor"], total["oldest"]) == (2, 11, "2026-06-05")
    first = await get("/v1/reports/unapplied", limit=1)
    second = await get("/v1/reports/unapplied", limit=1, cursor=first["next_cursor"])
    assert first["items"] + second["items"] == report["items"]


async def test_money_by_state(get, book):
    report = await get("/v1/reports/money")
    [payments] = report["payments"]
    assert (payments["received_minor"], payments["unapplied_minor"], payments["allocated_minor"], payments["notified_minor"]) == (
        11,
        11,
        0,
        0,
    )
    euro = next(item for item in report["items"] if (item["kind"], item["currency"]) == ("invoice", "EUR"))
    assert (euro["count"], euro["open_count"], euro["cash_minor"]) == (3, 2, 9)
    assert euro["original_minor"] == euro["open_minor"] + euro["cash_minor"]


async def test_events_are_counted_once_however_often_they_come(get, book, database, apply):
    before = await get("/v1/reports/events")
    await apply(database, book.account())
    assert await get("/v1/reports/events") == before
    assert {item["event"]: item["count"] for item in before["items"]} == {
        "OpenItemChanged": 6,
        "PaymentUnapplied": 2,
        "AccountBalanceChanged": 1,
        "CollectionAccountChanged": 1,
        "BankReconciliationAdvanced": 1,
    }


async def test_the_view_of_a_customer(get, book):
    view = await get(f"/v1/customers/{book.id('c1')}")
    assert view["balances"][0]["open_minor"] == 654_321
    assert view["ageing"][0]["net_minor"] == 654_239
    assert [item["invoice_number"] for item in view["open_items"]] == sorted(["F1", "F2", "C1"], key=lambda name: str(book.id(name)))
    assert (view["name"], view["score"], view["hold"], view["promises"]) == (None, None, None, [])
    await get(f"/v1/customers/{book.id('nobody')}", status=404)
    await get("/v1/customers/x", status=422)


async def test_every_example_shows_in_its_customers_view(client, database, apply):
    customers = set()
    for example in examples():
        if example.event in consumed_by("reporting"):
            found = decode(events()[example.event], example.headers, example.value)
            await apply(database, found)
            if customer_id := getattr(found.data, "customer_id", None):
                customers.add((found.tenant_id, customer_id))
    shown = set()
    for tenant_id, customer_id in sorted(customers):
        answer = await client.get(f"/v1/customers/{customer_id}", headers=_auth(tenant_id))
        assert answer.status_code == 200 or answer.json()["status"] == 404
        shown |= {name for name, value in answer.json().items() if value} if answer.status_code == 200 else set()
    assert {"name", "address", "contacts", "score", "terms", "promises", "payment_plans", "disputes", "reminders", "open_items"} <= shown
