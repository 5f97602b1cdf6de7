"""OpenTelemetry traces from request through queue to result; off without an endpoint.

A trace uses the trace id of its request, messages, jobs and log lines. A message carries the span
of its sender in its headers (W3C Trace Context), so contracts do not depend on tracing. While
tracing is off, OpenTelemetry is not imported and no span is recorded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from shared.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Link, Span, SpanContext

PARENT, LINKS = "traceparent", "tracelinks"
#: Requests whose spans are remembered for the messages that follow them.
LATEST_REQUESTS = 4096

#: Trace id of the next root span.
_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


class Tracing:
    """Tracing of one process."""

    def __init__(
        self, settings: TracingSettings, service: str, exporter: SpanExporter | None = None
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        class Ids(RandomIdGenerator):
            def generate_trace_id(self) -> int:
                known = _trace_id.get()
                return int(known, 16) if known else super().generate_trace_id()

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=settings.endpoint)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.namespace": "rayon"}),
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            id_generator=Ids(),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rayon")
        #: Spans of the latest requests by trace id. One request may send a message on behalf of
        #: others, and messages are sent after the response.
        self._requests: OrderedDict[str, SpanContext] = OrderedDict()

    def flush(self) -> None:
        """Export all ended spans."""
        self._provider.force_flush()

    def close(self) -> None:
        """Export the remaining spans and stop."""
        self._provider.shutdown()

    @contextmanager
    def request(self, trace_id: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Open a span for a request, from its first byte to the last byte of the response."""
        from opentelemetry.trace import SpanKind

        with self._started("request", trace_id, headers, SpanKind.SERVER) as span:
            self._requests[trace_id] = span.get_span_context()
            if len(self._requests) > LATEST_REQUESTS:
                self._requests.popitem(last=False)
            yield span

    @contextmanager
    def message(self, topic: str, trace_id: str, headers: Mapping[str, Any]) -> Iterator[Span]:
        """Open a span for a message, from its arrival until it is handled."""
        from opentelemetry.trace import SpanKind

        links = [_link(parent) for parent in headers.get(LINKS) or ()]
        attributes = {"messaging.system": "redis", "messaging.operation.type": "process"}
        with self._started(
            topic, trace_id, headers, SpanKind.CONSUMER, links=links, attributes=attributes
        ) as span:
            yield span

    @contextmanager
    def part(self, name: str, **attributes: Any) -> Iterator[Span]:
        """Open a span for part of the current work, such as a model call."""
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            yield span

    def headers(self, trace_id: str, links: Sequence[str]) -> dict[str, Any]:
        """Return the trace context of an outgoing message and its linked requests."""
        from opentelemetry.trace import get_current_span

        here = get_current_span().get_span_context()
        is_here = here.is_valid and f"{here.trace_id:032x}" == trace_id
        sender = here if is_here else self._requests.get(trace_id)
        others = [self._requests[link] for link in links if link in self._requests]
        found: dict[str, Any] = {PARENT: _traceparent(sender)} if sender is not None else {}
        return found | ({LINKS: [_traceparent(other) for other in others]} if others else {})

    @contextmanager
    def _started(
        self, name: str, trace_id: str, headers: Mapping[str, Any], kind: Any, **more: Any
    ) -> Iterator[Span]:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {PARENT: str(headers[PARENT])} if headers.get(PARENT) else {}
        context = TraceContextTextMapPropagator().extract(carrier)
        token = _trace_id.set(trace_id)
        try:
            with self._tracer.start_as_current_span(name, context, kind, **more) as span:
                yield span
        finally:
            _trace_id.reset(token)


_tracing: Tracing | None = None


def configure_tracing(settings: TracingSettings, *, service: str) -> None:
    """Turn tracing of this process on if the settings have an endpoint, or off."""
    global _tracing
    _tracing = Tracing(settings, service) if settings.endpoint else None


def request_span(trace_id: str, headers: Mapping[str, str]) -> AbstractContextManager[Span | None]:
    """Open a request span; `None` if tracing is off."""
    return nullcontext() if _tracing is None else _tracing.request(trace_id, headers)


def message_span(
    topic: str, trace_id: str, headers: Mapping[str, Any]
) -> AbstractContextManager[Span | None]:
    """Open a span for a handled message; `None` if tracing is off."""
    return nullcontext() if _tracing is None else _tracing.message(topic, trace_id, headers)


def span(name: str, **attributes: Any) -> AbstractContextManager[Span | None]:
    """Open a span for part of the current work; `None` if tracing is off."""
    return nullcontext() if _tracing is None else _tracing.part(name, **attributes)


def message_headers(trace_id: str, links: Sequence[str] = ()) -> dict[str, Any]:
    """Return the trace context of an outgoing message; empty if tracing is off."""
    return {} if _tracing is None else _tracing.headers(trace_id, links)


def _traceparent(context: SpanContext) -> str:
    flags = int(context.trace_flags)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


def _link(traceparent: str) -> Link:
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    _, trace_id, span_id, flags = traceparent.split("-")
    return Link(SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))))
