"""Compare ways to tell foreign products: those that belong to none of a shop's categories.

    python -m tests.bench.quality.foreign --data ../shared/data/rakuten

Two tables. *Made-up shops*: the starter release answers products of `tests/support`
(`foreign_products.toml`: car parts, medicines, clothes), beside those of the part `test`.
*Categories left out*: a linear model on words learns all categories but a fifth, five times, and
answers the products of the others; this is harder, because they are from the same shop.

Each threshold keeps 95 % of the `validation` products; nothing is chosen on `test`. Columns: area
under the ROC curve; share of known `test` products that are kept; share of foreign products that
are accepted.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from shared.inference.preparation.text import product_text
from shared.inference.releases.novelty import FOREIGN_FROM, SMALLEST
from tests.bench.commands import run_command
from tests.support.foreign_products import foreign_products
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.loaded import TEXT_BATCH, LoadedRelease
from trainer.starter import STARTER

Floats = NDArray[np.float64]
Targets = NDArray[np.int64]

PER_DOMAIN = 250
FOLDS = 5
#: Buckets of the words of the linear model.
BUCKETS = 2**18
_WORD = re.compile(r"[^\W\d]{2,}")


@dataclass(frozen=True)
class Products:
    """Texts of some products, and the probabilities of a model, shape `(products, classes)`."""

    texts: Sequence[str]
    probabilities: Floats


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/rakuten"))
    options = parser.parse_args()
    data = load(options.data)
    fitted = prepared_texts(data.part("train", "weak", text=True))
    seen = Counter(word for text in fitted for word in set(_WORD.findall(text)))
    methods = _methods(seen, len(fitted))
    _made_up(data, methods)
    _left_out(data, methods)
    return 0


Method = Callable[[Products], Floats]


def _methods(seen: Counter[str], products: int) -> Mapping[str, Method]:
    """Return the methods; a higher value is more foreign.

    Args:
        seen: Number of the products that a model learnt from, by word.
        products: Number of those products.
    """

    def unseen(text: str) -> float:
        words = set(_WORD.findall(text))
        return float(np.mean([seen[word] == 0 for word in words])) if words else 0.0

    def rarity(text: str) -> float:
        words = set(_WORD.findall(text))
        logs = [np.log(products / (seen[word] + 0.5)) for word in words]
        return float(np.mean(logs)) if logs else 0.0

    return {
        "1 - largest probability": lambda one: 1 - one.probabilities.max(axis=1),
        "1 - lead over the second": lambda one: 1 - _lead(one.probabilities),
        "entropy": lambda one: -(one.probabilities * _logs(one.probabilities)).sum(axis=1),
        "Rényi entropy of order 0.5": lambda one: np.sqrt(one.probabilities).sum(axis=1),
        "generalised entropy, 0.1": lambda one: _generalised(one.probabilities),
        "mean log-probability (chosen)": lambda one: _logs(one.probabilities).mean(axis=1),
        "share of unseen words": lambda one: np.array([unseen(text) for text in one.texts]),
        "mean rarity of the words": lambda one: np.array([rarity(text) for text in one.texts]),
    }


def _made_up(data: Dataset, methods: Mapping[str, Method]) -> None:
    release = LoadedRelease.load(STARTER)
    assert release.text is not None
    known = {
        part: _scored(release, prepared_texts(data.part(part, text=True)))
        for part in ("validation", "test")
    }
    made_up = list(foreign_products(PER_DOMAIN))
    domains = np.array([one.domain for one in made_up])
    texts = [product_text(one.designation, one.description) for one in made_up]
    foreign = _scored(release, texts)
    print(f"Made-up shops, {len(texts):,} products, beside {len(known['test'].texts):,}")
    print(f"{'':<32}{'AUROC':>7}{'kept':>7}{'accepted':>10}", end="")
    names = list(dict.fromkeys(domains.tolist()))
    print("".join(f"{name:>13}" for name in names))
    for name, method in methods.items():
        kept, values = method(known["test"]), method(foreign)
        limit = np.quantile(method(known["validation"]), FOREIGN_FROM)
        shares = [float((values[domains == one] < limit).mean()) for one in names]
        print(_line(name, kept, values, limit) + "".join(f"{share:>13.2f}" for share in shares))


def _left_out(data: Dataset, methods: Mapping[str, Method]) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for known, foreign in _folds(data):
        for name, method in methods.items():
            kept, values = method(known["test"]), method(foreign)
            limit = float(np.quantile(method(known["validation"]), FOREIGN_FROM))
            found[name].append(_figures(kept, values, limit))
    print(f"\nCategories left out, mean of {FOLDS} fits (lowest and highest area)")
    for name, figures in found.items():
        area, kept, accepted = np.mean(figures, axis=0)
        areas = [one[0] for one in figures]
        spread = f"{min(areas):.3f} to {max(areas):.3f}"
        print(f"{name:<32}{area:>7.3f}{kept:>7.3f}{accepted:>10.3f}   {spread}")


def _folds(data: Dataset) -> Iterator[tuple[dict[str, Products], Products]]:
    """Yield the known products of `validation` and `test`, and the foreign ones of `test`."""
    rows = {part: data.part(part, text=True) for part in ("train", "validation", "test")}
    texts = {part: np.array(prepared_texts(found), object) for part, found in rows.items()}
    targets = {part: data.targets(found) for part, found in rows.items()}
    words = make_pipeline(
        HashingVectorizer(ngram_range=(1, 2), n_features=BUCKETS, alternate_sign=False, norm=None),
        TfidfTransformer(sublinear_tf=True),
    ).fit(texts["train"])
    inputs = {part: words.transform(found) for part, found in texts.items()}
    order = np.random.default_rng(0).permutation(len(data.categories))
    for left_out in np.array_split(order, FOLDS):
        is_known = {part: ~np.isin(found, left_out) for part, found in targets.items()}
        machine = LinearSVC(C=0.5, random_state=0)
        machine.fit(inputs["train"][is_known["train"]], targets["train"][is_known["train"]])
        logits = {part: machine.decision_function(inputs[part]) for part in ("validation", "test")}
        checked = is_known["validation"]
        columns = np.searchsorted(machine.classes_, targets["validation"][checked])
        sharpness = _sharpness(logits["validation"][checked], columns)
        scored = {part: _softmax(found * sharpness) for part, found in logits.items()}
        known = {
            part: Products(texts[part][is_known[part]].tolist(), found[is_known[part]])
            for part, found in scored.items()
        }
        others = ~is_known["test"]
        yield known, Products(texts["test"][others].tolist(), scored["test"][others])


def _scored(release: LoadedRelease, texts: Sequence[str]) -> Products:
    assert release.text is not None
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.zeros((len(texts), len(release.manifest.categories)))
    for start in range(0, len(texts), TEXT_BATCH):
        chosen = order[start : start + TEXT_BATCH]
        found[chosen] = release.text.score([texts[place] for place in chosen])
    return Products(texts, found)


def _line(name: str, known: Floats, foreign: Floats, limit: float) -> str:
    area, kept, accepted = _figures(known, foreign, limit)
    return f"{name:<32}{area:>7.3f}{kept:>7.3f}{accepted:>10.3f}"


def _figures(known: Floats, foreign: Floats, limit: float) -> tuple[float, float, float]:
    is_foreign = np.concatenate([np.zeros(len(known)), np.ones(len(foreign))])
    area = float(roc_auc_score(is_foreign, np.concatenate([known, foreign])))
    return area, float((known < limit).mean()), float((foreign < limit).mean())


def _sharpness(logits: Floats, targets: Targets) -> float:
    """Return the factor of the logits with the lowest log loss."""

    def loss(log_factor: float) -> float:
        probabilities = _softmax(logits * np.exp(log_factor))
        return -float(_logs(probabilities)[np.arange(len(targets)), targets].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded").x))


def _softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def _logs(probabilities: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probabilities, SMALLEST))
    return logs


def _lead(probabilities: Floats) -> Floats:
    first, second = np.sort(probabilities, axis=1)[:, :-3:-1].T
    lead: Floats = first - second
    return lead


def _generalised(probabilities: Floats) -> Floats:
    # Liu, Lochman and Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
    # Detection" (2023).
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    entropies: Floats = ((clipped * (1 - clipped)) ** 0.1).sum(axis=1)
    return entropies


if __name__ == "__main__":
    run_command(main)
