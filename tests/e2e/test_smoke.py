"""Checks after a deployment pass on a working system and fail on a broken one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.embedded.settings import PROJECT
from tests.e2e.system import System
from tests.support.servers import free_port

SECONDS = 240


def tried(module: str, address: str, environment: dict[str, str], *more: str) -> tuple[int, str]:
    """Run a module against an address; returns the exit code and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", f"infra.acceptance.{module}", "--url", address, *more],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.timeout(600)
def test_system_passes_smoke_and_validation(system: System, tmp_path: Path) -> None:
    environment = system.command_line(tmp_path)
    code, said = tried("smoke", system.address, environment)
    assert code == 0, said
    assert "6 of 6 checks passed" in said
    code, said = tried("validation", system.address, environment)
    assert code == 0, said
    assert "28 of 28 right" in said


def test_system_that_does_not_answer_fails(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "shared" / "client")}
    address = f"http://127.0.0.1:{free_port()}"
    code, said = tried("smoke", address, environment, "--patience", "0")
    assert code == 1
    assert "FAILED readiness" in said
