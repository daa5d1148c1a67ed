"""The model that is shipped with the service (learnt confidence, threshold and certificate, as `matching fit` writes them), and from
which confidence on a tenant has payments settled without a person.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.engine.confidence import Model
from matching.storage.rows import fetch


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model with what is proven of its threshold (`evaluation.certificate`)."""

    model: Model
    certificate: dict[str, Any]


@cache
def shipped() -> Shipped:
    """The default model, read and checked once. Raises ModelError where it was learnt on other evidence than this engine gathers."""
    held = json.loads(files("matching").joinpath("models/default.json").read_text(encoding="utf-8"))
    return Shipped(Model.from_dict(held), held["certificate"])


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's threshold, who set it and when; None where nobody did: the model's counts."""

    threshold: float
    set_by: str | None = None
    set_at: datetime | None = None


async def policy_of(conn: AsyncConnection, tenant_id: UUID) -> Policy:
    """The threshold in force for a tenant."""
    rows = await fetch(conn, "SELECT threshold, set_by, set_at FROM matching_policy WHERE tenant_id = :tenant", tenant=tenant_id)
    return Policy(*rows[0]) if rows else Policy(shipped().model.threshold)


async def set_policy(conn: AsyncConnection, tenant_id: UUID, threshold: float | None, *, by: str, now: datetime) -> None:
    """Sets a tenant's threshold; None: the model's counts again."""
    if threshold is None:
        await run(conn, "DELETE FROM matching_policy WHERE tenant_id = :tenant", tenant=tenant_id)
        return
    await run(
        conn,
        "INSERT INTO matching_policy (tenant_id, threshold, set_by, set_at) VALUES (:tenant, :threshold, :by, :now) "
        "ON CONFLICT (tenant_id) DO UPDATE SET threshold = EXCLUDED.threshold, set_by = EXCLUDED.set_by, set_at = EXCLUDED.set_at",
        tenant=tenant_id,
        threshold=threshold,
        by=by,
        now=now,
    )
