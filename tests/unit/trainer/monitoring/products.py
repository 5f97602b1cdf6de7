"""Generated products of two categories, with scores, for drift tests."""

from collections.abc import Callable
from functools import cache

import numpy as np

from shared.contracts import Modality
from trainer.reference.descriptors import IMAGE_NAMES, describe_texts
from trainer.reference.sample import Products, Sample

FRENCH = ["piscine", "livre", "ronde", "bleue", "pour", "les", "enfants", "avec", "une", "pompe"]
ENGLISH = ["pool", "book", "round", "blue", "for", "the", "children", "with", "this", "pump"]


def make_products(
    size: int,
    *,
    seed: int = 0,
    words: list[str] = FRENCH,
    length: int = 8,
    share: float = 0.5,
    brightness: float = 160.0,
    agree: float = 0.9,
    titled: float = 1.0,
    share_with_image: Callable[[int], bool] = lambda place: place % 2 == 0,
) -> Products:
    """Generate products; by default, every second one has an image.

    Args:
        size: Number of products.
        seed: Seed of the generator.
        words: Vocabulary of the titles.
        length: Words per title.
        share: Share of answers with the second category.
        brightness: Mean brightness of the images.
        agree: Share of the images whose category agrees with the text.
        titled: Share of the products that have a title.
        share_with_image: Return True for the positions of products with an image.
    """
    generator = np.random.default_rng(seed)
    texts = [
        (" ".join(generator.choice(words, length)) if generator.random() < titled else "", "")
        for _ in range(size)
    ]
    answers = (generator.random(size) < share).astype(np.int64)
    of_image = np.where(generator.random(size) < agree, answers, 1 - answers)
    has_image = np.array([share_with_image(place) for place in range(size)])
    scores = {
        Modality.TEXT: _scores(answers, generator),
        Modality.IMAGE: np.where(has_image[:, None], _scores(of_image, generator), np.nan),
    }
    images = {
        place: np.abs(generator.normal(brightness, 20, len(IMAGE_NAMES)))
        for place in np.flatnonzero(has_image).tolist()
    }
    return Products(texts, describe_texts(texts), images, scores, answers)


@cache
def reference() -> Sample:
    """Return the sample of 900 products with which the windows of tests are compared."""
    return make_products(900).sample()


def _scores(answers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    sure = generator.beta(8, 2, len(answers)) / 2 + 0.5
    return np.stack(
        [np.where(answers == 0, sure, 1 - sure), np.where(answers == 0, 1 - sure, sure)], 1
    )
