"""Validation of a running system with products of known categories.

    make validation URL=https://rayon.example.org
    make validation FLOORS=1 DATA=folder     # and the test rows of DATA, with floors of F1

The products in `golden.csv` were written for this project, one or two for each of the starter
release's categories, and the starter release knows them all. Another release may differ in some of
them; categories that it does not have are left out.
"""

import argparse
import asyncio
import csv
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.acceptance.checks import expect, run, signed_in
from infra.acceptance.evaluate import evaluate
from infra.acceptance.products import dataset
from rayon import Rayon

GOLDEN = Path(__file__).parent / "golden.csv"
#: Least share of the golden products with the known category, of a release that is not the starter.
FLOOR = 0.85
STARTER = "Starter release"
#: Least weighted F1 of the test rows. The starter release has .810, .495 and .821 there.
F1_FLOORS = {"text": 0.78, "image": 0.45, "fusion": 0.79}
AT_ONCE = 8


@dataclass(frozen=True)
class Golden:
    """Product with a known category."""

    code: int
    designation: str
    description: str


def main() -> int:
    """Validate and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, help="a dataset whose test rows are scored too")
    args = parser.parse_args()
    url = args.url.rstrip("/")
    with signed_in(url) as rayon:
        checks = {"golden": partial(golden, rayon, read(GOLDEN))}
        if args.data:
            data = dataset(args.data)
            figures = asyncio.run(evaluate(url, data, list(F1_FLOORS)))
            for model, floor in F1_FLOORS.items():
                checks[f"F1 {model}"] = partial(
                    at_least, figures[model]["f1_plain"], floor, figures[model]["failed"]
                )
        return run(checks)


def read(path: Path) -> list[Golden]:
    """Read the golden products."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Golden(int(row["prdtypecode"]), row["designation"], row["description"])
            for row in csv.DictReader(file)
        ]


def golden(rayon: Rayon, products: Sequence[Golden]) -> str:
    """Check that enough golden products are classified correctly."""
    known = {one.prdtypecode for one in rayon.categories()}
    asked = [one for one in products if one.code in known]
    expect(bool(asked), "expected a release with at least one of the golden categories")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(_classified, rayon), asked))
    wrong = [
        f"{one.designation!r}: {answer}, not {one.code}"
        for one, answer in zip(asked, answers, strict=True)
        if answer != one.code
    ]
    right = len(asked) - len(wrong)
    floor = 1.0 if _is_starter(rayon) else FLOOR
    expect(right >= floor * len(asked), f"{right} of {len(asked)} right: {'; '.join(wrong)}")
    return f"{right} of {len(asked)} right, at least {floor:.0%} expected"


def at_least(figure: float, floor: float, failed: int) -> str:
    """Check that no job failed and the figure reaches its floor."""
    expect(not failed, f"{failed} jobs failed")
    expect(figure >= floor, f"expected at least {floor:.3f}. Received: {figure:.4f}")
    return f"{figure:.4f}, at least {floor:.3f} expected"


def _classified(rayon: Rayon, product: Golden) -> int:
    answer = rayon.classify(product.designation, product.description, model="text")
    return answer.prdtypecode


def _is_starter(rayon: Rayon) -> bool:
    return any("champion" in one.aliases and one.description == STARTER for one in rayon.releases())


if __name__ == "__main__":
    sys.exit(main())
