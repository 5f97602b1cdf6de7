"""Alerts lead to one training, on SQLite and on PostgreSQL, also by two monitors at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from shared.db.models import DatasetVersion, DriftAlert, TrainingRun, User, now
from shared.db.session import UnitOfWork
from shared.lifecycle.alerts import raise_alert
from tests.support.factories import make_job
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.settings import MonitorSettings

KINDS = ("text", "image", "prediction")


def test_two_monitors_start_one_training_for_all_who_wait_for_a_label(
    unit_of_work: UnitOfWork, user: User
) -> None:
    # Given three alerts, and a label that no version of the dataset has
    with unit_of_work() as work:
        uploaded = {
            "name": "shop",
            "created_by": "olga",
            "status": "ready",
            "asked": {"corrected": True},
        }
        work.session.add(
            DatasetVersion(version=1, created_at=now() - timedelta(days=1), **uploaded)
        )
        work.session.add(make_job(user, label=10, labelled_at=now(), labelled_by="ada"))
        for kind in KINDS:
            raise_alert(
                work,
                source="monitor",
                raised_by="drift",
                kind=kind,
                release="1",
                summary=f"{kind} moved",
                details={},
                trace_id="0" * 32,
                fingerprint=kind,
            )
    settings = MonitorSettings(trainings_per_week=1)
    monitors = [AlertResponse(unit_of_work, settings) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        # When both decide, I expect one version with the label, and no run yet
        list(pool.map(lambda monitor: monitor.look(), monitors))
        with unit_of_work() as work:
            assert work.session.query(TrainingRun).all() == []
            version = work.session.query(DatasetVersion).filter_by(status="checking").one()
            version.status = "ready"
        # When it is ready and both go on, I expect one run for all
        list(pool.map(lambda monitor: monitor.look(), monitors))
    with unit_of_work.reading() as session:
        run = session.query(TrainingRun).one()
        assert run.dataset == "shop@2"
        assert {one.training_run_id for one in session.query(DriftAlert)} == {run.id}
