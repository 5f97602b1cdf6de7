"""Attacks on the training data: what wrong labels do to a release, with and without the guards.

    make poison DATA=folder

A champion learns from old rows of the dataset. Its answers to new products are labelled, by honest
reviewers and by an attacker. The real check of datasets builds the next version from them, a
challenger is trained on it, and the rule of promotions compares both on the test rows of that
version. Prints the wrong labels that entered, weighted F1 on the test rows of the dataset, which
nobody labelled here, and the verdict, while nothing has changed and after an alert about a change.
Texts only, n-grams only.

Exits with 1 if a release that is worse beyond the margin would be promoted despite the guards.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from infra.acceptance.client import save
from infra.acceptance.products import dataset
from shared.logs import configure_logs
from shared.settings import LogSettings
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.poison.attacks import attacks
from tests.bench.quality.poison.model import Trained, fitted
from tests.bench.quality.poison.shop import Shop, ids
from trainer.datasets.folder import Dataset
from trainer.datasets.labelled.authors import LabelLimits
from trainer.datasets.versions import JOB_PREFIX
from trainer.release.category_overlap import Overlap
from trainer.release.comparison import TOLERANCE, labelled_answers
from trainer.release.labelled_answers import judge_parts
from trainer.release.paired_bootstrap import Rule
from trainer.settings import TrainerSettings

#: Rows of the first version.
OLD = 6_000
ALL = "all"
#: Limits of labels by the guards that are on. Without any, the attacker counts as a reviewer, too.
GUARDS = {
    "none": None,
    "roles, caps": LabelLimits(odds_ratio=0),
    ALL: LabelLimits(),
}
HEADING = (
    f"{'labels':<38}{'guards':>12}{'wrong':>7}{'in test':>8}{'right':>7}{'F1':>9}{'target':>9}"
    f"  {'verdict':<12}after a change"
)


@dataclass(frozen=True)
class Line:
    """Line of the table.

    Attributes:
        f1: Weighted F1 on rows that nobody labelled here.
        target_f1: F1 of the attacked category there.
        learnt: Wrong labels among the rows to learn from.
        tested: Wrong labels among the rows of the comparison.
        right: Right labels of people that entered.
        verdict: Verdict while nothing has changed.
        verdict_after_change: The same by the rule after an alert about a change.
        sentences: Both verdicts as sentences.
    """

    attack: str
    guards: str
    f1: float
    target_f1: float | None
    learnt: int = 0
    tested: int = 0
    right: int = 0
    verdict: str = ""
    verdict_after_change: str = ""
    sentences: tuple[str, ...] = ()


def main() -> int:
    """Print the table and return the exit code."""
    args = dataset_parser(__doc__).parse_args()
    configure_logs(LogSettings(level="ERROR"), service="poison")
    data = dataset(args.data)
    with tempfile.TemporaryDirectory() as folder:
        lines = list(_lines(data, Path(folder)))
    save("poison", {"lines": [asdict(line) for line in lines]})
    margin = TrainerSettings().promotion_margin
    least = lines[0].f1 - margin
    fooled = [
        line.attack
        for line in lines
        if line.guards == ALL
        and "better" in (line.verdict, line.verdict_after_change)
        and line.f1 < least
    ]
    print(f"promoted and worse: {', '.join(fooled) or 'none'}")
    return 1 if fooled else 0


def _lines(data: Dataset, folder: Path) -> Iterator[Line]:
    rows = data.part("train", "validation", text=True).sample(frac=1.0, random_state=0)
    rows = rows.reset_index(drop=True)
    target = int(rows["code"].mode()[0])
    shop = Shop(folder)
    champion = fitted(shop.begin(rows.head(OLD)), folder / "champion")
    judge = Judge(champion, data.part("test", text=True))
    print(HEADING)
    yield _shown(judge.line("no new labels", "", champion, target))
    known: dict[str, Trained] = {}
    for attack in attacks(rows.iloc[OLD:], champion, target):
        for guards, limits in GUARDS.items():
            built = shop.build(attack, champion, limits)
            # Equal rows train an equal release.
            if built.fingerprint not in known:
                known[built.fingerprint] = fitted(built, folder / built.fingerprint)
            challenger = known[built.fingerprint]
            line = judge.line(attack.name, guards, challenger, attack.target)
            yield _shown(judge.compared(line, challenger, built, attack.labels))


@dataclass(frozen=True)
class Judge:
    """Measures a release on rows that nobody labelled here, and by the rule of promotions."""

    champion: Trained
    clean: pd.DataFrame

    def line(self, attack: str, guards: str, model: Trained, target: int | None) -> Line:
        """Return the F1 of a model."""
        codes, answers = self.clean["code"].to_numpy(np.int64), model.answers(self.clean)
        f1 = float(f1_score(codes, answers, average="weighted", zero_division=0))
        of_target = None
        if target is not None:
            of_target = float(f1_score(codes, answers, labels=[target], average="macro"))
        return Line(attack, guards, f1, of_target)

    def compared(self, line: Line, model: Trained, built: Dataset, labels: pd.DataFrame) -> Line:
        """Add what entered the version and the verdict on its test rows."""
        is_wrong = (labels["label"] != labels["code"]).to_numpy()
        wrong = set(np.array(ids(len(labels)))[is_wrong])
        of_people = built.rows[built.rows["labelled_by"] != ""]
        is_entered = of_people["id"].str.removeprefix(JOB_PREFIX).isin(wrong)
        is_tested = of_people["part"] == "test"
        rows = built.part("test", text=True)
        codes, is_labelled = rows["code"].to_numpy(np.int64), labelled_answers(rows)
        both = self.champion.answers(rows), model.answers(rows)
        overlap = Overlap.of(self.champion.categories, model.categories)
        verdicts = [
            judge_parts(codes, *both, is_labelled, overlap, rule, TOLERANCE) for rule in _rules()
        ]
        return replace(
            line,
            learnt=int((is_entered & ~is_tested).sum()),
            tested=int((is_entered & is_tested).sum()),
            right=int((~is_entered).sum()),
            verdict=verdicts[0]["outcome"],
            verdict_after_change=verdicts[1]["outcome"],
            sentences=tuple(verdict["sentence"] for verdict in verdicts),
        )


def _rules() -> tuple[Rule, Rule]:
    """Return the rule while nothing has changed, and that after an alert about a change."""
    settings = TrainerSettings()
    return (
        Rule(settings.promotion_margin, settings.promotion_confidence),
        Rule(
            settings.promotion_margin,
            settings.promotion_confidence_after_change,
            settings.promotion_probability_after_change,
        ),
    )


def _shown(line: Line) -> Line:
    target = "" if line.target_f1 is None else f"{line.target_f1:.4f}"
    print(
        f"{line.attack:<38}{line.guards:>12}{line.learnt:>7}{line.tested:>8}{line.right:>7}"
        f"{line.f1:>9.4f}{target:>9}  {line.verdict:<12}{line.verdict_after_change}",
        flush=True,
    )
    return line


if __name__ == "__main__":
    run_command(main)
