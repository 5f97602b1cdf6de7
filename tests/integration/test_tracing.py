"""One trace from the request through the queue to the result, told to a collector that runs."""

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

Told = Callable[[], Sequence[ReadableSpan]]


class Span:
    """Fields of an exported span."""

    def __init__(self, service: str, told: object) -> None:
        self.service = service
        self.name = told.name  # type: ignore[attr-defined]
        self.trace_id = told.trace_id.hex()  # type: ignore[attr-defined]
        self.id = told.span_id.hex()  # type: ignore[attr-defined]
        self.parent = told.parent_span_id.hex()  # type: ignore[attr-defined]
        self.links = [one.trace_id.hex() for one in told.links]  # type: ignore[attr-defined]


@pytest.fixture
def collected() -> Iterator[tuple[str, list[Span]]]:
    """Address of a collector, and what it was told."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend(Span(named["service.name"], told) for told in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    server.server_close()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Tracing of this process; called, it returns the spans that have ended."""
    exporter = InMemorySpanExporter()
    on = Tracing(TracingSettings(endpoint="unused"), "gateway", exporter)
    monkeypatch.setattr(tracing, "_tracing", on)

    def told() -> Sequence[ReadableSpan]:
        on.flush()
        return exporter.get_finished_spans()

    yield told
    on.close()


def test_a_job_is_one_trace(
    here: Told,
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
        # Told sooner than by default.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    workers.start("worker_text.main")
    workers.start("worker_fusion.main")
    until(lambda: len(broker.workers()) == 2, 60, "both workers are there")
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
        lambda: {"score", "score_text", "modality_scored"} <= {one.name for one in spans},
        20,
        "the workers have told",
    )
    engine.dispose()
    request = next(one for one in here() if f"{one.context.trace_id:032x}" == trace_id)
    by_name = {one.name: one for one in spans}
    scored, heard, model = by_name["modality_scored"], by_name["score_text"], by_name["score"]
    assert {one.trace_id for one in spans} == {trace_id}
    assert heard.parent == f"{request.context.span_id:016x}"
    assert heard.links == [other]
    assert model.parent == heard.id
    assert scored.parent == heard.id
    assert (heard.service, scored.service) == ("worker_text", "worker_fusion")


def test_a_client_that_traces_is_the_parent(here: Told) -> None:
    trace_id = new_trace_id()
    parent = f"00-{trace_id}-00f067aa0ba902b7-01"
    with request_span(trace_id, {"traceparent": parent}):
        pass
    (span,) = here()
    assert f"{span.context.trace_id:032x}" == trace_id
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"


@pytest.mark.parametrize("nonsense", ["", "x", "00-0-0-00", "00-" + "0" * 32 + "-" + "0" * 16])
def test_nonsense_of_a_client_is_no_parent(here: Told, nonsense: str) -> None:
    trace_id = new_trace_id()
    with request_span(trace_id, {"traceparent": nonsense}):
        pass
    (span,) = here()
    assert f"{span.context.trace_id:032x}" == trace_id
    assert span.parent is None


def test_a_request_that_writes_for_another_does_not_send_in_its_own_name(
    here: Told,
) -> None:
    writer, other, gone = new_trace_id(), new_trace_id(), new_trace_id()
    with request_span(other, {}) as asked, request_span(writer, {}):
        sent = message_headers(other)
        assert message_headers(gone) == {}
    assert asked is not None
    assert sent["traceparent"].split("-")[1] == other
    assert sent["traceparent"].split("-")[2] == f"{asked.get_span_context().span_id:016x}"


def test_without_an_endpoint_messages_carry_nothing() -> None:
    tracing.configure_tracing(TracingSettings(), service="gateway")
    with request_span(new_trace_id(), {}) as span:
        assert span is None
        assert message_headers(new_trace_id()) == {}
