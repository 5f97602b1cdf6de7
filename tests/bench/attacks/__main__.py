"""Attacks on a throw-away system, one figure for each control, and an honest client beside them.

    make attacks                    # this checkout
    make attacks BEFORE=e3179e9     # beside an earlier commit

Starts a system of its own in a temporary folder. Every attack is bounded in bytes, connections and
seconds, and goes to a loopback address. Run it as root to try the ports as another user.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.embedded.settings import PROJECT
from tests.bench.arguments import plain_parser
from tests.bench.attacks import (
    catalogs,
    compose,
    connections,
    disk,
    forms,
    images,
    labels,
    neighbours,
    pages,
    sign_in,
)
from tests.bench.attacks.bounds import ATTACK_SECONDS, BoundExceeded, Budget, time_limit
from tests.bench.attacks.figure import Figure, not_held, table
from tests.bench.attacks.honest import HonestClient, Record
from tests.bench.attacks.target import Target, attacked_system
from tests.bench.commands import run_command

Attack = Callable[[Target], list[Figure]]
#: In this order: freed memory hides a later growth, so the smaller growths come first; the image
#: lane is busy for long after the images, so they come last.
ATTACKS: dict[str, Attack] = {
    "neighbours": neighbours.attacks,
    "compose": compose.attacks,
    "pages": pages.attacks,
    "uploads": connections.uploads,
    "reads": catalogs.reads,
    "headers": connections.headers,
    "labels": labels.attacks,
    "spreadsheets": catalogs.spreadsheets,
    "checks": catalogs.checks,
    "disk": disk.attacks,
    "stalls": forms.stalls,
    "surrogates": forms.surrogates,
    "sign-in": sign_in.attacks,
    "idle": connections.idle,
    "idle-many": connections.idle_from_many,
    "slow": connections.slow,
    "images": images.attacks,
}
#: Until the trainer and the monitor have started too; then the system is quiet.
WARM_UP_SECONDS, QUIET_SECONDS = 30.0, 30.0


def main() -> int:
    """Attack one or two versions, print the tables, and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--before", metavar="COMMIT", help="attack this commit first")
    parser.add_argument(
        "--rows", type=int, default=50_000, help="rows of large catalogs (default: %(default)s)"
    )
    parser.add_argument(
        "--only", choices=ATTACKS, action="append", help="attack only this (repeatable)"
    )
    parser.add_argument(
        "--checkout", type=Path, default=PROJECT, help="code to attack (default: %(default)s)"
    )
    args = parser.parse_args()
    chosen = {name: ATTACKS[name] for name in args.only or ATTACKS}
    runs = {}
    if args.before:
        with worktree(args.before) as checkout:
            runs[args.before[:7]] = attacked(checkout, args.rows, chosen)
    runs["now"] = attacked(args.checkout, args.rows, chosen)
    report({name: figures for name, (figures, _) in runs.items()})
    for name, (_, records) in runs.items():
        report_honest(name, records)
    return 1 if not_held(runs["now"][0]) else 0


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Check a commit out in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(checkout), commit], check=True)
        # Its home lies in a folder of its own, but its processes run here, as another uid too.
        Path(folder).chmod(0o755)
        try:
            yield checkout
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True)


def attacked(
    checkout: Path, rows: int, attacks: dict[str, Attack]
) -> tuple[list[Figure], dict[str, Record]]:
    """Return the figures of all attacks on a checkout, and the records of the honest client."""
    with attacked_system(checkout, rows) as target:
        client = HonestClient(target)
        with client.working():
            time.sleep(WARM_UP_SECONDS)
        with client.working() as quiet:
            time.sleep(QUIET_SECONDS)
        with client.working() as beside:
            figures = [
                figure
                for name, attack in attacks.items()
                for figure in run_attack(name, attack, target)
            ]
    return figures, {"quiet": quiet, "attacked": beside}


def run_attack(name: str, attack: Attack, target: Target) -> list[Figure]:
    """Run one attack within its bounds, and wait until the system has recovered."""
    target.budget = Budget()
    started = time.monotonic()
    try:
        with time_limit(ATTACK_SECONDS):
            figures = attack(target)
    except (
        BoundExceeded,
        RuntimeError,
        OSError,
        KeyError,
        ValueError,
        httpx.HTTPError,
        subprocess.SubprocessError,
    ) as error:
        figures = [Figure("-", f"{name}: broken off", None, "", 0, "", repr(error)[:160])]
    finally:
        print(f"  {name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    target.settle()
    return figures


def report(runs: dict[str, Sequence[Figure]]) -> None:
    """Print the table of all figures and the attacks that succeeded."""
    print("\n".join(table(runs)))
    for name, figures in runs.items():
        failed = not_held(figures)
        print(f"\n{name}: {len(figures) - len(failed)} of {len(figures)} held")


def report_honest(name: str, records: dict[str, Record]) -> None:
    """Print how the honest client fared."""
    print(f"\nhonest client, {name:<18}{'jobs':>6}{'p50 ms':>10}{'p95 ms':>10}{'errors':>8}")
    for phase, record in records.items():
        for kind in record.seconds:
            print(f"  {phase + ', ' + kind:<31}{record.line(kind)}")


if __name__ == "__main__":
    run_command(main)
