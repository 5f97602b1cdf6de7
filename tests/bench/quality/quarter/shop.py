"""Finished jobs of a shop, with their scores, reviews and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.db.models import Base, Job, Review
from shared.db.session import UnitOfWork
from tests.bench.quality.quarter.pool import CUT, CUT_CHARACTERS, UNCHANGED, Pool
from tests.support.answered_jobs import AnsweredJobs
from trainer.monitoring.performance.periods import Period

#: Categories of games, of which more products arrive from the second month on.
GROWING = (40, 50, 60, 2462, 2905)
#: Probabilities that a result is drawn for review, below and above this confidence.
UNSURE, UNSURE_CHANCE, CHANCE = 0.5, 0.12, 0.03
#: First day of a month with cut products, if there are any.
FIRST_CUT_DAY = 10
#: Rows committed in one transaction.
COMMIT_ROWS = 1_500


@dataclass(frozen=True)
class Conditions:
    """Differences of the products from the test set.

    Attributes:
        growing: Weight of products of the categories `GROWING`; others weigh 1.
        cut: Share of cut and dark products from `FIRST_CUT_DAY` on.
        moved: Category into which the shop puts half of the products of another, by code.
        mistaken: Share of products that get the scores of other products.
        broken: Share of images that cannot be read.
        failing: Share of products that fail.
        slowness: Factor of the response times.
    """

    growing: float = 1.0
    cut: float = 0.0
    moved: Mapping[int, int] = field(default_factory=dict)
    mistaken: float = 0.0
    broken: float = 0.012
    failing: float = 0.0
    slowness: float = 1.0


@dataclass
class Shop:
    """Writer of finished jobs into a database.

    Attributes:
        outcomes: True code and answered code of each answered job.
    """

    unit_of_work: UnitOfWork
    pool: Pool
    jobs: AnsweredJobs
    random: np.random.Generator
    outcomes: list[tuple[int, int]] = field(default_factory=list)

    def add_month(
        self,
        month: Period,
        jobs: int,
        conditions: Conditions | None = None,
        *,
        days: tuple[int, int] = (0, 31),
    ) -> None:
        """Add the jobs of a month.

        Args:
            month: Month in which the jobs finish.
            jobs: Number of jobs.
            conditions: What differs from the test set.
            days: First day, counted from 0, and day after the last.
        """
        conditions = conditions or Conditions()
        length = (month.ends_at - month.begins_at).days
        weights = np.where(self.pool.rows["code"].isin(GROWING), conditions.growing, 1.0)
        chosen = self.random.choice(len(self.pool.rows), jobs, p=weights / weights.sum())
        moments = np.sort(_moments(self.random, (days[0], min(days[1], length)), jobs))
        uncommitted: list[Base] = []
        for place, seconds in zip(chosen, moments, strict=True):
            moment = month.begins_at + timedelta(seconds=float(seconds))
            is_cut = moment.day >= FIRST_CUT_DAY and self.random.random() < conditions.cut
            variant = CUT if is_cut else UNCHANGED
            uncommitted += self._job(int(place), moment, variant, conditions)
            if len(uncommitted) > COMMIT_ROWS:
                self.add(uncommitted)
                uncommitted = []
        self.add(uncommitted)

    def add(self, rows: Sequence[Base]) -> None:
        """Commit rows table by table, so that jobs precede the rows that refer to them."""
        with self.unit_of_work() as work:
            for table in dict.fromkeys(type(row) for row in rows):
                work.session.add_all([row for row in rows if type(row) is table])
                work.session.flush()

    def _job(
        self, place: int, moment: datetime, variant: str, conditions: Conditions
    ) -> list[Base]:
        row, scored = self.pool.rows.iloc[place], place
        if self.random.random() < conditions.mistaken:
            scored = int(self.random.integers(len(self.pool.rows)))
        text, image = self.pool.text[variant][scored], self.pool.image[variant][scored]
        designation = str(row["designation"])
        broken = Modality.IMAGE if self.random.random() < conditions.broken else None
        if self.random.random() < conditions.failing:
            text, image = np.full_like(text, np.nan), np.full_like(image, np.nan)
            broken = Modality.TEXT
        changes: dict[str, Any] = {"lane": "interactive"}
        seconds = float(self.random.lognormal(-2.4, 0.6))
        if self.random.random() < 0.55:
            changes["lane"], seconds = "catalog", float(self.random.lognormal(2.2, 0.9))
        if np.isfinite(text[0]) and self.random.random() < 0.1:
            changes["model"], image = "text", np.full_like(image, np.nan)
        rows = self.jobs.make(
            moment,
            text=text if np.isfinite(text[0]) else None,
            image=image if np.isfinite(image[0]) and broken is None else None,
            broken=broken,
            seconds=seconds * conditions.slowness,
            designation=designation[:CUT_CHARACTERS] if variant == CUT else designation,
            description="" if variant == CUT else str(row["description"]),
            image_uri=self.pool.uris[variant][scored] if broken is None else None,
            **changes,
        )
        code = int(row["code"])
        if self.random.random() < 0.5:
            code = conditions.moved.get(code, code)
        return self._reviewed(rows, code, moment)

    def _reviewed(self, rows: list[Base], code: int, moment: datetime) -> list[Base]:
        job = rows[0]
        assert isinstance(job, Job)
        if job.confidence is None or job.prdtypecode is None:
            return rows
        self.outcomes.append((code, job.prdtypecode))
        is_unsure = job.confidence < UNSURE
        chance = UNSURE_CHANCE if is_unsure else CHANCE
        is_drawn = self.random.random() < chance
        # Reviewers label nine of ten drawn results, and customers complain about 1 % of wrong ones.
        label_chance = 0.9 if is_drawn else 0.01 * (job.prdtypecode != code)
        if self.random.random() < label_chance:
            job.label = code
            if is_drawn:
                job.labelled_by, job.labelled_by_id = "olga", self.jobs.user.id
            else:
                job.labelled_by = "shop"
            job.labelled_at = moment + timedelta(hours=float(self.random.uniform(1, 40)))
        if not is_drawn:
            return rows
        reason = "uncertain" if is_unsure else "random"
        return [*rows, Review(job_id=job.id, chosen_at=moment, reason=reason, chance=chance)]


def _moments(random: np.random.Generator, days: tuple[int, int], jobs: int) -> NDArray[np.float64]:
    """Draw seconds of the month, fewer at weekends and at night."""
    every_day = np.arange(*days)
    week = np.where(every_day % 7 < 5, 1.0, 0.45)
    day = random.choice(every_day, jobs, p=week / week.sum())
    hour = np.clip(random.normal(14, 4, jobs), 0, 23)
    seconds: NDArray[np.float64] = day * 86_400 + hour * 3_600 + random.uniform(0, 3_000, jobs)
    return seconds
