"""`python -m bench.einvoices`: what a UBL invoice costs from its bytes to the books, step by step. Prints one JSON object.

Costs are processor time, which neighbours on the machine disturb least: milliseconds of one core, of this process (`ms`), of
the worker processes (`reader_ms`) and of the Postgres backend (`postgres_ms`). Rates are wall time. The server is that of
`ENCOURS_POSTGRES_ADMIN_URL`, on this machine.
"""

import asyncio
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import psutil
from invoicing.api.edge import RegisterNumber
from invoicing.api.entities import EntityCommand
from invoicing.einvoices import booking, checks, profiles, reader, schemas, schematron, ubl, xmlfile
from invoicing.einvoices.drafting import draft_of
from invoicing.einvoices.pool import ReaderPool
from invoicing.einvoices.reading import Reading
from invoicing.handlers.entities import find_seller, put_entity
from invoicing.handlers.invoices import receive
from onemachine.firststeps import BUYER, INVOICE, SELLER
from sandbox import ubl as writer
from shared import documents
from shared.db import Database
from shared.ids import new_id
from shared.testing.databases import fresh_database
from sqlalchemy import text

_FILES = 400
_BATCH = 200
_SINGLE = 200
_IBAN = "FR7630006000011234567890189"


def files() -> list[bytes]:
    """Different sound invoices of one line, of about 4 KB."""
    return [writer.write(replace(INVOICE, number=f"E-{n}"), seller=SELLER, buyer=BUYER, account=_IBAN) for n in range(_FILES)]


def steps(data: list[bytes]) -> dict[str, float]:
    """Milliseconds of a core per file and step, in one warm process."""
    for each in data[:100]:
        reader.read(each)
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - whatever the step makes
        begun = process_time()
        found = work(*args)
        spent[name] += process_time() - begun
        return found

    for each in data:
        tree = timed("parse XML", xmlfile.parse, each)
        invoice = timed("read", ubl.read, tree.root)
        profile = profiles.profile_of(invoice.profile, "ubl", invoice.root)
        timed("schema", schemas.findings, tree.root, profile.schema)
        timed("official rules", schematron.findings, tree.root, profile)
        timed("own checks", checks.findings, invoice)
        timed("amounts", booking.book, invoice)
    return {name: seconds / len(data) * 1000 for name, seconds in spent.items()}


def pools(data: list[bytes]) -> dict[str, dict[str, float]]:
    """Reading through the pool, by number of workers."""
    found = {}
    for workers in range(1, len(os.sched_getaffinity(0)) + 1):
        with ReaderPool(workers) as pool:
            for _ in pool.read_all(data[:200]):
                pass
            children = psutil.Process().children(recursive=True)
            before, own, begun = sum(map(_cpu, children)), process_time(), perf_counter()
            verdicts = {reading.verdict for reading in pool.read_all(data)}
            took = perf_counter() - begun
            spent = sum(map(_cpu, children)) - before
            if verdicts != {"accepted"}:
                raise RuntimeError(f"the invoices were {verdicts}")
            found[str(workers)] = {
                "per_s": len(data) / took,
                "reader_ms": spent / len(data) * 1000,
                "ms": (process_time() - own) / len(data) * 1000,
                "resident_mb_each": max(child.memory_info().rss for child in children) / 2**20,
            }
    return found


async def storing(readings: list[Reading], data: list[bytes]) -> dict[str, dict[str, float]]:
    """Drafts into the books and originals into the store: in batches as an import does, and one by one as POST does."""
    tenant, entity = new_id(), new_id()
    now = datetime(2026, 4, 1, 12, tzinfo=UTC)
    found, pairs = {}, list(zip(readings, data, strict=True))
    async with fresh_database(os.environ["ENCOURS_POSTGRES_ADMIN_URL"], "invoicing") as urls:
        database = Database(urls.app, application_name="bench", pool_max=1)
        async with database.transaction(tenant) as conn:
            numbers = tuple(RegisterNumber(scheme=scheme, value=value) for scheme, value in SELLER.company_ids)
            entered = EntityCommand(name=SELLER.name, country=SELLER.country, currency="EUR", vat_id=SELLER.vat_id, company_ids=numbers)
            values = {"entity_id": entity, **entered.model_dump(exclude={"company_ids"})}
            await put_entity(conn, tenant, values, [each.company_id() for each in numbers], actor="bench")
            backend = psutil.Process((await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        with tempfile.TemporaryDirectory() as folder:
            for size, some in ((_BATCH, pairs[:-_SINGLE]), (1, pairs[-_SINGLE:])):
                disk = 0.0
                own, at_server, begun = process_time(), _cpu(backend), perf_counter()
                for part in _parts(some, size):
                    async with database.transaction(tenant) as conn:
                        if (invoice := part[0][0].invoice) is None:
                            raise RuntimeError("an invoice was not read")
                        seller = await find_seller(conn, tenant, invoice.seller)
                        drafts = [draft_of(each, entity_id=entity, source_system="erp", source_version=1) for each, _ in part]
                        outcomes = await receive(conn, tenant, drafts, now=now, actor="bench", seller=seller)
                        if any(outcome.status != "created" for outcome in outcomes):
                            raise RuntimeError("an invoice was not taken")
                        before = perf_counter()
                        for each, content in part:
                            documents.store(Path(folder), tenant, each.sha256, content)
                        disk += perf_counter() - before
                took = perf_counter() - begun
                found[f"batches of {size}" if size > 1 else "one by one"] = {
                    "per_s": len(some) / took,
                    "ms": (process_time() - own) / len(some) * 1000,
                    "postgres_ms": (_cpu(backend) - at_server) / len(some) * 1000,
                    "disk_wall_ms": disk / len(some) * 1000,
                }
        await database.close()
    return found


def _parts(pairs: list[tuple[Reading, bytes]], size: int) -> list[list[tuple[Reading, bytes]]]:
    return [pairs[at : at + size] for at in range(0, len(pairs), size)]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Measures and prints."""
    data = files()
    by_step = steps(data)
    readings = [reader.read(each) for each in data]
    answer = {"steps_ms": by_step, "read_ms": sum(by_step.values()), "pool": pools(data), "store": asyncio.run(storing(readings, data))}
    print(json.dumps(answer, indent=2, default=float))


if __name__ == "__main__":
    main()
