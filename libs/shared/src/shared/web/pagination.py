"""Keyset pages: a cursor is where the next page starts, signed and bound to tenant, route and filters.

A cursor that was altered, or made for another tenant, route or filter, is a 400 and nothing else: the signature is
checked before anything in it is read. It is signed, not encrypted: positions are ids, dates and numbers only.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query

from shared.web.problems import FieldError, Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_SIGNATURE = 16  # bytes of HMAC-SHA-256: 128 bits

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows per page")]
"""Use as `limit: Limit = DEFAULT_LIMIT`."""
CursorText = Annotated[str | None, Query(alias="cursor", max_length=1024, description="`next_cursor` of the page before")]
"""Use as `cursor: CursorText = None`."""

Position = Sequence[str | int | None]


class Cursors:
    """Signs and checks cursors with one secret (at least 32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:  # noqa: PLR2004 - the block that HMAC-SHA-256 draws its strength from
            raise ValueError("the cursor secret needs at least 32 bytes")
        self._secret = hmac.digest(secret, b"encours cursor 1", "sha256")

    def encode(self, position: Position, *, tenant_id: UUID, route: str, filters: Mapping[str, object]) -> str:
        """The cursor for the row after `position` (the sort columns of the last row, as text, integer or None)."""
        payload = json.dumps(list(position), separators=(",", ":"), ensure_ascii=True).encode()
        return _text(self._sign(payload, tenant_id, route, filters) + payload)

    def decode(self, cursor: str, *, tenant_id: UUID, route: str, filters: Mapping[str, object]) -> tuple[str | int | None, ...]:
        """The position of a cursor made by `encode` with the same tenant, route and filters. Raises a 400 Problem."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _refused() from None
        signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if _text(raw) != cursor:  # the last letter has bits to spare: several texts stand for the same bytes, one is ours
            raise _refused()
        if not hmac.compare_digest(signature, self._sign(payload, tenant_id, route, filters)):
            raise _refused()
        return tuple(json.loads(payload))  # ours: the signature says so

    def _sign(self, payload: bytes, tenant_id: UUID, route: str, filters: Mapping[str, object]) -> bytes:
        bound = json.dumps([str(tenant_id), route, sorted((name, str(value)) for name, value in filters.items() if value is not None)])
        return hmac.digest(self._secret, bound.encode() + b"\0" + payload, "sha256")[:_SIGNATURE]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _refused() -> Problem:
    error = FieldError("/cursor", "cursor-refused", "is not a cursor of this list with these filters", "query")
    return Problem(400, "cursor-refused", "The cursor does not belong to this request", errors=[error])
