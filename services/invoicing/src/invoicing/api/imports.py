"""Imports of files: POST /v1/imports, progress, the error file, cancel."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, JsonValue
from shared.web.auth import Caller, requires
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy import Row

from invoicing.api.commands import shown
from invoicing.api.edge import problem_of, runtime_of
from invoicing.api.mappings import OCTETS, AsOf, Mode, unreadable
from invoicing.handlers import imports as handlers
from invoicing.handlers.import_errors import error_file
from invoicing.handlers.refusals import Refusal
from invoicing.imports.records import FileError
from invoicing.imports.upload import Upload
from invoicing.storage import imports as storage
from invoicing.storage.rows import as_dict

ROUTER = Router(prefix="/v1/imports", tags=["imports"])
Writer = Annotated[Caller, requires("invoices:write")]
Reader = Annotated[Caller, requires("invoices:read")]
MAX_UPLOAD = 2 * 1024 * 1024 * 1024


class Failure(BaseModel):
    """Why nothing (more) of a file could be imported."""

    rule: str
    line: int
    column: str
    detail: str


_ANSWER: dict[str, JsonValue] = {
    "import_id": "01a21510-136f-7390-b25a-4e72b74f8a7c",
    "state": "done",
    "kind": "invoices",
    "mode": "issued",
    "as_of": None,
    "dry_run": False,
    "format": "csv",
    "file_name": "invoices-2026-03.csv",
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "size_bytes": 184203,
    "mapping": "sap-invoices",
    "mapping_version": 2,
    "source_system": "sap",
    "source": "api",
    "created_by": "erp",
    "created_at": "2026-04-01T08:00:00Z",
    "started_at": "2026-04-01T08:00:01Z",
    "finished_at": "2026-04-01T08:00:09Z",
    "rows": 1004,
    "received": 1000,
    "accepted": 990,
    "rejected": 8,
    "duplicate": 2,
    "unvalued": 1,
    "faults": 11,
    "sums": {"EUR": {"received": "124300000", "accepted": "123100000", "rejected": "950000", "duplicate": "250000"}},
    "rows_per_second": 125.5,
    "failure": None,
    "duplicate_file": False,
}


class ImportView(BaseModel):
    """An import and how far it is.

    received = accepted + rejected + duplicate, and so are the control `sums` of each currency, in minor units as text: the
    amounts payable (mode `opening`: open), credit notes negative. `unvalued` were received without a readable amount and are
    in no sum. `duplicate` in an answer to POST: the same file came before, and this is the import that took it.
    """

    model_config = shown(_ANSWER)

    import_id: UUID
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    kind: str
    mode: str
    as_of: date | None
    dry_run: bool
    format: str
    file_name: str
    sha256: str
    size_bytes: int
    mapping: str | None
    mapping_version: int | None
    source_system: str
    source: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    rows: int
    received: int
    accepted: int
    rejected: int
    duplicate: int
    unvalued: int
    faults: int
    sums: dict[str, dict[str, str]]
    rows_per_second: float | None
    failure: Failure | None
    duplicate_file: bool = False


class ImportPage(BaseModel):
    """A page of imports, the newest first."""

    model_config = shown({"items": [_ANSWER], "next_cursor": None})

    items: list[ImportView]
    next_cursor: str | None


def view(row: Row[Any], *, duplicate: bool = False) -> ImportView:
    """An import as it is answered."""
    said = as_dict(row)
    said |= {"sums": msgspec.json.decode(row.sums), "failure": msgspec.json.decode(row.failure) if row.failure else None}
    said |= {"mapping": row.mapping or None, "mapping_version": row.mapping_version or None, "duplicate_file": duplicate}
    said["rows_per_second"] = round(row.rows * 1000 / row.busy_ms, 1) if row.busy_ms else None
    return ImportView.model_validate(said)


@ROUTER.post(
    "",
    status_code=202,
    max_body_size=MAX_UPLOAD,
    openapi_extra=OCTETS,
    responses={200: {"model": ImportView, "description": "The same file came before: the import that took it"}},
)
async def post_import(
    request: Request,
    response: Response,
    caller: Writer,
    *,
    mapping: Annotated[str | None, Query(pattern="^[a-z0-9_.-]{1,64}$", description="Needed for CSV and XLSX")] = None,
    mapping_version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The newest where none is named")] = None,
    mode: Mode = "issued",
    as_of: AsOf = None,
    source_system: Annotated[str, Query(pattern="^[a-z0-9_.-]{1,64}$", description="Of e-invoices; a mapping names its own")] = "ubl",
    file_name: Annotated[str, Query(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
    dry_run: Annotated[bool, Query(description="Report what would happen, change nothing")] = False,
    repeat: Annotated[bool, Query(description="Take the same file again: what is known by now counts as duplicate")] = False,
) -> ImportView:
    """Takes a file to import: CSV or XLSX by a mapping, an e-invoice (XML, PDF), or a zip of any of them.

    The body is the file itself. 202 it waits for a worker, ask for its progress; 200 the same file with the same mapping
    version and mode came before, and nothing is done; 422 the parts of the request do not fit each other or the file.
    """
    runtime, tenant_id = runtime_of(request), caller.tenant_id
    async with Upload(runtime.settings.documents_dir, tenant_id) as upload:
        async for chunk in request.stream():
            await upload.write(chunk)
        try:
            received = await upload.store()
            async with runtime.database.transaction(tenant_id) as conn:
                found = await handlers.find_mapping(conn, tenant_id, mapping, mapping_version) if mapping is not None else None
                if found is not None and found[2].kind == "customers" and "customers:write" not in caller.scopes:
                    raise Problem(403, "insufficient-scope", "The token lacks a scope")
                order = handlers.Order(
                    sha256=received.sha256,
                    size_bytes=received.size,
                    format=received.format,
                    file_name=file_name,
                    mapping=found,
                    mode=mode,
                    as_of=as_of,
                    dry_run=dry_run,
                    repeat=repeat,
                    source_system=source_system,
                )
                row, new = await handlers.start(conn, tenant_id, order, now=runtime.clock.now(), actor=caller.subject)
        except Refusal as refusal:
            raise problem_of(refusal) from None
        except FileError as error:
            raise unreadable(error) from None
    response.status_code = 202 if new else 200
    response.headers["Location"] = f"/v1/imports/{row.import_id}"
    return view(row, duplicate=not new)


@ROUTER.get("")
async def get_imports(
    request: Request,
    caller: Reader,
    state: Literal["waiting", "running", "done", "failed", "cancelled"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> ImportPage:
    """Imports, the newest first."""
    filters = {} if state is None else {"state": state}
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "imports", "filters": filters}
    before = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.runs(conn, caller.tenant_id, state=state, before=before, limit=limit + 1)
    views = [view(row) for row in rows[:limit]]
    return ImportPage(items=views, next_cursor=cursors.encode([str(views[-1].import_id)], **bound) if len(rows) > limit else None)


@ROUTER.get("/{import_id}")
async def get_import(import_id: UUID, request: Request, caller: Reader) -> ImportView:
    """How far an import is."""
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        row = await storage.run_by_id(conn, caller.tenant_id, import_id)
    if row is None:
        raise Problem(404, "import-unknown", "There is no such import")
    return view(row)


@ROUTER.get(
    "/{import_id}/errors",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The error file, in the order of the file"}},
)
async def get_errors(import_id: UUID, request: Request, caller: Reader) -> StreamingResponse:
    """The error file as CSV: line, column, rule, text, severity (error or warning), and the file's name in its archive."""
    database, tenant_id = runtime_of(request).database, caller.tenant_id
    async with database.transaction(tenant_id) as conn:
        if await storage.run_by_id(conn, tenant_id, import_id) is None:
            raise Problem(404, "import-unknown", "There is no such import")
    headers = {"Content-Disposition": f'attachment; filename="import-{import_id}-errors.csv"'}
    return StreamingResponse(error_file(database, tenant_id, import_id), media_type="text/csv; charset=utf-8", headers=headers)


@ROUTER.post("/{import_id}/cancel")
async def post_cancel(import_id: UUID, request: Request, caller: Writer) -> ImportView:
    """Stops an import after the slice in hand; what it has taken stays. One that has ended stays as it is."""
    runtime = runtime_of(request)
    async with runtime.database.transaction(caller.tenant_id) as conn:
        try:
            row = await handlers.cancel(conn, caller.tenant_id, import_id, now=runtime.clock.now(), actor=caller.subject)
        except Refusal as refusal:
            raise problem_of(refusal) from None
    return view(row)
