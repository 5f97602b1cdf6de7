"""The checks after a deployment pass on a working system and fail without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.embedded.settings import PROJECT
from tests.e2e.system import System
from tests.support.servers import free_port

SECONDS = 240


def run_checks(
    module: str, address: str, environment: dict[str, str], *options: str
) -> tuple[int, str]:
    """Run the checks of a module on an address and return the exit code and the output."""
    ended = subprocess.run(
        [sys.executable, "-m", f"infra.acceptance.{module}", "--url", address, *options],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.timeout(600)
def test_working_system_passes_smoke_test_and_validation(system: System, tmp_path: Path) -> None:
    environment = system.command_line(tmp_path)
    code, output = run_checks("smoke", system.address, environment)
    assert code == 0, output
    assert "6 of 6 checks passed" in output
    code, output = run_checks("validation", system.address, environment)
    assert code == 0, output
    assert "28 of 28 right" in output


def test_smoke_test_fails_if_no_system_responds(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "shared" / "client")}
    address = f"http://127.0.0.1:{free_port()}"
    code, output = run_checks("smoke", address, environment, "--patience", "0")
    assert code == 1
    assert "FAILED readiness" in output
