"""Descriptors agree with a person's impression of a product."""

import io

import numpy as np
from PIL import Image

from trainer.reference.descriptors import (
    IMAGE_NAMES,
    TEXT_NAMES,
    describe_image,
    describe_texts,
)

FRENCH = ("Piscine gonflable ronde pour les enfants", "Elle est livrée avec une pompe à main")
ENGLISH = ("Inflatable round pool for the children", "It is delivered with a hand pump")


def text(name: str, title: str, body: str = "") -> float:
    return float(describe_texts([(title, body)]).numbers[0, TEXT_NAMES.index(name)])


def image(name: str, pixels: np.ndarray) -> float:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    found = describe_image(file.getvalue())
    assert found is not None
    return float(found[IMAGE_NAMES.index(name)])


def test_languages_are_detected() -> None:
    described = describe_texts([FRENCH, ENGLISH, ("", "")])
    assert described.languages == ["French", "English", "no text"]
    french, english = (TEXT_NAMES.index(f"in {name}") for name in ("French", "English"))
    assert described.numbers[0, french] == described.numbers[1, english] == 1
    assert described.numbers[0, english] == described.numbers[2, french] == 0


def test_shorter_text_has_fewer_characters_and_a_code_more_digits() -> None:
    assert text("characters", "Piscine") < text("characters", *FRENCH)
    assert text("share of digits", "AB 1234567") > text("share of digits", *FRENCH)
    assert text("share of repeated words", "sac sac sac") > text("share of repeated words", "sac")


def test_markup_and_capital_letters_change_nothing() -> None:
    plain = describe_texts([("sac à dos", "bleu")]).numbers
    marked = describe_texts([("SAC &agrave; DOS", "<b>Bleu</b>")]).numbers
    np.testing.assert_array_equal(plain, marked)


def test_darkened_image_is_less_bright() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (80, 60, 3))
    assert image("brightness", pixels * 0.4) < 0.5 * image("brightness", pixels)
    assert image("sharpness", np.full((80, 60, 3), 90)) == 0
    assert image("share of white", np.full((80, 60, 3), 255)) == 1
    assert image("saturation", np.full((8, 8, 3), (200, 10, 10))) > 100


def test_broken_image_has_no_descriptors() -> None:
    assert describe_image(b"no image") is None


def test_no_texts_give_no_rows() -> None:
    assert describe_texts([]).numbers.shape == (0, len(TEXT_NAMES))
