"""Features that training computed are those that workers look up."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.inference.preparation.image import prepare
from shared.inference.releases.feature_cache import OnlineFeatures
from shared.inference.releases.image_model import Backbone, halved
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release
from trainer.release.feature_upload import Online, publish_features
from trainer.release.image_features import FeatureStore, extract_features

AMPLE = 2**20


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_release(tmp_path_factory.mktemp("release") / "1", in_two_steps=True)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{shade}.png" for shade in (0, 100, 250)]
    for path in paths:
        Image.new("RGB", (20, 20), (int(path.stem),) * 3).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def features(tmp_path: Path, release: Path, images: list[str]) -> Path:
    """What a training computed of the images."""
    store = FeatureStore(tmp_path / "features/tiny-1")
    rows = pd.DataFrame({"image": images})
    extract_features(rows, release / "image/backbone.onnx", store, size=299, tell=print)
    return tmp_path / "features"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


def test_workers_know_what_training_computed_and_would_compute_the_same(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    told: list[str] = []
    online = Online(storage, AMPLE)
    assert publish_features(release, features, images, online, told.append) == 3
    # What a worker finds is to the bit what it would have computed
    backbone = Backbone(release, TINY_EXTRACTOR, threads=1)
    for image in images:
        content = Path(image).read_bytes()
        digest = storage.put("images", content).rpartition("/")[2]
        found = OnlineFeatures(storage, FeatureSettings()).known(TINY_EXTRACTOR, [digest])
        computed = halved(backbone.score([prepare(content, 299)]))[0]
        np.testing.assert_array_equal(found[digest], computed)
    # And a second time, there is nothing to tell them
    assert publish_features(release, features, images, online, told.append) == 0
    assert told[-1] == "0 of 3 images are new to the workers' look-up"


def test_features_of_another_network_are_not_published(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    # Given a store under the release's name, of something else
    store = FeatureStore(features / "tiny-1")
    other = {one: row + np.float16(1) for one, row in store.items()}
    for path in (features / "tiny-1").iterdir():
        path.unlink()
    FeatureStore(features / "tiny-1").add(other)
    # When it should be published, it is refused
    told: list[str] = []
    assert publish_features(release, features, images, Online(storage, AMPLE), told.append) == 0
    assert told == ["the features of tiny-1 are not those of the release: none are published"]
    assert storage.folders("features") == []


def test_no_more_is_published_than_is_kept_there(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    two = 2 * TINY_EXTRACTOR.features * 2
    online = Online(storage, two)
    assert publish_features(release, features, images, online, print) == 2
    assert publish_features(release, features, images, online, print) == 0


def test_storage_that_does_not_answer_costs_the_training_nothing(
    release: Path, features: Path, images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = Storage(StorageSettings(url=str(tmp_path / "file")))
    told: list[str] = []
    assert publish_features(release, features, images, Online(broken, AMPLE), told.append) == 0
    assert told[-1].startswith("the features are not published: The storage does not answer")


def test_release_without_an_extractor_has_nothing_to_publish(
    tmp_path: Path, storage: Storage
) -> None:
    whole = write_tiny_release(tmp_path / "whole")
    assert publish_features(whole, tmp_path, [], Online(storage, AMPLE), print) == 0
