"""Answers that were drawn for review: how many answers the label of each one stands for.

The weight is one over the probability of being drawn and labelled (Horvitz and Thompson 1952).
Reviewers may stop early, or label only one part of the sample. So in each part, the labelled share
is taken as the probability of being labelled (Särndal, Swensson and Wretman 1992, chapter 15.6:
response homogeneity groups).
"""

from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from shared.db.models import Job, Review
from shared.lifecycle.label_trust import is_trusted_label

#: Parts of the sample; see `trainer.monitoring.performance.reviews`.
RANDOM, UNCERTAIN = "random", "uncertain"


class Drawn(Protocol):
    """A drawn answer."""

    @property
    def reason(self) -> str:
        """Part of the sample that drew it."""

    @property
    def chance(self) -> float:
        """Probability of being drawn by either part."""

    @property
    def random_chance(self) -> float | None:
        """Probability of being drawn by the random part; unknown in older rows."""


def labelled_chance(drawn: Drawn, shares: Mapping[str, float]) -> float:
    """Return the probability that either part drew an answer and that it was labelled.

    Args:
        drawn: The answer.
        shares: Labelled share of the drawn answers, by part of the sample.
    """
    by_random = drawn.random_chance
    if by_random is None:
        by_random = drawn.chance if drawn.reason == RANDOM else 0.0
    by_doubt = drawn.chance - by_random
    return float(by_random * shares.get(RANDOM, 0.0) + by_doubt * shares.get(UNCERTAIN, 0.0))


def labelled_shares(session: Session) -> dict[str, float]:
    """Return the share of all drawn answers that trusted people labelled, by part of the sample."""
    labelled = func.sum(case((is_trusted_label(), 1), else_=0))
    query = (
        select(Review.reason, (labelled / (func.count() * 1.0)).label("share"))
        .join(Job, Job.id == Review.job_id)
        .group_by(Review.reason)
    )
    return {row.reason: float(row.share) for row in session.execute(query)}
