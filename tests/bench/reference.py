"""Reference beside a measurement: a bare HTTP endpoint and a fixed computation.

    python -m tests.bench.reference PORT FILE

Both run in a process of their own, so they suffer from other programs of the machine as the
measured system does. Each line of the file has the monotonic time of a computation and its seconds.
"""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.settings import PROJECT
from tests.support.servers import free_port

#: Pause between two computations, and steps of one: a few milliseconds.
INTERVAL_SECONDS, STEPS = 1.0, 100_000
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@dataclass(frozen=True)
class Reference:
    """Running reference.

    Attributes:
        address: URL of the bare endpoint.
        file: File of the computations.
    """

    address: str
    file: Path

    def computations(self, since: float, until: float) -> list[float]:
        """Return the seconds of the computations between two monotonic times."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        pairs = (line.split() for line in lines)
        return [float(seconds) for at, seconds in pairs if since <= float(at) < until]


@contextmanager
def reference(folder: Path) -> Iterator[Reference]:
    """Run the reference with its file in a folder."""
    port, file = free_port(), folder / "reference.txt"
    command = [sys.executable, "-m", "tests.bench.reference", str(port), str(file)]
    with subprocess.Popen(command, cwd=PROJECT) as process:
        try:
            yield Reference(f"http://127.0.0.1:{port}", file)
        finally:
            process.kill()


def main() -> None:
    """Serve and compute until the process is killed."""
    port, file = sys.argv[1:]
    threading.Thread(target=_compute, args=(Path(file),), daemon=True).start()
    asyncio.run(_serve(int(port)))


def _compute(file: Path) -> None:
    with file.open("a", buffering=1) as out:
        while True:
            started = time.monotonic()
            sum(range(STEPS))
            out.write(f"{started} {time.monotonic() - started}\n")
            time.sleep(INTERVAL_SECONDS)


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(RESPONSE)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    main()
