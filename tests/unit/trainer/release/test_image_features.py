import errno
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shared.errors import InvalidInput
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.image_model import Features, Pixels
from tests.support.expensive_images import long_line_bmp
from tests.support.tiny_release import write_tiny_release
from trainer.release import image_features as features_module
from trainer.release.image_features import FeatureStore, extract_features, extractor_id

A, B, C = "a" * 64, "b" * 64, "c" * 64


def row(*numbers: float) -> Features:
    return np.array(numbers, np.float16)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network that computes an image's brightness."""
    folder = write_tiny_release(tmp_path_factory.mktemp("release") / "1", in_two_steps=True)
    return folder / "image/backbone.onnx"


def write_images(folder: Path, count: int) -> pd.DataFrame:
    """Write images, each brighter than the one before; rows are numbered from 100."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(count)]
    for shade, path in enumerate(paths):
        Image.new("RGB", (20, 20), (shade,) * 3).save(path)
    return pd.DataFrame({"image": map(str, paths)}, index=range(100, 100 + count))


def test_features_survive_a_restart(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "xception")
    store.add({A: row(0, 1, 2, 3), B: row(1, 1, 1, 1)})
    store.add({C: row(0, 0, 0, 0)}, unreadable=["d" * 64])
    again = FeatureStore(tmp_path / "xception")
    assert (len(again), A in again, "d" * 64 in again) == (3, True, False)
    assert again.unreadable == {"d" * 64}
    found = again.of([C, A, C])
    assert found.dtype == np.float16
    assert found.tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 0]]
    assert {one: list(kept) for one, kept in again.items()} == {
        A: [0, 1, 2, 3],
        B: [1, 1, 1, 1],
        C: [0, 0, 0, 0],
    }


def test_files_are_plain_parquet(tmp_path: Path) -> None:
    FeatureStore(tmp_path).add({A: row(0.5, 2), B: row(0, 1)}, unreadable=[C])
    (part,) = tmp_path.glob("part-*.parquet")
    table = pq.read_table(part)
    assert table["hash"].to_pylist() == [A, B]
    assert table["features"].to_pylist() == [[0.5, 2.0], [0.0, 1.0]]


def test_extractors_do_not_share_features(tmp_path: Path) -> None:
    FeatureStore(tmp_path / "one").add({A: row(1)})
    assert A not in FeatureStore(tmp_path / "two")


def test_unknown_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=A):
        FeatureStore(tmp_path).of([A])


def test_features_of_two_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"one length\. Received: \[1, 2\]"):
        FeatureStore(tmp_path).add({A: row(1), B: row(1, 2)})


def test_truncated_part_is_skipped(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.add({A: row(1)})
    (part,) = tmp_path.glob("*.parquet")
    store.add({B: row(2)})
    part.write_bytes(part.read_bytes()[:-20])
    again = FeatureStore(tmp_path)
    assert (A in again, B in again) == (False, True)
    again.add({A: row(1)})
    assert FeatureStore(tmp_path).of([A, B]).tolist() == [[1], [2]]


def test_full_disk_keeps_earlier_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path)
    store.add({A: row(1)})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.add({B: row(2)})
    assert B not in store
    assert len([*tmp_path.iterdir()]) == 1
    assert FeatureStore(tmp_path).of([A]).tolist() == [[1]]


def test_each_image_is_computed_once(tmp_path: Path, backbone: Path) -> None:
    rows = write_images(tmp_path / "images", 10)
    rows = pd.concat([rows, rows.rename(index=lambda number: number + 100)])
    lines: list[str] = []
    store = FeatureStore(tmp_path / "features")
    found = extract_features(rows, backbone, store, size=299, log_line=lines.append)
    assert found.computed == 10
    assert store.of(found.hashes.loc[[100, 109, 209]].tolist()).tolist() == [[0], [9], [9]]
    assert lines[-1].startswith("20 images with features, 10 of them new; 0 unreadable")
    # And a second run does not load the network
    again = extract_features(
        rows,
        tmp_path / "gone.onnx",
        FeatureStore(tmp_path / "features"),
        size=299,
        log_line=lines.append,
    )
    assert again.computed == 0
    assert again.hashes.equals(found.hashes)


def test_unreadable_images_are_reported_and_not_decoded_again(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_images(tmp_path / "images", 3)
    Path(rows["image"][101]).write_bytes(b"no image")
    Path(rows["image"][102]).unlink()
    decoded: list[int] = []

    def counted(content: bytes, size: int) -> Pixels:
        decoded.append(1)
        return prepare(content, size)

    monkeypatch.setattr(features_module, "prepare", counted)
    for first_time in (True, False):
        decoded.clear()
        store = FeatureStore(tmp_path / "features")
        found = extract_features(rows, backbone, store, size=299, log_line=lambda _line: None)
        assert (found.hashes.index.tolist(), found.unreadable.tolist()) == ([100], [101])
        assert found.missing.tolist() == [102]
        assert len(decoded) == (2 if first_time else 0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_features_of_a_grey_image_that_was_read_as_white_are_not_used(
    tmp_path: Path, backbone: Path, suffix: str
) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(np.full((20, 20), 100 * 257, np.uint16)).save(path)
    store = FeatureStore(tmp_path / "features")
    wrong = row(1, 1, 1, 1)
    store.add({hashlib.sha256(path.read_bytes()).hexdigest(): wrong})
    rows = pd.DataFrame({"image": [str(path)]})
    found = extract_features(rows, backbone, store, size=299, log_line=lambda _line: None)
    assert found.computed == 1
    assert not np.array_equal(store.of(found.hashes.tolist())[0], wrong)


def test_file_that_an_earlier_version_could_not_read_is_tried_again(
    tmp_path: Path, backbone: Path
) -> None:
    path, folder = tmp_path / "photo.avif", tmp_path / "features"
    folder.mkdir()
    Image.new("RGB", (20, 20), "red").save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pq.write_table(pa.table({"hash": [digest]}), folder / f"unreadable-{'0' * 32}.parquet")
    rows = pd.DataFrame({"image": [str(path)]})
    store = FeatureStore(folder)
    found = extract_features(rows, backbone, store, size=299, log_line=lambda _line: None)
    assert (found.computed, store.unreadable) == (1, frozenset())


def test_image_that_exceeds_the_limits_of_decoding_is_skipped_and_reported(
    tmp_path: Path, backbone: Path
) -> None:
    rows = write_images(tmp_path / "images", 3)
    Path(rows["image"][101]).write_bytes(long_line_bmp())
    lines: list[str] = []
    store = FeatureStore(tmp_path / "features")
    found = extract_features(rows, backbone, store, size=299, log_line=lines.append)
    assert (found.hashes.index.tolist(), found.unreadable.tolist()) == ([100, 102], [101])
    assert "1 unreadable" in lines[-1]


def test_interrupted_extraction_continues(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an extraction of 30 images that is interrupted, and stores features every 8 images
    monkeypatch.setattr(features_module, "SAVE_EVERY", 8)
    monkeypatch.setattr(features_module, "READ_AHEAD", 4)
    rows = write_images(tmp_path / "images", 30)

    class StoppedStore(FeatureStore):
        def add(self, features: object, unreadable: object = ()) -> None:
            if len(self) >= 16:
                raise KeyboardInterrupt
            super().add(features, unreadable)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        extract_features(
            rows,
            backbone,
            StoppedStore(tmp_path / "features"),
            size=299,
            log_line=lambda _line: None,
        )
    # When it is started again, then only the rest is computed
    store = FeatureStore(tmp_path / "features")
    found = extract_features(rows, backbone, store, size=299, log_line=lambda _line: None)
    assert found.computed == 14
    assert store.of(found.hashes.tolist()).ravel().tolist() == [*range(30)]


def test_float_backbone_computes_the_same_features(tmp_path: Path, backbone: Path) -> None:
    model = onnx.load(backbone)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, tmp_path / "float.onnx")
    rows = write_images(tmp_path / "images", 3)
    store = FeatureStore(tmp_path / "features")
    found = extract_features(
        rows, tmp_path / "float.onnx", store, size=299, log_line=lambda _line: None
    )
    assert store.of(found.hashes.tolist()).tolist() == [[0], [1], [2]]


def test_extractor_id_covers_content_and_preparation(tmp_path: Path) -> None:
    (tmp_path / "backbone.onnx").write_bytes(b"one")
    name = extractor_id("xception", tmp_path / "backbone.onnx")
    assert name == "xception-image-1-7692c3ad3540"
