"""Starts that fail: a folder of the home belongs to another user."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.nights.fault import Skipped
from tests.bench.nights.outcome import Outcome
from tests.support.servers import free_port

NOBODY = 65534
START_SECONDS = 60.0
#: Folders that an earlier start as another user may have left.
FOLDERS = ("logs", "secrets")
#: Rights of root that another user lacks: to enter, read and write what belongs to others.
RIGHTS = "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown"


def foreign_folders(code: str, checkout: Path) -> list[Outcome]:
    """Start with a folder of another user in the home: one line must name it."""
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
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise Skipped("only root can make a folder of another user, and start with setpriv")
    with tempfile.TemporaryDirectory(prefix="rayon-night-") as folder:
        home = Path(folder) / "var"
        (home / name).mkdir(parents=True)
        (home / name).chmod(0o700)
        os.chown(home / name, NOBODY, NOBODY)
        ports = {f"RAYON_{one}_PORT": str(free_port()) for one in ("GATEWAY", "REDIS", "MLFLOW")}
        environment = os.environ | ports | {"RAYON_HOME": str(home), "RAYON_METRICS_PORT": "0"}
        with subprocess.Popen(
            ["setpriv", RIGHTS, sys.executable, "-m", "infra.embedded"],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as launcher:
            try:
                output, _ = launcher.communicate(timeout=START_SECONDS)
            except subprocess.TimeoutExpired:
                launcher.terminate()
                output, _ = launcher.communicate(timeout=START_SECONDS)
                return 0, output
        return launcher.returncode, output
