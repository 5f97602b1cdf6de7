"""Shop with an empty database, and the monitor that measures and reports it."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from shared.db.migrations.upgrade import upgrade
from shared.db.session import UnitOfWork, open_engine
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.fusion_model import FusionModel
from shared.settings import DatabaseSettings, StorageSettings
from shared.storage import Storage
from tests.bench.quality.quarter.events import Quarter
from tests.bench.quality.quarter.pool import scored_pool
from tests.bench.quality.quarter.shop import Shop
from tests.bench.starter import STARTER
from tests.support.answered_jobs import AnsweredJobs
from tests.support.fakes import FakeBroker, FolderReleases
from trainer.datasets.folder import Dataset
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.reports import Reports
from trainer.monitoring.report.verdict import Level
from trainer.monitoring.settings import DriftSettings, MonitorSettings
from trainer.settings import TrainerSettings

#: Jobs per drift window.
WINDOW = 500


@dataclass(frozen=True)
class Replayed:
    """A shop whose months are replayed."""

    quarter: Quarter
    performances: Performances
    reports: Reports

    def report(self, month: Period) -> Level | None:
        """Measure a month and make its report; return the verdict."""
        self.performances.score_champion(month.ends_at - timedelta(days=6))
        self.performances.measure(month.ends_at + timedelta(hours=6))
        return self.reports.make(month.name, month.ends_at + timedelta(hours=6))


def start(data: Dataset, source: Path, out: Path, *, trainings_per_week: int) -> Replayed:
    """Create a shop in the folder `out`; scores that an earlier run cached there are read again."""
    storage = Storage(StorageSettings(url=str(out / "files")))
    pool = scored_pool(data, STARTER, out / "kept", storage)
    unit_of_work, registry = _database(out), _releases(out)
    manifest = ReleaseManifest.read(STARTER)
    answered_jobs = AnsweredJobs(
        categories=manifest.category_set, fusion=FusionModel.load(STARTER / "fusion")
    )
    shop = Shop(unit_of_work, pool, answered_jobs, np.random.default_rng(0))
    shop.add([answered_jobs.user])
    settings = MonitorSettings(trainings_per_week=trainings_per_week)
    drift = DriftWatch(
        unit_of_work, registry, storage, DriftSettings(window_rows=WINDOW, cooldown_seconds=0)
    )
    quarter = Quarter(shop, registry, drift, AlertResponse(unit_of_work, settings))
    trainer = TrainerSettings(data=source.resolve(), work_folder=out / "kept")
    performances = Performances(unit_of_work, registry, settings, trainer)
    return Replayed(quarter, performances, Reports(unit_of_work, registry, performances))


def _database(out: Path) -> UnitOfWork:
    path = out / "quarter.db"
    for old in out.glob("quarter.db*"):
        old.unlink()
    url = f"sqlite:///{path}"
    upgrade(url)
    return UnitOfWork(open_engine(DatabaseSettings(url=SecretStr(url))), FakeBroker())


def _releases(out: Path) -> FolderReleases:
    root = out / "releases"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for version in ("1", "2"):
        # Both releases have the same models, so that only the products change.
        (root / version).symlink_to(STARTER, target_is_directory=True)
    return FolderReleases(root)
