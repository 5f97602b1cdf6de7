"""Compare forms of the n-gram model with exact n-grams of scikit-learn, on the same rows.

    python -m tests.bench.quality.ngrams --data ../shared/data/rakuten

Prints weighted F1 on `validation` and `test` with its 95 % interval (bootstrap over the rows), the
difference from the reference on both together, the size of the table in 8 bits, and the time to
fit as a ratio. Nothing is fitted or chosen on these rows.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC

from shared.inference.manifest import Ngrams
from tests.bench.commands import run_command
from trainer.candidates.protocols import FitContext, Labels
from trainer.candidates.text import linear
from trainer.candidates.text.ngrams import FILE, NgramSettings, TextNgrams
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingSettings
from trainer.pipeline.text.stage import prepared_texts

Targets = NDArray[np.int64]
Fit = Callable[[], tuple[Targets, float]]

RESAMPLES = 1000
#: More n-grams than any text has.
ALL = 10**9


@dataclass(frozen=True)
class Material:
    """Prepared texts and targets by part: `fit`, `validation`, `test`."""

    texts: dict[str, list[str]]
    targets: dict[str, Targets]
    labels: Labels


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/rakuten"))
    options = parser.parse_args()
    material = _material(load(options.data))
    judged = np.concatenate([material.targets[part] for part in ("validation", "test")])
    sizes = len(material.targets["validation"])
    print(f"{'form':<44}{'validation':>12}{'test':>24}{'difference':>26}{'MB':>7}{'time':>7}")
    reference: tuple[Targets, float] | None = None
    for name, fit in _forms(material):
        started = time.process_time()
        predicted, megabytes = fit()
        seconds = time.process_time() - started
        reference = reference or (predicted, seconds)
        test = _interval(judged[sizes:], predicted[sizes:])
        difference = _difference(judged, predicted, reference[0])
        print(
            f"{name:<44}{_f1(judged[:sizes], predicted[:sizes]):>12.4f}{test:>24}{difference:>26}"
            f"{megabytes:>7.1f}{seconds / reference[1]:>7.2f}",
            flush=True,
        )
    return 0


def _forms(material: Material) -> Sequence[tuple[str, Fit]]:
    default = NgramSettings()
    wider = replace(default, form=replace_buckets(default.form, 2**18))
    return (
        ("scikit-learn: exact, 500,000 n-grams", lambda: _exact(material)),
        ("hashed, all n-grams", lambda: _hashed(material, replace(default, columns=ALL))),
        *(
            (
                f"hashed, heaviest {columns:,}",
                lambda columns=columns: _hashed(material, replace(default, columns=columns)),
            )
            for columns in (15_000, 30_000, 60_000, 120_000)
        ),
        ("2^18 buckets, heaviest 30,000", lambda: _hashed(material, wider)),
        ("30,000 by chi-squared alone", lambda: _by_association(material, 30_000)),
        ("softmax, 30,000 by chi-squared", lambda: _by_association(material, 30_000, exact=False)),
    )


def replace_buckets(form: Ngrams, buckets: int) -> Ngrams:
    """Return the same n-grams in another number of buckets."""
    return form.model_copy(update={"buckets": buckets})


def _material(data: Dataset) -> Material:
    rows = {
        "fit": data.part("train", "weak", text=True),
        "validation": data.part("validation", text=True),
        "test": data.part("test", text=True),
    }
    targets = {name: data.targets(part) for name, part in rows.items()}
    is_weak = rows["fit"]["part"] == "weak"
    weights = np.where(is_weak, TrainingSettings.weak_weight, 1.0).astype(np.float32)
    return Material(
        {name: prepared_texts(part) for name, part in rows.items()},
        targets,
        Labels(targets["fit"], weights, len(data.categories)),
    )


def _exact(material: Material) -> tuple[Targets, float]:
    forms = (
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=250_000),
        TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=(2, 5),
            sublinear_tf=True,
            min_df=2,
            max_features=250_000,
        ),
    )
    fitted = sparse.hstack([form.fit_transform(material.texts["fit"]) for form in forms])
    machine = LinearSVC(C=0.5, max_iter=300, random_state=0)
    machine.fit(fitted.tocsr(), material.targets["fit"], sample_weight=material.labels.weights)
    judged = material.texts["validation"] + material.texts["test"]
    rows = sparse.hstack([form.transform(judged) for form in forms])
    return machine.predict(rows.tocsr()), machine.coef_.size / 1e6


def _hashed(material: Material, settings: NgramSettings) -> tuple[Targets, float]:
    candidate = TextNgrams(settings)
    context = FitContext(0, None, "int8", lambda _: None, lambda *_: None)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        candidate.fit(material.texts["fit"], material.labels, place, place, context)
        scores = candidate.predict(material.texts["validation"] + material.texts["test"], place)
        with np.load(place / FILE) as kept:
            size = kept["planes"].size
    return scores.argmax(axis=1), size / 1e6


def _by_association(
    material: Material, columns: int, *, exact: bool = True
) -> tuple[Targets, float]:
    settings = NgramSettings(columns=ALL, weights=columns * material.labels.classes)
    if exact:
        return _hashed(material, settings)
    steps = linear.MOST_STEPS_OF_A_MACHINE
    linear.MOST_STEPS_OF_A_MACHINE = 0
    try:
        return _hashed(material, settings)
    finally:
        linear.MOST_STEPS_OF_A_MACHINE = steps


def _f1(targets: Targets, predicted: Targets) -> float:
    return float(f1_score(targets, predicted, average="weighted", zero_division=0))


def _interval(targets: Targets, predicted: Targets) -> str:
    found = [_f1(targets[rows], predicted[rows]) for rows in _resamples(len(targets))]
    low, high = np.quantile(found, (0.025, 0.975))
    return f"{_f1(targets, predicted):.4f} [{low:.3f}, {high:.3f}]"


def _difference(targets: Targets, predicted: Targets, reference: Targets) -> str:
    found = [
        _f1(targets[rows], predicted[rows]) - _f1(targets[rows], reference[rows])
        for rows in _resamples(len(targets))
    ]
    low, high = np.quantile(found, (0.025, 0.975))
    whole = _f1(targets, predicted) - _f1(targets, reference)
    return f"{whole:+.4f} [{low:+.4f}, {high:+.4f}]"


def _resamples(rows: int) -> Sequence[Targets]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, rows, rows) for _ in range(RESAMPLES)]


if __name__ == "__main__":
    run_command(main)
