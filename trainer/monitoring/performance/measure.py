"""How good the answers are, over time: on the test set, by labels, and estimated without any.

Three kinds of figures, each by release and by modality (`fusion`, `text`, `image`) and by class:

* `test`: the champion on the held-out rows, by the calendar and when the champion changes.
  Without data, what the release says of itself; such rows have no interval.
* `labelled`: answers of a day or a month that were drawn for review; `volunteered`: those that
  people labelled of their own accord, which is no fair sample and is never mixed with the first.
* `estimated`: all answers of a day or a month, from their probabilities. Each estimate stands
  beside how far earlier ones were from the truth.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from shared.db.models import Job, Performance, now
from shared.db.session import UnitOfWork
from shared.errors import NotFound, RayonError
from trainer.monitoring.latest_dataset import latest_dataset
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import MODALITIES, Fusing, Labelled, Registry
from trainer.monitoring.performance.cbpe import Estimate
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.performance.weighted_f1 import Confusions, by_code, measured_f1
from trainer.monitoring.settings import MonitorSettings
from trainer.runs.child_process import Workbench
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

TEST, LABELLED, VOLUNTEERED, ESTIMATED = "test", "labelled", "volunteered", "estimated"
#: How far back days are measured that were not: the monitor may have stood still.
DAYS_BACK = 35
#: A day with fewer reviewed answers has no figure of its own; its month has.
LEAST_LABELS = 30
#: After a scoring that failed.
TRY_AGAIN = timedelta(days=1)
#: The truth that an estimate is held against; fewer labels are mostly chance.
LEAST_TRUTH = 100
#: A period that is not over is measured again after this long.
AGAIN = {True: timedelta(hours=1), False: timedelta(days=1)}
COMMAND = (sys.executable, "-m", "trainer.monitoring.performance.held_out")


class TestSetFailed(Exception):
    """The champion could not be scored."""

    __test__ = False


@dataclass(frozen=True)
class Figure:
    """An estimate of something, to be kept."""

    kind: str
    release: str
    modality: str
    estimate: Estimate
    period: Period
    confused: Confusions | None = None


@dataclass
class Performances:
    """Measures what is due, and keeps it.

    Every public method raises `Unavailable` when the database or the registry does not answer.
    """

    unit_of_work: UnitOfWork
    registry: Registry
    settings: MonitorSettings
    trainer: TrainerSettings
    command: Sequence[str] = COMMAND
    #: Set it to end a scoring that runs.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: When a release that has figures could not be scored again.
    _failed_at: dict[str, datetime] = field(default_factory=dict)

    def measure(self, moment: datetime | None = None) -> None:
        """Bring labelled and estimated figures up to date."""
        moment = moment or now()
        self.measure_labels(moment)
        for period in self._periods(moment):
            if self.stopping.is_set():
                return
            self.estimate(period, moment)

    def measure_labels(self, moment: datetime) -> None:
        """Measure the days and months that have labels which came since the last time."""
        with self.unit_of_work.reading() as session:
            found = [
                figure
                for period in _labelled_periods(session)
                for figure in _by_labels(session, period)
            ]
        if found:
            self._keep(found, moment)

    def score_champion(self, moment: datetime | None = None) -> None:
        """Score the champion on the test set, if that is due."""
        moment = moment or now()
        champion = self.registry.champion()
        if champion is None:
            return
        with self.unit_of_work.reading() as session:
            data = latest_dataset(session, self.settings.dataset) or self.trainer.data
            if not self._is_test_due(session, champion, moment, has_data=data is not None):
                return
        try:
            if data is None:
                raise TestSetFailed("There is no data: RAYON_TRAINER_DATA names no folder")
            reference = str(data if isinstance(data, Path) else data.reference)
            self._keep_test(champion, self._scored(champion, reference), moment)
        except (TestSetFailed, RayonError) as error:
            if self.stopping.is_set():
                return
            log.warning("champion_not_scored", release=champion, error=str(error))
            self._failed_at[champion] = moment
            self._keep_said(champion, moment)

    def _is_test_due(
        self, session: Session, champion: str, moment: datetime, *, has_data: bool
    ) -> bool:
        failed_at = self._failed_at.get(champion)
        if failed_at is not None and failed_at > moment - TRY_AGAIN:
            return False
        last = session.scalar(
            select(Performance)
            .where(Performance.kind == TEST, Performance.release == champion)
            .order_by(Performance.measured_at.desc())
            .limit(1)
        )
        if last is None:
            return True
        is_measured = last.low is not None
        every = timedelta(days=self.settings.test_every_days)
        return last.measured_at <= moment - (every if is_measured or not has_data else TRY_AGAIN)

    def _scored(self, champion: str, data: str) -> dict[str, Any]:
        folder = self.trainer.work_folder / "scoring"
        bench = Workbench(folder, self.trainer.stop_grace_seconds)
        deadline = time.monotonic() + self.trainer.time_limit_seconds

        def check() -> None:
            if self.stopping.is_set() or time.monotonic() > deadline:
                raise TestSetFailed("It was stopped, or took longer than the limit")

        with tempfile.TemporaryDirectory() as made:
            out = Path(made, "figures.json")
            command = [*self.command, str(self.registry.folder(champion)), data]
            command += ["--out", str(out), "--kept", str(folder / "kept")]
            code = bench.run(command, folder / "scoring.log", check)
            if code:
                raise TestSetFailed(f"It ended with {code}: {bench.tail[-1] if bench.tail else ''}")
            found: dict[str, Any] = json.loads(out.read_text())
            return found

    def _keep_test(self, champion: str, found: dict[str, Any], moment: datetime) -> None:
        with self.unit_of_work() as work:
            for modality, both in found.items():
                past = past_error(work.session, modality, moment)
                for kind, said in ((TEST, both["measured"]), (ESTIMATED, both["estimated"])):
                    work.session.add(
                        Performance(
                            measured_at=moment,
                            kind=kind,
                            release=champion,
                            modality=modality,
                            past_error=past if kind == ESTIMATED else None,
                            classes=said["by_class"],
                            **{name: said[name] for name in ("rows", "f1", "low", "high")},
                        )
                    )
        f1 = {modality: round(both["measured"]["f1"], 4) for modality, both in found.items()}
        log.info("champion_scored", release=champion, **f1)

    def _keep_said(self, champion: str, moment: datetime) -> None:
        """Keep what the release says of itself, unless it was measured here before.

        It has no interval and no classes.
        """
        said = self.registry.manifest(champion).figures
        with self.unit_of_work() as work:
            if _is_measured(work.session, champion):
                return
            for modality in MODALITIES:
                f1 = said.get(f"{modality}_f1_plain")
                if f1 is not None:
                    work.session.add(
                        Performance(
                            measured_at=moment,
                            kind=TEST,
                            release=champion,
                            modality=modality,
                            rows=int(said.get(f"{modality}_rows", 0)),
                            f1=f1,
                            classes={},
                        )
                    )

    def _periods(self, moment: datetime) -> list[Period]:
        """What may be due, oldest first: the last days, this month and the one before."""
        today = Period.day(moment)
        days = [Period.day(today.begins_at - back * DAY) for back in range(DAYS_BACK, -1, -1)]
        month = Period.month_of(moment)
        return [*days, month.before(), month]

    def estimate(self, period: Period, moment: datetime) -> None:
        """Estimate F1 of a period without labels, if that is due."""
        with self.unit_of_work.reading() as session:
            last = session.scalar(
                select(func.max(Performance.measured_at)).where(
                    Performance.kind == ESTIMATED, *_is_of(period)
                )
            )
            if not _is_due(period, last, moment):
                return
            found = [
                Figure(
                    ESTIMATED,
                    release,
                    modality,
                    one.estimate(fusing.codes),
                    period,
                    one.by_truth(fusing.codes),
                )
                for release in answers.releases_of(session, period)
                if (fusing := self._fusing(release)) is not None
                for modality, one in answers.expectations(session, period, release, fusing).items()
            ]
        if found:
            self._keep(found, moment)

    def _fusing(self, release: str) -> Fusing | None:
        try:
            return Fusing.of(self.registry, release)
        except NotFound:
            log.warning("release_unknown", release=release)
            return None

    def _keep(self, found: Sequence[Figure], moment: datetime) -> None:
        """Keep figures in the place of those that were measured earlier of the same."""
        with self.unit_of_work() as work:
            for one in found:
                work.session.execute(
                    delete(Performance).where(
                        Performance.kind == one.kind,
                        Performance.release == one.release,
                        Performance.modality == one.modality,
                        *_is_of(one.period),
                    )
                )
                work.session.add(self._row(work.session, one, moment))
        log.debug("performance_measured", figures=len(found))

    def _row(self, session: Session, one: Figure, moment: datetime) -> Performance:
        past = None
        if one.kind == ESTIMATED:
            past = past_error(session, one.modality, one.period.begins_at)
        return Performance(
            measured_at=moment,
            kind=one.kind,
            release=one.release,
            modality=one.modality,
            begins_at=one.period.begins_at,
            ends_at=one.period.ends_at,
            rows=one.estimate.rows,
            f1=one.estimate.f1,
            low=one.estimate.low,
            high=one.estimate.high,
            past_error=past,
            classes=by_code(one.estimate, one.confused),
        )


def _is_measured(session: Session, release: str) -> bool:
    measured = select(Performance.id).where(
        Performance.kind == TEST, Performance.release == release, Performance.low.is_not(None)
    )
    return session.scalar(measured.limit(1)) is not None


def past_error(session: Session, modality: str, before: datetime) -> float | None:
    """How far earlier estimates were from the truth, as root of the mean square.

    Each estimate whose period had ended is held against the labels of the same period, where there
    are at least `LEAST_TRUTH`, and each of the test set against its labels. What chance does to the
    labels is in it.

    Returns:
        `None` if no estimate has met a truth yet.
    """
    rows = session.execute(
        select(
            Performance.kind,
            Performance.release,
            Performance.begins_at,
            Performance.ends_at,
            Performance.measured_at,
            Performance.f1,
        ).where(
            Performance.modality == modality,
            Performance.kind.in_((TEST, LABELLED, ESTIMATED)),
            Performance.low.is_not(None),
            (Performance.kind != LABELLED) | (Performance.rows >= LEAST_TRUTH),
            func.coalesce(Performance.ends_at, Performance.measured_at) <= before,
        )
    ).all()
    estimates: dict[Any, float] = {}
    truths: dict[Any, float] = {}
    for row in rows:
        about = (row.begins_at, row.ends_at) if row.begins_at else row.measured_at
        (estimates if row.kind == ESTIMATED else truths)[(row.release, about)] = row.f1
    errors = [estimates[key] - truths[key] for key in estimates.keys() & truths.keys()]
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else None


def _is_of(period: Period) -> tuple[Any, Any]:
    return Performance.begins_at == period.begins_at, Performance.ends_at == period.ends_at


def _is_due(period: Period, last: datetime | None, moment: datetime) -> bool:
    if period.begins_at > moment:
        return False
    if last is None:
        return True
    if last >= period.ends_at:
        return False
    return moment >= period.ends_at or moment - last >= AGAIN[period.is_day]


def _labelled_periods(session: Session) -> list[Period]:
    since = session.scalar(
        select(func.max(Performance.measured_at)).where(
            Performance.kind.in_((LABELLED, VOLUNTEERED))
        )
    )
    ended = select(Job.finished_at).where(
        Job.labelled_at > (since or datetime(2000, 1, 1, tzinfo=UTC)), Job.finished_at.is_not(None)
    )
    moments = [moment for moment in session.scalars(ended) if moment is not None]
    days = {Period.day(moment) for moment in moments}
    months = {Period.month_of(moment) for moment in moments}
    return sorted(days | months, key=lambda period: (period.begins_at, period.ends_at))


def _by_labels(session: Session, period: Period) -> list[Figure]:
    found: list[Figure] = []
    for release in answers.releases_of(session, period):
        kinds: dict[str, Labelled] = {
            LABELLED: answers.reviewed(session, period, release),
            VOLUNTEERED: answers.volunteered(session, period, release),
        }
        for kind, labelled in kinds.items():
            for modality in MODALITIES:
                truth, predicted, weights = labelled.of(modality)
                if len(truth) >= (LEAST_LABELS if period.is_day else 1):
                    estimate = measured_f1(truth, predicted, weights)
                    found.append(Figure(kind, release, modality, estimate, period))
    return found
