"""Workers look up the same features that training computed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.inference.preparation.decoders import prepare
from shared.inference.releases.feature_cache import OnlineFeatures
from shared.inference.releases.image_model import Backbone, halved
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release
from trainer.release.feature_upload import UploadTarget, publish_features
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
    """Return the folder of features that a training computed."""
    store = FeatureStore(tmp_path / "features/tiny-1")
    rows = pd.DataFrame({"image": images})
    extract_features(rows, release / "image/backbone.onnx", store, size=299, log_line=print)
    return tmp_path / "features"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


def test_workers_find_exactly_the_features_that_they_would_compute(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    lines: list[str] = []
    target = UploadTarget(storage, AMPLE)
    assert publish_features(release, features, images, target, lines.append) == 3
    # A worker finds bit for bit the features that it would have computed
    backbone = Backbone(release, TINY_EXTRACTOR, threads=1)
    for image in images:
        content = Path(image).read_bytes()
        digest = storage.put("images", content).rpartition("/")[2]
        found = OnlineFeatures(storage, FeatureSettings()).known(TINY_EXTRACTOR, [digest])
        computed = halved(backbone.score([prepare(content, 299)]))[0]
        np.testing.assert_array_equal(found[digest], computed)
    # And a second upload writes nothing
    assert publish_features(release, features, images, target, lines.append) == 0
    assert lines[-1] == "published the features of 0 new images, of 3"


def test_features_of_another_network_are_not_published(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    # Given a store under the extractor's name, with features of another network
    store = FeatureStore(features / "tiny-1")
    other = {one: row + np.float16(1) for one, row in store.items()}
    for path in (features / "tiny-1").iterdir():
        path.unlink()
    FeatureStore(features / "tiny-1").add(other)
    # When it is published, then nothing is written
    lines: list[str] = []
    assert (
        publish_features(release, features, images, UploadTarget(storage, AMPLE), lines.append) == 0
    )
    assert lines == ["no features published: those of tiny-1 differ from the release's"]
    assert storage.folders("features") == []


def test_upload_stops_at_the_limit_of_the_storage(
    release: Path, features: Path, images: list[str], storage: Storage
) -> None:
    two = 2 * TINY_EXTRACTOR.features * 2
    target = UploadTarget(storage, two)
    assert publish_features(release, features, images, target, print) == 2
    assert publish_features(release, features, images, target, print) == 0


def test_unavailable_storage_does_not_fail_the_training(
    release: Path, features: Path, images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = Storage(StorageSettings(url=str(tmp_path / "file")))
    lines: list[str] = []
    assert (
        publish_features(release, features, images, UploadTarget(broken, AMPLE), lines.append) == 0
    )
    assert lines[-1].startswith("no features published: The storage does not answer")


def test_release_without_an_extractor_has_nothing_to_publish(
    tmp_path: Path, storage: Storage
) -> None:
    whole = write_tiny_release(tmp_path / "whole")
    assert publish_features(whole, tmp_path, [], UploadTarget(storage, AMPLE), print) == 0
