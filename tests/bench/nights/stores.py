"""Stores that stall, refuse to write or are broken: Redis, the database and MLflow."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings
from tests.bench.nights.databases import suspended
from tests.bench.nights.fault import Fault
from tests.bench.nights.night import PATIENCE_SECONDS, Night
from tests.bench.nights.outcome import ACCEPT_SECONDS, Allowed
from tests.support import redis_faults

#: A promotion while MLflow is stopped must be answered in this time.
PROMOTION_SECONDS = 20.0
#: The ledger and the alias agree after this time: a pending promotion is finished when it is a
#: minute old, by a task that runs every 30 s.
AGREED_SECONDS = 150.0
BROKEN = b"\xff\x00broken\xff" * 8


def redis_stopped(night: Night) -> AbstractContextManager[None]:
    """Stop Redis with SIGSTOP."""
    return suspended([night.process("redis")])


def database_stalled(night: Night) -> AbstractContextManager[None]:
    """Lock SQLite, or stop all processes of PostgreSQL."""
    return night.database.stalled()


def mlflow_stopped(night: Night) -> AbstractContextManager[None]:
    """Stop MLflow with SIGSTOP."""
    return suspended([night.process("mlflow")])


def refusing(kind: str) -> Fault:
    """Return the fault of a Redis that answers and refuses to write."""

    @contextmanager
    def inject(night: Night) -> Iterator[None]:
        with night.redis() as client, redis_faults.FAULTS[kind](client):
            yield

    return Fault(f"redis-{kind.lower()}", inject, Allowed(accept_seconds=ACCEPT_SECONDS))


@contextmanager
def broken_append_only_file(night: Night) -> Iterator[None]:
    """Overwrite parts of the append-only file, and kill Redis."""
    process = night.process("redis")
    os.kill(process.pid, signal.SIGSTOP)
    folder = night.system.home / "redis"
    files = [*folder.glob("appendonlydir/*.aof"), *folder.glob("appendonlydir/*.rdb")]
    files += folder.glob("appendonly.aof")
    for file in files:
        _overwrite(file)
    os.kill(process.pid, signal.SIGKILL)
    night.notes.append(f"{len(files)} files broken")
    yield


def _overwrite(file: Path) -> None:
    with file.open("r+b") as content:
        # Not the end alone: Redis reads a file up to a torn end.
        for share in (0.0, 0.3, 0.6):
            content.seek(int(file.stat().st_size * share))
            content.write(BROKEN)


@contextmanager
def mlflow_stopped_in_promotion(night: Night) -> Iterator[None]:
    """Promote a copy of the champion while MLflow is stopped, and compare ledger and alias."""
    # MLflow's client would print the address of the run.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    version = _copy_of_champion(night)
    with night.admin() as admin:
        answers: list[tuple[int, float, str]] = []
        calling = threading.Thread(target=_promote, args=(admin, version, answers))
        with mlflow_stopped(night):
            calling.start()
            yield
        night.ended = time.monotonic()
        calling.join(70)
        status, seconds, detail = answers[0] if answers else (0, float("inf"), "")
        night.notes.append(f"promotion {status} in {seconds:.1f} s")
        if seconds > PROMOTION_SECONDS:
            night.missed.append("slow promotion")
        agreed = _agreed(admin, AGREED_SECONDS)
    is_promised = status == 200 or "is recorded" in detail
    if agreed is None or is_promised != (agreed == version):
        night.missed.append(f"promotion of {version}: the champion is {agreed}")


def _copy_of_champion(night: Night) -> str:
    secret = (night.system.home / "secrets" / "registry_token").read_text().strip()
    port = night.system.environment["RAYON_MLFLOW_PORT"]
    with tempfile.TemporaryDirectory() as folder:
        registry = Releases(
            ReleaseSettings(
                mlflow_url=f"http://127.0.0.1:{port}",
                token=SecretStr(secret),
                cache=Path(folder) / "cache",
            )
        )
        champion = _champion(registry)
        copy = Path(shutil.copytree(registry.folder(champion), Path(folder) / "copy"))
        # The copy computes its own when it is registered.
        (copy / "checksums.json").unlink(missing_ok=True)
        return registry.register(copy, description="Copy of the champion")


def _champion(registry: Releases) -> str:
    # MLflow may still be starting after the fault before.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(Unavailable):
            found = registry.champion()
            if found is not None:
                return found
        time.sleep(1)
    raise RuntimeError("Expected a champion. Received: none")


def _promote(admin: httpx.Client, version: str, answers: list[tuple[int, float, str]]) -> None:
    started = time.monotonic()
    try:
        response = admin.post(f"/v1/releases/{version}/promote", json={"reason": "a night"})
        status, detail = response.status_code, response.text
    except httpx.HTTPError as error:
        status, detail = 0, repr(error)
    answers.append((status, time.monotonic() - started, detail))


def _agreed(admin: httpx.Client, seconds: float) -> str | None:
    """Wait until the newest entry of the ledger names the champion, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            newest = admin.get("/v1/releases", timeout=10).json()["ledger"][0]
            champion = admin.get("/v1/releases/champion", timeout=10).json()["version"]
            if champion == newest["version"] and not newest.get("pending"):
                return str(champion)
        time.sleep(1)
    return None
