"""F1 in production over time: on the held-out test set, from labels, and estimated without labels.

Every figure belongs to a release and a modality (`fusion`, `text`, `image`) and has an F1 for each
category. There are three kinds:

* `test`: the champion on the held-out test set, when it changes and on a schedule. Without data,
  the figures of the release manifest, which have no interval.
* `labelled`: answers of a day or a month that were drawn for review; `volunteered`: answers that
  people labelled on their own initiative, a biased sample that is never mixed with the first.
* `estimated`: all answers of a day or a month, from their probabilities. Each estimate is stored
  with the error of earlier ones. `not_estimated`: the products are too unlike those on which the
  release was measured; such a figure has no F1.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.db.models import now
from shared.db.session import UnitOfWork
from shared.inference.releases.access import ServedReleases
from shared.skipping import skipping
from trainer.monitoring.performance.champion_scoring import COMMAND, ChampionScoring
from trainer.monitoring.performance.estimated import candidate_periods, estimated_figures
from trainer.monitoring.performance.figures import store
from trainer.monitoring.performance.labelled import labelled_figures
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.settings import MonitorSettings
from trainer.settings import TrainerSettings


@dataclass
class Performances:
    """Measures and stores the figures that are due.

    Every public method raises `Unavailable` if the database or the registry does not answer.
    """

    unit_of_work: UnitOfWork
    registry: ServedReleases
    settings: MonitorSettings
    trainer: TrainerSettings
    command: Sequence[str] = COMMAND
    #: Set this event to stop a measurement or a scoring process that is running.
    stopping: threading.Event = field(default_factory=threading.Event)
    scoring: ChampionScoring = field(init=False)

    def __post_init__(self) -> None:
        self.scoring = ChampionScoring(
            self.unit_of_work,
            self.registry,
            self.settings,
            self.trainer,
            self.command,
            self.stopping,
        )

    def measure(self, moment: datetime | None = None) -> None:
        """Bring the figures from labels and the estimates up to date."""
        moment = moment or now()
        with skipping("performance", "labels"):
            self.measure_labels(moment)
        for period in candidate_periods(moment):
            if self.stopping.is_set():
                return
            with skipping("performance", period.name):
                self.estimate(period, moment)

    def measure_labels(self, moment: datetime) -> None:
        """Measure the days and months that received labels since the last measurement."""
        with self.unit_of_work.reading() as session:
            figures = labelled_figures(session)
        store(self.unit_of_work, figures, moment)

    def estimate(self, period: Period, moment: datetime) -> None:
        """Estimate the F1 of a period without labels, if that is due."""
        with self.unit_of_work.reading() as session:
            figures = estimated_figures(session, self.registry, period, moment)
        store(self.unit_of_work, figures, moment)

    def score_champion(self, moment: datetime | None = None) -> None:
        """Score the champion on the held-out test set, if that is due."""
        self.scoring.run(moment)
