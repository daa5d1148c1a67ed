"""The sandbox's HTTP interface and mail sink, as services and tests use them."""

import smtplib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage

import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sandbox import mail
from sandbox.app import SandboxSettings, create_app
from sandbox.bureau import NOT_RATED, Bureau, Subject
from sandbox.bureau_api import bureau_router, refusal
from sandbox.client import ApiError, Client, UnavailableError
from sandbox.webhooks import signed
from shared.clock import machine_now
from stdnum import iban

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Clock:
    today = date(2026, 1, 5)
    now = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
async def sandbox() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(SandboxSettings(sandbox_seed=3, smtp_port=0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as client:
        yield client


@pytest.fixture
async def bureau() -> AsyncIterator[tuple[httpx.AsyncClient, Clock]]:
    clock = Clock()
    app = FastAPI()
    app.add_exception_handler(HTTPException, refusal)
    app.include_router(bureau_router(Bureau(3), today=lambda: clock.today, now=lambda: clock.now))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox/bureau/v1") as client:
        token = (await client.post("/authenticate", json={"username": "u", "password": "p"})).json()["token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client, clock


async def test_the_pool_of_virtual_ibans_is_the_same_for_every_call(sandbox: httpx.AsyncClient) -> None:
    first = (await sandbox.get("/bank/virtual-ibans", params={"count": 50})).json()["ibans"]
    assert first == (await sandbox.get("/bank/virtual-ibans", params={"count": 50})).json()["ibans"]
    assert first[10:12] == (await sandbox.get("/bank/virtual-ibans", params={"count": 2, "start": 10})).json()["ibans"]
    assert len(set(first)) == 50
    assert all(iban.is_valid(number) for number in first)
    assert (await sandbox.get("/health")).json() == {"status": "alive"}


async def test_the_receiver_verifies_fails_and_counts(sandbox: httpx.AsyncClient) -> None:
    await sandbox.put("/receiver/shop", json={"secret": SECRET, "fail": 1, "status": 503})
    content, headers = signed({"type": "InvoicePaid"}, secret=SECRET, message_id="m1", moment=machine_now())
    answers = [(await sandbox.post("/receiver/shop", content=content, headers=headers)).status_code for _ in range(3)]
    assert answers == [503, 204, 204]
    assert (await sandbox.post("/receiver/shop", content=b"{}", headers=headers)).status_code == 401
    assert (await sandbox.post("/receiver/shop", content=b"{}", headers=headers | {"webhook-signature": "nonsense"})).status_code == 401
    found = (await sandbox.get("/receiver/shop")).json()
    assert {name: found[name] for name in ("attempts", "messages", "verified", "refused", "failed", "repeated")} == {
        "attempts": 5,
        "messages": 1,
        "verified": 2,
        "refused": 2,
        "failed": 1,
        "repeated": 1,
    }
    assert found["types"] == {"InvoicePaid": 1}


async def test_the_bureau_has_creditsafes_shape(bureau: tuple[httpx.AsyncClient, Clock]) -> None:
    client, _ = bureau
    rated = unrated = without_limit = unknown = throttled = 0
    for number in range(100_000_000, 100_000_090):
        search = await client.get("/companies", params={"countries": "FR", "regNo": str(number)})
        if search.status_code == 200 and not search.json()["companies"]:
            unknown += 1
            continue
        answer = await client.get(f"/companies/FR-X-{number}")
        if 429 in {search.status_code, answer.status_code}:
            assert "retry-after" in {**search.headers, **answer.headers}
            throttled += 1
            continue
        rating = answer.json()["report"]["creditScore"]["currentCreditRating"]
        if rating["commonValue"] is None:
            unrated += 1
            assert rating["providerValue"]["value"] == NOT_RATED
            assert rating["creditLimit"] is None
        else:
            rated += 1
            assert rating["commonValue"] in "ABCDE"
            assert 0 < int(rating["providerValue"]["value"]) <= 100
            without_limit += rating["creditLimit"] is None
            assert rating["creditLimit"] is None or isinstance(rating["creditLimit"]["value"], str)
    assert min(rated, unrated, without_limit, unknown, throttled) > 0


async def test_tokens_expire_and_answers_can_be_forced(bureau: tuple[httpx.AsyncClient, Clock]) -> None:
    client, clock = bureau
    ask = {"countries": "FR", "regNo": "552032534"}
    assert (await client.get("/companies", params=ask, headers={"Sandbox-Answer": "429"})).status_code == 429
    assert (await client.get("/companies", params=ask)).status_code == 200
    clock.now += timedelta(hours=1)
    assert (await client.get("/companies", params=ask)).status_code == 401
    assert {(await client.get("/companies", params=ask, headers={"authorization": ""})).status_code} == {401}


async def test_changes_are_pulled_until_they_are_marked(bureau: tuple[httpx.AsyncClient, Clock]) -> None:
    client, clock = bureau
    for number in range(200_000_000, 200_000_020):
        await client.get(f"/companies/FR-X-{number}")
    await client.put("/simulation/FR-X-200000001", json={"since": "2026-01-20", "score": 5})
    clock.today += timedelta(days=60)
    events = (await client.get("/monitoring/notificationEvents", params={"pageSize": 1000})).json()["data"]
    ids = [event["notificationEventId"] for event in events]
    assert len(ids) > len(set(ids)) > 5
    fallen = [event for event in events if event["company"]["id"] == "FR-X-200000001"]
    assert fallen[-1]["newValue"] == "5"
    for event_id in set(ids):
        await client.patch(f"/monitoring/notificationEvents/{event_id}", json={"isProcessed": True})
    assert (await client.get("/monitoring/notificationEvents")).json()["totalCount"] == 0
    rating = (await client.get("/companies/FR-X-200000001")).json()["report"]["creditScore"]["currentCreditRating"]
    assert rating["commonValue"] == "E"


def test_scores_move_with_time_and_depend_on_nothing_else() -> None:
    subject = Subject("DE", "DE123456789")
    scores = [Bureau(3).score(subject, date(2025, 1, 1) + timedelta(days=30 * month)) for month in range(12)]
    assert scores == [Bureau(3).score(subject, date(2025, 1, 1) + timedelta(days=30 * month)) for month in range(12)]
    assert len(set(scores)) > 1
    assert Subject.of(subject.connect_id) == subject


async def test_the_mail_sink_takes_bounces_and_greylists() -> None:
    mails = mail.Mails()
    server = await mail.listen(mails, host="127.0.0.1", port=0)
    port = server.sockets[0].getsockname()[1]

    def send(*recipients: str) -> dict[str, int]:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"], message["Message-ID"] = (
            "a@s.example",
            recipients[0],
            "Rappel é",
            "<1@s.example>",
        )
        message.set_content("Bonjour, échéance dépassée")
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as smtp:
            try:
                return {address: code for address, (code, _) in smtp.send_message(message, to_addrs=list(recipients)).items()}
            except smtplib.SMTPRecipientsRefused as refused:
                return {address: code for address, (code, _) in refused.recipients.items()}

    try:
        assert await anyio.to_thread.run_sync(send, "accounts@c1.example") == {}
        assert await anyio.to_thread.run_sync(send, "bounce@c2.example") == {"bounce@c2.example": 550}
        assert await anyio.to_thread.run_sync(send, "greylist@c3.example") == {"greylist@c3.example": 451}
        assert await anyio.to_thread.run_sync(send, "greylist@c3.example") == {}
    finally:
        server.close()
        await server.wait_closed()
    app = FastAPI()
    app.include_router(mail.mail_router(mails))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client:
        found = (await client.get("/mail", params={"to": "accounts@c1.example"})).json()
    assert (found["mails"], found["bounced"], found["greylisted"], found["found"], found["repeated"]) == (2, 1, 1, 1, 1)
    assert found["items"][0]["subject"] == "Rappel é"
    assert "échéance" in found["items"][0]["text"]


class Answers(httpx.AsyncBaseTransport):
    """A service that gives these answers one after the other; a None is a refused connection."""

    def __init__(self, *answers: httpx.Response | None) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if answer is None:
            raise httpx.ConnectError("refused")
        return answer


async def test_the_client_tries_again_only_what_had_no_effect_and_with_the_same_key() -> None:
    service = Answers(None, httpx.Response(503), httpx.Response(201, json={"id": 1}))
    async with Client("http://s", "t", transport=service) as client:
        assert await client.post("/v1/x", {"a": 1}) == {"id": 1}
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1
    assert service.requests[0].headers["authorization"] == "Bearer t"


async def test_the_client_raises_with_the_problems_text() -> None:
    problem = {
        "code": "validation-failed",
        "title": "No",
        "detail": "Does not add up",
        "errors": [{"pointer": "/total_minor", "detail": "is not the sum"}],
    }
    service = Answers(httpx.Response(422, json=problem), None)
    async with Client("http://s", transport=service, retry_seconds=0) as client:
        with pytest.raises(
            ApiError, match="POST http://s/v1/x: 422 validation-failed: Does not add up; /total_minor: is not the sum"
        ) as raised:
            await client.post("/v1/x", {})
        assert raised.value.status == 422
        with pytest.raises(UnavailableError, match="refused"):
            await client.get("/v1/x")


async def test_the_client_walks_pages() -> None:
    service = Answers(
        httpx.Response(200, json={"items": [{"n": 1}], "next_cursor": "c"}),
        httpx.Response(200, json={"items": [{"n": 2}], "next_cursor": None}),
    )
    async with Client("http://s", transport=service) as client:
        assert [item["n"] async for item in client.pages("/v1/x", status=None)] == [1, 2]
    assert service.requests[1].url.params["cursor"] == "c"
    assert "status" not in service.requests[0].url.params
