"""A clock that steps: the programs of a system run under libfaketime."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.nights.databases import suspended
from tests.bench.nights.fault import Skipped
from tests.bench.nights.night import Night

STEP_SECONDS = -7200
#: Where packages of Linux distributions keep the library; `pip install libfaketime` has it too.
PATHS = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
)
#: Variable that names the library.
VARIABLE = "FAKETIME_LIBRARY"
#: Variable of the harness for the file that holds the offset of the clock.
STAMP = "PYTHON_NIGHT_STAMP"
#: The launcher passes no `LD_PRELOAD` to its programs, so each Python process sets it and starts
#: once more.
START_AGAIN = """
import os, sys
if "FAKETIME_TIMESTAMP_FILE" not in os.environ:
    os.environ["LD_PRELOAD"] = {library!r}
    os.environ["FAKETIME_TIMESTAMP_FILE"] = {stamp!r}
    os.environ["FAKETIME_CACHE_DURATION"] = "1"
    os.environ["DONT_FAKE_MONOTONIC"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
"""


def library() -> Path:
    """Return the library. Raises `Skipped` if none is installed under which Python can sleep."""
    named = os.environ.get(VARIABLE)
    for path in (Path(named) if named else None, _of_wheel(), *map(Path, PATHS)):
        if path is not None and path.is_file() and _can_sleep(path):
            return path
    raise Skipped(
        f"no libfaketime under which Python can sleep: pip install libfaketime, or set {VARIABLE}"
    )


def _can_sleep(path: Path) -> bool:
    # Version 0.9.10, of Debian 12, refuses `clock_nanosleep` with a true monotonic clock.
    command = [sys.executable, "-c", "import time; time.sleep(0.001)"]
    faked = {"LD_PRELOAD": str(path), "FAKETIME": "+0", "DONT_FAKE_MONOTONIC": "1"}
    done = subprocess.run(command, env=os.environ | faked, capture_output=True, check=False)
    return done.returncode == 0


def settings(folder: Path) -> dict[str, str]:
    """Return variables that start every Python program of a system with a clock of ours.

    Raises:
        Skipped: The library is not installed.
    """
    stamp = folder / "stamp"
    stamp.write_text("+0\n")
    (folder / "sitecustomize.py").write_text(
        START_AGAIN.format(library=str(library()), stamp=str(stamp))
    )
    return {"PYTHONPATH": str(folder), STAMP: str(stamp)}


@contextmanager
def stepped_back(night: Night) -> Iterator[None]:
    """Set the clock back by two hours while jobs wait, and lose their messages."""
    stamp = Path(night.system.environment[STAMP])
    worker = night.process("text-interactive")
    with suspended([worker]):
        for _ in range(5):
            night.traffic.job()
        stamp.write_text(f"{STEP_SECONDS}\n")
        with night.redis() as client:
            client.flushall()
    yield


def _of_wheel() -> Path | None:
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
