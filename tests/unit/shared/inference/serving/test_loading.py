"""A worker that cannot load a release says so, rests, and gives its messages back."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.broker import Worker, unloadable_everywhere
from shared.broker.delivery import Delivery
from shared.contracts import Lane, Message, Modality, ModalityScored, ScoreText, TextItem
from shared.errors import NotFound, ReleaseIncompatible, ReleaseUnloadable, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from shared.inference.releases.copies import Copies
from shared.inference.serving.loading import Loads
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.worker import unloadable
from shared.settings import BrokerSettings
from tests.support.fakes import FakeBroker
from tests.support.servers import until
from tests.support.tiny_release import write_tiny_release
from worker_text.handler import TextHandler
from worker_text.scorer import TextScorer

MODEL = "text/model.onnx"
REST = "shared.inference.releases.rests.FIRST_SECONDS"


class LocalRegistry:
    """Releases 1 and 2 in a folder, with local copies, as `Releases` has."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache, self.downloads = root / "registry", root / "cache", 0
        for version in ("1", "2"):
            folder = write_tiny_release(self.root / version)
            (folder / CHECKSUMS).write_text(Checksums.of(folder).content)
        self.copies = Copies(self.cache, self.fetch)

    def fetch(self, version: str, aside: Path) -> Path:
        self.downloads += 1
        return Path(shutil.copytree(self.root / version, aside / "release"))

    def champion(self) -> str | None:
        return "1"

    def folder(self, version: str) -> Path:
        return self.copies.folder(version)

    def manifest(self, version: str) -> ReleaseManifest:
        return ReleaseManifest.read(self.folder(version))


class Scene:
    """A text worker whose queue is in memory."""

    def __init__(self, root: Path) -> None:
        self.registry, self.broker = LocalRegistry(root), FakeBroker()
        self.pool: ModelPool[str] = ModelPool(
            self.registry,
            lambda folder, manifest: TextScorer(folder, manifest, threads=1),
            modality=Modality.TEXT,
            max_batch=8,
            max_wait_seconds=0.0,
        )
        self.pauses: list[float] = []
        self.delivery = Delivery(
            BrokerSettings(max_deliveries=2), self.broker.publish, self.pauses.append
        )
        self.handler = TextHandler(self.pool, self.broker)

    def deliver(self, message: Message) -> Message:
        """Deliver a message for the first time and return the one that the worker sends."""
        assert isinstance(message, ScoreText)
        self.broker.messages.clear()
        self.delivery.deliver(message, self.handler.score_text)
        (sent,) = self.broker.messages
        return sent


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def ask(release: str = "1") -> ScoreText:
    item = TextItem(job_id="1", designation="Piscine", description="")
    return ScoreText(trace_id="a" * 32, lane=Lane.CATALOG, release=release, items=(item,))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_message_is_answered_with_a_broken_local_copy(scene: Scene) -> None:
    cut(scene.registry.folder("1") / MODEL)
    assert isinstance(scene.deliver(ask()), ModalityScored)
    assert scene.pool.loads.reasons() == {}


def test_message_is_given_back_until_the_registry_has_a_good_copy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a release that is broken in the registry too
    monkeypatch.setattr(REST, 0.0)
    good = (scene.registry.folder("1") / MODEL).read_bytes()
    for root in (scene.registry.cache, scene.registry.root):
        cut(root / "1" / MODEL)

    # When it is delivered more often than a message may fail
    message: Message = ask()
    for _ in range(10):
        message = scene.deliver(message)
        assert message == ask()

    # I expect a pause each time, and its answer once the registry is mended
    assert scene.pauses == [1.0] * 10
    (scene.registry.root / "1" / MODEL).write_bytes(good)
    assert isinstance(scene.deliver(message), ModalityScored)
    assert scene.pool.loads.reasons() == {}


def test_worker_goes_on_with_other_releases(scene: Scene) -> None:
    scene.pool.score("2", ["x"])
    scene.registry.folder("1")
    for root in (scene.registry.cache, scene.registry.root):
        cut(root / "1" / MODEL)
    assert scene.deliver(ask("1")) == ask("1")
    assert isinstance(scene.deliver(ask("2")), ModalityScored)


def test_failed_load_rests_before_the_next_try(scene: Scene) -> None:
    scene.registry.folder("1")
    for root in (scene.registry.cache, scene.registry.root):
        cut(root / "1" / MODEL)
    for _ in range(20):
        with pytest.raises(ReleaseUnloadable):
            scene.pool.score("1", ["x"])
    assert scene.registry.downloads == 2


def test_model_that_does_not_open_is_given_back_too(scene: Scene) -> None:
    # A release that was registered before there were checksums, and is broken in the registry
    broken = scene.registry.root / "1"
    cut(broken / MODEL)
    (broken / CHECKSUMS).unlink()
    assert scene.deliver(ask()) == ask()
    (reason,) = scene.pool.loads.reasons().values()
    assert MODEL in reason


def test_unloadable_release_is_announced_and_a_metric(scene: Scene) -> None:
    labels = {"modality": "text", "release": "1"}
    cut(scene.registry.root / "1" / MODEL)
    with pytest.raises(ReleaseUnloadable):
        scene.pool.follow_champion()
    (reason,) = unloadable("text", [scene.pool.loads]).values()
    assert "registry's copy of release 1 is broken (text/model.onnx: Expected" in reason
    assert REGISTRY.get_sample_value("rayon_release_unloadable", labels) == 1
    assert scene.pool.ready() == ()
    unloadable("text", [Loads("text")])
    assert REGISTRY.get_sample_value("rayon_release_unloadable", labels) is None


@pytest.mark.parametrize("error", [NotFound("gone"), ReleaseIncompatible("for another")])
def test_final_error_is_neither_hidden_nor_remembered(error: Exception) -> None:
    loads = Loads("text")
    for _ in range(2):
        with pytest.raises(type(error)), loads.loading("1"):
            raise error
    assert loads.reasons() == {}


def test_one_thread_tries_again_while_the_others_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REST, 0.0)
    loads, tries, may_end = Loads("text"), threading.Event(), threading.Event()

    def fail() -> None:
        with loads.loading("1"):
            raise Unavailable("down")

    def hang() -> None:
        with loads.loading("1"):
            tries.set()
            may_end.wait(10)

    with pytest.raises(ReleaseUnloadable):
        fail()
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(hang)
        until(tries.is_set, 5, "the second try runs")
        with pytest.raises(ReleaseUnloadable):
            loads.require_rested("1")
        may_end.set()
        second.result(10)
    assert loads.reasons() == {}


def test_failure_that_nobody_repeats_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads("text")
    with pytest.raises(ReleaseUnloadable), loads.loading("1"):
        raise Unavailable("down")
    assert loads.reasons() == {"1": "down"}
    monkeypatch.setattr("shared.inference.releases.rests.FORGOTTEN_SECONDS", -60.0)
    assert loads.reasons() == {}


def worker(queue: str, *unloadable: str) -> Worker:
    return Worker(queue, (queue,), (), 0, 0, None, unloadable=dict.fromkeys(unloadable, "broken"))


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ((), set()),
        ((worker("text.catalog", "1"), worker("image.catalog")), {"1"}),
        ((worker("text.catalog", "1"), worker("text.catalog")), set()),
        ((worker("text.catalog", "1"), worker("text.catalog", "1", "2")), {"1"}),
    ],
)
def test_release_is_unloadable_if_no_worker_of_a_queue_can_load_it(
    workers: tuple[Worker, ...], expected: set[str]
) -> None:
    assert unloadable_everywhere(workers) == expected
