"""Cost of each part of the system on this machine, and the resulting limits.

    make limits                 # with example products and generated images
    make limits DATA=folder     # with the test rows of a dataset

Each part runs alone, with the code that the system uses: the broker publishes and consumes, jobs
are inserted, the workers' handlers score, and the fusion worker joins the scores. The figure to
compare is the CPU time of the part, not the elapsed time, because other programs share the cores.
A second table computes the resources for 1, 10, 100 and 1,000 times the planned load.
"""

import os
import tempfile
from pathlib import Path

from gateway.jobs.outbox import LARGEST_GROUP
from infra.acceptance.client import save
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.limits.database import measure_database
from tests.bench.limits.messages import measure_queue
from tests.bench.limits.models import measure_image_worker, measure_text_worker
from tests.bench.limits.plan import plan, print_plans, sizing
from tests.bench.limits.products import IMAGE_SLICE, TEXT_SLICE, Product, products_and_images
from tests.bench.limits.stopwatch import Cost
from tests.bench.starter import STARTER
from tests.support.fakes import FolderReleases


def main() -> int:
    """Measure every part, print the tables and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--data", type=Path, help="dataset in the layout of the challenge")
    parser.add_argument(
        "--rows",
        type=int,
        default=8_192,
        help="number of texts; one image per 40 texts (default: %(default)s)",
    )
    parser.add_argument(
        "--per-second",
        type=float,
        default=10.0,
        help="products per second of the planned load (default: %(default)s)",
    )
    args = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="limits")
    products, images = products_and_images(args.data, args.rows, max(IMAGE_SLICE, args.rows // 40))
    print(f"{os.cpu_count()} cores, {len(products)} texts, {len(images)} images")
    print(f"{'part':<34}{'rows':>8}{'seconds':>9}{'us CPU/row':>12}{'rows/s core':>12}")
    with tempfile.TemporaryDirectory() as folder:
        costs, sizes = measure(Path(folder), products, images)
    for name, size in sizes.items():
        print(f"{name:<54}{size:>12.0f}")
    plans = [plan(costs, sizes, args.per_second * times) for times in (1, 10, 100, 1000)]
    day = sizing(costs, sizes)
    print("\nSize: throughput of one core that runs every part, and storage")
    for name, figure in day.items():
        print(f"{name:<54}{figure:>12,.2f}")
    print_plans(plans)
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
    """Measure the parts one after the other, and print each result at once."""
    costs: dict[str, Cost] = {}
    sizes: dict[str, float] = {}

    def record(found: dict[str, Cost]) -> None:
        costs.update(found)
        for name, cost in found.items():
            print(cost.table_row(name), flush=True)

    (folder / "releases").mkdir()
    (folder / "releases" / "1").symlink_to(STARTER)
    registry = FolderReleases(folder / "releases")
    for name, size in (("single jobs", LARGEST_GROUP), ("catalogs", TEXT_SLICE)):
        found, bytes_waiting = measure_queue(folder, products, size, name)
        record(found)
        sizes[f"bytes of Redis per waiting row, {name}"] = bytes_waiting
    found, scored = measure_text_worker(registry, products)
    record(found)
    record(measure_image_worker(registry, folder, images))
    sizes["bytes of an image"] = sum(map(len, images)) / len(images)
    found, database_sizes = measure_database(folder, registry, products, scored)
    record(found)
    sizes |= database_sizes
    return costs, sizes


if __name__ == "__main__":
    run_command(main)
