import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from shared.errors import Unavailable
from shared.inference.manifest import ImagePart
from shared.inference.releases.feature_cache import SHARES, NoFeatures, OnlineFeatures, address
from shared.inference.releases.image_model import Features
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage

PART = ImagePart(preparation="image-1", size=299, extractor="xception-0123", features=4)
ROW: Features = np.array([0, 0.5, -2, 100], np.float16)
DIGEST = "ab" * 32


class BrokenStorage(Storage):
    """A storage that is down for reading, or full."""

    def __init__(self, root: Path) -> None:
        super().__init__(StorageSettings(url=str(root)))
        self.reads = 0

    def get(self, uri: str) -> bytes:
        self.reads += 1
        raise Unavailable("The storage does not answer: it is down in this test")

    def put_at(self, uri: str, content: bytes) -> None:
        raise Unavailable("The storage is full")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


@pytest.fixture
def features(storage: Storage) -> Iterator[OnlineFeatures]:
    store = OnlineFeatures(storage, FeatureSettings())
    yield store
    store.flush()


def keep(store: OnlineFeatures, *digests: str, part: ImagePart = PART) -> None:
    store.keep(part, dict.fromkeys(digests, ROW))
    store.flush()


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("rayon_image_features_total", {"outcome": outcome}) or 0.0


def test_replica_knows_what_another_one_kept(storage: Storage, features: OnlineFeatures) -> None:
    keep(features, DIGEST)
    hits, misses = counted("hit"), counted("miss")
    found = OnlineFeatures(storage, FeatureSettings()).known(PART, [DIGEST, "cd" * 32])
    assert list(found) == [DIGEST]
    assert found[DIGEST].tolist() == ROW.tolist()
    assert (counted("hit") - hits, counted("miss") - misses) == (1, 1)


def test_features_lie_by_extractor_and_hash(storage: Storage, features: OnlineFeatures) -> None:
    keep(features, DIGEST)
    content = storage.get(f"features/xception-0123/ab/{DIGEST}")
    assert np.frombuffer(content, "<f2").tolist() == ROW.tolist()


def test_another_extractor_knows_nothing(features: OnlineFeatures) -> None:
    keep(features, DIGEST)
    assert features.known(PART.model_copy(update={"extractor": "other"}), [DIGEST]) == {}


def test_release_without_an_extractor_keeps_nothing(
    storage: Storage, features: OnlineFeatures
) -> None:
    whole = ImagePart(preparation="image-1", size=299)
    keep(features, DIGEST, part=whole)
    assert features.known(whole, [DIGEST]) == {}
    assert storage.folders("features") == []


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 7, b"\x00" * 10, np.full(4, np.nan, "<f2").tobytes()]
)
def test_broken_file_counts_as_not_known_and_is_replaced(
    storage: Storage, features: OnlineFeatures, content: bytes
) -> None:
    storage.put_at(address("xception-0123", DIGEST), content)
    assert features.known(PART, [DIGEST]) == {}
    keep(features, DIGEST)
    assert list(features.known(PART, [DIGEST])) == [DIGEST]


def test_silent_storage_is_asked_once_and_then_left_alone(tmp_path: Path) -> None:
    storage = BrokenStorage(tmp_path)
    store = OnlineFeatures(storage, FeatureSettings())
    before = counted("failed")
    assert store.known(PART, [DIGEST, "cd" * 32, "ef" * 32]) == {}
    assert storage.reads == 1
    assert counted("failed") - before == 3


def test_full_storage_fails_nothing_and_is_counted(tmp_path: Path) -> None:
    store = OnlineFeatures(BrokenStorage(tmp_path), FeatureSettings())
    before = counted("failed")
    keep(store, DIGEST, "cd" * 32)
    assert counted("failed") - before == 2


def test_sweep_removes_the_oldest_of_all_extractors(tmp_path: Path, storage: Storage) -> None:
    # Given a bound of ten files a folder, and eleven files in one, older ones of an old extractor
    store = OnlineFeatures(storage, FeatureSettings(max_megabytes=1))
    size = 2**20 // SHARES // 10
    uris = [address("old" if n < 2 else "new", f"ab{n:062x}") for n in range(11)]
    for age, uri in enumerate(reversed(uris)):
        storage.put_at(uri, b"\x00" * size)
        os.utime(tmp_path / "storage" / uri, (1e9 - age, 1e9 - age))
    storage.put_at(address("new", f"cd{0:062x}"), b"\x00" * size)
    # When that folder is swept
    store.sweep("ab")
    # Then what was written first is gone, until a tenth of the folder is free
    left = {
        file.uri for folder in storage.folders("features") for file in storage.files(f"{folder}/ab")
    }
    assert left == set(uris[2:])
    # And other folders are as they were
    assert len(storage.files("features/new/cd")) == 1


def test_store_never_grows_far_beyond_its_bound(storage: Storage) -> None:
    # Given a bound of two rows a folder
    part = PART.model_copy(update={"features": 1024})
    store = OnlineFeatures(storage, FeatureSettings(max_megabytes=1))
    row = np.ones(1024, np.float16)
    # When a hundred rows come for one folder
    for n in range(100):
        store.keep(part, {f"ab{n:062x}": row})
    store.flush()
    # Then it was swept on the way
    assert len(storage.files("features/xception-0123/ab")) <= 2 + 16


def test_store_that_is_turned_off_knows_nothing() -> None:
    off = NoFeatures()
    off.keep(PART, {DIGEST: ROW})
    assert off.known(PART, [DIGEST]) == {}
