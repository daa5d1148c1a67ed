import httpx
import pytest
from scoring.cli import SERVICE
from scoring.settings import ScoringSettings
from shared.service import api, open_runtime
from shared.testing.tokens import public_key_file, token

POLICY = {
    "currency": "EUR",
    "bands": {band: {"limit_minor": 1_000, "payment_terms_days": 30, "down_payment_bp": 0} for band in "ABCDE"},
    "bureau_share_bp": None,
    "bureau_fresh_days": 90,
    "check_days": 14,
    "hold": {"exposure_bp": 12_000, "bands": ["E"], "overdue_days": None, "overdue_minor": None},
}


@pytest.fixture(scope="module")
async def app(urls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    settings = ScoringSettings(
        database_url=urls.app,
        kafka_bootstrap_servers="127.0.0.1:1",
        jwt_public_key_file=public_key_file(folder),
        cursor_secret="x" * 32,
    )
    runtime = open_runtime(SERVICE, settings)
    yield api(runtime)
    await runtime.database.close()


@pytest.fixture
async def http(app, world):
    # the API reads the machine's clock; what is fed here carries no date that matters
    bearer = {"Authorization": f"Bearer {token(world.tenant, 'credit:read', 'credit:write')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://scoring", headers=bearer) as client:
        yield client


async def test_a_check_is_answered_reserved_and_repeated_for_its_key(world, http):
    someone = world.id("c1")
    await world.feed(world.customer(someone))
    body = {"customer_id": str(someone), "amount_minor": 1_500_000, "currency": "EUR"}
    first = await http.post("/v1/credit-checks", json=body, headers={"Idempotency-Key": "k1"})
    assert first.status_code == 201, first.text
    assert (first.json()["decision"], first.json()["limit_minor"]) == ("approved", 2_000_000)
    again = await http.post("/v1/credit-checks", json=body, headers={"Idempotency-Key": "k1"})
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    other = await http.post("/v1/credit-checks", json=body, headers={"Idempotency-Key": "k2"})
    assert (other.json()["decision"], other.json()["reasons"], other.json()["reserved_minor"]) == ("refused", ["over_limit"], 1_500_000)
    credit = (await http.get(f"/v1/customers/{someone}/credit")).json()
    assert (credit["score"], credit["band"], credit["reserved_minor"], credit["hold"]) == (55, "C", 1_500_000, None)
    page = (await http.get(f"/v1/customers/{someone}/decisions", params={"limit": 2})).json()
    assert (len(page["items"]), page["next_cursor"] is None) == (2, False)
    rest = (await http.get(f"/v1/customers/{someone}/decisions", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert {each["kind"] for each in page["items"] + rest["items"]} == {"review", "credit_check"}
    one = await http.get(f"/v1/decisions/{page['items'][0]['decision_id']}")
    assert one.json() == page["items"][0]
    await world.invariants_hold()


async def test_holds_limits_and_policy_by_hand(world, http):
    someone = world.id("c2")
    await world.feed(world.customer(someone))
    held = await http.post(f"/v1/customers/{someone}/hold", json={"reason": "fraud"})
    assert (held.status_code, held.json()["hold"]["automatic"], held.json()["hold"]["placed_by"]) == (200, False, "tester")
    assert (await http.post(f"/v1/customers/{someone}/hold", json={"reason": "again"})).json()["hold"]["note"] == "fraud"
    released = await http.post(f"/v1/customers/{someone}/hold/release", json={"reason": "cleared"})
    assert released.json()["hold"] is None
    limit = await http.put(f"/v1/customers/{someone}/limit", json={"limit_minor": 77, "currency": "EUR", "reason": "season"})
    assert (limit.json()["limit_minor"], limit.json()["limit_reason"]) == (77, "manual")
    assert (await http.get("/v1/policy")).json()["version"] == 0
    assert (await http.put("/v1/policy", json=POLICY)).json()["version"] == 1
    assert (await http.put("/v1/policy", json=POLICY)).json() == {**POLICY, "version": 1}
    assert [each.active for each in await world.published("CreditHoldPlaced", "CreditHoldReleased")] == [True, False]
    actions = [row.action for row in await world.rows("SELECT action FROM audit ORDER BY id")]
    assert actions == ["hold_placed", "hold_released", "limit_set", "policy_set"]
    await world.invariants_hold()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/customers/00000000-0000-0000-0000-000000000001/credit", None, 404),
        ("GET", "/v1/customers/nobody/credit", None, 422),
        ("POST", "/v1/credit-checks", {"customer_id": "00000000-0000-0000-0000-000000000001", "amount_minor": 1, "currency": "EUR"}, 404),
        ("POST", "/v1/credit-checks", {"customer_id": "00000000-0000-0000-0000-000000000001", "amount_minor": 0, "currency": "EUR"}, 422),
        ("POST", "/v1/credit-checks", {"customer_id": "00000000-0000-0000-0000-000000000001", "amount_minor": 1.0, "currency": "EUR"}, 422),
        ("PUT", "/v1/customers/00000000-0000-0000-0000-000000000001/limit", {"limit_minor": 1, "currency": "USD", "reason": "x"}, 422),
        ("PUT", "/v1/customers/00000000-0000-0000-0000-000000000001/limit", {"limit_minor": 1, "currency": "EUR", "reason": "x"}, 404),
        ("POST", "/v1/customers/00000000-0000-0000-0000-000000000001/hold", {"reason": ""}, 422),
        ("POST", "/v1/customers/00000000-0000-0000-0000-000000000001/hold/release", {"reason": "x", "expires_on": "2020-01-01"}, 422),
        ("PUT", "/v1/policy", {**POLICY, "bands": {"A": POLICY["bands"]["A"]}}, 422),
        ("PUT", "/v1/policy", {**POLICY, "hold": {**POLICY["hold"], "bands": ["F"]}}, 422),
        ("GET", "/v1/decisions/00000000-0000-0000-0000-000000000001", None, 404),
    ],
)
async def test_what_is_refused(http, method, path, body, status):
    answer = await http.request(method, path, json=body, headers={"Idempotency-Key": "refused"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


async def test_scopes_and_tenants_are_kept_apart(world, http):
    someone = world.id("c3")
    await world.feed(world.customer(someone))
    reader = {"Authorization": f"Bearer {token(world.tenant, 'credit:read')}"}
    assert (await http.put("/v1/policy", json=POLICY, headers=reader)).status_code == 403
    stranger = {"Authorization": f"Bearer {token(world.id('stranger'), 'credit:read')}"}
    assert (await http.get(f"/v1/customers/{someone}/credit", headers=stranger)).status_code == 404
    assert (await http.get(f"/v1/customers/{someone}/credit", headers={"Authorization": ""})).status_code == 401
