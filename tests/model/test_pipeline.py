"""The pipeline from data to a release, with small candidates instead of the large ones."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field, replace
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
from tests.support.made_up_shop import Shop, write_shop
from trainer.__main__ import main
from trainer.candidates.fusion.pools import LogLinear, WeightedMean
from trainer.candidates.image.head import HeadSettings
from trainer.candidates.imagenet import with_weights
from trainer.candidates.text.ngrams import TextNgrams
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline import assembly, lineup
from trainer.pipeline.context import TrainingSettings
from trainer.pipeline.steps import Step, Steps
from trainer.pipeline.tracking import Tracking
from trainer.pipeline.training import train
from trainer.reference.sample import REFERENCE
from trainer.release.acceptance import NOT_PASSED, Budget, PackageVerdict
from trainer.release.comparison import contest
from trainer.release.feature_upload import UploadTarget
from trainer.release.loaded import LoadedRelease
from trainer.release.paired_bootstrap import Rule

CODES = (10, 20, 30)
PRODUCTS = 180


@dataclass(frozen=True)
class Quick(Small):
    """Fits more images than the tests of the candidate, in fewer epochs."""

    settings: HeadSettings = field(
        default_factory=lambda: HeadSettings(
            hidden=32, epochs=12, batch=16, learning_rate=2e-2, dropout=0.1
        )
    )


@dataclass(frozen=True)
class MissingImage(Quick):
    name: str = "image_missing"

    def unavailable_reason(self, context: object) -> str | None:
        return "Expected weights. Received: none"


@dataclass(frozen=True)
class NotFetched(Quick):
    name: str = "image_not_fetched"

    def build(self, weights: Path | None) -> keras.Model:
        def fetch(_weights: str | None) -> keras.Model:
            raise Exception("URL fetch failure on https://example.org/w.h5: None -- no network")

        return with_weights(fetch, None, "none.npz")


@pytest.fixture(autouse=True)
def small_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train small candidates, and time them on a few products."""
    monkeypatch.setattr(lineup, "TEXT", (TextNgrams(),))
    monkeypatch.setattr(lineup, "IMAGES", (NotFetched(), Quick(), MissingImage()))
    monkeypatch.setattr(lineup, "FUSION", (WeightedMean(), LogLinear()))
    monkeypatch.setattr(lineup, "QUICK_IMAGES", (MissingImage(), Quick()))
    monkeypatch.setattr("trainer.pipeline.text.stage.TIMED_TEXTS", 8)
    monkeypatch.setattr("trainer.pipeline.image_stage.TIMED_IMAGES", 4)


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the acceptance test, which has tests of its own and takes seconds."""
    monkeypatch.setattr(assembly, "test_package", lambda *_, **__: PackageVerdict())


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


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(products(tmp_path_factory.mktemp("products") / "data"))


@dataclass(frozen=True)
class Finished:
    """A finished run: its manifest, its release folder, and its folder of results."""

    manifest: ReleaseManifest
    out: Path
    work: Path


@pytest.fixture(scope="module")
def finished(shared_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run with nothing kept before it, trained once for this module. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        manifest, out = run(shared_data, folder)
    return Finished(manifest, out, folder / "work")


@pytest.fixture
def data(shared_data: Dataset, finished: Finished, tmp_path: Path) -> Dataset:
    """The data of the finished run, of which `tmp_path` has all results but the acceptance test.

    Linked, not copied: results are never changed, only replaced.
    """
    shutil.copytree(
        finished.work,
        tmp_path / "work",
        symlinks=True,
        copy_function=os.link,
        ignore=shutil.ignore_patterns("package-test-*"),
    )
    return shared_data


def run(
    data: Dataset, tmp_path: Path, settings: TrainingSettings | None = None
) -> tuple[ReleaseManifest, Path]:
    out = tmp_path / "run" / "release"
    out.parent.mkdir(exist_ok=True)
    tracking = Tracking(tmp_path / "run" / "tracking", echo=False)
    settings = settings or TrainingSettings(work=tmp_path / "work")
    return train(settings, data, out, tracking), out


def result(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out.parent / "result.json").read_text())
    return found


def test_run_ends_with_a_release_that_passed_its_test(
    shared_data: Dataset, finished: Finished
) -> None:
    manifest, out = finished.manifest, finished.out
    # The release scores both modalities and their fusion
    assert manifest.figures["text_f1_plain"] > 0.9
    assert manifest.figures["image_f1_plain"] > 0.9
    assert manifest.figures["fusion_f1_plain"] > 0.9
    assert manifest.figures["package_passed"] == 1
    assert result(out)["status"] == "ready"
    rows = shared_data.part("test", text=True)
    assert LoadedRelease.load(out).score_texts(rows).shape == (len(rows), 3)


def test_run_lists_every_candidate_with_its_outcome(finished: Finished) -> None:
    board = (finished.out.parent / "leaderboard.md").read_text()
    assert "**text_ngrams**" in board
    assert "Expected weights" in board
    assert "Expected a folder of weights with none.npz, or a network to fetch them by" in board
    log = (finished.out.parent / "tracking/log.txt").read_text()
    assert "text_ngrams.penalty = 0.5" in log
    assert (finished.out.parent / "tracking/text_ngrams_confusion.svg").exists()


def test_model_card_describes_the_given_data_and_no_other(finished: Finished) -> None:
    card = (finished.out / "MODEL_CARD.md").read_text()
    assert "Expected weights" in card
    assert "into 3 categories.\n" in card
    assert "The data is the operator's own" in card
    assert "French" not in card


@pytest.mark.usefixtures("accepted")
def test_features_of_an_accepted_release_are_published(data: Dataset, tmp_path: Path) -> None:
    storage = Storage(StorageSettings(url=str(tmp_path / "storage")))
    settings = TrainingSettings(work=tmp_path / "work", upload_target=UploadTarget(storage, 2**20))
    manifest, _ = run(data, tmp_path, settings)
    seen = data.rows["image"].iloc[0]
    digest = hashlib.sha256(Path(seen).read_bytes()).hexdigest()
    features = OnlineFeatures(storage, FeatureSettings())
    assert [*features.known(manifest.image_part, [digest])] == [digest]


@pytest.mark.usefixtures("accepted")
def test_network_of_the_champion_serves_without_imagenet_weights(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a release that serves, and a machine where no network has weights
    before, out = run(data, tmp_path)
    champion = out.rename(tmp_path / "champion")
    monkeypatch.setattr(lineup, "IMAGES", (NotFetched(), MissingImage()))
    network = before.image_part.extractor
    known = sorted((tmp_path / "work/features").rglob("*.parquet"))
    # When a release is trained beside it
    manifest, out = run(data, tmp_path, TrainingSettings(work=tmp_path / "work", champion=champion))
    # Then it scores images by the same network and another head
    assert manifest.figures["image_f1_plain"] > 0.9
    assert manifest.image_part.extractor == network
    assert (out / "image/backbone.onnx").read_bytes() == (
        champion / "image/backbone.onnx"
    ).read_bytes()
    assert "**image_champion**" in (out.parent / "leaderboard.md").read_text()
    # And no image went through the network again
    assert sorted((tmp_path / "work/features").rglob("*.parquet")) == known


@pytest.mark.usefixtures("accepted")
def test_champion_without_images_is_no_candidate(data: Dataset, tmp_path: Path) -> None:
    _, out = run(load(products(tmp_path / "texts", images=False)), tmp_path)
    champion = out.rename(tmp_path / "champion")
    manifest, out = run(data, tmp_path, TrainingSettings(work=tmp_path / "work", champion=champion))
    assert manifest.figures["image_f1_plain"] > 0.9
    assert "image_champion" not in (out.parent / "leaderboard.md").read_text()


@pytest.mark.usefixtures("accepted")
def test_second_run_on_the_same_data_computes_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path)
    finished = computed(monkeypatch)
    run(data, tmp_path)
    assert finished
    assert all(step.is_reused for step in finished)


@pytest.mark.usefixtures("accepted")
def test_text_model_learns_from_recent_products_after_a_change_of_the_mix(
    data: Dataset, tmp_path: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given labels of drawn answers, all of the first category, and products without a label
    is_drawn = (data.rows["code"] == CODES[0]) & (data.rows["part"] != "test")
    rows = data.rows.assign(represents=is_drawn * 4.0, answered_at=is_drawn * 50.0, labelled_by="")
    changed = replace(data, rows=rows)
    words = np.random.default_rng(7).choice(WORDS[0].split(), (300, 4))
    lines = [
        {"designation": f"{' '.join(some)} new {number}", "description": "", "answered_at": 90.0}
        for number, some in enumerate(words)
    ]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    monkeypatch.setattr("trainer.release.current_mix.LEAST_LABELS", 20)
    steps = computed(monkeypatch)
    # When a release is trained
    settings = TrainingSettings(work=tmp_path / "work", answers=answers)
    manifest, out = run(changed, tmp_path, settings)
    # Then the text model is fitted again, and the image model is not
    assert "recent products that nobody labelled, with the answers of the model; adj" in (
        manifest.trained_on
    )
    again = [step.name for step in steps if not step.is_reused]
    assert again.count("text_ngrams fit") == 1
    assert not [name for name in again if name.startswith("image") and name.endswith("fit")]
    release = LoadedRelease.load(out)
    assert release.text is not None
    assert release.fusion is not None
    before = LoadedRelease.load(finished.out)
    assert before.text is not None
    unknown = ["rien de connu"]
    assert release.text.score(unknown)[0, 0] > before.text.score(unknown)[0, 0]


def test_models_that_serve_are_fitted_again_on_the_rows_that_chose_them(
    data: Dataset, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given test rows enough to check the release by
    monkeypatch.setattr("trainer.pipeline.chosen.final_fit.LEAST_ROWS", 5)
    steps = computed(monkeypatch)
    # When the models of the finished run are chosen again
    manifest, out = run(data, tmp_path)
    # Then text model and image head are fitted once more, and the network of images is not
    again = [step.name for step in steps if not step.is_reused]
    assert {"text_ngrams final fit", "image_small final fit", "final export"} <= {*again}
    assert manifest.figures["final_fit_rows"] == len(data.part("validation"))
    assert "fitted again with" in (out / "MODEL_CARD.md").read_text("utf-8")
    assert result(out)["status"] == "ready"
    before, after = (ReleaseManifest.read(folder) for folder in (finished.out, out))
    assert after.image_part.extractor == before.image_part.extractor
    for path in ("text/model.onnx", "image/head.onnx"):
        assert (out / path).read_bytes() != (finished.out / path).read_bytes()
    # And the release states the drift reference and the confidence of the models before
    assert (out / REFERENCE).read_bytes() == (finished.out / REFERENCE).read_bytes()
    stated = [name for name in manifest.figures if "confidence" in name or "right" in name]
    assert stated
    assert all(manifest.figures[name] == finished.manifest.figures[name] for name in stated)


@pytest.mark.usefixtures("accepted")
def test_fit_on_test_rows_states_the_figures_of_the_models_before(
    data: Dataset, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.pipeline.chosen.final_fit.LEAST_ROWS", 5)
    settings = TrainingSettings(work=tmp_path / "work", final_fit="test")
    manifest, out = run(data, tmp_path, settings)
    assert manifest.figures["final_fit_test_rows"] == len(data.part("test"))
    for name in ("text_f1_plain", "text_log_loss", "fusion_log_loss"):
        assert manifest.figures[name] == finished.manifest.figures[name]
    # Another release cannot be compared with it on these rows
    verdict = contest(finished.out, out, data, Rule(0.0, 0.95), kept=tmp_path / "kept")
    assert verdict["outcome"] == "undecided"
    assert "the new release has learnt from" in str(verdict["sentence"])
    verdict = contest(out, finished.out, data, Rule(0.0, 0.95), kept=tmp_path / "kept")
    assert "the champion has learnt from" in str(verdict["sentence"])


@pytest.mark.usefixtures("accepted")
def test_run_killed_in_any_step_continues(
    shared_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            manifest, out = run(shared_data, tmp_path)
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "run" / "release").exists()
    assert len(died) == 18
    assert result(out)["status"] == "ready"
    assert manifest.figures["text_f1_plain"] > 0.9


def test_release_that_is_too_slow_is_rejected_with_the_reason(
    data: Dataset, tmp_path: Path
) -> None:
    settings = TrainingSettings(work=tmp_path / "work", budget=Budget(text_ms=0.0))
    manifest, out = run(data, tmp_path, settings)
    assert result(out)["status"] == "rejected"
    assert "ms" in str(result(out)["reason"])
    assert manifest.figures["package_passed"] == 0


def test_command_of_the_readme_trains_with_its_default_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given products with images in a folder, and nothing else
    write_shop(tmp_path / "shop", Shop(rows=330, categories=3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trainer.__main__.STARTER", tmp_path / "none")
    # When they are trained on, without a package index
    assert main(["train", "shop", "--offline"]) == 0
    # Then the releases of both line-ups are where the README says, and score images
    out = capsys.readouterr().out
    assert out.index("release in var/training/quick/release") < out.index(
        "release in var/training/release"
    )
    for folder in (Path("var/training/quick"), Path("var/training")):
        manifest = ReleaseManifest.read(folder / "release")
        assert manifest.figures["package_passed"] == 1
        for part in ("text", "image", "fusion"):
            # And answer as the fitted models
            figures = manifest.figures
            exported, fitted = figures[f"export_{part}_f1"], figures[f"export_{part}_fitted_f1"]
            assert abs(exported - fitted) <= 0.005
            assert figures[f"{part}_f1_plain"] > 0.9
        assert "| text | int8 |" in (folder / "release/MODEL_CARD.md").read_text()
        assert json.loads((folder / "result.json").read_text())["status"] == "ready"
    assert (Path("var/training/quick/leaderboard.md").read_text()).count("image_") == 1


def test_quick_line_up_is_skipped_if_the_champion_knows_every_category(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "run/release"), "--champion", str(finished.out)]
    options += ["--lineup", "quick", "--unless-known"]
    assert main(["train", str(products(tmp_path / "same")), *options]) == 0
    assert result(tmp_path / "run/release") == {"status": "skipped"}
    assert "the champion knows every category" in capsys.readouterr().out


def test_command_fails_where_the_package_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a release of an earlier training, and a package that does not pass now
    write_shop(tmp_path / "shop", Shop(rows=96, categories=3, images=0))
    monkeypatch.chdir(tmp_path)
    earlier = tmp_path / "var/training/release/release.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier training")
    verdict = PackageVerdict(["The text model is too slow."])
    monkeypatch.setattr(assembly, "test_package", lambda *_, **__: verdict)
    # When it is trained
    options = ["--lineup", "full"]
    assert main(["train", "shop", *options]) == NOT_PASSED
    # Then the error says what did not pass and where it lies, and the earlier release stays
    errors = capsys.readouterr().err
    assert "must not serve: The text model is too slow. It lies in " in errors
    unpassed = tmp_path / "var/training/release.not-passed"
    assert str(unpassed) in errors
    assert ReleaseManifest.read(unpassed).figures["package_passed"] == 0
    assert earlier.read_text() == "of an earlier training"
    # And the next one that passes removes it
    monkeypatch.setattr(assembly, "test_package", lambda *_, **__: PackageVerdict())
    assert main(["train", "shop", *options]) == 0
    assert not unpassed.exists()
    assert ReleaseManifest.read(earlier.parent).figures["package_passed"] == 1


def test_package_is_tested_again_when_the_workers_or_the_budget_change(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []

    def passes(folder: Path, *_: object, **__: object) -> PackageVerdict:
        tested.append(folder)
        return PackageVerdict()

    monkeypatch.setattr(assembly, "test_package", passes)
    run(data, tmp_path)
    # Given no change, the verdict is reused
    run(data, tmp_path)
    assert len(tested) == 1
    # When a worker's requirements or the budget change
    monkeypatch.setattr(assembly, "surroundings", lambda: {"worker_text.txt": "other"})
    run(data, tmp_path)
    run(data, tmp_path, TrainingSettings(work=tmp_path / "work", budget=Budget(text_ms=50.0)))
    # Then the same package is tested again
    assert len(tested) == 3
    assert len(set(tested)) == 1


def test_failed_acceptance_test_is_not_kept(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [PackageVerdict(["The machine was busy"]), PackageVerdict()]
    monkeypatch.setattr(assembly, "test_package", lambda *_, **__: verdicts.pop(0))
    _, out = run(data, tmp_path)
    assert result(out)["reason"] == "The machine was busy"
    _, out = run(data, tmp_path)
    assert result(out)["status"] == "ready"


@pytest.mark.usefixtures("accepted")
def test_data_without_images_makes_a_text_release(tmp_path: Path) -> None:
    manifest, out = run(load(products(tmp_path / "data", images=False)), tmp_path)
    assert manifest.image is None
    assert manifest.text is not None
    assert LoadedRelease.load(out).image is None


@pytest.mark.usefixtures("accepted")
def test_data_with_only_broken_images_makes_a_text_release(tmp_path: Path) -> None:
    folder = products(tmp_path / "data")
    for path in (folder / "images/image_train").iterdir():
        path.write_bytes(b"no image")
    manifest, _ = run(load(folder), tmp_path)
    assert manifest.image is None


@pytest.mark.usefixtures("accepted")
def test_two_categories_are_enough(tmp_path: Path) -> None:
    manifest, _ = run(load(products(tmp_path / "data", codes=(7, 9))), tmp_path)
    assert [category.code for category in manifest.categories] == [7, 9]
    assert manifest.figures["text_f1_plain"] > 0.9


def test_full_disk_keeps_the_last_release(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = run(data, tmp_path)
    before = (out / "release.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TextNgrams, "fit", full)
    with pytest.raises(Exception, match="disk is full in the step 'text_ngrams fit'"):
        run(data, tmp_path, TrainingSettings(work=tmp_path / "other"))
    assert (out / "release.json").read_bytes() == before


def test_data_without_texts_and_images_is_refused(tmp_path: Path) -> None:
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
