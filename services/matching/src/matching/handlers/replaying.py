"""Taking a stored decision again, from what it was taken on."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.engine.confidence import ModelError
from matching.domain.engine.inputs import InputsError
from matching.domain.replaying import differences, replay
from matching.storage import decisions
from matching.storage.models import model_named, shipped

_JSON = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Replayed:
    """What a decision comes to now. `differs` names what of it is not as it was then: nothing, as long as rules and model are the same."""

    rule: str
    outcome: dict[str, Any]
    differs: list[str]


async def again(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, version: int) -> Replayed:
    """Replays the decision that made this version of a payment. Nothing is changed.

    Raises Problem: 404 where there is none, 409 where it cannot be replayed, saying why.
    """
    decision = await decisions.taken(conn, tenant_id, payment_id, version)
    if decision is None:
        raise Problem(404, "decision-unknown", "There is no such decision")
    held = json.loads(decision.evidence)
    given = json.loads(decision.inputs) if decision.inputs else None
    try:
        model = await model_named(conn, tenant_id, given["model"]) if given else shipped()
        now = replay(decision.rule, held, given, decision.currency, model.model)
    except (InputsError, ModelError) as error:
        raise Problem(409, "decision-not-replayable", "This decision cannot be taken again", str(error)) from error
    now = json.loads(_JSON(now))
    differs = differences(now, {**held, "rule": decision.rule})
    return Replayed(now.pop("rule"), now, differs)
