"""What a release says of itself: `release.json`, the first file that everyone opens."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.categories import Category, CategorySet
from shared.errors import InvalidInput

MANIFEST = "release.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(_Frozen):
    """How texts must be prepared for the text model."""

    preparation: str
    max_tokens: int = Field(ge=1)


class ImagePart(_Frozen):
    """How pictures must be prepared for the picture model."""

    preparation: str
    size: int = Field(ge=1)


class ReleaseManifest(_Frozen):
    """A release: its categories, the preparation its models expect, and its figures.

    Attributes:
        categories: In the order of the models' probability columns.
        figures: Plain numbers by name, such as `text_f1_plain`, on held-out rows.
    """

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    created_at: datetime
    categories: tuple[Category, ...] = Field(min_length=2)
    text: TextPart
    image: ImagePart
    figures: dict[str, float] = Field(default_factory=dict)
    trained_on: str

    @property
    def category_set(self) -> CategorySet:
        """The categories with their look-ups."""
        return CategorySet(categories=self.categories)

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
        (folder / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
