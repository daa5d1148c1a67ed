"""The whole edge, over HTTP, with an app that has one of each."""

import json
import re
from typing import Annotated, Literal
from uuid import UUID

import pytest
import structlog
from fastapi import Body, Query, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared.web.app import create_app, server_config
from shared.web.auth import Caller, requires
from shared.web.etag import VERSIONED, etag, require_match
from shared.web.models import AmountMinor, Command, CurrencyCode, Date, DecimalText, Id, Lax, LongText, PositiveMinor, Text
from shared.web.pagination import DEFAULT_LIMIT, Cursors, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy.exc import DBAPIError, OperationalError

TENANT = UUID("0190a000-0000-7000-8000-000000000001")  # the tokens' own
OTHER = UUID("0190a000-0000-7000-8000-000000000002")

Reader = Annotated[Caller, requires("things:read")]
Writer = Annotated[Caller, requires("things:write")]


class Line(Command):
    amount_minor: AmountMinor
    share: DecimalText | None = None


class Thing(Command):
    name: Text
    currency: CurrencyCode
    total_minor: PositiveMinor
    due: Date
    kind: Literal["invoice", "deposit"] = "invoice"
    id: Id | None = None
    paid: bool = False
    note: LongText | None = None
    lines: Annotated[tuple[Line, ...], Lax] = ()


GOOD = {"name": "Crémerie", "currency": "EUR", "total_minor": 120, "due": "2026-02-28", "lines": [{"amount_minor": -3, "share": "0.25"}]}


async def nothing() -> None: ...


async def broken() -> None:
    raise ConnectionRefusedError("10.0.0.7 secret-host")


@pytest.fixture
def app(verifier, cursors):
    router = Router()

    @router.post("/things", status_code=201)
    async def create(caller: Writer, thing: Thing) -> dict:
        return {"tenant": caller.tenant_id, "due": thing.due, "name": thing.name}

    @router.get("/things")
    async def index(caller: Reader, request: Request, cursor: CursorText = None, state: str = "open", limit: Limit = DEFAULT_LIMIT) -> dict:
        mine: Cursors = request.app.state.cursors
        bound = {"tenant_id": caller.tenant_id, "route": "/things", "filters": {"state": state}}
        start = mine.decode(cursor, **bound) if cursor else ("2026-01-01", 0)
        return {"start": start, "limit": limit, "next_cursor": mine.encode([start[0], int(start[1]) + limit], **bound)}

    @router.put("/things/{number}", openapi_extra=VERSIONED)
    async def change(_: Writer, request: Request, number: int, thing: Thing) -> dict:
        require_match(request, 7)
        return {"number": number, "name": thing.name}

    @router.post("/any")
    async def whatever(_: Writer, value: Annotated[dict | list, Body()]) -> int:
        return len(value)

    @router.post("/file", max_body_size=10)
    async def file(_: Writer, request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @router.get("/fails")
    async def fails(_: Reader, how: Annotated[str, Query()]) -> None:
        raise {
            "bug": RuntimeError("contains FR7630006000011234567890189"),
            "down": OperationalError("SELECT 'DE89'", {}, Exception("DE89")),
            "refused": ConnectionRefusedError(),
            "slow": TimeoutError(),
            "sql": DBAPIError("INSERT 'DE89370400440532013000'", {"iban": "DE89370400440532013000"}, Exception("DE89370400440532013000")),
            "problem": Problem(409, "odd", "Odd \ud800", "half \udfff"),
        }[how]

    @router.get("/open")
    async def public() -> str:
        return "public"

    return create_app(
        title="things",
        version="1",
        routers=[router],
        verifier=verifier,
        database=None,
        cursors=cursors,
        readiness={"database": nothing},
        public=frozenset({"/open"}),
    )


@pytest.fixture
async def client(app, issuer, client_of):
    async with client_of(app, headers=issuer.bearer()) as client:
        yield client


def is_problem(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:encours:problem:{code}"
    assert (body["status"], body["code"], body["request_id"]) == (status, code, response.headers["x-request-id"])
    return body


async def test_a_good_body_arrives_typed(client):
    response = await client.post("/things", json=GOOD)
    assert response.status_code == 201
    assert response.json() == {"tenant": str(TENANT), "due": "2026-02-28", "name": "Crémerie"}
    assert response.headers["cache-control"] == "no-store"
    assert "server" not in response.headers


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"status": "paid"}, "/status", "extra-forbidden"),
        ({"tenant_id": str(OTHER)}, "/tenant_id", "extra-forbidden"),
        ({"lines": [{"amount_minor": 1, "open_amount": 0}]}, "/lines/0/open_amount", "extra-forbidden"),
        ({"total_minor": "120"}, "/total_minor", "int-type"),
        ({"total_minor": 120.0}, "/total_minor", "int-type"),
        ({"total_minor": True}, "/total_minor", "int-type"),
        ({"total_minor": 0}, "/total_minor", "greater-than-equal"),
        ({"paid": 1}, "/paid", "bool-type"),
        ({"paid": "yes"}, "/paid", "bool-type"),
        ({"currency": "XAU"}, "/currency", "value-error"),
        ({"currency": "XXX"}, "/currency", "value-error"),
        ({"currency": "eur"}, "/currency", "string-pattern-mismatch"),
        ({"due": "2026-W09-6"}, "/due", "value-error"),
        ({"due": "20260228"}, "/due", "value-error"),
        ({"due": "2026-02-30"}, "/due", "value-error"),
        ({"due": "2026-02-28T00:00:00"}, "/due", "value-error"),
        ({"due": "\uff12\uff10\uff12\uff16-02-28"}, "/due", "value-error"),
        ({"due": 1772236800}, "/due", "value-error"),
        ({"name": "a\u202eb"}, "/name", "value-error"),
        ({"name": "a\nb"}, "/name", "value-error"),
        ({"name": "  "}, "/name", "string-too-short"),
        ({"name": "x" * 256}, "/name", "string-too-long"),
        ({"name": 7}, "/name", "string-type"),
        ({"id": "0190A000-0000-7000-8000-000000000001"}, "/id", "value-error"),
        ({"total_minor": 10**18}, "/total_minor", "less-than-equal"),
        ({"lines": [{"amount_minor": 1, "share": "1_000"}]}, "/lines/0/share", "value-error"),
        ({"lines": [{"amount_minor": 1, "share": "1E2"}]}, "/lines/0/share", "value-error"),
        ({"lines": [{"amount_minor": 1, "share": " 12 "}]}, "/lines/0/share", "value-error"),
        ({"lines": [{"amount_minor": 1, "share": "\uff11\uff12"}]}, "/lines/0/share", "value-error"),
        ({"lines": [{"amount_minor": 1, "share": 0.5}]}, "/lines/0/share", "value-error"),
    ],
)
async def test_a_wrong_member_is_a_422_that_names_it(client, change, pointer, code):
    body = is_problem(await client.post("/things", json=GOOD | change), 422, "validation-failed")
    assert (pointer, code, "body") in {(error["pointer"], error["code"], error["in"]) for error in body["errors"]}


async def test_text_is_composed_and_trimmed(client):
    response = await client.post("/things", json=GOOD | {"name": "  Cre\u0301merie ", "note": "a\n\tb"})
    assert response.json()["name"] == "Crémerie"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"total_minor": NaN}', "not-a-number"),
        (b'{"total_minor": Infinity}', "not-a-number"),
        (b'{"name":"a","name":"b"}', "duplicate-key"),
        (b'{"name":"\\ud800"}', "unstorable-text"),
        (b'{"name":"\\u0000"}', "unstorable-text"),
        (b'{"total_minor":' + b"9" * 5000 + b"}", "integer-out-of-range"),
        (b"[" * 50_000, "too-deep"),
        (b"\xff\xfe", "not-utf-8"),
        (b"{", "syntax"),
    ],
)
async def test_what_is_not_strict_json_is_a_400(client, body, code):
    response = await client.post("/things", content=body, headers={"content-type": "application/json"})
    assert is_problem(response, 400, "json-refused")["errors"][0]["code"] == code


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/json; charset=utf-16", "", "application/x-www-form-urlencoded", ";"]
)
async def test_another_media_type_is_a_415(client, kind):
    response = await client.post("/things", content=json.dumps(GOOD), headers={"content-type": kind})
    is_problem(response, 415, "media-type-unsupported")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json"])
async def test_json_media_types_are_taken(client, kind):
    assert (await client.post("/things", content=json.dumps(GOOD), headers={"content-type": kind})).status_code == 201


async def test_a_missing_body_is_a_422(client):
    is_problem(await client.post("/things"), 422, "validation-failed")


async def test_bodies_are_limited_by_what_they_say_and_by_what_they_are(client):
    async def endless():
        while True:
            yield b"x" * 8

    assert (await client.post("/file", content=b"0123456789")).json() == 10
    is_problem(await client.post("/file", content=b"0123456789a"), 413, "body-too-large")
    is_problem(await client.post("/file", content=endless()), 413, "body-too-large")
    is_problem(
        await client.post("/things", headers={"content-length": "99999999", "content-type": "application/json"}), 413, "body-too-large"
    )
    is_problem(await client.post("/any", content=b" " * (17 << 20), headers={"content-type": "application/json"}), 413, "body-too-large")


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "application/json;charset=\xff"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_ever_give_a_500(client, body, kind):
    for path in ("/things", "/any"):
        response = await client.post(path, content=body, headers={"content-type": kind.encode("latin-1")})
        assert response.status_code < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*GOOD, "amount_minor", "share", "id"]) | st.text(), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(Thing.model_fields, JSON)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_json_ever_gives_a_500(client, value):
    for path in ("/things", "/any"):
        response = await client.post(path, content=json.dumps(value), headers={"content-type": "application/json"})
        assert response.status_code < 500
        response.json()


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=30))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_url_or_header_ever_gives_a_500(client, segment, query, header):
    raw = "".join(f"%{byte:02x}" for byte in segment.encode("utf-8", "surrogatepass"))
    junk = "".join(f"%{byte:02x}" for byte in query.encode("utf-8", "surrogatepass"))
    for method, url in (("PUT", f"/things/{raw}"), ("GET", f"/things?cursor={junk}&limit={junk}&state={junk}"), ("GET", f"/{raw}")):
        clean = bytes(byte for byte in header if byte not in b"\r\n\0")
        response = await client.request(method, url, headers={"if-match": clean, "x-request-id": clean})
        assert response.status_code < 500


async def test_unknown_paths_and_methods_are_problems(client):
    is_problem(await client.get("/nowhere"), 404, "not-found")
    response = await client.delete("/things")
    is_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, POST"
    is_problem(await client.get("/things/"), 404, "not-found")
    is_problem(await client.get("/%00"), 400, "nul-in-url")


async def test_a_failure_says_only_its_id_and_logs_a_stack_without_values(client):
    with structlog.testing.capture_logs() as logs:
        body = is_problem(await client.get("/fails?how=sql"), 500, "internal-error")
    assert set(body) == {"type", "title", "status", "code", "request_id"}
    [failed] = [line for line in logs if line["event"] == "request failed"]
    assert "in fails" in failed["stack"]
    assert "DE89" not in str(logs)
    assert [line["status"] for line in logs if line["event"] == "request"] == [500]


@pytest.mark.parametrize("how", ["down", "refused", "slow"])
async def test_what_is_unavailable_is_a_503_to_be_tried_again(client, how):
    response = await client.get(f"/fails?how={how}")
    is_problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_a_problem_with_half_a_surrogate_pair_is_still_an_answer(client):
    assert is_problem(await client.get("/fails?how=problem"), 409, "odd")["detail"] == "half ?"


async def test_request_ids_are_kept_when_sound_and_replaced_when_not(client):
    assert (await client.get("/open", headers={"x-request-id": "abc-1.2_3"})).headers["x-request-id"] == "abc-1.2_3"
    for odd in ("x" * 65, "a b", "a\tb", "é".encode("latin-1")):
        assert len((await client.get("/open", headers={"x-request-id": odd})).headers["x-request-id"]) == 32


async def test_the_access_log_has_no_path_no_query_no_body(client):
    with structlog.testing.capture_logs() as logs:
        await client.put("/things/4242?token=geheim", json=GOOD, headers={"if-match": '"7"'})
    [line] = [line for line in logs if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"], line["client"]) == ("PUT", "/things/{number}", 200, "erp-connector")
    assert not {"4242", "geheim", "Crémerie"} & set(str(logs).replace('"', " ").split())


async def test_etags(client):
    async def put(tag: str | None):
        return await client.put("/things/1", json=GOOD, headers={} if tag is None else {"if-match": tag})

    assert etag(7) == '"7"'
    for good in ('"7"', '"6", "7"', 'W/"7", "7"'):
        assert (await put(good)).status_code == 200
    for missing in (None, "*"):
        is_problem(await put(missing), 428, "if-match-required")
    for stale in ('"6"', 'W/"7"', '"77"', '"W/", "8"'):
        is_problem(await put(stale), 412, "version-stale")
    for malformed in ("7", '"7', '"7" "7"', ""):
        is_problem(await put(malformed), 400, "if-match-malformed")


async def test_pages_follow_their_cursor_and_refuse_any_other(client, issuer):
    first = (await client.get("/things?limit=200")).json()
    cursor = first["next_cursor"]
    assert (await client.get("/things", params={"cursor": cursor})).json()["start"] == ["2026-01-01", 200]
    for odd in [cursor[:-1], cursor[1:], cursor + "A", "A" + cursor[1:], "", "é", "====", "AAAA", cursor[:20] + "_" + cursor[21:]]:
        if odd:
            is_problem(await client.get("/things", params={"cursor": odd}), 400, "cursor-refused")
    is_problem(await client.get("/things", params={"cursor": cursor, "state": "closed"}), 400, "cursor-refused")
    is_problem(await client.get("/things", params={"cursor": cursor}, headers=issuer.bearer(tenant_id=str(OTHER))), 400, "cursor-refused")
    for limit in ("0", "201", "-1", "x"):
        is_problem(await client.get("/things", params={"limit": limit}), 422, "validation-failed")


async def test_operations_endpoints(app, client, client_of, verifier, cursors):
    assert (await client.get("/health", headers={"authorization": ""})).json() == {"status": "alive"}
    assert (await client.get("/ready")).json() == {"status": "ready", "checks": {"database": "ok"}}
    assert "encours_http_seconds_count" in (await client.get("/metrics")).text
    page = (await client.get("/docs")).text
    assert re.findall(r"""(?:src|href)=["'](\S*?)["']""", page) == [
        "/docs/swagger-ui.css",
        "/docs/favicon.png",
        "/docs/swagger-ui-bundle.js",
    ]
    assert "SwaggerUIBundle" in (await client.get("/docs/swagger-ui-bundle.js")).text
    assert (await client.get("/docs/../app.py")).status_code == 404
    ill = create_app(
        title="ill",
        version="1",
        routers=[],
        verifier=verifier,
        database=None,
        cursors=cursors,
        readiness={"database": nothing, "broker": broken},
    )
    async with client_of(ill) as unwell:
        response = await unwell.get("/ready")
    assert (response.status_code, response.json()) == (503, {"status": "not ready", "checks": {"database": "ok", "broker": "failed"}})
    assert server_config(app, host="127.0.0.1", port=0).server_header is False


async def test_the_openapi_declares_problems_and_scopes(client):
    schema = (await client.get("/openapi.json")).json()
    create = schema["paths"]["/things"]["post"]
    assert {"201", "400", "401", "403", "413", "415", "422", "503", "default"} <= set(create["responses"])
    assert create["security"] == [{"bearer": ["things:write"]}]
    assert create["responses"]["422"]["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in json.dumps(schema)
    assert "security" not in schema["paths"]["/open"]["get"]
    headers = [each for each in schema["paths"]["/things/{number}"]["put"]["parameters"] if each["in"] == "header"]
    assert [(each["name"], each["required"]) for each in headers] == [("If-Match", True)]
