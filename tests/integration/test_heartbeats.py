"""Heartbeats of real processes: one that is stopped is named, as is a task that keeps failing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from gateway.operations.processes import summary
from shared.broker import Broker, Heartbeat
from shared.broker.heartbeat import HEARTBEAT_SECONDS, SILENT_SECONDS
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import Base
from shared.db.session import UnitOfWork
from tests.integration.conftest import Workers
from tests.support.servers import free_port, until

START_SECONDS = 60
BEATS_SECONDS = SILENT_SECONDS + 2 * HEARTBEAT_SECONDS


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database."""
    return sqlite_url


@pytest.fixture
def environment(redis_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "RAYON_BROKER_URL": redis_url,
        "RAYON_DATABASE_URL": database_url,
        "RAYON_STORAGE_URL": str(tmp_path / "storage"),
        "RAYON_METRICS_PORT": str(free_port()),
        "RAYON_SWEEP_INTERVAL_SECONDS": "0.2",
    }


@contextmanager
def scheduler(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.scheduler"], env=environment, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def beats(broker: Broker, process: subprocess.Popen[bytes]) -> list[Heartbeat]:
    return [one for one in broker.heartbeats() if one.name.endswith(f":{process.pid}")]


def state(broker: Broker, process: subprocess.Popen[bytes]) -> str:
    found = beats(broker, process)
    return found[0].state if found else "none"


@pytest.mark.usefixtures("unit_of_work")
def test_stopped_process_is_silent_until_it_runs_again(
    broker: Broker, environment: dict[str, str], tmp_path: Path
) -> None:
    with scheduler(environment, tmp_path / "log") as process:
        until(lambda: state(broker, process) == "ok", START_SECONDS, "the scheduler is ok")
        process.send_signal(signal.SIGSTOP)
        until(lambda: state(broker, process) == "silent", BEATS_SECONDS, "it is silent")
        assert re.match(r"silent for 3\d s", summary(broker, ["feeder"])["scheduler"])
        assert summary(broker, ["feeder"])["feeder"] == "missing"
        process.send_signal(signal.SIGCONT)
        until(lambda: state(broker, process) == "ok", BEATS_SECONDS, "it is ok again")
        process.terminate()
        assert process.wait(20) == 0
        assert state(broker, process) == "none"


@pytest.mark.usefixtures("unit_of_work")
def test_successor_of_a_killed_process_takes_its_place(
    broker: Broker, environment: dict[str, str], tmp_path: Path
) -> None:
    with scheduler(environment, tmp_path / "log") as first:
        until(lambda: state(broker, first) == "ok", START_SECONDS, "the scheduler is ok")
    assert state(broker, first) != "none"
    with scheduler(environment, tmp_path / "log") as second:
        until(lambda: state(broker, second) == "ok", START_SECONDS, "its successor is ok")
        assert state(broker, first) == "none"


def test_task_that_keeps_failing_is_named_in_heartbeat_metric_and_log(
    unit_of_work: UnitOfWork, broker: Broker, environment: dict[str, str], tmp_path: Path
) -> None:
    with unit_of_work() as work:
        for table in ("scores", "reviews", "jobs"):
            assert table in Base.metadata.tables
            work.session.execute(text(f"DROP TABLE {table}"))
    log = tmp_path / "log"
    with scheduler(environment, log) as process:
        until(lambda: state(broker, process) == "failing", START_SECONDS, "a loop is failing")
        (heartbeat,) = beats(broker, process)
        sweep = next(one for one in heartbeat.loops if one.loop == "sweep")
        assert sweep.failures >= 3
        assert "no such table: jobs" in sweep.failure
        assert "sweep failed" in summary(broker, ["scheduler"])["scheduler"]
        shown = httpx.get(f"http://127.0.0.1:{environment['RAYON_METRICS_PORT']}/metrics").text
        series = r'rayon_loop_failures_in_a_row\{loop="sweep",row=""\} (\S+)'
        found = re.search(series, shown)
        assert found is not None
        assert float(found[1]) >= 3
    assert re.search(r'"loop": "sweep".*"event": "loop_failing"', log.read_text())


def test_message_that_keeps_failing_names_its_job(broker: Broker, workers: Workers) -> None:
    workers.start("tests.integration.probe_worker", RAYON_BROKER_MAX_DELIVERIES="10")
    item = TextItem.of("job-7", "break", "")
    broker.publish(ScoreText(trace_id="0" * 32, lane=Lane.INTERACTIVE, release="1", items=(item,)))

    def is_failing() -> bool:
        return any(one.state == "failing" for one in broker.heartbeats())

    until(is_failing, START_SECONDS + 2 * HEARTBEAT_SECONDS, "the topic is failing")
    (heartbeat,) = broker.heartbeats()
    loop = next(one for one in heartbeat.loops if one.loop == "score_text")
    assert loop.row == "job job-7"
    assert loop.failure == "ArithmeticError: the title is `break`"
    assert "job-7" not in str(summary(broker, ()))
