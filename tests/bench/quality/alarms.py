"""False alarms, alarms that are due, and F1 without labels beside the true one.

    make alarms DATA=folder [RELEASE=folder]

Held-out products, that no model of the release was fitted on, are parted by chance into a reference
and a window, 50 times for each size: nothing moved, so every alarm is a false one. Then windows of
products that were changed are compared with the reference that the release carries.
"""

import argparse
import itertools
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from infra.acceptance.client import save
from infra.acceptance.products import dataset
from shared.contracts import Modality
from tests.bench.quality.shifts import OF_IMAGES, OF_TEXTS, mixed
from trainer.datasets.folder import Dataset
from trainer.monitoring.drift.measure import Limits, measure
from trainer.monitoring.performance.cbpe import estimated_f1
from trainer.reference.build import HELD_OUT, MOST_PRODUCTS, other_rows, scored
from trainer.reference.sample import Products, Sample
from trainer.release.loaded import LoadedRelease, release_digest

SIZES = (200, 1_000, 5_000)
WINDOWS, DRIFTED_WINDOWS = 50, 10
#: Changed products that are scored for windows; images take most of the time.
CHANGED = 1_200
STARTER = Path("infra/starter_release")
KEPT = Path("var/bench")


def main() -> int:
    """Measure all three; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--release", type=Path, default=STARTER)
    given = parser.parse_args()
    bench = Bench(dataset(given.data), given.release)
    found = {
        "false_alarms": bench.false_alarms(),
        "due_alarms": bench.due_alarms(),
        "estimates": bench.estimates(),
    }
    save("alarms", found)
    worst = max(line["alarms"] for line in found["false_alarms"])
    return 0 if worst <= 1 else 1


class Bench:
    """One release on one dataset; what is scored is kept in `var/bench`."""

    def __init__(self, data: Dataset, folder: Path) -> None:
        self.data = data
        self.release = LoadedRelease.load(folder)
        self.categories = self.release.manifest.category_set
        self.limits = Limits()
        reference = Sample.load(folder)
        if reference is None:
            raise SystemExit(
                f"{folder} has no reference: python -m trainer reference {folder} DATA"
            )
        self.reference = reference
        self._kept = KEPT / f"{release_digest(folder)[:12]}-{data.fingerprint[:12]}"

    def false_alarms(self) -> list[dict[str, Any]]:
        """Windows of each size out of the same products as their references."""
        held = self._scored("held", self.data.part(*HELD_OUT))
        generator = np.random.default_rng(0)
        print(f"\n{WINDOWS} windows of each size in which nothing moved")
        lines = []
        for size in SIZES:
            moved = [
                self._moved(held.sample(order[:MOST_PRODUCTS]), held.sample(order[MOST_PRODUCTS:]))
                for order in (
                    generator.permutation(len(held.texts))[: MOST_PRODUCTS + size]
                    for _ in range(WINDOWS)
                )
            ]
            pairs = itertools.pairwise(moved)
            line = {
                "rows": size,
                "windows": WINDOWS,
                "moved": dict(Counter(kind for kinds in moved for kind in kinds)),
                "alarms": sum(bool(first & second) for first, second in pairs),
            }
            lines.append(line)
            print(
                f"  {size:>5} products: something moved in {sum(map(bool, moved))} windows "
                f"{line['moved'] or ''}, false alarms (two in a row) {line['alarms']}",
                flush=True,
            )
        return lines

    def due_alarms(self) -> list[dict[str, Any]]:
        """Windows of changed products, against the release's own reference."""
        print(f"\n{DRIFTED_WINDOWS} windows of each size in which something moved")
        rows = other_rows(self.data)
        generator = np.random.default_rng(1)
        lines = []
        for name, products in self._changed(rows).items():
            for size in SIZES[:2]:
                kinds = Counter[str]()
                found = 0
                for _ in range(DRIFTED_WINDOWS):
                    chosen = generator.permutation(len(products.texts))[:size]
                    moved = self._moved(self.reference, products.sample(chosen))
                    kinds.update(moved)
                    found += bool(moved)
                lines.append({"change": name, "rows": size, "found": found, "kinds": dict(kinds)})
                print(
                    f"  {name:<12}{size:>5} products: found in {found}, {dict(kinds)}", flush=True
                )
        return lines

    def estimates(self) -> list[dict[str, Any]]:
        """F1 estimated from probabilities beside the F1 of the labels, on the `test` rows."""
        print("\nF1 without labels beside the true one, of rows with official labels")
        rows = self.data.part("test")
        lines = []
        for name, products, labelled in self._estimated(rows):
            targets = self.data.targets(labelled)
            for modality, scores in _asked(products, self.release).items():
                there = ~np.isnan(scores[:, 0])
                if there.sum() < 50 or not _concerns(name, modality):
                    continue
                estimate = estimated_f1(scores[there])
                true = f1_score(targets[there], scores[there].argmax(axis=1), average="weighted")
                line = {
                    "change": name,
                    "modality": modality,
                    "rows": int(there.sum()),
                    "true": round(float(true), 4),
                    "estimated": round(estimate.f1, 4),
                    "error": round(estimate.f1 - float(true), 4),
                }
                lines.append(line)
                print(
                    f"  {name:<12}{modality:<8}{line['rows']:>5} rows  true {line['true']:.4f}  "
                    f"estimated {line['estimated']:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]  "
                    f"error {line['error']:+.4f}",
                    flush=True,
                )
        return lines

    def _moved(self, reference: Sample, window: Sample) -> set[str]:
        found = measure(reference, window, self.categories, self.limits)
        return {kind for kind, one in found.items() if one.has_moved(self.limits)}

    def _changed(self, rows: pd.DataFrame) -> dict[str, Products]:
        unchanged = self._scored("others", rows)
        popular = mixed(rows, CHANGED, seed=0)
        places = rows.index.get_indexer(popular.index)
        some = rows.sample(CHANGED, random_state=0)
        return {
            "other mix": _taken(unchanged, places),
            **{
                name: self._scored(f"others-{name}", change(some))
                for name, change in OF_TEXTS.items()
            },
            **{
                name: self._scored(f"others-{name}", some, change)
                for name, change in OF_IMAGES.items()
            },
        }

    def _estimated(self, rows: pd.DataFrame) -> list[tuple[str, Products, pd.DataFrame]]:
        unchanged = self._scored("test", rows)
        popular = mixed(rows, CHANGED, seed=0)
        places = rows.index.get_indexer(popular.index)
        shown = rows[rows["image"] != ""]
        found = [
            ("unchanged", unchanged, rows),
            ("other mix", _taken(unchanged, places), popular),
        ]
        for name, change in OF_TEXTS.items():
            found.append((name, self._scored(f"test-{name}", change(rows)), rows))
        for name, of_image in OF_IMAGES.items():
            found.append((name, self._scored(f"test-{name}", shown, of_image), shown))
        return found

    def _scored(
        self, name: str, rows: pd.DataFrame, change: Callable[[bytes], bytes] | None = None
    ) -> Products:
        path = self._kept / f"{name}.pickle"
        if path.exists():
            kept: Products = pickle.loads(path.read_bytes())
            return kept
        print(f"  scoring {len(rows)} products: {name}", flush=True)
        data = self.data
        if change is not None:
            rows = rows.assign(image=self._written(name, rows, change))
        found = scored(self.release, data, rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
        return found

    def _written(
        self, name: str, rows: pd.DataFrame, change: Callable[[bytes], bytes]
    ) -> list[str]:
        folder = self._kept / f"{name}-images"
        folder.mkdir(parents=True, exist_ok=True)
        references = []
        for place, reference in enumerate(rows["image"]):
            path = folder / f"{place}.jpg"
            if reference:
                path.write_bytes(change(self.data.read_image(reference)))
            references.append(str(path) if reference else "")
        return references


def _taken(products: Products, places: NDArray[np.int64]) -> Products:
    """Some products, as products."""
    numbers = products.described.numbers[places]
    languages = [products.described.languages[place] for place in places]
    return Products(
        texts=[products.texts[place] for place in places],
        described=replace(products.described, numbers=numbers, languages=languages),
        images={
            new: products.images[old]
            for new, old in enumerate(places.tolist())
            if old in products.images
        },
        scores={modality: scores[places] for modality, scores in products.scores.items()},
        answers=products.answers[places],
    )


def _asked(products: Products, release: LoadedRelease) -> Mapping[str, NDArray[np.float64]]:
    """Probabilities by what was asked for; `fusion` where a product has both."""
    found = {modality.value: scores for modality, scores in products.scores.items()}
    if release.fusion is not None:
        text, image = (products.scores[modality] for modality in Modality)
        both = ~np.isnan(text[:, 0]) & ~np.isnan(image[:, 0])
        found["fusion"] = np.full(text.shape, np.nan)
        found["fusion"][both] = release.fusion.combine(
            text[both].astype(np.float32), image[both].astype(np.float32)
        )
    return found


def _concerns(change: str, modality: str) -> bool:
    """Return True if a change can affect a modality."""
    untouched: dict[str, Container[str]] = {"text": OF_IMAGES, "image": OF_TEXTS}
    return change not in untouched.get(modality, {})


if __name__ == "__main__":
    sys.exit(main())
