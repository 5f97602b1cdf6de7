"""Releases are tested in environments with only the workers' packages."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.contracts import Modality
from tests.support.tiny_release import write_tiny_release
from trainer.release import acceptance, environments
from trainer.release.acceptance import Budget, Difference, Latency, PackageVerdict
from trainer.release.golden import EXACT, Golden, GoldenRows, Tolerance

PRODUCTS = [("piscine", ""), ("Piscine ronde avec pompe", "et filtre et échelle"), ("", "")]
SHADES = (0, 100, 250)
AMPLE = Budget(text_ms=2000, image_ms=5000, fusion_ms=2000)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the environments, installed once for all tests."""
    return tmp_path_factory.mktemp("package-test")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for shade in SHADES:
        Image.new("RGB", (20, 20), (shade,) * 3).save(folder / f"{shade}.png")
    return [folder / f"{shade}.png" for shade in SHADES]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_release(tmp_path_factory.mktemp("release") / "1", in_two_steps=True)


@pytest.fixture
def release(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(tiny, tmp_path / "release")


@pytest.fixture(scope="module")
def golden(tiny: Path, images: list[Path]) -> Golden:
    """Answers of the tiny models, computed by hand."""
    text = logistic(1.0 * (np.array([1, 8, 1], np.float32) - 4.5))
    image = logistic(0.02 * (np.array(SHADES, np.float32) - 127.5))
    fused = text * image / (text * image).sum(axis=1, keepdims=True)
    return Golden(
        text=GoldenRows.texts(PRODUCTS, text, EXACT),
        image=GoldenRows.images(images, image, EXACT),
        fusion=GoldenRows.fusions(text, image, fused),
    )


def verdict_of(
    folder: Path, rows: Golden, budget: Budget, work: Path, *, is_offline: bool = False
) -> PackageVerdict:
    return acceptance.test_package(folder, rows, budget, work, is_offline=is_offline)


def logistic(slope: np.ndarray) -> np.ndarray:
    likely = 1 / (1 + np.exp(-2 * slope))
    return np.stack([1 - likely, likely], axis=1).astype(np.float32)


def with_expected(rows: GoldenRows | None, **changes: object) -> GoldenRows:
    assert rows is not None
    return replace(rows, **changes)  # type: ignore[arg-type]


def test_sound_release_passes_with_its_figures(release: Path, golden: Golden, work: Path) -> None:
    verdict = verdict_of(release, golden, AMPLE, work)
    assert verdict.reasons == []
    assert verdict.passed
    assert set(verdict.latencies) == set(verdict.differences) == {"text", "image", "fusion"}
    assert all(found.rows == 3 for found in verdict.differences.values())
    assert all(found.largest < 1e-3 for found in verdict.differences.values())
    figures = verdict.figures()
    assert figures["package_passed"] == 1
    assert 0 < figures["package_image_p50_ms"] <= figures["package_image_p95_ms"]


def test_environment_is_installed_once_and_again_when_broken(work: Path) -> None:
    folder = work / "environments"
    python = environments.environment("worker_fusion", folder)
    made = python.parent.stat().st_ino
    assert environments.environment("worker_fusion", folder) == python
    assert python.parent.stat().st_ino == made
    python.unlink()
    assert environments.environment("worker_fusion", folder).exists()
    assert not [*folder.glob(".new-*")]


@pytest.mark.parametrize("modality", Modality)
def test_release_of_one_modality_is_tested_for_that_modality(
    tmp_path: Path, golden: Golden, work: Path, modality: Modality
) -> None:
    release = write_tiny_release(tmp_path / "1", modalities=[modality])
    verdict = verdict_of(release, golden, AMPLE, work)
    assert verdict.reasons == []
    assert set(verdict.differences) == {modality.value}


def test_wrong_answer_is_reported_with_its_size(release: Path, golden: Golden, work: Path) -> None:
    # Given a fitted model that gave the second text another category
    assert golden.text is not None
    other = golden.text.expected.copy()
    other[1] = other[1, ::-1]
    # When the release is tested
    wrong = replace(golden, text=with_expected(golden.text, expected=other))
    verdict = verdict_of(release, wrong, AMPLE, work)
    # Then the reasons state the size and the share; the other models are tested too
    assert not verdict.passed
    far, often = verdict.reasons
    assert far.startswith("A probability of the text model differs by 0.9982 from")
    assert "0.001 is allowed (3 golden rows)" in far
    assert often == (
        "The text model gives 66.7% of 3 golden rows the category of the fitted model; "
        "99% are expected"
    )
    assert set(verdict.differences) == {"text", "image", "fusion"}
    assert verdict.figures()["package_passed"] == 0


def test_tolerance_of_the_golden_rows_decides(release: Path, golden: Golden, work: Path) -> None:
    assert golden.text is not None
    near = golden.text.expected + np.array([0.03, -0.03], np.float32)
    for allowed, passes in ((0.05, True), (0.02, False)):
        rows = with_expected(golden.text, expected=near, tolerance=Tolerance(allowed))
        verdict = verdict_of(release, replace(golden, text=rows), AMPLE, work)
        assert verdict.passed is passes


def test_slow_release_is_rejected_with_the_latency(
    release: Path, golden: Golden, work: Path
) -> None:
    budget = Budget(text_ms=0, image_ms=AMPLE.image_ms, fusion_ms=AMPLE.fusion_ms)
    (reason,) = verdict_of(release, golden, budget, work).reasons
    assert reason.startswith("The text model takes ")
    assert reason.endswith(" ms for one product at the 95th percentile; the limit is 0 ms")


@pytest.mark.parametrize(
    ("file", "worker"),
    [
        ("text/model.onnx", "worker_text"),
        ("image/backbone.onnx", "worker_image"),
        ("image/head.onnx", "worker_image"),
        ("fusion/fusion.json", "worker_fusion"),
    ],
)
def test_corrupted_file_fails_the_worker_that_reads_it(
    release: Path, golden: Golden, work: Path, file: str, worker: str
) -> None:
    path = release / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (reason,) = verdict_of(release, golden, AMPLE, work).reasons
    assert reason.startswith(f"{worker} cannot load the release: error: ")


@pytest.mark.parametrize(
    ("file", "expected"),
    [("text/tokenizer.json", "worker_text cannot load"), ("release.json", "Expected release")],
)
def test_missing_file_is_a_reason(
    release: Path, golden: Golden, work: Path, file: str, expected: str
) -> None:
    (release / file).unlink()
    (reason,) = verdict_of(release, golden, AMPLE, work).reasons
    assert expected in reason


def test_model_without_golden_rows_does_not_pass(release: Path, golden: Golden, work: Path) -> None:
    verdict = verdict_of(release, replace(golden, image=None), AMPLE, work)
    assert verdict.reasons == ["Expected golden rows for the image model. Received: none"]


def test_golden_image_that_cannot_be_read_is_a_reason(
    release: Path, golden: Golden, work: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    rows = GoldenRows.images([tmp_path / "broken.png"], np.array([[0.5, 0.5]], np.float32))
    (reason,) = verdict_of(release, replace(golden, image=rows), AMPLE, work).reasons
    assert reason.startswith("worker_image fails on 1 of 1 golden rows: ImageUnreadable: ")


def test_answers_of_other_categories_are_a_reason(
    release: Path, golden: Golden, work: Path
) -> None:
    rows = with_expected(golden.text, expected=np.full((3, 4), 0.25, np.float32))
    (reason,) = verdict_of(release, replace(golden, text=rows), AMPLE, work).reasons
    assert reason == (
        "Expected probabilities of shape (3, 4) from the text model, as from the fitted model. "
        "Received: (3, 2)"
    )


def test_environment_that_cannot_be_created_is_a_reason(
    release: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given requirements with a hash that is not the package's, and none at all for fusion
    (tmp_path / "requirements").mkdir()
    wrong = f"six==1.17.0 --hash=sha256:{'0' * 64}\n"
    for worker in ("worker_text", "worker_image"):
        (tmp_path / "requirements" / f"{worker}.txt").write_text(wrong)
    monkeypatch.setattr(environments, "PROJECT", tmp_path)
    # When the release is tested
    verdict = verdict_of(release, golden, AMPLE, tmp_path / "work")
    # Then each reason names the cause, and no partial environment is left
    text, image, fusion = verdict.reasons
    assert text.startswith("The environment of worker_text cannot be created: ")
    assert "ash mismatch" in text
    assert image.startswith("The environment of worker_image cannot be created: ")
    assert fusion.endswith("Expected the requirements worker_fusion.txt. Received: none")
    assert [*(tmp_path / "work/environments").iterdir()] == []


def test_index_that_does_not_answer_is_named_with_the_way_around_it(
    release: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given no package index, and requirements that no earlier installation has left here
    (tmp_path / "requirements").mkdir()
    wanted = f"six==1.17.0 --hash=sha256:{'0' * 64}\n"
    for part in ("text", "image", "fusion"):
        (tmp_path / "requirements" / f"worker_{part}.txt").write_text(wanted)
    monkeypatch.setattr(environments, "PROJECT", tmp_path)
    for name, value in {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_INDEX_URL": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    reasons = verdict_of(release, golden, AMPLE, tmp_path / "work").reasons
    assert len(reasons) == 3
    assert reasons[0].startswith("The package index cannot be reached, from which the environment")
    assert "--offline" in reasons[0]


def test_offline_test_installs_nothing_and_finds_the_same(
    release: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "environment", lambda *_: pytest.fail("Installed"))
    verdict = verdict_of(release, golden, AMPLE, tmp_path / "work", is_offline=True)
    assert verdict.reasons == []
    assert set(verdict.differences) == {"text", "image", "fusion"}
    (release / "text/model.onnx").write_bytes(b"no model")
    (reason,) = verdict_of(release, golden, AMPLE, tmp_path / "work", is_offline=True).reasons
    assert reason.startswith("worker_text cannot load the release: ")


def test_offline_test_hides_the_packages_of_the_trainer(tmp_path: Path) -> None:
    for code, expected in (
        ("import tensorflow", "No module named 'tensorflow'"),
        ("import keras.layers", "No module named 'keras'"),
        ("import trainer", "No module named 'trainer'"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "There is no network"),
    ):
        with environments.sources_in(tmp_path, acceptance.FOREIGN) as sources:
            ran = environments.run_clean([sys.executable, "-c", code], sources, "")
        assert ran.returncode == 1
        assert expected in ran.stderr


def test_measurement_above_the_budget_is_repeated(
    release: Path, golden: Golden, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine that is busy in the first measurement of each model
    asked: list[str] = []
    original = acceptance._Place.ask

    def disturbed(self: acceptance._Place, rows: GoldenRows) -> list[dict[str, Any]]:
        asked.append(self.part)
        slow = 1e6 if asked.count(self.part) == 1 else 1.0
        answers = original(self, rows)
        times = ("milliseconds", "cpu_milliseconds")
        return [answer | {name: answer[name] * slow for name in times} for answer in answers]

    monkeypatch.setattr(acceptance._Place, "ask", disturbed)
    assert verdict_of(release, golden, AMPLE, work).passed
    assert [asked.count(part) for part in ("text", "image", "fusion")] == [2, 2, 2]


def test_environment_with_a_foreign_package_is_rejected(
    release: Path, golden: Golden, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "FOREIGN", ("tensorflow", "onnxruntime"))
    reasons = verdict_of(release, golden, AMPLE, work).reasons
    assert reasons == [
        f"The environment of worker_{part} contains onnxruntime; a worker's must not"
        for part in ("text", "image")
    ]


def test_environment_has_no_tensorflow_and_no_network(work: Path) -> None:
    python = environments.environment("worker_text", work / "environments")
    for code, expected in (
        ("import tensorflow", "No module named 'tensorflow'"),
        ("import trainer", "No module named 'trainer'"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "There is no network"),
    ):
        with environments.sources_in(work) as sources:
            ran = environments.run_clean([str(python), "-c", code], sources, "")
        assert ran.returncode == 1
        assert expected in ran.stderr


def test_surroundings_are_workers_code_requirements_and_python() -> None:
    found = environments.surroundings()
    assert {"worker_text/scorer.py", "shared/inference/preparation/text.py", "python"} <= set(found)
    assert {f"requirements/worker_{part}.txt" for part in ("text", "image", "fusion")} <= set(found)
    assert not [name for name in found if name.startswith("trainer/")]


def test_saved_verdict_is_loaded_unchanged(tmp_path: Path) -> None:
    verdict = PackageVerdict(
        ["too slow"], {"text": Latency(1.5, 2.5)}, {"text": Difference(3, 0.25, 1.0)}
    )
    verdict.save(tmp_path / "verdict.json")
    assert PackageVerdict.load(tmp_path / "verdict.json") == verdict


def test_probe_without_a_folder_states_what_it_expects(work: Path) -> None:
    python = environments.environment("worker_text", work / "environments")
    with environments.sources_in(work) as sources:
        ran = environments.run_clean([str(python), "-m", "worker_text.probe"], sources, "")
    assert (ran.returncode, ran.stderr) == (2, "Expected the folder of a release.\n")
