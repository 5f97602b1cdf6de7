"""Measures drift, window by window, and raises an alert when something moved twice in a row.

What moved together is one alert, but for the quality of the products: a training does not mend it.
Its alert is for people, and ends when quality has not moved in two windows in a row.

A window is the next thousand answers of the champion, or those of a day if they are at least two
hundred. Each is a row of `drift_windows`, whether something moved or not; the rows alone decide
about alerts, so a monitor that starts again goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import AlertStatus, DriftAlert, DriftWindow, now
from shared.db.session import UnitOfWork, Work, take_turns
from shared.inference.manifest import ReleaseManifest
from shared.lifecycle.alerts import raise_alert, write_step
from shared.logs import new_trace_id
from shared.storage import Storage
from trainer.monitoring.drift.measure import Limits, Measured, measure
from trainer.monitoring.drift.window_products import Answered, next_answers, products_of
from trainer.monitoring.settings import DriftSettings
from trainer.reference.sample import Sample

log = structlog.get_logger(__name__)

SOURCE = "monitor"
#: The kind that is about the products themselves; no training mends it.
QUALITY = "quality"
#: Letters of a title in an alert.
TITLE = 120


class Registry(Protocol):
    """What is needed of `shared.inference.releases.registry.Releases`."""

    def champion(self) -> str | None:
        """Version that serves."""

    def folder(self, version: str) -> Path:
        """Local folder of a version. Raises `NotFound`."""


@dataclass(frozen=True)
class _Watched:
    """The release whose answers are measured."""

    version: str
    manifest: ReleaseManifest
    reference: Sample


class DriftWatch:
    """Looks at the champion's answers.

    Args:
        unit_of_work: Where answers, windows and alerts are.
        registry: Knows the champion.
        storage: Has the images.
        settings: How large windows are, and when an alert is raised.
    """

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        registry: Registry,
        storage: Storage,
        settings: DriftSettings,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._registry = registry
        self._storage = storage
        self._settings = settings
        self._limits = Limits(**settings.model_dump(include=set(Limits.__annotations__)))
        self._watched: _Watched | None = None
        self._without: str | None = None

    def look(self) -> int:
        """Measure every window that is complete; returns how many were kept.

        Raises:
            Unavailable: Database, storage or registry do not answer; the window is measured later.
        """
        watched = self._release()
        measured = 0
        while watched is not None and (answered := self._window(watched.version)):
            measured += self._measure(watched, answered)
        return measured

    def _release(self) -> _Watched | None:
        version = self._registry.champion()
        if version is None or version == self._without:
            return None
        if self._watched is None or self._watched.version != version:
            folder = self._registry.folder(version)
            reference = Sample.load(folder)
            if reference is None:
                self._without = version
                log.warning("drift_not_watched", release=version, reason="it has no reference")
                return None
            self._watched = _Watched(version, ReleaseManifest.read(folder), reference)
        return self._watched

    def _window(self, version: str) -> Sequence[Answered]:
        """Answers of the next window, or none while it is not complete."""
        with self._unit_of_work.reading() as session:
            before = _latest(session, version)
            after = before.ends_at if before is not None else None
            found = next_answers(session, version, after, self._settings.window_rows)
        if len(found) >= self._settings.window_rows:
            return found
        is_enough = len(found) >= self._settings.least_rows
        return found if is_enough and self._is_late(after or found[0].finished_at) else ()

    def _is_late(self, since: datetime) -> bool:
        return now() - since > timedelta(seconds=self._settings.window_seconds)

    def _measure(self, watched: _Watched, answered: Sequence[Answered]) -> bool:
        categories = watched.manifest.category_set
        with self._unit_of_work.reading() as session:
            products = products_of(session, self._storage, answered, categories)
        found = measure(watched.reference, products.sample(), categories, self._limits)
        told = {kind: _named(one, answered) for kind, one in found.items()}
        moved = [kind for kind, one in found.items() if one.has_moved(self._limits)]
        kept = self._keep(watched.version, answered, moved, told)
        if kept:
            log.info("drift_measured", release=watched.version, rows=len(answered), moved=moved)
        return kept

    def _keep(
        self,
        release: str,
        answered: Sequence[Answered],
        moved: Sequence[str],
        told: Mapping[str, dict[str, Any]],
    ) -> bool:
        """Write a window down, with what follows from it, unless its answers are in one already."""
        with self._unit_of_work() as work:
            # Two monitors, as while one is replaced, measure the same answers, and the second would
            # take the first's window for the one before.
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
                    measured=dict(told),
                )
            )
            if before is not None:
                self._compare(work, release, before.moved, moved, told)
        return True

    def _compare(
        self,
        work: Work,
        release: str,
        before: Sequence[str],
        moved: Sequence[str],
        told: Mapping[str, dict[str, Any]],
    ) -> None:
        """Raise what moved in both windows, and end what is over."""
        news = [kind for kind in moved if kind in before and self._is_news(work, kind)]
        # Worse products have an alert of their own: it is not over when a training for the others
        # has ended.
        self._alert(work, release, [kind for kind in news if kind != QUALITY], told)
        self._alert(work, release, [kind for kind in news if kind == QUALITY], told)
        if QUALITY not in (*before, *moved):
            _end_quality_alerts(work.session)

    def _is_news(self, work: Work, kind: str) -> bool:
        """Whether no alert was raised about it within the cool-down."""
        since = now() - timedelta(seconds=self._settings.cooldown_seconds)
        recent = select(DriftAlert.kind).where(
            DriftAlert.source == SOURCE, DriftAlert.raised_at > since
        )
        return all(kind not in told.split("+") for told in work.session.scalars(recent))

    def _alert(
        self, work: Work, release: str, kinds: Sequence[str], told: Mapping[str, dict[str, Any]]
    ) -> None:
        if not kinds:
            return
        kind = "+".join(kinds)
        raise_alert(
            work,
            source=SOURCE,
            raised_by="drift",
            kind=kind,
            release=release,
            summary=". ".join(told[one]["sentence"] for one in kinds),
            details={"windows": 2, "measured": {one: told[one] for one in kinds}},
            trace_id=new_trace_id(),
            fingerprint=f"drift:{release}:{kind}",
        )


def _latest(session: Session, release: str) -> DriftWindow | None:
    newest = select(DriftWindow).where(DriftWindow.release == release)
    return session.scalar(newest.order_by(DriftWindow.ends_at.desc()).limit(1))


def _end_quality_alerts(session: Session) -> None:
    """End what waits for better products, also what was raised for the release before."""
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
        write_step(alert, SOURCE, "Products were no worse than the release knows, in two windows")


def _named(found: Measured, answered: Sequence[Answered]) -> dict[str, Any]:
    """The figures, with examples that a person can look up."""
    examples = [
        {
            "job_id": answered[line["product"]].id,
            "designation": answered[line["product"]].designation[:TITLE],
            "unlikeness": line["unlikeness"],
        }
        for line in found.examples
    ]
    return asdict(found) | {"examples": examples}
