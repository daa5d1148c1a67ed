"""`create_app`: a service's API with everything of this package installed.

What holds for every app made here: no input gives a 500; each route takes its JSON through `strictjson` and names the
scopes it requires, or is listed as public; every answer but success is a problem and is declared in the OpenAPI.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import Lifespan

from shared.web.auth import Verifier
from shared.web.edge import Edge
from shared.web.pagination import Cursors
from shared.web.problems import MEDIA_TYPE, Problem, answer, stack
from shared.web.route import Route, Router, requirements
from shared.web.strictjson import JsonRefusedError

Check = Callable[[], Awaitable[object]]
_CHECK_SECONDS = 3.0
_SHUTDOWN_SECONDS = 25
# the files alone are used: its own code would serve them to other routes than ours
_SWAGGER_UI = Path(str(find_spec("fastapi_offline").submodule_search_locations[0])) / "static"  # type: ignore[union-attr,index] # it is a dependency

log = structlog.get_logger(__name__)


def create_app(
    *,
    title: str,
    version: str,
    routers: Iterable[APIRouter],
    verifier: Verifier,
    database: object,
    cursors: Cursors,
    readiness: Mapping[str, Check],
    public: frozenset[str] = frozenset(),
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """The application: `routers` (of `Router`) beside /health, /ready, /metrics and /docs.

    `app.state` holds `verifier`, `database` and `cursors` for the dependencies. `readiness` names checks that raise
    when their part is not ready. `public` lists the path templates that need no token.
    Raises ValueError, at start, for a route that is not a `Route`, or that neither requires a caller nor is public.
    """
    app = FastAPI(
        title=title,
        version=version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,  # the redirect would be built from the Host header
        middleware=[Middleware(Edge)],
        exception_handlers=dict.fromkeys((Problem, JsonRefusedError, RequestValidationError, HTTPException, ClientDisconnect), answer),
        # spans only: its logs would carry exception messages, and the edge has the metrics
        telemetry={"logs": False, "metrics": False, "operation_spans": False},
    )
    app.router.route_class = Route
    app.state.verifier, app.state.database, app.state.cursors = verifier, database, cursors
    for router in routers:
        app.include_router(router)
    _check_routes(app, public)
    app.include_router(_operations(dict(readiness)))
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        return _declare_problems(plain())

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it
    return app


def _check_routes(app: FastAPI, public: frozenset[str]) -> None:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute):
            continue
        if not isinstance(route, Route):
            raise ValueError(f"{context.path}: made by APIRouter; use shared.web.route.Router")  # noqa: TRY004 - a wrong configuration
        if context.path not in public and not any(requirements(context.dependant)):
            raise ValueError(f"{context.path}: requires no scope and is not listed as public")


def _operations(readiness: dict[str, Check]) -> Router:
    router = Router(include_in_schema=False)

    @router.get("/health")
    async def health() -> Response:
        """The process lives. Touches nothing else."""
        return JSONResponse({"status": "alive"})

    @router.get("/ready")
    async def ready() -> Response:
        """Each check by name; the reason of a failure is in the log only."""
        passed = await asyncio.gather(*(_passes(name, check) for name, check in readiness.items()))
        checks = {name: "ok" if ok else "failed" for name, ok in zip(readiness, passed, strict=True)}
        return JSONResponse({"status": "ready" if all(passed) else "not ready", "checks": checks}, 200 if all(passed) else 503)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        """The API for a person to read and try; every script of it comes from here."""
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=request.app.title,
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon.png",
        )

    @router.get("/docs/{name}")
    async def docs_file(name: Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"]) -> Response:
        """A file of Swagger UI, as the package `fastapi-offline` carries it."""
        return FileResponse(_SWAGGER_UI / name, headers={"Cache-Control": "max-age=86400"})

    @router.get("/metrics")
    async def metrics() -> Response:
        """The process's own counters: no collector of ours asks the database."""
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever fails, the part is not ready; the log has it
        log.warning("not ready", check=name, stack=stack(error))
        return False
    return True


# --- OpenAPI ------------------------------------------------------------------------------------------------------
_PROBLEM_SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:encours:problem:validation-failed"]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "code", "detail"],
                "properties": {
                    "in": {"enum": ["body", "query", "path", "header", "cookie"]},
                    "pointer": {"type": "string", "description": "JSON pointer, RFC 6901"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_WITH_BODY = {"400": "Not strict JSON", "413": "Body too large", "415": "Not application/json", "422": "Does not fit its schema"}
_WITH_TOKEN = {"401": "No valid bearer token", "403": "A scope is missing"}


def _declare_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """Adds to each operation the problems that this package answers by itself, and `default` for the service's own."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = _PROBLEM_SCHEMA
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    for operation in (operation for path in schema.get("paths", {}).values() for operation in path.values()):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            responses["422"] = _problem("Does not fit its schema")
        for status, meaning in {
            **(_WITH_BODY if "requestBody" in operation else {}),
            **(_WITH_TOKEN if "security" in operation else {}),
            "503": "A part we need is unavailable; nothing was done",
            "default": "A problem",
        }.items():
            responses.setdefault(status, _problem(meaning))
    return schema


def _problem(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def server_config(app: FastAPI, *, host: str, port: int) -> uvicorn.Config:
    """How an API is served: no server header, no trust in X-Forwarded-*, no access log but ours, 25 s to finish."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
