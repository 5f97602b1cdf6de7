"""Descriptors of products: a few numbers that people understand.

They cover content only. Properties that no model sees, such as file size or capital letters, may
change with a supplier's software without making an answer worse.
"""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageUnreadable
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.text import product_text
from trainer.datasets.languages import NO_TEXT, UNSURE, detect

Floats = NDArray[np.float64]

#: Languages with a descriptor of their own; all others share one.
SPOKEN = ("French", "English", "German", "Spanish", "Italian")
TEXT_NAMES = (
    "characters",
    "words",
    "letters in a word",
    "share of digits",
    "share of accented letters",
    "share of repeated words",
    *(f"in {language}" for language in SPOKEN),
    "in another language",
)
IMAGE_NAMES = (
    "brightness",
    "contrast",
    "saturation",
    "share of white",
    "share of black",
    "sharpness",
)
#: Side of the image thumbnails, in pixels.
THUMBNAIL_PIXELS = 64
_WHITE, _BLACK = 245, 10
_WORD = re.compile(r"\w+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class Texts:
    """Descriptors of texts.

    Attributes:
        numbers: Shape `(texts, len(TEXT_NAMES))`.
        languages: Names from `trainer.datasets.languages`.
    """

    numbers: Floats
    languages: list[str]


def describe_texts(products: Iterable[tuple[str, str]]) -> Texts:
    """Describe titles and descriptions in the form that the model reads."""
    texts = [product_text(title, body) for title, body in products]
    languages = detect(texts)
    numbers = [
        (*_counts(text), *_spoken(language))
        for text, language in zip(texts, languages, strict=True)
    ]
    return Texts(np.array(numbers, np.float64).reshape(len(texts), len(TEXT_NAMES)), languages)


def describe_image(content: bytes) -> Floats | None:
    """Describe an image, shape `(len(IMAGE_NAMES),)`; `None` if it is unreadable."""
    try:
        pixels = prepare(content, THUMBNAIL_PIXELS).astype(np.float64)
    except ImageUnreadable:
        return None
    grey = pixels.mean(axis=2)
    brightest, darkest = pixels.max(axis=2), pixels.min(axis=2)
    steps = np.concatenate([np.abs(np.diff(grey, axis=axis)).ravel() for axis in (0, 1)])
    return np.array(
        [
            grey.mean(),
            grey.std(),
            (brightest - darkest).mean(),
            (darkest > _WHITE).mean(),
            (brightest < _BLACK).mean(),
            steps.mean(),
        ]
    )


def _counts(text: str) -> Sequence[float]:
    words = _WORD.findall(text)
    size = max(len(text), 1)
    letters = sum(map(len, words))
    # Searching the whole text for each ASCII digit is faster than looking at each character.
    others = _NOT_ASCII.findall(text)
    digits = sum(map(text.count, string.digits)) + sum(map(str.isdigit, others))
    return (
        np.log1p(len(text)),
        np.log1p(len(words)),
        letters / max(len(words), 1),
        digits / size,
        sum(map(str.isalpha, others)) / size,
        1 - len(set(words)) / max(len(words), 1),
    )


def _spoken(language: str) -> Sequence[float]:
    known = [float(language == one) for one in SPOKEN]
    is_other = language not in (*SPOKEN, NO_TEXT, UNSURE)
    return (*known, float(is_other))
