"""Detection of languages."""

import tracemalloc

import pytest

from trainer.datasets import languages
from trainer.datasets.languages import NO_TEXT, UNSURE, detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("lot de deux coussins brodés pour le salon, livraison offerte", "French"),
        ("set of two embroidered cushions for the living room, free delivery", "English"),
        ("zwei bestickte kissen für das wohnzimmer, versand kostenlos", "German"),
        ("набор из двух вышитых подушек для гостиной", "Russian"),
        ("", NO_TEXT),
        ("12345", UNSURE),
    ],
)
def test_language_of_a_product_text_is_detected(text: str, language: str) -> None:
    assert detect([text]) == [language]


def test_detector_keeps_no_weights_of_other_languages() -> None:
    tracemalloc.start()
    try:
        detector = languages._detector.__wrapped__()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(detector.nb_classes) == set(languages.LANGUAGES)
    # With the weights of all languages it would be 83 MiB.
    assert kept < 70 * 1024**2
