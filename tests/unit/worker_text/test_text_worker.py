from pathlib import Path

import pytest

from shared.contracts import Lane, Modality, ModalityScored, ScoreText, TextItem
from shared.errors import Unavailable
from shared.inference.serving.pool import ModelPool
from tests.support.factories import make_manifest
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.tiny_release import write_tiny_release
from worker_text.handler import TextHandler
from worker_text.scorer import ALIKE, TextScorer, groups

LONG = "piscine ronde avec pompe et filtre et echelle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_release(tmp_path_factory.mktemp("release") / "1")


def make_scorer(folder: Path) -> TextScorer:
    return TextScorer(folder, make_manifest(), threads=1)


def make_handler(folder: Path, broker: FakeBroker) -> TextHandler:
    pool: ModelPool[str] = ModelPool(
        FolderReleases(folder.parent),
        lambda path, manifest: TextScorer(path, manifest, threads=1),
        modality=Modality.TEXT,
        max_batch=8,
        max_wait_seconds=0.0,
    )
    return TextHandler(pool, broker)


def make_request(release: str = "1") -> ScoreText:
    return ScoreText(
        trace_id="a" * 32,
        lane=Lane.INTERACTIVE,
        release=release,
        items=(
            TextItem(job_id="long", designation=LONG, description=""),
            TextItem(job_id="short", designation="piscine", description=""),
        ),
    )


def test_score_of_a_text_does_not_depend_on_its_batch(folder: Path) -> None:
    scorer = make_scorer(folder)
    alone, together = scorer.score(["piscine"]), scorer.score([LONG, "piscine"])
    assert alone.shape == (1, 2)
    assert alone[0].tolist() == together[1].tolist()
    assert together[0].argmax() == 1
    assert together[1].argmax() == 0


def test_texts_of_similar_length_share_a_call() -> None:
    lengths = [100, 10, 11, 300, 12, 110, 13]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    assert groups(order, lengths) == [[1, 2, 4], [6], [0, 5], [3]]
    many = groups(range(20), [50] * 20)
    assert [len(call) for call in many] == [ALIKE, ALIKE, 20 - 2 * ALIKE]
    assert groups(range(2), [0, 0]) == [[0, 1]]


def test_empty_text_has_probabilities(folder: Path) -> None:
    assert make_scorer(folder).score([""]).sum() == pytest.approx(1)


def test_handler_sends_the_scores_of_each_job_to_fusion(folder: Path) -> None:
    broker = FakeBroker()
    make_handler(folder, broker).score_text(make_request())
    (scored,) = broker.messages
    assert isinstance(scored, ModalityScored)
    assert (scored.modality, scored.queue) == (Modality.TEXT, "fusion.interactive")
    found = {item.job_id: item.probabilities or () for item in scored.items}
    assert found["long"][1] > 0.5 > found["short"][1]


def test_unknown_release_is_reported_to_fusion_without_a_retry(folder: Path) -> None:
    broker = FakeBroker()
    make_handler(folder, broker).score_text(make_request("99"))
    (scored,) = broker.messages
    assert isinstance(scored, ModalityScored)
    assert {item.failure.code for item in scored.items if item.failure} == {"release_unknown"}


def test_unavailable_queue_raises_so_that_the_message_is_retried(folder: Path) -> None:
    broker = FakeBroker()
    broker.is_down = True
    with pytest.raises(Unavailable):
        make_handler(folder, broker).score_text(make_request())


def test_release_without_a_text_model_fails_every_item(tmp_path: Path) -> None:
    broker = FakeBroker()
    folder = write_tiny_release(tmp_path / "1", modalities=[Modality.IMAGE])
    make_handler(folder, broker).score_text(make_request())
    (scored,) = broker.messages
    assert isinstance(scored, ModalityScored)
    codes = [item.failure.code for item in scored.items if item.failure]
    assert codes == ["modality_not_in_release", "modality_not_in_release"]
