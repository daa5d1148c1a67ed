"""Imports: a file handed in becomes a run; a worker takes it slice by slice through the same commands as the API's batches.

Invariants:
- a slice's effects, its progress, its counters and its lines of the error file are one transaction under the run's row
  lock; whoever finds the run elsewhere than where he read it does nothing. So a kill at any moment costs a slice's work and
  no more, and two workers never take one slice twice;
- received = accepted + rejected + duplicate, and the control sums likewise, per currency;
- a dry run goes the same way and is rolled back to before its effects.
"""

import asyncio
import shutil
from collections.abc import Mapping as Read
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
from contracts.invoices import Origin
from shared import audit, documents, outbox
from shared.clock import monotonic
from shared.db import savepoint
from shared.failpoints import failpoint
from shared.failures import is_unavailable
from shared.ids import new_id
from shared.jobs import JobContext
from shared.logging import log
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.handlers.customer_imports import take_customers
from invoicing.handlers.imported import Outcome, take_files, take_invoices
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.imports.mapping import Mapping
from invoicing.imports.reading import Batch, Format, Place, Work, next_batch
from invoicing.imports.records import MAX_ROWS, FileError
from invoicing.storage import imports as storage
from invoicing.storage.imports import Fault

OUTBOX_MAX = 20_000
TURN_SECONDS = 2.0
"""How long one tenant's import goes on before the next tenant's turn."""
_ACTIVE = frozenset({"waiting", "running"})
_FAULTS_OF_ROW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done with a file. `mapping` is a name and a version; `source` says who handed the file in."""

    sha256: str
    size_bytes: int
    format: Format
    file_name: str
    mapping: tuple[str, int, Mapping] | None
    mode: Origin
    as_of: date | None = None
    dry_run: bool = False
    repeat: bool = False
    source_system: str = "ubl"
    source: str = "api"


async def put_mapping(
    conn: AsyncConnection, tenant_id: UUID, name: str, mapping: Mapping, *, now: datetime, actor: str
) -> tuple[Row[Any], bool]:
    """Enters the next version of a mapping; the newest one again changes nothing. Returns its row and whether it is new."""
    newest = await storage.lock_mapping(conn, tenant_id, name)
    document = mapping.stored()
    if newest is not None and msgspec.json.decode(newest.document) == document:
        return newest, False
    version = newest.version + 1 if newest is not None else 1
    await storage.insert_mapping(conn, tenant_id, name=name, version=version, document=document, now=now, actor=actor)
    await audit.record(conn, tenant_id, [(actor, "import-mapping.put", name, {"version": version})])
    row = await storage.mapping(conn, tenant_id, name, version)
    if row is None:
        raise LookupError("a row that this transaction has written")
    return row, True


async def find_mapping(conn: AsyncConnection, tenant_id: UUID, name: str, version: int | None = None) -> tuple[str, int, Mapping]:
    """A mapping by name, the newest version where none is named. Raises Refusal 404."""
    row = await storage.mapping(conn, tenant_id, name, version)
    if row is None:
        raise Refusal(404, "mapping-unknown", "there is no such mapping, or not this version of it")
    return row.name, row.version, Mapping.model_validate_json(row.document)


def check_order(order: Order) -> None:
    """Raises Refusal where the parts of an order do not fit each other."""
    mapping = order.mapping[2] if order.mapping is not None else None
    if mapping is None and order.format in {"csv", "xlsx"}:
        raise refused_at("/mapping", "mapping-missing", "a table is imported with a mapping that says how it is written")
    if order.format in {"xml", "pdf"} and order.mode != "issued":
        raise refused_at("/mode", "mode-needs-table", "an e-invoice does not say what is open or when it was paid: import a table")
    if order.format in {"xml", "pdf"} and mapping is not None and mapping.kind == "customers":
        raise refused_at("/mapping", "format", "an e-invoice holds no customers to import")
    if mapping is not None and mapping.kind == "customers" and order.mode != "issued":
        raise refused_at("/mode", "mode", "customers are imported as they are: the mode is issued")
    if (order.mode == "opening") != (order.as_of is not None):
        raise refused_at("/as_of", "as-of", "an import of mode opening, and no other, says the day as of which it holds")
    if mapping is None or mapping.kind == "customers":
        return
    for mode, name in (("opening", "open"), ("history", "paid_on")):
        if order.mode == mode and name not in mapping.fields:
            raise refused_at("/mapping", "mapping-lacks-field", f"mode {mode} needs a mapping of the field {name}")


async def start(conn: AsyncConnection, tenant_id: UUID, order: Order, *, now: datetime, actor: str) -> tuple[Row[Any], bool]:
    """Enters an import that waits for a worker, whose file is stored. Returns its row and whether it is new: the same file
    with the same mapping and mode is a duplicate of the import that is returned. Raises Refusal.
    """
    check_order(order)
    name, version = order.mapping[:2] if order.mapping is not None else ("", 0)
    import_id = new_id()
    values = {
        "import_id": import_id,
        "kind": order.mapping[2].kind if order.mapping is not None else "invoices",
        "mode": order.mode,
        "as_of": order.as_of,
        "dry_run": order.dry_run,
        "format": order.format,
        "file_name": order.file_name,
        "sha256": order.sha256,
        "size_bytes": order.size_bytes,
        "mapping": name,
        "mapping_version": version,
        "source_system": order.mapping[2].source_system if order.mapping is not None else order.source_system,
        "source": order.source,
        "once": not (order.dry_run or order.repeat),
        "created_by": actor,
    }
    new = await storage.insert_run(conn, tenant_id, values, now)
    if not new:
        same = await storage.same_file(conn, tenant_id, sha256=order.sha256, mapping=name, mapping_version=version, mode=order.mode)
        if same is None:
            raise Refusal(409, "import-ending", "an import of the same file is just ending: send it again")
        return same, False
    await audit.record(conn, tenant_id, [(actor, "import.started", str(import_id), {"sha256": order.sha256, "mode": order.mode})])
    row = await storage.run_by_id(conn, tenant_id, import_id)
    if row is None:
        raise LookupError("a row that this transaction has written")
    return row, True


async def cancel(conn: AsyncConnection, tenant_id: UUID, import_id: UUID, *, now: datetime, actor: str) -> Row[Any]:
    """Stops an import after the slice in hand; what it has taken stays. One that has ended stays as it is. Raises Refusal 404."""
    row = await storage.run_by_id(conn, tenant_id, import_id, lock="FOR UPDATE")
    if row is None:
        raise Refusal(404, "import-unknown", "there is no such import")
    if row.state in _ACTIVE:
        await storage.end_run(conn, tenant_id, import_id, state="cancelled", failure=None, now=now)
        await audit.record(conn, tenant_id, [(actor, "import.cancelled", str(import_id), {"rows": row.rows})])
    return await storage.run_by_id(conn, tenant_id, import_id) or row


# --- the worker's part --------------------------------------------------------------------------------------------------
async def advance(
    context: JobContext, tenant_id: UUID, folder: Path, *, slice_rows: int = MAX_ROWS, turn_seconds: float = TURN_SECONDS
) -> None:
    """One turn of a tenant: slices of its oldest import, for as long as the turn lasts and the outbox does not overflow.

    `folder` is the document store. Whatever a slice meets that can never work is narrowed down to its row, which is rejected.
    """
    until, rows = monotonic() + turn_seconds, slice_rows
    mapping: tuple[UUID, Mapping | None] | None = None
    while monotonic() < until:
        async with context.database.transaction(tenant_id) as conn:
            row = await storage.next_run(conn, tenant_id)
            if row is None or await outbox.depth(conn, OUTBOX_MAX + 1) > OUTBOX_MAX:
                return
            if mapping is None or mapping[0] != row.import_id:
                found = await find_mapping(conn, tenant_id, row.mapping, row.mapping_version) if row.mapping else None
                mapping = (row.import_id, found[2] if found is not None else None)
        try:
            await _slice(context, tenant_id, row, mapping[1], folder, rows)
            rows = slice_rows
        except Exception as error:
            if is_unavailable(error):
                raise
            log.error("import_slice_failed", import_id=str(row.import_id), line=row.line, rows=rows, exc_info=error)
            if rows == 1:
                await _reject_slice(context, tenant_id, row, mapping[1], folder)
            rows = max(1, rows // 10)


def _work(row: Row[Any], tenant_id: UUID, mapping: Mapping | None, folder: Path) -> Work:
    return Work(
        path=documents.path_of(folder, tenant_id, row.sha256),
        format=row.format,
        tenant_id=tenant_id,
        mapping=mapping,
        mode=row.mode,
        as_of=row.as_of,
        scratch=scratch_of(folder, tenant_id, row.import_id),
    )


def scratch_of(folder: Path, tenant_id: UUID, import_id: UUID) -> Path:
    """Where an import keeps what it unpacks and converts, until it ends."""
    return folder / str(tenant_id) / "imports" / str(import_id)


async def _slice(context: JobContext, tenant_id: UUID, row: Row[Any], mapping: Mapping | None, folder: Path, rows: int) -> None:
    started, work = monotonic(), _work(row, tenant_id, mapping, folder)
    place: Place = (row.member, row.offset, row.line)
    try:
        batch = await asyncio.to_thread(next_batch, work, place, rows)
    except FileError as error:
        await _fail(context, tenant_id, row, error)
    else:
        async with context.database.transaction(tenant_id) as conn:
            locked = await _locked(conn, tenant_id, row, place)
            if locked is None:
                return
            tally = await take(
                conn,
                tenant_id,
                batch,
                dry_run=row.dry_run,
                work=work,
                source_system=row.source_system,
                folder=folder,
                now=context.now,
                actor=row.created_by,
            )
            await _keep(conn, tenant_id, locked, batch, tally, started=started, now=context.now)
            await failpoint("import-before-commit")
        await failpoint("import-after-commit")
        if not batch.finished:
            return
    await asyncio.to_thread(shutil.rmtree, work.scratch, ignore_errors=True)


async def _locked(conn: AsyncConnection, tenant_id: UUID, row: Row[Any], place: Place) -> Row[Any] | None:
    """The run's row, locked, if it is still where the slice was read and nobody else has it."""
    locked = await storage.run_by_id(conn, tenant_id, row.import_id, lock="FOR UPDATE SKIP LOCKED")
    if locked is None or locked.state not in _ACTIVE or (locked.member, locked.offset, locked.line) != place:
        return None
    return locked


async def _fail(context: JobContext, tenant_id: UUID, row: Row[Any], error: FileError) -> None:
    failure = {"rule": error.rule, "line": error.line, "column": error.column, "detail": error.detail}
    async with context.database.transaction(tenant_id) as conn:
        if await _locked(conn, tenant_id, row, (row.member, row.offset, row.line)) is not None:
            await storage.end_run(conn, tenant_id, row.import_id, state="failed", failure=failure, now=context.now)


async def _reject_slice(context: JobContext, tenant_id: UUID, row: Row[Any], mapping: Mapping | None, folder: Path) -> None:
    """Rejects the one row that the command path or the database cannot take at all, so that the others go on."""
    place: Place = (row.member, row.offset, row.line)
    started = monotonic()
    batch = await asyncio.to_thread(next_batch, _work(row, tenant_id, mapping, folder), place, 1)
    tally = Tally(batch.member)
    for taken in batch.invoices:
        tally.add(Outcome("rejected", taken.line, taken.currency, taken.amount, (("", "not-storable", "cannot be stored"),)))
    for line in [*(taken.line for taken in batch.customers), *(0 for _ in (*batch.files, *batch.broken))]:
        tally.add(Outcome("rejected", line, None, None, (("", "not-storable", "cannot be stored"),)))
    async with context.database.transaction(tenant_id) as conn:
        locked = await _locked(conn, tenant_id, row, place)
        if locked is not None:
            await _keep(conn, tenant_id, locked, batch, tally, started=started, now=context.now)


@dataclass(slots=True)
class Tally:
    """What became of a slice: counters, control sums by currency, lines of the error file, and each outcome in order."""

    member: str = ""
    counted: dict[str, int] = field(default_factory=dict)
    sums: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Counts one document or customer."""
        self.outcomes.append(outcome)
        status: Literal["accepted", "rejected", "duplicate"] = outcome.counts_as
        for name in ("received", status):
            self.counted[name] = self.counted.get(name, 0) + 1
        if outcome.currency is None or outcome.amount is None:
            self.counted["unvalued"] = self.counted.get("unvalued", 0) + 1
        else:
            sums = self.sums.setdefault(outcome.currency, {})
            for name in ("received", status):
                sums[name] = sums.get(name, 0) + outcome.amount
        member = outcome.member or self.member
        for severity, told in (("error", outcome.faults), ("warning", outcome.warnings)):
            for column, rule, detail in told[:_FAULTS_OF_ROW]:
                self.faults.append(Fault(member=member, line=outcome.line, column_name=column, severity=severity, rule=rule, detail=detail))


async def take(
    conn: AsyncConnection,
    tenant_id: UUID,
    batch: Batch,
    *,
    dry_run: bool,
    work: Work,
    source_system: str,
    folder: Path,
    now: datetime,
    actor: str,
) -> Tally:
    """Takes a slice through the commands; of a dry run nothing stays but what would have become of each."""
    taking = partial(_take, conn, tenant_id, batch, mode=work.mode, source_system=source_system, now=now, actor=actor)
    if dry_run:
        async with savepoint(conn) as trial:
            outcomes = await taking(folder=None)
            await trial.rollback()
    else:
        outcomes = await taking(folder=folder)
    tally = Tally(batch.member)
    for outcome in outcomes:
        tally.add(outcome)
    return tally


async def _take(
    conn: AsyncConnection,
    tenant_id: UUID,
    batch: Batch,
    *,
    mode: Origin,
    source_system: str,
    folder: Path | None,
    now: datetime,
    actor: str,
) -> list[Outcome]:
    """What became of each row of a slice; documents are kept in `folder`, where there is one."""
    outcomes: list[Outcome] = []
    if batch.invoices:
        outcomes += await take_invoices(conn, tenant_id, batch.invoices, batch.label, now=now, actor=actor)
    if batch.customers:
        outcomes += await take_customers(conn, tenant_id, batch.customers, batch.label, actor=actor)
    if batch.files:
        outcomes += await take_files(
            conn, tenant_id, batch.files, mode=mode, source_system=source_system, folder=folder, now=now, actor=actor
        )
    for each in batch.broken:
        error = each.error
        outcomes.append(Outcome("rejected", error.line, None, None, ((error.column, error.rule, error.detail),), member=each.member))
    return outcomes


async def _keep(
    conn: AsyncConnection, tenant_id: UUID, run: Row[Any], batch: Batch, tally: Tally, *, started: float, now: datetime
) -> None:
    if tally.faults:
        await storage.add_faults(conn, tenant_id, run.import_id, run.faults + 1, tally.faults)
    counted = {**tally.counted, "rows": batch.rows, "faults": len(tally.faults), "busy_ms": round((monotonic() - started) * 1000)}
    await storage.advance_run(
        conn,
        tenant_id,
        run.import_id,
        place=batch.place,
        counted=counted,
        sums=_added(msgspec.json.decode(run.sums), tally.sums),
        finished=batch.finished,
        now=now,
    )


def as_text(sums: Read[str, Read[str, int]]) -> dict[str, dict[str, str]]:
    """Control sums as they are stored and answered: minor units as text, since a sum may pass 64 bits."""
    return _added({}, sums)


def _added(stored: Read[str, Read[str, str]], more: Read[str, Read[str, int]]) -> dict[str, dict[str, str]]:
    """Control sums as JSON holds them: minor units as text, since a sum may pass 64 bits."""
    names: Sequence[str] = ("received", "accepted", "rejected", "duplicate")
    return {
        currency: {name: str(int(stored.get(currency, {}).get(name, "0")) + more.get(currency, {}).get(name, 0)) for name in names}
        for currency in sorted({*stored, *more})
    }
