"""Scores the champion on the held-out test set, in a child process, on a schedule."""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Performance, now
from shared.db.session import UnitOfWork
from shared.errors import RayonError
from shared.inference.releases.access import ServedReleases
from trainer.monitoring.latest_dataset import latest_dataset
from trainer.monitoring.performance.answers import MODALITIES
from trainer.monitoring.performance.figures import ESTIMATED, TEST, past_error
from trainer.monitoring.settings import MonitorSettings
from trainer.runs.child_process import CommandRunner
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

#: Delay after a failed scoring.
RETRY_DELAY = timedelta(days=1)
COMMAND = (sys.executable, "-m", "trainer.monitoring.performance.held_out")


class ScoringFailed(Exception):
    """Raised when the champion could not be scored."""


@dataclass
class ChampionScoring:
    """Scores the champion when it changes, and again every `test_every_days` days."""

    unit_of_work: UnitOfWork
    registry: ServedReleases
    settings: MonitorSettings
    trainer: TrainerSettings
    command: Sequence[str]
    stopping: threading.Event
    #: Time of the last failed scoring, by release.
    _failed_at: dict[str, datetime] = field(default_factory=dict)

    def run(self, moment: datetime | None = None) -> None:
        """Score the champion if that is due."""
        moment = moment or now()
        champion = self.registry.champion()
        if champion is None:
            return
        with self.unit_of_work.reading() as session:
            data = latest_dataset(session, self.settings.dataset) or self.trainer.data
            if not self._is_due(session, champion, moment, has_data=data is not None):
                return
        try:
            if data is None:
                raise ScoringFailed(
                    "Expected a stored dataset, or a folder in RAYON_TRAINER_DATA. Received: none"
                )
            reference = str(data if isinstance(data, Path) else data.reference)
            self._store_scores(champion, self._score(champion, reference), moment)
        except (ScoringFailed, RayonError) as error:
            if self.stopping.is_set():
                return
            log.warning("champion_scoring_failed", release=champion, error=str(error))
            self._failed_at[champion] = moment
            self._store_manifest_figures(champion, moment)

    def _is_due(self, session: Session, champion: str, moment: datetime, *, has_data: bool) -> bool:
        failed_at = self._failed_at.get(champion)
        if failed_at is not None and failed_at > moment - RETRY_DELAY:
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
        interval = timedelta(days=self.settings.test_every_days)
        return last.measured_at <= moment - (
            interval if is_measured or not has_data else RETRY_DELAY
        )

    def _score(self, champion: str, data: str) -> dict[str, Any]:
        """Run the scoring process and return its figures, as `held_out.score` describes them."""
        folder = self.trainer.work_folder / "scoring"
        runner = CommandRunner(folder, self.trainer.stop_grace_seconds)
        deadline = time.monotonic() + self.trainer.time_limit_seconds

        def check() -> None:
            if self.stopping.is_set() or time.monotonic() > deadline:
                raise ScoringFailed("Scoring was stopped or exceeded the time limit")

        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary, "figures.json")
            command = [*self.command, str(self.registry.folder(champion)), data]
            command += ["--out", str(out), "--kept", str(folder / "kept")]
            code = runner.run(command, folder / "scoring.log", check)
            if code:
                last_line = runner.tail[-1] if runner.tail else ""
                raise ScoringFailed(f"Expected exit code 0. Received: {code}, {last_line}")
            figures: dict[str, Any] = json.loads(out.read_text())
            return figures

    def _store_scores(self, champion: str, figures: dict[str, Any], moment: datetime) -> None:
        with self.unit_of_work() as work:
            for modality, both in figures.items():
                past = past_error(work.session, modality, moment)
                for kind, figure in ((TEST, both["measured"]), (ESTIMATED, both["estimated"])):
                    work.session.add(
                        Performance(
                            measured_at=moment,
                            kind=kind,
                            release=champion,
                            modality=modality,
                            past_error=past if kind == ESTIMATED else None,
                            classes=figure["by_class"],
                            **{name: figure[name] for name in ("rows", "f1", "low", "high")},
                        )
                    )
        f1 = {modality: round(both["measured"]["f1"], 4) for modality, both in figures.items()}
        log.info("champion_scored", release=champion, **f1)

    def _store_manifest_figures(self, champion: str, moment: datetime) -> None:
        """Store the F1 from the release manifest, unless the release was scored here before.

        These figures have no interval and no categories.
        """
        figures = self.registry.manifest(champion).figures
        with self.unit_of_work() as work:
            if _is_measured(work.session, champion):
                return
            for modality in MODALITIES:
                f1 = figures.get(f"{modality}_f1_plain")
                if f1 is not None:
                    work.session.add(
                        Performance(
                            measured_at=moment,
                            kind=TEST,
                            release=champion,
                            modality=modality,
                            rows=int(figures.get(f"{modality}_rows", 0)),
                            f1=f1,
                            classes={},
                        )
                    )


def _is_measured(session: Session, release: str) -> bool:
    measured = select(Performance.id).where(
        Performance.kind == TEST, Performance.release == release, Performance.low.is_not(None)
    )
    return session.scalar(measured.limit(1)) is not None
