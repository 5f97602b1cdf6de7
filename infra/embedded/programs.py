"""Every process of the embedded run: its command, its own settings, when it starts."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded.settings import EmbeddedSettings


@dataclass(frozen=True)
class Program:
    """One process."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    #: It must not start before the tables are there.
    needs_tables: bool = False
    #: Other people's servers stop last.
    is_server: bool = False


def programs(settings: EmbeddedSettings, redis: Path, redis_conf: Path) -> list[Program]:
    """List all processes, in the order in which they start."""
    return [
        _mlflow(settings),
        Program("redis", [str(redis), str(redis_conf)], is_server=True),
        *(_numbered(settings, _services())),
    ]


def _services() -> list[Program]:
    return [
        _service("gateway", "gateway.main", needs_tables=True),
        _worker("image", "interactive"),
        _worker("text", "interactive"),
        _service("fusion", "worker_fusion.main", needs_tables=True),
        _service("scheduler", "gateway.scheduler", needs_tables=True),
        _worker("image", "catalog"),
        _worker("text", "catalog"),
        _service("trainer", "trainer.main", needs_tables=True),
    ]


def _service(name: str, module: str, *, needs_tables: bool) -> Program:
    return Program(name, [sys.executable, "-m", module], needs_tables=needs_tables)


def _worker(modality: str, lane: str) -> Program:
    command = [sys.executable, "-m", f"worker_{modality}.main"]
    return Program(f"{modality}-{lane}", command, {"RAYON_WORKER_LANES": f'["{lane}"]'})


def _numbered(settings: EmbeddedSettings, services: list[Program]) -> list[Program]:
    first = settings.metrics_port
    return [
        Program(
            name=service.name,
            command=service.command,
            environment=service.environment
            | {"RAYON_METRICS_PORT": str(first + number if first else 0)},
            needs_tables=service.needs_tables,
        )
        for number, service in enumerate(services)
    ]


def _mlflow(settings: EmbeddedSettings) -> Program:
    folder = settings.home / "mlflow"
    # `mlflow server` is a second process that only starts this one: 260 MB and 6 seconds more.
    # These variables are what it would set (mlflow.server.constants).
    environment = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    command = [sys.executable, "-W", "ignore", "-m", "uvicorn", "mlflow.server.fastapi_app:app"]
    address = ["--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--no-access-log"]
    return Program("mlflow", [*command, *address], environment, is_server=True)


def ports(settings: EmbeddedSettings) -> dict[str, int]:
    """Every port that will be opened, by the variable that sets it."""
    opened = {
        "RAYON_GATEWAY_PORT": settings.gateway_port,
        "RAYON_REDIS_PORT": settings.redis_port,
        "RAYON_MLFLOW_PORT": settings.mlflow_port,
    }
    if settings.metrics_port:
        opened["RAYON_METRICS_PORT"] = settings.metrics_port
    return opened
