"""Training runs end with a clear status, one at a time; a child process replaces the pipeline."""

import itertools
import json
import os
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pandas as pd
import psutil
import pytest
from sqlalchemy import select

from shared.db.models import Promotion, TrainingRun, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.inference.releases.registry import Releases
from tests.integration.conftest import WorkerProcess, Workers
from tests.integration.scripted_training import STEPS
from tests.integration.training_service import SCRIPTED
from tests.support.factories import make_drift_alert, make_job, make_manifest, make_user
from tests.support.folder_registry import FolderRegistry
from tests.support.servers import free_port, until
from tests.support.tiny_release import write_tiny_release
from trainer.release.paired_bootstrap import Outcome
from trainer.runs import leases
from trainer.runs.attempt import Commands
from trainer.runs.queue import ROOM_BYTES, Runs
from trainer.settings import TrainerSettings
from trainer.starter import import_starter

#: Time limit; the start of a service takes up to 20 seconds on a busy machine.
SECONDS = 90
EVERY_STEP = (*STEPS, "compare")


def verdict(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": outcome.value, "difference": 0.01, "sentence": f"It is {outcome.value}"}


@pytest.fixture(autouse=True)
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the release that every scripted training produces; it is better by default."""
    folder = write_tiny_release(tmp_path / "trained")
    monkeypatch.setenv("SCRIPTED_RELEASE", str(folder))
    monkeypatch.setenv("SCRIPTED_VERDICT", json.dumps(verdict(Outcome.BETTER)))
    return folder


@pytest.fixture
def registry(release: Path, tmp_path: Path) -> FolderRegistry:
    """Return a registry whose champion is release 1."""
    registry = FolderRegistry(tmp_path / "registry")
    registry.register(release, description="the first")
    registry.mark_champion("1")
    return registry


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    return TrainerSettings(
        work_folder=tmp_path / "training",
        registry_patience_seconds=0.5,
        stop_grace_seconds=0.5,
        promotion="automatic",
        lineup="full",
        # A training in the background would wait for the other tests.
        niceness=0,
        is_background=False,
    )


@pytest.fixture
def runs(unit_of_work: UnitOfWork, registry: FolderRegistry, settings: TrainerSettings) -> Runs:
    return Runs(unit_of_work, registry, settings, SCRIPTED, beat_seconds=0.1)


def changed(runs: Runs, **settings: Any) -> Runs:
    """Return the same service with other settings."""
    other = runs.settings.model_copy(update=settings)
    return Runs(runs.unit_of_work, runs.registry, other, runs.commands, runs.beat_seconds)


def add(unit_of_work: UnitOfWork, dataset: str | None = "good", **changes: Any) -> str:
    fields = {"id": new_id(), "requested_by": "ada", "reason": "drift", "dataset": dataset}
    run = TrainingRun(**{**fields, **changes})
    with unit_of_work() as work:
        work.session.add(run)
    return run.id


def show(unit_of_work: UnitOfWork, id_: str) -> TrainingRun:
    with unit_of_work.reading() as session:
        return session.get_one(TrainingRun, id_)


def change(unit_of_work: UnitOfWork, id_: str, **values: Any) -> None:
    with unit_of_work() as work:
        run = work.session.get_one(TrainingRun, id_)
        for name, value in values.items():
            setattr(run, name, value)


def is_at(unit_of_work: UnitOfWork, id_: str, step: str) -> bool:
    return show(unit_of_work, id_).step == step


def ledger(unit_of_work: UnitOfWork) -> list[tuple[str, str]]:
    with unit_of_work.reading() as session:
        rows = session.scalars(select(Promotion).order_by(Promotion.id))
        return [(row.version, row.promoted_by) for row in rows]


def steps_done(settings: TrainerSettings) -> list[str]:
    return (settings.work_folder / "done").read_text().split()


def run_in_thread(runs: Runs) -> threading.Thread:
    """Process pending runs in a thread and return it."""
    thread = threading.Thread(target=runs.run_pending, daemon=True)
    thread.start()
    return thread


# Training


def test_training_receives_the_champion(
    runs: Runs, registry: FolderRegistry, unit_of_work: UnitOfWork, settings: TrainerSettings
) -> None:
    id_ = add(unit_of_work)
    runs.run_pending()
    log = (settings.work_folder / "runs" / id_ / "training.log").read_text()
    assert f"champion {registry.folder('1')}\n" in log


def test_training_receives_recent_products_without_a_label(
    runs: Runs, unit_of_work: UnitOfWork, settings: TrainerSettings
) -> None:
    user = make_user(new_id())
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add(make_job(user, status="done", finished_at=now()))
    id_ = add(unit_of_work)
    runs.run_pending()
    folder = settings.work_folder / "runs" / id_
    log = (folder / "training.log").read_text()
    assert 'answers {"designation": "Piscine gonflable"' in log
    assert not (folder / "answers.jsonl").exists()
    # Nor does a training receive them where they are not wanted
    other = add(unit_of_work)
    changed(runs, recent_answers=0).run_pending()
    log = (settings.work_folder / "runs" / other / "training.log").read_text()
    assert "answers" not in log


def test_training_runs_while_the_registry_is_down(
    runs: Runs, registry: FolderRegistry, unit_of_work: UnitOfWork, settings: TrainerSettings
) -> None:
    (registry.root / "down").touch()
    id_ = add(unit_of_work)
    runs.run_pending()
    log = (settings.work_folder / "runs" / id_ / "training.log").read_text()
    assert "champion None\n" in log
    assert steps_done(settings) == [*STEPS]


# Promotion


@pytest.mark.parametrize(
    ("mode", "outcome", "champion", "challenger", "message"),
    [
        ("automatic", Outcome.BETTER, "2", None, "Promoted. It is better"),
        ("automatic", Outcome.UNDECIDED, "1", "2", "Waiting for an admin: POST /v1/releases/2/pro"),
        ("automatic", Outcome.NOT_BETTER, "1", None, "The champion stays. It is not better"),
        ("manual", Outcome.BETTER, "1", "2", "Waiting for an admin: POST /v1/releases/2/promote"),
        ("manual", Outcome.NOT_BETTER, "1", None, "The champion stays. It is not better"),
    ],
)
def test_verdict_and_promotion_mode_decide_the_champion(
    runs: Runs,
    registry: FolderRegistry,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    outcome: Outcome,
    champion: str,
    challenger: str | None,
    message: str,
) -> None:
    monkeypatch.setenv("SCRIPTED_VERDICT", json.dumps(verdict(outcome)))
    id_ = add(runs.unit_of_work)
    changed(runs, promotion=mode).run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.attempts) == ("finished", "2", 1)
    assert (run.message or "").startswith(message)
    rule = {"confidence": 0.95, "probability": 1.0}
    assert run.verdict == verdict(outcome) | {"champion": "1", **rule}
    assert run.labels == [{"user": "olga", "user_id": "1", "rows": 12, "share": 0.1}]
    assert (registry.champion(), registry.challenger) == (champion, challenger)
    assert ledger(runs.unit_of_work) == ([("2", "trainer")] if champion == "2" else [])


def test_comparison_receives_the_rule_after_a_change(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = add(runs.unit_of_work)
    with runs.unit_of_work() as work:
        work.session.add(make_drift_alert("text"))
    settings = {"promotion_confidence_after_change": 0.7, "promotion_probability_after_change": 0.6}
    changed(runs, **settings).run_pending()
    found = show(runs.unit_of_work, id_).verdict or {}
    assert (found["confidence"], found["probability"]) == (0.7, 0.6)


def test_quick_line_up_is_promoted_by_the_same_gate_before_the_full_one(
    runs: Runs, registry: FolderRegistry, settings: TrainerSettings
) -> None:
    id_ = add(runs.unit_of_work)
    changed(runs, lineup="both").run_pending()
    # Then the quick line-up served first, and the full one after it
    assert steps_done(settings) == ["quick", *STEPS]
    assert ledger(runs.unit_of_work) == [("2", "trainer"), ("3", "trainer")]
    assert [one.description for one in registry.versions()][:2] == [
        f"Training run {id_}",
        f"Training run {id_}, quick line-up",
    ]
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, (run.verdict or {})["champion"]) == ("finished", "3", "2")
    assert run.message == (
        "Promoted. It is better. Before it, release 2 of the quick line-up: Promoted. It is better"
    )


def test_quick_line_up_is_left_out_where_the_champion_knows_every_category(
    runs: Runs, registry: FolderRegistry
) -> None:
    id_ = add(runs.unit_of_work, "known")
    changed(runs, lineup="both").run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.message) == ("finished", "2", "Promoted. It is better")


def test_quick_line_up_alone_is_trained_for_categories_that_the_champion_knows_too(
    runs: Runs, registry: FolderRegistry, settings: TrainerSettings
) -> None:
    id_ = add(runs.unit_of_work)
    changed(runs, lineup="quick").run_pending()
    run = show(runs.unit_of_work, id_)
    assert steps_done(settings) == ["quick"]
    assert (run.status, run.version, run.message) == ("finished", "2", "Promoted. It is better")


def test_failed_quick_line_up_does_not_end_the_run(runs: Runs, registry: FolderRegistry) -> None:
    id_ = add(runs.unit_of_work, "break:quick")
    changed(runs, lineup="both").run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, registry.champion()) == ("finished", "2", "2")
    assert "Before it, the quick line-up failed: " in (run.message or "")


def test_attempt_that_takes_over_does_not_repeat_the_quick_line_up(
    runs: Runs, registry: FolderRegistry, settings: TrainerSettings
) -> None:
    id_ = add(runs.unit_of_work, "die-once:fit")
    both = changed(runs, lineup="both")
    both.run_pending()
    both.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.attempts) == ("finished", "3", 2)
    assert steps_done(settings).count("quick") == 1
    assert "Before it, release 2 of the quick line-up: Promoted." in (run.message or "")


def test_ledger_contains_the_verdict(runs: Runs) -> None:
    add(runs.unit_of_work)
    runs.run_pending()
    with runs.unit_of_work.reading() as session:
        (line,) = session.scalars(select(Promotion)).all()
    assert line.previous_version == "1"
    assert line.figures["verdict"]["sentence"] == "It is better"
    assert "It is better" in line.reason


def test_rejected_release_is_registered_with_its_reason_and_never_compared(
    runs: Runs, registry: FolderRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRIPTED_VERDICT")
    id_ = add(runs.unit_of_work, "reject")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.verdict) == ("finished", "2", None)
    assert run.message == "Release 2 was rejected: 90 ms for a text, at most 50 ms are allowed"
    assert registry.show("2").rejected == "90 ms for a text, at most 50 ms are allowed"
    assert (registry.champion(), registry.challenger) == ("1", None)


def test_failed_comparison_fails_the_run_but_keeps_the_release(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRIPTED_VERDICT")
    id_ = add(runs.unit_of_work)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version) == ("failed", "2")
    assert (
        run.message
        == "The comparison of release 2 with the champion failed with exit code 1: no verdict"
    )


def test_real_comparison_receives_both_releases_and_the_data(runs: Runs, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    products = {"designation": ["piscine", "piscine ronde avec pompe et filtre et echelle"] * 20}
    table = pd.DataFrame({**products, "description": "x", "productid": 1, "imageid": 1})
    table.to_csv(data / "X_train_update.csv")
    pd.DataFrame({"prdtypecode": [10, 2583] * 20}).to_csv(data / "Y_train_CVw08PX.csv")
    pd.DataFrame({"split": ["test"] * 4 + ["train"] * 36}).to_csv(data / "splits.csv")
    id_ = add(runs.unit_of_work, None)
    other = runs.settings.model_copy(update={"data": data})
    Runs(runs.unit_of_work, runs.registry, other, Commands(train=SCRIPTED.train)).run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version) == ("finished", "2")
    assert run.verdict is not None
    assert (run.verdict["outcome"], run.verdict["rows"]) == ("undecided", 4)
    assert "Undecided: weighted F1 1.0000 against 1.0000" in (run.message or "")


# Every run ends with a clear status


def test_run_without_data_fails_with_the_missing_setting(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, None)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.leased_until, run.leased_by) == ("failed", None, None)
    assert "RAYON_TRAINER_DATA" in (run.message or "")
    assert run.finished_at is not None


def test_run_without_a_dataset_uses_the_configured_folder(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, None)
    changed(runs, data=Path("good")).run_pending()
    assert show(runs.unit_of_work, id_).status == "finished"


def test_failed_training_reports_its_last_error(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "break:fit")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("failed", 1)
    assert run.message == "The training failed with exit code 1: ValueError: no such luck"
    assert "fit begins" in (run.log_tail or "")


@pytest.mark.parametrize("step", STEPS)
def test_full_disk_is_reported(runs: Runs, step: str) -> None:
    id_ = add(runs.unit_of_work, f"full:{step}")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert run.status == "failed"
    assert (run.message or "").startswith("The disk is full, make room in")
    assert "Finished steps are kept" in (run.message or "")


def test_run_waits_while_the_disk_has_no_room_to_begin(runs: Runs) -> None:
    id_ = add(runs.unit_of_work)
    full = replace(runs, free_bytes=lambda _folder: ROOM_BYTES - 1)
    with pytest.raises(Unavailable, match="The disk is full"):
        full.run_pending()
    assert (show(runs.unit_of_work, id_).status, show(runs.unit_of_work, id_).attempts) == (
        "queued",
        0,
    )
    runs.run_pending()
    assert show(runs.unit_of_work, id_).status == "finished"


def test_full_disk_is_reported_even_without_a_training_log(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "full:fit")
    folder = runs.settings.work_folder / "runs" / id_
    folder.mkdir(parents=True)
    (folder / "training.log").symlink_to("/dev/full")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("failed", 1)
    assert (run.message or "").startswith("The disk is full, make room in")
    assert "fit begins" in (run.log_tail or "")


def test_training_that_takes_too_long_is_stopped(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "hang:fit")
    changed(runs, time_limit_seconds=1.0).run_pending()
    run = show(runs.unit_of_work, id_)
    assert run.status == "failed"
    assert "exceeded its time limit of 1 seconds" in (run.message or "")


def test_training_above_its_memory_limit_fails_and_is_not_retried(runs: Runs) -> None:
    runs = changed(runs, memory_megabytes=150)
    id_ = add(runs.unit_of_work, "swell:fit")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("failed", 1)
    assert "at most 150 MiB (RAYON_TRAINER_MEMORY_MEGABYTES)" in (run.message or "")
    assert steps_done(runs.settings) == ["check", "features"]


def test_progress_is_shown_while_it_runs(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "hang:export")
    thread = run_in_thread(runs)
    until(lambda: is_at(runs.unit_of_work, id_, "export"), SECONDS, "the last step has started")
    run = show(runs.unit_of_work, id_)
    assert run.progress is not None
    assert (run.progress["done"], run.progress["of"]) == (3, 4)
    assert "features begins" in (run.log_tail or "")
    runs.stopping.set()
    thread.join(SECONDS)


def test_cancelled_training_ends_with_all_its_processes(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "stubborn:fit")
    thread = run_in_thread(runs)
    pids = runs.settings.work_folder / "pids"
    until(pids.exists, SECONDS, "the training hangs")
    change(runs.unit_of_work, id_, cancel_requested_at=now())
    thread.join(SECONDS)
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.leased_until) == ("cancelled", None)
    assert (run.message or "").startswith("Cancelled")
    until(
        lambda: not any(map(is_alive, pids.read_text().split())),
        SECONDS,
        "all processes have ended",
    )


def is_alive(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_abandoned_run_that_was_cancelled_is_not_resumed(runs: Runs) -> None:
    abandoned: dict[str, Any] = {"status": "running", "leased_until": now() - timedelta(seconds=1)}
    id_ = add(runs.unit_of_work, cancel_requested_at=now(), **abandoned)
    runs.run_pending()
    assert show(runs.unit_of_work, id_).status == "cancelled"


# Kills, restarts and a registry that is down


@pytest.mark.parametrize("step", EVERY_STEP)
def test_training_killed_in_a_step_resumes_at_that_step(
    runs: Runs, settings: TrainerSettings, step: str
) -> None:
    id_ = add(runs.unit_of_work, f"die-once:{step}")
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.attempts) == ("finished", "2", 2)
    assert steps_done(settings) == [*STEPS]


def test_training_killed_in_every_attempt_fails(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "die:fit")
    after = add(runs.unit_of_work)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("failed", 3)
    assert (run.message or "").startswith("Given up: the trainer or its training was killed in ea")
    assert show(runs.unit_of_work, after).status == "finished"


def test_stopped_service_requeues_its_run_and_the_next_one_resumes_it(
    runs: Runs, settings: TrainerSettings
) -> None:
    id_ = add(runs.unit_of_work, "hang-once:fit")
    thread = run_in_thread(runs)
    until(lambda: is_at(runs.unit_of_work, id_, "fit"), SECONDS, "the step has started")
    runs.stopping.set()
    thread.join(SECONDS)
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts, run.leased_by) == ("queued", 0, None)
    changed(runs).run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("finished", 1)
    assert steps_done(settings) == [*STEPS]


@pytest.fixture
def service(
    workers: Workers, runs: Runs, database_url: str, registry: FolderRegistry
) -> WorkerProcess:
    """Start the service in its own process."""
    return workers.start(
        "tests.integration.training_service",
        RAYON_DATABASE_URL=database_url,
        SCRIPTED_REGISTRY=str(registry.root),
        RAYON_TRAINER_WORK_FOLDER=str(runs.settings.work_folder),
        RAYON_TRAINER_PROMOTION="automatic",
        RAYON_TRAINER_LINEUP="full",
        RAYON_TRAINER_STOP_GRACE_SECONDS="0.5",
        RAYON_TRAINER_IS_BACKGROUND="false",
    )


@pytest.mark.parametrize(
    ("database_url", "step"),
    [*(("sqlite", step) for step in EVERY_STEP), ("postgresql", "fit")],
    indirect=["database_url"],
)
def test_service_after_a_killed_one_ends_its_training_and_resumes_the_run(
    service: WorkerProcess, runs: Runs, settings: TrainerSettings, step: str
) -> None:
    id_ = add(runs.unit_of_work, f"hang-once:{step}")
    until(lambda: is_at(runs.unit_of_work, id_, step), SECONDS, "the step has started")
    until(lambda: (settings.work_folder / f"met-{step}").exists(), SECONDS, "the step hangs")
    service.kill()
    left_behind = int((settings.work_folder / "lock").read_text())
    assert is_alive(str(left_behind))
    # The lease is not over. No trainer takes the run, because its holder may be alive.
    runs.run_pending()
    assert show(runs.unit_of_work, id_).status == "running"
    change(runs.unit_of_work, id_, leased_until=now() - timedelta(seconds=1))
    service.start()
    until(lambda: show(runs.unit_of_work, id_).status != "running", SECONDS, "the run has ended")
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version, run.attempts) == ("finished", "2", 2)
    assert steps_done(settings) == [*STEPS]
    assert not is_alive(str(left_behind))


def test_service_stops_within_its_grace_period(service: WorkerProcess, runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "stubborn:fit")
    pids = runs.settings.work_folder / "pids"
    until(pids.exists, SECONDS, "the training hangs")
    assert service.stop() == 0
    assert show(runs.unit_of_work, id_).status == "queued"
    until(
        lambda: not any(map(is_alive, pids.read_text().split())),
        SECONDS,
        "all processes have ended",
    )


def test_stopped_trainer_process_requeues_its_run(
    workers: Workers, unit_of_work: UnitOfWork, database_url: str, tmp_path: Path
) -> None:
    # Given the service as in production, and data that never end
    data = tmp_path / "endless"
    data.mkdir()
    os.mkfifo(data / "X_train_update.csv")
    trainer = workers.start(
        "trainer.main",
        RAYON_DATABASE_URL=database_url,
        RAYON_TRAINER_DATA=str(data),
        RAYON_TRAINER_WORK_FOLDER=str(tmp_path / "training"),
        RAYON_TRAINER_LINEUP="full",
        RAYON_TRAINER_STOP_GRACE_SECONDS="2",
        RAYON_TRAINER_IS_BACKGROUND="false",
        RAYON_TRAINER_REGISTRY_PATIENCE_SECONDS="1",
        RAYON_RELEASES_MLFLOW_URL=f"http://127.0.0.1:{free_port()}",
    )
    id_ = add(unit_of_work, None)
    lock = tmp_path / "training" / "lock"
    until(lambda: lock.exists() and lock.read_text() != "", SECONDS, "the training has started")
    child = lock.read_text()
    # When it receives SIGTERM
    assert trainer.stop() == 0
    # Then the run is queued as if it had never started, and no process is left
    run = show(unit_of_work, id_)
    assert (run.status, run.attempts, run.leased_by) == ("queued", 0, None)
    assert not is_alive(child)


def test_registry_that_stays_down_fails_the_run_but_keeps_finished_steps(
    runs: Runs, registry: FolderRegistry, settings: TrainerSettings
) -> None:
    (registry.root / "down").touch()
    id_ = add(runs.unit_of_work)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version) == ("failed", None)
    assert (run.message or "").startswith("Trained, but not registered: The model registry does")
    assert "repeats none of them" in (run.message or "")
    (registry.root / "down").unlink()
    again = add(runs.unit_of_work)
    runs.run_pending()
    assert show(runs.unit_of_work, again).status == "finished"
    assert steps_done(settings) == [*STEPS]


def test_run_waits_for_a_registry_that_comes_back_in_time(
    runs: Runs, registry: FolderRegistry
) -> None:
    (registry.root / "down").touch()
    id_ = add(runs.unit_of_work)
    thread = run_in_thread(changed(runs, registry_patience_seconds=SECONDS))
    until(
        lambda: is_at(runs.unit_of_work, id_, "champion"), SECONDS, "the run asks for the champion"
    )
    (registry.root / "down").unlink()
    thread.join(SECONDS)
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts, registry.champion()) == ("finished", 1, "2")


def test_registry_that_fails_after_registration_is_reported_with_the_version(
    runs: Runs, registry: FolderRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = registry.register

    def register_and_fail(folder: Path, **options: Any) -> str:
        version = register(folder, **options)
        (registry.root / "down").touch()
        return version

    monkeypatch.setattr(registry, "register", register_and_fail)
    id_ = add(runs.unit_of_work)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version) == ("failed", "2")
    assert (run.message or "").startswith("Trained and registered as release 2, but not decided")
    assert "POST /v1/releases/2/promote" in (run.message or "")


def test_resumed_run_does_not_register_its_release_again(
    runs: Runs, registry: FolderRegistry, settings: TrainerSettings
) -> None:
    # Given a service that died after the registration and before it stored the version
    id_ = add(runs.unit_of_work, status="running", leased_until=now() - timedelta(seconds=1))
    write_tiny_release(settings.work_folder / "runs" / id_ / "release")
    (settings.work_folder / "runs" / id_ / "result.json").write_text('{"status": "ready"}')
    registry.register(
        settings.work_folder / "runs" / id_ / "release", description=f"Training run {id_}"
    )
    # When the run is resumed
    runs.run_pending()
    # Then no third version exists
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.version) == ("finished", "2")
    assert [release.version for release in registry.versions()] == ["2", "1"]


def test_run_whose_release_was_promoted_is_only_finished(
    runs: Runs, registry: FolderRegistry, release: Path
) -> None:
    registry.register(release, description="of an earlier attempt")
    registry.mark_champion("2")
    found = verdict(Outcome.BETTER) | {"champion": "1"}
    abandoned: dict[str, Any] = {"status": "running", "leased_until": now() - timedelta(seconds=1)}
    id_ = add(runs.unit_of_work, version="2", verdict=found, attempts=1, **abandoned)
    runs.run_pending()
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.message) == ("finished", "Promoted. It is better")
    assert ledger(runs.unit_of_work) == []


# One run at a time


def test_run_with_a_valid_lease_blocks_the_next_run(runs: Runs) -> None:
    living = add(runs.unit_of_work, status="running", leased_until=now() + timedelta(minutes=1))
    waiting = add(runs.unit_of_work)
    runs.run_pending()
    assert show(runs.unit_of_work, living).status == "running"
    assert show(runs.unit_of_work, waiting).status == "queued"


def test_runs_are_processed_in_the_order_of_their_requests(runs: Runs) -> None:
    ids = [add(runs.unit_of_work) for _ in range(2)]
    runs.run_pending()
    assert [show(runs.unit_of_work, id_).version for id_ in ids] == ["2", "3"]


def test_concurrent_claims_of_trainers_get_one_run_in_total(runs: Runs) -> None:
    for _ in range(8):
        add(runs.unit_of_work)
    trainers = [leases.Leases(runs.unit_of_work, f"trainer {n}", 3) for n in range(8)]
    start = threading.Barrier(len(trainers))
    claims: list[leases.Claim] = []

    def claim(trainer: leases.Leases) -> None:
        start.wait()
        if (found := trainer.claim()) is not None:
            claims.append(found)

    threads = [threading.Thread(target=claim, args=(trainer,)) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(claims) == 1
    with runs.unit_of_work.reading() as session:
        statuses = session.scalars(select(TrainingRun.status)).all()
    assert sorted(statuses) == ["queued"] * 7 + ["running"]


def test_two_services_never_train_at_the_same_time(runs: Runs, settings: TrainerSettings) -> None:
    ids = [add(runs.unit_of_work) for _ in range(3)]
    for thread in [run_in_thread(runs), run_in_thread(changed(runs))]:
        thread.join(SECONDS)
    # A service that finds a run in progress does not touch it; the other service does all runs.
    assert {show(runs.unit_of_work, id_).status for id_ in ids} == {"finished"}
    ended = [show(runs.unit_of_work, id_) for id_ in ids]
    for before, after in itertools.pairwise(ended):
        assert before.finished_at is not None
        assert after.started_at is not None
        assert before.finished_at <= after.started_at


def test_trainer_that_lost_its_lease_leaves_the_run_to_the_new_holder(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "hang:fit")
    thread = run_in_thread(runs)
    until(lambda: is_at(runs.unit_of_work, id_, "fit"), SECONDS, "the step has started")
    child = int((runs.settings.work_folder / "lock").read_text())
    other = {"leased_by": "another", "leased_until": now() + timedelta(minutes=1), "attempts": 2}
    change(runs.unit_of_work, id_, **other)
    thread.join(SECONDS)
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.leased_by, run.message) == ("running", "another", None)
    assert not is_alive(str(child))


def test_killed_training_is_retried(runs: Runs) -> None:
    id_ = add(runs.unit_of_work, "hang-once:fit")
    thread = run_in_thread(runs)
    until(lambda: is_at(runs.unit_of_work, id_, "fit"), SECONDS, "the step has started")
    os.kill(int((runs.settings.work_folder / "lock").read_text()), signal.SIGKILL)
    thread.join(SECONDS)
    run = show(runs.unit_of_work, id_)
    assert (run.status, run.attempts) == ("finished", 2)


def test_starter_release_becomes_the_champion_once(
    unit_of_work: UnitOfWork, tmp_path: Path, release: Path
) -> None:
    make_manifest("starter").write(release)
    registry = FolderRegistry(tmp_path / "empty")
    for _ in range(2):
        assert import_starter(cast(Releases, registry), unit_of_work, release) == "1"
    assert registry.champion() == "1"
    assert len(registry.versions()) == 1
    assert ledger(unit_of_work) == [("1", "starter")]
