"""Processes of the embedded run: command, environment and start stage."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from infra.embedded import variables
from infra.embedded.settings import EmbeddedSettings

Stage = Literal["servers", "core", "rest"]


@dataclass(frozen=True)
class Program:
    """Process to run under supervisord."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    #: Patterns of the variables that it inherits.
    inherits: Sequence[str] = variables.MACHINE
    #: When it starts: `servers` at once, `core` when the tables are there, `rest` when the core
    #: answers, so that the first answer need not wait for it.
    stage: Stage = "core"


def programs(
    settings: EmbeddedSettings, redis: Path, redis_conf: Path, registry_token: Path
) -> list[Program]:
    """List all processes, in the order in which they start."""
    return [
        _mlflow(settings, registry_token),
        _redis(settings, redis, redis_conf),
        *(_numbered(settings, _services())),
    ]


def confined(program: Program, environment: Mapping[str, str]) -> Program:
    """Return the program without the variables of others.

    supervisord passes its whole environment on. `env` removes names, and then becomes the program;
    no value is in a command line.
    """
    others = sorted(
        name
        for name in environment
        if name not in program.environment and not variables.is_own(name, program.inherits)
    )
    removed = [part for name in others for part in ("-u", name)]
    return replace(program, command=["/usr/bin/env", *removed, *program.command])


def _services() -> list[Program]:
    return [
        _service("gateway", "gateway.main", variables.GATEWAY),
        _worker("image", "interactive"),
        _worker("text", "interactive"),
        _worker("fusion", "interactive"),
        _service("scheduler", "gateway.scheduler", variables.SCHEDULER, "rest"),
        _service("feeder", "gateway.feeder", variables.FEEDER, "rest"),
        _worker("image", "catalog", "rest"),
        _worker("text", "catalog", "rest"),
        _worker("fusion", "catalog", "rest"),
        _service("trainer", "trainer.main", variables.TRAINING, "rest"),
        _service("monitor", "trainer.monitor", variables.MONITOR, "rest"),
    ]


def _service(name: str, module: str, inherits: Sequence[str], stage: Stage = "core") -> Program:
    return Program(name, [sys.executable, "-m", module], inherits=inherits, stage=stage)


_INHERITS = {"text": variables.TEXT, "image": variables.IMAGE, "fusion": variables.FUSION}


def _worker(modality: str, lane: str, stage: Stage = "core") -> Program:
    module, inherits = f"worker_{modality}.main", _INHERITS[modality]
    environment = {"RAYON_WORKER_LANES": f'["{lane}"]'}
    cores = os.cpu_count() or 1
    if lane == "catalog" or modality == "text":
        # A second thread speeds up a single image but not a text.
        environment |= {
            "RAYON_WORKER_MODEL_THREADS": "1",
            "RAYON_WORKER_MODEL_CALLS": str(cores),
        }
    if (modality, lane) == ("text", "interactive"):
        # Joining its own scores saves a message per job, so it writes to the database.
        module, inherits = "infra.embedded.text_worker", variables.FUSION
        # The size of a model call (`ALIKE` in `worker_text/scorer.py`). A larger batch takes
        # several calls, and its first answers wait for the last.
        environment["RAYON_WORKER_MAX_BATCH"] = "8"
    if lane == "catalog":
        # A model call takes two messages with texts. Twice as many threads keep the next two ready.
        environment |= {
            "RAYON_WORKER_MAX_BATCH": "256",
            "RAYON_WORKER_THREADS": str((4 if modality == "text" else 2) * cores),
        }
    if lane == "catalog" and modality != "fusion":
        # The fusion worker keeps its priority: single jobs wait while it locks the database.
        environment["RAYON_WORKER_NICENESS"] = "19"
    command = [sys.executable, "-m", module]
    return Program(f"{modality}-{lane}", command, environment, inherits, stage)


def _numbered(settings: EmbeddedSettings, services: list[Program]) -> list[Program]:
    first = settings.metrics_port
    return [
        replace(
            service,
            environment=service.environment
            | {"RAYON_METRICS_PORT": str(first + number if first else 0)},
        )
        for number, service in enumerate(services)
    ]


def _redis(settings: EmbeddedSettings, server: Path, configuration: Path) -> Program:
    start = [sys.executable, "-m", "infra.embedded.redis_start"]
    log = settings.home / "logs" / "redis.log"
    return Program("redis", [*start, str(server), str(configuration), str(log)], stage="servers")


def _mlflow(settings: EmbeddedSettings, token: Path) -> Program:
    folder = settings.home / "mlflow"
    # The variables that `mlflow server` would set (mlflow.server.constants).
    environment = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TOKEN_FILE": str(token),
    }
    served = ["--factory", "infra.mlflow.app:create_app"]
    command = [sys.executable, "-W", "ignore", "-m", "uvicorn", *served]
    address = ["--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--no-access-log"]
    return Program("mlflow", [*command, *address], environment, stage="servers")


def ports(settings: EmbeddedSettings) -> list[tuple[str, int]]:
    """List every port to open with the variable that sets it."""
    first = settings.metrics_port
    metrics = range(first, first + len(_services())) if first else ()
    return [
        ("RAYON_GATEWAY_PORT", settings.gateway_port),
        ("RAYON_REDIS_PORT", settings.redis_port),
        ("RAYON_MLFLOW_PORT", settings.mlflow_port),
        *(("RAYON_METRICS_PORT", port) for port in metrics),
    ]
