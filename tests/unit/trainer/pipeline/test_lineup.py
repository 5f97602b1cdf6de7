"""Candidates of a training, by its line-up and by name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.errors import InvalidInput
from trainer.candidates.registry import FUSION, IMAGES, ON_REQUEST_IMAGES, STUDENTS, TEXT
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.lineup import candidates_of


def found(*names: str, lineup: Any = "full") -> dict[str, list[str]]:
    settings = TrainingSettings(work=Path(), lineup=lineup, candidates=names)
    context = SimpleNamespace(settings=settings, fit=SimpleNamespace(weights=None))
    kinds = vars(candidates_of(cast(TrainingContext, context)))
    return {kind: [one.name for one in candidates] for kind, candidates in kinds.items()}


def test_all_candidates_of_the_line_up_are_tried_by_default() -> None:
    assert found() == {
        "text": [one.name for one in TEXT],
        "students": [one.name for one in STUDENTS],
        "image": [one.name for one in IMAGES],
        "fusion": [one.name for one in FUSION],
    }


def test_named_candidates_are_tried_and_all_of_other_kinds() -> None:
    named = found("text_transformer", "text_ngrams")
    assert named == found() | {"text": ["text_ngrams", "text_transformer"], "students": []}
    assert found("fusion_mean") == found() | {"fusion": ["fusion_mean"]}


@pytest.mark.parametrize("name", [one.name for one in ON_REQUEST_IMAGES])
def test_candidates_on_request_are_tried_if_they_are_named(name: str) -> None:
    assert name not in found()["image"]
    assert found(name, "image_xception") == found() | {"image": ["image_xception", name]}
    quick = found(lineup="quick")
    assert found(name, lineup="quick") == quick


def test_names_of_another_line_up_limit_nothing() -> None:
    quick = found(lineup="quick")
    assert quick["text"] != found()["text"]
    assert found("text_transformer", lineup="quick") == quick


def test_unknown_name_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"text_ngrams.*Received: text_ngram$"):
        found("text_ngram")
