"""Reports of three months of a shop, replayed from real held-out rows.

    python -m tests.bench.quality.quarter --data FOLDER --out FOLDER [--jobs 9000]

Everything is real except the calendar: test rows of the dataset, scored by the starter release,
become jobs with their scores; reviewers label a sample with the true categories. The first month
resembles the test set. In the second month the category mix shifts, the monitor raises an alert and
another release is promoted. In the third month texts arrive cut and images dark. Windows, alerts
and figures are those of the monitor; the outcomes of the trainings are invented, and each release
has the models of the starter release. The scores are cached, so that a second run is quick. All
data is written to the folder OUT.
"""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from infra.acceptance.products import dataset
from shared.db.models import Report
from shared.db.session import UnitOfWork
from shared.inference.manifest import ReleaseManifest
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.arguments import dataset_parser
from tests.bench.quality.quarter.events import TRAINING_MINUTES, Quarter
from tests.bench.quality.quarter.replayed import start
from tests.bench.quality.quarter.shop import Conditions
from tests.bench.starter import STARTER
from trainer.datasets.folder import Dataset
from trainer.monitoring.performance.periods import Period

MONTHS = ("2026-07", "2026-08", "2026-09")


def main() -> None:
    """Fill the database and write the pages."""
    parser = dataset_parser(__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the database and the pages"
    )
    parser.add_argument(
        "--jobs", type=int, default=9_000, help="jobs in the first month (default: %(default)s)"
    )
    args = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="quarter")
    args.out.mkdir(parents=True, exist_ok=True)
    for line in replay(dataset(args.data), args.data, args.out, args.jobs):
        print(line)
    print(f"{args.out}: {', '.join(f'{month}.html' for month in MONTHS)}")


def replay(data: Dataset, source: Path, out: Path, jobs: int) -> Iterator[str]:
    """Replay the quarter, and yield a line for each month."""
    replayed = start(data, source, out, trainings_per_week=20)
    f1 = ReleaseManifest.read(STARTER).figures["fusion_f1_plain"]
    for name, replay_month in zip(MONTHS, (_first, _second, _third), strict=True):
        month = Period.month(name)
        replay_month(replayed.quarter, month, jobs, f1)
        started = time.perf_counter()
        verdict = replayed.report(month)
        _write(replayed.quarter.shop.unit_of_work, name, out)
        yield f"{name}: {verdict}, made in {time.perf_counter() - started:.1f} s"


def _first(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """Replay a month that resembles the test set."""
    quarter.promote("1", month.begins_at, "installation", "The release that Rayon ships with", f1)
    quarter.add_catalogs(month, 9)
    quarter.shop.add_month(month, jobs)
    quarter.measure_drift("Undecided: the champion stays", "2")


def _second(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """Replay a month with more games: an alert, a training and the promotion of its release."""
    quarter.add_catalogs(month, 11)
    quarter.shop.add_month(month, int(jobs * 0.35), Conditions(growing=4.0), days=(0, 10))
    alerts = quarter.measure_drift("Better by 0.0112 on the same 3930 rows: promoted", "2")
    moment = alerts[0] if alerts else month.begins_at + timedelta(days=9)
    reason = "Better on the same held-out rows: difference +0.0112 (+0.0021 to +0.0204)"
    promoted_at = moment + timedelta(minutes=TRAINING_MINUTES)
    quarter.promote("2", promoted_at, "trainer", reason, f1 + 0.0112)
    quarter.shop.jobs.release = "2"
    quarter.shop.add_month(month, int(jobs * 0.8), Conditions(growing=3.0), days=(10, 31))
    quarter.measure_drift("Undecided: the champion stays", "3")


def _third(quarter: Quarter, month: Period, jobs: int, f1: float) -> None:
    """Replay a month with cut texts and dark images, in which a training does not help."""
    quarter.add_catalogs(month, 8)
    quarter.shop.add_month(month, int(jobs * 1.05), Conditions(growing=2.0, cut=0.75))
    quarter.measure_drift(
        "Not better, the champion stays: difference -0.0019 (-0.0101 to +0.0060)", "3"
    )


def _write(unit_of_work: UnitOfWork, month: str, out: Path) -> None:
    with unit_of_work.reading() as session:
        report = session.get_one(Report, month)
        (out / f"{month}.html").write_text(report.page, "utf-8")
        (out / f"{month}.json").write_text(json.dumps(report.document, indent=1), "utf-8")


if __name__ == "__main__":
    main()
