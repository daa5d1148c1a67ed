"""Schemathesis against a service's own OpenAPI document, over HTTP, on a real database.

What is asked of every answer: no 5xx, a status and a content type that the document names, and a body that fits its schema.
Requests are drawn from the document, valid ones and spoilt ones; ids that exist are put in now and then, or nearly every
request would end at a 404.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import schemathesis
import uvicorn
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from shared.ids import new_id
from shared.service import Service, api, open_runtime
from shared.settings import Settings
from shared.testing.databases import fresh_database
from shared.testing.fixtures import Infrastructure
from shared.testing.tokens import public_key_file, token
from shared.web.app import server_config
from shared.web.route import requirements

Known = Mapping[str, Sequence[Any]]
"""Values that exist, by the name of the parameter or member that takes them."""
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_START_SECONDS = 30
_ANSWER_SECONDS = 60


def fuzz(service: Service, settings: Settings, tenant_id: UUID, known: Known, *, examples: int) -> Counter[tuple[str, int]]:
    """Sends `examples` requests to each operation, as a caller with every scope; counts the answers by operation and status.

    Raises AssertionError with each failure and the request that caused it.
    """
    answers: Counter[tuple[str, int]] = Counter()
    failures: list[str] = []
    with served(service, settings) as (app, base_url):
        document = app.openapi()
        schema = from_dict(document)
        scopes = {
            scope
            for context in iter_route_contexts(app.routes)
            if hasattr(context.original_route, "dependant")
            for requirement in requirements(context.dependant)
            for scope in getattr(requirement, "scopes", ())
        }
        for result in schema.get_all_operations():
            if not isinstance(result, Ok):
                raise AssertionError(f"an operation that cannot be read: {result.err()}")  # noqa: TRY004 - what is wrong is the document
            operation = result.ok()

            @hypothesis_settings(
                max_examples=examples,
                database=None,
                derandomize=True,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(
                case=st.sampled_from(_MODES).flatmap(lambda mode: operation.as_strategy(generation_mode=mode)),
                chance=st.randoms(use_true_random=False),
            )
            def ask(case: schemathesis.Case[Any], chance: Any) -> None:
                _put_in(case, known, chance)
                headers = {"Authorization": f"Bearer {token(tenant_id, *scopes)}"}
                if "idempotency-key" in {name.lower() for name in case.headers or {}}:
                    headers["Idempotency-Key"] = new_id().hex
                try:
                    response = case.call(base_url=base_url, headers=headers, timeout=_ANSWER_SECONDS)
                    answers[operation.label, response.status_code] += 1  # noqa: B023 - as above
                    case.validate_response(response, checks=_CHECKS)
                except FailureGroup as group:
                    failures.extend(f"{each}\n{case.as_curl_command()}" for each in group.exceptions)

            ask()
    assert not failures, f"{len(failures)} failures\n\n" + "\n\n".join(list(dict.fromkeys(failures))[:10])  # noqa: S101 - a test's own
    return answers


async def fuzz_alone(
    service: Service, infrastructure: Infrastructure, folder: Path, *, examples: int, known: Known | None = None
) -> Counter[tuple[str, int]]:
    """`fuzz` on an empty database of the service's own, as a new tenant. `folder` takes its key and documents."""
    async with fresh_database(infrastructure.admin_dsn, service.name) as urls:
        settings = service.settings.model_validate(
            {
                "database_url": urls.app,
                "kafka_bootstrap_servers": "127.0.0.1:1",
                "jwt_public_key_file": public_key_file(folder),
                "cursor_secret": "s" * 32,
                "documents_dir": folder / "documents",
            }
        )
        return fuzz(service, settings, new_id(), known or {}, examples=examples)


def _put_in(case: schemathesis.Case[Any], known: Known, chance: Any) -> None:
    """Puts values that exist where they fit, three times out of four."""
    for place in (case.path_parameters, case.query, case.body):
        if isinstance(place, dict):
            for name in list(place):
                if name in known and known[name] and chance.random() < 0.75:  # noqa: PLR2004 - see above
                    place[name] = chance.choice(list(known[name]))


@contextmanager
def served(service: Service, settings: Settings) -> Iterator[tuple[FastAPI, str]]:
    """The service's API on a port of its own, in a thread with its own event loop: the application and its address."""
    started = threading.Event()
    found: list[Any] = []

    async def run() -> None:
        runtime = open_runtime(service, settings)
        app = api(runtime)
        server = uvicorn.Server(server_config(app, host="127.0.0.1", port=0))
        found.extend([app, server])
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - the server tells of its start in no other way
            await asyncio.sleep(0.01)
        found.append(server.servers[0].sockets[0].getsockname()[1] if server.started else None)
        started.set()
        try:
            await task
        finally:
            await runtime.database.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    if not started.wait(_START_SECONDS) or found[2] is None:
        raise RuntimeError("the API did not start")
    try:
        yield found[0], f"http://127.0.0.1:{found[2]}"
    finally:
        found[1].should_exit = True
        thread.join(_START_SECONDS)
