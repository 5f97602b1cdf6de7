"""Manifest of a release: `release.json`, the first file to read."""

from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.categories import Category, CategorySet
from shared.contracts import Modality
from shared.errors import InvalidInput, ModalityNotInRelease

MANIFEST = "release.json"
#: Input of the image graphs; its name is part of the release format.
IMAGE_INPUT = "pictures"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ngrams(_Frozen):
    """Parameters of word and character n-grams, hashed into `buckets`."""

    buckets: int = Field(ge=1)
    words: int = Field(ge=1)
    characters: tuple[int, int]


class TextPart(_Frozen):
    """Inputs of the text model, built from the prepared text.

    Attributes:
        max_tokens: Limit of subword tokens (`tokenizer.json`); `None` without a token input.
        encoder_tokens: The same for the tokens of a pretrained encoder, which has a tokenizer of
            its own (`encoder_tokenizer.json`).
        ngrams: Parameters of counted n-grams; `None` if the model has no n-gram input.
    """

    preparation: str
    max_tokens: int | None = Field(default=None, ge=1)
    encoder_tokens: int | None = Field(default=None, ge=1)
    ngrams: Ngrams | None = None


class ImagePart(_Frozen):
    """Parameters of image preparation for the image model.

    Attributes:
        size: Edge of the images, in pixels.
        extractor: Identity of `backbone.onnx`: equal names give equal features for equal
            images, across releases. `None` where `model.onnx` goes from pixels to probabilities
            in one step; otherwise `head.onnx` goes from features to probabilities.
        features: Number of features of an image; 0 without an extractor.
    """

    preparation: str
    size: int = Field(ge=1)
    extractor: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    features: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _features_belong_to_an_extractor(self) -> Self:
        if (self.extractor is None) != (self.features == 0):
            raise ValueError(
                "expected `features` of at least 1 with an `extractor`, and 0 without. "
                f"Received: {self.features} with {self.extractor!r}"
            )
        return self


class ReleaseManifest(_Frozen):
    """A release: its categories, the preparation its models expect, and its figures.

    Attributes:
        categories: In the order of the models' probability columns.
        text: `None` if the release has no text model, because its data had no texts.
        image: `None` if the release has no image model. At least one model is present.
        figures: Plain numbers by name, such as `text_f1_plain`, on held-out rows.
    """

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    created_at: datetime
    categories: tuple[Category, ...] = Field(min_length=2)
    text: TextPart | None = None
    image: ImagePart | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    trained_on: str

    @model_validator(mode="after")
    def _one_model_at_least(self) -> Self:
        if not self.modalities:
            raise ValueError("Expected a text model, an image model or both. Received: neither")
        return self

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that the release scores; with both, it also has a fusion model."""
        parts = {Modality.TEXT: self.text, Modality.IMAGE: self.image}
        return tuple(modality for modality, part in parts.items() if part is not None)

    @property
    def category_set(self) -> CategorySet:
        """The categories with their look-ups."""
        return CategorySet(categories=self.categories)

    @property
    def text_part(self) -> TextPart:
        """Parameters of the text model's input. Raises `ModalityNotInRelease`."""
        if self.text is None:
            raise ModalityNotInRelease(f"Release {self.name!r} has no text model")
        return self.text

    @property
    def image_part(self) -> ImagePart:
        """Parameters of the image model's input. Raises `ModalityNotInRelease`."""
        if self.image is None:
            raise ModalityNotInRelease(f"Release {self.name!r} has no image model")
        return self.image

    @classmethod
    def read(cls, folder: Path) -> "ReleaseManifest":
        """Read the manifest of a release folder.

        Raises:
            InvalidInput: There is none, or it does not fit this version of Rayon.
        """
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise InvalidInput(f"Expected {MANIFEST} in {folder}. Received: none") from error
        except ValidationError as error:
            raise InvalidInput(f"{path} does not describe a release: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the manifest into a release folder."""
        # Absent values are left out, so that earlier versions read releases without new parts.
        content = self.model_dump_json(indent=2, exclude_none=True)
        (folder / MANIFEST).write_text(f"{content}\n", encoding="utf-8")
