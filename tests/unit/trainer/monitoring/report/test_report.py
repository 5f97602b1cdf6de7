"""The monthly report, from a real database: figures, page, and requested trainings."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import select

from shared.contracts import DriftDetected, Modality
from shared.db.models import (
    Base,
    Catalog,
    DriftAlert,
    DriftWindow,
    Performance,
    Promotion,
    Report,
    ReportRequest,
    TrainingRun,
)
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.lifecycle.alerts import raise_alert
from tests.support.answered_jobs import AnsweredJobs
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.tiny_release import write_tiny_release
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.reports import Reports
from trainer.monitoring.settings import MonitorSettings
from trainer.settings import TrainerSettings

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
MIDDLE = OCTOBER + timedelta(days=14, hours=12)
AFTER = datetime(2026, 11, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Add = Callable[..., None]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def reports(unit_of_work: UnitOfWork, tmp_path: Path) -> Reports:
    for version in ("1", "2"):
        write_tiny_release(tmp_path / "releases" / version)
    releases = FolderReleases(tmp_path / "releases")
    settings = TrainerSettings(work_folder=tmp_path / "work")
    performances = Performances(unit_of_work, releases, MonitorSettings(), settings)
    return Reports(unit_of_work, releases, performances)


@pytest.fixture
def jobs() -> AnsweredJobs:
    return AnsweredJobs()


@pytest.fixture
def add(unit_of_work: UnitOfWork, jobs: AnsweredJobs) -> Add:
    def add(*rows: Base) -> None:
        with unit_of_work() as work:
            # In the order of the foreign keys, which these rows have no relationships for.
            for table in Base.metadata.sorted_tables:
                work.session.add_all(row for row in rows if row.__tablename__ == table.name)
                work.session.flush()

    add(jobs.user)
    return add


@pytest.fixture
def make(reports: Reports, unit_of_work: UnitOfWork) -> Make:
    def make(month: str = "2026-10", moment: datetime = AFTER) -> dict[str, Any]:
        reports.make(month, moment)
        with unit_of_work.reading() as session:
            return session.get_one(Report, month).document

    return make


@pytest.fixture
def page(make: Make, unit_of_work: UnitOfWork) -> Callable[[], str]:
    def page() -> str:
        make()
        with unit_of_work.reading() as session:
            return session.get_one(Report, "2026-10").page

    return page


class Elements(HTMLParser):
    """Elements and link targets of a page; fails on unbalanced tags."""

    EMPTY = frozenset({"meta", "link", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses |= {value or "" for name, value in attrs if name in ("href", "src")}
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def reviewed(
    jobs: AnsweredJobs, right: int, wrong: int, moment: datetime, release: str = "1"
) -> list[Base]:
    """Return answers with 10, of which `right` are labelled with 10, and `wrong` with 2583."""
    rows: list[Base] = []
    for number in range(right + wrong):
        label = 10 if number < right else 2583
        about: dict[str, Any] = {"designation": f"Produit {number}", "release": release}
        rows += jobs.make(moment, text=[0.9, 0.1], label=label, reason="random", **about)
    return rows


def test_volume_is_counted_by_day_lane_model_and_release(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    for day in (0, 0, 30):
        add(*jobs.make(OCTOBER + day * DAY, text=[0.9, 0.1]))
    add(*jobs.make(OCTOBER, text=[0.9, 0.1], lane="catalog", model="text", release="2"))
    add(*jobs.make(OCTOBER + 31 * DAY, text=[0.9, 0.1]))
    add(*jobs.make(OCTOBER - DAY, text=[0.9, 0.1]))
    add(_catalog(jobs, OCTOBER + DAY, rows=40), _catalog(jobs, OCTOBER - DAY, rows=7))
    found = make()
    volume = found["volume"]
    assert (volume["jobs"], found["volume_before"]) == (4, 1)
    assert volume["catalogs"] == {"catalogs": 1, "rows": 40}
    assert len(volume["by_day"]) == 31
    assert volume["by_day"][0] == {"day": "2026-10-01", "interactive": 2, "catalog": 1}
    assert volume["by_day"][30] == {"day": "2026-10-31", "interactive": 1}
    assert {"lane": "catalog", "model": "text", "jobs": 1} in volume["by_kind"]
    assert volume["by_release"] == {"1": 3, "2": 1}


def test_latency_errors_and_degraded_answers_are_reported(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    for seconds in range(1, 101):
        add(*jobs.make(MIDDLE, text=[0.9, 0.1], seconds=seconds / 10))
    add(*jobs.make(MIDDLE, text=[0.9, 0.1], seconds=90, lane="catalog"))
    add(*jobs.make(MIDDLE, broken=Modality.IMAGE))
    add(*jobs.make(MIDDLE, text=[0.9, 0.1], broken=Modality.IMAGE, lane="catalog", seconds=90))
    found = make()
    catalog, single = found["latency"]
    assert (single["lane"], single["jobs"]) == ("interactive", 100)
    assert (single["p50"], single["p95"], single["p99"]) == pytest.approx(
        (5.05, 9.505, 9.901), abs=0.01
    )
    assert catalog["p99"] == pytest.approx(90, abs=0.01)
    assert found["errors"] == [{"code": "image_unreadable", "jobs": 1}]
    assert found["degraded"] == [{"reason": "image_unreadable", "jobs": 1}]


def test_coverage_falls_as_precision_rises(jobs: AnsweredJobs, add: Add, make: Make) -> None:
    for number in range(30):
        scores = [0.97, 0.03] if number < 20 else [0.6, 0.4]
        label = 10 if number < 22 else 2583
        add(*jobs.make(MIDDLE, text=scores, label=label, reason="random", chance=0.5))
    lines = {line["threshold"]: line for line in make()["coverage"]}
    assert (lines[0.0]["answers"], lines[0.0]["share"]) == (30, 1)
    assert (lines[0.9]["answers"], lines[0.9]["share"]) == (20, pytest.approx(2 / 3))
    assert lines[0.9]["estimated"] == pytest.approx(0.97)
    assert lines[0.0]["labelled"]["precision"] == pytest.approx(22 / 30)
    assert lines[0.9]["labelled"]["precision"] == 1
    assert 0.8 < lines[0.9]["labelled"]["low"] < 0.9
    assert lines[0.99]["labelled"] is None


def test_f1_is_shown_with_last_months_and_by_category(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    add(*reviewed(jobs, 90, 10, MIDDLE - 30 * DAY), *reviewed(jobs, 60, 40, MIDDLE))
    found = make()
    fusion, text, image = found["quality"]["modalities"]
    assert fusion["labelled"]["f1"] == pytest.approx(2 * 60 / 160 * 0.6)
    assert fusion["before"]["labelled"]["f1"] == pytest.approx(2 * 90 / 190 * 0.9)
    assert fusion["estimated"]["rows"] == text["labelled"]["rows"] == 100
    assert image["labelled"] is None
    (books, pools) = found["quality"]["classes"]
    assert (books["name"], books["answered"]) == ("Livres", 100)
    assert books["now"]["labelled"]["f1"] == pytest.approx(0.75)
    assert pools["now"]["labelled"]["rows"] == 40
    assert [day["day"] for day in found["quality"]["days"]] == ["2026-10-15"]


def test_f1_is_shown_by_level_where_the_categories_are_a_tree(
    jobs: AnsweredJobs, add: Add, page: Callable[[], str], make: Make, tmp_path: Path
) -> None:
    add(*reviewed(jobs, 60, 40, MIDDLE))
    assert make()["quality"]["levels"] == []
    assert "level of the tree" not in page()
    # Given both categories under one root
    path = tmp_path / "releases" / "1"
    manifest = ReleaseManifest.read(path)
    tree = tuple(
        one.model_copy(update={"path": ("Loisirs", one.name)}) for one in manifest.categories
    )
    figures = {"text_rows": 50.0, "text_level1_f1": 0.95}
    figures |= {"text_level1_low": 0.9, "text_level1_high": 0.99}
    manifest.model_copy(update={"categories": tree, "figures": figures}).write(path)
    add(_promotion("1", OCTOBER))
    first, second = make()["quality"]["levels"]
    assert (first["labelled"]["f1"], first["labelled"]["rows"]) == (1, 100)
    assert first["test"] == {"f1": 0.95, "low": 0.9, "high": 0.99, "rows": 50}
    assert second["labelled"]["f1"] == pytest.approx(2 * 60 / 160 * 0.6)
    assert second["labelled"]["low"] < second["labelled"]["f1"] < second["labelled"]["high"]
    assert second["test"] is None
    assert "F1 of the answers by level of the tree of categories" in page()


def test_confusions_come_from_labels_if_there_are_enough(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    add(*reviewed(jobs, 10, 20, MIDDLE))
    found = make()["confusions"]
    assert found["source"] == "labels"
    (pair,) = found["pairs"]
    assert (pair["truth_name"], pair["answer_name"], pair["rows"]) == (
        "Piscine et accessoires",
        "Livres",
        20,
    )
    assert len({example["designation"] for example in pair["examples"]}) == 3


def test_confusions_come_from_probabilities_without_labels(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    for _ in range(10):
        add(*jobs.make(MIDDLE, text=[0.55, 0.45], designation="Bassin"))
    found = make()["confusions"]
    assert found["source"] == "estimated"
    (pair,) = found["pairs"]
    assert (pair["truth"], pair["answer"], pair["rows"]) == (2583, 10, pytest.approx(4.5))
    assert [example["designation"] for example in pair["examples"]] == ["Bassin"]


def test_releases_trainings_drift_and_alerts_of_the_month_are_reported(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    for version, day in (("1", -40), ("2", 14), ("3", 40)):
        add(_promotion(version, OCTOBER + day * DAY))
    add(*jobs.make(MIDDLE + DAY, text=[0.9, 0.1], release="2"))
    for day, effect in ((1, 0.05), (2, 0.4), (40, 0.9)):
        add(_window(OCTOBER + day * DAY, effect))
    add(
        DriftAlert(
            raised_at=MIDDLE,
            source="monitor",
            raised_by="drift",
            kind="text",
            fingerprint="text",
            summary="Titles are shorter",
            details={},
            steps=[{"at": MIDDLE.isoformat(), "by": "monitor", "text": "Raised"}],
        ),
        TrainingRun(requested_at=MIDDLE, requested_by="monitor", reason="Titles", message="Better"),
    )
    found = make()
    served = [(row["version"], row["ends_at"], row["jobs"]) for row in found["releases"]]
    switched = (OCTOBER + 14 * DAY).isoformat()
    assert served == [("1", switched, 0), ("2", None, 1)]
    drift = found["drift"]
    assert (drift["windows"], drift["moved"]) == (2, 1)
    (text,) = drift["kinds"]
    assert (text["windows"], text["moved"], text["largest"]["effect"]) == (2, 1, 0.4)
    assert [alert["summary"] for alert in found["alerts"]] == ["Titles are shorter"]
    assert [run["message"] for run in found["trainings"]] == ["Better"]
    assert found["verdict"]["verdict"] == "watch"


def test_job_of_an_old_release_does_not_change_the_judged_release(
    jobs: AnsweredJobs, add: Add, make: Make, unit_of_work: UnitOfWork
) -> None:
    add(_promotion("2", OCTOBER - 40 * DAY), _test_figure("1", 0.3), _test_figure("2", 0.8))
    add(*reviewed(jobs, 190, 10, MIDDLE - 30 * DAY, release="2"))
    add(*reviewed(jobs, 100, 100, MIDDLE, release="2"))
    add(*jobs.make(MIDDLE, text=[0.9, 0.1], release="1"))
    found = make()
    assert [release["version"] for release in found["releases"]] == ["2", "1"]
    assert found["quality"]["modalities"][0]["test"]["release"] == "2"
    with unit_of_work.reading() as session:
        assert session.scalars(select(DriftAlert.release)).all() == ["2"]


def test_calendar_alert_is_listed_but_not_drift(jobs: AnsweredJobs, add: Add, make: Make) -> None:
    for _ in range(200):
        add(*jobs.make(MIDDLE, text=[0.9, 0.1]))
    add(
        DriftAlert(
            raised_at=MIDDLE,
            source="monitor",
            raised_by="calendar",
            kind="calendar",
            fingerprint="calendar",
            summary="No training was requested within 30 days",
            details={},
            steps=[],
        )
    )
    found = make()
    assert [alert["kind"] for alert in found["alerts"]] == ["calendar"]
    assert found["verdict"]["verdict"] == "healthy"


def test_figures_of_two_releases_are_combined_by_rows(
    jobs: AnsweredJobs, add: Add, make: Make
) -> None:
    for number in range(30):
        scores = [0.95, 0.05] if number < 10 else [0.8, 0.2]
        add(*jobs.make(MIDDLE, text=scores, release="1" if number < 10 else "2"))
    found = make()["quality"]["modalities"][0]["estimated"]
    # F1 of a single answered category with precision p: 2p / (1 + p), weighted by p.
    one, two = (2 * p / (1 + p) * p for p in (0.95, 0.8))
    assert found["f1"] == pytest.approx((10 * one + 20 * two) / 30, abs=1e-6)
    assert (found["rows"], found["low"] < found["f1"] < found["high"]) == (30, True)


def test_request_whose_message_was_lost_is_fulfilled(
    jobs: AnsweredJobs, add: Add, reports: Reports, unit_of_work: UnitOfWork
) -> None:
    add(*jobs.make(MIDDLE, text=[0.8, 0.2]), ReportRequest(month="2026-10", requested_at=MIDDLE))
    reports.make_requested(MIDDLE + timedelta(seconds=5))
    assert stored(unit_of_work, Report) == [], "its message may still arrive"
    reports.make_requested(AFTER)
    assert stored(unit_of_work, Report) == ["2026-10"]
    assert stored(unit_of_work, ReportRequest) == []


def test_report_on_a_message_fulfils_the_request(
    jobs: AnsweredJobs, add: Add, reports: Reports, unit_of_work: UnitOfWork
) -> None:
    add(*jobs.make(MIDDLE, text=[0.8, 0.2]), ReportRequest(month="2026-10", requested_at=MIDDLE))
    reports.make("2026-10", AFTER)
    assert stored(unit_of_work, ReportRequest) == []


def test_request_that_cannot_be_fulfilled_yet_is_kept(
    add: Add, reports: Reports, unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise Unavailable("The disk of the database is full")

    add(ReportRequest(month="2026-10", requested_at=MIDDLE))
    monkeypatch.setattr(Reports, "_store", fail)
    with pytest.raises(Unavailable):
        reports.make_requested(AFTER)
    assert stored(unit_of_work, ReportRequest) == ["2026-10"]


def test_request_from_before_the_clock_was_set_back_is_fulfilled_once(
    add: Add, reports: Reports, unit_of_work: UnitOfWork
) -> None:
    add(ReportRequest(month="2026-10", requested_at=AFTER + timedelta(hours=2)))
    reports.make_requested(AFTER)
    assert stored(unit_of_work, ReportRequest) == []


def test_request_during_the_run_is_fulfilled_by_another(
    add: Add, reports: Reports, unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Reports._measure

    def measure_and_request(self: Reports, period: Period, moment: datetime) -> None:
        measure(self, period, moment)
        with unit_of_work() as work:
            work.session.merge(ReportRequest(month="2026-10", requested_at=AFTER))

    add(ReportRequest(month="2026-10", requested_at=MIDDLE))
    monkeypatch.setattr(Reports, "_measure", measure_and_request)
    reports.make_requested(AFTER)
    assert stored(unit_of_work, ReportRequest) == ["2026-10"]


def stored(unit_of_work: UnitOfWork, kind: type[Report] | type[ReportRequest]) -> list[str]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(kind.month)))


def test_retrain_verdict_requests_one_training(
    jobs: AnsweredJobs,
    add: Add,
    make: Make,
    broker: FakeBroker,
    unit_of_work: UnitOfWork,
) -> None:
    add(*reviewed(jobs, 190, 10, MIDDLE - 30 * DAY), *reviewed(jobs, 100, 100, MIDDLE))
    found = make()
    assert found["verdict"]["verdict"] == "retrain"
    assert "F1 of reviewed answers" in found["verdict"]["sentence"]
    make()
    with unit_of_work() as work:
        (alert,) = work.session.scalars(select(DriftAlert)).all()
        assert (alert.source, alert.kind, alert.fingerprint) == (
            "report",
            "report",
            "report:2026-10",
        )
        assert alert.summary.startswith("Report of 2026-10: F1 of reviewed answers")
        alert.ended_at = AFTER
    make()
    assert [type(message) for message in broker.messages] == [DriftDetected]
    # An alert of the report itself does not influence its next verdict.
    assert make()["verdict"]["rules"][5]["fired"] is None


def test_report_of_an_unfinished_month_requests_no_training(
    jobs: AnsweredJobs, add: Add, make: Make, broker: FakeBroker
) -> None:
    add(*reviewed(jobs, 190, 10, MIDDLE - 30 * DAY), *reviewed(jobs, 100, 100, MIDDLE))
    assert make(moment=MIDDLE + DAY)["verdict"]["verdict"] == "retrain"
    assert broker.messages == []
    # The end of the month is late enough.
    assert make(moment=OCTOBER + 31 * DAY)["verdict"]["verdict"] == "retrain"
    assert [type(message) for message in broker.messages] == [DriftDetected]


@pytest.mark.parametrize(
    ("promoted", "made", "verdict"),
    [
        (OCTOBER + 5 * DAY, MIDDLE + DAY, "watch"),
        (OCTOBER + 5 * DAY, AFTER, "retrain"),
        (OCTOBER + 20 * DAY, AFTER, "watch"),
        (OCTOBER + 20 * DAY, AFTER + 30 * DAY, "watch"),
        (OCTOBER - 5 * DAY, OCTOBER + 5 * DAY, "watch"),
    ],
)
def test_release_is_new_for_two_weeks_before_the_end_of_the_month_or_the_report(
    jobs: AnsweredJobs, add: Add, make: Make, promoted: datetime, made: datetime, verdict: str
) -> None:
    add(_promotion("1", promoted))
    add(*reviewed(jobs, 190, 10, MIDDLE - 30 * DAY), *reviewed(jobs, 100, 100, OCTOBER))
    assert make(moment=made)["verdict"]["verdict"] == verdict


def test_verdict_of_an_old_month_requests_no_training(
    jobs: AnsweredJobs, add: Add, make: Make, broker: FakeBroker
) -> None:
    add(*reviewed(jobs, 190, 10, MIDDLE - 30 * DAY), *reviewed(jobs, 100, 100, MIDDLE))
    assert make(moment=AFTER + 60 * DAY)["verdict"]["verdict"] == "retrain"
    assert broker.messages == []


def test_report_of_the_previous_month_is_created_once(
    reports: Reports, jobs: AnsweredJobs, add: Add, unit_of_work: UnitOfWork
) -> None:
    def made() -> list[tuple[str, datetime]]:
        with unit_of_work.reading() as session:
            columns = select(Report.month, Report.made_at).order_by(Report.month)
            return [(row.month, row.made_at) for row in session.execute(columns)]

    reports.make_due(AFTER)
    assert made() == []
    add(*jobs.make(MIDDLE, text=[0.9, 0.1]))
    reports.make("2026-10", MIDDLE + DAY)
    reports.make_due(AFTER - DAY)
    assert made() == [("2026-10", MIDDLE + DAY)]
    # A report created during the month is replaced.
    for hours in (0, 5):
        reports.make_due(AFTER + timedelta(hours=hours))
    assert made() == [("2026-10", AFTER)]


def test_month_that_has_not_begun_has_no_report(reports: Reports) -> None:
    assert reports.make("2027-01", AFTER) is None
    with pytest.raises(InvalidInput, match="such as `2026-11`"):
        reports.make("January", AFTER)


def test_page_of_an_empty_month_has_explanations_and_no_charts(page: Callable[[], str]) -> None:
    html = page()
    for sentence in (
        "No product was answered, so there is nothing to judge.",
        "No day was measured.",
        "Nothing was measured.",
        "No category was measured.",
        "No confusions are known",
        "No product was submitted.",
        "No window was compared",
        "No alert was raised.",
        "No release served.",
        "No training was requested.",
        "No answer was drawn for review.",
    ):
        assert sentence in html
    assert "<svg" not in html


def test_page_is_self_contained_and_escapes_products(
    jobs: AnsweredJobs, add: Add, page: Callable[[], str], unit_of_work: UnitOfWork
) -> None:
    bad = '<script>alert(1)</script><img src="http://evil.example/x.png">'
    for number in range(30):
        title = f"{bad} \x07 {number}"
        add(*jobs.make(MIDDLE, text=[0.9, 0.1], label=2583, reason="random", designation=title))
    add(_window(MIDDLE, 0.4, bad), _promotion("1", OCTOBER, bad))
    with unit_of_work() as work:
        raise_alert(
            work,
            source="person",
            raised_by=bad[:60],
            kind="text",
            release="1",
            summary=bad,
            details={},
            trace_id="0" * 32,
            fingerprint="x",
        )
        work.session.flush()
        work.session.scalars(select(DriftAlert)).one().raised_at = MIDDLE
    html = page()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html
    elements = Elements()
    elements.feed(html)
    assert elements.open == []
    assert not elements.names & {"script", "img", "link", "iframe", "object", "form"}
    assert {address[0] for address in elements.addresses} == {"#"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    for drawn in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(drawn)
    assert html.count("<svg") >= 5
    targets = set(re.findall(r'href="#(\w+)"', html))
    assert targets <= set(re.findall(r'id="(\w+)"', html))


def test_page_marks_figures_from_the_release_manifest(
    jobs: AnsweredJobs, add: Add, page: Callable[[], str]
) -> None:
    add(*jobs.make(MIDDLE, text=[0.9, 0.1]), _promotion("1", OCTOBER))
    add(_test_figure("1", 0.8))
    assert "from the release manifest" in page()


def test_document_is_valid_json(jobs: AnsweredJobs, add: Add, make: Make) -> None:
    add(*reviewed(jobs, 30, 30, MIDDLE))
    found = make()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def _catalog(jobs: AnsweredJobs, created_at: datetime, rows: int) -> Catalog:
    return Catalog(
        user_id=jobs.user.id,
        trace_id="0" * 32,
        name="shop.csv",
        model="fusion",
        release="1",
        dry_run=False,
        fingerprint="x",
        size=1,
        has_images=False,
        created_at=created_at,
        rows=rows,
    )


def _promotion(version: str, moment: datetime, reason: str = "better") -> Promotion:
    return Promotion(
        promoted_at=moment, version=version, promoted_by="ada", reason=reason, figures={}
    )


def _test_figure(release: str, f1: float) -> Performance:
    fields = {"kind": "test", "modality": "fusion", "rows": 50, "classes": {}}
    return Performance(measured_at=MIDDLE, release=release, f1=f1, **fields)


def _window(ends_at: datetime, effect: float, title: str = "Piscine") -> DriftWindow:
    return DriftWindow(
        measured_at=ends_at,
        release="1",
        rows=500,
        begins_at=ends_at - DAY,
        ends_at=ends_at,
        moved=["text"] if effect > 0.2 else [],
        measured={
            "text": {
                "effect": effect,
                "threshold": 0.2,
                "p_value": 1e-5,
                "rows": 500,
                "sentence": "Titles are shorter",
                "features": [],
                "classes": [{"code": 10, "reference": 0.5, "window": 0.7}],
                "examples": [{"job_id": "1", "designation": title, "unlikeness": 0.9}],
            }
        },
    )
