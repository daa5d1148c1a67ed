"""Ids. What has a natural key is named by it (UUIDv5), so that doing a thing twice names it once."""

import os
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.envelope import NAMESPACE

from shared.clock import machine_now

if TYPE_CHECKING:
    from hashlib import _Hash


def named_id(kind: str, tenant_id: UUID, *parts: object) -> UUID:
    """UUIDv5 of (kind, tenant, parts): the id of an aggregate that has a natural key, such as the ERP's own number."""
    hashed = _begun(kind, tenant_id).copy()
    hashed.update("\x1f".join(["", *map(str, parts)]).encode())
    return UUID(bytes=hashed.digest()[:16], version=5)


@lru_cache(4096)
def _begun(kind: str, tenant_id: UUID) -> "_Hash":
    return sha1(NAMESPACE.bytes + f"{kind}\x1f{tenant_id}".encode(), usedforsecurity=False)


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562) for what has no natural key. Its order is a hint for indexes and never a promise."""
    milliseconds = int(machine_now().timestamp() * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (2**62 - 1)
    return UUID(int=value)
