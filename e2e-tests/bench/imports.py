"""`python -m bench.imports [--rows N]` in e2e-tests: a CSV file of N invoices (1,000,000 unless said) through the product's own
processes, with its worker killed twice (SIGKILL) on the way.

Prints progress, then one JSON object: whether counters and control sums are what the generator wrote, to the cent; rows a
second and milliseconds a row in each tenth; peak resident memory of each process; what the database and the topics hold.
Exit 1 where a sum or a count differs, or memory passes --memory-mb.
"""

# ruff: noqa: S311, PLR2004 - a seeded generator, and the shares it makes
import argparse
import asyncio
import csv
import json
import os
import sys
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import invoicing.cli  # noqa: F401 - its migrations are found through the package
from onemachine.testing import infrastructure
from shared.clock import monotonic
from shared.kafka import Offsets, create_topics
from shared.testing.databases import Urls, fresh_database
from shared.testing.tokens import public_key_file, token

from bench.rig import Rig, say

TENANT, ENTITY = UUID(int=11), UUID(int=12)
PORT = 21_988
CUSTOMERS = 20_000
TENTHS = 10
SCOPES = ("entities:write", "invoices:write", "invoices:read", "customers:write")
COLUMNS = ("Company", "Document", "Type", "Customer", "Date", "Due", "Crcy", "Gross", "Tax", "Order", "Refers to")
MAPPING: dict[str, Any] = {
    "kind": "invoices",
    "source_system": "sap",
    "file": {"encoding": "windows-1252", "separator": ";"},
    "numbers": {"decimal": ",", "thousands": ".", "negative": "trailing"},
    "dates": ["DD.MM.YYYY"],
    "signs": "signed",
    "fields": {
        "entity_id": {"column": "Company", "values": {"1000": str(ENTITY)}},
        "invoice_number": {"column": "Document"},
        "kind": {"column": "Type", "values": {"RV": "invoice", "RG": "credit_note"}},
        "customer_number": {"column": "Customer"},
        "issue_date": {"column": "Date"},
        "due_date": {"column": "Due"},
        "currency": {"column": "Crcy"},
        "total": {"column": "Gross"},
        "tax": {"column": "Tax"},
        "order_number": {"column": "Order"},
        "preceding_invoice": {"column": "Refers to"},
    },
}


@dataclass
class Truth:
    """What the generator wrote, by currency in minor units."""

    sums: dict[str, Counter[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, status: str, currency: str, amount: int) -> None:
        for name in ("received", status):
            self.counts[name] += 1
            self.sums.setdefault(currency, Counter())[name] += amount


def amount_text(minor: int) -> str:
    """1.234,50 or 1.234,50- as SAP writes it: independent of the product's own writer."""
    whole, cents = divmod(abs(minor), 100)
    return f"{whole:,}".replace(",", ".") + f",{cents:02}" + ("-" if minor < 0 else "")


def generate(path: Path, rows: int) -> Truth:
    """A file in which one row in 20 is a credit note, one in 500 has an impossible date, one in 1000 repeats an earlier row."""
    random, truth = Random(20260305), Truth()
    kept: list[tuple[list[str], str, int]] = []
    with path.open("w", encoding="windows-1252", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(COLUMNS)
        for n in range(rows):
            if kept and n % 1000 == 999:
                cells, currency, amount = kept[random.randrange(len(kept))]
                writer.writerow(cells)
                truth.add("duplicate", currency, amount)
                continue
            credit, wrong = n % 20 == 7, n % 500 == 311
            currency = "USD" if n % 9 == 4 else "EUR"
            amount = random.randint(1_00, 250_000_00) * (-1 if credit else 1)
            day, month = random.randint(1, 28), random.randint(1, 6)
            cells = [
                "1000",
                f"90{n:09}",
                "RG" if credit else "RV",
                f"{100_000 + random.randrange(CUSTOMERS)}",
                "31.02.2026" if wrong else f"{day:02}.{month:02}.2026",
                f"{day:02}.{month + 1:02}.2026",
                currency,
                amount_text(amount),
                amount_text(amount // 6 if amount > 0 else -(-amount // 6)),
                f"PO-{n % 50_000}" if n % 3 == 0 else "",
                f"90{n - 3:09}" if credit and n > 3 else "",
            ]
            writer.writerow(cells)
            truth.add("rejected" if wrong else "accepted", currency, amount)
            if not wrong and n % 97 == 0:
                kept.append((cells, currency, amount))
    return truth


def memory_mb(pid: int) -> float:
    """Peak resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Roles:
    """The service's processes; remembers the most memory that each role has had."""

    def __init__(self, rig: Rig, stack: ExitStack, environment: dict[str, str]) -> None:
        self._rig, self._environment = rig, environment
        self._stacks: dict[str, ExitStack] = {}
        self._pids: dict[str, int] = {}
        self.peak: dict[str, float] = {}
        self.cpu: defaultdict[str, float] = defaultdict(float)
        stack.callback(self.kill_all)

    def start(self, role: str) -> None:
        """Starts a role."""
        self._stacks[role] = ExitStack()
        self._pids[role] = self._stacks[role].enter_context(self._rig.process("-m", "invoicing", role, **self._environment)).pid

    def look(self) -> None:
        """Notes the memory of every process."""
        for role, pid in self._pids.items():
            self.peak[role] = max(self.peak.get(role, 0.0), memory_mb(pid))

    def cpu_of(self, role: str) -> tuple[int, float]:
        """A role's process and the processor time that it has taken."""
        pid = self._pids[role]
        return pid, cpu_seconds(pid)

    def kill_all(self) -> None:
        """SIGKILL for every role that runs."""
        for role in list(self._stacks):
            self.kill(role)

    def kill(self, role: str) -> None:
        """SIGKILL."""
        self.look()
        self.cpu[role] += cpu_seconds(self._pids[role])
        del self._pids[role]
        self._stacks.pop(role).close()


@dataclass
class Backends:
    """Processor time of the server's processes that serve the service's own role in one database."""

    conn: asyncpg.Connection
    database: str
    seen: dict[int, float] = field(default_factory=dict)
    total: float = 0.0

    async def look(self) -> float:
        """Seconds so far; a process that began since the last look counts from its beginning."""
        pids = await self.conn.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1 AND usename = 'invoicing'", self.database)
        for (pid,) in pids:
            try:
                used = cpu_seconds(pid)
            except OSError:
                continue
            self.total += used - self.seen.get(pid, 0.0)
            self.seen[pid] = used
        return self.total


async def upload(http: httpx.AsyncClient, path: Path) -> dict[str, Any]:
    """Sends the file as a stream."""

    async def chunks() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while data := file.read(1024 * 1024):
                yield data

    answer = await http.post("/v1/imports", content=chunks(), params={"mapping": "sap"}, headers={"content-type": "text/csv"}, timeout=600)
    if answer.status_code != 202:
        raise RuntimeError(answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def measure(rig: Rig, rows: int) -> dict[str, Any]:
    """Runs it; the figures."""
    prefix = rig.prefix()
    await create_topics(rig.bootstrap, prefix=prefix, replication=1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        async with fresh_database(rig.admin_dsn, "invoicing") as urls:
            environment = urls.environment() | {
                "ENCOURS_TOPIC_PREFIX": prefix,
                "ENCOURS_CURSOR_SECRET": "c" * 32,
                "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(Path(folder))),
                "ENCOURS_DOCUMENTS_DIR": f"{folder}/documents",
                "ENCOURS_HTTP_PORT": str(PORT),
                "ENCOURS_LOG_LEVEL": "WARNING",
            }
            path = Path(folder) / "invoices.csv"
            truth = generate(path, rows)
            say(f"{rows} rows, {path.stat().st_size / 1e6:.1f} MB")
            roles = Roles(rig, stack, environment)
            for role in ("api", "worker", "relay"):
                roles.start(role)
            headers = {"authorization": f"Bearer {token(TENANT, *SCOPES)}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", headers=headers) as http:
                await _ready(http)
                entity = {"name": "Ateliers Morvan SAS", "country": "FR", "currency": "EUR", "unknown_buyer": "create"}
                (await http.put(f"/v1/entities/{ENTITY}", json=entity)).raise_for_status()
                (await http.post("/v1/import-mappings/sap", json=MAPPING)).raise_for_status()
                return await _run(http, urls, roles, path, truth, rows, prefix, rig)


async def _ready(http: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            if (await http.get("/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError("the API did not start")


async def _run(
    http: httpx.AsyncClient, urls: Urls, roles: Roles, path: Path, truth: Truth, rows: int, prefix: str, rig: Rig
) -> dict[str, Any]:
    begun = monotonic()
    run = await upload(http, path)
    uploaded = monotonic() - begun
    say(f"uploaded in {uploaded:.1f} s")
    kills = iter((rows // 3, 2 * rows // 3, 10**12))
    next_kill = next(kills)
    database = await asyncpg.connect(urls.check)
    samples: list[tuple[int, int]] = [(0, 0)]
    working: list[tuple[int, int]] = [(0, 0)]
    seen = (0, 0.0)
    backends = Backends(await asyncpg.connect(rig.admin_dsn), urls.database)
    database_work: list[tuple[int, int]] = [(0, 0)]
    killed = told = 0
    started = monotonic()
    while True:
        row = await database.fetchrow('SELECT state, "rows", busy_ms FROM import_run WHERE import_id = $1', UUID(run["import_id"]))
        if row["rows"] > samples[-1][0]:
            samples.append((row["rows"], row["busy_ms"]))
            now = roles.cpu_of("worker")
            used = now[1] - seen[1] if now[0] == seen[0] else 0.0  # what a new process took to start is no cost of a row
            working.append((row["rows"], working[-1][1] + round(used * 1000)))
            seen = now
            serving = await backends.look()
            database_work.append((row["rows"], round(serving * 1000)))
        if row["state"] not in {"waiting", "running"}:
            break
        if row["rows"] >= next_kill:
            roles.kill("worker")
            killed += 1
            say(f"worker killed at row {row['rows']}")
            roles.start("worker")
            next_kill = next(kills)
        if row["rows"] // (rows // TENTHS or 1) > told:
            told = row["rows"] // (rows // TENTHS or 1)
            say(f"{row['rows']} rows after {monotonic() - started:.0f} s")
        roles.look()
        await asyncio.sleep(0.2)
    wall = monotonic() - started
    found = (await http.get(f"/v1/imports/{run['import_id']}")).json()
    stored = {
        each["currency"]: int(each["payable"])
        for each in await database.fetch(
            "SELECT currency, sum(CASE WHEN kind = 'credit_note' THEN -payable_minor ELSE payable_minor END) AS payable FROM invoice GROUP BY 1"
        )
    }
    counted = await database.fetchval("SELECT count(*) FROM invoice")
    versions = await database.fetchval("SELECT count(*) FROM invoice WHERE version > 1")
    while await database.fetchval("SELECT EXISTS (SELECT 1 FROM outbox)"):  # noqa: ASYNC110 - another process empties it
        await asyncio.sleep(0.5)
    published = await _published(rig, prefix)
    await database.close()
    await backends.conn.close()
    roles.look()
    for role in ("worker", "relay", "api"):
        roles.kill(role)
    exact = all(
        [
            found["state"] == "done",
            all(found[name] == truth.counts[name] for name in ("received", "accepted", "rejected", "duplicate")),
            found["sums"] == {c: {n: str(s[n]) for n in ("received", "accepted", "rejected", "duplicate")} for c, s in truth.sums.items()},
            stored == {currency: sums["accepted"] for currency, sums in truth.sums.items()},
            counted == truth.counts["accepted"],
            versions == 0,
        ]
    )
    return {
        "rows": rows,
        "file_mb": round(run["size_bytes"] / 1e6, 1),
        "killed": killed,
        "control_sums_exact": exact,
        "counters": {name: found[name] for name in ("received", "accepted", "rejected", "duplicate", "faults")},
        "sums": found["sums"],
        "invoices_stored": counted,
        "events_published": published,
        "upload_s": round(uploaded, 1),
        "wall_s": round(wall, 1),
        "rows_per_s_wall": round(rows / wall, 1),
        "rows_per_s_busy": found["rows_per_second"],
        "ms_per_row_by_tenth": list(_tenths(samples, rows)),
        "worker_cpu_ms_per_row_by_tenth": list(_tenths(working, rows)),
        "postgres_cpu_ms_per_row_by_tenth": list(_tenths(database_work, rows)),
        "worker_cpu_ms_per_row": round(roles.cpu["worker"] * 1000 / rows, 3),
        "peak_rss_mb": {role: round(peak) for role, peak in sorted(roles.peak.items())},
    }


def _tenths(samples: list[tuple[int, int]], rows: int) -> Iterator[float]:
    """Milliseconds per row in each tenth of the file, between the samples around its borders."""

    def busy_at(row: float) -> float:
        place = min(max(bisect_left(samples, (int(row), 0)), 1), len(samples) - 1)
        (before, low), (after, high) = samples[place - 1], samples[place]
        return low + (high - low) * (row - before) / (after - before)

    for tenth in range(TENTHS):
        first, last = rows * tenth / TENTHS, rows * (tenth + 1) / TENTHS
        yield round((busy_at(last) - busy_at(first)) / (last - first), 3)


async def _published(rig: Rig, prefix: str) -> dict[str, int]:
    """Records on the topics of invoices. The relay sends at least once, so there may be more than invoices."""
    offsets = Offsets(rig.bootstrap)
    try:
        ends = await offsets.ends(("InvoiceIssued", "CreditNoteIssued"), prefix=prefix)
        found: Counter[str] = Counter()
        for (name, _), end in ends.items():
            found[name] += end
        return dict(found)
    finally:
        await offsets.close()


def main() -> int:
    """Runs the measurement; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.imports", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory-mb", type=float, default=400.0, help="fail where a process of the service has more resident")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, infrastructure(Path(folder)) as servers:
        figures = asyncio.run(measure(Rig(servers.admin_dsn, servers.bootstrap), options.rows))
    print(json.dumps(figures))
    return 0 if figures["control_sums_exact"] and max(figures["peak_rss_mb"].values()) <= options.memory_mb else 1


if __name__ == "__main__":
    sys.exit(main())
