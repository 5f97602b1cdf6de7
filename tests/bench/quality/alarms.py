"""False and missed drift alerts, and estimated F1 compared with the true F1.

    make alarms DATA=folder

Held-out products, on which no model of the release was fitted, are divided at random into a
reference and a window, 50 times for each size: there is no drift, so each alert is a false one.
Then windows of shifted products are compared with the reference of the release.
"""

import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from infra.acceptance.client import save
from infra.acceptance.products import dataset
from shared.contracts import Modality
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.shifts import IMAGE_SHIFTS, TEXT_SHIFTS, mixed
from tests.bench.starter import STARTER
from trainer.datasets.folder import Dataset
from trainer.monitoring.drift.measure import Limits, measure
from trainer.monitoring.performance.cbpe import estimated_f1
from trainer.monitoring.performance.known import known_answers
from trainer.monitoring.performance.shift import Known, corrected, shift_of
from trainer.reference.build import HELD_OUT, MOST_PRODUCTS, other_rows, reference_rows, scored
from trainer.reference.sample import Products, Sample
from trainer.release.loaded import LoadedRelease, release_digest

SIZES = (200, 1_000, 5_000)
WINDOWS, SHIFTED_WINDOWS = 50, 10
#: Rows of a window of which F1 is estimated, and fewest that make one.
ESTIMATED_ROWS, LEAST = 1_000, 100
#: Shifted products that are scored for windows; images take most of the time.
SHIFTED = 1_200
#: Folder of the scores, which later runs read again.
CACHE = Path("var/bench")


def main() -> int:
    """Measure, and return 1 if a size has more than one false alert."""
    parser = dataset_parser(__doc__)
    parser.add_argument(
        "--release",
        type=Path,
        default=STARTER,
        help="folder of a release (default: the starter release)",
    )
    args = parser.parse_args()
    bench = Bench(dataset(args.data), args.release)
    found = {
        "false_alarms": bench.false_alarms(),
        "due_alarms": bench.due_alarms(),
        "estimates": bench.estimates(),
    }
    save("alarms", found)
    worst = max(line["alarms"] for line in found["false_alarms"])
    return 0 if worst <= 1 else 1


class Bench:
    """Measurements of one release on one dataset, with a cache of the scores in `var/bench`."""

    def __init__(self, data: Dataset, folder: Path) -> None:
        self.data = data
        self.release = LoadedRelease.load(folder)
        self.categories = self.release.manifest.category_set
        self.limits = Limits()
        reference = Sample.load(folder)
        if reference is None:
            raise SystemExit(
                f"Expected a drift reference in {folder}. Received: none; add it with "
                f"python -m trainer reference {folder} DATA"
            )
        self.reference = reference
        self._cache = CACHE / f"{release_digest(folder)[:12]}-{data.fingerprint[:12]}"

    def false_alarms(self) -> list[dict[str, Any]]:
        """Compare windows with references of the same products, and count false alerts."""
        held_out = self._scored("held", self.data.part(*HELD_OUT))
        generator = np.random.default_rng(0)
        print(f"\n{WINDOWS} windows of each size without drift")
        lines = []
        for size in SIZES:
            moved = [
                self._moved(
                    held_out.sample(order[:MOST_PRODUCTS]), held_out.sample(order[MOST_PRODUCTS:])
                )
                for order in (
                    generator.permutation(len(held_out.texts))[: MOST_PRODUCTS + size]
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
                f"  {size:>5} products: drift in {sum(map(bool, moved))} windows "
                f"{line['moved'] or ''}, false alerts (two windows in a row) {line['alarms']}",
                flush=True,
            )
        return lines

    def due_alarms(self) -> list[dict[str, Any]]:
        """Compare windows of shifted products with the reference of the release."""
        print(f"\n{SHIFTED_WINDOWS} windows of each size with drift")
        rows = other_rows(self.data)
        generator = np.random.default_rng(1)
        lines = []
        for name, products in self._shifted(rows).items():
            for size in SIZES[:2]:
                kinds = Counter[str]()
                found = 0
                for _ in range(SHIFTED_WINDOWS):
                    chosen = generator.permutation(len(products.texts))[:size]
                    moved = self._moved(self.reference, products.sample(chosen))
                    kinds.update(moved)
                    found += bool(moved)
                lines.append({"change": name, "rows": size, "found": found, "kinds": dict(kinds)})
                print(
                    f"  {name:<12}{size:>5} products: detected in {found}, {dict(kinds)}",
                    flush=True,
                )
        return lines

    def estimates(self) -> list[dict[str, Any]]:
        """Compare the estimated with the true F1, in windows of `test` rows outside the reference.

        `plain` is the error of confidences alone, `error` that of the corrected estimates that were
        made, `held` the share of their intervals that hold the true F1.
        """
        print(
            f"\nEstimated and true F1, windows of at most {ESTIMATED_ROWS} officially labelled rows"
        )
        rows = self.data.part("test")
        rows = rows.drop(index=rows.index.intersection(reference_rows(self.data).index))
        known = known_answers(self.reference, len(self.categories), self.release.fusion, "fusion")
        generator = np.random.default_rng(2)
        lines = []
        for name, products, labelled in self._labelled(rows):
            targets = self.data.targets(labelled)
            for modality, scores in _probabilities(products, self.release).items():
                present = np.flatnonzero(~np.isnan(scores[:, 0]))
                if modality not in known or len(present) < LEAST or not _affects(name, modality):
                    continue
                drawn = [
                    generator.permutation(present)[:ESTIMATED_ROWS] for _ in range(SHIFTED_WINDOWS)
                ]
                windows = [_estimated(known[modality], scores[one], targets[one]) for one in drawn]
                lines.append({"change": name, "modality": modality, **_summary(windows)})
                print(_estimate_line(lines[-1]), flush=True)
        made = sum(line["made"] for line in lines)
        held = sum(line["made"] * (line["held"] or 0.0) for line in lines)
        print(f"  {made} estimates, {held / max(made, 1):.1%} of the intervals hold the true F1")
        return lines

    def _moved(self, reference: Sample, window: Sample) -> set[str]:
        found = measure(reference, window, self.categories, self.limits)
        return {kind for kind, drift in found.items() if drift.has_moved(self.limits)}

    def _shifted(self, rows: pd.DataFrame) -> dict[str, Products]:
        unchanged = self._scored("others", rows)
        popular = mixed(rows, SHIFTED, seed=0)
        places = rows.index.get_indexer(popular.index)
        some = rows.sample(SHIFTED, random_state=0)
        return {
            "other mix": _rows_of(unchanged, places),
            **{
                name: self._scored(f"others-{name}", shift(some))
                for name, shift in TEXT_SHIFTS.items()
            },
            **{
                name: self._scored(f"others-{name}", some, shift)
                for name, shift in IMAGE_SHIFTS.items()
            },
        }

    def _labelled(self, rows: pd.DataFrame) -> list[tuple[str, Products, pd.DataFrame]]:
        unchanged = self._scored("rest", rows)
        popular = mixed(rows, SHIFTED, seed=0)
        places = rows.index.get_indexer(popular.index)
        with_image = rows[rows["image"] != ""]
        found = [
            ("unchanged", unchanged, rows),
            ("other mix", _rows_of(unchanged, places), popular),
        ]
        for name, text_shift in TEXT_SHIFTS.items():
            found.append((name, self._scored(f"rest-{name}", text_shift(rows)), rows))
        for name, image_shift in IMAGE_SHIFTS.items():
            found.append((name, self._scored(f"rest-{name}", with_image, image_shift), with_image))
        return found

    def _scored(
        self, name: str, rows: pd.DataFrame, shift: Callable[[bytes], bytes] | None = None
    ) -> Products:
        path = self._cache / f"{name}.pickle"
        if path.exists():
            cached: Products = pickle.loads(path.read_bytes())
            return cached
        print(f"  scoring {len(rows)} products: {name}", flush=True)
        data = self.data
        if shift is not None:
            rows = rows.assign(image=self._write_images(name, rows, shift))
        found = scored(self.release, data, rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
        return found

    def _write_images(
        self, name: str, rows: pd.DataFrame, shift: Callable[[bytes], bytes]
    ) -> list[str]:
        """Write shifted images to a folder; return their paths, empty for rows without one."""
        folder = self._cache / f"{name}-images"
        folder.mkdir(parents=True, exist_ok=True)
        references = []
        for place, reference in enumerate(rows["image"]):
            path = folder / f"{place}.jpg"
            if reference:
                path.write_bytes(shift(self.data.read_image(reference)))
            references.append(str(path) if reference else "")
        return references


@dataclass(frozen=True)
class _Window:
    """Estimate of a window; `error` and `holds` are `None` if F1 cannot be estimated."""

    true: float
    plain: float
    error: float | None
    holds: bool | None
    reason: str | None


def _estimated(known: Known, scores: NDArray[np.float64], targets: NDArray[np.int64]) -> _Window:
    true = float(f1_score(targets, scores.argmax(axis=1), average="weighted"))
    plain, shift = estimated_f1(scores), shift_of(known, scores)
    if shift is None or shift.reason is not None:
        reason = None if shift is None else shift.reason
        return _Window(true, plain.f1 - true, None, None, reason)
    found = corrected(plain, shift)
    holds = found.low <= true <= found.high
    return _Window(true, plain.f1 - true, found.f1 - true, holds, None)


def _summary(windows: Sequence[_Window]) -> dict[str, Any]:
    made = [window for window in windows if window.error is not None]
    errors = [window.error or 0.0 for window in made]
    return {
        "windows": len(windows),
        "true": round(float(np.mean([window.true for window in windows])), 4),
        "plain": round(float(np.mean([window.plain for window in windows])), 4),
        "made": len(made),
        "error": round(float(np.mean(errors)), 4) if made else None,
        "held": round(float(np.mean([window.holds for window in made])), 3) if made else None,
        "reasons": dict(Counter(str(one.reason) for one in windows if one.reason)),
    }


def _estimate_line(line: Mapping[str, Any]) -> str:
    made = (
        f"error {line['error']:+.4f}, held {line['held']:.0%}, "
        if line["made"]
        else "no estimate, "
    )
    share = 1 - line["made"] / line["windows"]
    return (
        f"  {line['change']:<12}{line['modality']:<8}true {line['true']:.4f}  plain "
        f"{line['plain']:+.4f}  {made}cannot be estimated {share:.0%} {line['reasons'] or ''}"
    )


def _rows_of(products: Products, places: NDArray[np.int64]) -> Products:
    """Return the products at some positions."""
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


def _probabilities(products: Products, release: LoadedRelease) -> Mapping[str, NDArray[np.float64]]:
    """Return the probabilities by modality, and of the fusion for products with both."""
    found = {modality.value: scores for modality, scores in products.scores.items()}
    if release.fusion is not None:
        text, image = (products.scores[modality] for modality in Modality)
        both = ~np.isnan(text[:, 0]) & ~np.isnan(image[:, 0])
        found["fusion"] = np.full(text.shape, np.nan)
        found["fusion"][both] = release.fusion.combine(
            text[both].astype(np.float32), image[both].astype(np.float32)
        )
    return found


def _affects(shift: str, modality: str) -> bool:
    """Return True if a shift can affect a modality."""
    unaffected: dict[str, Container[str]] = {"text": IMAGE_SHIFTS, "image": TEXT_SHIFTS}
    return shift not in unaffected.get(modality, {})


if __name__ == "__main__":
    run_command(main)
