"""Fusion model: combines the probabilities of both modalities; fitted by the trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared.errors import InvalidInput

FUSION_FILE = "fusion.json"
#: Floor of probabilities, since the logarithm of zero is not finite.
SMALLEST_PROBABILITY = 1e-6

Floats = NDArray[np.float32]
Space = Literal["log", "probability"]
Weights = tuple[float, ...] | tuple[tuple[float, ...], ...]


class _FusionFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Space = "log"
    text_weights: Weights
    image_weights: Weights
    bias: tuple[float, ...]
    ratios: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> "_FusionFile":
        lengths = {len(self.text_weights), len(self.image_weights), len(self.bias)}
        lengths |= {len(self.ratios)} if self.ratios is not None else set()
        rows = (row for row in (*self.text_weights, *self.image_weights) if isinstance(row, tuple))
        lengths |= {len(row) for row in rows}
        if len(lengths) != 1:
            raise ValueError(f"expected one weight per category in each list. Received: {lengths}")
        return self


@dataclass(frozen=True)
class FusionModel:
    """Opinion pool of two experts; Genest and Zidek, "Combining Probability Distributions" (1986).

    In the space `log` (section 3.3):
    `p(c) ∝ exp(text_weights[c] log p_text(c) + image_weights[c] log p_image(c) + bias[c])`;
    weights may also be matrices, from every category to every category. In the space `probability`
    (section 3.1): `p(c) ∝ text_weights[c] p_text(c) + image_weights[c] p_image(c) + bias[c]`.

    The models of a release can be adjusted to another mix of categories than that of the training
    rows: their probabilities are multiplied by ratios. The pool was fitted on those before it, so
    it divides by the ratios, and multiplies the result: both experts together must not count the
    mix twice.

    Attributes:
        text_weights: Shape `(classes,)` or `(classes, classes)`.
        image_weights: Shape `(classes,)` or `(classes, classes)`.
        bias: Shape `(classes,)`.
        ratios: Ratios by which the models' probabilities were multiplied, all above 0, shape
            `(classes,)`; `None` without an adjustment.
    """

    text_weights: Floats
    image_weights: Floats
    bias: Floats
    space: Space = "log"
    ratios: Floats | None = None

    def combine(self, text: Floats, image: Floats) -> Floats:
        """Combine the probabilities of both modalities, each of shape `(n, classes)`."""
        if self.ratios is None:
            return self._pooled(text, image)
        fitted = (shifted(one, 1 / self.ratios) for one in (text, image))
        return shifted(self._pooled(*fitted), self.ratios)

    def _pooled(self, text: Floats, image: Floats) -> Floats:
        is_log = self.space == "log"
        parts = (_log(text), _log(image)) if is_log else (text, image)
        pooled = (
            _weighted(parts[0], self.text_weights)
            + _weighted(parts[1], self.image_weights)
            + self.bias
        ).astype(np.float64)
        if is_log:
            pooled = np.exp(pooled - pooled.max(axis=1, keepdims=True))
        combined: Floats = (pooled / pooled.sum(axis=1, keepdims=True)).astype(np.float32)
        return combined

    @classmethod
    def load(cls, folder: Path) -> "FusionModel":
        """Read the `fusion/` folder of a release.

        Raises:
            InvalidInput: The file is missing or does not describe a fusion model.
        """
        path = folder / FUSION_FILE
        try:
            found = _FusionFile.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise InvalidInput(f"{path} does not describe a fusion model: {error}") from error
        return cls(
            np.array(found.text_weights, np.float32),
            np.array(found.image_weights, np.float32),
            np.array(found.bias, np.float32),
            found.space,
            None if found.ratios is None else np.array(found.ratios, np.float32),
        )

    def save(self, folder: Path) -> None:
        """Write the `fusion/` folder of a release."""
        folder.mkdir(parents=True, exist_ok=True)
        content = _FusionFile(
            space=self.space,
            text_weights=_nested(self.text_weights),
            image_weights=_nested(self.image_weights),
            bias=tuple(self.bias.tolist()),
            ratios=None if self.ratios is None else tuple(self.ratios.tolist()),
        )
        text = content.model_dump_json(indent=1, exclude_none=True)
        (folder / FUSION_FILE).write_text(text + "\n", "utf-8")


def shifted(probabilities: Floats, ratios: NDArray[np.floating[Any]]) -> Floats:
    """Multiply the probabilities of each category by a ratio, so that they still add up to 1.

    Args:
        probabilities: Shape `(n, classes)`.
        ratios: Above 0, shape `(classes,)`.
    """
    products = probabilities * ratios.astype(np.float64)
    found: Floats = (products / products.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _log(probabilities: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return logs


def _weighted(values: Floats, weights: Floats) -> Floats:
    return values @ weights if weights.ndim == 2 else values * weights


def _nested(weights: Floats) -> Weights:
    rows = weights.tolist()
    return tuple(tuple(row) for row in rows) if weights.ndim == 2 else tuple(rows)
