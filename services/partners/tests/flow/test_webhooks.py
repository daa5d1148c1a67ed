"""Webhooks end to end: subscribed by the API, signed, retried, given up, sent again; and the pull feed."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from partners import handlers, storage
from partners.webhooks import send_due
from shared.clock import machine_now
from shared.db import run
from shared.service import api, check
from shared.testing.events import context, message
from shared.testing.tokens import token
from standardwebhooks.webhooks import Webhook

ONE, TWO = UUID(int=101), UUID(int=102)


@pytest.fixture
async def receiver():
    """A partner's endpoint on loopback: `answers` says what it replies, in order; then 204."""
    app, got, answers = FastAPI(), [], []

    @app.post("/hook")
    async def hook(request: Request) -> Response:
        got.append((dict(request.headers), await request.body()))
        status, headers = answers.pop(0) if answers else (204, {})
        return Response(status_code=status, headers=headers)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}/hook", got=got, answers=answers)
    server.should_exit = True
    await task


@pytest.fixture
async def client(runtime):
    transport = httpx.ASGITransport(api(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://partners") as found:
        yield found


def bearer(tenant=ONE, **more):
    return {"authorization": f"Bearer {token(tenant, 'events:read', 'subscriptions:write')}", **more}


async def subscribe(client, url, events=("PaymentReceived",)):
    answer = await client.post(
        "/v1/subscriptions", json={"url": url, "events": list(events)}, headers=bearer(**{"idempotency-key": url + str(events)})
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def happen(runtime, *messages):
    async with runtime.database.transaction(*{m.tenant_id for m in messages}) as conn:
        await handlers.log_events(conn, messages, context(machine_now()))
    await handlers.give_positions(SimpleNamespace(database=runtime.database), ONE)


async def send(runtime):
    async with httpx.AsyncClient(trust_env=False) as http:
        return await send_due(runtime.database, http, ONE, allow_loopback=True)


async def hasten(runtime):
    """Makes every pending delivery due."""
    async with runtime.database.transaction(ONE) as conn:
        await run(conn, "UPDATE delivery SET next_attempt_at = :now WHERE status = 'pending'", now=machine_now() - timedelta(seconds=1))


async def test_an_event_arrives_once_signed_and_only_if_subscribed(runtime, client, receiver, received):
    made = await subscribe(client, receiver.url)
    await happen(runtime, message(ONE, received(1)))
    assert await send(runtime) == 1
    assert await send(runtime) == 0
    headers, body = receiver.got[0]
    Webhook(made["secret"]).verify(body, headers)
    event = json.loads(body)
    assert (event["type"], event["data"]["payment_id"], event["id"]) == ("PaymentReceived", str(UUID(int=1)), headers["webhook-id"])
    assert len(receiver.got) == 1
    assert all(value is True for value in (await check(runtime.service, runtime.settings)).values())


async def test_a_failure_is_tried_again_under_the_same_id_and_a_redirect_is_a_failure(runtime, client, receiver, received):
    made = await subscribe(client, receiver.url)
    receiver.answers += [(500, {}), (302, {"location": "http://127.0.0.1:1/"}), (429, {"retry-after": "7200"})]
    await happen(runtime, message(ONE, received(1)))
    for _ in range(3):
        assert await send(runtime) == 1
        await hasten(runtime)
    assert await send(runtime) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    listed = await client.get(f"/v1/subscriptions/{made['subscription_id']}/deliveries", headers=bearer())
    assert [(item["status"], item["attempts"], item["answered"]) for item in listed.json()["items"]] == [("delivered", 4, 204)]


async def test_retry_after_moves_the_next_attempt(runtime, client, receiver, received):
    made = await subscribe(client, receiver.url)
    receiver.answers.append((429, {"retry-after": "7200"}))
    await happen(runtime, message(ONE, received(1)))
    await send(runtime)
    async with runtime.database.transaction(ONE) as conn:
        row = (await storage.deliveries(conn, ONE, UUID(made["subscription_id"]), after=2**62, limit=1))[0]
    assert row.next_attempt_at > machine_now() + timedelta(seconds=7100)


async def test_gone_disables_and_enable_takes_up_where_it_stopped(runtime, client, receiver, received):
    made = await subscribe(client, receiver.url)
    receiver.answers.append((410, {}))
    await happen(runtime, message(ONE, received(1)))
    await send(runtime)
    assert (await client.get("/v1/subscriptions", headers=bearer())).json()["items"][0]["status"] == "disabled"
    await happen(runtime, message(ONE, received(2)))
    await client.post(f"/v1/subscriptions/{made['subscription_id']}/enable", headers=bearer(**{"idempotency-key": "k"}))
    await happen(runtime, message(ONE, received(3)))
    await hasten(runtime)
    while await send(runtime):
        await hasten(runtime)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3


async def test_the_feed_goes_on_from_its_cursor_and_never_shows_another_tenant(runtime, client, received):
    await happen(runtime, *(message(ONE, received(number)) for number in range(5)), message(TWO, received(9)))
    first = (await client.get("/v1/events", params={"limit": 3}, headers=bearer())).json()
    rest = (await client.get("/v1/events", params={"after": first["next"]}, headers=bearer())).json()
    assert len(first["events"]) == 3
    assert len(rest["events"]) == 2
    assert {event["tenantid"] for event in first["events"] + rest["events"]} == {str(ONE)}
    assert (await client.get("/v1/events", params={"after": rest["next"]}, headers=bearer())).json()["events"] == []


@pytest.mark.parametrize("cursor", ["", "x", "MTox", "MTo5OTk", "\u00e9", "MjoxMg"])
async def test_a_cursor_of_no_feed_is_refused(client, cursor):
    answer = await client.get("/v1/events", params={"after": cursor}, headers=bearer())
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor-refused")


async def test_what_is_not_public_cannot_be_subscribed(client, receiver):
    answer = await client.post(
        "/v1/subscriptions",
        json={"url": receiver.url, "events": ["CustomerIdentityChanged"]},
        headers=bearer(**{"idempotency-key": "k"}),
    )
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/events/0")
