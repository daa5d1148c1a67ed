"""The models that say how probable a reading is: the one shipped with the service, and tenants' own, as `matching fit` and `matching
learn` write them; and from which confidence on a tenant has payments settled without a person.

A tenant's model never changes under its name: decisions are replayed with the one they were taken by.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from shared.db import run
from shared.logging import log
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.engine.confidence import Model, ModelError
from matching.domain.engine.habits import Past
from matching.storage.rows import fetch

KEPT = 32
"""Tenants' models that a process keeps: one takes about a megabyte."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A model with what is proven of its threshold (`evaluation.certificate`), and when a tenant's own was learnt."""

    model: Model
    certificate: dict[str, Any]
    learnt_at: datetime | None = None

    @property
    def past(self) -> Past:
        """What a tenant's own past tells beside it."""
        return Past.from_list(self.certificate.get("past", ()))


@cache
def shipped() -> Certified:
    """The default model, read and checked once. Raises ModelError where it was learnt on other evidence than this engine gathers."""
    held = json.loads(files("matching").joinpath("models/default.json").read_text(encoding="utf-8"))
    return Certified(Model.from_dict(held), held["certificate"])


_read: dict[tuple[UUID, str], Certified | ModelError] = {}


async def model_named(conn: AsyncConnection, tenant_id: UUID, name: str) -> Certified:
    """A tenant's model, or the shipped one. Raises ModelError where there is none of this name, or it was learnt on other evidence."""
    if name == shipped().model.name:
        return shipped()
    known = _read.get((tenant_id, name)) or await _load(conn, tenant_id, name)
    if isinstance(known, ModelError):
        raise ModelError(str(known))  # a new one: the one kept would gather tracebacks
    return known


async def _load(conn: AsyncConnection, tenant_id: UUID, name: str) -> Certified | ModelError:
    rows = await fetch(
        conn,
        "SELECT model, CAST(certificate AS text), learnt_at FROM matching_model WHERE tenant_id = :tenant AND name = :name",
        tenant=tenant_id,
        name=name,
    )
    if not rows:
        return ModelError(f"there is no model {name!r}")
    held: Certified | ModelError
    try:
        held = Certified(Model.from_dict(json.loads(rows[0][0])), json.loads(rows[0][1]), rows[0][2])
    except ModelError as error:
        log.error("a tenant's model cannot be used", tenant_id=str(tenant_id), model=name, error=str(error))
        held = error
    while len(_read) >= KEPT:
        del _read[next(iter(_read))]
    return _read.setdefault((tenant_id, name), held)


async def model_or_shipped(conn: AsyncConnection, tenant_id: UUID, name: str | None) -> Certified:
    """The model that is in force under this name; the shipped one where there is none, or where the engine gathers other evidence since."""
    try:
        return await model_named(conn, tenant_id, name) if name is not None else shipped()
    except ModelError:  # logged once, when it was read
        return shipped()


async def in_force(conn: AsyncConnection, tenant_id: UUID) -> Certified:
    """The model that decides for a tenant."""
    rows = await fetch(conn, "SELECT name FROM matching_model WHERE tenant_id = :tenant AND in_force", tenant=tenant_id)
    return await model_or_shipped(conn, tenant_id, rows[0][0] if rows else None)


async def put_in_force(conn: AsyncConnection, tenant_id: UUID, held: Certified | None) -> None:
    """Has a tenant's own model decide from now on; None: the shipped one. Those before are kept, for what they decided.

    Two at once follow each other, and the later one stands.
    """
    await run(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))", key=f"model in force {tenant_id}")
    await run(conn, "UPDATE matching_model SET in_force = false WHERE tenant_id = :tenant AND in_force", tenant=tenant_id)
    if held is not None:
        await run(
            conn,
            "INSERT INTO matching_model (tenant_id, name, model, certificate, learnt_at, in_force) "
            "VALUES (:tenant, :name, :model, CAST(:certificate AS jsonb), :learnt_at, true) "
            "ON CONFLICT (tenant_id, name) DO UPDATE SET in_force = true",
            tenant=tenant_id,
            name=held.model.name,
            model=json.dumps(held.model.as_dict()),
            certificate=json.dumps(held.certificate),
            learnt_at=held.learnt_at,
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's threshold, who set it and when; None where nobody did: the model's counts."""

    threshold: float | None = None
    set_by: str | None = None
    set_at: datetime | None = None


async def policy_of(conn: AsyncConnection, tenant_id: UUID) -> Policy:
    """The threshold that a tenant has set."""
    rows = await fetch(conn, "SELECT threshold, set_by, set_at FROM matching_policy WHERE tenant_id = :tenant", tenant=tenant_id)
    return Policy(*rows[0]) if rows else Policy()


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
