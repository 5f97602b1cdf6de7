"""Health probes of the containers."""

import os
import subprocess
import sys
import time
from pathlib import Path

from shared.broker import Broker, process_name
from shared.settings import BrokerSettings
from tests.support.servers import free_port


def run_probe(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_worker_probe_succeeds_while_the_worker_announces_itself(
    broker: Broker, redis_url: str
) -> None:
    before = run_probe("shared.broker.probe", "text", RAYON_BROKER_URL=redis_url)
    assert before.returncode == 1
    assert "No text worker" in before.stderr
    broker.presence(process_name("text"), ["text.interactive"]).beat()
    assert run_probe("shared.broker.probe", "text", RAYON_BROKER_URL=redis_url).returncode == 0
    assert run_probe("shared.broker.probe", "image", RAYON_BROKER_URL=redis_url).returncode == 1
    # A worker on another machine does not count.
    broker.presence("fusion@elsewhere:1", ["fusion.interactive"]).beat()
    assert run_probe("shared.broker.probe", "fusion", RAYON_BROKER_URL=redis_url).returncode == 1


def test_worker_probe_names_a_release_that_cannot_be_loaded(broker: Broker, redis_url: str) -> None:
    presence = broker.presence(process_name("text"), ["text.interactive"])
    presence.unloadable = lambda: {"2": "broken in the registry"}
    presence.beat()
    ended = run_probe("shared.broker.probe", "text", RAYON_BROKER_URL=redis_url)
    assert ended.returncode == 0
    assert "cannot load release 2: broken in the registry" in ended.stdout


def test_worker_probe_fails_without_a_queue() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    ended = run_probe("shared.broker.probe", "text", RAYON_BROKER_URL=url)
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr
    assert run_probe("shared.broker.probe").returncode == 2


def test_container_probe_succeeds_while_the_worker_consumes(
    broker_settings: BrokerSettings, tmp_path: Path
) -> None:
    file = tmp_path / "consumes"

    def consumes() -> bool:
        environment = {**os.environ, "RAYON_BROKER_BEAT_FILE": str(file)}
        check = ["sh", "infra/images/consumes.sh"]
        return subprocess.run(check, env=environment, check=False, timeout=60).returncode == 0

    broker = Broker(broker_settings.model_copy(update={"beat_file": file}))
    assert not consumes()
    broker.presence(process_name("text"), ["text.interactive"]).beat()
    assert consumes()
    silent_since = time.time() - 16
    os.utime(file, (silent_since, silent_since))
    assert not consumes()


def test_gateway_probe_fails_without_a_gateway() -> None:
    ended = run_probe("gateway.probe", RAYON_GATEWAY_PORT=str(free_port()))
    assert ended.returncode == 1
    assert "/readyz" in ended.stderr
