"""Mappings of files to import: POST /v1/import-mappings/{name}, GET, and /preview, which says what a sample would become."""

import asyncio
import hashlib
import tempfile
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, JsonValue
from shared.web.auth import Caller, requires
from shared.web.models import Date
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy import Row

from invoicing.api.commands import shown
from invoicing.api.edge import problem_of, runtime_of
from invoicing.handlers import imports as handlers
from invoicing.handlers.refusals import Refusal
from invoicing.imports.mapping import EXAMPLE, Mapping
from invoicing.imports.reading import Batch, Work, detect, next_batch
from invoicing.imports.records import FileError
from invoicing.storage import imports as storage

ROUTER = Router(prefix="/v1/import-mappings", tags=["imports"])
Writer = Annotated[Caller, requires("invoices:write")]
Reader = Annotated[Caller, requires("invoices:read")]
MappingName = Annotated[str, Path(pattern="^[a-z0-9_.-]{1,64}$", examples=["sap-invoices"])]
Mode = Annotated[Literal["issued", "opening", "history"], Query(description="What the file is: see the how-to")]
AsOf = Annotated[Date | None, Query(description="Mode opening: the day as of which its open amounts hold")]
SAMPLE_BYTES = 1024 * 1024
SAMPLE_ROWS = 500
OCTETS: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
"""A route whose body is a file says so: `openapi_extra=OCTETS`."""


_ANSWER: dict[str, JsonValue] = {
    "name": "sap-invoices",
    "version": 2,
    "created_at": "2026-03-05T09:00:00Z",
    "created_by": "erp",
    "mapping": EXAMPLE,
}


class MappingView(BaseModel):
    """A version of a mapping."""

    model_config = shown(_ANSWER)

    name: str
    version: int
    created_at: datetime
    created_by: str
    mapping: Mapping


class MappingPage(BaseModel):
    """A page of mappings, each at its newest version."""

    model_config = shown({"items": [_ANSWER], "next_cursor": None})

    items: list[MappingView]
    next_cursor: str | None


class Told(BaseModel):
    """A fault or a warning."""

    column: str
    rule: str
    detail: str


class PreviewRow(BaseModel):
    """What would become of the rows that begin at `line`, and what was read of them (amounts in minor units)."""

    line: int
    status: Literal["created", "changed", "unchanged", "rejected"]
    faults: list[Told]
    warnings: list[Told]
    read: dict[str, Any] | None


class Preview(BaseModel):
    """What an import of the sample would do; nothing of it was done. `sums` are minor units, as text."""

    model_config = shown(
        {
            "rows": 2,
            "received": 2,
            "accepted": 1,
            "rejected": 1,
            "duplicate": 0,
            "unvalued": 1,
            "sums": {"EUR": {"received": "12000", "accepted": "12000", "rejected": "0", "duplicate": "0"}},
            "items": [
                {
                    "line": 3,
                    "status": "rejected",
                    "faults": [{"column": "Brutto", "rule": "amount", "detail": "is no amount as the mapping writes them"}],
                    "warnings": [],
                    "read": None,
                }
            ],
            "truncated": False,
        }
    )

    rows: int
    received: int
    accepted: int
    rejected: int
    duplicate: int
    unvalued: int
    sums: dict[str, dict[str, str]]
    items: list[PreviewRow]
    truncated: bool


def _view(row: Row[Any]) -> MappingView:
    return MappingView(
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        created_by=row.created_by,
        mapping=Mapping.model_validate_json(row.document),
    )


@ROUTER.post("/{name}", status_code=201, responses={200: {"model": MappingView, "description": "The newest version says the same"}})
async def post_mapping(name: MappingName, command: Mapping, request: Request, response: Response, caller: Writer) -> MappingView:
    """Enters a mapping, or its next version: imports name the version they were made with, and older ones stay."""
    now = runtime_of(request).clock.now()
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        row, new = await handlers.put_mapping(conn, caller.tenant_id, name, command, now=now, actor=caller.subject)
    response.status_code = 201 if new else 200
    return _view(row)


@ROUTER.get("")
async def get_mappings(request: Request, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None) -> MappingPage:
    """Mappings by name."""
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "import-mappings", "filters": {}}
    after = str(cursors.decode(cursor, **bound)[0]) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.mappings(conn, caller.tenant_id, after, limit + 1)
    views = [_view(row) for row in rows[:limit]]
    return MappingPage(items=views, next_cursor=cursors.encode([views[-1].name], **bound) if len(rows) > limit else None)


@ROUTER.get("/{name}")
async def get_mapping(
    name: MappingName, request: Request, caller: Reader, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> MappingView:
    """A mapping, at its newest version or the one that is asked for."""
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        row = await storage.mapping(conn, caller.tenant_id, name, version)
    if row is None:
        raise Problem(404, "mapping-unknown", "There is no such mapping, or not this version of it")
    return _view(row)


@ROUTER.post("/{name}/preview", max_body_size=SAMPLE_BYTES, openapi_extra=OCTETS)
async def post_preview(
    name: MappingName,
    request: Request,
    caller: Writer,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    mode: Mode = "issued",
    as_of: AsOf = None,
) -> Preview:
    """Says row by row what an import of a sample (the first 500 rows of at most 1 MiB) would do, and does nothing.

    422 where the file as a whole cannot be read with the mapping: which line and column, and why.
    """
    runtime, tenant_id = runtime_of(request), caller.tenant_id
    data = await request.body()
    with tempfile.TemporaryDirectory() as folder:
        path = FilePath(folder) / "sample"
        await asyncio.to_thread(path.write_bytes, data)
        async with runtime.database.transaction(tenant_id) as conn:
            try:
                found = await handlers.find_mapping(conn, tenant_id, name, version)
                order = handlers.Order(
                    sha256=hashlib.sha256(data).hexdigest(),
                    size_bytes=len(data),
                    format=await asyncio.to_thread(detect, path),
                    file_name="sample",
                    mapping=found,
                    mode=mode,
                    as_of=as_of,
                    dry_run=True,
                )
                handlers.check_order(order)
            except Refusal as refusal:
                raise problem_of(refusal) from None
            except FileError as error:
                raise unreadable(error) from None
        work = Work(path=path, format=order.format, tenant_id=tenant_id, mapping=found[2], mode=mode, as_of=as_of, scratch=path.parent)
        return await _preview(request, caller, work)


async def _preview(request: Request, caller: Caller, work: Work) -> Preview:
    runtime = runtime_of(request)
    try:
        batch = await asyncio.to_thread(next_batch, work, (0, 0, 1), SAMPLE_ROWS)
    except FileError as error:
        raise unreadable(error) from None
    async with runtime.database.transaction(caller.tenant_id) as conn:
        system = work.mapping.source_system if work.mapping is not None else "ubl"
        tally = await handlers.take(
            conn,
            caller.tenant_id,
            batch,
            dry_run=True,
            work=work,
            source_system=system,
            folder=work.scratch,
            now=runtime.clock.now(),
            actor=caller.subject,
        )
    read = _read(batch)
    items = [
        PreviewRow(line=each.line, status=each.status, faults=_told(each.faults), warnings=_told(each.warnings), read=said)
        for each, said in zip(tally.outcomes, read, strict=True)
    ]
    counted = {name: tally.counted.get(name, 0) for name in ("received", "accepted", "rejected", "duplicate", "unvalued")}
    return Preview(rows=batch.rows, **counted, sums=handlers.as_text(tally.sums), items=items, truncated=not batch.finished)


def _read(batch: Batch) -> list[dict[str, Any] | None]:
    rows: list[dict[str, Any] | None] = []
    rows += [None if each.draft is None else msgspec.to_builtins(each.draft) for each in batch.invoices]
    for customer in batch.customers:
        said = None
        if customer.customer is not None and customer.identity is not None:
            said = {**msgspec.to_builtins(customer.identity), **msgspec.to_builtins(customer.customer)}
            del said["event"], said["version"]
        rows.append(said)
    return [*rows, *(None for _ in (*batch.files, *batch.broken))]


def _told(told: tuple[tuple[str, str, str], ...]) -> list[Told]:
    return [Told(column=column, rule=rule, detail=detail) for column, rule, detail in told]


def unreadable(error: FileError) -> Problem:
    """A file of which nothing can be imported, as a problem."""
    where = f"line {error.line}: " if error.line else ""
    column = f" (column {error.column!r} of the mapping)" if error.column else ""
    return Problem(
        422, "file-unreadable", "The file cannot be imported", errors=[FieldError("", error.rule, f"{where}{error.detail}{column}")]
    )
