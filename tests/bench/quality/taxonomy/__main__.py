"""A shop with 500 categories in a tree of three levels, end to end through the API.

    make taxonomy [SEED=1] [WEIGHTS_ONLY=1]

The products are made up: every root, family and leaf of the tree has words of its own, siblings
share some, and the numbers of products fall with the rank of the category, to 5 in half of them. A
throw-away system gets the dataset, is trained with the quick line-up, and classifies new products.
Then a person labels some products with a category that it does not have, and it is trained again.
Only texts are used. At last, n-grams are fitted with class-balanced weights of several strengths.

Exits with 1 if the second release loses more than .01 of the weighted F1 of the categories before,
or does not learn the new one.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from infra.acceptance.client import Client, save
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.quality.taxonomy.balance import balanced
from tests.bench.quality.taxonomy.figures import HEADER, TreeF1
from tests.bench.quality.taxonomy.shop import Shop
from tests.bench.quality.taxonomy.story import PRECISION, Rows, Story, Teller
from tests.bench.throwaway import throwaway_system

#: Largest loss of weighted F1 by a category more, and least F1 of the new one.
LARGEST_LOSS, LEAST_F1 = 0.01, 0.5
SETTINGS = {
    "RAYON_TRAINER_LINEUP": "quick",
    "RAYON_TRAINER_OFFLINE": "true",
    # Each promotion is a step of the bench, and each release is measured whatever it is worth.
    "RAYON_TRAINER_PROMOTION": "manual",
    "RAYON_WATCH_ACTION": "alert",
}


def main() -> int:
    """Tell the story, compare the weights, and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the shop (%(default)s)")
    parser.add_argument("--weights-only", action="store_true", help="only compare the weights")
    args = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="taxonomy")
    shop = Shop(args.seed)
    rows = Rows.of(shop, args.seed)
    print("\n".join(about(rows)), flush=True)
    story = Story()
    if not args.weights_only:
        _tell(story, rows)
        print("\n".join(lines(story)), flush=True)
    weights = dict(_weights(rows))
    save(
        "taxonomy",
        {
            "story": vars(story),
            "weights": {strength: found.as_json() for strength, found in weights.items()},
        },
    )
    return 0 if args.weights_only or is_as_wanted(story) else 1


def about(rows: Rows) -> list[str]:
    """Return the shop in sentences."""
    counts = np.array([leaf.rows for leaf in rows.known])
    rare = sum(leaf.is_rare for leaf in rows.known)
    return [
        f"{len(rows.known)} categories and one later, {len(rows.first):,} rows: {counts.min()} to "
        f"{counts.max()} in a category, {rare} rare ones with at most 10",
        f"{len(rows.tested):,} products to measure on",
    ]


def lines(story: Story) -> list[str]:
    """Return the figures of a story as lines."""
    found = [
        f"level {one['level']}: {one['categories']} nodes with {one['smallest_rows']} to "
        f"{one['largest_rows']} rows"
        for one in story.levels
    ]
    found += ["", _row(["", *HEADER])]
    for name, figures in (("first release", story.first), ("second release", story.again)):
        if figures is not None:
            found.append(_row([name, *figures.cells()]))
    before, after = story.later
    found += [
        "",
        f"F1 of the later category: {before:.3f} before, {after:.3f} after; other products taken "
        f"for it: {story.taken:.2%}",
    ]
    found += [
        f"accepted at a precision of {PRECISION:.0%}, {name}: {one.share:.1%}, {one.precision:.1%} "
        "of them right"
        for name, one in story.accepted.items()
    ]
    if story.report:
        found.append(f"report: {_reported(story.report)}")
    return found


def is_as_wanted(story: Story) -> bool:
    """Return True if the second release knows the new category and has not forgotten the others."""
    if story.first is None or story.again is None:
        return False
    loss = story.first.weighted - story.again.weighted
    return loss <= LARGEST_LOSS and story.later[1] >= LEAST_F1


def _reported(report: Mapping[str, Any]) -> str:
    labels, estimated = report["by labels"], report["estimated"]
    parts = [f"{report['sentence']} {report['categories']} categories were answered"]
    if labels:
        parts.append(f"F1 by {labels['rows']} labels {labels['f1']:.3f}")
    if estimated:
        interval = f"{estimated['low']:.3f} to {estimated['high']:.3f}"
        parts.append(f"estimated {estimated['f1']:.3f} ({interval})")
    for one in report.get("levels", ()):
        if tested := one["test"]:
            interval = f"{tested['low']:.3f} to {tested['high']:.3f}"
            parts.append(f"level {one['level']} on its test set {tested['f1']:.3f} ({interval})")
    return ", ".join(parts)


def _tell(story: Story, rows: Rows) -> None:
    with throwaway_system(**SETTINGS) as system:
        os.environ["RAYON_ADMIN_PASSWORD"] = system.password

        async def tell() -> None:
            async with Client(system.address) as client:
                await Teller(story, rows, client, system.address).tell()

        asyncio.run(tell())


def _weights(rows: Rows) -> list[tuple[float, TreeF1]]:
    """Print the F1 of each strength, and return it."""
    print(f"\nclass-balanced weights\n{_row(['strength', *HEADER])}", flush=True)
    found = []
    for strength, figures in balanced(rows.first, rows.tested, rows.known):
        print(_row([f"{strength:g}", *figures.cells()]), flush=True)
        found.append((strength, figures))
    return found


def _row(cells: list[str]) -> str:
    return f"{cells[0]:<15}" + "".join(f"{cell:>10}" for cell in cells[1:])


if __name__ == "__main__":
    run_command(main)
