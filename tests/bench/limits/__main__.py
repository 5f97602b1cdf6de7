"""Cost of each part of the system on this machine, and the resulting limits.

    make limits                 # products written here, images drawn here
    make limits DATA=folder     # real ones

Each part does its work alone, through the code that does it in the system: the broker publishes and
consumes, jobs are inserted, the workers' handlers score, fusion's join answers. What counts is the
processor time of the part, not the time on the clock: other parts and other programs take turns on
these cores. A second table computes what more of the same needs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from gateway.jobs.service import LARGEST_GROUP
from infra.acceptance.client import save
from infra.embedded.settings import PROJECT
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.limits.messages import queue
from tests.bench.limits.models import image_worker, texts
from tests.bench.limits.plan import plan, show, sizing
from tests.bench.limits.products import IMAGE_SLICE, TEXT_SLICE, Product, material
from tests.bench.limits.rows import rows
from tests.bench.limits.stopwatch import Cost
from tests.support.fakes import FolderReleases


def main() -> int:
    """Measure and compute; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=8_192, help="texts; of images 1 in 40")
    parser.add_argument("--per-second", type=float, default=10.0, help="products of the plan")
    given = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="limits")
    products, images = material(given.data, given.rows, max(IMAGE_SLICE, given.rows // 40))
    print(f"{os.cpu_count()} cores, {len(products)} texts, {len(images)} images")
    print(f"{'part':<34}{'rows':>8}{'seconds':>9}{'us CPU/row':>12}{'rows/s core':>12}")
    with tempfile.TemporaryDirectory() as folder:
        costs, sizes = measure(Path(folder), products, images)
    for name, size in sizes.items():
        print(f"{name:<54}{size:>12.0f}")
    plans = [plan(costs, sizes, given.per_second * times) for times in (1, 10, 100, 1000)]
    day = sizing(costs, sizes)
    print("\nSize: what one core does if it does everything, and what is kept")
    for name, figure in day.items():
        print(f"{name:<54}{figure:>12,.2f}")
    show(plans)
    figures = {
        name: vars(cost) | {"per_core": cost.rows_per_core_second} for name, cost in costs.items()
    }
    save(
        "limits",
        {"cores": os.cpu_count(), "costs": figures, "sizes": sizes, "size": day, "plans": plans},
    )
    return 0


def measure(
    folder: Path, products: list[Product], images: list[bytes]
) -> tuple[dict[str, Cost], dict[str, float]]:
    """Every part, one after the other; prints each as it is known."""
    costs: dict[str, Cost] = {}
    sizes: dict[str, float] = {}

    def tell(found: dict[str, Cost]) -> None:
        costs.update(found)
        for name, cost in found.items():
            print(cost.shown(name), flush=True)

    (folder / "releases").mkdir()
    (folder / "releases" / "1").symlink_to(PROJECT / "infra" / "starter_release")
    registry = FolderReleases(folder / "releases")
    for name, size in (("single jobs", LARGEST_GROUP), ("catalogs", TEXT_SLICE)):
        found, bytes_waiting = queue(folder, products, size, name)
        tell(found)
        sizes[f"bytes of Redis a row that waits, {name}"] = bytes_waiting
    found, scored = texts(registry, products)
    tell(found)
    tell(image_worker(registry, folder, images))
    sizes["bytes of an image"] = sum(map(len, images)) / len(images)
    found, grown = rows(folder, registry, products, scored)
    tell(found)
    sizes |= grown
    return costs, sizes


if __name__ == "__main__":
    sys.exit(main())
