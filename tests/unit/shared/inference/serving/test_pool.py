import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.errors import ModalityNotInRelease, NotFound, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.serving.pool import ModelPool
from tests.support.factories import make_manifest
from tests.support.fakes import FolderReleases
from tests.support.servers import until


class VersionModel:
    """Answers with its version; can be held up."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.is_open = threading.Event()
        self.is_open.set()
        self.calls = 0

    def score(self, items: Sequence[str]) -> NDArray[np.float32]:
        self.calls += 1
        self.is_open.wait(10)
        return np.full((len(items), 1), self.version, np.float32)


class Scene:
    """A pool over a registry of two versions."""

    def __init__(self) -> None:
        self.registry = FolderReleases(Path("releases"))
        self.models: dict[str, VersionModel] = {}
        self.loads: list[str] = []
        self.may_load = threading.Event()
        self.may_load.set()
        self.pool: ModelPool[str] = ModelPool(
            self.registry, self.load, modality=Modality.TEXT, max_batch=8, max_wait_seconds=0.0
        )

    def load(self, folder: Path, manifest: ReleaseManifest) -> VersionModel:
        self.loads.append(folder.name)
        self.may_load.wait(10)
        self.models[folder.name] = VersionModel(int(folder.name))
        return self.models[folder.name]

    def answer(self, version: str) -> float:
        return float(self.pool.score(version, ["x"])[0, 0])


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inference.serving.pool.UNUSED_SECONDS", 0.0)


def test_champion_is_ready_before_anybody_asks(scene: Scene) -> None:
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("1",)
    assert scene.answer("1") == 1
    assert scene.loads == ["1"]


def test_known_version_is_loaded_when_asked_for(scene: Scene) -> None:
    scene.pool.follow_champion()
    assert scene.answer("2") == 2
    assert scene.pool.ready() == ("1", "2")


def test_version_is_loaded_once_for_all_who_ask_at_once(scene: Scene) -> None:
    scene.may_load.clear()
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(scene.answer, "1") for _ in range(8)]
        until(lambda: scene.loads == ["1"], 5, "it loads")
        scene.may_load.set()
        assert [answer.result(5) for answer in answers] == [1.0] * 8
    assert scene.loads == ["1"]


def test_old_champion_answers_while_the_new_one_loads(scene: Scene) -> None:
    scene.pool.follow_champion()
    scene.registry.mark_champion("2")
    scene.may_load.clear()
    watcher = threading.Thread(target=scene.pool.follow_champion)
    watcher.start()
    until(lambda: scene.loads == ["1", "2"], 5, "the new champion loads")
    assert scene.answer("1") == 1
    assert scene.pool.ready() == ("1",)
    scene.may_load.set()
    watcher.join(5)
    assert scene.pool.ready() == ("1", "2")


@pytest.mark.usefixtures("no_patience")
def test_old_champion_is_dropped_when_unused(scene: Scene) -> None:
    scene.pool.follow_champion()
    scene.registry.mark_champion("2")
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("2",)
    assert scene.answer("1") == 1
    assert scene.loads == ["1", "2", "1"]


def test_old_champion_is_kept_for_a_while(scene: Scene) -> None:
    scene.pool.follow_champion()
    scene.registry.mark_champion("2")
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("1", "2")


@pytest.mark.usefixtures("no_patience")
def test_old_champion_is_kept_while_it_works(scene: Scene) -> None:
    scene.pool.follow_champion()
    scene.models["1"].is_open.clear()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(scene.answer, "1")
        until(lambda: scene.models["1"].calls == 1, 5, "it works")
        scene.registry.mark_champion("2")
        scene.pool.follow_champion()
        assert scene.pool.ready() == ("1", "2")
        scene.models["1"].is_open.set()
        assert answer.result(5) == 1
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("2",)


def test_silent_registry_leaves_what_is_loaded(scene: Scene) -> None:
    scene.pool.follow_champion()
    scene.registry.is_down = True
    scene.pool.follow_champion()
    assert scene.answer("1") == 1
    with pytest.raises(Unavailable):
        scene.answer("2")


def test_unknown_version_is_not_found_and_not_kept(scene: Scene) -> None:
    with pytest.raises(NotFound):
        scene.answer("99")
    assert scene.pool.ready() == ()


def test_watcher_finds_a_champion_that_comes_later_and_outlives_a_bad_one(scene: Scene) -> None:
    scene.registry.marked = None
    scene.pool.watch(0.01)
    scene.registry.marked = "99"
    until(lambda: "99" in scene.registry.requested, 5, "the bad champion is tried")
    scene.registry.manifests["3"] = scene.registry.manifests["1"]
    scene.registry.marked = "3"
    until(lambda: scene.pool.ready() == ("3",), 5, "the champion is loaded")


@pytest.mark.usefixtures("no_patience")
def test_champion_without_this_modality_is_ready_and_loads_nothing(scene: Scene) -> None:
    scene.registry.manifests["1"] = make_manifest(text=None)
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("1",)
    assert scene.loads == []
    with pytest.raises(ModalityNotInRelease, match="Release 1 has no text model"):
        scene.answer("1")
    # And it makes room for the next one like any other
    scene.registry.mark_champion("2")
    scene.pool.follow_champion()
    assert scene.pool.ready() == ("2",)
