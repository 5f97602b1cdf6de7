"""Verdicts of the monthly report on 24 simulated months, 12 healthy ones and 12 with a fault.

    make months DATA=folder

The months are those of `make quarter`: test rows of the dataset, scored by the starter release,
become jobs; reviewers label a sample. Each month with a fault follows a healthy one. The table sets
the verdicts against what was true: a loss of F1 of .02 or more should ask for a training, a fault
of the operation should be watched, and nothing else should be reported.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from infra.acceptance.client import save
from infra.acceptance.products import dataset
from shared.db.models import Report
from shared.inference.manifest import ReleaseManifest
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.quarter.replayed import Replayed, start
from tests.bench.quality.quarter.shop import Conditions
from tests.bench.starter import STARTER
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.verdict import LOSS, Level

#: Books and magazines; toys and games; pool and garden; as a shop that reorganises its shelves.
REORGANISED = {10: 2403, 2403: 10, 2280: 2522, 1280: 1281, 1281: 1280, 2582: 1560, 1560: 2582}
FEW_MOVED = {10: 2403, 1281: 1280}
FAULTS: tuple[tuple[str, Conditions, Level], ...] = (
    ("cut texts and dark images, 75 %", Conditions(cut=0.75), Level.RETRAIN),
    ("cut texts and dark images, 40 %", Conditions(cut=0.4), Level.RETRAIN),
    ("half of seven categories moved", Conditions(moved=REORGANISED), Level.RETRAIN),
    ("half of two categories moved", Conditions(moved=FEW_MOVED), Level.RETRAIN),
    ("scores of other products, 15 %", Conditions(mistaken=0.15), Level.RETRAIN),
    ("scores of other products, 5 %", Conditions(mistaken=0.05), Level.RETRAIN),
    ("five categories four times as often", Conditions(growing=4.0), Level.WATCH),
    ("five categories twice as often", Conditions(growing=2.0), Level.WATCH),
    ("unreadable images, 30 %", Conditions(broken=0.3), Level.WATCH),
    ("products that fail, 5 %", Conditions(failing=0.05), Level.WATCH),
    ("products that fail, 15 %", Conditions(failing=0.15), Level.WATCH),
    ("sixty times slower", Conditions(slowness=60.0), Level.WATCH),
)
HEALTHY = "healthy"


@dataclass(frozen=True)
class Month:
    """A judged month.

    Attributes:
        fault: What differed; `healthy` for nothing.
        true_f1: Weighted F1 of all its answers.
        expected: Verdict that it deserves.
        verdict: Verdict of the report.
        reason: Sentence of the report.
    """

    name: str
    fault: str
    true_f1: float
    expected: Level
    verdict: Level
    reason: str


def main() -> int:
    """Replay the months and print them, and the table of the verdicts."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the database")
    parser.add_argument(
        "--jobs", type=int, default=3_000, help="jobs in each month (default: %(default)s)"
    )
    args = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="months")
    args.out.mkdir(parents=True, exist_ok=True)
    replayed = start(dataset(args.data), args.data, args.out, trainings_per_week=1)
    months = []
    for month in _replay(replayed, args.jobs):
        months.append(month)
        print(
            f"{month.name}  {month.fault:<36}F1 {month.true_f1:.3f}  "
            f"{month.expected.value:>8} -> {month.verdict.value:<8}{month.reason[:110]}",
            flush=True,
        )
    print("\n".join(confusion(months)))
    save("months", [vars(month) for month in months])
    return 0


def confusion(months: list[Month]) -> list[str]:
    """Return the lines of the table of deserved and given verdicts."""
    counts = Counter((month.expected, month.verdict) for month in months)
    lines = [f"\n{'deserved':<12}" + "".join(f"{level.value:>10}" for level in Level)]
    lines += [
        f"{expected.value:<12}" + "".join(f"{counts[expected, given]:>10}" for given in Level)
        for expected in Level
    ]
    asked = [month for month in months if month.verdict is Level.RETRAIN]
    due = [month for month in months if month.expected is Level.RETRAIN]
    hits = sum(month.expected is Level.RETRAIN for month in asked)
    lines.append(
        f"trainings asked for: {len(asked)}, {hits} of them deserved; deserved: {len(due)}, "
        f"{len(due) - hits} of them missed"
    )
    return lines


def _replay(replayed: Replayed, jobs: int) -> Iterator[Month]:
    quarter, shop = replayed.quarter, replayed.quarter.shop
    f1 = ReleaseManifest.read(STARTER).figures["fusion_f1_plain"]
    month = Period.month("2024-06")
    quarter.promote("1", month.begins_at, "installation", "The release that Rayon ships with", f1)
    _measure(replayed, month, jobs, Conditions())
    usual: list[float] = []
    for fault, conditions, deserved in FAULTS:
        for name, one in ((HEALTHY, Conditions()), (fault, conditions)):
            month = Period.month_of(month.ends_at)
            shop.outcomes.clear()
            verdict = _measure(replayed, month, jobs, one)
            true = _f1(shop.outcomes)
            usual += [true] if name == HEALTHY else []
            # A fault that costs less than the smallest loss worth acting on is only watched.
            lost = float(np.mean(usual)) - true
            expected = Level.HEALTHY
            if name != HEALTHY:
                expected = Level.RETRAIN if lost >= LOSS else Level.WATCH
                expected = min(expected, deserved, key=list(Level).index)
            yield Month(month.name, name, true, expected, *_found(replayed, month, verdict))


def _measure(replayed: Replayed, month: Period, jobs: int, conditions: Conditions) -> Level | None:
    replayed.quarter.shop.add_month(month, jobs, conditions)
    replayed.quarter.measure_drift("Not better: the champion stays", "2")
    return replayed.report(month)


def _found(replayed: Replayed, month: Period, verdict: Level | None) -> tuple[Level, str]:
    assert verdict is not None
    with replayed.quarter.shop.unit_of_work.reading() as session:
        document = session.get_one(Report, month.name).document
    return verdict, str(document["verdict"]["sentence"])


def _f1(outcomes: list[tuple[int, int]]) -> float:
    codes, answers = np.array(outcomes).T
    return float(f1_score(codes, answers, average="weighted", zero_division=0))


if __name__ == "__main__":
    run_command(main)
