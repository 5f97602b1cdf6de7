"""A made-up shop from its table to its own answers, with the commands of the README."""

import csv
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.settings import PROJECT
from tests.e2e.system import System
from tests.support.made_up_shop import Product, Shop, write_shop

Command = Callable[..., "subprocess.CompletedProcess[str]"]

#: Products, few of them with an image: the champion's network needs a tenth of a second for each.
SHOP = Shop(rows=240, layout="simple", labels="paths", images=0.1, noise=0.0)
#: Time limit of a command; a training on a busy machine takes the longest.
SECONDS = 1800


@pytest.fixture
def rayon(system: System, tmp_path: Path) -> Command:
    """Return a function that runs a `rayon` command as the first account."""

    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["rayon", *words],
            env=system.command_line(tmp_path / "home"),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    words = ("login", "--url", system.address, "--username", "admin", "--password-stdin")
    ended = run(*words, stdin=system.password)
    assert ended.returncode == 0, ended.stderr
    return run


@pytest.fixture
def trainer(system: System) -> Command:
    """Return a function that runs a command of the trainer beside the system."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "trainer", *words],
            cwd=PROJECT,
            env=system.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


def _shop(folder: Path) -> tuple[list[Product], Path, Path]:
    """Write a shop; return its products, their table and the archive of their images."""
    products = write_shop(folder / "shop", SHOP)
    archive = folder / "images.zip"
    with zipfile.ZipFile(archive, "w") as images:
        for path in (folder / "shop" / "images").iterdir():
            images.write(path, path.name)
    return products, folder / "shop" / "products.csv", archive


def test_shop_is_checked_trained_delivered_promoted_and_rolled_back(
    rayon: Command, trainer: Command, tmp_path: Path
) -> None:
    products, table, archive = _shop(tmp_path)
    folder, release = table.parent, tmp_path / "training" / "release"

    # Check: the service reports what it finds in the upload, and the trainer in the folder
    added = rayon("dataset", "add", "shop", str(table), "--images", str(archive))
    assert added.returncode == 0, added.stdout + added.stderr
    assert added.stdout.startswith("shop@1 is ready: 240 rows, 12 categories")
    assert rayon("dataset", "check", "shop").returncode == 0
    checked = trainer("check", str(folder))
    assert checked.returncode == 0, checked.stdout

    # Explore
    report = tmp_path / "explore.html"
    explored = trainer("explore", str(folder), "--out", str(report))
    assert explored.returncode == 0, explored.stderr
    assert "Couettes" in report.read_text()

    # Train by hand, and deliver to the running system
    trained = trainer(
        *("train", str(folder), "--lineup", "quick", "--offline"),
        *("--out", str(release), "--work", str(tmp_path / "work")),
    )
    assert trained.returncode == 0, trained.stdout[-3000:] + trained.stderr[-3000:]
    delivered = trainer("deliver", str(release))
    assert delivered.returncode == 0, delivered.stdout + delivered.stderr
    registered = re.search(r"registered as release (\d+)", delivered.stdout)
    assert registered is not None, delivered.stdout

    # Promote: the next product is answered by the own release, in the words of the shop
    promoted = rayon("promote", registered[1], "--reason", "knows our categories")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    answers = _answers(rayon, products, tmp_path / "own.csv")
    right = [row["category"] == row["label"] for row in answers]
    assert sum(right) / len(right) > 0.9

    # Roll back: the release before answers again, which knows none of the categories
    assert rayon("rollback", "--reason", "a rehearsal").returncode == 0
    answers = _answers(rayon, products, tmp_path / "before.csv")
    assert all(row["category"] not in SHOP.labels_of() for row in answers)


def _answers(rayon: Command, products: list[Product], out: Path) -> list[dict[str, str]]:
    """Classify 24 products by their texts; return answers with the shop's label of each."""
    chosen = products[:: len(products) // 24]
    source = out.with_name("products.csv")
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["designation", "description"])
        writer.writerows([one.designation, one.description] for one in chosen)
    ended = rayon("catalog", str(source), "--out", str(out), "--again")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = SHOP.labels_of()
    return [
        {"category": row["category"], "label": labels[product.kind]}
        for row, product in zip(rows, chosen, strict=True)
    ]
