"""Novelty of answers: whether a product may belong to none of the categories.

The answer to a product that a model knows rules most categories out; that to a foreign one spreads
over all of them, even where one leads. The measure is the mean log-probability of the categories,
which is the negative divergence of the answer from the uniform distribution, up to a constant:
Huang, Geng and Li, "On the Importance of Gradients for Detecting Distributional Shifts in the Wild"
(2021), build on the same divergence. The release says how it is distributed over products of its
categories that no model learnt from, so that a score is a rank among them, as in conformal
prediction: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import InvalidInput

NOVELTY_FILE = "novelty.json"
#: Novelty from which on a product counts as foreign: 5 % of the products that are not get there.
FOREIGN_FROM = 0.95
#: Products of a kind that a scale needs, so that two of them are beyond `FOREIGN_FROM`.
LEAST_ROWS = 40
#: Floor of probabilities. Messages carry six digits, so smaller ones are mostly rounding.
SMALLEST = 1e-5
#: Ranks of a scale, every hundredth.
_RANKS = np.linspace(0.0, 1.0, 101)

Floats = NDArray[np.floating]


class _NoveltyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Quantiles of the mean log-probability at `_RANKS`, by the kind of answer.
    scales: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Novelty:
    """Scales of the mean log-probability, by the kind of answer: `text`, `image` or `fusion`."""

    scales: Mapping[str, NDArray[np.float64]]

    @classmethod
    def fitted(cls, held: Mapping[str, Floats]) -> "Novelty":
        """Return the scales of held-out products.

        Args:
            held: Probabilities by kind of answer, shape `(products, classes)`. A kind with fewer
                than `LEAST_ROWS` products gets no scale.
        """
        return cls(
            {
                kind: np.quantile(_spread(rows), _RANKS)
                for kind, rows in held.items()
                if len(rows) >= LEAST_ROWS
            }
        )

    def score(self, kind: str, probabilities: Floats) -> NDArray[np.float64] | None:
        """Return the share of known products whose answers look less foreign, shape `(products,)`.

        Args:
            kind: `text`, `image` or `fusion`.
            probabilities: Shape `(products, classes)`.

        Returns:
            Shares from 0 to 1; `None` if the release has no scale of the kind.
        """
        scale = self.scales.get(kind)
        if scale is None:
            return None
        # Equal quantiles share the lowest rank, so that a product like all others is not foreign.
        values, first = np.unique(scale, return_index=True)
        return np.interp(_spread(probabilities), values, _RANKS[first])

    @classmethod
    def load(cls, folder: Path) -> "Novelty":
        """Read the `fusion/` folder of a release; one without the file has no scales.

        Raises:
            InvalidInput: The file does not describe scales.
        """
        path = folder / NOVELTY_FILE
        try:
            found = _NoveltyFile.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls({})
        except ValidationError as error:
            raise InvalidInput(f"{path} does not describe novelty: {error}") from error
        for kind, scale in found.scales.items():
            if len(scale) != len(_RANKS):
                raise InvalidInput(
                    f"Expected {len(_RANKS)} quantiles of {kind!r} in {path}. "
                    f"Received: {len(scale)}"
                )
        return cls({kind: np.array(scale) for kind, scale in found.scales.items()})

    def save(self, folder: Path) -> None:
        """Write the `fusion/` folder of a release; without scales nothing is written."""
        if not self.scales:
            return
        folder.mkdir(parents=True, exist_ok=True)
        scales = {kind: tuple(scale.round(4).tolist()) for kind, scale in self.scales.items()}
        content = _NoveltyFile(scales=scales).model_dump_json(indent=1)
        (folder / NOVELTY_FILE).write_text(content + "\n", "utf-8")


def _spread(probabilities: Floats) -> NDArray[np.float64]:
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    means: NDArray[np.float64] = logs.mean(axis=1)
    return means
