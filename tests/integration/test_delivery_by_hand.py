"""Releases that were trained by hand pass the same gate as training runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from shared.db.models import Promotion, TrainingRun
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from tests.support.folder_registry import FolderRegistry
from tests.support.tiny_release import write_tiny_release
from trainer.datasets.loading import load
from trainer.deliver import NOT_BETTER, ByHand, NotDeliverable, complete_environment
from trainer.runs.delivery import Delivery
from trainer.settings import TrainerSettings


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a trained release that answers every row of `data` right."""
    return write_tiny_release(tmp_path / "training" / "release")


@pytest.fixture
def data(release: Path, tmp_path: Path) -> Path:
    """Return a dataset folder: short titles of one category, long ones of the other."""
    short, long = (one.code for one in ReleaseManifest.read(release).categories)
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [f"{number},piscine {number},{short}" for number in range(60)]
    rows += [f"{number},{'grande piscine ' * 4}{number},{long}" for number in range(60, 120)]
    (folder / "products.csv").write_text("\n".join(["id,designation,prdtypecode", *rows]))
    return folder


@pytest.fixture
def record(release: Path, data: Path) -> Path:
    """Write what the training records beside the release."""
    result: dict[str, Any] = {
        "status": "ready",
        "dataset": {"fingerprint": load(data).fingerprint, "folder": str(data)},
        "figures": ReleaseManifest.read(release).figures,
        "labels": [],
    }
    path = release.parent / "result.json"
    path.write_text(json.dumps(result))
    return path


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    return FolderRegistry(tmp_path / "registry")


@pytest.fixture
def lines() -> list[str]:
    return []


def _by_hand(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    folder: Path,
    *,
    promotes: bool = False,
) -> ByHand:
    settings = TrainerSettings(
        work_folder=folder / "work", promotion="automatic" if promotes else "manual"
    )
    return ByHand(Delivery(unit_of_work, registry, settings), lines.append)


def _worse(registry: FolderRegistry, release: Path, folder: Path) -> None:
    """Let a release serve that confuses both categories."""
    write_tiny_release(folder)
    manifest = ReleaseManifest.read(release)
    turned = manifest.model_copy(update={"categories": manifest.categories[::-1]})
    turned.write(folder)
    registry.mark_champion(registry.register(folder, description="the first"))


@pytest.mark.usefixtures("record")
def test_better_release_waits_for_an_admin(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    release: Path,
    tmp_path: Path,
) -> None:
    _worse(registry, release, tmp_path / "worse")
    by_hand = _by_hand(unit_of_work, registry, lines, tmp_path)
    assert by_hand.deliver(release, None) == 0
    assert (registry.champion(), registry.challenger) == ("1", "2")
    assert "rayon promote 2" in lines[-1]
    with unit_of_work.reading() as session:
        run = session.scalars(select(TrainingRun)).one()
    assert (run.status, run.version) == ("finished", "2")
    assert (run.verdict or {})["outcome"] == "better"
    assert (run.verdict or {})["champion"] == "1"
    assert (run.message or "").startswith("Waiting for an admin")


@pytest.mark.usefixtures("record")
def test_better_release_is_promoted_on_request_and_registered_once(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    release: Path,
    tmp_path: Path,
) -> None:
    _worse(registry, release, tmp_path / "worse")
    assert _by_hand(unit_of_work, registry, lines, tmp_path).deliver(release, None) == 0
    again = _by_hand(unit_of_work, registry, lines, tmp_path, promotes=True)
    assert again.deliver(release, None) == 0
    assert (registry.champion(), len(registry.versions())) == ("2", 2)
    assert "registered before as release 2" in lines
    with unit_of_work.reading() as session:
        line = session.scalars(select(Promotion)).one()
    assert (line.version, line.figures["verdict"]["outcome"]) == ("2", "better")


@pytest.mark.usefixtures("record")
def test_release_that_is_not_better_leaves_the_champion(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    release: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    # Given a champion that answers every row right too
    registry.mark_champion(registry.register(release, description="the first"))
    _worse(registry, release, tmp_path / "worse")
    registry.mark_champion("1")
    worse = tmp_path / "training" / "worse"
    (tmp_path / "worse").rename(worse)
    by_hand = _by_hand(unit_of_work, registry, lines, tmp_path, promotes=True)
    assert by_hand.deliver(worse, data) == NOT_BETTER
    assert registry.champion() == "1"
    assert lines[-1].startswith("The champion stays")


@pytest.mark.usefixtures("record")
def test_first_release_needs_no_comparison(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    release: Path,
    tmp_path: Path,
) -> None:
    assert (
        _by_hand(unit_of_work, registry, lines, tmp_path, promotes=True).deliver(release, None) == 0
    )
    assert registry.champion() == "1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "rejected", "reason": "868 ms of 500"}, "does not pass its test: 868 ms"),
        ({"figures": {"text_f1_plain": 0.1}}, "not the release"),
        ({"dataset": {"fingerprint": "other", "folder": ""}}, "Expected the data"),
        ({"dataset": {}}, "Expected --data"),
    ],
)
def test_release_that_may_not_serve_is_not_registered(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    lines: list[str],
    release: Path,
    record: Path,
    data: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    reason: str,
) -> None:
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    given = data if changes.get("dataset") else None
    with pytest.raises(NotDeliverable, match=reason):
        _by_hand(unit_of_work, registry, lines, tmp_path).deliver(release, given)
    assert registry.versions() == []


def test_folder_without_a_record_or_a_manifest_is_not_delivered(
    unit_of_work: UnitOfWork, registry: FolderRegistry, release: Path, tmp_path: Path
) -> None:
    by_hand = _by_hand(unit_of_work, registry, [], tmp_path)
    with pytest.raises(NotDeliverable, match=r"Expected result\.json"):
        by_hand.deliver(release, None)
    with pytest.raises(InvalidInput):
        by_hand.deliver(tmp_path, None)


def test_settings_of_the_running_system_are_found(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "registry_token").write_text("secret\n")
    found = {"RAYON_HOME": str(tmp_path), "RAYON_DOTENV": str(tmp_path / ".env")}
    (tmp_path / ".env").write_text("RAYON_MLFLOW_PORT=5999\n")
    complete_environment(found)
    assert found["RAYON_RELEASES_MLFLOW_URL"] == "http://127.0.0.1:5999"
    assert found["RAYON_RELEASES_TOKEN"] == "secret"
    assert found["RAYON_DATABASE_URL"] == f"sqlite:///{tmp_path}/rayon.db"
    other = {**found, "RAYON_DATABASE_URL": "postgresql://db", "RAYON_RELEASES_TOKEN": "mine"}
    complete_environment(other)
    assert other["RAYON_DATABASE_URL"] == "postgresql://db"
    assert other["RAYON_RELEASES_TOKEN"] == "mine"
