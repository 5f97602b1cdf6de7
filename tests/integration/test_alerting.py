"""Real Prometheus and Alertmanager: rules, their tests, and the path of an alert to the database.

Debian has the programs in the packages `prometheus` and `prometheus-alertmanager`. Without them
these tests are skipped; `tests/unit/infra/prometheus` covers what needs no programs.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client import Gauge as PlainGauge
from sqlalchemy import select

from gateway.identity.scopes import Scope
from gateway.identity.service_keys import ALERTMANAGER, ensure_key
from infra.embedded.settings import PROJECT
from infra.grafana.boards import BOARDS
from shared.contracts import DriftDetected
from shared.db.models import DriftAlert
from tests.support.servers import free_port, until
from tests.unit.gateway import conftest as gateway
from tests.unit.gateway.conftest import Api

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work
settings, rate_settings = gateway.settings, gateway.rate_settings
sign_in_limit_settings, api = gateway.sign_in_limit_settings, gateway.api
catalog_settings, release_settings = gateway.catalog_settings, gateway.release_settings

PROMETHEUS = PROJECT / "infra" / "prometheus"
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ROUTING = PROJECT / "infra" / "alertmanager" / "alertmanager.yml"
KEY = "rayon_" + "k" * 32
SECONDS = 60.0


def tool(*names: str) -> str:
    """Return the path of a program under one of its names, or skip the test.

    CI and most laptops do not have these programs, so a missing one is no failure.
    """
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{names[-1]} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("name", ["prometheus", "embedded", "kubernetes"])
def test_prometheus_accepts_its_configuration_and_rules(name: str) -> None:
    checked = run(tool("promtool"), "check", "config", PROMETHEUS / f"{name}.yml")
    if "field kubernetes_sd_configs not found" in checked.stderr:
        pytest.skip("This promtool was built without Kubernetes, like that of Debian")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alertmanager_accepts_its_routing() -> None:
    checked = run(tool("amtool"), "check-config", ROUTING)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_exactly_when_its_rule_test_expects(path: Path) -> None:
    tested = run(tool("promtool"), "test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_texts_of_every_alert_are_rendered(tmp_path: Path) -> None:
    promtool = tool("promtool")
    for path in RULE_TESTS:
        rule_test = yaml.safe_load(path.read_text())
        probes = [probe for group in rule_test["tests"] for probe in _text_probes(group)]
        if not probes:
            continue
        rules = [str((path.parent / file).resolve()) for file in rule_test["rule_files"]]
        rule_test |= {"tests": probes, "rule_files": rules}
        (tmp_path / path.name).write_text(yaml.safe_dump(rule_test))
        # No alert is expected, so promtool prints each alert that fires, with its texts.
        tested = run(promtool, "test", "rules", tmp_path / path.name)
        shown = tested.stdout + tested.stderr
        names = {probe["alert_rule_test"][0]["alertname"] for probe in probes}
        assert names <= set(re.findall(r'alertname="(\w+)"', shown))
        assert "summary" in shown
        assert "error expanding" not in shown
        assert "no value" not in shown


def _text_probes(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield tests with the same series that query the texts of an alert when it fires."""
    for firing in group["promql_expr_test"]:
        if firing["exp_samples"]:
            (name,) = re.findall(r'alertname="(\w+)"', firing["expr"])
            expectation = {"eval_time": firing["eval_time"], "alertname": name, "exp_alerts": []}
            rest = {key: group[key] for key in ("interval", "input_series")}
            yield {**rest, "alert_rule_test": [expectation]}


def test_every_query_of_the_boards_is_valid_promql(tmp_path: Path) -> None:
    promtool = tool("promtool")
    queries = [
        query
        for board in BOARDS
        for panels in board.rows.values()
        for panel in panels
        for query in panel.queries.values()
    ]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    checked = run(promtool, "check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


class Notifications(ThreadingHTTPServer):
    """A server that stands for the chat of the operators and keeps each notification."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__(("127.0.0.1", 0), _NotificationHandler)


class _NotificationHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Notifications)
        self.server.texts.append(body.decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # name of the base class
        """Log nothing."""


@pytest.fixture
def people() -> Iterator[Notifications]:
    server = Notifications()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """Provide the address of a gateway on a port."""
    with api.unit_of_work() as work:
        ensure_key(work.session, ALERTMANAGER, KEY, Scope.OPERATIONS_WRITE)
    port = free_port()
    config = uvicorn.Config(
        api.client.app, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, SECONDS, "the gateway has started")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def alertmanager(address: str, people: Notifications, tmp_path: Path) -> Iterator[str]:
    """Run Alertmanager with the routing of the project, local addresses and short waiting times."""
    program = tool("prometheus-alertmanager", "alertmanager")
    (tmp_path / "alertmanager_key").write_text(KEY)
    (tmp_path / "ops_webhook").write_text(f"http://127.0.0.1:{people.server_port}/")
    routing = yaml.safe_load(ROUTING.read_text())
    routing["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    text = yaml.safe_dump(routing)
    for original, local in (
        ("http://gateway:8000", address),
        ("/run/rayon/", f"{tmp_path}/"),
    ):
        assert original in text
        text = text.replace(original, local)
    (tmp_path / "alertmanager.yml").write_text(text)
    port = free_port()
    with running(
        tmp_path,
        f"http://127.0.0.1:{port}/-/ready",
        program,
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(folder: Path, ready: str, *command: str) -> Iterator[None]:
    """Run a program; wait until it is ready."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: responds(ready), SECONDS, f"{command[0]} is ready")
        yield
    finally:
        process.terminate()
        process.wait(20)
        print((folder / f"{Path(command[0]).name}.log").read_text()[-4000:])


def responds(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def raised(api: Api) -> list[DriftAlert]:
    with api.unit_of_work.reading() as session:
        return list(session.scalars(select(DriftAlert).order_by(DriftAlert.id)))


def send(alertmanager: str, *alerts: dict[str, str]) -> None:
    """Send alerts to Alertmanager, as Prometheus does."""
    body = [
        {"labels": labels, "annotations": {"summary": f"{labels['alertname']} was measured"}}
        for labels in alerts
    ]
    httpx.post(f"{alertmanager}/api/v2/alerts", json=body).raise_for_status()


def model_alert(release: str) -> dict[str, str]:
    labels = {"alertname": "F1Low", "area": "model", "severity": "warning", "kind": "labelled"}
    return {**labels, "release": release}


def test_model_alert_becomes_a_row_and_people_are_notified(
    alertmanager: str, api: Api, people: Notifications
) -> None:
    send(alertmanager, model_alert("3"))
    until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    (alert,) = raised(api)
    assert (alert.source, alert.kind, alert.release) == ("alertmanager", "F1Low", "3")
    assert alert.summary == "F1Low was measured"
    assert [
        message.alert_id for message in api.broker.messages if isinstance(message, DriftDetected)
    ] == [alert.id]
    until(
        lambda: any("F1Low was measured" in text for text in people.texts),
        SECONDS,
        "people are notified",
    )


def test_ops_alert_is_sent_to_people_only(
    alertmanager: str, api: Api, people: Notifications
) -> None:
    labels = {"alertname": "DeadLetters", "area": "ops", "severity": "warning"}
    send(alertmanager, labels, model_alert("3"))
    until(
        lambda: any("DeadLetters" in text for text in people.texts), SECONDS, "people are notified"
    )
    until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    assert [alert.kind for alert in raised(api)] == ["F1Low"]


def test_alert_that_rayon_already_handles_is_inhibited(alertmanager: str, api: Api) -> None:
    under_way = {"alertname": "AlertUnderWay", "area": "trace", "severity": "none"}
    send(alertmanager, under_way, model_alert("3"))

    def inhibited() -> list[bool]:
        found = httpx.get(f"{alertmanager}/api/v2/alerts").json()
        return [
            bool(alert["status"]["inhibitedBy"])
            for alert in found
            if alert["labels"]["alertname"] == "F1Low"
        ]

    until(lambda: inhibited() == [True], SECONDS, "the alert is inhibited")
    assert raised(api) == []


@pytest.fixture
def monitor_metrics() -> Iterator[tuple[int, Callable[[float], None]]]:
    """Provide a port with the metrics of a release, and a setter of its F1 on labels."""
    registry, port = CollectorRegistry(), free_port()
    labels = ("kind", "modality", "release")
    f1 = PlainGauge("rayon_f1", "F1", labels, registry=registry)
    high = PlainGauge("rayon_f1_high", "F1", labels, registry=registry)
    f1.labels("test", "fusion", "3").set(0.8)

    def set_labelled(value: float) -> None:
        high.labels("labelled", "fusion", "3").set(value)

    set_labelled(0.82)
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    yield port, set_labelled
    server.shutdown()
    server.server_close()
    thread.join()


def test_f1_that_falls_becomes_an_alert_in_the_database(
    alertmanager: str,
    api: Api,
    monitor_metrics: tuple[int, Callable[[float], None]],
    tmp_path: Path,
) -> None:
    """The path leads through Prometheus and Alertmanager with the rules and routing of Rayon."""
    program = tool("prometheus")
    port, set_labelled = monitor_metrics
    rules = re.sub(r"for: \w+", "for: 0s", (PROMETHEUS / "rules" / "models.yml").read_text())
    (tmp_path / "rules.yml").write_text(rules)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(tmp_path / "rules.yml")],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager.split("//")[1]]}]}]
        },
        "scrape_configs": [
            {"job_name": "monitor", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    own = free_port()
    query = f"http://127.0.0.1:{own}/api/v1/query"
    with running(
        tmp_path,
        f"http://127.0.0.1:{own}/-/ready",
        program,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ):
        until(
            lambda: bool(
                httpx.get(query, params={"query": "rayon_f1_high"}).json()["data"]["result"]
            ),
            SECONDS,
            "Prometheus has the metrics",
        )
        assert raised(api) == []
        set_labelled(0.7)
        until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    (alert,) = raised(api)
    assert alert.summary == "F1 (labelled) of release 3 is below its test figure"
    assert alert.details["annotations"]["runbook"] == "infra/docs/runbook.md#f1low"
