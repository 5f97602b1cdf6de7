"""Replacement for the training pipeline, with faults in chosen steps.

    python -m tests.integration.scripted_training DATA --out … --work … --progress …

DATA is a fault and a step, such as `die:fit`, or another word for a training without faults. As in
the pipeline, a step keeps its result. `work/done` has one line for each real execution of a step.
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

#: Exit code of the pipeline if the release does not pass its test.
NOT_PASSED = 3
STEPS = ("check", "features", "fit", "export")
#: Duration of a hanging step, longer than any test.
HANG_SECONDS = 600


def main() -> int:
    """Run the steps and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    for name in ("--out", "--work", "--progress"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--champion", type=Path)
    parser.add_argument("--lineup", choices=("quick", "full"), required=True)
    parser.add_argument("--arithmetic", choices=("float", "int8"), required=True)
    parser.add_argument("--class-balance", type=float, required=True)
    parser.add_argument("--final-fit", choices=("none", "validation"), required=True)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--unless-known", action="store_true")
    args = parser.parse_args()
    print(f"champion {args.champion}", flush=True)
    if args.answers is not None:
        print(f"answers {args.answers.read_text('utf-8').strip()}", flush=True)
    if args.lineup == "quick":
        return _quick(args.out, args.data, args.work)
    kept = args.work / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(STEPS):
        line = {"step": step, "done": number, "of": len(STEPS), "at": "2026-01-05T10:00:00Z"}
        with args.progress.open("a") as progress:
            progress.write(json.dumps(line) + "\n")
        print(f"{step} begins", flush=True)
        inject_fault(step, args.data, args.work)
        if not (kept / step).exists():
            with (args.work / "done").open("a") as done:
                done.write(step + "\n")
            (kept / step).touch()
    return _deliver(args.out, args.data)


def _quick(out: Path, data: str, work: Path) -> int:
    """Train the quick line-up in one step."""
    with (work / "done").open("a") as done:
        done.write("quick\n")
    inject_fault("quick", data, work)
    if data == "known":
        (out.parent / "result.json").write_text('{"status": "skipped"}')
        return 0
    return _deliver(out, data)


def inject_fault(step: str, data: str, work: Path) -> None:
    """Inject the fault that `data` names if it names this step."""
    fault, _, faulty_step = data.partition(":")
    if faulty_step != step:
        return
    is_first = not (work / f"met-{step}").exists()
    (work / f"met-{step}").touch()
    if fault == "die" or (fault == "die-once" and is_first):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang" or (fault == "hang-once" and is_first):
        time.sleep(HANG_SECONDS)
    if fault == "stubborn":
        # Neither this process nor its child ends on SIGTERM.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({HANG_SECONDS})"])
        (work / "pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(HANG_SECONDS)
    if fault == "full":
        Path("/dev/full").write_text("the result of a step")
    if fault == "swell":
        held = b"x" * (200 * 2**20)
        time.sleep(HANG_SECONDS)
        del held
    if fault == "break":
        raise ValueError("no such luck")


def _deliver(out: Path, data: str) -> int:
    result: dict[str, object] = {"status": "ready", "reason": None}
    result["dataset"] = {"name": data, "fingerprint": "f" * 64}
    folder = out
    if data == "reject":
        result |= {"status": "rejected", "reason": "90 ms for a text, at most 50 ms are allowed"}
        folder = out.with_name(f"{out.name}.not-passed")
    shutil.copytree(os.environ["SCRIPTED_RELEASE"], folder)
    result["folder"] = str(folder)
    result["labels"] = [{"user": "olga", "user_id": "1", "rows": 12, "share": 0.1}]
    (out.parent / "result.json").write_text(json.dumps(result | {"figures": {}}))
    return 0 if folder == out else NOT_PASSED


if __name__ == "__main__":
    sys.exit(main())
