"""A system at night: its processes, its database, its clients and its prober."""

import contextlib
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import redis

from tests.bench.attacks.bounds import loopback_address
from tests.bench.nights.databases import Database, database
from tests.bench.nights.outcome import LIVEZ_SECONDS, livez_excess
from tests.bench.nights.prober import Prober, probing
from tests.bench.nights.traffic import Traffic, traffic_of
from tests.bench.processes import kill_all, programs
from tests.bench.reference import reference
from tests.e2e.system import READY, System
from tests.support.servers import until

PASSWORD = "six green lanterns over water"
#: Size of the disk of the home, and the bytes that the system wants to keep free on it.
DISK_MEGABYTES, FREE_MEGABYTES = 900, 40
#: Open files of a process, the default of Debian and Ubuntu.
OPEN_FILES = 1024
#: A start on a busy machine takes minutes.
START_SECONDS = 300.0
#: Longest wait until the trainer and the monitor have started too, which takes processor time of
#: the others: `/livez` is as fast as usual for the shorter time.
WARM_UP_SECONDS, QUIET_SECONDS = 120.0, 10.0
#: A fault must be over after this time, or it needs a person.
PATIENCE_SECONDS = 150.0
#: Settings that bring waiting times within the reach of a short run.
SETTINGS = {
    "RAYON_ADMIN_PASSWORD": PASSWORD,
    "RAYON_GATEWAY_ACCESS_TOKEN_SECONDS": "7200",
    "RAYON_MIN_FREE_MEGABYTES": str(FREE_MEGABYTES),
    "RAYON_STORAGE_MIN_FREE_BYTES": str(FREE_MEGABYTES * 2**20),
    # Its name in earlier versions.
    "RAYON_CATALOGS_MIN_FREE_BYTES": str(FREE_MEGABYTES * 2**20),
    "RAYON_BROKER_VISIBILITY_TIMEOUT_SECONDS": "20",
    "RAYON_BROKER_DEAF_AFTER_SECONDS": "15",
    "RAYON_SWEEP_LEASE_SECONDS": "10",
    "RAYON_MONITOR_RESPONSE": "ask",
}


@dataclass
class Night:
    """A running system, what watches it, and notes about the present fault.

    Attributes:
        has_disk: True if the home is on a small disk of its own.
        fault_seconds: Length of a fault that lasts.
        notes: Figures of the present fault for the table.
        missed: Bounds of its own that the present fault missed.
        ended: Monotonic end of the present fault, if it is not the end of its block.
    """

    system: System
    database: Database
    traffic: Traffic
    prober: Prober
    has_disk: bool
    fault_seconds: float
    notes: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    ended: float | None = None

    def process(self, name: str) -> psutil.Process:
        """Return the process of a program. Raises `RuntimeError` if it does not run."""
        found = programs(self.system.home).get(name)
        if found is None:
            raise RuntimeError(f"Expected a running {name}. Received: none")
        return found

    def redis(self) -> redis.Redis:
        """Return a client of Redis."""
        secret = (self.system.home / "secrets" / "redis_password").read_text().strip()
        port = int(self.system.environment["RAYON_REDIS_PORT"])
        return redis.Redis(port=port, password=secret, socket_timeout=20, decode_responses=True)

    def admin(self) -> httpx.Client:
        """Return a client that is signed in as the first account."""
        return self.system.client()

    def start_again(self) -> None:
        """Start the system as a person would, after everything that is left of it was ended."""
        end(self.system)
        start(self.system)
        until(self.ready, PATIENCE_SECONDS, "the system is ready again")

    def ready(self) -> bool:
        """Return True if `/readyz` is ok with all its checks."""
        try:
            answer = httpx.get(f"{self.system.address}/readyz", timeout=10)
            checks: dict[str, str] = answer.json()["checks"]
        except (httpx.HTTPError, KeyError, ValueError):
            return False
        return answer.status_code == 200 and set(checks.values()) == {"ok"}


@contextmanager
def night(
    name: str,
    checkout: Path,
    seconds: float,
    host: str = "127.0.0.1",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Night]:
    """Run a system with its clients and its prober; everything ends with the block.

    Args:
        name: Database, `sqlite` or `postgres`.
        checkout: Root of the code that it runs.
        seconds: Length of a fault that lasts.
        host: Address that the gateway listens on.
        settings: Additional variables of the environment.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="rayon-night-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # The output of the launcher is not on this disk.
        has_disk = stack.enter_context(small_disk(folder / "var"))
        system = System(folder, checkout)
        system.environment |= {**SETTINGS, **(settings or {}), "RAYON_GATEWAY_HOST": host}
        port = int(system.environment["RAYON_GATEWAY_PORT"])
        system.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        loopback_address(system.address)
        data = stack.enter_context(database(name, system.home))
        system.environment["RAYON_DATABASE_URL"] = data.url
        stack.callback(end, system)
        started = time.monotonic()
        start(system)
        took = time.monotonic() - started
        bare = stack.enter_context(reference(folder))
        bare_port = urlsplit(bare.address).port or 0
        prober = stack.enter_context(probing(host, port, bare_port, folder / "probes.txt"))
        with system.client() as admin:
            traffic = traffic_of(system.address, admin)
        stack.callback(traffic.http.close)
        found = Night(system, data, traffic, prober, has_disk, seconds)
        found.notes.append(f"started in {took:.0f} s")
        stack.enter_context(traffic.flowing())
        until(found.ready, PATIENCE_SECONDS, "the system is ready")
        _warm_up(prober)
        yield found


def _warm_up(prober: Prober) -> None:
    deadline = time.monotonic() + WARM_UP_SECONDS
    while time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        now = time.monotonic()
        probes = prober.probes(now - QUIET_SECONDS, now)
        if probes and livez_excess(probes) < LIVEZ_SECONDS / 2:
            return


def start(system: System) -> None:
    """Start a system and wait until it is ready. Raises `RuntimeError` if it does not start."""
    system.password = PASSWORD
    with few_open_files():
        system.launch()
    deadline = time.monotonic() + START_SECONDS
    while system.is_running and READY not in system.output:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready within {START_SECONDS:.0f} s")
        time.sleep(0.1)
    if not system.is_running:
        raise RuntimeError(f"did not start: {system.output.strip()[-200:]}")


@contextmanager
def few_open_files() -> Iterator[None]:
    """Start processes with the soft limit of open files that Debian and Ubuntu set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    try:
        yield
    finally:
        # This process opens more connections than those that it tries.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a tmpfs on a new folder; provide False where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m,mode=700", "rayon-night"]
    try:
        mounted = subprocess.run([*command, str(folder)], capture_output=True, check=False)
        is_mounted = mounted.returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            # Lazily, since a process that was killed may not have ended yet.
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def end(system: System) -> None:
    """Stop a system, and kill what does not stop."""
    with contextlib.suppress(Exception):
        system.stop()
    with contextlib.suppress(AssertionError):
        system.kill_launcher()
    kill_all(system.home)
