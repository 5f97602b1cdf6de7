"""Tests of the names of training steps for people."""

import pytest

from shared.lifecycle.training_stages import stage_name


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("text_ngrams fit", "Train the text model: n-grams"),
        ("text_sentence prepare", "Prepare texts for the text model: sentence encoder"),
        (
            "image_xception_tuned measure",
            "Measure the speed of the image model: Xception, fine-tuned",
        ),
        ("fusion_log_linear fit", "Train the fusion model: log linear"),
        ("images train", "Check the images"),
        ("compare", "Compare the release with the serving one"),
        ("new_step of a later version", "New step of a later version"),
    ],
)
def test_step_has_a_name_for_people(step: str, name: str) -> None:
    assert stage_name(step) == name
