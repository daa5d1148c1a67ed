"""Drops: folders into which an ERP puts its files, by itself or through an SFTP server, imported as POST /v1/imports would.

A file of settings (TOML) says which folder is whose and which mapping reads it:

    [[drop]]
    name = "acme-sap"
    tenant_id = "0199d3a0-0000-7000-8000-000000000001"
    folder = "/drop/acme"
    mapping = "sap-invoices"        # left out: e-invoices, and archives of them
    mode = "issued"
    [drop.sftp]                     # left out: whoever writes into the folder; see `sftp.py`

Invariants: a file is claimed by one rename, so one worker has it; what was claimed is taken up again after a crash, and is the
same import then; it ends in `done` or `failed`, with a report beside it (`.report.json`) and its error file (`.errors.csv`).
Names that begin with a dot or end like a transfer under way are left alone, and so is a file that changed just now.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from contracts.invoices import Origin
from shared.clock import BusinessClock, machine_now
from shared.db import Database
from shared.failures import is_unavailable
from shared.ids import new_id
from shared.logging import log
from sqlalchemy import Row
from watchfiles import awatch

from invoicing.handlers import imports
from invoicing.handlers.import_errors import error_file
from invoicing.handlers.refusals import Refusal
from invoicing.imports.records import FileError
from invoicing.imports.upload import Upload
from invoicing.storage import imports as storage
from invoicing.storage.rows import as_dict

PARTIAL = (".part", ".partial", ".tmp", ".filepart", ".crdownload")
_CHUNK = 1024 * 1024
_SWEEP_MS = 2_000
_ENDED = frozenset({"done", "failed", "cancelled"})


class Sftp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server to fetch files from. Both files lie on this machine; the server's key must be among the known ones."""

    host: str
    port: int = 22
    username: str
    key_file: Path
    known_hosts_file: Path
    directory: str = "."


class Drop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder and what its files are. `settle_seconds`: how long a file must not have changed before it is taken."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_.-]{1,64}$")]
    tenant_id: UUID
    folder: Path
    mapping: str | None = None
    mode: Literal["issued", "opening", "history"] = "issued"
    as_of: date | None = None
    source_system: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_.-]{1,64}$")] = "ubl"
    settle_seconds: float = 5.0
    sftp: Sftp | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    drop: tuple[Drop, ...] = ()


def load(path: Path | None) -> tuple[Drop, ...]:
    """The drops of a settings file; none without one. Raises ValueError saying what is wrong with it."""
    if path is None:
        return ()
    try:
        drops = msgspec.toml.decode(path.read_bytes(), type=_File, dec_hook=lambda _, text: Path(text)).drop
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"drops file {path}: {error}") from None
    for values in ([drop.name for drop in drops], [str(drop.folder) for drop in drops]):
        if len(values) != len(set(values)):
            raise ValueError(f"drops file {path}: two drops have one name or one folder")
    return drops


async def watch(drops: Iterable[Drop], database: Database, documents: Path, clock: BusinessClock, stopping: asyncio.Event) -> None:
    """Imports what comes into the folders until told to stop."""
    async with asyncio.TaskGroup() as group:
        for drop in drops:
            group.create_task(_watch(drop, database, documents, clock, stopping))


async def _watch(drop: Drop, database: Database, documents: Path, clock: BusinessClock, stopping: asyncio.Event) -> None:
    for name in ("", "processing", "done", "failed"):
        await asyncio.to_thread((drop.folder / name).mkdir, parents=True, exist_ok=True)
    async for _ in awatch(drop.folder, stop_event=stopping, rust_timeout=_SWEEP_MS, yield_on_timeout=True, recursive=False):
        try:
            await sweep(drop, database, documents, clock.now())
        except Exception as error:  # noqa: BLE001 - one folder's trouble stops no other; it is told of and tried again
            if is_unavailable(error):
                log.warning("drop_waits", drop=drop.name, why=type(error).__name__)
            else:
                log.error("drop_failed", drop=drop.name, exc_info=error)


async def sweep(drop: Drop, database: Database, documents: Path, now: datetime) -> None:
    """Claims what has come, hands it in, and puts aside what has ended."""
    await asyncio.to_thread(_claim, drop)
    for path in await asyncio.to_thread(lambda: sorted((drop.folder / "processing").iterdir())):
        try:
            row, new = await _hand_in(drop, path, database, documents, now)
        except (Refusal, FileError) as error:
            told: dict[str, Any] = {"state": "refused", "detail": error.detail}
            told |= {"rule": error.code if isinstance(error, Refusal) else error.rule}
            if isinstance(error, Refusal) and error.faults:
                told["faults"] = [{"pointer": each.pointer, "rule": each.code, "detail": each.detail} for each in error.faults]
            await asyncio.to_thread(_put_aside, drop, path, "failed", told)
            continue
        if not new and row.source != _source(drop, path):
            await asyncio.to_thread(_put_aside, drop, path, "done", _report(row, duplicate=True))
        elif row.state in _ENDED:
            folder = "done" if row.state == "done" else "failed"
            if row.faults:
                await _write_errors(database, drop, row.import_id, drop.folder / folder / f"{path.name}.errors.csv")
            await asyncio.to_thread(_put_aside, drop, path, folder, _report(row, duplicate=False))


async def _write_errors(database: Database, drop: Drop, import_id: UUID, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{new_id().hex}")
    with aside.open("w", encoding="utf-8", newline="") as file:
        async for piece in error_file(database, drop.tenant_id, import_id):
            await asyncio.to_thread(file.write, piece)
    await asyncio.to_thread(aside.replace, target)


def _claim(drop: Drop) -> None:
    """Takes files that have come to rest, each by one rename; whoever else is faster has it."""
    latest = machine_now().timestamp() - drop.settle_seconds
    for path in sorted(drop.folder.iterdir()):
        if path.name.startswith(".") or path.name.lower().endswith(PARTIAL) or path.is_symlink() or not path.is_file():
            continue
        try:
            if path.stat().st_mtime <= latest:
                path.rename(drop.folder / "processing" / f"{new_id().hex}-{path.name[-180:]}")
        except FileNotFoundError:
            continue


def _source(drop: Drop, path: Path) -> str:
    return f"{drop.name}:{path.name}"


async def _hand_in(drop: Drop, path: Path, database: Database, documents: Path, now: datetime) -> tuple[Row[Any], bool]:
    """The import of a claimed file, entered where it is not yet. Raises Refusal, FileError."""
    async with database.transaction(drop.tenant_id) as conn:
        row = await storage.run_of_source(conn, drop.tenant_id, _source(drop, path))
    if row is not None:
        return row, True
    async with Upload(documents, drop.tenant_id) as upload:
        with path.open("rb") as file:
            while data := await asyncio.to_thread(file.read, _CHUNK):
                await upload.write(data)
        received = await upload.store()
    async with database.transaction(drop.tenant_id) as conn:
        mapping = await imports.find_mapping(conn, drop.tenant_id, drop.mapping) if drop.mapping is not None else None
        mode: Origin = drop.mode
        order = imports.Order(
            sha256=received.sha256,
            size_bytes=received.size,
            format=received.format,
            file_name=path.name.partition("-")[2],
            mapping=mapping,
            mode=mode,
            as_of=drop.as_of,
            source_system=drop.source_system,
            source=_source(drop, path),
        )
        return await imports.start(conn, drop.tenant_id, order, now=now, actor=f"drop:{drop.name}")


def _report(row: Row[Any], *, duplicate: bool) -> dict[str, Any]:
    names = ("import_id", "state", "file_name", "sha256", "mapping", "mapping_version", "mode", "finished_at")
    said = as_dict(row)
    counted = ("rows", "received", "accepted", "rejected", "duplicate", "unvalued", "faults")
    report = {name: said[name] for name in (*names, *counted)}
    report |= {"sums": json.loads(row.sums), "failure": json.loads(row.failure) if row.failure else None}
    return {**report, "duplicate_file": duplicate}


def _put_aside(drop: Drop, path: Path, folder: str, report: dict[str, Any]) -> None:
    """The report first: a file that lies in `done` or `failed` has one."""
    target = drop.folder / folder / path.name
    _write(target.with_name(f"{path.name}.report.json"), json.dumps(report, default=str, indent=2) + "\n")
    try:
        path.rename(target)
    except FileNotFoundError:
        return  # another worker has put it aside


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{new_id().hex}")
    with aside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
