"""Documents, stored once under the SHA-256 of their bytes: `documents_dir/TENANT/ab/abcdef...`. Every service reads the same folder.

Invariants: a name never changes its bytes; a file is whole or absent (written aside, synced, then renamed). It is written
before the transaction that names it commits, so a failure leaves at most a file that nobody refers to.
"""

import os
from pathlib import Path
from uuid import UUID

from shared.ids import new_id


def path_of(folder: Path, tenant_id: UUID, sha256: str) -> Path:
    """Where a document lies."""
    return folder / str(tenant_id) / sha256[:2] / sha256


def store(folder: Path, tenant_id: UUID, sha256: str, data: bytes) -> Path:
    """Stores a document whose digest the caller has taken; does nothing where it is there already. Blocks on the disk."""
    path = path_of(folder, tenant_id, sha256)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{sha256}.{new_id().hex}")
    with aside.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return path


def load(folder: Path, tenant_id: UUID, sha256: str) -> bytes | None:
    """A document's bytes, None where there is no such document. Blocks on the disk."""
    try:
        return path_of(folder, tenant_id, sha256).read_bytes()
    except FileNotFoundError:
        return None
