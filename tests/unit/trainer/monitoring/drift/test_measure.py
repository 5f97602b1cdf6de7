"""Kinds that moved are reported with their figures, and only those."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.contracts import Modality
from shared.errors import InvalidInput
from tests.support.factories import make_manifest
from tests.unit.trainer.monitoring.products import ENGLISH, make_products, reference
from trainer.monitoring.drift.measure import Limits, Measured, measure
from trainer.reference import sample
from trainer.reference.sample import Sample

CATEGORIES = make_manifest().category_set


def moved(**changes: Any) -> dict[str, Measured]:
    window = make_products(600, seed=1, **changes).sample()
    found = measure(reference(), window, CATEGORIES, Limits())
    return {kind: drift for kind, drift in found.items() if drift.has_moved(Limits())}


def test_same_distribution_moves_nothing() -> None:
    assert moved() == {}


def test_new_language_moves_text_and_is_named() -> None:
    found = moved(words=ENGLISH)
    assert {"text", "quality"} == set(found)
    assert "in English" in [line["name"] for line in found["text"].features]
    assert "in a new language, English" in found["quality"].sentence
    # Every product is unlike the reference, in both categories
    assert {line["code"] for line in found["text"].classes} == {10, 2583}
    assert len(found["text"].examples) == 5


def test_shorter_texts_move_text_only() -> None:
    found = moved(length=2)
    assert set(found) == {"text"}
    assert found["text"].sentence.startswith("Texts differ from the reference: ")
    assert found["text"].features[0]["window"] < found["text"].features[0]["reference"]


def test_darker_images_move_image_only() -> None:
    found = moved(brightness=60.0)
    assert set(found) == {"image"}
    line = next(line for line in found["image"].features if line["name"] == "brightness")
    assert line["window"] < 70 < 150 < line["reference"]


def test_changed_categories_move_prediction_and_are_named() -> None:
    found = moved(share=0.85)
    assert "prediction" in found
    assert "Piscine et accessoires " in found["prediction"].sentence
    assert {line["code"] for line in found["prediction"].classes} == {10, 2583}
    # The example is from a category that is answered more often
    assert found["prediction"].examples[0]["product"] is not None


def test_images_of_other_products_lower_the_agreement() -> None:
    found = moved(agree=0.5)
    assert "Text and image agree on" in found["prediction"].sentence
    assert found["prediction"].examples


def test_missing_titles_move_quality() -> None:
    found = moved(titled=0.8)
    assert "without a title" in found["quality"].sentence


def test_unreadable_images_move_quality() -> None:
    window = make_products(600, seed=1)
    broken = dict.fromkeys(list(window.images)[:60])
    window = replace(window, images={**window.images, **broken})
    found = measure(reference(), window.sample(), CATEGORIES, Limits())["quality"]
    assert found.has_moved(Limits())
    assert "cannot be read" in found.sentence


def test_better_input_does_not_move_quality() -> None:
    worse = make_products(900, titled=0.6).sample()
    found = measure(worse, make_products(600, seed=1).sample(), CATEGORIES, Limits())
    assert not found["quality"].has_moved(Limits())


def test_modality_with_few_products_is_not_measured() -> None:
    window = make_products(600, seed=1, brightness=10.0, share_with_image=lambda place: place < 20)
    assert "image" not in measure(reference(), window.sample(), CATEGORIES, Limits())


def test_subset_gives_the_sample_of_its_products_alone() -> None:
    products = make_products(40)
    chosen = np.array([3, 8, 20, 21])
    found = products.sample(chosen)
    assert found.answers.tolist() == products.answers[chosen].tolist()
    image = found.views[Modality.IMAGE]
    assert image.products.tolist() == [1, 2]
    assert image.descriptors[1] == pytest.approx(products.images[20])
    assert found.agreement[1] == 2
    assert found.quality["empty_title"] == (0, 4)


def test_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference().save(tmp_path)
    found = Sample.load(tmp_path)
    assert found is not None
    assert found.answers.tolist() == reference().answers.tolist()
    assert found.agreement == reference().agreement
    assert found.quality == reference().quality
    for modality, view in reference().views.items():
        np.testing.assert_array_equal(found.views[modality].features, view.features)
    # And it contains no text of any product
    content = (tmp_path / sample.REFERENCE).read_bytes()
    assert b"piscine" not in content


def test_rounding_of_the_reference_moves_nothing(tmp_path: Path) -> None:
    # Given texts of eight words each: the logarithm of 8 is rounded when stored
    reference().save(tmp_path)
    kept = Sample.load(tmp_path)
    assert kept is not None
    found = measure(kept, make_products(600, seed=1).sample(), CATEGORIES, Limits())
    assert found["text"].effect < 0.1


def test_release_without_a_reference_loads_none(tmp_path: Path) -> None:
    assert Sample.load(tmp_path) is None


def test_reference_with_other_descriptors_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference().save(tmp_path)
    monkeypatch.setitem(sample.NAMES, Modality.TEXT, ("weight",))
    with pytest.raises(InvalidInput, match="Expected a reference of"):
        Sample.load(tmp_path)
