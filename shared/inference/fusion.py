"""The fusion model: a weighted sum of calibrated log-probabilities, fitted by the trainer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared.errors import InvalidInput

FUSION_FILE = "fusion.json"
#: Probabilities below this are as good as impossible; the logarithm needs a floor.
SMALLEST_PROBABILITY = 1e-6

Floats = NDArray[np.float32]


class _FusionFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text_weights: tuple[float, ...]
    image_weights: tuple[float, ...]
    bias: tuple[float, ...]

    @model_validator(mode="after")
    def _same_length(self) -> "_FusionFile":
        lengths = {len(self.text_weights), len(self.image_weights), len(self.bias)}
        if len(lengths) != 1:
            raise ValueError(f"expected one weight per category in each list. Received: {lengths}")
        return self


@dataclass(frozen=True)
class FusionModel:
    """Log-linear pooling of two experts.

    `p(c) ∝ exp(text_weights[c] log p_text(c) + image_weights[c] log p_image(c) + bias[c])`,
    see Genest and Zidek, "Combining Probability Distributions" (1986), section 3.3.

    Attributes:
        text_weights: Shape `(classes,)`.
        image_weights: Shape `(classes,)`.
        bias: Shape `(classes,)`.
    """

    text_weights: Floats
    image_weights: Floats
    bias: Floats

    def combine(self, text: Floats, image: Floats) -> Floats:
        """Combine both modalities' probabilities, each of shape `(n, classes)`."""
        logits = (
            self.text_weights * _log(text) + self.image_weights * _log(image) + self.bias
        ).astype(np.float64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        combined: Floats = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
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
        )

    def save(self, folder: Path) -> None:
        """Write the `fusion/` folder of a release."""
        folder.mkdir(parents=True, exist_ok=True)
        content = _FusionFile(
            text_weights=tuple(self.text_weights.tolist()),
            image_weights=tuple(self.image_weights.tolist()),
            bias=tuple(self.bias.tolist()),
        )
        (folder / FUSION_FILE).write_text(content.model_dump_json(indent=1) + "\n", "utf-8")


def _log(probabilities: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return logs
