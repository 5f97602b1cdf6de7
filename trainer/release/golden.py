"""Golden rows: products with the probabilities that the fitted models gave before the export."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tolerance:
    """Largest allowed difference from the answers of the fitted models.

    Attributes:
        probability: Largest difference of any probability of any row.
        top: Smallest share of rows with the same most likely category.
    """

    probability: float
    top: float = 0.99


#: For weights in full precision: only the order of additions differs.
EXACT = Tolerance(1e-3)
#: Weights in 8 bits are off by up to 1/254 of the largest of their channel, in every layer. For 120
#: images, Xception in 8 bits changed a probability by .054 at most (half of them by less than .007)
#: and gave 97.5 % the same category; the others were within .01 of a tie. Twice that is a fault.
EIGHT_BITS = Tolerance(0.1, 0.95)


@dataclass(frozen=True)
class GoldenRows:
    """Input of one model, and the expected output.

    Attributes:
        asked: One request line each for the model's probe.
        expected: Probabilities of the fitted model, shape `(rows, classes)`.
        tolerance: Largest allowed difference.
    """

    asked: Sequence[Mapping[str, Any]]
    expected: Floats
    tolerance: Tolerance

    @classmethod
    def texts(
        cls,
        products: Iterable[tuple[str, str]],
        expected: Floats,
        tolerance: Tolerance = EIGHT_BITS,
    ) -> "GoldenRows":
        """Return golden rows of designation and description."""
        asked = [{"designation": title, "description": body} for title, body in products]
        return cls(asked, expected, tolerance)

    @classmethod
    def images(
        cls, paths: Iterable[Path], expected: Floats, tolerance: Tolerance = EIGHT_BITS
    ) -> "GoldenRows":
        """Return golden rows of readable image files."""
        return cls([{"image": str(path.resolve())} for path in paths], expected, tolerance)

    @classmethod
    def fusions(
        cls, text: Floats, image: Floats, expected: Floats, tolerance: Tolerance = EXACT
    ) -> "GoldenRows":
        """Return golden rows of both modalities' probabilities, each `(rows, classes)`."""
        pairs = zip(text.tolist(), image.tolist(), strict=True)
        return cls([{"text": one, "image": other} for one, other in pairs], expected, tolerance)


@dataclass(frozen=True)
class Golden:
    """Golden rows for each model of a release."""

    text: GoldenRows | None = None
    image: GoldenRows | None = None
    fusion: GoldenRows | None = None
