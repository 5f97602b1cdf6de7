"""Stands for the pipeline: `python -m tests.integration.acted_training DATA --out … --work …`.

DATA says what happens, such as `die:fit` or `good`. It has steps that keep their results, as the
pipeline has, and counts in `work/done` how often each was really done.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = ("check", "features", "fit", "export")
FOR_EVER = 600


def main() -> int:
    """Act; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    for name in ("--out", "--work", "--progress"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--champion", type=Path)
    given = parser.parse_args()
    print(f"champion {given.champion}", flush=True)
    kept = given.work / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(STEPS):
        told = {"step": step, "done": number, "of": len(STEPS), "at": "2026-01-05T10:00:00Z"}
        with given.progress.open("a") as progress:
            progress.write(json.dumps(told) + "\n")
        print(f"{step} begins", flush=True)
        suffer(step, given.data, given.work)
        if not (kept / step).exists():
            with (given.work / "done").open("a") as done:
                done.write(step + "\n")
            (kept / step).touch()
    _deliver(given.out, given.data)
    return 0


def suffer(step: str, data: str, work: Path) -> None:
    """Do what `data` says of this step."""
    plot, _, where = data.partition(":")
    if where != step:
        return
    is_first = not (work / f"met-{step}").exists()
    (work / f"met-{step}").touch()
    if plot == "die" or (plot == "die-once" and is_first):
        os.kill(os.getpid(), signal.SIGKILL)
    if plot == "hang" or (plot == "hang-once" and is_first):
        time.sleep(FOR_EVER)
    if plot == "stubborn":
        # Neither it nor what it started ends when asked to.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOR_EVER})"])
        (work / "pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(FOR_EVER)
    if plot == "full":
        Path("/dev/full").write_text("what a step would keep")
    if plot == "break":
        raise ValueError("no such luck")


def _deliver(out: Path, plot: str) -> None:
    shutil.copytree(os.environ["ACTED_RELEASE"], out)
    result = {"status": "ready", "reason": None, "dataset": {"name": plot, "fingerprint": "f" * 64}}
    if plot == "reject":
        result |= {"status": "rejected", "reason": "90 ms for a text, at most 50 ms are allowed"}
    (out.parent / "result.json").write_text(json.dumps(result | {"figures": {}}))


if __name__ == "__main__":
    sys.exit(main())
