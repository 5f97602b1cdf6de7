"""Processes of a training run at a low priority, in the session of the services."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.runs.child_process import CommandRunner
from trainer.runs.limits import Limits, MemoryExceeded

SECONDS = 60
#: Prints what its own child process has inherited.
PROBE = """
import subprocess, sys
child = '''
import json, os, pathlib
print(json.dumps({
    "niceness": os.nice(0),
    "policy": os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None,
    "oom": pathlib.Path("/proc/self/oom_score_adj").read_text().strip(),
    "threads": os.environ.get("OMP_NUM_THREADS"),
    "session": os.getsid(0),
    "group": os.getpgid(0),
}))
'''
subprocess.run([sys.executable, "-c", child], check=True)
"""
#: Uses 300 MiB in a process of its own, and waits.
SWELL = """
import subprocess, sys
child = "import time; held = b'x' * (300 * 2**20); time.sleep(600)"
subprocess.run([sys.executable, "-c", child])
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities of Linux")


def probed(folder: Path, limits: Limits) -> dict[str, Any]:
    log = folder / "training.log"
    runner = CommandRunner(folder, 1.0, limits)
    assert runner.run([sys.executable, "-c", PROBE], log, lambda: None) == 0
    found: dict[str, Any] = json.loads(log.read_text())
    return found


def test_training_computes_only_while_nothing_else_wants_to(tmp_path: Path) -> None:
    limits = Limits(niceness=7, is_background=True, threads=3)
    found = probed(tmp_path, limits)
    assert found["niceness"] == os.nice(0) + 7
    assert found["policy"] == os.SCHED_IDLE
    assert found["oom"] == "1000"
    assert found["threads"] == "3"


def test_training_without_limits_runs_like_its_service(tmp_path: Path) -> None:
    found = probed(tmp_path, Limits())
    assert found["niceness"] == os.nice(0)
    assert found["policy"] == os.sched_getscheduler(0)
    assert found["threads"] == os.environ.get("OMP_NUM_THREADS")


def test_training_stays_in_the_session_of_its_service(tmp_path: Path) -> None:
    # Linux shares the processor evenly among sessions, so that priorities mean nothing there.
    found = probed(tmp_path, Limits(niceness=1))
    assert found["session"] == os.getsid(0)
    assert found["group"] != os.getpgid(0)


def test_training_above_its_memory_limit_is_ended(tmp_path: Path) -> None:
    runner = CommandRunner(tmp_path, 1.0, Limits(memory_bytes=200 * 2**20))
    with pytest.raises(MemoryExceeded) as raised:
        runner.run([sys.executable, "-c", SWELL], tmp_path / "training.log", lambda: None)
    assert 200 * 2**20 < raised.value.used < 2**30
