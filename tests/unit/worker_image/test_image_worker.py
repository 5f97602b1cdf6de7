import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.contracts import ImageItem, Lane, Modality, ModalityScore, ModalityScored, ScoreImage
from shared.errors import NotFound, Unavailable
from shared.inference.pool import ModelPool
from tests.factories import make_manifest
from tests.fakes import FakeBroker, FolderReleases
from tests.tiny_release import write_tiny_release
from worker_image.handler import ImageHandler
from worker_image.scorer import ImageScorer, Pixels


class FakeStorage:
    """Bytes in memory; may be down."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.is_down = False

    def get(self, uri: str) -> bytes:
        if self.is_down:
            raise Unavailable("The storage does not answer: it is down in this test")
        if uri not in self.content:
            raise NotFound(f"Nothing is stored at {uri!r}")
        return self.content[uri]


def png(brightness: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (brightness,) * 3).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_release(tmp_path_factory.mktemp("release") / "1")


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage({"dark": png(10), "bright": png(240), "text": b"not a picture"})


def score(folder: Path, storage: FakeStorage, *uris: str) -> dict[str, ModalityScore]:
    pool: ModelPool[Pixels] = ModelPool(
        FolderReleases(folder.parent),
        lambda path, manifest: ImageScorer(path, manifest, threads=1),
        modality=Modality.IMAGE,
        max_batch=4,
        max_wait_seconds=0.0,
    )
    broker = FakeBroker()
    items = tuple(ImageItem(job_id=uri, uri=uri) for uri in uris)
    ImageHandler(pool, broker, storage, 299).score_image(
        ScoreImage(trace_id="a" * 32, lane=Lane.CATALOG, release="1", items=items)
    )
    (scored,) = broker.messages
    assert isinstance(scored, ModalityScored)
    assert (scored.modality, scored.queue) == (Modality.IMAGE, "fusion.catalog")
    return {item.job_id: item for item in scored.items}


def test_scorer_gives_each_picture_its_probabilities(folder: Path) -> None:
    scorer = ImageScorer(folder, make_manifest(), threads=1)
    pixels = [np.full((299, 299, 3), level, np.uint8) for level in (0, 255)]
    assert scorer.score(pixels).argmax(axis=1).tolist() == [0, 1]


def test_handler_scores_the_pictures_of_their_jobs(folder: Path, storage: FakeStorage) -> None:
    found = score(folder, storage, "bright", "dark")
    assert (found["bright"].probabilities or ())[1] > 0.5
    assert (found["dark"].probabilities or ())[0] > 0.5


def test_missing_and_unreadable_pictures_fail_alone(folder: Path, storage: FakeStorage) -> None:
    found = score(folder, storage, "gone", "dark", "text")
    gone, text = found["gone"].failure, found["text"].failure
    assert gone is not None
    assert gone.code == "image_missing"
    assert text is not None
    assert text.code == "image_unreadable"
    assert "Expected a picture" in text.message
    assert found["dark"].probabilities is not None


def test_silent_storage_makes_the_message_come_again(folder: Path, storage: FakeStorage) -> None:
    storage.is_down = True
    with pytest.raises(Unavailable):
        score(folder, storage, "dark")
