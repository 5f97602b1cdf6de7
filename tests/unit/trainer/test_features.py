from pathlib import Path

import numpy as np

from trainer.features import FeatureCache, extractor_id


def test_features_survive_a_restart(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "xception-1")
    cache.add({"a" * 64: np.arange(4, dtype=np.float16), "b" * 64: np.ones(4, np.float16)})
    cache.add({"c" * 64: np.zeros(4, np.float16)})
    again = FeatureCache(tmp_path / "xception-1")
    assert "a" * 64 in again
    assert "d" * 64 not in again
    assert again.of(["c" * 64, "a" * 64]).tolist() == [[0, 0, 0, 0], [0, 1, 2, 3]]


def test_another_extractor_knows_nothing(tmp_path: Path) -> None:
    FeatureCache(tmp_path / "xception-1").add({"a" * 64: np.ones(4, np.float16)})
    assert "a" * 64 not in FeatureCache(tmp_path / "xception-2")


def test_extractor_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "backbone.onnx").write_bytes(b"one")
    name = extractor_id("xception", tmp_path / "backbone.onnx")
    assert name == "xception-7692c3ad3540"
