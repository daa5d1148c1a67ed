"""`matching learn`: a tenant's own threshold, and model, from what became of its payments."""

import argparse
import json
import sys
from typing import Any
from uuid import UUID

import uvloop
from shared import audit
from shared.cli import settings_of
from shared.service import Runtime, Service, open_runtime

from matching.evaluation.history import HistoryError
from matching.storage.models import Certified, put_in_force

BY = "operator"


def learn_tool(commands: "argparse._SubParsersAction[Any]", service: Service) -> None:
    """`matching learn TENANT [--undo]`: puts the tenant's own model in force, prints its certificate."""
    parser = commands.add_parser("learn", help="learn from a tenant's own books how sure the engine is, and from where on it may settle")
    parser.add_argument("tenant", type=UUID, metavar="TENANT")
    parser.add_argument("--undo", action="store_true", help="have the shipped model decide again")
    parser.set_defaults(run=lambda args: uvloop.run(_learn(service, args.tenant, undo=args.undo)))


async def _learn(service: Service, tenant_id: UUID, *, undo: bool) -> int:
    """Exit status 1 where the tenant's payments are too few."""
    runtime = open_runtime(service, settings_of(service))
    try:
        answer = await (forget(runtime, tenant_id) if undo else learn(runtime, tenant_id))
    except HistoryError as error:
        print(f"matching learn: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    finally:
        await runtime.database.close()
    print(json.dumps(answer))  # noqa: T201 - a command's answer
    return 0


async def learn(runtime: Runtime, tenant_id: UUID) -> dict[str, Any]:
    """Learns and puts in force; returns the model's name and certificate. Raises HistoryError where the payments are too few."""
    from matching.evaluation.own import own_cases  # noqa: PLC0415 - scikit-learn is loaded only where it is needed
    from matching.evaluation.report import chosen  # noqa: PLC0415 - the same

    now = runtime.clock.now()
    cases, past = await own_cases(runtime.database, tenant_id, now)
    model, certificate = chosen(cases, past, "own")
    held = Certified(model, certificate.as_dict(), now)
    async with runtime.database.transaction(tenant_id) as conn:
        await put_in_force(conn, tenant_id, held)
        detail = {name: held.certificate[name] for name in ("threshold", "automatic", "wrong", "upper_limit")}
        await audit.record(conn, tenant_id, [(BY, "matching_model.learn", model.name, detail)])
    return {"model": model.name, "certificate": held.certificate}


async def forget(runtime: Runtime, tenant_id: UUID) -> dict[str, Any]:
    """Has the shipped model decide again."""
    async with runtime.database.transaction(tenant_id) as conn:
        await put_in_force(conn, tenant_id, None)
        await audit.record(conn, tenant_id, [(BY, "matching_model.undo", str(tenant_id), {})])
    return {"model": None}
