"""Where bank files are fetched from: an EBICS-like download over HTTP, and a folder over SFTP.

Sources are a JSON file (`ENCOURS_PULL_SOURCES_FILE`), a list of objects with `kind` (`download` or `sftp`), the `tenant_id`
and a `name` of their own. Secrets are files named there, never in it. A source offers files; what was taken is acknowledged
to it, and offered again until that has reached it.
"""

import fnmatch
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from uuid import UUID

import asyncssh
import httpx
import msgspec
from shared.web.models import clean_line

MAX_BYTES = 256 * 1024 * 1024
_UNFINISHED = (".part", ".tmp", ".filepart", ".writing")
_NAME_BYTES = 1024
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class PullError(Exception):
    """A source that does not answer as it should: tried again later. The text names no secret."""


class NotGivenError(PullError):
    """One file that a source does not give, or whose receipt it does not take, while it answers: tried again later."""


class Download(msgspec.Struct, frozen=True, tag_field="kind", tag="download", forbid_unknown_fields=True):
    """An EBICS-like download: files of order types at `url`, with a bearer token where the bank wants one."""

    tenant_id: UUID
    name: str
    url: str
    order_types: tuple[str, ...] = ("C53", "C54")
    token_file: Path | None = None


class Sftp(msgspec.Struct, frozen=True, tag_field="kind", tag="sftp", forbid_unknown_fields=True):
    """A folder on an SFTP server, whose key is in `known_hosts_file`: files that match `pattern`, moved to `done` once taken."""

    tenant_id: UUID
    name: str
    host: str
    username: str
    known_hosts_file: Path
    port: int = 22
    folder: str = "."
    pattern: str = "*"
    done: str | None = None
    key_file: Path | None = None
    password_file: Path | None = None


Source = Download | Sftp


def load(path: Path) -> list[Source]:
    """The sources in a file. Raises ValueError naming what is wrong, and where."""
    found = msgspec.json.decode(path.read_bytes(), type=list[Source], dec_hook=_path)
    names = [(one.tenant_id, one.name) for one in found]
    if len(set(names)) < len(names):
        raise ValueError("two sources of a tenant have one name")
    return found


def _path(kind: type, value: object) -> object:
    """Paths are text in JSON. Raises ValueError for any other value."""
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"expected a path, got {type(value).__name__}")
    return Path(value)


def nameable(name: str) -> bool:
    """Whether a file can be known, and asked for, by a name: one line, not too long for an index, and no way to another folder."""
    try:
        clean_line(name)
        return 0 < len(name.encode()) <= _NAME_BYTES and name not in {".", ".."}
    except ValueError:
        return False


class Remote(Protocol):
    """An open source. Names are the source's own, each of one file."""

    async def names(self) -> list[str]:
        """What it offers."""

    async def read(self, name: str) -> bytes:
        """A file's bytes, of one larger than MAX_BYTES the first, and more than that. Raises NotGivenError."""

    async def taken(self, name: str) -> None:
        """Tells the source that the file is ours. Raises NotGivenError."""


class _Counter:
    def __init__(self, client: httpx.AsyncClient, order_types: tuple[str, ...]) -> None:
        self._client, self._order_types = client, order_types

    async def names(self) -> list[str]:
        found = []
        for order_type in self._order_types:
            answer = await self._client.get("downloads", params={"order_type": order_type})
            answer.raise_for_status()
            found += [str(one["id"]) for one in answer.json()["files"]]
        return found

    async def read(self, name: str) -> bytes:
        data = bytearray()
        with _one_file(httpx.HTTPStatusError):
            async with self._client.stream("GET", f"downloads/{quote(name, safe='')}") as answer:
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        break
        return bytes(data)

    async def taken(self, name: str) -> None:
        with _one_file(httpx.HTTPStatusError):
            (await self._client.post(f"downloads/{quote(name, safe='')}/receipt")).raise_for_status()


class _Folder:
    def __init__(self, client: asyncssh.SFTPClient, source: Sftp) -> None:
        self._client, self._source = client, source

    async def names(self) -> list[str]:
        entries = [one async for one in self._client.scandir(self._source.folder)]
        files = sorted(str(one.filename) for one in entries if one.attrs.type == asyncssh.FILEXFER_TYPE_REGULAR)
        return [
            one
            for one in files
            if fnmatch.fnmatch(one, self._source.pattern) and not one.startswith(".") and not one.endswith(_UNFINISHED) and "/" not in one
        ]

    async def read(self, name: str) -> bytes:
        with _one_file(asyncssh.SFTPError):
            async with self._client.open(f"{self._source.folder}/{name}", "rb") as file:
                data: bytes = await file.read(MAX_BYTES + 1)
        return data

    async def taken(self, name: str) -> None:
        if self._source.done is not None:
            with _one_file(asyncssh.SFTPError):
                await self._client.posix_rename(f"{self._source.folder}/{name}", f"{self._source.done}/{name}")


@contextmanager
def _one_file(refusal: type[Exception]) -> Iterator[None]:
    """What a source that answers refuses of one file. That it is gone is told of as it is."""
    try:
        yield
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
        raise
    except refusal as error:
        raise NotGivenError(type(error).__name__) from error


@asynccontextmanager
async def connect(source: Source, *, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Remote]:
    """The source, open. Whatever is wrong with it while it is used is raised as PullError."""
    try:
        if isinstance(source, Download):
            headers = {"authorization": f"Bearer {_secret(source.token_file)}"} if source.token_file else {}
            base = source.url.rstrip("/") + "/"
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=False) as client:
                yield _Counter(client, source.order_types)
        else:
            async with (
                asyncssh.connect(
                    source.host,
                    source.port,
                    username=source.username,
                    known_hosts=str(source.known_hosts_file),
                    client_keys=[str(source.key_file)] if source.key_file else None,
                    password=_secret(source.password_file) if source.password_file else None,
                    connect_timeout=10,
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                yield _Folder(sftp, source)
    except (httpx.HTTPError, asyncssh.Error, OSError, KeyError, TypeError, ValueError) as error:
        raise PullError(type(error).__name__) from error


def _secret(path: Path) -> str:
    return path.read_text("utf-8").strip()
