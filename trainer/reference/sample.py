"""A sample of products for the monitor: a release's reference, or a window of its answers."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.errors import InvalidInput
from trainer.datasets.languages import UNSURE
from trainer.reference.descriptors import IMAGE_NAMES, TEXT_NAMES, Texts

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

REFERENCE = Path("reference/reference.npz")
#: Lower bound of probabilities; without one, a single zero would outweigh everything else.
FLOOR = 1e-4
#: Quality problems that are counted, with their descriptions.
QUALITY = {
    "empty_title": "without a title",
    "no_text": "without any text",
    "image_unreadable": "with an image that cannot be read",
    "image_blank": "with an image that shows nothing",
}
#: Fewest characters from which the language can be detected reliably.
LANGUAGE_CHARACTERS = 40
#: An image is blank if the standard deviation of its brightness, of 255, is below this.
BLANK_CONTRAST = 2.0
NAMES = {Modality.TEXT: TEXT_NAMES, Modality.IMAGE: IMAGE_NAMES}


@dataclass(frozen=True)
class View:
    """One modality of some products, with a row for each scored product that has it.

    Attributes:
        descriptors: Shape `(rows, descriptors)`, the columns of `NAMES`.
        probabilities: Probabilities of the release's model, shape `(rows, classes)`.
        products: Position of each row's product in the sample, shape `(rows,)`.
    """

    descriptors: Floats
    probabilities: Floats
    products: Counts

    @classmethod
    def of(cls, descriptors: Floats, probabilities: Floats, products: Counts) -> "View":
        """Return a view rounded like a release's stored reference.

        Without rounding, a number that is the same for all products would differ in its last
        digits, and the domain classifier would separate the samples by those.
        """
        return cls(
            descriptors.astype(np.float32).astype(np.float64),
            probabilities.astype(np.float16).astype(np.float64),
            products,
        )

    @property
    def features(self) -> Floats:
        """Compared columns: descriptors, and log-probabilities of the categories.

        A model's own outputs reveal a shift best (black box shift detection; Rabanser, Günnemann
        and Lipton, "Failing Loudly", 2019); descriptors explain it in words.
        """
        logs = np.log(np.maximum(self.probabilities, FLOOR))
        return np.concatenate([self.descriptors, logs], axis=1)

    def take(self, rows: Counts) -> "View":
        """Return some of the rows."""
        return View(self.descriptors[rows], self.probabilities[rows], self.products[rows])


@dataclass(frozen=True)
class Sample:
    """Products in the order of their answers.

    Attributes:
        answers: Column of each product's answer, shape `(products,)`; -1 if there is none.
        views: Scored products by modality.
        agreement: Number of products for which text and image agree, and number with both.
        quality: Count and total for each name in `QUALITY` and each `language: <name>`.
        truth: Column of each product's true category, shape `(products,)`; -1 where no person
            stated one that the release has. `None` in a window, and in the reference of an earlier
            release.
    """

    answers: Counts
    views: Mapping[Modality, View]
    agreement: tuple[int, int] = (0, 0)
    quality: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    truth: Counts | None = None

    def mix(self, classes: int) -> Counts:
        """Count the answers by category, shape `(classes,)`."""
        return np.bincount(self.answers[self.answers >= 0], minlength=classes).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write the sample into a release folder; it contains only numbers, no product data."""
        arrays: dict[str, Any] = {"answers": self.answers.astype(np.int16)}
        for modality, view in self.views.items():
            arrays[f"{modality}_descriptors"] = view.descriptors.astype(np.float32)
            arrays[f"{modality}_probabilities"] = view.probabilities.astype(np.float16)
            arrays[f"{modality}_products"] = view.products.astype(np.int32)
        if self.truth is not None:
            arrays["truth"] = self.truth.astype(np.int16)
        path = folder / REFERENCE
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"names": _names(), "agreement": self.agreement, "quality": self.quality}
        np.savez_compressed(path, told=np.array(json.dumps(metadata)), **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Sample | None":
        """Read a release's reference; return `None` if it has none.

        Raises:
            InvalidInput: Another version wrote it, with other descriptors.
        """
        path = folder / REFERENCE
        if not path.exists():
            return None
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            metadata = json.loads(str(kept["told"]))
            if metadata["names"] != _names():
                raise InvalidInput(
                    f"Expected a reference of {_names()}. Received: {metadata['names']}"
                )
            views = {
                modality: View(
                    kept[f"{modality}_descriptors"].astype(np.float64),
                    kept[f"{modality}_probabilities"].astype(np.float64),
                    kept[f"{modality}_products"].astype(np.int64),
                )
                for modality in Modality
                if f"{modality}_products" in kept
            }
            quality = {
                name: (int(one[0]), int(one[1])) for name, one in metadata["quality"].items()
            }
            agree, both = metadata["agreement"]
            answers = kept["answers"].astype(np.int64)
            truth = kept["truth"].astype(np.int64) if "truth" in kept else None
            return cls(answers, views, (agree, both), quality, truth)


@dataclass(frozen=True)
class Products:
    """Products with all the data that a sample needs; a sample may be a subset.

    Attributes:
        texts: Titles and descriptions.
        described: Descriptors and languages of the texts.
        images: Image descriptors by product; `None` for an unreadable image. A product without an
            image, or whose image was not read, has no entry.
        scores: Probabilities by modality, shape `(products, classes)`; NaN if not scored.
        answers: Column of the answer, shape `(products,)`; -1 if there is none.
    """

    texts: Sequence[tuple[str, str]]
    described: Texts
    images: Mapping[int, Floats | None]
    scores: Mapping[Modality, Floats]
    answers: Counts

    def sample(self, chosen: Counts | None = None) -> Sample:
        """Return a sample of all products, or of those at some positions in that order."""
        places = np.arange(len(self.texts)) if chosen is None else chosen
        described_images = [self.images[place] for place in places.tolist() if place in self.images]
        languages = [self.described.languages[place] for place in places]
        texts = [self.texts[place] for place in places]
        views = {
            modality: view
            for modality in self.scores
            if len((view := self._view(modality, places)).products)
        }
        quality = _text_quality(texts, languages) | _image_quality(described_images)
        return Sample(self.answers[places], views, self._agreement(places), quality)

    def _view(self, modality: Modality, places: Counts) -> View:
        scores = self.scores[modality][places]
        is_scored = ~np.isnan(scores[:, 0])
        if modality is Modality.TEXT:
            products = np.flatnonzero(is_scored)
            return View.of(self.described.numbers[places[products]], scores[products], products)
        found = {
            product: numbers
            for product in np.flatnonzero(is_scored).tolist()
            if (numbers := self.images.get(int(places[product]))) is not None
        }
        products = np.array(list(found), np.int64)
        numbers = np.array(list(found.values())).reshape(len(found), len(IMAGE_NAMES))
        return View.of(numbers, scores[products], products)

    def _agreement(self, places: Counts) -> tuple[int, int]:
        if len(self.scores) < 2:
            return 0, 0
        text, image = (self.scores[modality][places] for modality in Modality)
        both = ~np.isnan(text[:, 0]) & ~np.isnan(image[:, 0])
        same = text[both].argmax(axis=1) == image[both].argmax(axis=1)
        return int(same.sum()), int(both.sum())


def _text_quality(
    texts: Sequence[tuple[str, str]], languages: Sequence[str]
) -> dict[str, tuple[int, int]]:
    total = len(texts)
    found = {
        "empty_title": (sum(not title.strip() for title, _ in texts), total),
        "no_text": (sum(not f"{title}{body}".strip() for title, body in texts), total),
    }
    detected = Counter(
        language
        for (title, body), language in zip(texts, languages, strict=True)
        if len(title) + len(body) >= LANGUAGE_CHARACTERS and language != UNSURE
    )
    spoken = {f"language: {name}": (count, detected.total()) for name, count in detected.items()}
    return found | spoken


def _image_quality(images: Sequence[Floats | None]) -> dict[str, tuple[int, int]]:
    contrast, total = IMAGE_NAMES.index("contrast"), len(images)
    blank = sum(bool(one is not None and one[contrast] < BLANK_CONTRAST) for one in images)
    return {
        "image_unreadable": (sum(one is None for one in images), total),
        "image_blank": (blank, total),
    }


def _names() -> dict[str, list[str]]:
    return {modality.value: list(names) for modality, names in NAMES.items()}
