"""Concurrent client that renews its sign-in and retries failed requests."""

import asyncio
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")

#: Wait of one request for an answer.
WAIT_SECONDS = 30
#: A job must be final within this time.
PATIENCE_SECONDS = 300.0
#: Pause before a failed request is retried.
RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Product:
    """Product to send: title, description, image and the model to classify with.

    Attributes:
        salt: Bytes appended to the image, which make the file unique but not its content.
    """

    model: str
    designation: str = ""
    description: str = ""
    image: Path | None = None
    salt: bytes = b""


class Connections:
    """Pool with one connection per request in flight.

    A shared pool looks through all of its connections at each request; with 64 of them that costs
    more than the request.

    Args:
        url: Base URL.
        idle_seconds: Lifetime of an idle connection; shorter than the server's.
    """

    def __init__(self, url: str, idle_seconds: float = 3.0) -> None:
        self.url = url
        self._limits = httpx.Limits(keepalive_expiry=idle_seconds)
        self._tls = ssl.create_default_context()
        self._free: list[httpx.AsyncClient] = []

    async def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """Send a request and read the whole answer."""
        http = self._free.pop() if self._free else self._new()
        try:
            return await http.request(method, path, **parts)
        finally:
            self._free.append(http)

    async def aclose(self) -> None:
        """Close all connections."""
        for http in self._free:
            await http.aclose()

    def _new(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, timeout=60, limits=self._limits, verify=self._tls, trust_env=False
        )


class Client:
    """Signed-in account of a running system."""

    def __init__(self, url: str) -> None:
        self._http = Connections(url)
        self._signing_in = asyncio.Lock()
        self._token = ""

    async def __aenter__(self) -> "Client":
        await self._sign_in("")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def submit(self, product: Product, **headers: str) -> dict[str, Any]:
        """Send a product, as JSON if it has no image, and return its job."""
        fields = {name: getattr(product, name) for name in ("model", "designation", "description")}
        body: dict[str, Any] = {"json": fields}
        if product.image:
            files = {"image": ("p.jpg", product.image.read_bytes() + product.salt)}
            body = {"data": fields, "files": files}
        answer = await self._request("POST", "/v1/jobs", headers=headers, **body)
        if answer.status_code not in (201, 202):
            raise SystemExit(f"{product}: {answer.status_code} {answer.text}")
        job: dict[str, Any] = answer.json()
        return job

    async def final(self, job_id: str) -> dict[str, Any]:
        """Wait until a job is final; return it unfinished after the deadline."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            job = await self.get(f"/v1/jobs/{job_id}", wait=WAIT_SECONDS)
            late = asyncio.get_running_loop().time() > deadline
            if job["status"] != "queued" or late:
                return job

    async def classify(self, product: Product) -> dict[str, Any]:
        """Send a product and wait for its answer, in one request if it comes in time."""
        job = await self.submit(product, Prefer=f"wait={WAIT_SECONDS}")
        return job if job["status"] != "queued" else await self.final(job["id"])

    async def get(self, path: str, **query: object) -> dict[str, Any]:
        """Read a JSON object."""
        answer = await self._request("GET", path, params=query)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def text(self, path: str) -> str:
        """Read a file."""
        answer = await self._request("GET", path)
        answer.raise_for_status()
        return answer.text

    async def upload(
        self, files: dict[str, tuple[str, bytes]], key: str, **fields: str
    ) -> dict[str, Any]:
        """Send a catalog; the same key gives the same one."""
        headers = {"Idempotency-Key": key}
        answer = await self._request(
            "POST", "/v1/catalogs", files=files, data=fields, headers=headers
        )
        if answer.status_code != 202:
            raise SystemExit(f"{answer.status_code} {answer.text}")
        catalog: dict[str, Any] = answer.json()
        return catalog

    async def send(
        self, path: str, files: dict[str, tuple[str, bytes]], **fields: str
    ) -> dict[str, Any]:
        """Send files as a form and return the answer."""
        answer = await self._request("POST", path, files=files, data=fields)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    @property
    def bearer(self) -> dict[str, str]:
        """Authorization header of the signed-in account."""
        return {"Authorization": f"Bearer {self._token}"}

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a JSON object and read one."""
        answer = await self._request("POST", path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def put(self, path: str, body: dict[str, Any]) -> None:
        """Store a JSON object."""
        (await self._request("PUT", path, json=body)).raise_for_status()

    async def _request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **parts: Any
    ) -> httpx.Response:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            token = self._token
            sent = {**self.bearer, **(headers or {})}
            try:
                answer = await self._http.request(method, path, headers=sent, **parts)
            except httpx.TransportError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status_code == 401:
                await self._sign_in(token)
            elif answer.status_code == 503:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return answer

    async def _sign_in(self, refused: str) -> None:
        async with self._signing_in:
            if self._token != refused:
                return
            password = os.environ.get("RAYON_ADMIN_PASSWORD")
            if not password:
                raise SystemExit("Set RAYON_ADMIN_PASSWORD to the password that `make run` showed.")
            username = os.environ.get("RAYON_ADMIN_USERNAME", "admin")
            form = {"username": username, "password": password}
            try:
                answer = await self._http.request("POST", "/v1/token", data=form)
            except httpx.ConnectError:
                raise SystemExit(f"Nothing answers at {self._http.url}: make run") from None
            if answer.status_code != 200:
                raise SystemExit(f"Cannot sign in as {username}: {answer.text}")
            self._token = answer.json()["access_token"]


async def in_flight(
    limit: int, things: Iterable[Thing], act: Callable[[Thing], Awaitable[Outcome]]
) -> list[Outcome]:
    """Process all items, at most `limit` at a time, and return the results in order."""
    free = asyncio.Semaphore(limit)

    async def bounded(thing: Thing) -> Outcome:
        async with free:
            return await act(thing)

    return list(await asyncio.gather(*(bounded(thing) for thing in things)))


def save(name: str, figures: object) -> None:
    """Write the figures of a run to the project's root."""
    path = Path(f"bench-{name}.json")
    path.write_text(json.dumps(figures, indent=1, default=str) + "\n")
    print(f"\nwritten to {path}")
