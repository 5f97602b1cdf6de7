"""Each loop over others' data skips and names a row that raises, and handles the rows after it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from structlog.testing import capture_logs

from shared.db.models import DriftWindow, Promotion
from shared.db.session import UnitOfWork
from shared.inference.preparation.decoders import prepare
from shared.settings import StorageSettings
from shared.storage import Storage, StoredFile
from tests.unit.gateway import conftest as gateway
from trainer.datasets.check_queue import DatasetChecks
from trainer.datasets.stored_images import StoredImages
from trainer.datasets.versions import load_stored
from trainer.explore.images import survey_images
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.gauges import Gauges
from trainer.monitoring.performance.answers import _columns
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.reviews import _floats
from trainer.monitoring.settings import MonitorSettings
from trainer.pipeline.row_images import readable
from trainer.reference.build import scored
from trainer.release.image_features import FeatureStore, _read
from trainer.release.loaded import read_images
from trainer.settings import TrainerSettings

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return three images, the second of which raises what no image should."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    bad = paths[1].read_bytes()

    def raising(content: bytes, size: int) -> np.ndarray:
        if content == bad:
            raise ZeroDivisionError("an odd EXIF block")
        return prepare(content, size)

    for module in (
        "trainer.release.loaded",
        "trainer.pipeline.row_images",
        "trainer.release.image_features",
        "trainer.explore.images",
    ):
        monkeypatch.setattr(f"{module}.prepare", raising)
    return [str(path) for path in paths]


@pytest.fixture
def skipped() -> Iterator[list[str]]:
    """Return the names of the skipped rows, once the block has ended."""
    names: list[str] = []
    with capture_logs() as events:
        yield names
    named = [event["row"] for event in events if event["event"] == "row_skipped"]
    assert named == names


def test_images_that_a_release_scores(images: list[str], skipped: list[str]) -> None:
    found = [places for places, _ in read_images(pd.DataFrame({"image": images}), 8)]
    assert found == [[0], [2]]
    skipped.append(images[1])


def test_images_of_a_training(images: list[str], skipped: list[str]) -> None:
    rows = pd.DataFrame({"image": images})
    assert readable(rows, 8).tolist() == [True, False, True]
    skipped.append(images[1])


def test_images_whose_features_are_computed(
    images: list[str], skipped: list[str], tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "features")
    assert [_read(path, store, 8).pixels is None for path in images] == [False, True, False]
    skipped.append(images[1])


def test_images_of_an_exploration(images: list[str], skipped: list[str]) -> None:
    survey = survey_images(images, lambda path: Path(path).read_bytes(), thumbnails=images)
    assert survey.unreadable == {images[1]}
    assert len(survey.thumbnails) == 2
    skipped.append(images[1])


def test_products_of_a_reference(skipped: list[str]) -> None:
    def read_image(reference: str) -> bytes:
        if reference == "bad":
            raise ZeroDivisionError("an odd EXIF block")
        return b""

    rows = pd.DataFrame(
        {
            "designation": ["a", "b", "c"],
            "description": [""] * 3,
            "image": ["first", "bad", "last"],
            "has_text": [True] * 3,
        }
    )
    model: Any = SimpleNamespace(
        text=object(),
        image=None,
        fusion=None,
        manifest=SimpleNamespace(categories=(10, 20)),
        score_texts=lambda rows: np.full((len(rows), 2), 0.5),
    )
    data: Any = SimpleNamespace(read_image=read_image)
    found = scored(model, data, rows)
    assert sorted(found.images) == [0, 1, 2]
    assert found.answers.tolist() == [0, 0, 0]
    skipped.append("bad")


def test_images_of_an_uploaded_dataset(
    monkeypatch: pytest.MonkeyPatch, skipped: list[str], tmp_path: Path
) -> None:
    def is_readable(reference: str) -> bool:
        if reference == "bad":
            raise ZeroDivisionError("an odd EXIF block")
        return True

    monkeypatch.setattr("trainer.datasets.stored_images.is_readable", is_readable)
    monkeypatch.setattr("trainer.datasets.stored_images.read_image", str.encode)
    rows = pd.DataFrame({"image": ["first", "bad", "last"]})
    hashes, broken = new_images(tmp_path).add(rows)
    assert [bool(one) for one in hashes] == [True, False, True]
    assert list(broken) == [1]
    skipped.append("bad")


def test_images_of_labelled_jobs(
    monkeypatch: pytest.MonkeyPatch, skipped: list[str], tmp_path: Path
) -> None:
    images = new_images(tmp_path)
    uris = [images.storage.put("images", content) for content in (b"a", b"b", b"c")]
    get = Storage.get

    def raising(self: Storage, uri: str) -> bytes:
        if uri == uris[1]:
            raise ZeroDivisionError("an odd file")
        return get(self, uri)

    monkeypatch.setattr(Storage, "get", raising)
    assert [bool(images.copied(uri)) for uri in uris] == [True, False, True]
    skipped.append(uris[1])


def new_images(folder: Path) -> StoredImages:
    storage = Storage(StorageSettings(url=str(folder / "storage")))
    return StoredImages(storage, "shop", on_progress=lambda: None)


def test_images_of_a_stored_dataset(monkeypatch: pytest.MonkeyPatch, skipped: list[str]) -> None:
    read: list[str] = []

    def read_image(path: str) -> None:
        read.append(path)
        if path == "bad":
            raise ZeroDivisionError("an odd file")

    data = SimpleNamespace(
        rows=pd.DataFrame({"image": ["first", "", "bad", "last"]}), read_image=read_image
    )
    monkeypatch.setattr("trainer.datasets.versions.load_version", lambda *_: data)
    load_stored("shop@1")
    assert read == ["first", "bad", "last"]
    skipped.append("bad")


def test_uploads_that_no_version_waits_for(
    unit_of_work: UnitOfWork, skipped: list[str], tmp_path: Path
) -> None:
    class Refusing(Storage):
        def files(self, folder: str) -> list[StoredFile]:
            if folder.endswith("bad"):
                raise ValueError("an odd name")
            return []

    storage = Refusing(StorageSettings(url=str(tmp_path)))
    for name in ("a", "bad", "c"):
        storage.put_at(f"uploads/{name}/products.csv", b"designation")
    DatasetChecks(unit_of_work, storage, tmp_path).remove_orphans()
    assert storage.folders("uploads") == ["uploads/bad"]
    skipped.append("uploads/bad")


def test_alerts(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, skipped: list[str]
) -> None:
    decided = []

    def decide(_self: AlertResponse, alert_id: str) -> None:
        decided.append(alert_id)
        if alert_id == "bad":
            raise KeyError("details")

    monkeypatch.setattr(AlertResponse, "decide", decide)
    monkeypatch.setattr(AlertResponse, "_with_status", lambda _self, status: _open(status))
    AlertResponse(unit_of_work, MonitorSettings()).look()
    assert decided == ["first", "bad", "last"]
    skipped.append("bad")


def _open(status: Any) -> list[str]:
    return ["first", "bad", "last"] if status.value == "open" else []


def test_gauges(unit_of_work: UnitOfWork, skipped: list[str]) -> None:
    moment = pd.Timestamp("2026-03-05", tz="UTC").to_pydatetime()
    with unit_of_work() as work:
        work.session.add(Promotion(version="1", promoted_by="a", reason="b", figures={}))
        work.session.flush()
        work.session.add(
            DriftWindow(
                release="1",
                rows=1,
                begins_at=moment,
                ends_at=moment,
                moved=[],
                measured={"text": {"p_value": None}},
            )
        )
    Gauges(unit_of_work).refresh()
    skipped.append("drift")


def test_periods_of_estimates(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, skipped: list[str]
) -> None:
    estimated: list[str] = []

    def estimate(_self: Performances, period: Any, _moment: Any) -> None:
        estimated.append(period.name)
        if len(estimated) == 2:
            skipped.append(period.name)
            raise ValueError("a day that raises")

    monkeypatch.setattr(Performances, "estimate", estimate)
    registry: Any = None
    Performances(unit_of_work, registry, MonitorSettings(), TrainerSettings()).measure()
    assert len(estimated) > 30


def test_labelled_answers_with_a_corrupt_result(skipped: list[str]) -> None:
    good = {"modalities": {"text": {"prdtypecode": 20}}}
    results = [good, ["no object"], {"modalities": {"text": "no object"}}, good]
    rows: list[Any] = [
        SimpleNamespace(
            id=str(number), result=result, label=10, confidence=0.5, model="fusion", prdtypecode=20
        )
        for number, result in enumerate(results)
    ]
    labelled = _columns(rows, [1.0] * 4)
    assert labelled.answers["text"] == [20, None, None, 20]
    assert labelled.answers["fusion"] == [20] * 4
    skipped.extend(["1", "2"])


def test_confidence_that_is_not_a_number() -> None:
    assert _floats([0.5, float("nan"), None]).tolist() == [0.5, 0.0, 0.0]
