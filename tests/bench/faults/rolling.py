"""Rolling update of the Compose system while 20 jobs per second arrive.

    docker compose up -d --wait        # with COMPOSE_PROFILES=tls and RAYON_GATEWAY_PORT= in .env
    make rolling DATA=folder VERSION=1.2.3

Without VERSION, the benchmark builds another version by adding a label to the running images.
Requests are sent once, without a retry: none may fail, and every job must be done.
"""

import asyncio
import os
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from infra.acceptance.client import Product, save
from tests.bench.arguments import system_parser
from tests.bench.commands import run_command
from tests.bench.faults.products import titles_with_some_images
from tests.bench.faults.survivors import compose

JOBS_PER_SECOND = 20
#: Different products, sent again and again.
PRODUCTS = 1_000
#: Time before the first container is replaced, and after the last.
CALM_SECONDS = 5.0
#: Deadline for the result of a job.
JOB_SECONDS = 120.0
IMAGES = ("gateway", "worker_text", "worker_image", "worker_fusion", "trainer", "mlflow")
ROLL = "infra/compose/roll.sh"


@dataclass
class Observations:
    """Outcomes of requests and jobs."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def main() -> int:
    """Send jobs, run the rolling update, count the jobs and return the exit code."""
    parser = system_parser(__doc__, url="https://localhost")
    parser.add_argument(
        "--version", help="version to roll out (default: the running images with another label)"
    )
    parser.add_argument(
        "--rate", type=float, default=JOBS_PER_SECOND, help="jobs per second (default: %(default)s)"
    )
    args = parser.parse_args()
    version = args.version or label_images(f"rolled-{int(time.time())}")
    products = titles_with_some_images(args.data, PRODUCTS)
    figures = asyncio.run(_run(args.url, products, version, args.rate))
    save("rolling", figures)
    return 1 if figures["roll_exit"] or figures["failed"] or figures["lost"] else 0


def label_images(version: str) -> str:
    """Build images of another version from the running ones by adding a label."""
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
    """Return the tag of the running gateway."""
    return compose("ps", "gateway", "--format", "{{.Image}}").split()[0].rpartition(":")[2]


async def _run(url: str, products: Sequence[Product], version: str, rate: float) -> dict[str, Any]:
    observed = Observations()
    async with _client(url) as http:
        headers = {"Authorization": f"Bearer {await _token(http)}"}
        rolling = asyncio.create_task(_roll(version))
        jobs = await _send(http, headers, products, rate, observed, rolling)
    exit_code, seconds = rolling.result()
    figures = {
        "version": version,
        "roll_exit": exit_code,
        "roll_seconds": round(seconds, 1),
        "jobs": jobs,
        "jobs_per_second": rate,
        "lost": jobs - observed.statuses["done"],
        "requests": observed.requests,
        "failed": Counter(observed.failed),
        "statuses": observed.statuses,
        "seconds": {
            name: round(float(np.quantile(observed.seconds, share)), 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
        },
    }
    print(
        f"{jobs} jobs at {rate:g}/s, {observed.requests} requests, {len(observed.failed)} failed; "
        f"jobs {dict(observed.statuses)}, lost {figures['lost']}; rolled out in {seconds:.0f} s"
    )
    for line, count in Counter(observed.failed).most_common(5):
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
    """Return a TLS context that also trusts the local authority of the proxy, if it has one."""
    context = ssl.create_default_context()
    root = "/data/caddy/pki/authorities/local/root.crt"
    try:
        context.load_verify_locations(cadata=compose("exec", "-T", "proxy", "cat", root))
    except subprocess.CalledProcessError:
        print("The proxy uses the certificate of a public authority")
    return context


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
    observed: Observations,
    rolling: asyncio.Task[tuple[int, float]],
) -> int:
    """Send jobs at a steady rate without waiting for responses; return their number."""
    started, number, calm_until = time.perf_counter(), 0, None
    sending: list[asyncio.Task[None]] = []
    while calm_until is None or time.perf_counter() < calm_until:
        await asyncio.sleep(started + number / rate - time.perf_counter())
        product = products[number % len(products)]
        sending.append(asyncio.create_task(_classify(http, headers, product, observed)))
        number += 1
        if calm_until is None and rolling.done():
            calm_until = time.perf_counter() + CALM_SECONDS
    await asyncio.gather(*sending)
    return number


async def _classify(
    http: httpx.AsyncClient, headers: dict[str, str], product: Product, observed: Observations
) -> None:
    form = {name: str(getattr(product, name)) for name in ("model", "designation", "description")}
    files = {"image": ("p.jpg", product.image.read_bytes())} if product.image else None
    key = {"Idempotency-Key": os.urandom(16).hex()}
    sent_at = time.perf_counter()
    job = await _response(
        observed, http.post("/v1/jobs", data=form, files=files, headers=headers | key)
    )
    deadline = sent_at + JOB_SECONDS
    while job is not None and job["status"] == "queued" and time.perf_counter() < deadline:
        path = f"/v1/jobs/{job['id']}"
        job = await _response(observed, http.get(path, params={"wait": 30}, headers=headers)) or job
    if job is not None:
        observed.statuses[job["status"]] += 1
        observed.seconds.append(time.perf_counter() - sent_at)


async def _response(observed: Observations, request: Any) -> dict[str, Any] | None:
    """Return the body of a response, or None after recording a failure."""
    observed.requests += 1
    try:
        answer: httpx.Response = await request
    except httpx.HTTPError as error:
        observed.failed.append(f"{type(error).__name__}: {error}")
        return None
    if answer.is_success:
        body: dict[str, Any] = answer.json()
        return body
    observed.failed.append(f"{answer.request.method}: {answer.status_code} {answer.text[:200]}")
    return None


if __name__ == "__main__":
    run_command(main)
