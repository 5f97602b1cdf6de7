"""Self-check of an export: an exported part must answer as the fitted one, or takes a finer form.

Weights in 8 bits suit most models, and not all: a column with one weight far above the others
loses the others. So each part is compared with the fitted one on held-out rows, and is written
again in half or full precision if they differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from trainer.candidates.onnx.graph import Storage, and_finer

Floats = NDArray[np.float32]
Written = TypeVar("Written")

#: Largest difference of weighted F1 between an exported and a fitted part.
LARGEST_DIFFERENCE = 0.005
#: Smallest share of rows with the same most likely category.
LEAST_AGREEMENT = 0.99
#: Most rows of a comparison, spread over the held-out rows: 1 % of them is ten rows.
MOST_ROWS = 1000


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows of a part.

    Attributes:
        fitted: Probabilities of the fitted part, shape `(rows, classes)`.
        targets: Column numbers of the true categories, shape `(rows,)`.
        score: Called with the release folder and the part's entry in the manifest; returns the
            probabilities of the exported part, shape `(rows, classes)`.
    """

    fitted: Floats
    targets: NDArray[np.int64]
    score: Callable[[Path, Any], Floats]


@dataclass(frozen=True)
class Form:
    """The number format in which a part ships, and its agreement with the fitted part.

    Attributes:
        part: `text`, `image` or `fusion`.
        rows: Number of compared rows.
        agreement: Share of them with the same most likely category.
        fitted_f1: Weighted F1 of the fitted part.
        exported_f1: Weighted F1 of the exported part.
    """

    part: str
    storage: Storage
    rows: int
    agreement: float
    fitted_f1: float
    exported_f1: float

    @property
    def agrees(self) -> bool:
        """True if the part may ship in this form."""
        difference = abs(self.exported_f1 - self.fitted_f1)
        return self.agreement >= LEAST_AGREEMENT and difference <= LARGEST_DIFFERENCE

    def sentence(self) -> str:
        """Return the comparison as a sentence."""
        return (
            f"{self.part} in {self.storage}: {self.agreement:.1%} of {self.rows} held-out rows get "
            f"the category of the fitted model; F1 {self.exported_f1:.4f}, fitted "
            f"{self.fitted_f1:.4f}"
        )

    def figures(self) -> dict[str, float]:
        """Return the figures by name, such as `export_text_agreement`."""
        named = {"agreement": self.agreement, "f1": self.exported_f1, "fitted_f1": self.fitted_f1}
        return {f"export_{self.part}_{name}": value for name, value in named.items()}

    def record(self) -> dict[str, Any]:
        """Return the form as plain JSON values."""
        return asdict(self)


def spread(rows: int) -> NDArray[np.int64]:
    """Return the positions of at most `MOST_ROWS` rows, spread evenly over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_ROWS)).astype(np.int64))


def write_agreeing(
    part: str,
    release: Path,
    storage: Storage,
    write: Callable[[Storage], Written],
    held: HeldOut | None,
    log_line: Callable[[str], None],
) -> tuple[Written, Form | None]:
    """Write a part in the smallest form, from `storage` on, that agrees with the fitted one.

    If not even full precision agrees, that is written: the acceptance test states the difference.

    Args:
        part: `text`, `image` or `fusion`.
        release: Folder of the release, into which `write` writes.
        storage: The form to try first.
        write: Writes the part in a form and returns its entry in the manifest; called again for a
            finer form.
        held: Held-out rows; `None` writes the first form without a comparison.
        log_line: Called with the comparison of each form.
    """
    for form in and_finer(storage):
        written = write(form)
        if held is None:
            return written, None
        compared = compare(part, form, held.fitted, held.score(release, written), held.targets)
        log_line(compared.sentence() + ("" if compared.agrees else ": not enough"))
        if compared.agrees:
            break
    return written, compared


def compare(
    part: str,
    storage: Storage,
    fitted: Floats,
    exported: Floats,
    targets: NDArray[np.int64],
) -> Form:
    """Compare probabilities of an exported and a fitted part, each `(rows, classes)`."""
    found, expected = exported.argmax(axis=1), fitted.argmax(axis=1)
    # An answer that is not a number agrees with nothing.
    found = np.where(np.isfinite(exported).all(axis=1), found, -1)
    return Form(
        part=part,
        storage=storage,
        rows=len(targets),
        agreement=float((found == expected).mean()),
        fitted_f1=float(_f1(targets, expected)),
        exported_f1=float(_f1(targets, found)),
    )


def forms_as_markdown(forms: Sequence[Form], backbone: Mapping[str, Any] | None) -> str:
    """Return the forms of a release's parts as a Markdown table, and that of its image network."""
    lines = [
        "| part | weights | rows | same category | F1 exported | F1 fitted |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.part} | {one.storage} | {one.rows} | {one.agreement:.1%} "
        f"| {one.exported_f1:.4f} | {one.fitted_f1:.4f} |"
        for one in forms
    ]
    if backbone is not None:
        lines += [
            "",
            f"The image network is in {backbone['storage']} and computes in "
            f"{backbone.get('arithmetic', 'float')}: its features are off by "
            f"{backbone['error']:.3f} of their deviation between {backbone['images']} images.",
        ]
    return "\n".join(lines)


def _f1(targets: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    return float(f1_score(targets, predicted, average="weighted", zero_division=0))
