"""More clients wait for jobs than the process may open files for."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from tests.integration.stalls.conftest import Gateway

#: The highest limit of open files that the gateway may ask for, and clients that wait at once.
FILES, CLIENTS = 512, 500
#: Clients of one address: fewer than a gateway admits.
OF_ADDRESS = 400
#: Clients that connect at once.
AT_ONCE = 20
WAIT_SECONDS = 20


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database."""
    return sqlite_url


async def poll(port: int, number: int, path: str, key: str, turns: asyncio.Semaphore) -> str:
    """Send a request on a connection of its own; return the status, or the kind of the failure."""
    address = f"127.0.0.{10 + number // OF_ADDRESS}"
    try:
        async with turns:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(address, 0)
            )
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n"
            writer.write(request.encode())
            await asyncio.sleep(0.05)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            is_polite = b"retry-after" in head.lower()
            return head.split()[1].decode() + (" Retry-After" if is_polite else "")
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        return type(error).__name__


async def scene(port: int, job: str, key: str) -> tuple[Counter[str], Counter[str]]:
    """Let all clients wait, and probe the gateway meanwhile; return the outcomes of both."""
    path = f"/v1/jobs/{job}?wait={WAIT_SECONDS}"
    turns = asyncio.Semaphore(AT_ONCE)
    clients = [asyncio.create_task(poll(port, one, path, key, turns)) for one in range(CLIENTS)]
    probes: Counter[str] = Counter()
    while not all(client.done() for client in clients):
        probes[await poll(port, CLIENTS, "/livez", key, asyncio.Semaphore())] += 1
        await asyncio.sleep(0.2)
    return Counter([client.result() for client in clients]), probes


def test_clients_beyond_the_limit_are_refused_politely(
    start_gateway: Callable[..., Gateway], key: str
) -> None:
    gateway = start_gateway(files=FILES)
    job = gateway.submit().json()["id"]
    outcomes, probes = asyncio.run(scene(int(gateway.address.rpartition(":")[2]), job, key))
    assert set(outcomes) == {"200", "503 Retry-After"}
    assert outcomes["200"] > CLIENTS // 4
    assert set(probes) == {"200"}
