"""A file on its way in: written to the document store as it arrives, hashed on the way, never held in memory."""

import asyncio
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

from shared import documents
from shared.ids import new_id

from invoicing.imports.reading import Format, detect

_FLUSH = 1024 * 1024


class Received(NamedTuple):
    """A file in the store."""

    sha256: str
    size: int
    format: Format


class Upload:
    """Writes aside in the tenant's folder; `store` gives the file its place. What was not stored is removed on leaving."""

    def __init__(self, folder: Path, tenant_id: UUID) -> None:
        self._folder, self._tenant_id = folder, tenant_id
        self._aside = folder / str(tenant_id) / f"incoming-{new_id().hex}"
        self._digest = hashlib.sha256()
        self._buffer: list[bytes] = []
        self._held = self._size = 0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._aside.parent.mkdir, parents=True, exist_ok=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self._aside.unlink, missing_ok=True)

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._buffer.append(chunk)
        self._held += len(chunk)
        if self._held >= _FLUSH:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        data = b"".join(self._buffer)
        self._buffer, self._held = [], 0
        self._size += len(data)
        self._digest.update(data)
        with self._aside.open("ab") as file:
            file.write(data)

    async def store(self) -> Received:
        """Puts the file under its digest, synced. Raises FileError for what is no file to import (empty, a broken archive)."""
        return await asyncio.to_thread(self._store)

    def _store(self) -> Received:
        self._flush()
        found = detect(self._aside)
        sha256 = self._digest.hexdigest()
        target = documents.path_of(self._folder, self._tenant_id, sha256)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._aside.open("rb") as file:
                os.fsync(file.fileno())
            self._aside.replace(target)
        return Received(sha256, self._size, found)
