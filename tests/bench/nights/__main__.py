"""Nights: faults that stall, fill, break or kill parts of a system, and what becomes of its jobs.

    make nights                               # on SQLite and on PostgreSQL
    make nights DATABASE=sqlite ONLY=disk-full,kill-redis
    make nights BEFORE=e3fb9ee                # an earlier commit first

Starts systems of its own in temporary folders; all connections stay on this machine. Honest clients
send jobs all the time. One line for each fault: what they sent from its start to the recovery, what
became of it, the times of `/livez` beside those of a bare endpoint, the time to a 202, and the
seconds from the end of the fault until a new job was answered and until all were. Ends with 1 if a
bound is missed. Run it as root to fill a disk: a small tmpfs is mounted for it.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from infra.embedded.settings import PROJECT
from tests.bench.arguments import plain_parser
from tests.bench.attacks.__main__ import worktree
from tests.bench.commands import run_command
from tests.bench.nights.databases import POSTGRES, SQLITE
from tests.bench.nights.faults import names
from tests.bench.nights.outcome import Outcome, table
from tests.bench.nights.systems import BOTH, Plan, all_systems

NOW = "now"


def main() -> int:
    """Try all faults, print the table and return the exit code."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    outcomes: list[Outcome] = []
    try:
        if args.before:
            with worktree(args.before) as checkout:
                _try_all(_plan(args, args.before[:7], checkout), outcomes)
        _try_all(_plan(args, NOW, args.checkout), outcomes)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except BaseException:
        report(outcomes)
        raise
    return report(outcomes)


def report(outcomes: list[Outcome]) -> int:
    """Print the table and return the exit code."""
    print("\n".join(table(outcomes)))
    tried = [one for one in outcomes if one.code == NOW and not one.skipped]
    missed = [one for one in tried if one.faults()]
    print(f"\n{len(tried) - len(missed)} of {len(tried)} held")
    return 1 if missed else 0


def _try_all(plan: Plan, outcomes: list[Outcome]) -> None:
    # An interrupted run prints what it has: `extend` appends one by one.
    outcomes.extend(all_systems(plan))


def _plan(args: argparse.Namespace, code: str, checkout: Path) -> Plan:
    only = frozenset(name for name in args.only.split(",") if name)
    unknown = only.difference(names())
    if unknown:
        raise SystemExit(f"Expected some of {', '.join(names())}. Received: {', '.join(unknown)}")
    return Plan(code, checkout, args.database, args.seconds, only)


def _arguments() -> argparse.Namespace:
    parser = plain_parser(__doc__)
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="try only these faults")
    parser.add_argument(
        "--database", choices=(SQLITE, POSTGRES, BOTH), default=BOTH, help="default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=20, help="length of a fault that lasts (%(default)s)"
    )
    parser.add_argument("--before", metavar="COMMIT", help="try them on this commit first")
    parser.add_argument(
        "--checkout", type=Path, default=PROJECT, help="code to try (default: %(default)s)"
    )
    return parser.parse_args()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run_command(main)
