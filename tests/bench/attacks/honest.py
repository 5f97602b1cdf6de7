"""The honest client: single jobs at a steady rate while the system is attacked."""

import io
import itertools
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image, ImageDraw

from tests.bench.attacks.target import Target

#: Seconds between two jobs, and the jobs of which one has an image.
INTERVAL_SECONDS, IMAGE_EVERY = 0.5, 6
#: A job without an answer after this time is an error.
ANSWER_SECONDS = 30
#: Jobs of the client that wait at the same time; further ones are errors.
WAITING = 32


@dataclass
class Record:
    """Seconds of the answered jobs, and the errors."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"text": [], "image": []})
    errors: dict[str, int] = field(default_factory=lambda: {"text": 0, "image": 0})

    def line(self, kind: str) -> str:
        """Return jobs, median, 95th percentile and errors of a kind."""
        found = self.seconds[kind]
        jobs = len(found) + self.errors[kind]
        if not found:
            return f"{jobs:>6}{'-':>10}{'-':>10}{self.errors[kind]:>8}"
        median, late = np.quantile(found, [0.5, 0.95])
        return f"{jobs:>6}{median * 1000:>10.0f}{late * 1000:>10.0f}{self.errors[kind]:>8}"


class HonestClient:
    """Sends jobs until it is stopped."""

    def __init__(self, target: Target) -> None:
        self._target = target
        with target.account("honest") as client:
            key = client.post(
                "/v1/api-keys", json={"name": "shop", "scopes": ["jobs:write", "jobs:read"]}
            )
            key.raise_for_status()
        self._headers = {"X-API-Key": key.json()["key"]}

    @contextmanager
    def working(self) -> Iterator[Record]:
        """Send jobs in the background; the record is complete after the block."""
        record, done = Record(), threading.Event()
        with ThreadPoolExecutor(WAITING) as pool:
            sender = threading.Thread(target=self._send, args=(pool, record, done))
            sender.start()
            try:
                yield record
            finally:
                done.set()
                sender.join()

    def _send(self, pool: ThreadPoolExecutor, record: Record, done: threading.Event) -> None:
        # The clock decides when a job is due, so that a stall delays the jobs after it too.
        due = time.monotonic()
        for number in itertools.count():
            kind = "image" if number % IMAGE_EVERY == 0 else "text"
            pool.submit(self._job, record, kind, due)
            due += INTERVAL_SECONDS
            if done.wait(max(0.0, due - time.monotonic())):
                return

    def _job(self, record: Record, kind: str, due: float) -> None:
        files = {"image": ("p.jpg", photo(), "image/jpeg")} if kind == "image" else None
        try:
            with self._target.http(headers=self._headers, timeout=ANSWER_SECONDS) as http:
                form = {"designation": "Piscine gonflable ronde", "model": kind}
                job = http.post("/v1/jobs", data=form, files=files)
                job.raise_for_status()
                path = f"/v1/jobs/{job.json()['id']}"
                wait = {"wait": ANSWER_SECONDS - 5}
                is_done = http.get(path, params=wait).json().get("status") == "done"
        except (httpx.HTTPError, KeyError, ValueError):
            is_done = False
        if is_done and time.monotonic() - due <= ANSWER_SECONDS:
            record.seconds[kind].append(time.monotonic() - due)
        else:
            record.errors[kind] += 1


def photo(side: int = 500) -> bytes:
    """Return a JPEG that no worker has seen."""
    seed = int.from_bytes(os.urandom(4), "big")
    image = Image.new("RGB", (side, side), (seed & 255, seed >> 8 & 255, seed >> 16 & 255))
    ImageDraw.Draw(image).ellipse((50, 80, 50 + seed % 300, 400), fill="white")
    content = io.BytesIO()
    image.save(content, "JPEG")
    return content.getvalue()
