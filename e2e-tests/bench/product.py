"""The product under load: matching's own worker and relay processes, and the APIs of matching and invoicing."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import UUID, uuid5

import asyncpg
import httpx
import invoicing.cli  # noqa: F401 - its migrations are found through the package
from aiokafka import ConsumerRecord
from contracts.envelope import NAMESPACE
from contracts.invoices import Instalment, InvoiceIssued
from matching.cli import SERVICE
from matching.domain.statements import Entry, Reference, Statement, Transaction
from matching.handlers.accounts import put_account
from matching.handlers.files import book_statement
from matching.handlers.invoices import keep_invoices
from onemachine.firststeps import BUYER as _BUYER
from onemachine.firststeps import ENTITY_BODY
from onemachine.firststeps import INVOICE as _INVOICE
from onemachine.firststeps import SELLER as _SELLER
from sandbox import ubl
from sandbox.webhooks import signed
from shared.clock import machine_now, monotonic
from shared.kafka import create_topics
from shared.service import Runtime, check, open_runtime
from shared.testing.databases import Urls, fresh_database
from shared.testing.events import context, message
from shared.testing.tokens import public_key_file, token

from bench.cpu import Meter
from bench.loops import CUSTOMERS, TENANT, quantiles, since, steadily
from bench.rig import Rig, arrivals, free_port

ENTITY = UUID(int=9)
IBAN = "FR7630006000011234567890189"
DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of a throw-away database
CHUNK = 1_000
CONNECTIONS = 16
"""That a bank keeps to us, a thread each."""
PORT, INVOICING_PORT = free_port(), free_port()


@dataclass(frozen=True)
class Scene:
    """A migrated database of matching with an account, topics of its own, and what its processes are started with."""

    runtime: Runtime
    urls: Urls
    prefix: str
    environment: dict[str, str]


@asynccontextmanager
async def scene(rig: Rig) -> AsyncIterator[Scene]:
    """An empty one."""
    prefix = rig.prefix()
    await create_topics(rig.bootstrap, prefix=prefix, replication=1)
    with TemporaryDirectory() as folder:
        async with fresh_database(rig.admin_dsn, "matching") as urls:
            environment = urls.environment() | {
                "KAFKA_BOOTSTRAP_SERVERS": rig.bootstrap,
                "ENCOURS_TOPIC_PREFIX": prefix,
                "ENCOURS_CURSOR_SECRET": "c" * 32,
                "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(Path(folder))),
                "ENCOURS_WEBHOOK_SECRET": SECRET,
                "ENCOURS_HTTP_PORT": str(PORT),
            }
            os.environ |= environment
            runtime = open_runtime(SERVICE, SERVICE.settings())
            try:
                async with runtime.database.transaction(TENANT) as conn:
                    await put_account(
                        conn, TENANT, IBAN, entity_id=ENTITY, currency="EUR", holder_name="Bench", start_date=date(2026, 1, 1)
                    )
                yield Scene(runtime, urls, prefix, environment)
            finally:
                await runtime.database.close()


async def open_items(at: Scene, count: int) -> None:
    """Open items REF-0, REF-1, ... of 100.00 each, through the handler of InvoiceIssued; what it publishes is thrown away."""
    for first in range(0, count, CHUNK):
        messages = [message(TENANT, invoice(number), entity_id=ENTITY) for number in range(first, min(first + CHUNK, count))]
        async with at.runtime.database.transaction(TENANT) as conn:
            await keep_invoices(conn, messages, context(NOW))
    await _as_owner(at, "TRUNCATE outbox", "VACUUM ANALYZE")


async def _as_owner(at: Scene, *statements: str) -> None:
    conn = await asyncpg.connect(at.urls.owner)
    for statement in statements:
        await conn.execute(statement)
    await conn.close()


def invoice(number: int) -> InvoiceIssued:
    """An invoice of 100.00 with a reference of its own."""
    return InvoiceIssued(
        version=1,
        invoice_id=uuid5(NAMESPACE, f"bench-{number}"),
        source_system="bench",
        source_id=f"INV-{number}",
        source_version=1,
        invoice_number=f"INV-{number}",
        kind="invoice",
        origin="issued",
        status="issued",
        customer_id=UUID(int=number % CUSTOMERS + 1),
        customer_number=f"C-{number % CUSTOMERS}",
        issue_date=date(2026, 1, 5),
        currency="EUR",
        total_minor=10_000,
        tax_minor=0,
        prepaid_minor=0,
        payable_minor=10_000,
        instalments=[Instalment(number=1, due_date=date(2026, 2, 5), amount_minor=10_000)],
        payment_reference=f"REF{number}",
    )


async def receive(at: Scene, count: int, first: int = 0) -> None:
    """Payments that name the items from number `first` on, booked from statements of the bank; PaymentReceived waits in the outbox."""
    async with at.runtime.database.transaction(TENANT) as conn:
        from matching.storage.bank import account  # noqa: PLC0415 - only here

        held = await account(conn, TENANT, IBAN)
    if held is None:
        raise RuntimeError("the account is not there")
    for number in range(first, first + count, 5_000):
        entries = [_entry(one) for one in range(number, min(number + 5_000, first + count))]
        paid = sum(entry.signed_minor for entry in entries)
        statement = Statement(
            kind="camt.053", identification=f"S{number}", number=str(number), sequence=number, account=IBAN, currency="EUR", first_day=DAY,
            last_day=DAY, opening_minor=number * 10_000, closing_minor=number * 10_000 + paid,
        )  # fmt: skip
        for entry in entries:
            statement.add(entry)
        async with at.runtime.database.transaction(TENANT) as conn:
            await book_statement(conn, held, statement, entries, f"{number:064x}", NOW)


def _entry(number: int) -> Entry:
    transaction = Transaction(
        kind="payment", credit=True, amount_minor=10_000, currency="EUR", day=DAY, booking_date=DAY, value_date=DAY, bank_reference=f"B{number}",
        end_to_end_id=f"E{number}", references=[Reference("other", f"REF{number}")], counterparty_name="Payer",
        counterparty_iban="DE89370400440532013000",
    )  # fmt: skip
    return Entry(signed_minor=10_000, currency="EUR", status="booked", transactions=[transaction])


WORKERS = (("-m", "matching", "worker"),) * 2
NAIVE = (("-m", "bench.naive"),)


async def rate(rig: Rig, count: int, meter: Meter | None = None, *, workers: Sequence[tuple[str, ...]] = WORKERS) -> float:
    """Payments a second from PaymentReceived on the topic to InvoicePaid on the topic, with a relay process.

    Raises RuntimeError where the books are not in order afterwards.
    """
    async with scene(rig) as at:
        await open_items(at, count)
        async with rig.counting(at.prefix + "PaymentReceived") as received, rig.counting(at.prefix + "InvoicePaid") as paid:
            with rig.process("-m", "matching", "relay", **at.environment):
                await receive(at, count)
                await arrivals(received, count)
                with ExitStack() as running:
                    for command in workers:
                        running.enter_context(rig.process(*command, **at.environment))
                    per_s = await arrivals(paid, count, meter=meter)
        if broken := [name for name, holds in (await check(SERVICE, SERVICE.settings())).items() if holds is not True]:
            raise RuntimeError(f"these do not hold: {', '.join(broken)}")
        return per_s


async def rate_with_booking(rig: Rig, count: int) -> float:
    """Payments a second from the bank's entry to InvoicePaid on the topic: `rate` begins where they are booked and told of, this one before.

    A fifth of them comes first, for every process to have started; then they are booked while the workers match. What a file does but for reading
    and proving it (`bench.bulk`).
    """
    warm = count // 5
    async with scene(rig) as at:
        await open_items(at, warm + count)
        async with rig.counting(at.prefix + "InvoicePaid") as paid:
            with ExitStack() as running:
                for command in (("-m", "matching", "relay"), *WORKERS):
                    running.enter_context(rig.process(*command, **at.environment))
                await receive(at, warm)
                await arrivals(paid, warm)
                begun = monotonic()
                await asyncio.gather(receive(at, count, warm), arrivals(paid, count))
                return count / (monotonic() - begun)


class Latency(NamedTuple):
    """p50 and p99 in milliseconds to InvoicePaid on the topic: from the notification's 202, and from when it was to be sent; and how many
    payments a second were taken in.
    """

    answered: tuple[float, float]
    asked: tuple[float, float]
    per_s: float


async def latency(rig: Rig, per_s: int, seconds: int) -> Latency:
    """At a steady rate, once the first fifth is there.

    At more than a hundred requests a second the bank sends several payments in one notification.
    """
    count = per_s * seconds
    asked: dict[str, float] = {}
    sent: dict[str, float] = {}
    waits: list[float] = []
    whole: list[float] = []

    def arrived(record: ConsumerRecord) -> None:
        waits.append(since(record.value, sent))
        whole.append(since(record.value, asked))

    async with scene(rig) as at:
        await open_items(at, count)
        headers = {"authorization": f"Bearer {token(TENANT, 'payments:write')}", "content-type": "application/json"}
        async with rig.listening(at.prefix + "InvoicePaid", arrived) as paid:
            with ExitStack() as running:
                for role in ("api", "worker", "relay"):
                    running.enter_context(rig.process("-m", "matching", role, **at.environment))
                async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
                    await ready(http, f"http://127.0.0.1:{PORT}")
                await asyncio.sleep(5)  # the worker joins its group
                # the bank is on this machine too: the standard library's client takes a third of httpx's time
                loop, threads = asyncio.get_running_loop(), running.enter_context(ThreadPoolExecutor(CONNECTIONS))
                idle: asyncio.Queue[HTTPConnection] = asyncio.Queue()
                for _ in range(CONNECTIONS):
                    idle.put_nowait(running.enter_context(closing(HTTPConnection("127.0.0.1", PORT, timeout=30))))

                def post(bank: HTTPConnection, content: bytes, extra: dict[str, str]) -> float:
                    bank.request("POST", "/v1/payments/batch", content, headers | extra)
                    answer = bank.getresponse()
                    text = answer.read()
                    if answer.status != HTTPStatus.ACCEPTED:
                        raise RuntimeError(f"{answer.status}: {text[:500]!r}")
                    return monotonic()

                async def send(first: int, number: int) -> None:
                    asked.update((f"INV-{one}", monotonic()) for one in range(first, first + number))
                    body = {"payments": [_notified(one) for one in range(first, first + number)]}
                    bank = await idle.get()
                    now = await loop.run_in_executor(
                        threads, post, bank, *signed(body, secret=SECRET, message_id=f"n{first}", moment=machine_now())
                    )
                    idle.put_nowait(bank)
                    sent.update((f"INV-{one}", now) for one in range(first, first + number))

                feeding = asyncio.create_task(steadily(per_s, count, send))
                await arrivals(paid, count)
                taken = await feeding
    return Latency(quantiles(waits[count // 5 :]), quantiles(whole[count // 5 :]), taken)


def _notified(number: int) -> dict[str, object]:
    return {
        "account_iban": IBAN, "amount_minor": 10_000, "currency": "EUR", "booking_date": DAY.isoformat(), "value_date": DAY.isoformat(),
        "bank_reference": f"B{number}", "structured_reference": f"REF{number}", "remittance": [],
    }  # fmt: skip


async def invoices_api(rig: Rig, count: int) -> float:
    """Invoices a second into the database by the batch route, four batches of 500 under way."""

    async def send(http: httpx.AsyncClient, first: int) -> None:
        body = {"invoices": [_posted(number) for number in range(first, min(first + 500, count))]}
        answer = await http.post("/v1/invoices/batch", json=body, headers={"idempotency-key": f"batch-{first}"})
        answer.raise_for_status()
        if any(result["status"] != "created" for result in answer.json()["results"]):
            raise RuntimeError(answer.text[:500])

    return count / await _through_invoicing(rig, send, range(0, count, 500))


async def invoices_ubl(rig: Rig, count: int) -> float:
    """Invoices a second into the database by single UBL files, eight under way."""
    files = [ubl.write(replace(_INVOICE, number=f"UBL-{number}"), seller=_SELLER, buyer=_BUYER, account=IBAN) for number in range(count)]

    async def send(http: httpx.AsyncClient, number: int) -> None:
        headers = {"idempotency-key": f"ubl-{number}", "content-type": "application/xml"}
        answer = await http.post("/v1/invoices/files", params={"source_system": "erp"}, content=files[number], headers=headers)
        answer.raise_for_status()

    return count / await _through_invoicing(rig, send, range(count))


async def _through_invoicing(rig: Rig, send: Callable[[httpx.AsyncClient, int], Awaitable[None]], work: range) -> float:
    """Seconds that `send` takes for all of `work`, eight at a time, against invoicing's API process and its relay."""
    prefix = rig.prefix()
    await create_topics(rig.bootstrap, prefix=prefix, replication=1)
    with TemporaryDirectory() as folder:
        async with fresh_database(rig.admin_dsn, "invoicing") as urls:
            environment = urls.environment() | {
                "ENCOURS_TOPIC_PREFIX": prefix, "ENCOURS_CURSOR_SECRET": "c" * 32, "ENCOURS_HTTP_PORT": str(INVOICING_PORT),
                "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(Path(folder))), "ENCOURS_DOCUMENTS_DIR": folder,
            }  # fmt: skip
            headers = {"authorization": f"Bearer {token(TENANT, 'entities:write', 'invoices:write')}"}
            base = f"http://127.0.0.1:{INVOICING_PORT}"
            with rig.process("-m", "invoicing", "api", **environment), rig.process("-m", "invoicing", "relay", **environment):
                async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as http:
                    await ready(http, base)
                    (await http.put(f"/v1/entities/{ENTITY}", json=ENTITY_BODY)).raise_for_status()
                    left = iter(work)

                    async def lane() -> None:
                        for one in left:
                            await send(http, one)

                    started = monotonic()
                    await asyncio.gather(*(lane() for _ in range(8)))
                    return monotonic() - started


def _posted(number: int) -> dict[str, object]:
    return {
        "entity_id": str(ENTITY), "source_system": "erp", "source_id": f"API-{number}", "source_version": 1, "invoice_number": f"API-{number}",
        "kind": "invoice", "origin": "issued", "customer_number": f"C-{number % CUSTOMERS}", "issue_date": "2026-03-02", "currency": "EUR",
        "total_minor": 12_000, "tax_minor": 2_000, "prepaid_minor": 0, "payable_minor": 12_000,
        "instalments": [{"number": 1, "due_date": "2026-04-01", "amount_minor": 12_000}],
    }  # fmt: skip


async def ready(http: httpx.AsyncClient, url: str) -> None:
    end = monotonic() + 180
    while True:
        try:
            if (await http.get(url + "/ready")).is_success:
                return
        except httpx.TransportError:
            if monotonic() > end:
                raise
        await asyncio.sleep(0.2)


async def statements_per_batch(rig: Rig) -> float:
    """SQL statements that the worker's transaction over 1,000 payments with exact references executes, its commit's steps included."""
    from contracts.payments import PaymentReceived  # noqa: PLC0415 - only here
    from matching.handlers.matching import match_payments  # noqa: PLC0415 - only here
    from shared.testing.events import published  # noqa: PLC0415 - only here

    async with scene(rig) as at:
        await open_items(at, CHUNK)
        await receive(at, CHUNK)
        messages = [one for one in await published(at.urls.owner) if isinstance(one.data, PaymentReceived)]
        before = at.runtime.database.statements
        async with at.runtime.database.transaction(TENANT) as conn:
            await match_payments(conn, messages, context(NOW))
        return float(at.runtime.database.statements - before)
