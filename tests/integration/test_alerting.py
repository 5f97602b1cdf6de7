"""Prometheus and Alertmanager themselves: rules, their tests, and an alert's way to a row.

Debian has them in the packages `prometheus` and `prometheus-alertmanager`; without them these tests
are skipped, and `tests/unit/monitoring` proves what can be proved without.
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

PROMETHEUS = PROJECT / "infra" / "prometheus"
TRIALS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ROUTING = PROJECT / "infra" / "alertmanager" / "alertmanager.yml"
KEY = "rayon_" + "k" * 32
SECONDS = 60.0


def tool(*names: str) -> str:
    """A program under one of its names. CI and most laptops have none, so it never fails."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{names[-1]} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("name", ["prometheus", "embedded", "kubernetes"])
def test_prometheus_takes_its_configuration_and_rules(name: str) -> None:
    checked = run(tool("promtool"), "check", "config", PROMETHEUS / f"{name}.yml")
    if "field kubernetes_sd_configs not found" in checked.stderr:
        pytest.skip("This promtool was built without Kubernetes, as Debian's is")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alertmanager_takes_its_routing() -> None:
    checked = run(tool("amtool"), "check-config", ROUTING)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_not_before(path: Path) -> None:
    tried = run(tool("promtool"), "test", "rules", path)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_texts_of_every_alert_can_be_filled_in(tmp_path: Path) -> None:
    promtool = tool("promtool")
    for path in TRIALS:
        trial = yaml.safe_load(path.read_text())
        asked = [one for group in trial["tests"] for one in _asks_for_texts(group)]
        if not asked:
            continue
        rules = [str((path.parent / one).resolve()) for one in trial["rule_files"]]
        trial |= {"tests": asked, "rule_files": rules}
        (tmp_path / path.name).write_text(yaml.safe_dump(trial))
        # promtool expected no alert, and so it shows those that it got.
        tried = run(promtool, "test", "rules", tmp_path / path.name)
        shown = tried.stdout + tried.stderr
        names = {one["alert_rule_test"][0]["alertname"] for one in asked}
        assert names <= set(re.findall(r'alertname="(\w+)"', shown))
        assert "summary" in shown
        assert "error expanding" not in shown
        assert "no value" not in shown


def _asks_for_texts(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same series; at the moment at which an alert fires, its texts are asked for."""
    for firing in group["promql_expr_test"]:
        if firing["exp_samples"]:
            (name,) = re.findall(r'alertname="(\w+)"', firing["expr"])
            asked = {"eval_time": firing["eval_time"], "alertname": name, "exp_alerts": []}
            rest = {key: group[key] for key in ("interval", "input_series")}
            yield {**rest, "alert_rule_test": [asked]}


def test_prometheus_understands_every_query_of_the_boards(tmp_path: Path) -> None:
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


class Heard(ThreadingHTTPServer):
    """Where people would be told: keeps what is sent there."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__(("127.0.0.1", 0), _Hearing)


class _Hearing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Heard)
        self.server.texts.append(body.decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base has it
        """Say nothing."""


@pytest.fixture
def people() -> Iterator[Heard]:
    server = Heard()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """The gateway, on a port."""
    with api.unit_of_work() as work:
        ensure_key(work.session, ALERTMANAGER, KEY, Scope.OPERATIONS_WRITE)
    port = free_port()
    config = uvicorn.Config(
        api.client.app, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, SECONDS, "the gateway answers")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def alertmanager(address: str, people: Heard, tmp_path: Path) -> Iterator[str]:
    """Alertmanager with the project's routing, at these addresses and without its pauses."""
    program = tool("prometheus-alertmanager", "alertmanager")
    (tmp_path / "alertmanager_key").write_text(KEY)
    (tmp_path / "ops_webhook").write_text(f"http://127.0.0.1:{people.server_port}/")
    routing = yaml.safe_load(ROUTING.read_text())
    routing["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    text = yaml.safe_dump(routing)
    for said, here in (
        ("http://gateway:8000", address),
        ("/run/rayon/", f"{tmp_path}/"),
    ):
        assert said in text
        text = text.replace(said, here)
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
    """A program, from when it is ready."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: answers(ready), SECONDS, f"{command[0]} is ready")
        yield
    finally:
        process.terminate()
        process.wait(20)
        print((folder / f"{Path(command[0]).name}.log").read_text()[-4000:])


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def raised(api: Api) -> list[DriftAlert]:
    with api.unit_of_work.reading() as session:
        return list(session.scalars(select(DriftAlert).order_by(DriftAlert.id)))


def send(alertmanager: str, *alerts: dict[str, str]) -> None:
    """Tell Alertmanager of alerts, as Prometheus does."""
    body = [
        {"labels": labels, "annotations": {"summary": f"{labels['alertname']} is seen"}}
        for labels in alerts
    ]
    httpx.post(f"{alertmanager}/api/v2/alerts", json=body).raise_for_status()


def model_alert(release: str) -> dict[str, str]:
    labels = {"alertname": "F1Low", "area": "model", "severity": "warning", "kind": "labelled"}
    return {**labels, "release": release}


def test_model_alert_becomes_a_row_and_people_are_told(
    alertmanager: str, api: Api, people: Heard
) -> None:
    send(alertmanager, model_alert("3"))
    until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    (alert,) = raised(api)
    assert (alert.source, alert.kind, alert.release) == ("alertmanager", "F1Low", "3")
    assert alert.summary == "F1Low is seen"
    assert [one.alert_id for one in api.broker.messages if isinstance(one, DriftDetected)] == [
        alert.id
    ]
    until(lambda: any("F1Low is seen" in text for text in people.texts), SECONDS, "people know")


def test_ops_alert_goes_to_people_alone(alertmanager: str, api: Api, people: Heard) -> None:
    labels = {"alertname": "DeadLetters", "area": "ops", "severity": "warning"}
    send(alertmanager, labels, model_alert("3"))
    until(lambda: any("DeadLetters" in text for text in people.texts), SECONDS, "people know")
    until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    assert [alert.kind for alert in raised(api)] == ["F1Low"]


def test_what_rayon_deals_with_already_is_held_back(alertmanager: str, api: Api) -> None:
    under_way = {"alertname": "AlertUnderWay", "area": "trace", "severity": "none"}
    send(alertmanager, under_way, model_alert("3"))

    def held_back() -> list[bool]:
        found = httpx.get(f"{alertmanager}/api/v2/alerts").json()
        return [
            bool(one["status"]["inhibitedBy"])
            for one in found
            if one["labels"]["alertname"] == "F1Low"
        ]

    until(lambda: held_back() == [True], SECONDS, "it is held back")
    assert raised(api) == []


@pytest.fixture
def metrics_of_monitor() -> Iterator[tuple[int, Callable[[float], None]]]:
    """A port with the figures of a release, and what sets how good it is by labels."""
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


def test_figure_that_falls_becomes_a_row(
    alertmanager: str,
    api: Api,
    metrics_of_monitor: tuple[int, Callable[[float], None]],
    tmp_path: Path,
) -> None:
    """Through Prometheus with our rules, and Alertmanager with our routing."""
    program = tool("prometheus")
    port, set_labelled = metrics_of_monitor
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
            "Prometheus has the figures",
        )
        assert raised(api) == []
        set_labelled(0.7)
        until(lambda: bool(raised(api)), SECONDS, "an alert is in the database")
    (alert,) = raised(api)
    assert alert.summary == "F1 (labelled) of release 3 is below its test figure"
    assert alert.details["annotations"]["runbook"] == "infra/docs/runbook.md#f1low"
