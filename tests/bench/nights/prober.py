"""Probes of `/livez` in a process of their own, beside those of a bare endpoint.

    python -m tests.bench.nights.prober HOST PORT BARE_PORT FILE

A probe is due every 50 ms, whether earlier ones were answered or not. Each line of the file has the
target, the monotonic time, the seconds and the outcome: `ok`, `refused`, `late` or a status.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from infra.embedded.settings import PROJECT

INTERVAL_SECONDS = 0.05
#: A probe without an answer after this time is late.
LATE_SECONDS = 10.0
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
#: Clients of the same address have their own limit of connections.
LOCAL_ADDRESS = "127.0.0.9"
LIVEZ, BARE = "livez", "bare"


@dataclass(frozen=True)
class Probe:
    """One probe."""

    target: str
    at: float
    seconds: float
    outcome: str


@dataclass(frozen=True)
class Prober:
    """Running prober and its file."""

    file: Path

    def probes(self, since: float, until: float) -> list[Probe]:
        """Return the probes that were due between two monotonic times."""
        found = []
        for line in self.file.read_text().splitlines() if self.file.exists() else []:
            target, at, seconds, outcome = line.split()
            if since <= float(at) < until:
                found.append(Probe(target, float(at), float(seconds), outcome))
        return found


@contextmanager
def probing(host: str, port: int, bare_port: int, file: Path) -> Iterator[Prober]:
    """Probe a gateway and a bare endpoint during the block."""
    arguments = [host, str(port), str(bare_port), str(file)]
    command = [sys.executable, "-m", "tests.bench.nights.prober", *arguments]
    with subprocess.Popen(command, cwd=PROJECT) as process:
        try:
            yield Prober(file)
        finally:
            process.kill()


def main() -> None:
    """Probe until the process is killed."""
    host, port, bare_port, file = sys.argv[1:]
    with Path(file).open("a", buffering=1) as out:
        asyncio.run(_probe_all(host, int(port), int(bare_port), out))


async def _probe_all(host: str, port: int, bare_port: int, out: TextIO) -> None:
    running: set[asyncio.Task[None]] = set()
    due = time.monotonic()
    while True:
        for target in ((LIVEZ, host, port), (BARE, "127.0.0.1", bare_port)):
            task = asyncio.create_task(_probe(*target, out))
            running.add(task)
            task.add_done_callback(running.discard)
        due += INTERVAL_SECONDS
        await asyncio.sleep(due - time.monotonic())


async def _probe(target: str, host: str, port: int, out: TextIO) -> None:
    at = time.monotonic()
    try:
        outcome = await asyncio.wait_for(_asked(host, port), LATE_SECONDS)
    except TimeoutError:
        outcome = "late"
    except OSError:
        outcome = "refused"
    out.write(f"{target} {at:.4f} {time.monotonic() - at:.4f} {outcome}\n")


async def _asked(host: str, port: int) -> str:
    local = None if ":" in host else (LOCAL_ADDRESS, 0)
    reader, writer = await asyncio.open_connection(host, port, local_addr=local)
    try:
        writer.write(REQUEST)
        line = (await reader.readline()).split()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if len(line) < 2:
        return "refused"
    return "ok" if line[1] == b"200" else line[1].decode()


if __name__ == "__main__":
    main()
