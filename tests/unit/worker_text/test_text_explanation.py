from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.contracts import (
    Explained,
    ExplainText,
    ExplainTextItem,
    Lane,
    Modality,
    ModalityExplained,
)
from shared.errors import Unavailable
from shared.inference.serving.pool import ModelPool
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.tiny_release import write_tiny_release
from tests.unit.worker_text.test_text_worker import LONG, folder
from worker_text.explanation import AT_ONCE, TextExplainer
from worker_text.scorer import TextScorer

NOW = datetime(2026, 11, 1, tzinfo=UTC)
__all__ = ["folder"]


class CountingScorer:
    """Scorer that records the sizes of its calls."""

    def __init__(self, scorer: TextScorer, sizes: list[int]) -> None:
        self.scorer, self.sizes = scorer, sizes

    def score(self, items: Sequence[str]) -> NDArray[np.float32]:
        self.sizes.append(len(items))
        return self.scorer.score(items)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.broker, self.sizes = FakeBroker(), list[int]()
        self.releases = FolderReleases(folder.parent)
        pool: ModelPool[str] = ModelPool(
            self.releases,
            lambda path, manifest: CountingScorer(
                TextScorer(path, manifest, threads=1), self.sizes
            ),
            modality=Modality.TEXT,
            max_batch=64,
            max_wait_seconds=0.0,
        )
        self.explainer = TextExplainer(pool, self.releases, self.broker, lambda: NOW)

    def explain(
        self,
        designation: str,
        description: str = "",
        code: int = 10,
        release: str = "1",
        late: timedelta = timedelta(),
    ) -> Explained:
        self.explainer.explain_text(
            ExplainText(
                trace_id="a" * 32,
                lane=Lane.INTERACTIVE,
                release=release,
                user_id="ada",
                expires_at=NOW + timedelta(seconds=60) - late,
                items=(
                    ExplainTextItem(
                        job_id="1",
                        designation=designation,
                        description=description,
                        prdtypecode=code,
                    ),
                ),
            )
        )
        (message,) = self.broker.messages
        assert isinstance(message, ModalityExplained)
        assert (message.queue, message.modality, message.user_id) == (
            "fusion.interactive",
            "text",
            "ada",
        )
        (item,) = message.items
        return item


@pytest.fixture
def scene(folder: Path) -> Scene:
    return Scene(folder)


def test_each_word_has_the_fall_of_the_log_odds_without_it(scene: Scene, folder: Path) -> None:
    # The tiny model counts words: more of them speak for category 2583.
    found = scene.explain("piscine ronde", "avec pompe", code=2583)
    probabilities = TextScorer(folder, scene.releases.manifest("1"), threads=1).score(
        ["piscine ronde avec pompe", "piscine ronde avec"]
    )[:, 1]
    odds = np.log(probabilities / (1 - probabilities))
    assert found.probability == pytest.approx(probabilities[0], abs=1e-4)
    parts = [*found.designation, *found.description]
    assert [part.text for part in parts] == ["piscine", "ronde", "avec", "pompe"]
    for part in parts:
        assert part.effect == pytest.approx(odds[0] - odds[1], abs=1e-3)
        assert part.effect > 0
    other = Scene(folder).explain("piscine ronde", "avec pompe", code=10)
    assert all(part.effect < 0 for part in (*other.designation, *other.description))


def test_repeated_word_has_the_same_effect_everywhere(scene: Scene) -> None:
    found = scene.explain("Piscine ronde", "Belle piscine !", code=2583)
    assert found.designation[0].effect == found.description[1].effect != 0
    assert found.designation[0].effect > found.designation[1].effect
    # A sign that is no word has none.
    assert (found.description[2].text, found.description[2].effect) == ("!", 0.0)


def test_cost_is_bounded_and_others_have_their_turn(scene: Scene) -> None:
    found = scene.explain(LONG, " ".join(f"mot{number}" for number in range(800)), code=2583)
    assert sum(scene.sizes) == 64
    assert max(scene.sizes) <= AT_ONCE
    assert " ".join(part.text for part in found.designation) == LONG
    assert sum(len(part.text.split()) for part in found.description) == 800


def test_request_for_which_nobody_waits_costs_nothing(scene: Scene) -> None:
    found = scene.explain("piscine", late=timedelta(seconds=61))
    assert found.failure is not None
    assert found.failure.code == "explanation_expired"
    assert scene.sizes == []


def test_release_that_is_gone_is_a_failure(scene: Scene) -> None:
    found = scene.explain("piscine", release="9")
    assert found.failure is not None
    assert found.failure.code == "release_unknown"


def test_release_without_texts_is_a_failure(scene: Scene, tmp_path: Path) -> None:
    write_tiny_release(tmp_path / "1", modalities=[Modality.IMAGE])
    found = Scene(tmp_path / "1").explain("piscine")
    assert found.failure is not None
    assert found.failure.code == "modality_not_in_release"


def test_registry_that_is_down_is_no_failure_of_the_product(scene: Scene) -> None:
    scene.releases.is_down = True
    with pytest.raises(Unavailable):
        scene.explain("piscine")
