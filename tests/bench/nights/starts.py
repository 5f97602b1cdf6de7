"""Starts that fail: folders of the home that belong to root, for a user who is not root."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.nights.fault import Skipped
from tests.bench.nights.outcome import Outcome

NOBODY = 65534
START_SECONDS = 60.0
#: Folders that an earlier start with `sudo` may have left.
FOLDERS = ("logs", "secrets")


def foreign_folders(code: str, checkout: Path) -> list[Outcome]:
    """Start as another user with a folder of root in the home: one line must say so."""
    return [_tried(code, checkout, name) for name in FOLDERS]


def _tried(code: str, checkout: Path, name: str) -> Outcome:
    fault = f"start-foreign-{name}"
    try:
        status, output = _start(checkout, name)
    except Skipped as skipped:
        return Outcome(code, "sqlite", fault, skipped=str(skipped))
    lines = [line for line in output.splitlines() if line.strip()]
    missed = []
    if status == 0:
        missed.append("started")
    if "Traceback" in output or not any(name in line for line in lines):
        missed.append("no line that names the folder")
    return Outcome(code, "sqlite", fault, notes=[lines[-1][-150:] if lines else ""], missed=missed)


def _start(checkout: Path, name: str) -> tuple[int, str]:
    if os.geteuid() != 0:
        raise Skipped("only root can make a folder of root")
    folder = Path(tempfile.mkdtemp(prefix="rayon-night-"))
    try:
        home = folder / "var"
        (home / name).mkdir(parents=True)
        (home / name).chmod(0o700)
        for path in (folder, home):
            os.chown(path, NOBODY, NOBODY)
        environment = os.environ | {"RAYON_HOME": str(home), "HOME": str(folder)}
        done = subprocess.run(
            [*_python(), "-m", "infra.embedded"],
            cwd=checkout,
            env=environment,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except PermissionError as error:
        raise Skipped(f"another user cannot start {error.filename} here") from error
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else ""
        return 0, output
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return done.returncode, done.stdout + done.stderr


def _python() -> list[str]:
    """Return a Python that another user may run. Raises `Skipped`."""
    parts = [*Path(sys.executable).resolve().parents, *Path(sys.prefix).resolve().parents]
    closed = [path for path in parts if not path.stat().st_mode & 0o001]
    if closed:
        raise Skipped(f"other users cannot enter {closed[0]}, where Python is")
    return [sys.executable]
