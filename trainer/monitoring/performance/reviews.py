"""Chooses answers of each day for people to look at, so that an unbiased F1 can be computed.

Two parts, drawn apart (Poisson sampling: each answer by itself, with its own chance):

* `random`: each of the day's `N` answers with the same chance, `p = min(1, size / N)`.
* `uncertain`: an answer of confidence `c` with `q = min(1, level * (1 - c))`, the level such that
  the chances add up to the wanted size. A person's time is best spent where the models doubt.

An answer may be chosen by either, so the chance that is kept with it is `1 - (1 - p) * (1 - q)`. It
is above 0 for every answer, and `1 / chance` is the number of answers that a label stands for: sums
over chosen rows with these weights have the day's true sums as their expectation. `p` is kept too:
people seldom label all, and not as much of either part.

Source: Horvitz and Thompson, A Generalization of Sampling Without Replacement From a Finite
Universe, 1952; Särndal, Swensson and Wretman, Model Assisted Survey Sampling, 1992, chapters 2.8
and 3.5 (Poisson sampling with chances proportional to a size).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, exists, insert, select
from sqlalchemy.orm import Session

from shared.db.models import Job, JobStatus, Review, now
from shared.db.session import UnitOfWork, take_turns
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.settings import MonitorSettings

log = structlog.get_logger(__name__)

RANDOM, UNCERTAIN = "random", "uncertain"
#: Days that the monitor stood still are made up for, as far back as this.
DAYS_BACK = 7
#: An answer may be committed a moment after it was finished; so a day is left alone for so long.
REST = timedelta(minutes=10)
#: Answers read at once.
AT_ONCE = 10_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """How likely an answer is to be chosen, by its confidence.

    Attributes:
        random: The chance by the random part.
        level: What a whole unit of doubt is worth in the uncertain part.
    """

    random: float
    level: float

    def uncertain(self, confidences: Floats) -> Floats:
        """The chances by the uncertain part, shape `(answers,)`."""
        return np.minimum(1.0, self.level * doubts(confidences))

    def chances(self, confidences: Floats) -> Floats:
        """The chances by either part, shape `(answers,)`."""
        return 1.0 - (1.0 - self.random) * (1.0 - self.uncertain(confidences))


def plan(confidences: Floats, random_size: int, uncertain_size: int) -> Plan:
    """Plan the choice from a day's answers.

    Args:
        confidences: Of all answers of the day, shape `(answers,)`; at least one.
        random_size: How many the random part chooses on average.
        uncertain_size: The same of the uncertain part.
    """
    return Plan(
        random=min(1.0, random_size / len(confidences)),
        level=level_of(doubts(confidences), uncertain_size),
    )


def doubts(confidences: Floats) -> Floats:
    """What speaks against answers, from 0 to 1."""
    return 1.0 - np.clip(confidences, 0.0, 1.0)


def level_of(sizes: Floats, wanted: int) -> float:
    """The level at which `minimum(1, level * sizes)` adds up to what is wanted.

    With `k` of the largest certain to be chosen, the others share `wanted - k` by their sizes; `k`
    is right when none of the others would be above 1.

    Args:
        sizes: At least 0, shape `(answers,)`.
        wanted: If no more are above 0, all of these are certain.
    """
    positive = np.sort(sizes[sizes > 0])[::-1]
    if not wanted or not len(positive):
        return 0.0
    if wanted >= len(positive):
        return 1.0 / float(positive[-1])
    certain = np.arange(wanted)
    # The sum of all that are not among the k largest, for each k.
    others = np.cumsum(positive[::-1])[::-1][:wanted]
    levels = (wanted - certain) / others
    is_right = levels * positive[:wanted] <= 1.0
    return float(levels[np.argmax(is_right)] if is_right.any() else 1.0 / positive[wanted - 1])


def lot(part: str, day: datetime, job_id: str) -> float:
    """A number from 0 up to 1 that is always the same for an answer, and else like chance."""
    drawn = hashlib.sha256(f"{day:%Y-%m-%d} {part} {job_id}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def chosen(
    plan_: Plan, day: datetime, ids: Sequence[str], confidences: Floats
) -> Iterator[dict[str, Any]]:
    """The rows of `reviews` for those answers that are chosen."""
    uncertain, chances = plan_.uncertain(confidences), plan_.chances(confidences)
    for id_, by_doubt, chance in zip(ids, uncertain, chances, strict=True):
        reason = None
        if lot(RANDOM, day, id_) < plan_.random:
            reason = RANDOM
        elif lot(UNCERTAIN, day, id_) < by_doubt:
            reason = UNCERTAIN
        if reason:
            yield {
                "job_id": id_,
                "reason": reason,
                "chance": float(chance),
                "random_chance": plan_.random,
            }


@dataclass(frozen=True)
class Reviews:
    """Chooses what is due. Every public method raises `Unavailable` without the database."""

    unit_of_work: UnitOfWork
    settings: MonitorSettings

    def choose(self, moment: datetime | None = None) -> None:
        """Choose from each day that is over and that nothing was chosen from."""
        last = Period.day((moment or now()) - REST - DAY)
        for days in range(DAYS_BACK):
            self.choose_of(Period.day(last.begins_at - days * DAY))

    def choose_of(self, day: Period) -> int:
        """Choose from the answers of a day, once; returns how many."""
        with self.unit_of_work.reading() as session:
            if _has_reviews(session, day):
                return 0
            confidences = _confidences(session, day)
            if not len(confidences):
                return 0
            found = list(self._drawn(session, day, confidences))
        with self.unit_of_work() as work:
            # Two monitors, as while one is replaced, would insert the same rows.
            take_turns(work.session, Review.__tablename__)
            if not found or _has_reviews(work.session, day):
                return 0
            work.session.execute(insert(Review), [one | {"chosen_at": now()} for one in found])
        log.info(
            "reviews_chosen",
            day=f"{day.begins_at:%Y-%m-%d}",
            answers=len(confidences),
            chosen=len(found),
        )
        return len(found)

    def _drawn(
        self, session: Session, day: Period, confidences: Floats
    ) -> Iterable[dict[str, Any]]:
        sizes = self.settings.reviews_random, self.settings.reviews_uncertain
        plan_ = plan(confidences, *sizes)
        query = select(Job.id, Job.confidence).where(_answered(day))
        for rows in session.execute(query, execution_options={"yield_per": AT_ONCE}).partitions():
            ids, of_rows = [row.id for row in rows], _floats(row.confidence for row in rows)
            yield from chosen(plan_, day.begins_at, ids, of_rows)


def _confidences(session: Session, day: Period) -> Floats:
    query = select(Job.confidence).where(_answered(day))
    rows = session.execute(query, execution_options={"yield_per": AT_ONCE}).scalars().partitions()
    return _floats(chain.from_iterable(rows))


def _floats(confidences: Iterable[float | None]) -> Floats:
    return np.fromiter((one or 0.0 for one in confidences), np.float64)


def _has_reviews(session: Session, day: Period) -> bool:
    query = select(exists().where(Review.job_id == Job.id, _answered(day)))
    return bool(session.scalar(query))


def _answered(day: Period) -> ColumnElement[bool]:
    return and_(
        Job.finished_at >= day.begins_at,
        Job.finished_at < day.ends_at,
        Job.status == JobStatus.DONE.value,
    )
