"""What a payment costs with ten thousand and with a million open items, in turns in one run: matching's own `match` on real Postgres.

Half of the payments name an item by its structured reference; the others are for the slow way: a document number in the text
(of a known payer and of a stranger), an exact amount of a known payer, a name alone, and strangers without a word, whose
amount nobody owes or thousands owe. `python -m bench.scale [--items N]` in e2e-tests runs this section alone.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import process_time
from uuid import UUID

import asyncpg
import uvloop
from matching.domain.books import Key
from matching.domain.statements import Entry, Reference, Statement, Transaction
from matching.handlers.files import book_statement
from matching.handlers.matching import match
from matching.storage.account_balances import account_id
from matching.storage.bank import account
from onemachine.testing import infrastructure
from shared.clock import monotonic
from shared.service import spare_the_collector

from bench.bulk import peak_mb
from bench.loops import TENANT
from bench.product import DAY, ENTITY, IBAN, NOW, Scene, scene
from bench.rig import Rig, say

FEW, MANY = 10_000, 1_000_000
ITEMS_EACH = 50
"""Open items of one customer, however many there are in all: what grows is the number of customers."""
BATCH = 50
"""Payments of one transaction: what a poll brings at some hundred a second."""
SINGLES = 400
"""Payments that are matched alone, each in its own transaction, for the distribution of the time of one."""
STEP = 7_919
"""A prime: payments are for items all over the table."""
POPULAR = 9_900
"""What every tenth item costs."""
UNLIKE_MAX = 0.03
"""Share of the payments that may be decided otherwise with more items."""
AGENT = "FR7630004000031234567890143"
"""One account from which many pay."""
OWED_BY_NOBODY = 123_456_789
_AMOUNT = f"CASE WHEN n % 10 = 3 THEN {POPULAR} ELSE 1000 + (n::bigint * 48271 % 499979) END"

# Set-wise, past the services: a million InvoiceIssued through the worker would take most of an hour. The rows are those that
# matching's handlers of invoices and customers write; `scale_customer` holds what is computed here.
_FILL = (
    "CREATE TABLE scale_customer (c int PRIMARY KEY, customer_id uuid, account_id uuid, name text)",
    ("INSERT INTO account_balance (tenant_id, account_id, version, entity_id, customer_id, currency, open_minor, unapplied_minor, "
    "unused_credits_minor) SELECT $1::uuid, account_id, 1, $2::uuid, customer_id, 'EUR', (SELECT sum({amount}) FROM "
    "generate_series(c, $3::int - 1, (SELECT count(*)::int FROM scale_customer)) AS n), 0, 0 FROM scale_customer"),
    ("INSERT INTO open_item (tenant_id, item_id, version, invoice_version, entity_id, account_id, customer_id, kind, currency, source_system, "
    "invoice_number, issue_date, due_date, instalment_dues, instalment_amounts, original_minor, open_minor, status) "
    "SELECT $1::uuid, md5('scale-' || n)::uuid, 1, 1, $2::uuid, k.account_id, k.customer_id, 'invoice', 'EUR', 'bench', 'FA2026-' || lpad(n::text, 7, '0'), "
    "DATE '2026-01-05' + n % 30, DATE '2026-02-04' + n % 30, ARRAY[DATE '2026-02-04' + n % 30], ARRAY[{amount}], {amount}, {amount}, 'open' "
    "FROM generate_series(0, $3::int - 1) AS n JOIN scale_customer k ON k.c = n % (SELECT count(*) FROM scale_customer)"),
    ("INSERT INTO item_reference (tenant_id, entity_id, value, kind, item_id) SELECT $1::uuid, $2::uuid, r.value, r.kind, md5('scale-' || n)::uuid "
    "FROM generate_series(0, $3::int - 1) AS n CROSS JOIN LATERAL (VALUES ('REF' || n, 'structured'), ('FA2026' || lpad(n::text, 7, '0'), 'number'), "
    "('2026' || lpad(n::text, 7, '0'), 'folded')) AS r(value, kind)"),
    ("INSERT INTO customer (tenant_id, customer_id, version, source_system, customer_number, number_key) "
    "SELECT $1::uuid, customer_id, 1, 'bench', 'C-' || c, 'C' || c FROM scale_customer"),
    "INSERT INTO customer_identity (tenant_id, customer_id, version, name) SELECT $1::uuid, customer_id, 1, name FROM scale_customer",
    ("INSERT INTO customer_name (tenant_id, customer_id, value) SELECT $1::uuid, customer_id, form FROM scale_customer CROSS JOIN LATERAL "
    "unnest(ARRAY[replace(name, ' ', ''), replace(replace(name, ' ', ''), 'GMBH', '')]) AS form"),
    "INSERT INTO payer_iban (tenant_id, iban, customer_id) SELECT $1::uuid, 'DE00' || lpad(c::text, 18, '0'), customer_id FROM scale_customer",
)  # fmt: skip


async def fill(rig: Rig, at: Scene, items: int) -> None:
    """Customers and their open items; item n is of customer n modulo their number, and costs `_amount(n)`."""
    conn = await asyncpg.connect(rig.admin_dsn.rsplit("/", 1)[0] + "/" + at.urls.database)
    customers = [(c, UUID(int=c + 1)) for c in range(max(1, items // ITEMS_EACH))]
    create, *inserts = _FILL
    await conn.execute(create)
    rows = [(c, one, account_id(TENANT, one, ENTITY, "EUR"), _name(c)) for c, one in customers]
    await conn.copy_records_to_table("scale_customer", records=rows)
    for statement in inserts:
        arguments = [TENANT, ENTITY, items] if "$3" in statement else [TENANT]
        await conn.execute(statement.replace("{amount}", _AMOUNT), *arguments)
    await conn.execute("DROP TABLE scale_customer")
    await conn.execute("VACUUM ANALYZE")
    await conn.close()


def _amount(number: int) -> int:
    return POPULAR if number % 10 == 3 else 1000 + number * 48271 % 499979  # noqa: PLR2004 - as _AMOUNT


def _name(customer: int) -> str:
    """A name that begins like few others, as names do."""
    value, letters = customer * 7_368_787 % 308_915_776, ""  # six letters: a prime of customers apart
    while len(letters) < 6:  # noqa: PLR2004
        value, letter = divmod(value, 26)
        letters += "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[letter]
    return f"{letters} HANDEL GMBH"


def _payment(number: int, items: int) -> Entry:
    """The payment for item number * STEP, with as much of it said as its kind says."""
    kind, item = number % 20, number * STEP % items
    customer = item % (items // ITEMS_EACH)
    known, amount = f"DE00{customer:018}", _amount(item)
    references: list[Reference] = []
    text: list[str] = []
    iban: str | None = known
    name = "Zahlstelle Nord"
    if kind < 10:  # noqa: PLR2004
        references = [Reference("other", f"REF{item}")]
    elif kind < 14:  # noqa: PLR2004
        text = [f"RECHNUNG FA2026-{item:07} VOM 12.01."]
    elif kind == 16:  # noqa: PLR2004
        text, iban = [f"FACTURE FA 2026 {item:07}"], AGENT
    elif kind == 17:  # noqa: PLR2004
        iban, name = None, _name(customer)
    elif kind == 18:  # noqa: PLR2004
        amount, text, iban = OWED_BY_NOBODY + number, ["SAMMELZAHLUNG"], f"FR00{number:023}"
    elif kind == 19:  # noqa: PLR2004
        amount, iban = POPULAR, f"FR00{number:023}"
    transaction = Transaction(
        kind="payment", credit=True, amount_minor=amount, currency="EUR", day=DAY, booking_date=DAY, value_date=DAY,
        bank_reference=f"B{number:07}", references=references, remittance=text, counterparty_name=name, counterparty_iban=iban,
    )  # fmt: skip
    return Entry(signed_minor=amount, currency="EUR", status="booked", transactions=[transaction])


async def receive(at: Scene, first: int, count: int, items: int) -> list[Key]:
    """Books so many payments; their keys, in that order. PaymentReceived waits in the outbox."""
    entries = [_payment(number, items) for number in range(first, first + count)]
    async with at.runtime.database.transaction(TENANT) as conn:
        held = await account(conn, TENANT, IBAN)
        if held is None:
            raise RuntimeError("the account is not there")
        statement = Statement(
            kind="camt.052", identification=f"S{first}", number=str(first), account=IBAN, currency="EUR", first_day=DAY, last_day=DAY
        )
        for entry in entries:
            statement.add(entry)
        await book_statement(conn, held, statement, entries, f"{first:064x}", NOW)
    conn = await asyncpg.connect(at.urls.check)
    rows = await conn.fetch("SELECT tenant_id, payment_id FROM payment WHERE status = 'received' ORDER BY bank_reference")
    await conn.close()
    return [(row[0], row[1]) for row in rows]


async def timed(at: Scene, keys: Sequence[Key], backends: Sequence[int] = ()) -> tuple[float, float]:
    """Milliseconds that the service's transaction over these payments takes, and how many of them this process and Postgres work.

    What they work does not depend on who else is on the machine; what it takes does, and on the disk.
    """
    begun, worked = monotonic(), _worked(backends)
    async with at.runtime.database.transaction(TENANT) as conn:
        await match(conn, keys, NOW, {}, new=True)
    return (monotonic() - begun) * 1000, _worked(backends) - worked


def _worked(backends: Sequence[int]) -> float:
    """Milliseconds that this process and these (Linux) had a core so far."""
    of_others = sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) for pid in backends)
    return process_time() * 1000 + of_others / 1e6


async def _backends(at: Scene) -> list[int]:
    """The Postgres processes that work for this scene's connections."""
    conn = await asyncpg.connect(at.urls.check)
    rows = await conn.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'encours-matching'")
    await conn.close()
    return [int(row[0]) for row in rows]


async def measure(rig: Rig, *, few: int = FEW, many: int = MANY, rounds: int = 40) -> dict[str, float]:
    """Milliseconds a payment in batches of BATCH at both sizes and their ratio, of payments that come alone, and memory.

    `_work` is what this process and Postgres had a core for (see `timed`); a quantile is over batches, or over payments alone.
    """
    async with scene(rig) as small, scene(rig) as large:
        spare_the_collector()  # as a worker does
        for at, items in ((small, few), (large, many)):
            begun = monotonic()
            await fill(rig, at, items)
            say(f"{items} open items after {monotonic() - begun:.0f} s")
        sizes = ((small, few), (large, many))
        count = (rounds + 1) * BATCH
        keys = {at.prefix: await receive(at, 0, count + SINGLES, items) for at, items in sizes}
        costs: dict[str, list[tuple[float, float]]] = {at.prefix: [] for at, _ in sizes}
        backends: dict[str, list[int]] = {}
        for turn in range(rounds + 1):
            for at, _ in sizes if turn % 2 else reversed(sizes):
                took, worked = await timed(at, keys[at.prefix][turn * BATCH : (turn + 1) * BATCH], backends.get(at.prefix, ()))
                if turn:
                    costs[at.prefix].append((took / BATCH, worked / BATCH))
                else:  # the first warms plans, pages and the pool
                    backends[at.prefix] = await _backends(at)
        singles: dict[str, list[tuple[float, float]]] = {at.prefix: [] for at, _ in sizes}
        for at, _ in sizes:  # one after the other: a service has one database
            for one in range(count, count + SINGLES):
                singles[at.prefix].append(await timed(at, keys[at.prefix][one : one + 1], backends[at.prefix]))
        matched = {at.prefix: await _matched(at) for at, _ in sizes}
        if abs(matched[small.prefix] - matched[large.prefix]) > UNLIKE_MAX * (count + SINGLES):  # amounts meet oftener among more items
            raise RuntimeError(f"the sizes were not decided alike: {list(matched.values())} matched")
        worker_mb = await _worker_peak_mb(rig, large, many, count + SINGLES)
        figures = {
            "match_ratio": statistics.median(b[0] / a[0] for a, b in zip(costs[small.prefix], costs[large.prefix], strict=True)),
            "match_work_ratio": statistics.median(b[1] / a[1] for a, b in zip(costs[small.prefix], costs[large.prefix], strict=True)),
        }
        for at, items in sizes:
            for place, kind in enumerate(("", "_work")):
                cuts = statistics.quantiles((one[place] for one in costs[at.prefix]), n=100)
                figures |= {f"match{kind}_p50_ms_{items}": cuts[49], f"match{kind}_p99_ms_{items}": cuts[98]}
                cuts = statistics.quantiles((one[place] for one in singles[at.prefix]), n=100)
                figures |= {f"match_alone{kind}_p50_ms_{items}": cuts[49], f"match_alone{kind}_p99_ms_{items}": cuts[98]}
        return figures | {
            "match_share": matched[large.prefix] / (count + SINGLES),
            "worker_peak_mb": worker_mb,
            "database_mb": await _size_mb(large),
        }


async def _matched(at: Scene) -> int:
    conn = await asyncpg.connect(at.urls.check)
    found = await conn.fetchval("SELECT count(*) FROM payment WHERE status = 'matched'")
    await conn.close()
    return int(found)


async def _size_mb(at: Scene) -> float:
    conn = await asyncpg.connect(at.urls.check)
    size = await conn.fetchval("SELECT pg_database_size(current_database())")
    await conn.close()
    return int(size) / 1e6


async def _worker_peak_mb(rig: Rig, at: Scene, items: int, first: int) -> float:
    """The most memory that a worker process holds while it matches 2,000 payments that come over the topic."""
    owner = await asyncpg.connect(at.urls.owner)
    await owner.execute("TRUNCATE outbox")
    await owner.close()
    await receive(at, first, 2_000, items)
    check = await asyncpg.connect(at.urls.check)
    with ExitStack() as running:
        worker = running.enter_context(rig.process("-m", "matching", "worker", **at.environment))
        running.enter_context(rig.process("-m", "matching", "relay", **at.environment))
        end = monotonic() + 180
        while await check.fetchval("SELECT count(*) FROM payment WHERE status = 'received'"):
            if monotonic() > end:
                raise RuntimeError("the worker did not match what was received")
            await asyncio.sleep(0.5)
        peak = peak_mb(worker)
    await check.close()
    return peak


def main() -> int:
    """Runs it alone; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--items", type=int, default=MANY)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, infrastructure(Path(folder)) as servers:
        figures = uvloop.run(measure(Rig(servers.admin_dsn, servers.bootstrap), many=options.items, rounds=options.rounds))
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
