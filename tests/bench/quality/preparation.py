"""Compare the preparation of texts with that of an earlier commit, on all products of a folder.

    python -m tests.bench.quality.preparation --data ../shared/data/rakuten --before e3179e9

Prints how many prepared texts differ, how many became empty, and the time as a ratio. A release
that was trained with the earlier preparation may be served with this one as long as they hardly
differ.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from shared.inference.preparation import text
from tests.bench.commands import run_command
from tests.bench.quality.earlier import module_of

MODULE = "shared/inference/preparation/text.py"
#: Characters of a difference that are shown.
SHOWN = 60

Prepare = Callable[[str, str], str]


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/rakuten"))
    parser.add_argument("--before", default="e3179e9", help="commit of the earlier preparation")
    parser.add_argument("--shown", type=int, default=5, help="differences to print")
    options = parser.parse_args()
    rows = _rows(options.data)
    before, seconds_before = _prepared(rows, _earlier(options.before))
    now, seconds = _prepared(rows, text.product_text)
    changed = [
        place for place, (one, other) in enumerate(zip(before, now, strict=True)) if one != other
    ]
    emptied = sum(not now[place] for place in changed)
    print(
        f"{len(rows)} products, {len(changed)} prepared texts differ, "
        f"{emptied} of them are empty now"
    )
    print(f"time {seconds / seconds_before:.2f} of before")
    for place in changed[: options.shown]:
        print(f"- {_difference(before[place], now[place])}")
    return 0


def _rows(folder: Path) -> list[tuple[str, str]]:
    tables = [
        pd.read_csv(path, keep_default_na=False, dtype=str)
        for path in sorted(folder.glob("X_*.csv"))
    ]
    products = pd.concat(tables)
    return list(zip(products["designation"], products["description"], strict=True))


def _prepared(rows: list[tuple[str, str]], prepare: Prepare) -> tuple[list[str], float]:
    started = time.process_time()
    prepared = [prepare(*row) for row in rows]
    return prepared, time.process_time() - started


def _earlier(commit: str) -> Prepare:
    """Return `product_text` of a commit."""
    module = module_of(commit, MODULE)
    prepare: Prepare = module.product_text
    return prepare


def _difference(before: str, now: str) -> str:
    place = next(
        (at for at, (one, other) in enumerate(zip(before, now, strict=False)) if one != other),
        min(len(before), len(now)),
    )
    start = max(0, place - SHOWN // 2)
    return f"{before[start : place + SHOWN]!r} became {now[start : place + SHOWN]!r}"


if __name__ == "__main__":
    run_command(main)
