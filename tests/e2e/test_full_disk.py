"""The disk of all data fills up under load, has room again, and nobody does anything."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.system import System
from tests.support.servers import until
from tests.support.small_disk import MEGABYTE, SmallDisk, small_disk

#: Size of the disk; the system takes a fifth of it.
DISK_MEGABYTES = 600
#: Submissions while the disk is full, and time for the last jobs to be answered afterwards.
SUBMISSIONS, RECOVERY_SECONDS = 36, 600
#: Not among them is `/v1/queues`, which asks Redis.
READS = ("/livez", "/readyz", "/v1/me", "/v1/jobs", "/v1/catalogs", "/v1/categories")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, DISK_MEGABYTES) as disk:
        yield disk


@pytest.fixture
def small(disk: SmallDisk, tmp_path: Path) -> Iterator[System]:
    system = System(disk.folder, output=tmp_path / "output.txt")
    system.environment |= {
        "RAYON_MIN_FREE_MEGABYTES": "100",
        "RAYON_STORAGE_MIN_FREE_BYTES": str(20 * MEGABYTE),
    }
    system.start()
    try:
        yield system
    finally:
        system.stop()


@dataclass
class Shop:
    """Client that submits texts, images and catalogs, and remembers what was accepted."""

    client: httpx.Client
    accepted: list[str] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)
    _number: int = 0

    def submit(self) -> None:
        """Submit the next request."""
        self._number += 1
        path, parts = _request(self._number)
        answer = self.client.post(path, **parts)
        if answer.status_code == 202:
            self.accepted.append(answer.headers["Location"])
        else:
            self.refusals.append(answer)

    def states(self) -> Counter[str]:
        """Count what was accepted by its state."""
        return Counter(self.client.get(path).json()["status"] for path in self.accepted)

    def rows_failed(self) -> int:
        """Count the rows of catalogs that have failed."""
        catalogs = [path for path in self.accepted if "/catalogs/" in path]
        return sum(self.client.get(path).json()["counts"]["failed"] for path in catalogs)


@pytest.mark.timeout(1800)
def test_full_disk_loses_no_job_and_needs_no_person(small: System, disk: SmallDisk) -> None:
    with small.client() as client:
        shop, reads = Shop(client), Counter[tuple[str, int]]()
        for _ in range(SUBMISSIONS):
            shop.submit()
        assert shop.refusals == []

        disk.fill()
        for number in range(SUBMISSIONS):
            shop.submit()
            path = READS[number % len(READS)]
            reads[path, client.get(path).status_code] += 1
            # Databases and queues give space back now and then.
            disk.fill()
        assert shop.refusals
        for refusal in shop.refusals:
            assert refusal.status_code == 503
            assert refusal.headers["content-type"] == "application/problem+json"
            assert int(refusal.headers["retry-after"]) > 0
            assert re.search("disk|storage", refusal.json()["detail"])
        assert set(reads) == {(path, 200) for path in READS}
        _supervisord_is_killed(small)

        disk.make_room()
        until(lambda: _is_taken(shop), RECOVERY_SECONDS, "submissions are accepted again")
        until(lambda: not _unfinished(shop), RECOVERY_SECONDS, "all jobs and catalogs have ended")
        assert set(shop.states()) == {"done", "finished"}
        assert shop.rows_failed() == 0
        assert client.get("/v1/dead-letters").json()["items"] == []
    assert small.output.count("the disk is full") == 1
    until(lambda: small.output.count("there is room again") == 1, 30, "the launcher says so")
    # Programs may log theirs; the launcher and supervisord have none.
    assert not re.search(r"^(\[supervisord\] )?Traceback", small.output, flags=re.MULTILINE)


def _request(number: int) -> tuple[str, dict[str, Any]]:
    title = {"designation": f"Piscine gonflable {number}"}
    if number % 15 == 0:
        rows = "".join(f"Livre {number} {row},roman\n" for row in range(200))
        table = ("products.csv", f"designation,description\n{rows}", "text/csv")
        return "/v1/catalogs", {"files": {"products": table}}
    if number % 3 == 0:
        image = ("image.jpg", _image(number), "image/jpeg")
        return "/v1/jobs", {"data": title, "files": {"image": image}}
    return "/v1/jobs", {"data": title}


def _image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _supervisord_is_killed(small: System) -> None:
    """Kill supervisord while the disk is full, and wait until the launcher has replaced it."""
    killed = small.processes()["supervisord"]
    killed.kill()

    def is_replaced() -> bool:
        running = small.processes()
        return "supervisord" in running and running["supervisord"].pid != killed.pid

    until(is_replaced, RECOVERY_SECONDS, "supervisord was started again")
    assert small.is_running


def _is_taken(shop: Shop) -> bool:
    """Submit a job; the gateway may still be starting."""
    earlier = len(shop.accepted)
    with suppress(httpx.TransportError):
        shop.submit()
    return len(shop.accepted) > earlier


def _unfinished(shop: Shop) -> int:
    return sum(
        count
        for state, count in shop.states().items()
        if state in ("queued", "validating", "running")
    )
