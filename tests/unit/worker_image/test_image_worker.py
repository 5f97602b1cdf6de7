import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.contracts import ImageItem, Lane, Modality, ModalityScore, ModalityScored, ScoreImage
from shared.errors import NotFound, Unavailable
from shared.inference import onnx_session
from shared.inference.manifest import ImagePart
from shared.inference.preparation.image import decode, thumbnail
from shared.inference.releases.image_model import Features, Pixels
from shared.inference.serving.pool import ModelPool
from tests.support.convolutions import brightness_network
from tests.support.factories import make_manifest
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release
from trainer.candidates.onnx.quantisation import in_eight_bits
from worker_image.handler import ImageHandler
from worker_image.scorer import Backbones, Heads, ImageScorer


class FakeStorage:
    """Storage in memory, which can be down."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.is_down = False
        self.asked: list[str] = []

    def get(self, uri: str) -> bytes:
        self.asked.append(uri)
        if self.is_down:
            raise Unavailable("The storage does not answer: it is down in this test")
        if uri not in self.content:
            raise NotFound(f"Nothing is stored at {uri!r}")
        return self.content[uri]


class FakeFeatures:
    """Feature cache in memory, which records how many messages were sent before each `keep`."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.kept: dict[tuple[str | None, str], Features] = {}
        self.messages_before_keeping: list[int] = []

    def known(self, part: ImagePart, hashes: Iterable[str]) -> dict[str, Features]:
        keys = {digest: (part.extractor, digest) for digest in hashes}
        return {digest: self.kept[key] for digest, key in keys.items() if key in self.kept}

    def keep(self, part: ImagePart, features: Mapping[str, Features]) -> None:
        self.messages_before_keeping.append(len(self.broker.messages))
        self.kept |= {(part.extractor, digest): row for digest, row in features.items()}


class DecodersHere:
    """Decoders without processes, which record what they decode and for whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str]] = []
        self.share = ""

    @contextmanager
    def visit(self, share: str) -> Iterator["DecodersHere"]:
        self.share = share
        yield self

    def prepare(self, content: bytes, size: int) -> Pixels:
        self.asked.append((content, self.share))
        return np.frombuffer(decode(content, size), np.uint8).reshape(size, size, 3)

    def thumbnail(self, content: bytes, size: int) -> bytes:
        self.asked.append((content, self.share))
        return thumbnail(content, size)


class CountingScorer:
    """Scorer that counts the images that the backbone computes."""

    def __init__(self, scorer: ImageScorer, computed: list[int]) -> None:
        self.scorer, self.computed = scorer, computed

    def score(self, items: Sequence[Pixels]) -> NDArray[np.float32]:
        self.computed.append(len(items))
        return self.scorer.score(items)


class Scene:
    """Handler with fakes, and the releases `1` and `2` of a folder."""

    def __init__(self, root: Path, content: dict[str, bytes]) -> None:
        self.storage, self.broker = FakeStorage(content), FakeBroker()
        self.features = FakeFeatures(self.broker)
        self.computed: list[int] = []
        releases, backbones = FolderReleases(root), Backbones(threads=1)
        pool: ModelPool[Pixels] = ModelPool(
            releases,
            lambda path, manifest: CountingScorer(
                ImageScorer(path, manifest, backbones), self.computed
            ),
            modality=Modality.IMAGE,
            max_batch=4,
            max_wait_seconds=0.0,
        )
        self.decoders = DecodersHere()
        self.handler = ImageHandler(
            pool, Heads(releases), self.features, self.broker, self.storage, self.decoders
        )

    def score(self, *uris: str, release: str = "1", user_id: str = "") -> list[ModalityScore]:
        """Score images in one message."""
        items = tuple(ImageItem(job_id=f"job-{i}", uri=uri) for i, uri in enumerate(uris))
        self.broker.messages.clear()
        self.handler.score_image(
            ScoreImage(
                trace_id="a" * 32,
                lane=Lane.CATALOG,
                release=release,
                items=items,
                user_id=user_id,
            )
        )
        (scored,) = self.broker.messages
        assert isinstance(scored, ModalityScored)
        assert (scored.modality, scored.queue) == (Modality.IMAGE, "fusion.catalog")
        by_job = {item.job_id: item for item in scored.items}
        assert len(by_job) == len(uris)
        return [by_job[item.job_id] for item in items]


def png(brightness: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (brightness,) * 3).save(stream, "PNG")
    return stream.getvalue()


def address(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"images/{digest[:2]}/{digest}"


DARK, BRIGHT = address(png(10)), address(png(240))
CONTENT = {DARK: png(10), BRIGHT: png(240), "text": b"not an image"}


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one-step")
    write_tiny_release(root / "1")
    return root


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two-steps")
    for version in ("1", "2"):
        write_tiny_release(root / version, in_two_steps=True)
    return root


@pytest.fixture(params=["one_step", "two_steps"])
def either(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.getfixturevalue(request.param), dict(CONTENT))


@pytest.fixture
def scene(two_steps: Path) -> Scene:
    return Scene(two_steps, dict(CONTENT))


def code(item: ModalityScore) -> str | None:
    return item.failure.code if item.failure else None


def test_one_step_scorer_returns_probabilities_for_each_image(one_step: Path) -> None:
    scorer = ImageScorer(one_step / "1", make_manifest(), Backbones(threads=1))
    pixels = [np.full((299, 299, 3), level, np.uint8) for level in (0, 255)]
    assert scorer.score(pixels).argmax(axis=1).tolist() == [0, 1]


def test_handler_scores_the_image_of_each_job(either: Scene) -> None:
    bright, dark = either.score(BRIGHT, DARK)
    assert (bright.probabilities or ())[1] > 0.5
    assert (dark.probabilities or ())[0] > 0.5


def test_one_and_two_step_models_return_equal_scores(one_step: Path, two_steps: Path) -> None:
    whole, split = (Scene(root, CONTENT).score(BRIGHT, DARK) for root in (one_step, two_steps))
    for one, other in zip(whole, split, strict=True):
        np.testing.assert_allclose(one.probabilities or (), other.probabilities or (), atol=1e-3)


@pytest.mark.parametrize("in_floats", [False, True])
def test_backbone_in_eight_bits_is_served(
    two_steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_floats: bool
) -> None:
    # Given a release whose backbone computes in 8 bits, and a machine that is fast at one of both
    folder = write_tiny_release(tmp_path / "1", in_two_steps=True)
    grey = np.linspace(0, 255, 6).astype(np.uint8)[:, None, None, None]
    pixels = np.broadcast_to(grey, (6, 299, 299, 3))
    onnx.save(in_eight_bits(brightness_network(299), pixels), folder / "image/backbone.onnx")
    monkeypatch.setattr(onnx_session, "has_instructions", lambda: not in_floats)
    seconds = iter((0.2, 0.1))
    monkeypatch.setattr(onnx_session, "timed", lambda _: (next(seconds), np.ones(1)))
    # When the worker scores images, then it answers as in floats
    found = Scene(tmp_path, CONTENT).score(BRIGHT, DARK)
    for one, other in zip(found, Scene(two_steps, CONTENT).score(BRIGHT, DARK), strict=True):
        np.testing.assert_allclose(one.probabilities or (), other.probabilities or (), atol=0.02)


def test_missing_and_unreadable_images_fail_separately(either: Scene) -> None:
    gone, dark, text = either.score("gone", DARK, "text")
    assert (code(gone), code(dark), code(text)) == ("image_missing", None, "image_unreadable")
    assert text.failure is not None
    assert "Expected an image" in text.failure.message


def test_unreadable_image_is_not_decoded_again(scene: Scene) -> None:
    broken = png(99)[:60]
    scene.storage.content[address(broken)] = broken
    (first,) = scene.score(address(broken))
    again, dark = scene.score(address(broken), DARK)
    assert first.failure == again.failure is not None
    assert code(dark) is None
    assert [content for content, _ in scene.decoders.asked] == [broken, png(10)]
    assert scene.storage.asked == [address(broken), DARK]


def test_unreadable_image_under_a_name_is_read_again(scene: Scene) -> None:
    assert code(scene.score("text")[0]) == "image_unreadable"
    scene.storage.content["text"] = png(240)
    assert code(scene.score("text")[0]) is None


def test_images_are_decoded_on_behalf_of_their_user(scene: Scene) -> None:
    scene.score(DARK, user_id="ann")
    assert scene.decoders.asked == [(png(10), "ann")]


def test_unavailable_storage_raises_so_that_the_message_is_retried(either: Scene) -> None:
    either.storage.is_down = True
    with pytest.raises(Unavailable):
        either.score(DARK)


def test_cached_image_is_neither_read_nor_computed(scene: Scene) -> None:
    first = scene.score(DARK, BRIGHT)
    scene.storage.asked.clear()
    scene.computed.clear()
    assert scene.score(DARK, BRIGHT) == first
    assert scene.storage.asked == []
    assert scene.computed == []


def test_backbone_computes_only_uncached_images(scene: Scene) -> None:
    scene.score(DARK)
    scene.computed.clear()
    bright, dark = scene.score(BRIGHT, DARK)
    assert scene.computed == [1]
    assert (bright.probabilities or ())[1] > 0.5
    assert (dark.probabilities or ())[0] > 0.5


def test_release_with_the_same_extractor_uses_the_cached_features(scene: Scene) -> None:
    scene.score(DARK, release="1")
    scene.computed.clear()
    assert code(scene.score(DARK, release="2")[0]) is None
    assert scene.computed == []


def test_features_are_stored_after_the_scores_are_sent(scene: Scene) -> None:
    scene.score(DARK)
    assert scene.features.messages_before_keeping == [1]
    assert [key[0] for key in scene.features.kept] == [TINY_EXTRACTOR.extractor]


def test_repeated_image_of_a_slice_is_computed_once(either: Scene) -> None:
    first, bright, again = either.score(DARK, BRIGHT, DARK)
    assert sum(either.computed) == 2
    assert first.probabilities == again.probabilities != bright.probabilities


def test_image_without_a_digest_in_its_address_is_not_cached(scene: Scene) -> None:
    scene.storage.content["by-name.png"] = png(240)
    (found,) = scene.score("by-name.png")
    assert (found.probabilities or ())[1] > 0.5
    assert scene.features.kept == {}


def test_release_without_an_image_model_fails_every_item(tmp_path: Path) -> None:
    write_tiny_release(tmp_path / "1", modalities=[Modality.TEXT])
    found = Scene(tmp_path, CONTENT).score(DARK, BRIGHT)
    assert [code(item) for item in found] == ["modality_not_in_release"] * 2


def test_unknown_release_fails_every_item(scene: Scene) -> None:
    assert [code(item) for item in scene.score(DARK, release="99")] == ["release_unknown"]


def test_releases_with_the_same_extractor_share_one_backbone(two_steps: Path) -> None:
    backbones = Backbones(threads=1)
    first = backbones.open(two_steps / "1", TINY_EXTRACTOR)
    assert backbones.open(two_steps / "2", TINY_EXTRACTOR) is first
    other = TINY_EXTRACTOR.model_copy(update={"extractor": "tiny-2"})
    assert backbones.open(two_steps / "2", other) is not first
