"""Print figures of the code's structure, or check their limits.

    python -m infra.ci.structure                     figures of this checkout
    python -m infra.ci.structure ../before .         figures of two checkouts, as `before → after`
    python -m infra.ci.structure --list              and the places behind the figures
    python -m infra.ci.structure --check             the places that break a limit; ends with 1

With several checkouts, `--list` prints the places of the last one. A checkout is a working tree of
git: for an earlier commit, `git worktree add ../before COMMIT`.
"""

import argparse
import sys
from pathlib import Path

from infra.ci.structure.checkout import Checkout
from infra.ci.structure.findings import EXPECTED, Findings, findings, import_graph
from infra.ci.structure.report import (
    PACKAGE_COLUMNS,
    TOTAL_COLUMNS,
    Figures,
    aligned,
    compared,
    package_table,
    total_table,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        "python -m infra.ci.structure",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[Path()], metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="print the places behind the figures")
    parser.add_argument("--check", action="store_true", help="end with 1 if a limit is broken")
    given = parser.parse_args(arguments)
    checkouts = [Checkout(folder) for folder in given.folders]
    if given.check:
        return max(check(checkout) for checkout in checkouts)
    measured = [Figures(checkout) for checkout in checkouts]
    show(measured)
    if given.list:
        list_places(measured[-1])
    return 0


def show(measured: list[Figures]) -> None:
    """Print the figures of some checkouts side by side."""
    packages = compared([package_table(one) for one in measured])
    totals = compared([total_table(one) for one in measured])
    print(aligned("package", PACKAGE_COLUMNS, packages), end="\n\n")
    print(aligned("all packages", TOTAL_COLUMNS, totals))


def list_places(figures: Figures) -> None:
    """Print the places behind the figures of a checkout."""
    for name, places in figures.found.items():
        print(f"\n{name}: {len(places)}", *places, sep="\n")
    for name, (number, listed) in zip(TOTAL_COLUMNS, figures.duplicates, strict=True):
        print(f"\nduplicated lines of {name}: {number}", listed, sep="\n")


def check(checkout: Checkout) -> int:
    """Print each place that breaks a limit; return 1 if there is one."""
    broken = violations(findings(checkout, import_graph(checkout)))
    for line in broken:
        print(line)
    return int(bool(broken))


def violations(found: Findings) -> list[str]:
    """Return a line for each finding that is an error: place, what is expected, what was found."""
    return [
        f"{place.path}:{place.line}: Expected {expected}. Found: {place.text}"
        for name, expected in EXPECTED.items()
        for place in found[name]
    ]


if __name__ == "__main__":
    sys.exit(main())
