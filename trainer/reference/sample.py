"""Some products as the monitor sees them: a release's reference, or a window of its answers."""

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
#: Less likely is as good as impossible; without a floor a single zero would outweigh all else.
FLOOR = 1e-4
#: What is counted about the quality of products, and what each is called.
QUALITY = {
    "empty_title": "without a title",
    "no_text": "without any text",
    "image_unreadable": "with an image that cannot be read",
    "image_blank": "with an image that shows nothing",
}
#: The language of a shorter text is a guess.
TELLING_CHARACTERS = 40
#: An image whose brightness deviates less, of 255, shows nothing.
BLANK_CONTRAST = 2.0
NAMES = {Modality.TEXT: TEXT_NAMES, Modality.IMAGE: IMAGE_NAMES}


@dataclass(frozen=True)
class View:
    """One modality of some products: a row for each that has it and was scored.

    Attributes:
        descriptors: Shape `(rows, descriptors)`, the columns of `NAMES`.
        probabilities: Shape `(rows, classes)`, as the release's model gave them.
        products: Position of each row's product in the sample, shape `(rows,)`.
    """

    descriptors: Floats
    probabilities: Floats
    products: Counts

    @classmethod
    def of(cls, descriptors: Floats, probabilities: Floats, products: Counts) -> "View":
        """Round as a release's reference is rounded.

        Otherwise a number that is the same for all products would differ by its last digits, and a
        classifier would tell the samples apart by those.
        """
        return cls(
            descriptors.astype(np.float32).astype(np.float64),
            probabilities.astype(np.float16).astype(np.float64),
            products,
        )

    @property
    def features(self) -> Floats:
        """What is compared: descriptors, and how likely each category is, as logarithms.

        A model's own outputs are what shows a shift best (black box shift detection; Rabanser,
        Günnemann and Lipton, "Failing Loudly", 2019); descriptors say in words what it is.
        """
        logs = np.log(np.maximum(self.probabilities, FLOOR))
        return np.concatenate([self.descriptors, logs], axis=1)

    def take(self, rows: Counts) -> "View":
        """Some of the rows."""
        return View(self.descriptors[rows], self.probabilities[rows], self.products[rows])


@dataclass(frozen=True)
class Sample:
    """Products, in the order in which they were answered.

    Attributes:
        answers: Column of each product's answer, shape `(products,)`; -1 where there is none.
        views: By modality.
        agreement: For how many products text and image say the same, of those that have both.
        quality: Of each name in `QUALITY` and `language: <name>`: how many products, of how many.
    """

    answers: Counts
    views: Mapping[Modality, View]
    agreement: tuple[int, int] = (0, 0)
    quality: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def mix(self, classes: int) -> Counts:
        """Answers by category, shape `(classes,)`."""
        return np.bincount(self.answers[self.answers >= 0], minlength=classes).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write it into a release's folder: numbers alone, from which no product can be read."""
        arrays: dict[str, Any] = {"answers": self.answers.astype(np.int16)}
        for modality, view in self.views.items():
            arrays[f"{modality}_descriptors"] = view.descriptors.astype(np.float32)
            arrays[f"{modality}_probabilities"] = view.probabilities.astype(np.float16)
            arrays[f"{modality}_products"] = view.products.astype(np.int32)
        path = folder / REFERENCE
        path.parent.mkdir(parents=True, exist_ok=True)
        told = json.dumps({"names": _names(), "agreement": self.agreement, "quality": self.quality})
        np.savez_compressed(path, told=np.array(told), **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Sample | None":
        """Read a release's reference; `None` for a release that has none.

        Raises:
            InvalidInput: It was made by another version, with other descriptors.
        """
        path = folder / REFERENCE
        if not path.exists():
            return None
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            told = json.loads(str(kept["told"]))
            if told["names"] != _names():
                raise InvalidInput(f"Expected a reference of {_names()}. Received: {told['names']}")
            views = {
                modality: View(
                    kept[f"{modality}_descriptors"].astype(np.float64),
                    kept[f"{modality}_probabilities"].astype(np.float64),
                    kept[f"{modality}_products"].astype(np.int64),
                )
                for modality in Modality
                if f"{modality}_products" in kept
            }
            quality = {name: (int(one[0]), int(one[1])) for name, one in told["quality"].items()}
            agree, both = told["agreement"]
            return cls(kept["answers"].astype(np.int64), views, (agree, both), quality)


@dataclass(frozen=True)
class Products:
    """Products with everything that a sample is made of; a sample may be some of them.

    Attributes:
        texts: Titles and descriptions.
        described: Their descriptors and languages.
        images: Descriptors by product; `None` for an image that cannot be read. A product
            without an image, or whose image was not looked at, is not there.
        scores: By modality, shape `(products, classes)`; NaN where the model was not asked.
        answers: Column of the answer, shape `(products,)`; -1 where there is none.
    """

    texts: Sequence[tuple[str, str]]
    described: Texts
    images: Mapping[int, Floats | None]
    scores: Mapping[Modality, Floats]
    answers: Counts

    def sample(self, chosen: Counts | None = None) -> Sample:
        """All of them, or those at some positions, in that order."""
        places = np.arange(len(self.texts)) if chosen is None else chosen
        looked_at = [self.images[place] for place in places.tolist() if place in self.images]
        spoken = [self.described.languages[place] for place in places]
        said = [self.texts[place] for place in places]
        views = {
            modality: view
            for modality in self.scores
            if len((view := self._view(modality, places)).products)
        }
        quality = _text_quality(said, spoken) | _image_quality(looked_at)
        return Sample(self.answers[places], views, self._agreement(places), quality)

    def _view(self, modality: Modality, places: Counts) -> View:
        scores = self.scores[modality][places]
        is_there = ~np.isnan(scores[:, 0])
        if modality is Modality.TEXT:
            products = np.flatnonzero(is_there)
            return View.of(self.described.numbers[places[products]], scores[products], products)
        found = {
            product: numbers
            for product in np.flatnonzero(is_there).tolist()
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
    of = len(texts)
    found = {
        "empty_title": (sum(not title.strip() for title, _ in texts), of),
        "no_text": (sum(not f"{title}{body}".strip() for title, body in texts), of),
    }
    telling = Counter(
        language
        for (title, body), language in zip(texts, languages, strict=True)
        if len(title) + len(body) >= TELLING_CHARACTERS and language != UNSURE
    )
    spoken = {f"language: {name}": (count, telling.total()) for name, count in telling.items()}
    return found | spoken


def _image_quality(images: Sequence[Floats | None]) -> dict[str, tuple[int, int]]:
    contrast, of = IMAGE_NAMES.index("contrast"), len(images)
    blank = sum(bool(one is not None and one[contrast] < BLANK_CONTRAST) for one in images)
    return {
        "image_unreadable": (sum(one is None for one in images), of),
        "image_blank": (blank, of),
    }


def _names() -> dict[str, list[str]]:
    return {modality.value: list(names) for modality, names in NAMES.items()}
