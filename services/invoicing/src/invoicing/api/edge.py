"""What every route of invoicing shares: its runtime, refusals as problems, identifiers as commands hold them."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from contracts.fields import CompanyId
from fastapi import Request, Response
from pydantic import Field
from shared.service import Runtime
from shared.web.auth import Caller
from shared.web.etag import require_match
from shared.web.idempotency import once
from shared.web.models import Command, Line
from shared.web.problems import FieldError, Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.handlers.refusals import Refusal

SourceSystem = Annotated[str, Field(pattern="^[a-z0-9_.-]{1,64}$", examples=["sap"], description="The ERP that the numbers are of")]
Number = Annotated[str, Field(min_length=1, max_length=100), Line]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["FR"])]
CodeText = Annotated[str, Field(pattern="^[a-z0-9_.-]{1,64}$")]
_TITLES = {
    404: "There is no such resource",
    409: "The request contradicts what is there",
    422: "The request cannot be carried out",
}


class RegisterNumber(Command):
    """A company's number in a register; `scheme` is an ISO 6523 ICD such as 0002 (SIREN), or a word such as `duns`."""

    scheme: Annotated[str, Field(pattern="^[A-Za-z0-9:_-]{1,32}$", examples=["0002"])]
    value: Annotated[Number, Field(examples=["552100554"])]

    def company_id(self) -> CompanyId:
        """As events carry it."""
        return CompanyId(scheme=self.scheme, value=self.value)


def runtime_of(request: Request) -> Runtime:
    """The service's runtime."""
    runtime: Runtime = request.app.state.runtime
    return runtime


def problem_of(refusal: Refusal) -> Problem:
    """A refusal as RFC 9457 has it."""
    errors = [FieldError(fault.pointer, fault.code, fault.detail) for fault in refusal.faults]
    return Problem(refusal.status, refusal.code, _TITLES[refusal.status], refusal.detail, errors=errors)


def as_json(body: object, status: int = 200, **headers: str) -> Response:
    """An answer of a route that makes its own, JSON-ready."""
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/json")


async def in_one(request: Request, caller: Caller, produce: Callable[[AsyncConnection], Awaitable[Response]]) -> Response:
    """The answer of `produce` and its effects, once per Idempotency-Key, in one transaction; refusals become problems."""

    async def answer() -> Response:
        try:
            return await produce(conn)
        except Refusal as refusal:
            raise problem_of(refusal) from None

    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        return await once(request, caller, conn, answer)


def matches(request: Request) -> Callable[[int | None], None]:
    """Refuses another version than If-Match names, where the request has one."""

    def check(version: int | None) -> None:
        if "if-match" in request.headers:
            require_match(request, version or 0)

    return check
