import asyncio
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from shared import batches as batches_module
from shared import relay, telemetry
from shared.batches import Batches
from shared.clock import BusinessClock
from shared.db import Database
from shared.kafka import Offsets
from shared.outbox import Outgoing, publish
from shared.service import Runtime, api, prepare_inbox
from shared.settings import Settings
from shared.testing.databases import Urls
from shared.testing.events import published
from shared.testing.tokens import public_key_file
from toyservice.harness import TENANTS, consumed, payment, record, reminder
from toyservice.service import SERVICE

TENANT = TENANTS[0]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (telemetry, batches_module, relay):
        monkeypatch.setattr(module, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_a_change_and_its_effects_are_one_chain_of_links(spans: InMemorySpanExporter, database: Database, urls: Urls) -> None:
    """The change's span is in the outbox row; the consumer's span links to it and its own outbox rows carry the consumer's."""
    with telemetry.tracer.start_as_current_span("change") as change:
        async with database.transaction(TENANT) as conn:
            await publish(conn, [Outgoing(TENANT, reminder(1))])
    (waiting,) = await published(urls.owner)
    context = change.get_span_context()
    assert waiting.envelope.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")

    await prepare_inbox(database)
    batches = Batches("toyservice", database, SERVICE.routes, offsets=Offsets("127.0.0.1:1"), clock=BusinessClock())
    topic, key, value, headers = record(TENANT, reminder(1))
    headers.append(("ce_traceparent", waiting.envelope.traceparent.encode()))
    await batches.handle("ReminderSent", consumed([(topic, key, value, headers), (topic, key, value, headers)]))
    (span,) = [each for each in spans.get_finished_spans() if each.name == "process ReminderSent"]
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is None
    assert [link.context.span_id for link in span.links] == [context.span_id]
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    (effect,) = await published(urls.owner, "KpiMeasured")
    assert effect.envelope.traceparent.split("-")[2] == f"{span.context.span_id:016x}"
    assert effect.envelope.causationid == str(waiting.envelope.id)


def test_links_are_bounded_distinct_and_leave_malformed_ones_out() -> None:
    good = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 300)]
    assert len(telemetry.links(good)) == telemetry.LINKS_MAX
    assert len(telemetry.links(good[:3] * 5)) == 3
    assert telemetry.links(["", "00-x-y-z", "nonsense", f"00-{0:032x}-{0:016x}-01", "00-1-2", "00-1-2-3-4"]) == []


def test_outside_of_a_span_there_is_no_traceparent() -> None:
    assert not trace.get_current_span().get_span_context().is_valid
    assert telemetry.traceparent() == ""


async def test_metrics_are_served_with_a_sentence_each(database: Database, urls: Urls, tmp_path: object) -> None:
    batches = Batches("toyservice", database, SERVICE.routes, offsets=Offsets("127.0.0.1:1"), clock=BusinessClock())
    poison = (*record(TENANT, payment(1))[:2], b"{", record(TENANT, payment(1))[3])
    await batches.handle("PaymentReceived", consumed([poison]))
    settings = Settings(
        database_url=urls.app,
        kafka_bootstrap_servers="127.0.0.1:1",
        cursor_secret="x" * 32,
        jwt_public_key_file=public_key_file(tmp_path),  # type: ignore[arg-type]
    )
    app = api(Runtime(service=SERVICE, settings=settings, database=database, clock=BusinessClock()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://toy") as client:
        answer, ready = await asyncio.gather(client.get("/metrics"), client.get("/ready"))
    assert answer.status_code == ready.status_code == 200
    lines = answer.text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE encours_") and not line.split()[2].endswith("_created")}
    sentences = {
        line.split()[2]: line.split(None, 3)[3] for line in lines if line.startswith("# HELP encours_") and len(line.split(None, 3)) > 3
    }
    assert len(names) >= 14
    assert all(sentences[name].endswith(".") for name in names), names - sentences.keys()
    assert any(line.startswith('encours_dead_letters_total{topic="PaymentReceived"}') for line in lines)
