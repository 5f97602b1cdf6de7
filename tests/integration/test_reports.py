"""The report of a month has the same figures on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.contracts import Modality
from shared.db.models import Base, Report
from shared.db.session import UnitOfWork
from tests.support.answered_jobs import AnsweredJobs
from tests.support.fakes import FolderReleases
from tests.support.tiny_release import write_tiny_release
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.report.reports import Reports
from trainer.monitoring.settings import MonitorSettings
from trainer.settings import TrainerSettings

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)


def test_report_has_the_figures_of_a_month(unit_of_work: UnitOfWork, tmp_path: Path) -> None:
    write_tiny_release(tmp_path / "releases" / "1")
    releases = FolderReleases(tmp_path / "releases")
    jobs = AnsweredJobs()
    rows: list[Base] = [jobs.user]
    for number in range(40):
        # The first minute of a day in UTC is another day in most time zones.
        moment = OCTOBER + timedelta(days=number % 20, seconds=30)
        label = 10 if number < 30 else 2583
        seconds = (number + 1) / 10
        rows += jobs.make(
            moment, text=[0.8, 0.2], label=label, reason="random", chance=0.5, seconds=seconds
        )
    broken = Modality.IMAGE
    rows += jobs.make(OCTOBER, text=[0.9, 0.1], broken=broken, lane="catalog", seconds=60)
    rows += jobs.make(OCTOBER, broken=broken)
    with unit_of_work() as work:
        for row in rows:
            work.session.add(row)
            work.session.flush()
    settings = TrainerSettings(work_folder=tmp_path / "work")
    performances = Performances(unit_of_work, releases, MonitorSettings(), settings)
    Reports(unit_of_work, releases, performances).make("2026-10", OCTOBER + timedelta(days=32))
    with unit_of_work.reading() as session:
        report = session.get_one(Report, "2026-10")
    found = report.document
    assert found["volume"]["by_day"][0] == {"day": "2026-10-01", "interactive": 3, "catalog": 1}
    assert found["volume"]["by_day"][19] == {"day": "2026-10-20", "interactive": 2}
    catalog, single = found["latency"]
    assert (catalog["p50"], single["jobs"]) == (60, 40)
    assert abs(single["p50"] - 2.05) < 0.01
    assert found["errors"] == [{"code": "image_unreadable", "jobs": 1}]
    assert found["degraded"] == [{"reason": "image_unreadable", "jobs": 1}]
    assert found["coverage"][0]["answers"] == 41
    fusion = found["quality"]["modalities"][0]
    assert (fusion["labelled"]["rows"], fusion["estimated"]["rows"]) == (40, 41)
    assert found["confusions"]["source"] == "estimated"
    assert "October 2026" in report.page
