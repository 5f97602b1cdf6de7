"""Measure the check of a long catalog against that of an earlier commit, in one run.

    python -m tests.bench.load.table_check --rows 1000000 --before e3179e9

Each version checks the same file three times, in turns, in a process of its own. Prints rows/s, the
peak of memory, and the ratios.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command

ROUNDS = 3
DESCRIPTION = "<p>Piscine ronde, idéale pour les enfants.</p>\n<ul><li>150 cm</li></ul>" * 4
#: Checks the file `sys.argv[1]` with the code of the current folder.
CHECK = """
import io, json, resource, sys, time
from pathlib import Path
from gateway.catalogs.inspection import inspect
from gateway.catalogs.row_check import Terms
terms = Terms(model="fusion", max_characters=50_000, max_rows=10_000_000)
with open(sys.argv[1], "rb") as file:
    began = time.process_time()
    try:
        from gateway.catalogs.products import product_form
    except ImportError:
        finding = inspect(file, None, terms, io.StringIO())
    else:
        finding = inspect(file, product_form(file, {}), None, terms, io.StringIO())
    seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": finding.rows, "rate": finding.rows / seconds, "megabytes": peak / 1024}))
"""


def main() -> int:
    """Print the comparison."""
    parser = plain_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--before", default="e3179e9", help="commit to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _tree(options.before) as before:
        table = Path(folder) / "products.csv"
        _write(table, options.rows)
        trees = {"before": before, "now": Path.cwd()}
        found = {name: [] for name in trees}  # type: dict[str, list[dict[str, float]]]
        for _ in range(ROUNDS):
            for name, tree in trees.items():
                found[name].append(_check(tree, table))
    for name, rounds in found.items():
        rate = statistics.median(one["rate"] for one in rounds)
        peak = max(one["megabytes"] for one in rounds)
        print(
            f"{name:7} {rounds[0]['rows']:.0f} rows, {rate:,.0f} rows/s of CPU, peak {peak:.0f} MB"
        )
    ratios = [now["rate"] / old["rate"] for old, now in zip(*found.values(), strict=True)]
    print(
        f"rows/s {statistics.median(ratios):.2f} of before ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    return 0


def _check(tree: Path, table: Path) -> dict[str, float]:
    command = [sys.executable, "-c", CHECK, str(table)]
    result = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(result.stdout)
    return found


def _write(path: Path, rows: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["sku", "designation", "description", "image", "price"])
        for number in range(rows):
            cells = [number, f"Piscine gonflable n° {number}", DESCRIPTION, f"{number}.jpg", "12,5"]
            table.writerow(cells)


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        add = ["git", "worktree", "add", "--quiet", "--detach", str(tree), commit]
        subprocess.run(add, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True)


if __name__ == "__main__":
    run_command(main)
