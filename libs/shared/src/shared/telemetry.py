"""Traces (OpenTelemetry): carried over Kafka by links, kept in the outbox row meanwhile.

A change's trace context is written into the envelope when the event enters the outbox. The relay and the consumers link
to it and start traces of their own: a trace that spans days of retries helps nobody.
"""

from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, TraceFlags

LINKS_MAX = 128
"""Links per span: OpenTelemetry's own default limit."""

tracer = trace.get_tracer("encours")


def configure(service: str, otlp_endpoint: str | None) -> None:
    """Sets the process's tracer provider; spans are exported where an endpoint is given."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if otlp_endpoint:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
    trace.set_tracer_provider(provider)


def traceparent() -> str:
    """The current span as a W3C traceparent, or "" outside of any."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def links(traceparents: Iterable[str]) -> list[Link]:
    """Links to the changes that a batch comes from: each once, at most LINKS_MAX; malformed ones are left out."""
    found = []
    for parent in dict.fromkeys(traceparents):
        parts = parent.split("-")
        try:
            _, trace_id, span_id, flags = parts
            context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
        except ValueError:
            continue
        if context.is_valid:
            found.append(Link(context))
        if len(found) == LINKS_MAX:
            break
    return found
