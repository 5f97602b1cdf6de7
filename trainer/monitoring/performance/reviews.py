"""Draws a daily sample of answers for human review, so that an unbiased F1 can be computed.

The sample has two parts, drawn independently (Poisson sampling: each answer by itself, with its own
probability):

* `random`: each of the day's `N` answers with the same probability, `p = min(1, size / N)`.
* `uncertain`: an answer of confidence `c` with `q = min(1, level * (1 - c) * odds)`, where the
  level makes the probabilities add up to the wanted size. Reviews are most useful at low
  confidence. The confidence of an answer to a product that seems foreign counts as 0. The odds are
  1, except while trainings learn from a change: then they say how much likelier the text is now
  than before it (`trainer.monitoring.performance.changed_texts`), because most is to be learnt from
  what has changed.

Either part may draw an answer, so the probability stored with it is `1 - (1 - p) * (1 - q)`. It is
above 0 for every answer, and `1 / chance` is the number of answers that a label represents: sums
over the sample with these weights are unbiased estimates of the day's sums. `p` is stored too,
because reviewers seldom label everything, and label the two parts to different degrees.

Source: Horvitz and Thompson, A Generalization of Sampling Without Replacement From a Finite
Universe, 1952; Särndal, Swensson and Wretman, Model Assisted Survey Sampling, 1992, chapters 2.8
and 3.5 (Poisson sampling with probabilities proportional to size).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, case, exists, insert, select, true
from sqlalchemy.orm import Session

from shared.db.models import Job, JobStatus, Review, now
from shared.db.session import UnitOfWork, take_turns
from shared.skipping import skipping
from trainer.datasets.labelled.drawn_answers import RANDOM, UNCERTAIN
from trainer.monitoring.performance.changed_texts import changed_odds
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.settings import MonitorSettings

log = structlog.get_logger(__name__)

#: Days to look back for days without a sample, in case the monitor was down.
DAYS_BACK = 7
#: Delay after the end of a day: answers may be committed shortly after they were finished.
SETTLE_TIME = timedelta(minutes=10)
#: Answers per read.
AT_ONCE = 10_000

Floats = NDArray[np.float64]

#: It assumes that one of the categories is right, which nothing supports for a foreign product.
_CONFIDENCE = case((Job.is_foreign == true(), 0.0), else_=Job.confidence).label("confidence")


@dataclass(frozen=True)
class SamplingPlan:
    """Probability of drawing an answer of a day.

    Attributes:
        random: Probability in the random part.
        uncertain: Probabilities in the uncertain part, shape `(answers,)`.
    """

    random: float
    uncertain: Floats

    @property
    def chances(self) -> Floats:
        """Probabilities of being drawn by either part, shape `(answers,)`."""
        return 1.0 - (1.0 - self.random) * (1.0 - self.uncertain)


def plan_sample(
    confidences: Floats, random_size: int, uncertain_size: int, odds: Floats | None = None
) -> SamplingPlan:
    """Plan the sample of a day's answers.

    Args:
        confidences: Confidences of all answers of the day, shape `(answers,)`; at least one.
        random_size: Expected size of the random part.
        uncertain_size: Expected size of the uncertain part.
        odds: Factors of the chances in the uncertain part, above 0, shape `(answers,)`.
    """
    sizes = uncertainties(confidences) * (1.0 if odds is None else odds)
    return SamplingPlan(
        random=min(1.0, random_size / len(confidences)),
        uncertain=np.minimum(1.0, sampling_level(sizes, uncertain_size) * sizes),
    )


def uncertainties(confidences: Floats) -> Floats:
    """Return one minus the confidences, from 0 to 1."""
    return 1.0 - np.clip(confidences, 0.0, 1.0)


def sampling_level(sizes: Floats, wanted: int) -> float:
    """Return the level at which `minimum(1, level * sizes)` adds up to the wanted size.

    If the `k` largest are drawn with certainty, the others share `wanted - k` in proportion to
    their sizes; `k` is correct when none of the others exceeds 1.

    Args:
        sizes: At least 0, shape `(answers,)`.
        wanted: Expected sample size; if at most that many sizes are above 0, all are certain.
    """
    positive = np.sort(sizes[sizes > 0])[::-1]
    if not wanted or not len(positive):
        return 0.0
    if wanted >= len(positive):
        return 1.0 / float(positive[-1])
    certain = np.arange(wanted)
    # Sum of the sizes that are not among the k largest, for each k.
    others = np.cumsum(positive[::-1])[::-1][:wanted]
    levels = (wanted - certain) / others
    is_valid = levels * positive[:wanted] <= 1.0
    return float(levels[np.argmax(is_valid)] if is_valid.any() else 1.0 / positive[wanted - 1])


def random_number(part: str, day: datetime, job_id: str) -> float:
    """Return a pseudo-random number in [0, 1) that is always the same for an answer."""
    digest = hashlib.sha256(f"{day.date()} {part} {job_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def draw_reviews(plan: SamplingPlan, day: datetime, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `reviews` for the answers that are drawn."""
    for id_, uncertain_chance, chance in zip(ids, plan.uncertain, plan.chances, strict=True):
        reason = None
        if random_number(RANDOM, day, id_) < plan.random:
            reason = RANDOM
        elif random_number(UNCERTAIN, day, id_) < uncertain_chance:
            reason = UNCERTAIN
        if reason:
            yield {
                "job_id": id_,
                "reason": reason,
                "chance": float(chance),
                "random_chance": plan.random,
            }


@dataclass(frozen=True)
class Reviews:
    """Draws the samples that are due.

    Every public method raises `Unavailable` if the database does not answer.
    """

    unit_of_work: UnitOfWork
    settings: MonitorSettings

    def choose(self, moment: datetime | None = None) -> None:
        """Draw a sample of each recent finished day that has none."""
        last = Period.day((moment or now()) - SETTLE_TIME - DAY)
        for days in range(DAYS_BACK):
            day = Period.day(last.begins_at - days * DAY)
            with skipping("reviews", f"{day.begins_at:%Y-%m-%d}"):
                self.choose_day(day)

    def choose_day(self, day: Period) -> int:
        """Draw the sample of a day, unless it has one; return its size."""
        with self.unit_of_work.reading() as session:
            if _has_reviews(session, day):
                return 0
            ids, confidences = _answers(session, day)
            if not ids:
                return 0
            odds = _odds(session, day, ids)
        sizes = self.settings.reviews_random, self.settings.reviews_uncertain
        rows = list(draw_reviews(plan_sample(confidences, *sizes, odds), day.begins_at, ids))
        with self.unit_of_work() as work:
            # Two monitors run during a rolling update and would insert the same rows.
            take_turns(work.session, Review.__tablename__)
            if not rows or _has_reviews(work.session, day):
                return 0
            work.session.execute(insert(Review), [row | {"chosen_at": now()} for row in rows])
        log.info(
            "reviews_chosen",
            day=f"{day.begins_at:%Y-%m-%d}",
            answers=len(ids),
            chosen=len(rows),
            by_change=odds is not None,
        )
        return len(rows)


def _answers(session: Session, day: Period) -> tuple[list[str], Floats]:
    """Return ids and confidences of a day's answers; an id takes some 90 bytes."""
    query = select(Job.id, _CONFIDENCE).where(_answered(day))
    ids: list[str] = []
    confidences = [np.empty(0)]
    for batch in session.execute(query, execution_options={"yield_per": AT_ONCE}).partitions():
        ids += [row.id for row in batch]
        confidences.append(_floats(row.confidence for row in batch))
    return ids, np.concatenate(confidences)


def _floats(confidences: Iterable[float | None]) -> Floats:
    # One confidence that is not a number would make the chances of the whole day so.
    return np.nan_to_num(np.fromiter((value or 0.0 for value in confidences), np.float64))


def _odds(session: Session, day: Period, ids: Sequence[str]) -> Floats | None:
    """Return the odds of the answers to be of a change; `None` if they cannot be computed."""
    with skipping("reviews", f"odds of {day.begins_at:%Y-%m-%d}"):
        return changed_odds(session, day, ids)
    return None


def _has_reviews(session: Session, day: Period) -> bool:
    query = select(exists().where(Review.job_id == Job.id, _answered(day)))
    return bool(session.scalar(query))


def _answered(day: Period) -> ColumnElement[bool]:
    return and_(
        Job.finished_at >= day.begins_at,
        Job.finished_at < day.ends_at,
        Job.status == JobStatus.DONE.value,
    )
