"""The API on the real application."""

import json
from datetime import date, timedelta

import httpx
import pytest
from dunning.cli import SERVICE
from dunning.handlers.policies import DEFAULT
from dunning.settings import Settings
from dunning_world import SENDER, World, morning, new_id
from shared.service import api, open_runtime
from shared.testing.tokens import public_key_file, token

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
BOTH = ("dunning:read", "dunning:write")


@pytest.fixture
async def client(urls, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text(morning(DAY).isoformat())
    settings = Settings(
        database_url=urls.app,
        kafka_bootstrap_servers="127.0.0.1:1",
        cursor_secret="c" * 32,
        jwt_public_key_file=public_key_file(tmp_path),
        clock_file=clock,
    )
    runtime = open_runtime(SERVICE, settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api(runtime)), base_url="http://dunning") as found:
        yield found
    await runtime.database.close()


def bearer(world: World, *scopes: str, key: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer {token(world.tenant, *(scopes or BOTH))}", **({"idempotency-key": key} if key else {})}


async def test_the_policy_is_off_until_switched_on_and_starts_that_day(client, world: World) -> None:
    before = (await client.get("/v1/policy", headers=bearer(world))).json()
    assert (before["version"], before["enabled"], before["enabled_from"]) == (0, False, None)
    body = {**DEFAULT, "sender": SENDER, "enabled": True}
    after = (await client.put("/v1/policy", headers=bearer(world), json=body)).json()
    assert (after["version"], after["enabled"], after["enabled_from"]) == (1, True, DAY.isoformat())
    again = await client.put(
        "/v1/policy", headers=bearer(world), json={**body, "enabled_from": DAY.isoformat(), "minimum_minor": {"EUR": 500}}
    )
    assert (again.json()["enabled_from"], again.json()["minimum_minor"]) == (DAY.isoformat(), {"EUR": 500})
    same = await client.put("/v1/policy", headers=bearer(world), json=again.json())
    assert same.json() == {**again.json(), "version": 3}
    assert (await client.put("/v1/policy", headers=bearer(world), json=again.json())).json()["code"] == "version-stale"
    refused = await client.put("/v1/policy", headers=bearer(world), json={**body, "enabled_from": "2025-03-01"})
    assert (refused.status_code, refused.json()["code"]) == (422, "enabled-from-past")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": []},
        {"steps": DEFAULT["steps"][::-1]},
        {"steps": [{**DEFAULT["steps"][0], "template": "../../etc/passwd"}]},
        {"sender": {"name": "x", "email": "a@b\r\nBcc: c@d"}},
        {"minimum_minor": {"XXX": 5}},
        {"minimum_minor": {"EUR": 1.5}},
        {"gate_lag_days": 0},
        {"surprise": 1},
    ],
)
async def test_a_bad_policy_is_refused(client, world: World, change) -> None:
    answer = await client.put("/v1/policy", headers=bearer(world), json={**DEFAULT, "sender": SENDER, "enabled": True, **change})
    assert answer.status_code == 422, answer.text


async def test_a_promise_is_made_once_per_key_listed_and_cancelled(client, world: World) -> None:
    customer, item = await world.debtor(DUE)
    body = {"customer_id": str(customer), "item_ids": [str(item)], "amount_minor": 5000, "currency": "EUR", "due_on": "2025-03-20"}
    made = [await client.post("/v1/promises", headers=bearer(world, key="k1"), json=body) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert (await client.post("/v1/promises", headers=bearer(world), json=body)).status_code == 400
    listed = (await client.get("/v1/promises", headers=bearer(world), params={"customer_id": str(customer)})).json()
    assert [each["status"] for each in listed["items"]] == ["open"]
    path = f"/v1/promises/{made[0].json()['promise_id']}/cancel"
    cancelled = await client.post(path, headers=bearer(world, key="k2"), json={"reason": "agreed"})
    assert (cancelled.status_code, cancelled.json()["status"], cancelled.json()["version"]) == (200, "cancelled", 2)
    assert (await client.post(path, headers=bearer(world, key="k3"), json={"reason": "agreed"})).json()["code"] == "promise-closed"
    unknown = await client.post(f"/v1/promises/{new_id()}/cancel", headers=bearer(world, key="k4"), json={"reason": "agreed"})
    assert unknown.status_code == 404


async def test_a_payment_plan_is_agreed_once_per_key_read_listed_and_cancelled(client, world: World) -> None:
    customer, item = await world.debtor(DUE)
    instalments = [{"due_on": "2025-03-20", "amount_minor": 4000}, {"due_on": "2025-04-20", "amount_minor": 6000}]
    body = {"customer_id": str(customer), "items": [{"invoice_number": "F-1"}], "currency": "EUR", "instalments": instalments}
    made = [await client.post("/v1/payment-plans", headers=bearer(world, key="k1"), json=body) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201], made[0].text
    assert made[0].json() == made[1].json()
    assert made[0].json()["items"] == [{"item_id": str(item), "invoice_number": "F-1", "amount_minor": 10_000, "left_minor": 10_000}]
    assert (await client.post("/v1/payment-plans", headers=bearer(world), json=body)).status_code == 400
    path = f"/v1/payment-plans/{made[0].json()['payment_plan_id']}"
    assert (await client.get(path, headers=bearer(world))).json() == made[0].json()
    listed = (await client.get("/v1/payment-plans", headers=bearer(world), params={"customer_id": str(customer)})).json()
    assert listed == {"items": [made[0].json()], "next_cursor": None}
    cancelled = await client.post(f"{path}/cancel", headers=bearer(world, key="k2"), json={"reason": "agreed"})
    assert (cancelled.status_code, cancelled.json()["status"], cancelled.json()["version"]) == (200, "cancelled", 2)
    again = await client.post(f"{path}/cancel", headers=bearer(world, key="k3"), json={"reason": "agreed"})
    assert again.json()["code"] == "payment-plan-closed"
    assert (await client.get(f"/v1/payment-plans/{new_id()}", headers=bearer(world))).status_code == 404
    actions = await world.rows("SELECT action FROM audit WHERE tenant_id = :tenant ORDER BY action", tenant=world.tenant)
    assert [row.action for row in actions] == ["payment_plan.agreed", "payment_plan.cancelled"]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"items": [{"invoice_number": "F-9"}]}, "nothing-owed", "/items/0"),
        ({"items": [{"invoice_number": "F-1"}, {"invoice_number": "F-1"}]}, "named-twice", "/items/1"),
        ({"instalments": [{"due_on": "2025-03-20", "amount_minor": 9_999}]}, "instalments-do-not-add-up", "/instalments"),
        ({"instalments": [{"due_on": "2025-03-07", "amount_minor": 10_000}]}, "due-in-the-past", "/instalments/0/due_on"),
        ({"instalments": [{"due_on": "2025-03-20", "amount_minor": 5_000}] * 2}, "validation-failed", None),
        ({"instalments": [{"due_on": f"2025-03-2{n}", "amount_minor": 4 * 10**17} for n in range(3)]}, "validation-failed", None),
        ({"items": [{"invoice_number": "F-1", "item_id": str(new_id())}]}, "validation-failed", None),
        ({"items": []}, "validation-failed", None),
    ],
)
async def test_a_plan_that_cannot_be_is_refused_and_says_where(client, world: World, change, code, pointer) -> None:
    customer, _ = await world.debtor(DUE)
    instalments = [{"due_on": "2025-03-20", "amount_minor": 10_000}]
    body = {"customer_id": str(customer), "items": [{"invoice_number": "F-1"}], "currency": "EUR", "instalments": instalments}
    answer = await client.post("/v1/payment-plans", headers=bearer(world, key="k1"), json={**body, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    if pointer is not None:
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


async def test_a_dispute_is_opened_and_resolved(client, world: World) -> None:
    _, item = await world.debtor(DUE)
    body = {"item_id": str(item), "amount_minor": 5000, "currency": "EUR", "reason": "quality"}
    opened = await client.post("/v1/disputes", headers=bearer(world, key="k1"), json=body)
    assert (opened.status_code, opened.json()["status"]) == (201, "open")
    too_much = await client.post("/v1/disputes", headers=bearer(world, key="k2"), json={**body, "amount_minor": 5001})
    assert (too_much.status_code, too_much.json()["code"]) == (422, "more-than-open")
    unknown = await client.post("/v1/disputes", headers=bearer(world, key="k3"), json={**body, "item_id": str(new_id())})
    assert unknown.status_code == 404
    path = f"/v1/disputes/{opened.json()['dispute_id']}/resolve"
    resolved = await client.post(path, headers=bearer(world, key="k4"), json={"resolution": "rejected"})
    assert (resolved.status_code, resolved.json()["resolution"]) == (200, "rejected")
    assert [each["status"] for each in (await client.get("/v1/disputes", headers=bearer(world))).json()["items"]] == ["resolved"]


async def test_reminders_held_gate_and_run(client, world: World) -> None:
    customer, item = await world.debtor(DUE)
    shut = (await client.get("/v1/gate", headers=bearer(world))).json()
    assert (shut["needed_through"], shut["accounts"][0]["why_shut"]) == ("2025-03-07", "never_reconciled")
    waiting = (await client.get(f"/v1/runs/{DAY}", headers=bearer(world))).json()
    assert waiting == {"date": DAY.isoformat(), "state": "waiting", "sent": 0, "held": {"gate_shut": 1}}
    silent, _ = world.customer()
    await world.feed(silent, world.item(silent.data.customer_id, due=DUE))
    await world.day(DAY)
    gate = (await client.get("/v1/gate", headers=bearer(world))).json()
    assert (gate["entities"][0]["open_through"], gate["accounts"][0]["why_shut"]) == ("2025-03-07", None)
    run = (await client.get(f"/v1/runs/{DAY}", headers=bearer(world))).json()
    assert run == {"date": DAY.isoformat(), "state": "done", "sent": 1, "held": {"no_contact": 1}}
    [sent] = (await client.get("/v1/reminders", headers=bearer(world), params={"customer_id": str(customer)})).json()["items"]
    assert (sent["state"], sent["level"], sent["items"][0]["item_id"]) == ("sent", 1, str(item))
    [held] = (await client.get("/v1/held", headers=bearer(world), params={"day": DAY.isoformat()})).json()["items"]
    assert held["reason"] == "no_contact"
    assert "pay@debtor.example" not in json.dumps([sent, held])


async def test_pages_follow_each_other(client, world: World) -> None:
    await world.start()
    for _ in range(3):
        who, identity = world.customer()
        await world.feed(who, identity, world.item(who.data.customer_id, due=DUE))
    await world.day(DAY)
    found, cursor = [], None
    for _ in range(3):
        page = (
            await client.get("/v1/reminders", headers=bearer(world), params={"limit": 1, **({"cursor": cursor} if cursor else {})})
        ).json()
        found += [each["reminder_id"] for each in page["items"]]
        cursor = page["next_cursor"]
    assert (len(set(found)), cursor) == (3, None)


async def test_a_mail_in_doubt_is_shown_and_resolved_by_a_person(client, world: World) -> None:
    await world.debtor(DUE)
    await world.decide(DAY)
    await world.rows("UPDATE dispatch SET state = 'in_doubt' WHERE tenant_id = :tenant RETURNING 1", tenant=world.tenant)
    [mail] = (await client.get("/v1/reminders", headers=bearer(world), params={"state": "in_doubt"})).json()["items"]
    path = f"/v1/reminders/{mail['reminder_id']}/resolve"
    assert (await client.post(path, headers=bearer(world, key="k1"), json={"outcome": "sent"})).status_code == 200
    assert len(await world.told()) == 1
    assert (await client.post(path, headers=bearer(world, key="k2"), json={"outcome": "not_sent"})).json()["code"] == "nothing-to-resolve"


@pytest.mark.parametrize("path", ["policy", "promises", "payment-plans", "disputes", "reminders", "held", "gate", f"runs/{DAY}"])
async def test_reading_needs_its_scope(client, world: World, path: str) -> None:
    assert (await client.get(f"/v1/{path}")).status_code == 401
    assert (await client.get(f"/v1/{path}", headers=bearer(world, "bank:read"))).status_code == 403
