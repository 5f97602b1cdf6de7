"""Measures drift, window by window, and raises an alert when something moved twice in a row.

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

from shared.alerts import raise_alert
from shared.db.models import DriftAlert, DriftWindow, now
from shared.db.session import UnitOfWork, Work
from shared.inference.manifest import ReleaseManifest
from shared.logs import new_trace_id
from shared.settings import DriftSettings
from shared.storage import Storage
from trainer.monitoring.drift import Limits, Measured, measure
from trainer.monitoring.sample import Sample
from trainer.monitoring.window_products import Answered, next_answers, products_of

log = structlog.get_logger(__name__)

SOURCE = "monitor"
#: Letters of a title in an alert.
TITLE = 120


class Registry(Protocol):
    """What is needed of `shared.inference.releases.Releases`."""

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
        storage: Has the pictures.
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
        """Measure every window that is complete; returns how many were.

        Raises:
            Unavailable: Database, storage or registry do not answer; the window is measured later.
        """
        watched = self._release()
        measured = 0
        while watched is not None and (answered := self._window(watched.version)):
            self._measure(watched, answered)
            measured += 1
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
            before = _latest(session, version, 1)
            after = before[0].ends_at if before else None
            found = next_answers(session, version, after, self._settings.window_rows)
        if len(found) >= self._settings.window_rows:
            return found
        is_enough = len(found) >= self._settings.least_rows
        return found if is_enough and self._is_late(after or found[0].finished_at) else ()

    def _is_late(self, since: datetime) -> bool:
        return now() - since > timedelta(seconds=self._settings.window_seconds)

    def _measure(self, watched: _Watched, answered: Sequence[Answered]) -> None:
        categories = watched.manifest.category_set
        with self._unit_of_work.reading() as session:
            products = products_of(session, self._storage, answered, categories)
        found = measure(watched.reference, products.sample(), categories, self._limits)
        told = {kind: _named(one, answered) for kind, one in found.items()}
        moved = [kind for kind, one in found.items() if one.has_moved(self._limits)]
        with self._unit_of_work() as work:
            twice = [kind for kind in moved if kind in _moved_before(work.session, watched.version)]
            work.session.add(
                DriftWindow(
                    release=watched.version,
                    rows=len(answered),
                    begins_at=answered[0].finished_at,
                    ends_at=answered[-1].finished_at,
                    moved=moved,
                    measured=told,
                )
            )
            self._alert(
                work, watched.version, [one for one in twice if self._is_news(work, one)], told
            )
        log.info("drift_measured", release=watched.version, rows=len(answered), moved=moved)

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


def _latest(session: Session, release: str, most: int) -> Sequence[DriftWindow]:
    newest = select(DriftWindow).where(DriftWindow.release == release)
    return session.scalars(newest.order_by(DriftWindow.ends_at.desc()).limit(most)).all()


def _moved_before(session: Session, release: str) -> Sequence[str]:
    """What had moved in the window before."""
    before = _latest(session, release, 1)
    return [str(kind) for kind in before[0].moved] if before else ()


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
