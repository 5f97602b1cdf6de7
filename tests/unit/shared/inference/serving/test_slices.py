from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.contracts import Failure, Lane, Modality, ScoreText
from shared.errors import Unavailable
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.slices import score_slice
from tests.support.fakes import FolderReleases


class ThirdModel:
    """Probabilities that do not end, in the order of the given numbers."""

    def score(self, items: Sequence[int]) -> NDArray[np.float32]:
        return np.array([[item / 3, 1 - item / 3] for item in items], np.float32)


@pytest.fixture
def registry() -> FolderReleases:
    return FolderReleases(Path("releases"))


@pytest.fixture
def pool(registry: FolderReleases) -> ModelPool[int]:
    return ModelPool(
        registry,
        lambda _folder, _manifest: ThirdModel(),
        modality=Modality.TEXT,
        max_batch=8,
        max_wait_seconds=0.0,
    )


def make_request(release: str = "1") -> ScoreText:
    return ScoreText(trace_id="a" * 32, lane=Lane.CATALOG, release=release, items=())


def test_answer_has_the_request_s_release_lane_and_trace(pool: ModelPool[int]) -> None:
    scored = score_slice(pool, make_request(), Modality.TEXT, {"j": 1})
    assert (scored.release, scored.lane, scored.trace_id) == ("1", Lane.CATALOG, "a" * 32)
    assert scored.queue == "fusion.catalog"


def test_probabilities_are_rounded_and_belong_to_their_job(pool: ModelPool[int]) -> None:
    scored = score_slice(pool, make_request(), Modality.TEXT, {"b": 1, "a": 2})
    assert {item.job_id: item.probabilities for item in scored.items} == {
        "b": (0.333333, 0.666667),
        "a": (0.666667, 0.333333),
    }


def test_failed_item_does_not_keep_the_others_from_being_scored(pool: ModelPool[int]) -> None:
    failure = Failure(code="image_missing", message="gone")
    prepared: dict[str, int | Failure] = {"bad": failure, "good": 1}
    scored = score_slice(pool, make_request(), Modality.IMAGE, prepared)
    found = {item.job_id: item for item in scored.items}
    assert found["bad"].failure == failure
    assert found["good"].probabilities is not None


def test_slice_of_failures_needs_no_model(pool: ModelPool[int], registry: FolderReleases) -> None:
    registry.is_down = True
    failure = Failure(code="image_missing", message="gone")
    scored = score_slice(pool, make_request(), Modality.IMAGE, {"bad": failure})
    assert [item.failure for item in scored.items] == [failure]


def test_unknown_release_is_a_failure_of_every_item(pool: ModelPool[int]) -> None:
    scored = score_slice(pool, make_request("99"), Modality.TEXT, {"a": 1, "b": 2})
    codes = [item.failure.code for item in scored.items if item.failure]
    assert codes == ["release_unknown", "release_unknown"]


def test_silent_registry_raises_so_that_the_message_comes_again(
    pool: ModelPool[int], registry: FolderReleases
) -> None:
    registry.is_down = True
    with pytest.raises(Unavailable):
        score_slice(pool, make_request("2"), Modality.TEXT, {"a": 1})
