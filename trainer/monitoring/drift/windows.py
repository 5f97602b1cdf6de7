"""Measures drift window by window, and raises an alert when a kind moves in two windows in a row.

Kinds that move together share one alert, except input quality, which retraining does not fix. Its
alert is for people, and ends when quality has not moved in two consecutive windows.

A window is the next thousand answers of the champion, or those of a day if there are at least two
hundred. Every window is a row of `drift_windows`. Alerts depend on these rows alone, so a restarted
monitor continues where the last one stopped. A change that the release was trained for is no drift
(`trainer.monitoring.drift.answered`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import AlertStatus, DriftAlert, DriftWindow, now
from shared.db.session import UnitOfWork, Work, take_turns
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import ServedReleases
from shared.lifecycle.alerts import raise_alert, write_step
from shared.logs import new_trace_id
from shared.storage import Storage
from trainer.monitoring.alert_state import SINCE
from trainer.monitoring.drift.answered import (
    SOURCE,
    answered_kinds,
    first_answers,
    still_moved,
)
from trainer.monitoring.drift.measure import Limits, Measured, measure
from trainer.monitoring.drift.window_products import Answered, next_answers, products_of
from trainer.monitoring.settings import DriftSettings
from trainer.reference.sample import Sample

log = structlog.get_logger(__name__)

#: Kind of drift in the input data itself, which retraining does not fix.
QUALITY = "quality"
#: Maximum length of a product title in an alert.
TITLE_CHARACTERS = 120


@dataclass(frozen=True)
class _Watched:
    """Release whose answers are measured."""

    version: str
    manifest: ReleaseManifest
    reference: Sample


class DriftWatch:
    """Measures the champion's answers.

    Args:
        unit_of_work: Database of answers, windows and alerts.
        registry: Registry that names the champion.
        storage: Storage of the images.
        settings: Window size and alert thresholds.
    """

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        registry: ServedReleases,
        storage: Storage,
        settings: DriftSettings,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._registry = registry
        self._storage = storage
        self._settings = settings
        self._limits = Limits(**settings.model_dump(include=set(Limits.__annotations__)))
        self._watched: _Watched | None = None
        self._unwatchable: str | None = None

    def look(self) -> int:
        """Measure every complete window; return how many were stored.

        Raises:
            Unavailable: If database, storage or registry do not answer; the window is measured
                later.
        """
        watched = self._release()
        measured = 0
        while watched is not None and (answered := self._window(watched.version)):
            measured += self._measure(watched, answered)
        return measured

    def _release(self) -> _Watched | None:
        version = self._registry.champion()
        if version is None or version == self._unwatchable:
            return None
        if self._watched is None or self._watched.version != version:
            folder = self._registry.folder(version)
            reference = Sample.load(folder)
            if reference is None:
                self._unwatchable = version
                log.warning("drift_watch_skipped", release=version, reason="no reference")
                return None
            self._watched = _Watched(version, ReleaseManifest.read(folder), reference)
        return self._watched

    def _window(self, version: str) -> Sequence[Answered]:
        """Return the answers of the next window; empty until it is complete."""
        with self._unit_of_work.reading() as session:
            before = _latest(session, version)
            after = before.ends_at if before is not None else None
            answered = next_answers(session, version, after, self._settings.window_rows)
        if len(answered) >= self._settings.window_rows:
            return answered
        is_enough = len(answered) >= self._settings.least_rows
        return answered if is_enough and self._is_late(after or answered[0].finished_at) else ()

    def _is_late(self, since: datetime) -> bool:
        return now() - since > timedelta(seconds=self._settings.window_seconds)

    def _measure(self, watched: _Watched, answered: Sequence[Answered]) -> bool:
        categories = watched.manifest.category_set
        with self._unit_of_work.reading() as session:
            described, products = products_of(session, self._storage, answered, categories)
        window = products.sample()
        measured = measure(watched.reference, window, categories, self._limits)
        figures = {kind: _with_examples(drift, described) for kind, drift in measured.items()}
        moved = [kind for kind, drift in measured.items() if drift.has_moved(self._limits)]
        moved = self._unanswered(watched, window, moved)
        is_stored = self._store(watched.version, answered, moved, figures)
        if is_stored:
            log.info("drift_measured", release=watched.version, rows=len(answered), moved=moved)
        return is_stored

    def _unanswered(self, watched: _Watched, window: Sample, moved: list[str]) -> list[str]:
        """Return the kinds that moved without those that the release was trained for."""
        with self._unit_of_work.reading() as session:
            answered = answered_kinds(session, watched.version)
            if answered.isdisjoint(moved):
                return moved
            categories = watched.manifest.category_set
            first = first_answers(session, watched.version)
            since = None
            # Too few are left once old products are deleted; then the reference alone counts.
            if first is not None and len(first) >= self._settings.least_rows:
                _, products = products_of(session, self._storage, first, categories)
                since = measure(products.sample(), window, categories, self._limits)
            elif first is not None:
                return moved
        return still_moved(moved, answered, since, self._limits)

    def _store(
        self,
        release: str,
        answered: Sequence[Answered],
        moved: Sequence[str],
        figures: Mapping[str, dict[str, Any]],
    ) -> bool:
        """Store a window and update the alerts, unless its answers are in a stored window."""
        with self._unit_of_work() as work:
            # Two monitors run during a rolling update and measure the same answers. Without this
            # lock, the second would take the first's window for the previous one.
            take_turns(work.session, DriftWindow.__tablename__)
            before = _latest(work.session, release)
            if before is not None and before.ends_at >= answered[0].finished_at:
                return False
            work.session.add(
                DriftWindow(
                    release=release,
                    rows=len(answered),
                    begins_at=answered[0].finished_at,
                    ends_at=answered[-1].finished_at,
                    moved=list(moved),
                    measured=dict(figures),
                )
            )
            if before is not None:
                self._compare(work, before, moved, figures)
        return True

    def _compare(
        self,
        work: Work,
        before: DriftWindow,
        moved: Sequence[str],
        figures: Mapping[str, dict[str, Any]],
    ) -> None:
        """Raise alerts for kinds that moved in both windows, and end alerts that are over."""
        new = [kind for kind in moved if kind in before.moved and self._is_new(work, kind)]
        # Quality has its own alert, which must not end with a training for the other kinds.
        self._alert(work, before, [kind for kind in new if kind != QUALITY], figures)
        self._alert(work, before, [kind for kind in new if kind == QUALITY], figures)
        if QUALITY not in (*before.moved, *moved):
            _end_quality_alerts(work.session)

    def _is_new(self, work: Work, kind: str) -> bool:
        """Return True if no alert about this kind was raised within the cool-down."""
        since = now() - timedelta(seconds=self._settings.cooldown_seconds)
        recent = select(DriftAlert.kind).where(
            DriftAlert.source == SOURCE, DriftAlert.raised_at > since
        )
        return all(kind not in kinds.split("+") for kinds in work.session.scalars(recent))

    def _alert(
        self,
        work: Work,
        before: DriftWindow,
        kinds: Sequence[str],
        figures: Mapping[str, dict[str, Any]],
    ) -> None:
        if not kinds:
            return
        kind, release = "+".join(kinds), before.release
        raise_alert(
            work,
            source=SOURCE,
            raised_by="drift",
            kind=kind,
            release=release,
            summary=". ".join(figures[name]["sentence"] for name in kinds),
            details={
                "windows": 2,
                SINCE: before.begins_at.isoformat(),
                "measured": {name: figures[name] for name in kinds},
            },
            trace_id=new_trace_id(),
            fingerprint=f"drift:{release}:{kind}",
        )


def _latest(session: Session, release: str) -> DriftWindow | None:
    newest = select(DriftWindow).where(DriftWindow.release == release)
    return session.scalar(newest.order_by(DriftWindow.ends_at.desc()).limit(1))


def _end_quality_alerts(session: Session) -> None:
    """End the alerts that wait for better input, including those of earlier releases."""
    waiting = (
        select(DriftAlert)
        .where(
            DriftAlert.source == SOURCE,
            DriftAlert.kind == QUALITY,
            DriftAlert.status == AlertStatus.ASKING.value,
        )
        .order_by(DriftAlert.id)
        .with_for_update()
    )
    for alert in session.scalars(waiting):
        alert.status, alert.ended_at = AlertStatus.ENDED.value, now()
        write_step(
            alert, SOURCE, "Input data recovered: no worse than the reference in two windows"
        )


def _with_examples(drift: Measured, answered: Sequence[Answered]) -> dict[str, Any]:
    """Return the figures as JSON, with the examples resolved to jobs and titles."""
    examples = [
        {
            "job_id": answered[line["product"]].id,
            "designation": answered[line["product"]].designation[:TITLE_CHARACTERS],
            "unlikeness": line["unlikeness"],
        }
        for line in drift.examples
    ]
    return asdict(drift) | {"examples": examples}
