"""Several alerts and two concurrent monitors start one training, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from shared.db.models import DatasetVersion, DriftAlert, TrainingRun, User, now
from shared.db.session import UnitOfWork
from shared.lifecycle.alerts import raise_alert
from tests.support.factories import make_job, make_user
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.settings import MonitorSettings

KINDS = ("text", "image", "prediction")


def test_two_monitors_start_one_training_for_all_alerts_that_need_new_labels(
    unit_of_work: UnitOfWork, user: User
) -> None:
    # Given three alerts, and a label that is in no version of the dataset
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
        olga = make_user("olga", role="operator")
        work.session.add(olga)
        work.session.add(make_job(user, label=10, labelled_at=now(), labelled_by_id=olga.id))
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
        # When both monitors decide, then one new version contains the label, and no run exists yet
        list(pool.map(lambda monitor: monitor.look(), monitors))
        with unit_of_work() as work:
            assert work.session.query(TrainingRun).all() == []
            version = work.session.query(DatasetVersion).filter_by(status="checking").one()
            version.status = "ready"
        # When the version is ready and both monitors continue, then one run covers all alerts
        list(pool.map(lambda monitor: monitor.look(), monitors))
    with unit_of_work.reading() as session:
        run = session.query(TrainingRun).one()
        assert run.dataset == "shop@2"
        assert {alert.training_run_id for alert in session.query(DriftAlert)} == {run.id}
