"""The outermost layer of every request: its id, its one line in the log, its place in the metrics, and the last catch.

The log line names the route's template, never the path or query (they may hold ids and secrets), and no body or
header. Whatever escapes the handlers becomes a problem here, inside the framework's own error page.
"""

import re

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.clock import monotonic
from shared.ids import new_id
from shared.metrics import HTTP_SECONDS
from shared.web.auth import known_caller
from shared.web.problems import Problem, answer, stack

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)


class Edge:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Other kinds of connection pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = monotonic()
        status = 0  # stays so when the client went away before an answer

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
                    raise Problem(400, "nul-in-url", "A URL holds no NUL")  # noqa: TRY301 - answered like any other
                await self._app(scope, receive, send_marked)
            except Exception as error:  # noqa: BLE001 - the last catch: every failure becomes a problem
                if status:
                    log.error("response broken off", stack=stack(error))  # noqa: TRY400 - exception() would print the values that stack() leaves out
                    raise RuntimeError("response broken off") from None  # tells the server to cut the connection
                await (await answer(request, error))(scope, receive, send_marked)
            finally:
                _record(request, status, monotonic() - started)


def _record(request: Request, status: int, seconds: float) -> None:
    route = getattr(request.scope.get("route"), "path", "unmatched")
    method = request.method if request.method in _METHODS else "other"
    caller = known_caller(request)
    who = {"tenant_id": str(caller.tenant_id), "client": caller.client} if caller else {}
    HTTP_SECONDS.labels(method, route, str(status)).observe(seconds)
    log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), **who)
