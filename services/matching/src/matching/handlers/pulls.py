"""Files that are fetched from banks: each once, by the same way as one that is uploaded.

Rules:
- a file is known by its source and name there; it is taken in one transaction with that note, and acknowledged to the source
  afterwards, again if need be;
- one that cannot be read, or on which we fail though nothing is amiss with the database, is noted with the reason and waits for a
  person, who has it fetched again, or brings a better one;
- a statement, a report on refunds (pain.002) and a recall (camt.056) are told apart by what they hold; what of the latter two is for a
  person is noted, and waits, in the same way: nobody reads the answer that an upload has;
- a source that does not answer is tried again at the next round, and holds up no other; a file that it does not give, or whose receipt
  it does not take, or that has a name by which no file can be known, holds up no other file.
"""

import asyncio
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import httpx
from shared import audit
from shared.clock import machine_now
from shared.db import savepoint
from shared.failures import is_unavailable, told
from shared.jobs import JobContext
from shared.logging import log
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching import pain002
from matching import recalls as camt056
from matching.bankfiles import BankFileError, NotAStatementError, messages
from matching.handlers import recalls, refund_reports
from matching.handlers.files import take_file
from matching.pulling import MAX_BYTES, NotGivenError, PullError, Remote, Source, connect, nameable
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
    offered = []
    for name in await remote.names():
        if nameable(name):
            offered.append(name)
        else:
            log.error("pulled_file_unnameable", source=source.name, sha256=_digest(name))
    async with context.database.transaction(source.tenant_id) as conn:
        known = await pulls.outcomes(conn, source.tenant_id, source.name, offered)
    before = len(known)
    for name in offered:
        try:
            if name not in known:
                known[name] = await _take(context, source, name, await remote.read(name))
            if known[name] == "taken":
                await remote.taken(name)
        except NotGivenError as error:
            log.warning("pulled_file_waits", source=source.name, sha256=_digest(name), why=str(error))
    return len(known) - before


def _plain(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


def _digest(name: str) -> str:
    """What stands for a name in the log."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


async def _take(context: JobContext, source: Source, name: str, data: bytes) -> str:
    digest, by = hashlib.sha256(data).hexdigest(), f"pull:{source.name}"
    async with context.database.transaction(source.tenant_id) as conn:
        try:
            async with savepoint(conn):
                detail = await _take_in(conn, source.tenant_id, data, digest, by=by, now=context.now)
        except BankFileError as error:
            detail = _plain(str(error))
        except Problem as problem:
            detail = problem.code
        except Exception as error:
            if is_unavailable(error):
                raise
            log.error("pulled_file_failed", source=source.name, sha256=digest, exc_info=error)
            detail = _plain(told(error))
        outcome = "taken" if detail is None else "unreadable"
        await pulls.note(conn, source.tenant_id, source.name, name, sha256=digest, outcome=outcome, detail=detail, at=machine_now())
        await audit.record(conn, source.tenant_id, [(by, "bank_file.pull", digest, {"outcome": outcome})])
    if outcome != "taken":
        log.error("pulled_file_unreadable", source=source.name, sha256=digest, detail=detail)
    return outcome


async def _take_in(conn: AsyncConnection, tenant_id: UUID, data: bytes, digest: str, *, by: str, now: datetime) -> str | None:
    """Takes a file in; returns what of it a person has to look at. Raises BankFileError and Problem: then nothing is kept."""
    if len(data) > MAX_BYTES:
        raise BankFileError(f"the file is larger than {MAX_BYTES} bytes")
    try:
        async with savepoint(conn):
            await take_file(conn, tenant_id, io.BytesIO(data), digest, by=by, now=now)
    except NotAStatementError as error:
        if error.kind not in {"pain.002", "camt.056"}:
            raise
    else:
        return None
    notes = []
    for kind, message in messages(io.BytesIO(data), pain002.MAX_BYTES):
        if kind == "pain.002":
            notes.append(await _report(conn, tenant_id, message, by=by, now=now))
        elif kind == "camt.056":
            notes.append(await _recalls(conn, tenant_id, message, by=by, now=now))
        else:
            raise BankFileError(f"an archive with {kind}, which is not taken in")
    return "; ".join(filter(None, notes))[:300] or None


async def _report(conn: AsyncConnection, tenant_id: UUID, data: bytes, *, by: str, now: datetime) -> str:
    report = await asyncio.to_thread(pain002.parse, data)
    _, reported, _ = await refund_reports.take(conn, tenant_id, report, by=by, now=now)  # what names no refund is about other orders
    odd = Counter(one.outcome for one in reported if one.outcome in refund_reports.ODD)
    return ", ".join(f"refunds: {count} {outcome}" for outcome, count in sorted(odd.items()))


async def _recalls(conn: AsyncConnection, tenant_id: UUID, data: bytes, *, by: str, now: datetime) -> str:
    asked = await asyncio.to_thread(camt056.parse, data)
    _, unknown = await recalls.take(conn, tenant_id, asked, by=by, now=now)
    return f"recalls that name no payment, or several: number {', '.join(map(str, unknown))}" if unknown else ""
