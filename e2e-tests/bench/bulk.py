"""One statement file of a hundred thousand entries: posted, imported, matched, published. `python -m bench.bulk --entries 100000`.

A file of a fifth of that comes first, for every process to have started and be warm, as in all rates of the benchmark.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
from onemachine.testing import infrastructure
from shared.clock import monotonic
from shared.testing.tokens import token

from bench.cpu import Meter
from bench.loops import TENANT
from bench.product import DAY, IBAN, PORT, open_items, ready, scene
from bench.rig import Poll, Rig, arrivals, say

_WARM = 5
"""One for so many entries is what the first file has."""
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
    f"<GrpHdr><MsgId>M{{number}}</MsgId><CreDtTm>{DAY}T23:00:00</CreDtTm></GrpHdr><Stmt><Id>S{{number}}</Id><ElctrncSeqNb>{{number}}</ElctrncSeqNb>"
    f"<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
)


def write(path: Path, count: int, first: int = 0) -> None:
    """A camt.053 of so many credits of 100.00, each with the reference of one open item, from item number `first` on."""

    def balance(code: str, minor: int) -> str:
        return (
            f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{minor // 100}.{minor % 100:02d}</Amt>'
            f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{DAY}</Dt></Dt></Bal>"
        )

    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD.format(number=first + 1) + balance("OPBD", first * 10_000) + balance("CLBD", (first + count) * 10_000))
        for number in range(first, first + count):
            file.write(
                f'<Ntry><Amt Ccy="EUR">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{DAY}</Dt></BookgDt>'
                f"<ValDt><Dt>{DAY}</Dt></ValDt><AcctSvcrRef>B{number}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd>"
                f"<SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>E{number}</EndToEndId></Refs>"
                f'<Amt Ccy="EUR">100.00</Amt><RltdPties><Dbtr><Pty><Nm>Payer {number}</Nm></Pty></Dbtr><DbtrAcct><Id>'
                "<IBAN>DE89370400440532013000</IBAN></Id></DbtrAcct></RltdPties><RmtInf><Strd><CdtrRefInf><Ref>"
                f"REF{number}</Ref></CdtrRefInf></Strd></RmtInf></TxDtls></NtryDtls></Ntry>"
            )
        file.write("</Stmt></BkToCstmrStmt></Document>")


def peak_mb(process: subprocess.Popen[bytes]) -> float:
    """The most memory that a process ever held (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return round(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024, 1)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a process has had of the processors (Linux): tells its cost also where others are at work on the machine."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 1)


class Brought(NamedTuple):
    """Seconds from the request until the answer, until the last entry is imported, until the last is matched."""

    answered: float
    imported: float
    matched: float


@dataclass(frozen=True)
class Running:
    """The processes that take files in, and the way to bring them one."""

    roles: dict[str, subprocess.Popen[bytes]]
    bring: Callable[[int, int], Awaitable[Brought]]
    """Posts a file of so many entries, for the items from that number on, and waits for what becomes of it."""


@asynccontextmanager
async def running(rig: Rig, items: int) -> AsyncIterator[Running]:
    """The service with so many open items: API, two workers, relay."""
    async with AsyncExitStack() as scope:
        path = Path(scope.enter_context(tempfile.TemporaryDirectory())) / "statement.xml"
        at = await scope.enter_async_context(scene(rig))
        await open_items(at, items)
        say("items are open")
        paid = await scope.enter_async_context(rig.counting(at.prefix + "InvoicePaid"))
        received = await scope.enter_async_context(rig.counting(at.prefix + "PaymentReceived"))
        roles = {
            name: scope.enter_context(rig.process("-m", "matching", role, **at.environment))
            for name, role in (("api", "api"), ("worker", "worker"), ("second", "worker"), ("relay", "relay"))
        }
        headers = {"authorization": f"Bearer {token(TENANT, 'bank:write')}", "content-type": "application/xml"}
        http = await scope.enter_async_context(httpx.AsyncClient(timeout=600, trust_env=False))

        async def bring(number: int, first: int) -> Brought:
            write(path, number, first)
            begun = monotonic()
            answer = await http.post(f"http://127.0.0.1:{PORT}/v1/bank-files", content=path.read_bytes(), headers=headers)
            answer.raise_for_status()
            answered = monotonic() - begun
            say(f"answered after {answered:.1f} s: {answer.json()['statements'][0]['verdict']}")

            async def until(more: Poll) -> float:
                await arrivals(more, number)
                return monotonic() - begun

            return Brought(answered, *await asyncio.gather(until(received), until(paid)))

        await ready(http, f"http://127.0.0.1:{PORT}")
        yield Running(roles, bring)


async def rate(rig: Rig, count: int) -> float:
    """Entries of one file a second, from the request to the last InvoicePaid; the file of a fifth before it does not count."""
    warm = count // _WARM
    async with running(rig, warm + count) as at:
        await at.bring(warm, 0)
        return count / (await at.bring(count, warm)).matched


async def measure(rig: Rig, count: int, servers: Path) -> dict[str, float]:
    """Seconds and rates from the request to the last InvoicePaid; peak memory of each process; what an entry costs of the processors.

    `servers` is the folder that the servers were started with.
    """
    warm = count // _WARM
    async with running(rig, warm + count) as at:
        await at.bring(warm, 0)
        meter = Meter(servers, os.getpid())
        before = {role: cpu_seconds(process) for role, process in at.roles.items()}
        meter.begin(0)
        brought = await at.bring(count, warm)
        meter.end(count)
        peaks = {f"{role}_peak_mb": peak_mb(process) for role, process in at.roles.items()}
        peaks |= {f"{role}_cpu_s": round(cpu_seconds(process) - before[role], 1) for role, process in at.roles.items()}
        peaks |= {f"{role}_us": spent for role, spent in meter.spent.items()}
    return {
        "entries": count,
        "file_mb": round(path_size(count), 1),
        "read_and_proved_per_s": round(count / brought.answered),
        "imported_and_published_per_s": round(count / (brought.imported - brought.answered)),
        "matched_and_published_per_s": round(count / brought.matched),
        "seconds": round(brought.matched, 1),
        **peaks,
    }


def path_size(count: int) -> float:
    """Megabytes of such a file, from a small one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.xml"
        write(path, 1_000)
        return path.stat().st_size / 1_000 * count / 1e6


def main() -> int:
    """Runs it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.bulk", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, infrastructure(Path(folder)) as servers:
        print(json.dumps(asyncio.run(measure(Rig(servers.admin_dsn, servers.bootstrap), options.entries, Path(folder)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
