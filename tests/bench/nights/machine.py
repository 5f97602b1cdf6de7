"""The machine: a full disk, a broken model file, pauses, kills and thousands of connections."""

import asyncio
import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.bench.nights.databases import suspended
from tests.bench.nights.fault import Fault, Skipped
from tests.bench.nights.night import PATIENCE_SECONDS, Night
from tests.bench.nights.outcome import ACCEPT_SECONDS, Allowed
from tests.bench.processes import family, programs
from tests.support.servers import until

CHUNK = 1024 * 1024
#: Long polls, of clients at this many addresses: one address has a limit of its own.
POLLS, ADDRESSES = 2_000, 8
POLL_SECONDS = 10
#: After a pause, a consumer that thinks itself stuck ends itself within this time.
JUDGED_SECONDS = 5.0
#: Programs that are killed one after the other.
KILLED = (
    "gateway", "feeder", "scheduler", "text-interactive", "text-catalog", "image-interactive",
    "image-catalog", "fusion-interactive", "fusion-catalog", "redis", "mlflow", "monitor",
    "trainer", "supervisord",
)  # fmt: skip
#: Killed without them, `/livez` must go on.
CLOSING = ("gateway", "supervisord")


@contextmanager
def disk_full(night: Night) -> Iterator[None]:
    """Fill the disk of the home to its last byte. Raises `Skipped` without a disk of its own."""
    if not night.has_disk:
        raise Skipped("a tmpfs may not be mounted here; run it as root")
    filler = night.system.home / "filler"
    try:
        _fill(filler)
        with _filling(filler):
            yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def _filling(filler: Path) -> Iterator[None]:
    # Redis, SQLite and rotated logs make room meanwhile.
    done = threading.Event()

    def fill() -> None:
        while not done.wait(1.0):
            _fill(filler)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _fill(filler: Path) -> None:
    size = CHUNK
    with filler.open("ab", buffering=0) as out:
        while size:
            try:
                out.write(bytes(size))
            except OSError:
                size //= 2


@contextmanager
def broken_model(night: Night) -> Iterator[None]:
    """Flip bytes of the text model in the local copy, and restart the text worker."""
    models = sorted((night.system.home / "releases").glob("*/text/*.onnx"))
    if not models:
        raise RuntimeError("Expected a local copy of the text model. Received: none")
    for model in models:
        with model.open("r+b") as content:
            content.seek(model.stat().st_size // 2)
            content.write(os.urandom(4096))
            content.truncate(model.stat().st_size * 3 // 4)
    os.kill(night.process("text-interactive").pid, signal.SIGKILL)
    night.notes.append(f"{len(models)} copies broken")
    yield


@contextmanager
def fusion_paused(night: Night) -> Iterator[None]:
    """Stop the fusion worker for longer than a consumer may consume nothing."""
    process = night.process("fusion-interactive")
    with suspended([process]):
        yield
    night.ended = time.monotonic()
    time.sleep(JUDGED_SECONDS)
    now = programs(night.system.home).get("fusion-interactive")
    if now is None or now.pid != process.pid:
        night.missed.append("fusion ended itself after a pause")


def killed(name: str) -> Fault:
    """Return the fault of a program that is killed with SIGKILL."""

    @contextmanager
    def inject(night: Night) -> Iterator[None]:
        process = night.process(name)
        os.kill(process.pid, signal.SIGKILL)
        if name == "supervisord":
            _await_replacement(night, process)
        yield

    allowed = Allowed(
        to_close=name in CLOSING,
        to_hang_up=name in CLOSING,
        accept_seconds=ACCEPT_SECONDS if name == "redis" else None,
    )
    return Fault(f"kill-{name}", inject, allowed, seconds=0.0)


def _await_replacement(night: Night, supervisord: psutil.Process) -> None:
    """Wait until another supervisord has started a gateway of its own.

    The programs of a supervisord that was killed go on until another one ends them.
    """
    killed_at = time.monotonic()
    until(lambda: _is_replaced(night, supervisord), PATIENCE_SECONDS, "another supervisord runs")
    night.notes.append(f"another gateway after {time.monotonic() - killed_at:.1f} s")


def _is_replaced(night: Night, supervisord: psutil.Process) -> bool:
    running = programs(night.system.home)
    another = running.get("supervisord", supervisord)
    return another.pid != supervisord.pid and "gateway" in running


@contextmanager
def all_killed(night: Night) -> Iterator[None]:
    """Kill every program at once, as the kernel does when the memory is used up."""
    for name, process in programs(night.system.home).items():
        if name != "supervisord":
            os.kill(process.pid, signal.SIGKILL)
    yield


@contextmanager
def long_polls(night: Night) -> Iterator[None]:
    """Open thousands of long polls of a job that waits, since its worker is stopped."""
    worker = night.process("image-interactive")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < POLLS + 500:
        raise Skipped(f"a process may open {hard} files at most")
    with suspended(family(worker)):
        job = night.traffic.job(has_image=True)
        if not job.id:
            raise RuntimeError(f"Expected an accepted job. Received: status {job.status}")
        outcomes: Counter[str] = Counter()
        key = night.traffic.http.headers["X-API-Key"]
        polling = threading.Thread(
            target=lambda: asyncio.run(_poll_all(night.system.address, job.id, key, outcomes))
        )
        polling.start()
        yield
        polling.join(60)
    night.ended = time.monotonic()
    night.notes.append(", ".join(f"{count} x {name}" for name, count in outcomes.most_common()))
    if outcomes["reset"]:
        night.missed.append("polls reset")


async def _poll_all(address: str, job: str, key: str, outcomes: Counter[str]) -> None:
    polls = [_poll(address, job, key, number % ADDRESSES) for number in range(POLLS)]
    outcomes.update(await asyncio.gather(*polls))


async def _poll(address: str, job: str, key: str, client: int) -> str:
    """Return the status of one long poll, or what became of its connection."""
    parts = urlsplit(address)
    request = (
        f"GET /v1/jobs/{job}?wait={POLL_SECONDS} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"X-API-Key: {key}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(
                parts.hostname, parts.port, local_addr=(f"127.0.1.{client + 1}", 0)
            ),
            30,
        )
    except (OSError, TimeoutError):
        return "not connected"
    try:
        writer.write(request.encode())
        line = (await asyncio.wait_for(reader.readline(), 60)).split()
        return line[1].decode() if len(line) > 1 else "reset"
    except TimeoutError:
        return "no answer"
    except OSError:
        return "reset"
    finally:
        writer.close()
