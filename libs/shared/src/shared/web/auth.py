"""Who calls: bearer tokens (JWT, RFC 7519, profile of RFC 9068) of one issuer, for one audience.

The key decides the algorithm, never the token: RS256 for RSA, ES256 for P-256, EdDSA for Ed25519. Nothing symmetric
is ever tried, and what a token says about keys (`jku`, `x5u`, `jwk`, `x5c`) is not read. Whoever is refused learns
only that; the reason is in the log, without the token.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Request, Security
from fastapi.security import HTTPBearer
from jwt.types import Options

from shared.web.problems import Problem, unavailable

LEEWAY_SECONDS = 60
_LONGEST_TOKEN = 8192
_NAME = re.compile(r"[\x21-\x7e]{1,255}")
_OPTIONS: Options = {"require": ["iss", "aud", "exp", "sub"], "enforce_minimum_key_length": True}
_CALLER = "encours.caller"  # where a request's scope keeps its caller

log = structlog.get_logger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a valid token names: the tenant, the person or machine (`sub`), the application (`client_id` or `azp`)."""

    tenant_id: UUID
    subject: str
    client: str
    scopes: frozenset[str]


class TokenRefusedError(Exception):
    """A token that is not valid here. The message is for the log and quotes nothing of it."""


def _algorithm(key: object) -> str:
    """The one algorithm a public key is used with. Raises ValueError for any other kind of key."""
    if isinstance(key, RSAPublicKey):
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    raise ValueError("a token key is RSA, P-256 or Ed25519")


class Verifier:
    """Verifies tokens of one issuer with a public key file, or with the keys that the issuer's JWKS URL serves.

    The key set is fetched in a thread, kept for five minutes, and asked again for an unknown key id at most every
    30 s (PyJWKClient). While it cannot be fetched nobody gets in: 503.
    """

    def __init__(self, *, issuer: str, audience: str, public_key_file: Path | None = None, jwks_url: str | None = None) -> None:
        if (public_key_file is None) == (jwks_url is None):
            raise ValueError("tokens are verified with either a public key file or a JWKS url")
        if not issuer or not audience:
            raise ValueError("the token issuer and audience must be named")
        self._issuer, self._audience = issuer, audience
        self._key: Any = None
        if public_key_file is not None:
            self._key = load_pem_public_key(public_key_file.read_bytes())
            _algorithm(self._key)
        self._jwks = jwt.PyJWKClient(jwks_url, timeout=5) if jwks_url is not None else None

    async def verify(self, token: str) -> Caller:
        """The caller a token names. Raises TokenRefusedError, or a 503 Problem while keys cannot be fetched."""
        if len(token) > _LONGEST_TOKEN:
            raise TokenRefusedError("longer than 8 KiB")
        try:
            key = self._key or await self._fetch_key(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[_algorithm(key)],
                options=_OPTIONS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:  # the last two: odd headers that PyJWT hands to its parsers
            raise TokenRefusedError(type(error).__name__) from error
        return _caller(claims)

    async def _fetch_key(self, token: str) -> PublicKey:
        assert self._jwks is not None  # noqa: S101 - the constructor set one of the two
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str):
            raise TokenRefusedError("names no key")
        try:
            found = await asyncio.to_thread(self._jwks.get_signing_key, kid)
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, OSError, ValueError) as error:
            raise unavailable() from error
        except jwt.PyJWKClientError:
            if self._jwks.jwk_set_cache is None or self._jwks.jwk_set_cache.get() is None:  # no set, rather than no such key
                raise unavailable() from None
            raise
        key: PublicKey = found.key
        return key


def _caller(claims: dict[str, Any]) -> Caller:
    subject, client, scope = claims["sub"], claims.get("client_id") or claims.get("azp") or claims["sub"], claims.get("scope")
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in (subject, client)):
        raise TokenRefusedError("subject or client is not 1 to 255 visible ASCII characters")
    if not isinstance(scope, str):
        raise TokenRefusedError("names no scope")
    try:
        tenant_id = UUID(claims["tenant_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise TokenRefusedError("names no tenant") from None
    return Caller(tenant_id, subject, client, frozenset(scope.split()))


class Requires(HTTPBearer):
    """Dependency: the caller, provided that it has every scope. Cached per request, so the token is verified once."""

    def __init__(self, scopes: frozenset[str]) -> None:
        super().__init__(bearerFormat="JWT", scheme_name="bearer", auto_error=False)
        self.scopes = scopes

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]  # a caller instead of raw credentials
        """Raises a 401 Problem without a valid token, a 403 Problem without the scopes."""
        caller: Caller | None = request.scope.get(_CALLER)
        if caller is None:
            caller = request.scope[_CALLER] = await self._authenticate(request)
        if missing := self.scopes - caller.scopes:
            log.warning("authorization refused", tenant_id=str(caller.tenant_id), client=caller.client, missing=sorted(missing))
            challenge = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(self.scopes))}"'
            raise Problem(403, "insufficient-scope", "The token lacks a scope", headers={"WWW-Authenticate": challenge})
        return caller

    async def _authenticate(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            log.warning("authentication refused", reason="no bearer token")
            raise Problem(401, "unauthenticated", "A bearer token is required", headers={"WWW-Authenticate": "Bearer"})
        verifier: Verifier = request.app.state.verifier
        try:
            return await verifier.verify(token.strip())
        except TokenRefusedError as error:
            log.warning("authentication refused", reason=str(error))
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Problem(401, "unauthenticated", "A bearer token is required", headers=headers) from error


def requires(*scopes: str) -> Any:
    """A dependency that gives a Caller with all of `scopes`, to stand in Annotated[Caller, ...] of a route's parameter."""
    return Security(Requires(frozenset(scopes)), scopes=list(scopes))


def known_caller(request: Request) -> Caller | None:
    """The caller of a request whose token was verified, else None."""
    return request.scope.get(_CALLER)
