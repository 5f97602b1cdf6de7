"""What moved is named, with its figures; what did not move is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.contracts import Modality
from shared.errors import InvalidInput
from tests.support.factories import make_manifest
from tests.unit.trainer.monitoring.products import ENGLISH, make_products
from trainer.monitoring.drift.measure import Limits, Measured, measure
from trainer.reference import sample
from trainer.reference.sample import Sample

CATEGORIES = make_manifest().category_set
REFERENCE = make_products(900).sample()


def moved(**changes: Any) -> dict[str, Measured]:
    window = make_products(600, seed=1, **changes).sample()
    found = measure(REFERENCE, window, CATEGORIES, Limits())
    return {kind: one for kind, one in found.items() if one.has_moved(Limits())}


def test_the_same_distribution_moves_nothing() -> None:
    assert moved() == {}


def test_another_language_moves_texts_and_is_named() -> None:
    found = moved(words=ENGLISH)
    assert {"text", "quality"} == set(found)
    assert "in English" in [line["name"] for line in found["text"].features]
    assert "in a new language, English" in found["quality"].sentence
    # Every product is unlike the reference's, in both categories
    assert {line["code"] for line in found["text"].classes} == {10, 2583}
    assert len(found["text"].examples) == 5


def test_cut_texts_move_texts_alone() -> None:
    found = moved(length=2)
    assert set(found) == {"text"}
    assert found["text"].sentence.startswith("Texts differ: ")
    assert found["text"].features[0]["window"] < found["text"].features[0]["reference"]


def test_darkened_images_move_images_alone() -> None:
    found = moved(brightness=60.0)
    assert set(found) == {"image"}
    line = next(one for one in found["image"].features if one["name"] == "brightness")
    assert line["window"] < 70 < 150 < line["reference"]


def test_other_categories_move_predictions_and_are_named() -> None:
    found = moved(share=0.85)
    assert "prediction" in found
    assert "2583 " in found["prediction"].sentence
    assert {line["code"] for line in found["prediction"].classes} == {10, 2583}
    # An example of what is answered more often
    assert found["prediction"].examples[0]["product"] is not None


def test_images_of_other_products_move_the_agreement() -> None:
    found = moved(agree=0.5)
    assert "Text and image agree on" in found["prediction"].sentence
    assert found["prediction"].examples


def test_products_without_titles_move_the_quality() -> None:
    found = moved(titled=0.8)
    assert "without a title" in found["quality"].sentence


def test_broken_images_move_the_quality() -> None:
    window = make_products(600, seed=1)
    broken = dict.fromkeys(list(window.images)[:60])
    window = replace(window, images={**window.images, **broken})
    found = measure(REFERENCE, window.sample(), CATEGORIES, Limits())["quality"]
    assert found.has_moved(Limits())
    assert "cannot be read" in found.sentence


def test_fewer_problems_are_no_alarm() -> None:
    worse = make_products(900, titled=0.6).sample()
    found = measure(worse, make_products(600, seed=1).sample(), CATEGORIES, Limits())
    assert not found["quality"].has_moved(Limits())


def test_a_modality_of_a_few_products_is_not_judged() -> None:
    window = make_products(600, seed=1, brightness=10.0, share_with_image=lambda place: place < 20)
    assert "image" not in measure(REFERENCE, window.sample(), CATEGORIES, Limits())


def test_a_sample_of_some_is_as_if_there_were_no_others() -> None:
    products = make_products(40)
    chosen = np.array([3, 8, 20, 21])
    found = products.sample(chosen)
    assert found.answers.tolist() == products.answers[chosen].tolist()
    image = found.views[Modality.IMAGE]
    assert image.products.tolist() == [1, 2]
    assert image.descriptors[1] == pytest.approx(products.images[20])
    assert found.agreement[1] == 2
    assert found.quality["empty_title"] == (0, 4)


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    REFERENCE.save(tmp_path)
    found = Sample.load(tmp_path)
    assert found is not None
    assert found.answers.tolist() == REFERENCE.answers.tolist()
    assert found.agreement == REFERENCE.agreement
    assert found.quality == REFERENCE.quality
    for modality, view in REFERENCE.views.items():
        np.testing.assert_array_equal(found.views[modality].features, view.features)
    # And no word of any product is in it
    content = (tmp_path / sample.REFERENCE).read_bytes()
    assert b"piscine" not in content


def test_rounding_moves_nothing(tmp_path: Path) -> None:
    # Given that all texts have eight words, whose logarithm has no end
    REFERENCE.save(tmp_path)
    kept = Sample.load(tmp_path)
    assert kept is not None
    found = measure(kept, make_products(600, seed=1).sample(), CATEGORIES, Limits())
    assert found["text"].effect < 0.1


def test_a_release_may_have_no_reference(tmp_path: Path) -> None:
    assert Sample.load(tmp_path) is None


def test_a_reference_of_other_descriptors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    REFERENCE.save(tmp_path)
    monkeypatch.setitem(sample.NAMES, Modality.TEXT, ("weight",))
    with pytest.raises(InvalidInput, match="Expected a reference of"):
        Sample.load(tmp_path)
