"""Processes: their heartbeats, those that are missing, and what anybody may read of them."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from gateway.operations.processes import missing, record_processes
from shared.broker import Broker, Heartbeat
from shared.db.models import Role
from shared.progress import PROGRESS, LoopProgress
from tests.unit.gateway.conftest import Api

ROW, REASON = "job 0197-secret", "OSError: /var/secret/x"
FAILING = LoopProgress("retention", "failing", 7200.4, failures=3, failure=REASON, row=ROW)
LATE = LoopProgress("sweep", "late", 400.2)
FINE = LoopProgress("depths", "ok", 2.0)


def beat(process: str, age: float, *loops: LoopProgress, host: str = "secrethost") -> Heartbeat:
    return Heartbeat(f"{process}@{host}:1", process, age, loops)


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    return api.sign(api.user(Role.OPERATOR))


def test_queues_show_the_loops_of_each_process(api: Api, operator: dict[str, str]) -> None:
    api.broker.beats = [beat("scheduler", 4.0, FAILING, FINE), beat("feeder", 45.0, FINE)]
    shown = api.client.get("/v1/queues", headers=operator).json()
    scheduler, feeder = shown["processes"]
    assert (scheduler["process"], scheduler["state"]) == ("scheduler", "failing")
    assert (feeder["state"], feeder["seconds_since_heartbeat"]) == ("silent", 45.0)
    retention = scheduler["loops"][0]
    assert (retention["loop"], retention["failures"], retention["row"]) == ("retention", 3, ROW)
    assert retention["failure"] == REASON
    assert retention["last_success_at"] is None


def test_process_without_a_heartbeat_is_missing(api: Api, operator: dict[str, str]) -> None:
    expected = list(api.services.settings.expected_processes)
    assert len(expected) == 11
    assert api.client.get("/v1/queues", headers=operator).json()["missing_processes"] == expected
    api.broker.beats = [beat(one, 1.0) for one in expected if one != "monitor"]
    shown = api.client.get("/v1/queues", headers=operator).json()
    assert shown["missing_processes"] == ["monitor"]


def test_worker_of_both_lanes_counts_for_each() -> None:
    expected = ["text-interactive", "text-catalog", "image-catalog"]
    assert missing([beat("text", 1.0)], expected) == ["image-catalog"]


def test_ready_lists_the_processes_only_if_asked(api: Api) -> None:
    assert "processes" not in api.client.get("/readyz").json()
    assert "processes" not in api.client.get("/livez").json()
    for query in ("verbose", "verbose=", "verbose=1", "verbose=true"):
        assert api.client.get(f"/readyz?{query}").json()["processes"]["feeder"] == "missing"


def test_ready_names_processes_without_hosts_rows_and_reasons(api: Api) -> None:
    api.broker.beats = [
        beat("scheduler", 4.0, FAILING, LATE, FINE),
        beat("feeder", 3.6, FINE),
        beat("monitor", 45.0, FINE),
        beat("monitor", 1.0, host="b"),
    ]
    answer = api.client.get("/readyz?verbose")
    shown = answer.json()["processes"]
    assert shown["scheduler"] == (
        "retention failed 3 times in a row, sweep without success for 400 s"
    )
    assert shown["feeder"] == "ok 4 s ago"
    assert shown["monitor"] == "silent for 45 s; ok 1 s ago"
    assert shown["trainer"] == "missing"
    assert answer.status_code == 200
    for secret in ("secrethost", ROW, REASON):
        assert secret not in answer.text


def test_ready_says_unknown_while_the_queue_is_away(api: Api) -> None:
    PROGRESS.succeeded("http")
    api.broker.is_down = True
    shown = api.client.get("/readyz?verbose").json()["processes"]
    assert shown["others"] == "unknown: the message queue does not answer"
    assert "gateway" in shown


def test_processes_are_counted_by_state() -> None:
    class Beats:
        def heartbeats(self) -> list[Heartbeat]:
            return [
                beat("text-catalog", 1.0),
                beat("text-catalog", 99.0),
                beat("feeder", 1.0, LATE),
            ]

    found: Any = Beats()
    broker: Broker = found
    record_processes(broker, ["feeder", "trainer"])

    def value(process: str, state: str) -> float | None:
        return REGISTRY.get_sample_value("rayon_processes", {"process": process, "state": state})

    assert value("text-catalog", "ok") == 1
    assert value("text-catalog", "silent") == 1
    assert value("feeder", "late") == 1
    assert value("trainer", "missing") == 1
