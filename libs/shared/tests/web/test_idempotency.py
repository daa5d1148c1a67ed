"""Idempotency-Key against a real Postgres: what is remembered, what waits, what is rolled back."""

import asyncio
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import pytest
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from shared.clock import machine_now
from shared.web.app import create_app
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED, erase_answers, forget_old, once
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy import delete, func, insert, select

TENANT = UUID("0190a000-0000-7000-8000-000000000001")  # the tokens' own
OTHER = UUID("0190a000-0000-7000-8000-000000000002")
Writer = Annotated[Caller, requires("things:write")]


@pytest.fixture
async def gate(stored):
    """The app under test; `gate.hold` keeps an effect open, `gate.entered` says that one has begun."""

    class Gate:
        def __init__(self) -> None:
            self.hold, self.entered, self.failures = asyncio.Event(), asyncio.Event(), 0
            self.hold.set()

        async def things(self) -> int:
            async with stored.database.transaction(TENANT) as conn:
                return await conn.scalar(select(func.count()).select_from(stored.thing))

    async with stored.database.transaction(TENANT, OTHER) as conn:
        await conn.execute(delete(stored.thing))
        await conn.execute(delete(stored.keys))
    return Gate()


@pytest.fixture
async def client(stored, gate, verifier, cursors, issuer, client_of):
    router = Router()

    @router.post("/things/{kind}", status_code=201, openapi_extra=KEYED)
    async def create(kind: str, caller: Writer, request: Request, body: dict) -> Response:
        async with stored.database.transaction(caller.tenant_id) as conn:

            async def produce() -> Response:
                number = await conn.scalar(insert(stored.thing).values(name=body.get("name", "")).returning(stored.thing.c.id))
                gate.entered.set()
                await gate.hold.wait()
                if gate.failures:
                    gate.failures -= 1
                    raise RuntimeError("the outbox is full")
                if status := body.get("refuse"):
                    raise Problem(status, "refused", "Refused")
                return JSONResponse({"id": number, "kind": kind}, 201, headers={"Location": f"/things/{number}", "ETag": '"1"'})

            return await once(request, caller, conn, produce)

    app = create_app(title="t", version="1", routers=[router], verifier=verifier, database=stored.database, cursors=cursors, readiness={})
    async with client_of(app, headers=issuer.bearer(), timeout=60) as client:
        yield client


async def post(client, key: str | None, body: dict, path: str = "/things/a", **headers):
    return await client.post(path, json=body, headers=headers if key is None else {"idempotency-key": key, **headers})


async def test_fifty_at_once_have_one_effect_and_one_answer(client, gate):
    answers = await asyncio.gather(*(post(client, "k1", {"name": "x"}) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({(answer.headers["location"], answer.headers["etag"], answer.headers["content-type"]) for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == [""] + ["true"] * 49
    assert await gate.things() == 1


async def test_one_key_is_one_request(client, gate):
    assert (await post(client, "k1", {"name": "x"})).status_code == 201
    for other in (
        await post(client, "k1", {"name": "y"}),
        await post(client, "k1", {"name": "x"}, "/things/b"),
        await post(client, "k1", {"name": "x"}, "/things/a?c=1"),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert await gate.things() == 1


async def test_a_key_belongs_to_its_tenant_and_client(client, gate, issuer):
    first = await post(client, "k1", {"name": "x"})
    for claims in ({"tenant_id": str(OTHER)}, {"client_id": "another"}):
        other = await post(client, "k1", {"name": "y"}, **issuer.bearer(**claims))
        assert (other.status_code, "idempotent-replayed" in other.headers) == (201, False)
        assert other.json()["id"] != first.json()["id"]
    assert await gate.things() == 3


async def test_the_second_waits_and_runs_when_the_first_is_rolled_back(client, gate):
    gate.hold.clear()
    gate.failures = 1
    first = asyncio.create_task(post(client, "k1", {"name": "x"}))
    await gate.entered.wait()
    second = asyncio.create_task(post(client, "k1", {"name": "x"}))
    done, _ = await asyncio.wait([second], timeout=0.3)
    assert not done, "it waits at the key"
    gate.hold.set()
    assert (await first).status_code == 500
    answer = await second
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
    assert await gate.things() == 1


async def test_a_5xx_is_never_remembered(client, gate):
    gate.failures = 2
    assert (await post(client, "k1", {"name": "x"})).status_code == 500
    assert (await post(client, "k1", {"name": "x", "refuse": 503})).status_code == 500
    assert (await post(client, "k2", {"name": "x", "refuse": 503})).status_code == 503
    assert await gate.things() == 0
    assert (await post(client, "k1", {"name": "y"})).status_code == 201, "the key is as new, even for another body"


@pytest.mark.parametrize("status", [400, 404, 409, 410, 412, 422])
async def test_a_refusal_is_remembered_without_its_effects(client, gate, status):
    first, second = await post(client, "k1", {"refuse": status}), await post(client, "k1", {"refuse": status})
    assert (first.status_code, second.status_code) == (status, status)
    assert first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["content-type"] == "application/problem+json"
    assert await gate.things() == 0


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_refusal_that_may_pass_is_not_remembered(client, gate, status):
    for _ in range(2):
        answer = await post(client, "k1", {"refuse": status})
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (status, False)
    assert await gate.things() == 0


async def test_a_value_the_database_refuses_is_a_422_and_undone(client, gate):
    answer = await client.post(
        "/things/a", content=b'{"name": 12345}', headers={"content-type": "application/json", "idempotency-key": "k1"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "value-not-storable")
    assert await gate.things() == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "é".encode("latin-1"), "x" * 256, "\x7f"])
async def test_a_malformed_key_is_a_400(client, key):
    answer = await post(client, key, {})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency-key-malformed")


async def test_a_missing_or_doubled_key_is_a_400(client):
    assert (await post(client, None, {})).json()["code"] == "idempotency-key-missing"
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert (await client.post("/things/a", json={}, headers=headers)).json()["code"] == "idempotency-key-malformed"


async def test_old_keys_are_forgotten_in_slices_and_young_ones_kept(client, stored):
    await post(client, "young", {})
    old = machine_now() - timedelta(days=31)
    rows = [
        {"tenant_id": TENANT, "client": "c", "route": "r", "key": f"k{n}", "fingerprint": b"0" * 32, "created_at": old} for n in range(1500)
    ]
    async with stored.database.transaction(TENANT) as conn:
        await conn.execute(insert(stored.keys), rows)
        limit = machine_now() - timedelta(days=30)
        assert [await forget_old(conn, limit) for _ in range(3)] == [1000, 500, 0]
        assert await conn.scalar(select(func.count()).select_from(stored.keys)) == 1


async def test_the_answers_about_an_erased_customer_are_blanked_and_never_run_again(client, gate, stored):
    number = (await post(client, "k1", {"name": "x"}, "/things/customer-77")).json()["id"]
    await post(client, "k2", {"name": "x"})
    async with stored.database.transaction(TENANT) as conn:
        assert await erase_answers(conn, TENANT, "customer-77") == 1
        assert await erase_answers(conn, OTHER, "things") == 0
    again = await post(client, "k1", {"name": "x"}, "/things/customer-77")
    assert again.status_code == 410
    assert str(number) not in again.text
    assert await gate.things() == 2
