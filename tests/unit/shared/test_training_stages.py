"""Tests of the names of training steps for people."""

import pytest

from shared.lifecycle.training_stages import stage_name


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("text_ngrams fit", "Train text model: n-grams"),
        ("text_sentence prepare", "Prepare text model: sentence encoder"),
        (
            "image_xception_tuned measure",
            "Time image model: Xception, fine-tuned",
        ),
        ("fusion_log_linear fit", "Train fusion model: log linear"),
        ("images train", "Check the images"),
        ("compare", "Compare the release with the serving one"),
        ("new_step of a later version", "New step of a later version"),
    ],
)
def test_step_has_a_name_for_people(step: str, name: str) -> None:
    assert stage_name(step) == name
