"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the same request twice has one effect and one answer.

The key's row, the effect and the outbox rows are one transaction. So a 5xx is never remembered: it means that nothing
happened, and a retry runs. A 2xx is remembered with its effect. A refusal that would be the same again (400, 404, 409,
410, 412, 422) is remembered without its effects: `produce` runs in a savepoint. Others (401, 403, 429 ...) are not.

A second request with the same key waits at the key's row until the first has committed (then it gets that answer) or
rolled back (then it runs); `status` is null only meanwhile. Scope of a key: tenant, client, route. Kept 30 days: bank
retries span weekends.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from sqlalchemy import MetaData, Select, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import machine_now
from shared.db import savepoint
from shared.tables import attach
from shared.web.auth import Caller
from shared.web.problems import MEDIA_TYPE, Problem, request_id

KEPT_DAYS = 30
SLICE = 1000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_REMEMBERED_REFUSALS = frozenset({400, 404, 409, 410, 412, 422})
_REFUSAL = 400


_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
KEYED: dict[str, Any] = {"parameters": [{"name": "Idempotency-Key", "in": "header", "required": True, "schema": _SCHEMA}]}
"""A route that calls `once` says so: `openapi_extra=KEYED`."""

_METADATA = MetaData()
attach(_METADATA)
_KEYS = _METADATA.tables["idempotency_key"]


async def once(
    request: Request,
    caller: Caller,
    conn: AsyncConnection,
    produce: Callable[[], Awaitable[Response]],
    *,
    body_sha256: bytes | None = None,
) -> Response:
    """The answer of `produce`, run at most once per key; call it first thing in the transaction that `conn` is in.

    A remembered answer comes back with `Idempotent-Replayed: true`. A refusal that `produce` raises as Problem is
    returned, not raised, so that the caller's transaction commits the key and nothing else. A route that has streamed its
    body to a file passes that file's `body_sha256`.
    Raises Problem: 400 key missing or malformed, 422 key used for another request, and what is not remembered.
    """
    mine = {"tenant_id": caller.tenant_id, "client": caller.client, "route": _route(request), "key": _key(request)}
    fingerprint = _fingerprint(request, body_sha256 or hashlib.sha256(await request.body()).digest())
    this = and_(*(_KEYS.c[name] == value for name, value in mine.items()))
    row = insert(_KEYS).values(**mine, fingerprint=fingerprint, created_at=machine_now())
    first = await conn.scalar(row.on_conflict_do_nothing().returning(_KEYS.c.key))
    if first is None:
        return await _replay(conn, select(_KEYS.c.fingerprint, _KEYS.c.status, _KEYS.c.headers, _KEYS.c.body).where(this), fingerprint)
    try:
        async with savepoint(conn):
            answer = await produce()
            if answer.status_code >= _REFUSAL:
                raise TypeError("produce refuses by raising a Problem, so that its effects are rolled back")
    except Problem as problem:
        if problem.status not in _REMEMBERED_REFUSALS:
            raise
        answer = problem.response(request_id(request))
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    await conn.execute(update(_KEYS).where(this).values(status=answer.status_code, headers=headers, body=bytes(answer.body)))
    return answer


def _key(request: Request) -> str:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        raise Problem(400, "idempotency-key-missing", "The Idempotency-Key header is required here")
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise Problem(400, "idempotency-key-malformed", "An Idempotency-Key is 1 to 255 visible ASCII characters, given once")
    return keys[0]


def _route(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"


def _fingerprint(request: Request, body_sha256: bytes) -> bytes:
    """SHA-256 of the target and the body's SHA-256: one key on two resources is two requests."""
    target = f"{request.scope['path']}?".encode("utf-8", "surrogatepass") + request.scope.get("query_string", b"") + b"\n"
    return hashlib.sha256(target + body_sha256).digest()


async def _replay(conn: AsyncConnection, stored: Select[bytes, int, dict[str, str], bytes], fingerprint: bytes) -> Response:
    row = (await conn.execute(stored)).one_or_none()
    if row is None or row.status is None:  # forgotten in this very moment
        raise Problem(409, "idempotency-key-in-use", "A request with this key is running", headers={"Retry-After": "1"})
    if row.fingerprint != fingerprint:
        raise Problem(422, "idempotency-key-reused", "This key was used for another request")
    return Response(row.body, row.status, headers={**row.headers, "Idempotent-Replayed": "true"})


async def forget_old(conn: AsyncConnection, before: datetime) -> int:
    """Deletes at most 1,000 keys made before that moment and returns how many: call until 0, a transaction each."""
    old = select(_KEYS.c.tenant_id, _KEYS.c.client, _KEYS.c.route, _KEYS.c.key).where(_KEYS.c.created_at < before).limit(SLICE)
    key = tuple_(_KEYS.c.tenant_id, _KEYS.c.client, _KEYS.c.route, _KEYS.c.key)
    result = await conn.execute(delete(_KEYS).where(key.in_(old)))
    return result.rowcount


async def erase_answers(conn: AsyncConnection, tenant_id: UUID, mention: str) -> int:
    """Blanks the remembered answers of a tenant that contain `mention` (an erased customer's id), and returns how many.

    The key stays, or a late retry would run again; it then gets a 410.
    """
    gone = Problem(410, "answer-erased", "The answer was erased with the customer it was about")
    found = and_(_KEYS.c.tenant_id == tenant_id, func.position(func.convert_to(mention, "UTF8").op("IN")(_KEYS.c.body)) > 0)
    values = {"status": 410, "headers": {"content-type": MEDIA_TYPE}, "body": bytes(gone.response().body)}
    result = await conn.execute(update(_KEYS).where(found).values(values))
    return result.rowcount
