"""The pipeline from data to a release, with small candidates in place of the large ones."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.feature_cache import OnlineFeatures
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage
from tests.model.test_image_candidates import COLOURS, Small
from tests.model.test_text_candidates import WORDS
from trainer.candidates.fusion.pools import LogLinear, WeightedMean
from trainer.candidates.imagenet import with_weights
from trainer.candidates.text.ngrams import TextNgrams
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline import assembly, training
from trainer.pipeline.steps import Step, Steps
from trainer.pipeline.tracking import Tracking
from trainer.pipeline.training import Plan, train
from trainer.release.acceptance import Budget, PackageVerdict
from trainer.release.feature_upload import Online
from trainer.release.loaded import LoadedRelease

CODES = (10, 20, 30)
PRODUCTS = 180


@dataclass(frozen=True)
class MissingImage(Small):
    name: str = "image_missing"

    def missing(self, workshop: object) -> str | None:
        return "Expected weights. Received: none"


@dataclass(frozen=True)
class NotFetched(Small):
    name: str = "image_not_fetched"

    def build(self, weights: Path | None) -> keras.Model:
        def fetch(_weights: str | None) -> keras.Model:
            raise Exception("URL fetch failure on https://example.org/w.h5: None -- no network")

        return with_weights(fetch, None, "none.npz")


@pytest.fixture(autouse=True)
def lineup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TEXT", (TextNgrams(),))
    monkeypatch.setattr(training, "IMAGES", (NotFetched(), Small(), MissingImage()))
    monkeypatch.setattr(training, "FUSION", (WeightedMean(), LogLinear()))


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package test has tests of its own; it takes seconds for its environments."""
    monkeypatch.setattr(assembly, "test_package", lambda *_: PackageVerdict())


def products(folder: Path, *, images: bool = True, codes: tuple[int, ...] = CODES) -> Path:
    generator = np.random.default_rng(2)
    (folder / "images/image_train").mkdir(parents=True)
    rows = []
    for number in range(PRODUCTS):
        kind = number % len(codes)
        words = generator.choice(WORDS[kind].split(), 4)
        rows.append((f"{' '.join(words)} {number}", "", number, number))
        if images:
            pixels = np.array(COLOURS[kind]) + generator.integers(-25, 25, (40, 40, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
                folder / f"images/image_train/image_{number}_product_{number}.jpg"
            )
    columns = ["designation", "description", "productid", "imageid"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "X_train_update.csv")
    labels = [codes[number % len(codes)] for number in range(PRODUCTS)]
    pd.DataFrame({"prdtypecode": labels}).to_csv(folder / "Y_train_CVw08PX.csv")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return load(products(tmp_path / "data"))


def run(data: Dataset, tmp_path: Path, plan: Plan | None = None) -> tuple[ReleaseManifest, Path]:
    out = tmp_path / "run" / "release"
    out.parent.mkdir(exist_ok=True)
    tracking = Tracking(tmp_path / "run" / "tracking", echo=False)
    manifest = train(plan or Plan(work=tmp_path / "work"), data, out, tracking)
    return manifest, out


def result(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out.parent / "result.json").read_text())
    return found


def test_run_ends_with_a_release_that_passed_its_test(data: Dataset, tmp_path: Path) -> None:
    manifest, out = run(data, tmp_path)
    # The release answers, with both modalities and their fusion
    assert manifest.figures["text_f1_plain"] > 0.9
    assert manifest.figures["image_f1_plain"] > 0.9
    assert manifest.figures["fusion_f1_plain"] > 0.9
    assert manifest.figures["package_passed"] == 1
    assert result(out)["status"] == "ready"
    rows = data.part("test", text=True)
    assert LoadedRelease.load(out).score_texts(rows).shape == (len(rows), 3)
    # And it says what was tried, and what was not
    board = (out.parent / "leaderboard.md").read_text()
    assert "**text_ngrams**" in board
    assert "Expected weights" in board
    assert "Expected a folder of weights with none.npz, or a network to fetch them by" in board
    card = (out / "MODEL_CARD.md").read_text()
    assert "Expected weights" in card
    # Of the data it was given, and of no other
    assert "into 3 categories.\n" in card
    assert "The data is the operator's own" in card
    assert "French" not in card
    log = (out.parent / "tracking/log.txt").read_text()
    assert "text_ngrams.penalty = 0.5" in log
    assert (out.parent / "tracking/text_ngrams_confusion.svg").exists()


@pytest.mark.usefixtures("delivered")
def test_workers_know_the_images_of_a_release_that_passed(data: Dataset, tmp_path: Path) -> None:
    storage = Storage(StorageSettings(url=str(tmp_path / "storage")))
    plan = Plan(work=tmp_path / "work", online=Online(storage, 2**20))
    manifest, _ = run(data, tmp_path, plan)
    seen = data.rows["image"].iloc[0]
    digest = hashlib.sha256(Path(seen).read_bytes()).hexdigest()
    online = OnlineFeatures(storage, FeatureSettings())
    assert [*online.known(manifest.image_part, [digest])] == [digest]


@pytest.mark.usefixtures("delivered")
def test_network_of_the_champion_does_where_no_weights_are(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a release that serves, and a machine where no network has weights
    before, out = run(data, tmp_path)
    champion = out.rename(tmp_path / "champion")
    monkeypatch.setattr(training, "IMAGES", (NotFetched(), MissingImage()))
    network = before.image_part.extractor
    known = sorted((tmp_path / "work/features").rglob("*.parquet"))
    # When a release is trained in its light
    manifest, out = run(data, tmp_path, Plan(work=tmp_path / "work", champion=champion))
    # Then it answers images, by the same network and another head
    assert manifest.figures["image_f1_plain"] > 0.9
    assert manifest.image_part.extractor == network
    assert (out / "image/backbone.onnx").read_bytes() == (
        champion / "image/backbone.onnx"
    ).read_bytes()
    assert "**image_champion**" in (out.parent / "leaderboard.md").read_text()
    # And no image went through the network again
    assert sorted((tmp_path / "work/features").rglob("*.parquet")) == known


@pytest.mark.usefixtures("delivered")
def test_champion_without_images_gives_no_network(tmp_path: Path) -> None:
    _, out = run(load(products(tmp_path / "texts", images=False)), tmp_path)
    champion = out.rename(tmp_path / "champion")
    data = load(products(tmp_path / "data"))
    manifest, out = run(data, tmp_path, Plan(work=tmp_path / "work", champion=champion))
    assert manifest.figures["image_f1_plain"] > 0.9
    assert "image_champion" not in (out.parent / "leaderboard.md").read_text()


@pytest.mark.usefixtures("delivered")
def test_second_run_on_the_same_data_computes_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path)
    finished = computed(monkeypatch)
    run(data, tmp_path)
    assert finished
    assert all(step.is_reused for step in finished)


@pytest.mark.usefixtures("delivered")
def test_run_killed_in_any_step_goes_on(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Steps._compute

    def die_once_in_each(self: Steps, name: str, *rest: object) -> Step:
        if name not in died:
            died.append(name)
            raise KeyboardInterrupt
        return original(self, name, *rest)  # type: ignore[arg-type]

    died: list[str] = []
    monkeypatch.setattr(Steps, "_compute", die_once_in_each)
    for _ in range(100):
        try:
            manifest, out = run(data, tmp_path)
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "run" / "release").exists()
    assert len(died) == 17
    assert result(out)["status"] == "ready"
    assert manifest.figures["text_f1_plain"] > 0.9


def test_release_that_is_too_slow_is_rejected_with_the_reason(
    data: Dataset, tmp_path: Path
) -> None:
    plan = Plan(work=tmp_path / "work", budget=Budget(text_ms=0.0))
    manifest, out = run(data, tmp_path, plan)
    assert result(out)["status"] == "rejected"
    assert "ms" in str(result(out)["reason"])
    assert manifest.figures["package_passed"] == 0


def test_package_is_tested_again_when_the_workers_or_the_budget_changed(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []

    def passes(folder: Path, *_: object) -> PackageVerdict:
        tested.append(folder)
        return PackageVerdict()

    monkeypatch.setattr(assembly, "test_package", passes)
    run(data, tmp_path)
    # Given nothing new, the verdict is the kept one
    run(data, tmp_path)
    assert len(tested) == 1
    # When a worker's requirements change, or what is allowed
    monkeypatch.setattr(assembly, "surroundings", lambda: {"worker_text.txt": "other"})
    run(data, tmp_path)
    run(data, tmp_path, Plan(work=tmp_path / "work", budget=Budget(text_ms=50.0)))
    # Then it is asked anew, of the same package
    assert len(tested) == 3
    assert len(set(tested)) == 1


def test_failed_package_test_is_not_kept(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [PackageVerdict(["The machine was busy"]), PackageVerdict()]
    monkeypatch.setattr(assembly, "test_package", lambda *_: verdicts.pop(0))
    _, out = run(data, tmp_path)
    assert result(out)["reason"] == "The machine was busy"
    _, out = run(data, tmp_path)
    assert result(out)["status"] == "ready"


@pytest.mark.usefixtures("delivered")
def test_data_without_images_makes_a_release_of_texts(tmp_path: Path) -> None:
    manifest, out = run(load(products(tmp_path / "data", images=False)), tmp_path)
    assert manifest.image is None
    assert manifest.text is not None
    assert LoadedRelease.load(out).image is None


@pytest.mark.usefixtures("delivered")
def test_data_whose_images_are_all_broken_makes_a_release_of_texts(tmp_path: Path) -> None:
    folder = products(tmp_path / "data")
    for path in (folder / "images/image_train").iterdir():
        path.write_bytes(b"no image")
    manifest, _ = run(load(folder), tmp_path)
    assert manifest.image is None


@pytest.mark.usefixtures("delivered")
def test_two_categories_are_enough(tmp_path: Path) -> None:
    manifest, _ = run(load(products(tmp_path / "data", codes=(7, 9))), tmp_path)
    assert [category.code for category in manifest.categories] == [7, 9]
    assert manifest.figures["text_f1_plain"] > 0.9


def test_full_disk_leaves_the_last_release_alone(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = run(data, tmp_path)
    before = (out / "release.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TextNgrams, "fit", full)
    with pytest.raises(Exception, match="disk is full in the step 'text_ngrams fit'"):
        run(data, tmp_path, Plan(work=tmp_path / "other"))
    assert (out / "release.json").read_bytes() == before


def test_data_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    data = load(products(tmp_path / "data", images=False))
    data.rows["has_text"] = False
    with pytest.raises(InvalidInput, match="Expected products with texts or readable images"):
        run(data, tmp_path)


def computed(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    finished: list[Step] = []
    original = Steps.run

    def follow(self: Steps, *args: object, **kwargs: object) -> Step:
        step = original(self, *args, **kwargs)  # type: ignore[arg-type]
        finished.append(step)
        return step

    monkeypatch.setattr(Steps, "run", follow)
    return finished


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency of a few products says as much as of many."""
    monkeypatch.setattr("trainer.pipeline.text_stage.TIMED_TEXTS", 8)
    monkeypatch.setattr("trainer.pipeline.image_stage.TIMED_IMAGES", 4)
