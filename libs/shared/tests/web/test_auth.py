import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_public_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from shared.clock import machine_now
from shared.web.app import create_app
from shared.web.auth import Caller, TokenRefusedError, Verifier, requires
from shared.web.route import Router


def app_of(verifier, cursors):
    router = Router()

    @router.post("/things")
    async def create(caller: Annotated[Caller, requires("things:write", "things:read")], body: dict) -> dict:
        return {
            "tenant": caller.tenant_id,
            "subject": caller.subject,
            "client": caller.client,
            "scopes": sorted(caller.scopes),
            "n": len(body),
        }

    return create_app(title="t", version="1", routers=[router], verifier=verifier, database=None, cursors=cursors, readiness={})


@pytest.fixture
async def client(verifier, cursors, client_of):
    async with client_of(app_of(verifier, cursors)) as client:
        yield client


async def test_a_valid_token_names_its_caller(client, issuer):
    answer = await client.post("/things", json={}, headers=issuer.bearer())
    assert answer.status_code == 200
    assert answer.json()["client"] == "erp-connector"
    assert answer.json()["scopes"] == ["things:read", "things:write"]
    assert (await client.post("/things", json={}, headers=issuer.bearer(client_id=None))).json()["client"] == "erp"


def now(seconds: int = 0) -> int:
    return int(machine_now().timestamp()) + seconds


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": 0},
        {"exp": "soon"},
        {"nbf": 99999999999},
        {"iat": 99999999999},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"client_id": {"a": 1}},
        {"tenant_id": None},
        {"tenant_id": "all"},
        {"tenant_id": 7},
        {"tenant_id": ["0190a000-0000-7000-8000-000000000001"]},
        {"scope": None},
        {"scope": ["things:write"]},
    ],
)
async def test_a_wrong_claim_is_a_401_that_says_nothing(client, issuer, claims):
    with structlog.testing.capture_logs() as logs:
        answer = await client.post("/things", json={}, headers=issuer.bearer(**claims))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert set(answer.json()) == {"type", "title", "status", "code", "request_id"}
    assert any(line["event"] == "authentication refused" and line["reason"] for line in logs)


async def test_clocks_may_differ_by_a_minute_and_no_more(client, issuer):
    for claims, status in [({"exp": now(-50)}, 200), ({"exp": now(-70)}, 401), ({"nbf": now(50)}, 200), ({"nbf": now(70)}, 401)]:
        assert (await client.post("/things", json={}, headers=issuer.bearer(**claims))).status_code == status


async def test_a_missing_scope_is_a_403_and_is_logged(client, issuer):
    with structlog.testing.capture_logs() as logs:
        answer = await client.post("/things", content=b"NaN", headers=issuer.bearer(scope="things:read things:writer"))
    assert answer.status_code == 403, "before the body is looked at"
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert [line["missing"] for line in logs if line["event"] == "authorization refused"] == [["things:write"]]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "bearer", "Token abc"])
async def test_no_token_is_a_401_before_the_body_is_looked_at(client, header):
    answer = await client.post("/things", content=b"{" * (1 << 20), headers={} if header is None else {"authorization": header})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def forged(client, token: str) -> None:
    answer = await client.post("/things", json={}, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_forged_tokens(client, issuer):
    _, claims, signature = issuer.token().split(".")
    for alg in ("none", "None", "NONE", ""):
        head = part({"alg": alg, "typ": "JWT"})
        await forged(client, f"{head}.{claims}.")
        await forged(client, f"{head}.{claims}.{signature}")
    head = part({"alg": "HS256", "typ": "JWT"})
    for secret in (issuer.public.encode(), issuer.public.strip().encode()):  # HS/RS confusion
        mac = base64.urlsafe_b64encode(hmac.new(secret, f"{head}.{claims}".encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        await forged(client, f"{head}.{claims}.{mac}")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    jwk = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    own = {"jwk": jwk, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u", "x5c": ["MIIB"], "kid": "../../dev/null"}
    await forged(client, issuer.token(key=pem, headers=own))
    await forged(client, issuer.token(algorithm="RS512"))
    await forged(client, issuer.token(algorithm="PS256"))
    await forged(client, issuer.token(headers={"crit": ["exp"], "exp": 1}))
    await forged(client, f"{part({'alg': 'RS256'})}.{part({'sub': 'x'})}.{signature}")
    await forged(client, issuer.token() + "A" * 9000)


@given(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
    | st.from_regex(r"[A-Za-z0-9_\-=]{0,30}\.[A-Za-z0-9_\-=]{0,30}\.[A-Za-z0-9_\-=]{0,30}", fullmatch=True)
)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_token_gives_a_500(client, text):
    answer = await client.post("/things", json={}, headers={"authorization": b"Bearer " + text.encode("latin-1")})
    assert answer.status_code == 401


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    )
)
@settings(deadline=None)
async def test_no_token_header_gives_anything_but_a_refusal(verifier, value):
    for head in ({"alg": value}, {"alg": "RS256", "kid": value}, {"alg": "RS256", "crit": value}, {"alg": "RS256", "b64": value}, value):
        with pytest.raises(TokenRefusedError):
            await verifier.verify(f"{part(head)}.{part(value)}.AAAA")


@pytest.mark.parametrize(
    ("key", "algorithm"), [(ec.generate_private_key(ec.SECP256R1()), "ES256"), (ed25519.Ed25519PrivateKey.generate(), "EdDSA")]
)
async def test_other_asymmetric_keys(issuer, tmp_path, key, algorithm):
    file = tmp_path / "public.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    verifier = Verifier(issuer="encours", audience="encours", public_key_file=file)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert (await verifier.verify(issuer.token(key=pem, algorithm=algorithm))).subject == "erp"
    with pytest.raises(TokenRefusedError):
        await verifier.verify(issuer.token())


def test_a_verifier_is_wholly_configured_or_not_made(issuer, tmp_path):
    with pytest.raises(ValueError, match="either"):
        Verifier(issuer="i", audience="a")
    with pytest.raises(ValueError, match="either"):
        Verifier(issuer="i", audience="a", public_key_file=issuer.file, jwks_url="https://x.example")
    with pytest.raises(ValueError, match="named"):
        Verifier(issuer="", audience="a", public_key_file=issuer.file)
    weak = tmp_path / "p384.pem"
    weak.write_bytes(ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ValueError, match="P-256"):
        Verifier(issuer="i", audience="a", public_key_file=weak)


@pytest.fixture
def jwks(issuer):
    """An issuer's key set over real HTTP; `answers` is what it serves, `fetches` how often it was asked."""
    public = load_pem_public_key(issuer.public.encode())
    good = {
        "keys": [
            json.loads(RSAAlgorithm.to_jwk(public)) | {"kid": "one", "use": "sig"},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "mac", "alg": "HS256"},
        ]
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.fetches += 1
            body = server.answer
            self.send_response(200 if body else 500)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.fetches, server.answer = 0, json.dumps(good).encode()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def jwks_verifier(server) -> Verifier:
    return Verifier(issuer="encours", audience="encours", jwks_url=f"http://127.0.0.1:{server.server_port}/jwks")


async def test_keys_of_an_issuer_are_fetched_once_and_chosen_by_id(issuer, jwks):
    verifier = jwks_verifier(jwks)
    for _ in range(5):
        assert (await verifier.verify(issuer.token(headers={"kid": "one"}))).client == "erp-connector"
    for odd in (None, {"kid": "two"}, {"kid": 7}):
        with pytest.raises(TokenRefusedError):
            await verifier.verify(
                issuer.token(headers=odd) if not odd or isinstance(odd["kid"], str) else f"{part({'alg': 'RS256'} | odd)}.e30.AAAA"
            )
    with pytest.raises(TokenRefusedError):
        await verifier.verify(jwt.encode({"sub": "x"}, "secret" * 6, algorithm="HS256", headers={"kid": "mac"}))
    assert jwks.fetches == 1


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"keys":[]}'])
async def test_nobody_gets_in_while_keys_cannot_be_fetched(issuer, jwks, cursors, client_of, answer):
    jwks.answer = answer
    async with client_of(app_of(jwks_verifier(jwks), cursors)) as client:
        response = await client.post("/things", json={}, headers={"authorization": f"Bearer {issuer.token(headers={'kid': 'one'})}"})
    assert response.status_code == 503, response.text
