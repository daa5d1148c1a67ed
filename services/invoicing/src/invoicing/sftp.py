"""Files fetched from an SFTP server into a drop's folder, where they are imported like any other.

Invariants: the server's key is one that is known; a fetched file appears in the folder whole, by a rename; on the server it is
moved to `fetched` only when it is here and synced. A failure between the two fetches it again, and the import of the same
bytes is a duplicate.
"""

import asyncio
import os
import stat
from datetime import datetime
from pathlib import Path, PurePosixPath

import asyncssh
from shared.clock import machine_now
from shared.failures import UnavailableError
from shared.logging import log

from invoicing.drops import PARTIAL, Drop, Sftp

FETCHED = "fetched"
MAX_BYTES = 2 * 1024 * 1024 * 1024
_CONNECT_SECONDS = 20


async def fetch(drop: Drop, now: datetime) -> int:  # noqa: ARG001 - the machine's clock tells whether a file has come to rest
    """Fetches what lies on the drop's server; returns how many files. Raises UnavailableError where it cannot be reached."""
    if drop.sftp is None:
        return 0
    try:
        async with _connected(drop.sftp) as connection, connection.start_sftp_client() as client:
            return await _fetch(drop, drop.sftp, client)
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise UnavailableError(f"the server of drop {drop.name}: {type(error).__name__}") from error


def _connected(server: Sftp) -> "asyncssh.connection._SSHConnectionManager":  # type: ignore[name-defined] # asyncssh has no public name for it
    return asyncssh.connect(
        server.host,
        server.port,
        username=server.username,
        client_keys=[str(server.key_file)],
        known_hosts=str(server.known_hosts_file),
        config=None,
        agent_path=None,
        password=None,
        connect_timeout=_CONNECT_SECONDS,
        login_timeout=_CONNECT_SECONDS,
    )


async def _fetch(drop: Drop, server: Sftp, client: asyncssh.SFTPClient) -> int:
    base = PurePosixPath(server.directory)
    await client.makedirs(base / FETCHED, exist_ok=True)
    await asyncio.to_thread(drop.folder.mkdir, parents=True, exist_ok=True)
    latest = machine_now().timestamp() - drop.settle_seconds
    fetched = 0
    for entry in await client.readdir(str(base)):
        name, attributes = str(entry.filename), entry.attrs
        if not stat.S_ISREG(attributes.permissions or 0) or name.startswith(".") or "/" in name or name.lower().endswith(PARTIAL):
            continue
        if (attributes.mtime or 0) > latest:
            continue
        if (attributes.size or 0) > MAX_BYTES:
            log.warning("drop_file_too_large", drop=drop.name)
            continue
        if await asyncio.to_thread((drop.folder / name).exists):
            continue  # an earlier file of that name has not been claimed yet: it must not be written over
        aside = drop.folder / f".{name}.part"
        await client.get(str(base / name), str(aside))
        await asyncio.to_thread(_settle, aside, drop.folder / name)
        await client.posix_rename(str(base / name), str(base / FETCHED / f"{machine_now():%Y%m%dT%H%M%S%f}-{name}"))
        fetched += 1
    return fetched


def _settle(aside: Path, target: Path) -> None:
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)
