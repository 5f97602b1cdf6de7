"""Lower the priority of this process and become another command.

    python -m trainer.runs.background 19 --background -- COMMAND

A command that is lowered from outside may have started threads before, which keep their priority.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil


def main(arguments: Sequence[str]) -> None:
    """Lower the priority and execute the command, which never returns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("niceness", type=int, help="added to the nice value")
    parser.add_argument("--background", action="store_true", help="run only on idle cores")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(arguments)
    os.nice(args.niceness)
    if args.background:
        _run_in_background()
    os.execvp(args.command[0], args.command)  # noqa: S606  # nosec B606  # the trainer's command


def _run_in_background() -> None:
    """Ask the kernel to run this process last, as far as it can."""
    if sys.platform != "linux":
        return
    # A container may forbid each of these.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    with suppress(OSError):
        # Where memory runs out, the kernel ends a training before a service.
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(sys.argv[1:])
