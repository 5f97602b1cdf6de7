"""Events of the quarter besides its jobs: promotions, catalogs, drift, alerts and trainings."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import (
    Catalog,
    CatalogStatus,
    DriftAlert,
    DriftWindow,
    Promotion,
    TrainingRun,
    TrainingStatus,
    now,
)
from tests.bench.quality.quarter.shop import Shop
from tests.support.fakes import FolderReleases
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.performance.periods import Period

#: Minutes from an alert to the end of its training.
TRAINING_MINUTES = 184


@dataclass
class Quarter:
    """Shop, registry and monitor of the quarter."""

    shop: Shop
    registry: FolderReleases
    drift: DriftWatch
    response: AlertResponse

    def promote(self, version: str, moment: datetime, by: str, reason: str, f1: float) -> None:
        """Promote a release at a moment of the quarter."""
        promotion = Promotion(
            promoted_at=moment,
            version=version,
            previous_version=self.registry.champion() if version != "1" else None,
            promoted_by=by,
            reason=reason,
            figures={"fusion_f1_plain": f1},
        )
        self.shop.add([promotion])
        self.registry.mark_champion(version)

    def add_catalogs(self, month: Period, count: int) -> None:
        """Add the catalogs of a month."""
        catalogs = [
            Catalog(
                user_id=self.shop.jobs.user.id,
                trace_id="0" * 32,
                name=f"shop-{number}.csv",
                model="fusion",
                release="1",
                dry_run=False,
                fingerprint=f"{month.name}-{number}",
                size=int(rows) * 300,
                has_images=False,
                status=CatalogStatus.FINISHED.value,
                created_at=month.begins_at + timedelta(days=number % 28, hours=9),
                rows=int(rows),
            )
            for number, rows in enumerate(self.shop.random.integers(40, 700, count))
        ]
        self.shop.add(catalogs)

    def measure_drift(self, outcome: str, version: str) -> list[datetime]:
        """Measure the drift of the jobs since the last call, and respond to its alerts.

        The monitor works with the present time; its alerts and trainings are then moved to the
        time of the jobs.

        Args:
            outcome: Message of the finished training.
            version: Release that the training makes.

        Returns:
            Moments of the alerts.
        """
        started_at = now()
        self.drift.look()
        self.response.look()
        with self.shop.unit_of_work() as work:
            runs = work.session.scalars(
                select(TrainingRun).where(TrainingRun.requested_at >= started_at)
            ).all()
            for run in runs:
                run.status, run.version = TrainingStatus.FINISHED.value, version
                run.message = outcome
        self.response.look()
        with self.shop.unit_of_work() as work:
            alerts = work.session.scalars(
                select(DriftAlert).where(DriftAlert.raised_at >= started_at)
            ).all()
            return [_move(work.session, alert, started_at) for alert in alerts]


def _move(session: Session, alert: DriftAlert, started_at: datetime) -> datetime:
    """Move an alert to the second of the first two consecutive windows with drift.

    Returns:
        New moment of the alert.
    """
    windows = session.scalars(
        select(DriftWindow)
        .where(DriftWindow.release == alert.release, DriftWindow.measured_at >= started_at)
        .order_by(DriftWindow.ends_at)
    ).all()
    kind = alert.kind.split("+")[0]
    moment = next(
        second.ends_at
        for first, second in pairwise(windows)
        if kind in first.moved and kind in second.moved
    )
    minutes = (0, 0, TRAINING_MINUTES, TRAINING_MINUTES + 1)
    alert.steps = [
        {**step, "at": (moment + timedelta(minutes=late)).isoformat()}
        for step, late in zip(alert.steps, minutes, strict=False)
    ]
    ended_at = moment + timedelta(minutes=TRAINING_MINUTES)
    alert.raised_at, alert.ended_at = moment, ended_at
    if alert.training_run_id is not None:
        run = session.get_one(TrainingRun, alert.training_run_id)
        run.requested_at, run.finished_at = moment, ended_at
    return moment
