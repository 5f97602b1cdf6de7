"""One trace from the request through the queue to the result, exported to a real collector."""

import gzip
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from shared import tracing
from shared.broker import Broker
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Job
from shared.db.session import UnitOfWork, open_engine
from shared.logs import new_trace_id
from shared.settings import DatabaseSettings, TracingSettings
from shared.tracing import Tracing, message_headers, request_span
from tests.integration.conftest import Workers
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from tests.support.servers import free_port, until
from tests.support.tiny_release import write_tiny_release

Spans = Callable[[], Sequence[ReadableSpan]]


class Span:
    """Fields of an exported span."""

    def __init__(self, service: str, exported: object) -> None:
        self.service = service
        self.name = exported.name  # type: ignore[attr-defined]
        self.trace_id = exported.trace_id.hex()  # type: ignore[attr-defined]
        self.id = exported.span_id.hex()  # type: ignore[attr-defined]
        self.parent = exported.parent_span_id.hex()  # type: ignore[attr-defined]
        self.links = [link.trace_id.hex() for link in exported.links]  # type: ignore[attr-defined]


@pytest.fixture
def collected() -> Iterator[tuple[str, list[Span]]]:
    """Provide the address of a collector and the spans that it received."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                attributes = {
                    item.key: item.value.string_value for item in resource.resource.attributes
                }
                for scope in resource.scope_spans:
                    spans.extend(Span(attributes["service.name"], span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    server.server_close()


@pytest.fixture
def local_spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Enable tracing in this process and provide a function that returns its ended spans."""
    exporter = InMemorySpanExporter()
    enabled = Tracing(TracingSettings(endpoint="unused"), "gateway", exporter)
    monkeypatch.setattr(tracing, "_tracing", enabled)

    def ended_spans() -> Sequence[ReadableSpan]:
        enabled.flush()
        return exporter.get_finished_spans()

    yield ended_spans
    enabled.close()


def test_job_is_one_trace(
    local_spans: Spans,
    collected: tuple[str, list[Span]],
    workers: Workers,
    broker: Broker,
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    address, spans = collected
    upgrade(sqlite_url)
    engine = open_engine(DatabaseSettings(url=SecretStr(sqlite_url)))
    unit_of_work = UnitOfWork(engine, FakeBroker())
    write_tiny_release(tmp_path / "releases" / "1", in_two_steps=True)
    workers.environment |= {
        "RAYON_DATABASE_URL": sqlite_url,
        "RAYON_RELEASES_CACHE": str(tmp_path / "releases"),
        "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
        "RAYON_TRACING_ENDPOINT": address,
        # Shorter than the default of 5,000 ms.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    workers.start("worker_text.main")
    workers.start("worker_fusion.main")
    until(lambda: len(broker.workers()) == 2, 60, "both workers are present")
    user, trace_id, other = make_user(), new_trace_id(), new_trace_id()
    job = make_job(user, model="text", trace_id=trace_id)
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add(job)
    item = TextItem(job_id=job.id, designation="Piscine", description="")
    with request_span(other, {}), request_span(trace_id, {}):
        broker.publish(
            ScoreText(
                trace_id=trace_id,
                lane=Lane.INTERACTIVE,
                release="1",
                items=(item,),
                links=(other, new_trace_id()),
            )
        )

    def is_done() -> bool:
        with unit_of_work.reading() as session:
            return session.get_one(Job, job.id).status == "done"

    until(is_done, 60, "the job is done")
    until(
        lambda: {"score", "score_text", "modality_scored"} <= {span.name for span in spans},
        20,
        "the workers have exported their spans",
    )
    engine.dispose()
    request = next(span for span in local_spans() if f"{span.context.trace_id:032x}" == trace_id)
    by_name = {span.name: span for span in spans}
    scored, received, model = by_name["modality_scored"], by_name["score_text"], by_name["score"]
    assert {span.trace_id for span in spans} == {trace_id}
    assert received.parent == f"{request.context.span_id:016x}"
    assert received.links == [other]
    assert model.parent == received.id
    assert scored.parent == received.id
    assert (received.service, scored.service) == ("worker_text", "worker_fusion")


def test_trace_context_of_a_client_is_the_parent(local_spans: Spans) -> None:
    trace_id = new_trace_id()
    parent = f"00-{trace_id}-00f067aa0ba902b7-01"
    with request_span(trace_id, {"traceparent": parent}):
        pass
    (span,) = local_spans()
    assert f"{span.context.trace_id:032x}" == trace_id
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"


@pytest.mark.parametrize("traceparent", ["", "x", "00-0-0-00", "00-" + "0" * 32 + "-" + "0" * 16])
def test_invalid_trace_context_of_a_client_is_ignored(local_spans: Spans, traceparent: str) -> None:
    trace_id = new_trace_id()
    with request_span(trace_id, {"traceparent": traceparent}):
        pass
    (span,) = local_spans()
    assert f"{span.context.trace_id:032x}" == trace_id
    assert span.parent is None


def test_message_sent_for_another_request_has_the_trace_of_that_request(
    local_spans: Spans,
) -> None:
    writer, other, gone = new_trace_id(), new_trace_id(), new_trace_id()
    with request_span(other, {}) as span, request_span(writer, {}):
        sent = message_headers(other)
        assert message_headers(gone) == {}
    assert span is not None
    assert sent["traceparent"].split("-")[1] == other
    assert sent["traceparent"].split("-")[2] == f"{span.get_span_context().span_id:016x}"


def test_messages_have_no_trace_headers_without_an_endpoint() -> None:
    tracing.configure_tracing(TracingSettings(), service="gateway")
    with request_span(new_trace_id(), {}) as span:
        assert span is None
        assert message_headers(new_trace_id()) == {}
