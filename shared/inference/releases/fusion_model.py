"""Fusion model: combines the probabilities of both modalities; fitted by the trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

    @model_validator(mode="after")
    def _same_length(self) -> "_FusionFile":
        lengths = {len(self.text_weights), len(self.image_weights), len(self.bias)}
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

    Attributes:
        text_weights: Shape `(classes,)` or `(classes, classes)`.
        image_weights: Shape `(classes,)` or `(classes, classes)`.
        bias: Shape `(classes,)`.
    """

    text_weights: Floats
    image_weights: Floats
    bias: Floats
    space: Space = "log"

    def combine(self, text: Floats, image: Floats) -> Floats:
        """Combine the probabilities of both modalities, each of shape `(n, classes)`."""
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
        )

    def save(self, folder: Path) -> None:
        """Write the `fusion/` folder of a release."""
        folder.mkdir(parents=True, exist_ok=True)
        content = _FusionFile(
            space=self.space,
            text_weights=_nested(self.text_weights),
            image_weights=_nested(self.image_weights),
            bias=tuple(self.bias.tolist()),
        )
        (folder / FUSION_FILE).write_text(content.model_dump_json(indent=1) + "\n", "utf-8")


def _log(probabilities: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return logs


def _weighted(values: Floats, weights: Floats) -> Floats:
    return values @ weights if weights.ndim == 2 else values * weights


def _nested(weights: Floats) -> Weights:
    rows = weights.tolist()
    return tuple(tuple(row) for row in rows) if weights.ndim == 2 else tuple(rows)
