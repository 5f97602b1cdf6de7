"""Another version rolled out while 20 jobs arrive each second.

    docker compose up -d --wait        # with COMPOSE_PROFILES=tls and RAYON_GATEWAY_PORT= in .env
    make rolling DATA=folder VERSION=1.2.3

Without VERSION the running images are given another label and so are another version. Requests are
sent once, without a second try: no one of them may fail, and every job must have its answer.
"""

import argparse
import asyncio
import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from infra.acceptance.client import Product, save
from infra.acceptance.products import dataset, products_of, rows_of
from tests.bench.faults.survivors import compose

JOBS_PER_SECOND = 20
#: Before the first container is replaced, and after the last.
CALM_SECONDS = 5.0
#: A job must have its answer within this time.
PATIENCE_SECONDS = 120.0
#: One job in so many has an image as well.
IMAGE_EVERY = 50
IMAGES = ("gateway", "worker_text", "worker_image", "worker_fusion", "trainer", "mlflow")
ROLL = "infra/compose/roll.sh"


@dataclass
class Seen:
    """Outcomes of requests and jobs."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def main() -> int:
    """Send, roll, count; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="https://localhost")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--version")
    parser.add_argument("--rate", type=float, default=JOBS_PER_SECOND, help="jobs a second")
    given = parser.parse_args()
    version = given.version or label_images(f"rolled-{int(time.time())}")
    products = products_to_send(given.data)
    found = asyncio.run(_run(given.url, products, version, given.rate))
    save("rolling", found)
    return 0 if not found["roll_exit"] and not found["failed"] and not found["lost"] else 1


def label_images(version: str) -> str:
    """Make images of another version out of those that are there."""
    for name in IMAGES:
        subprocess.run(
            ["docker", "build", "--quiet", "-t", f"rayon/{name}:{version}", "-"],
            input=f"FROM rayon/{name}:{running_version()}\nLABEL version={version}\n",
            text=True,
            check=True,
            capture_output=True,
        )
    return version


def running_version() -> str:
    """The tag of the gateway that runs."""
    return compose("ps", "gateway", "--format", "{{.Image}}").split()[0].rpartition(":")[2]


def products_to_send(folder: Path) -> list[Product]:
    """Titles, and here and there an image."""
    data = dataset(folder)
    share_with_image = list(products_of(rows_of(data, "fusion").head(20), "fusion"))
    titles = list(products_of(rows_of(data, "text").head(IMAGE_EVERY * 20), "text"))
    return [
        share_with_image[number // IMAGE_EVERY % len(share_with_image)]
        if number % IMAGE_EVERY == 0
        else title
        for number, title in enumerate(titles)
    ]


async def _run(url: str, products: Sequence[Product], version: str, rate: float) -> dict[str, Any]:
    seen = Seen()
    async with _client(url) as http:
        headers = {"Authorization": f"Bearer {await _token(http)}"}
        rolling = asyncio.create_task(_roll(version))
        jobs = await _send(http, headers, products, rate, seen, rolling)
    exit_code, seconds = rolling.result()
    figures = {
        "version": version,
        "roll_exit": exit_code,
        "roll_seconds": round(seconds, 1),
        "jobs": jobs,
        "jobs_per_second": rate,
        "lost": jobs - seen.statuses["done"],
        "requests": seen.requests,
        "failed": Counter(seen.failed),
        "statuses": seen.statuses,
        "seconds": {
            name: round(float(np.quantile(seen.seconds, share)), 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
        },
    }
    print(
        f"{jobs} jobs at {rate:g}/s, {seen.requests} requests, {len(seen.failed)} failed; "
        f"answers {dict(seen.statuses)}, lost {figures['lost']}; rolled in {seconds:.0f} s"
    )
    for line, count in Counter(seen.failed).most_common(5):
        print(f"  {count} x {line}")
    return figures


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        timeout=60,
        verify=_trust() if url.startswith("https") else True,
        limits=httpx.Limits(max_connections=None, keepalive_expiry=3.0),
        trust_env=False,
    )


def _trust() -> ssl.SSLContext:
    """Trusts the certificate that the proxy made for itself, where it has no public name."""
    known = ssl.create_default_context()
    root = "/data/caddy/pki/authorities/local/root.crt"
    try:
        known.load_verify_locations(cadata=compose("exec", "-T", "proxy", "cat", root))
    except subprocess.CalledProcessError:
        print("The proxy has a certificate of a public authority")
    return known


async def _token(http: httpx.AsyncClient) -> str:
    password = os.environ.get("RAYON_ADMIN_PASSWORD") or compose(
        "exec", "-T", "gateway", "cat", "/run/rayon/admin_password"
    )
    answer = await http.post("/v1/token", data={"username": "admin", "password": password.strip()})
    answer.raise_for_status()
    return str(answer.json()["access_token"])


async def _roll(version: str) -> tuple[int, float]:
    await asyncio.sleep(CALM_SECONDS)
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec("sh", ROLL, version)
    return await process.wait(), time.perf_counter() - started


async def _send(
    http: httpx.AsyncClient,
    headers: dict[str, str],
    products: Sequence[Product],
    rate: float,
    seen: Seen,
    rolling: asyncio.Task[tuple[int, float]],
) -> int:
    """Send at an even pace, whether or not answers come; returns how many jobs that were."""
    started, number, calm_until = time.perf_counter(), 0, None
    sending: list[asyncio.Task[None]] = []
    while calm_until is None or time.perf_counter() < calm_until:
        await asyncio.sleep(started + number / rate - time.perf_counter())
        product = products[number % len(products)]
        sending.append(asyncio.create_task(_classify(http, headers, product, seen)))
        number += 1
        if calm_until is None and rolling.done():
            calm_until = time.perf_counter() + CALM_SECONDS
    await asyncio.gather(*sending)
    return number


async def _classify(
    http: httpx.AsyncClient, headers: dict[str, str], product: Product, seen: Seen
) -> None:
    form = {name: str(getattr(product, name)) for name in ("model", "designation", "description")}
    files = {"image": ("p.jpg", product.image.read_bytes())} if product.image else None
    key = {"Idempotency-Key": os.urandom(16).hex()}
    began = time.perf_counter()
    job = await _asked(seen, http.post("/v1/jobs", data=form, files=files, headers=headers | key))
    deadline = began + PATIENCE_SECONDS
    while job is not None and job["status"] == "queued" and time.perf_counter() < deadline:
        path = f"/v1/jobs/{job['id']}"
        job = await _asked(seen, http.get(path, params={"wait": 30}, headers=headers)) or job
    if job is not None:
        seen.statuses[job["status"]] += 1
        seen.seconds.append(time.perf_counter() - began)


async def _asked(seen: Seen, request: Any) -> dict[str, Any] | None:
    """The answer, or nothing and a failure that is counted."""
    seen.requests += 1
    try:
        answer: httpx.Response = await request
    except httpx.HTTPError as error:
        seen.failed.append(f"{type(error).__name__}: {error}")
        return None
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    seen.failed.append(f"{answer.request.method}: {answer.status_code} {answer.text[:200]}")
    return None


if __name__ == "__main__":
    sys.exit(main())
