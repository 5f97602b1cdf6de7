"""Import a large catalog in a real browser and print the time of each step.

    python -m tests.bench.console --rows 50000

Starts a throw-away system with its starter release. Each module of steps adds its own to `STEPS`;
a step takes the browser as the one before left it.
"""

import tempfile
from pathlib import Path

from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.console import importing, repairing
from tests.bench.console.run import Run, browser_page, run_steps
from tests.bench.throwaway import throwaway_system

STEPS = (*importing.STEPS, *repairing.STEPS)


def main() -> int:
    """Print the times. Return 1 if the browser complained."""
    parser = plain_parser(__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--unusable", type=int, default=200, help="rows that are rejected")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        throwaway_system() as system,
        browser_page() as page,
    ):
        run = Run(page, system, Path(folder), options.rows, options.unusable)
        page.on("console", lambda one: run.complaints.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: run.complaints.append(str(one)))
        run_steps(run, STEPS)
    return 1 if run.complaints else 0


if __name__ == "__main__":
    run_command(main)
