"""RFC 9457 problem details: the one form in which this edge says no, and the rule that no input gives a 500.

A problem never repeats what was sent: not in `detail`, not in `errors`. It names the place (`in`, and a JSON pointer
there), a stable code and a sentence of ours. What is unexpected becomes a 500 with a request id and nothing else;
the stack goes to the log, without the messages of drivers and validators, which quote values.
"""

import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import asyncpg
import structlog
from fastapi.exceptions import RequestValidationError, ValidationException
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared.failures import is_unavailable, sqlstate
from shared.web.strictjson import JsonRefusedError, pointer

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 100
_LONGEST_DETAIL = 300
_SERVER_ERROR = 500
# pydantic messages that quote the input
_QUOTING = frozenset({"union_tag_invalid", "uuid_parsing", "url_parsing", "url_syntax_violation", "json_invalid", "get_attribute_error"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One refused value: a JSON pointer (RFC 6901) into `part` of the request, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str
    part: Literal["body", "query", "path", "header", "cookie"] = "body"


class Problem(Exception):  # noqa: N818 - RFC 9457's own word for it
    """An answer other than success: raise it anywhere below a route.

    `code` is the stable end of `type` (`urn:encours:problem:<code>`), in kebab-case; `title` is the same for every
    occurrence of the code, `detail` is about this one. Neither may repeat input.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail or title}")
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def response(self, request_id: str | None = None) -> Response:
        """The problem as application/problem+json."""
        body: dict[str, object] = {
            "type": f"urn:encours:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [
                {"in": error.part, "pointer": error.pointer, "code": error.code, "detail": error.detail} for error in self.errors
            ]
        if request_id:
            body["request_id"] = request_id
        # Escaped first, so that nothing a text may hold can fail to encode; halves of a pair become a question mark.
        text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return Response(text, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def request_id(request: Request) -> str | None:
    """The id that the edge gave the request, None outside of it."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found


async def answer(request: Request, error: Exception) -> Response:
    """The exception handler: any exception as a problem response."""
    problem = problem_of(error, request)
    if problem.status >= _SERVER_ERROR:
        log.error("request failed", status=problem.status, code=problem.code, stack=stack(error))
    elif isinstance(error, SQLAlchemyError):
        log.warning("value refused by the database", code=problem.code, stack=stack(error))
    return problem.response(request_id(request))


def problem_of(error: Exception, request: Request) -> Problem:  # noqa: PLR0911 - a table, one line per kind
    """The problem that an exception is, for the caller."""
    match error:
        case Problem():
            return error
        case JsonRefusedError():
            at = "" if error.position is None else f" at position {error.position}"
            errors = [FieldError(error.pointer or "", error.code, f"{error.detail}{at}")]
            return Problem(400, "json-refused", "The body is not strict JSON", errors=errors)
        case RequestValidationError():
            return Problem(422, "validation-failed", "The request does not fit its schema", errors=_field_errors(error.errors()))
        case HTTPException(status_code=405):
            return Problem(405, "method-not-allowed", "The resource has no such method", headers={"Allow": _allowed(request)})
        case HTTPException(status_code=404):
            return Problem(404, "not-found", "There is no such resource")
        case HTTPException():
            return Problem(error.status_code, f"http-{error.status_code}", "The request was refused", headers=error.headers)
        case ClientDisconnect():
            return Problem(400, "client-disconnected", "The request ended early")
        case DBAPIError() if _is_value_refused(error):
            return Problem(422, "value-not-storable", "A value cannot be stored")
        case _ if is_unavailable(error) or isinstance(error, OperationalError | asyncpg.PostgresConnectionError):
            return unavailable()
        case _:
            return Problem(500, "internal-error", "The request failed; nothing was done")


def unavailable() -> Problem:
    """503: the same request may work in a moment."""
    return Problem(503, "unavailable", "A part we need is unavailable; nothing was done", headers={"Retry-After": "2"})


def _allowed(request: Request) -> str:
    """Every method of the path: the framework names those of the first route only."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    methods = {
        method
        for route in iter_route_contexts(request.app.routes)
        if (pattern := getattr(route, "path_regex", None)) and pattern.match(path)
        for method in route.methods or ()
    }
    return ", ".join(sorted(methods))


def _field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    return [_field_error(error) for error in islice(errors, _MOST_ERRORS)]


def _field_error(error: Mapping[str, Any]) -> FieldError:
    kind = error["type"]
    part, *path = error["loc"]
    detail = "is not valid" if kind in _QUOTING else error["msg"].removeprefix("Value error, ")[:_LONGEST_DETAIL]
    return FieldError(pointer(tuple(path)), kind.replace("_", "-"), detail, part)


def _is_value_refused(error: DBAPIError) -> bool:
    """Class 22, data exception, or the driver's own refusal: such a value slipped through validation."""
    return (sqlstate(error) or "").startswith("22") or isinstance(getattr(error.orig, "__cause__", None), asyncpg.DataError)


def stack(error: BaseException) -> str:
    """The traceback with its causes. Messages of drivers and validators are left out: they quote values."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        said = type(current).__qualname__ if _quotes_values(current) else f"{type(current).__qualname__}: {current}"
        parts.append("".join(traceback.format_tb(current.__traceback__)) + said)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nwhich led to\n".join(reversed(parts))


def _quotes_values(error: BaseException) -> bool:
    known = SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError | ValidationException | ValidationError
    return isinstance(error, known) or type(error).__module__.startswith("sqlalchemy")
