"""The whole system in a temporary folder, started in the way of `make run`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.embedded.settings import PROJECT
from infra.embedded.strays import instance_processes
from tests.support.servers import free_port, until

#: The launcher ends a start in which nothing moves; this one only ends a test.
START_SECONDS = 900.0
STOP_SECONDS = 40.0
#: Last line of what the launcher says when all is ready: an earlier one may be half of the text.
READY = "Ctrl-C stops everything"


class System:
    """One instance with its own ports, folder and first account.

    Args:
        folder: Folder for its data.
        checkout: Root of the code that it runs.
        output: File for the output of the launcher, by default in the folder.
    """

    def __init__(
        self, folder: Path, checkout: Path = PROJECT, *, output: Path | None = None
    ) -> None:
        self.home = folder / "var"
        self._checkout = checkout
        self.password = ""
        self._output = output or folder / "output.txt"
        self._launcher: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        # A password that is set for benches of a running system would not be shown by this one.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("RAYON_ADMIN_")
        }
        self.environment = {
            **inherited,
            "RAYON_HOME": str(self.home),
            "RAYON_GATEWAY_PORT": str(port),
            "RAYON_REDIS_PORT": str(free_port()),
            "RAYON_MLFLOW_PORT": str(free_port()),
            "RAYON_METRICS_PORT": "0",
        }

    @property
    def output(self) -> str:
        """Output of the launcher since its last start."""
        return self._output.read_text()

    def start(self) -> None:
        """Start the system and wait until it reports that it is ready."""
        self.launch()
        until(self._is_ready_or_dead, START_SECONDS, "the system is ready")
        if READY not in self.output:
            pytest.fail(f"the system did not start:\n{self.output}")
        shown = re.search(r"password +(\S+)", self.output)
        self.password = shown[1] if shown else self.password

    def launch(self) -> None:
        """Start the launcher without waiting."""
        with self._output.open("wb") as out:
            self._launcher = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded"],
                cwd=self._checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def interrupt(self) -> int:
        """Send Ctrl-C and return the exit code of the launcher."""
        assert self._launcher is not None
        self._launcher.send_signal(signal.SIGINT)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for the end of the launcher and return its exit code."""
        assert self._launcher is not None
        return self._launcher.wait(STOP_SECONDS)

    def kill_launcher(self) -> None:
        """Kill the launcher alone, so that it cannot stop its processes."""
        assert self._launcher is not None
        self._launcher.kill()
        self._launcher.wait()

    @property
    def is_running(self) -> bool:
        """True while the launcher runs."""
        return self._launcher is not None and self._launcher.poll() is None

    def stop(self) -> None:
        """Stop the system if it runs."""
        if self.is_running:
            self.interrupt()

    def processes(self) -> dict[str, psutil.Process]:
        """Return the running processes by name."""
        return instance_processes(self.home)

    def command_line(self, folder: Path) -> dict[str, str]:
        """Return a shell environment with this checkout's `rayon` client, signed out."""
        return self.environment | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT / "shared" / "client"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "RAYON_ADMIN_PASSWORD": self.password,
        }

    def client(self) -> httpx.Client:
        """Return a client that is signed in as the first account."""
        form = {"username": "admin", "password": self.password}
        answer = httpx.post(f"{self.address}/v1/token", data=form, timeout=30)
        answer.raise_for_status()
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=self.address, headers=bearer, timeout=60)

    def _is_ready_or_dead(self) -> bool:
        assert self._launcher is not None
        return READY in self.output or self._launcher.poll() is not None


def final(client: httpx.Client, **parts: Any) -> dict[str, Any]:
    """Submit a job, wait for its end and return it.

    Args:
        client: Client that is signed in.
        parts: Parts of the form in the format of httpx: `data`, `files`.
    """
    submitted = client.post("/v1/jobs", **parts)
    assert submitted.status_code == 202, submitted.text
    job: dict[str, Any] = client.get(submitted.headers["Location"], params={"wait": 30}).json()
    assert job["status"] in ("done", "failed"), job
    return job
