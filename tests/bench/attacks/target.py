"""The attacked system: a throw-away instance of a checkout, its accounts and its processes."""

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.attacks.bounds import Budget, loopback_address
from tests.e2e.system import System

PASSWORD = "correct horse battery staple"
ADMIN_PASSWORD = "six green lanterns over water"
#: Address of honest clients; attackers use others of 127.0.0.0/8.
HONEST = "127.0.0.1"
#: Open files of a process, the default of Debian and Ubuntu.
OPEN_FILES = 1024
#: The system counts as recovered when it answers in this time, and is given up after the other.
RECOVERED_SECONDS, PATIENCE_SECONDS = 1.0, 60.0
#: Bytes that a user may store; small, so that an attack reaches them.
QUOTA_BYTES = 40_000_000
#: Settings that bring limits within the reach of a bounded attack; other versions ignore them.
SETTINGS = {
    "RAYON_ADMIN_PASSWORD": ADMIN_PASSWORD,
    # One sign-in has to last for all attacks.
    "RAYON_GATEWAY_ACCESS_TOKEN_SECONDS": "7200",
    "RAYON_RETENTION_INTERVAL_SECONDS": "2",
    "RAYON_RATES_STORED_BYTES": str(QUOTA_BYTES),
}


@dataclass
class Target:
    """System under attack."""

    system: System
    checkout: Path
    #: Rows of the catalog whose labels are looked up.
    rows: int
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        loopback_address(self.system.address)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        return loopback_address(self.system.address)

    def http(self, address: str = HONEST, timeout: float = 60, **options: Any) -> httpx.Client:
        """Return a client that sends from an address of this machine."""
        return httpx.Client(
            base_url=self.system.address,
            transport=httpx.HTTPTransport(local_address=address),
            timeout=timeout,
            **options,
        )

    def admin(self, address: str = HONEST) -> httpx.Client:
        """Return a client that is signed in as the first account."""
        return self.signed_in("admin", ADMIN_PASSWORD, address)

    def signed_in(self, name: str, password: str = PASSWORD, address: str = HONEST) -> httpx.Client:
        """Return a client that is signed in."""
        with self.http(address) as http:
            answer = http.post("/v1/token", data={"username": name, "password": password})
        answer.raise_for_status()
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return self.http(address, headers=bearer, cookies=answer.cookies)

    def account(self, name: str, role: str = "client", address: str = HONEST) -> httpx.Client:
        """Create an account and return a client that is signed in as it."""
        with self.admin() as admin:
            made = admin.post("/v1/users", json={"username": name, "role": role})
            made.raise_for_status()
            choice = {"code": made.json()["one_time_code"]["code"], "new_password": PASSWORD}
            admin.post("/v1/password", json=choice).raise_for_status()
        return self.signed_in(name, address=address)

    def process(self, name: str) -> psutil.Process:
        """Return a process of the system."""
        return self.system.processes()[name]

    def megabytes(self, name: str = "gateway") -> float:
        """Return the RSS of a process and its children, in megabytes."""
        process = self.process(name)
        family = [process, *process.children(recursive=True)]
        return float(sum(one.memory_info().rss for one in family)) / 2**20

    def settle(self) -> None:
        """Wait until the gateway responds again after an attack."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            started = time.monotonic()
            try:
                with self.http(timeout=10) as http:
                    http.get("/livez").raise_for_status()
            except httpx.HTTPError:
                time.sleep(1)
                continue
            if time.monotonic() - started < RECOVERED_SECONDS:
                return
            time.sleep(1)
        raise SystemExit("Expected the gateway to respond after the attack. Received: no answer")


@contextmanager
def attacked_system(checkout: Path, rows: int) -> Iterator[Target]:
    """Run a system of a checkout whose home others could enter, as on a shared machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = Path(tempfile.mkdtemp(prefix="rayon-attacked-"))
    folder.chmod(0o755)
    system = System(folder, checkout)
    system.environment |= SETTINGS
    system.home.mkdir(mode=0o755)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    try:
        system.start()
        # The attacker opens more connections than the attacked processes may.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        yield Target(system, checkout, rows)
    finally:
        system.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        shutil.rmtree(folder, ignore_errors=True)
