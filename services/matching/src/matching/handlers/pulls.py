"""Files that are fetched from banks: each once, by the same way as one that is uploaded.

Rules: a file is known by its source and name there; it is taken in one transaction with that note, and acknowledged to the
source afterwards, again if need be; one that cannot be read is noted with the reason and waits for a person; a source that does
not answer is tried again at the next round, and holds up no other.
"""

import hashlib
import io
from collections.abc import Sequence
from uuid import UUID

import httpx
from shared import audit
from shared.clock import machine_now
from shared.db import savepoint
from shared.jobs import JobContext
from shared.logging import log
from shared.web.problems import Problem

from matching.bankfiles import BankFileError
from matching.handlers.files import take_file
from matching.pulling import PullError, Remote, Source, connect
from matching.storage import pulls


async def pull(
    context: JobContext, tenant_id: UUID, sources: Sequence[Source], *, transport: httpx.AsyncBaseTransport | None = None
) -> int:
    """Fetches what is new from the tenant's sources; returns how many files were taken in or found unreadable."""
    count = 0
    for source in sources:
        if source.tenant_id != tenant_id:
            continue
        try:
            async with connect(source, transport=transport) as remote:
                count += await _drain(context, source, remote)
        except PullError as error:
            log.warning("pull_waits", source=source.name, why=str(error))
    return count


async def _drain(context: JobContext, source: Source, remote: Remote) -> int:
    offered = await remote.names()
    async with context.database.transaction(source.tenant_id) as conn:
        known = await pulls.outcomes(conn, source.tenant_id, source.name, offered)
    before = len(known)
    for name in offered:
        if name not in known:
            known[name] = await _take(context, source, name, await remote.read(name))
        if known[name] == "taken":
            await remote.taken(name)
    return len(offered) - before


async def _take(context: JobContext, source: Source, name: str, data: bytes) -> str:
    digest, by = hashlib.sha256(data).hexdigest(), f"pull:{source.name}"
    outcome, detail = "taken", None
    async with context.database.transaction(source.tenant_id) as conn:
        try:
            async with savepoint(conn):
                await take_file(conn, source.tenant_id, io.BytesIO(data), digest, by=by, now=context.now)
        except BankFileError as error:
            outcome, detail = "unreadable", " ".join(str(error).split())[:300]
        except Problem as problem:
            outcome, detail = "unreadable", problem.code
        await pulls.note(conn, source.tenant_id, source.name, name, sha256=digest, outcome=outcome, detail=detail, at=machine_now())
        await audit.record(conn, source.tenant_id, [(by, "bank_file.pull", digest, {"outcome": outcome})])
    if outcome != "taken":
        log.error("pulled_file_unreadable", source=source.name, sha256=digest, detail=detail)
    return outcome
