"""The route class of every API: JSON bodies go through `strictjson`, and nothing else lets one in.

Order of checks, cheapest and most telling first: caller and scopes (before a byte of the body is read), declared and
real size (413), content type (415), strict JSON (400), then FastAPI's own validation (422).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from shared.web.auth import Requires
from shared.web.problems import Problem
from shared.web.strictjson import decode

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request body, unless its route says `max_body_size=...`."""


class StrictRequest(Request):
    """A request whose body is limited however it is read, and whose JSON is strict."""

    max_body: int = MAX_BODY

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in chunks. Raises a 413 Problem as soon as it is, or says it is, longer than `max_body`."""
        declared = self.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal() and int(declared[:20]) > self.max_body:
            raise self._too_large()
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > self.max_body:
                raise self._too_large()
            yield chunk

    async def json(self) -> Any:
        """The body as strict JSON. Raises JsonRefusedError."""
        if not hasattr(self, "_json"):
            self._json = decode(await self.body())
        return self._json

    def _too_large(self) -> Problem:
        # closed, because the server would go on reading (and dropping) what a client goes on sending
        close = {"Connection": "close"}
        return Problem(413, "body-too-large", "The body is too large", f"the limit is {self.max_body} bytes", headers=close)


class Route(APIRoute):
    """An APIRoute with strict bodies; `max_body_size` in bytes replaces the default of 16 MiB."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, max_body_size: int | None = None, **options: Any) -> None:
        self.max_body = MAX_BODY if max_body_size is None else max_body_size
        # Not handed on: the framework's own limiter answers in plain text, from outside of every handler.
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the checks of this module."""
        handle = super().get_route_handler()
        required = tuple(requirements(self.dependant))
        # Body(media_type=...) of another kind is taken as bytes; the service parses it
        has_body = self.body_field is not None
        takes_json = self.body_field is not None and _is_json(getattr(self.body_field.field_info, "media_type", None))

        async def checked(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            strict.max_body = self.max_body
            for requirement in required:
                await requirement(strict)
            # read here, also where it is no JSON: the framework would make a 400 of the limit's 413
            if has_body and await strict.body() and takes_json:
                if not _is_json(strict.headers.get("content-type")):
                    raise Problem(415, "media-type-unsupported", "The body must be application/json in UTF-8")
                await strict.json()
            return await handle(strict)

        return checked


def requirements(dependant: Dependant) -> Iterator[Callable[[Request], Awaitable[object]]]:
    """What a route asks of its caller, wherever in its dependencies."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Requires):
            yield dependency.call
        yield from requirements(dependency)


def _is_json(content_type: str | None) -> bool:
    media_type, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = [value.strip('" ') for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "charset"]
    known = media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
    return known and all(charset in {"utf-8", "utf8"} for charset in charsets)


class Router(APIRouter):
    """An APIRouter whose routes are `Route`: what `create_app` takes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"route_class": Route, "redirect_slashes": False, **options})
