"""What was answered in a period: stored probabilities, and labels that people gave."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session, aliased

from shared.contracts import Modality
from shared.db.models import Job, JobStatus, Review, Score
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.fusion_model import FusionModel
from trainer.monitoring.performance.cbpe import Expectation, is_distribution
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.reviews import RANDOM, UNCERTAIN

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

#: What figures are by: all that a product has, or one modality alone.
FUSION = "fusion"
MODALITIES = (FUSION, Modality.TEXT.value, Modality.IMAGE.value)
#: Rows read at once; a month of a million jobs passes by without being held.
AT_ONCE = 4_000
PROBABILITY_TYPE = np.dtype("<f4")


class Registry(Protocol):
    """What is needed of `shared.inference.releases.registry.Releases`."""

    def champion(self) -> str | None:
        """Version that serves."""

    def folder(self, version: str) -> Path:
        """Local folder of a version."""

    def manifest(self, version: str) -> ReleaseManifest:
        """What a version says of itself."""


@dataclass(frozen=True)
class Fusing:
    """A release's part in turning scores into answers."""

    codes: tuple[int, ...]
    fusion: FusionModel | None

    @classmethod
    def of(cls, registry: Registry, version: str) -> "Fusing":
        """Load it. Raises `NotFound` and `Unavailable` as the registry does."""
        manifest = registry.manifest(version)
        both = len(manifest.modalities) > 1
        fusion = FusionModel.load(registry.folder(version) / "fusion") if both else None
        return cls(tuple(manifest.category_set.codes), fusion)


@dataclass
class Labelled:
    """Answers with the category that a person gave, column by column.

    Attributes:
        job_ids: Of the jobs.
        truth: What people said.
        answers: By modality what was answered; `None` where it had no part.
        weights: How many answers each stands for.
    """

    job_ids: list[str] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)
    answers: dict[str, list[int | None]] = field(
        default_factory=lambda: {m: [] for m in MODALITIES}
    )
    confidences: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def of(self, modality: str) -> tuple[Codes, Codes, NDArray[np.float64]]:
        """Truth, answers and weights of the rows that a modality had a part in."""
        answers = self.answers[modality]
        rows = [row for row, answer in enumerate(answers) if answer is not None]
        return (
            np.array([self.truth[row] for row in rows], np.int64),
            np.array([answers[row] for row in rows], np.int64),
            np.array([self.weights[row] for row in rows], np.float64),
        )


def within(period: Period) -> ColumnElement[bool]:
    """Jobs that ended in a period."""
    return (Job.finished_at >= period.begins_at) & (Job.finished_at < period.ends_at)


def releases_of(session: Session, period: Period) -> dict[str, int]:
    """Releases that answered in a period, and how many jobs."""
    query = (
        select(Job.release, func.count().label("jobs"))
        .where(within(period), _IS_DONE)
        .group_by(Job.release)
    )
    return {row.release: row.jobs for row in session.execute(query)}


def expectations(
    session: Session, period: Period, release: str, fusing: Fusing
) -> dict[str, Expectation]:
    """What the stored probabilities of a release let expect, by modality.

    `fusion` is of the jobs that asked for it: combined as `worker_fusion.combine` does it, or the
    one modality that there was.
    """
    found = {modality: Expectation.of(len(fusing.codes)) for modality in MODALITIES}
    for rows in _scores(session, period, release):
        text, image = (_stacked([row[at] for row in rows], len(fusing.codes)) for at in (1, 2))
        has_text, has_image = (np.isfinite(scores[:, 0]) for scores in (text, image))
        answered = np.where(has_text[:, None], text, image)
        both = has_text & has_image
        if fusing.fusion is not None and both.any():
            answered[both] = fusing.fusion.combine(text[both], image[both])
        asked = np.array([row.model == FUSION for row in rows]) & (has_text | has_image)
        found[FUSION].add(answered[asked])
        found[Modality.TEXT.value].add(text[has_text])
        found[Modality.IMAGE.value].add(image[has_image])
    return {modality: one for modality, one in found.items() if one.rows}


def reviewed(session: Session, period: Period, release: str | None = None) -> Labelled:
    """Answers that were drawn for review and labelled; they stand for all answers.

    The weight is one over the chance of being drawn and labelled (Horvitz & Thompson 1952). Who
    labels does not always get to the end, or looks at one part of the sample only. So of either
    part the share that is labelled counts as the chance of being labelled (Särndal, Swensson and
    Wretman 1992, chapter 15.6: response homogeneity groups).
    """
    drawn = _drawn(session, period, release)
    rows = [row for row in _labelled(session, period, release) if row.chance]
    done = Counter(row.reason for row in rows)
    share = {reason: done[reason] / drawn[reason] for reason in done}
    weights = [1 / _labelled_chance(row, share) for row in rows]
    return _columns(rows, weights)


def volunteered(session: Session, period: Period, release: str | None = None) -> Labelled:
    """Answers that people labelled of their own accord; they stand for nothing but themselves."""
    rows = [row for row in _labelled(session, period, release) if not row.chance]
    return _columns(rows, [1.0] * len(rows))


def _labelled_chance(row: Row[Any], share: Mapping[str, float]) -> float:
    """How likely an answer was to be drawn by either part and labelled."""
    by_random = row.random_chance
    if by_random is None:
        by_random = row.chance if row.reason == RANDOM else 0.0
    by_doubt = row.chance - by_random
    return float(by_random * share.get(RANDOM, 0.0) + by_doubt * share.get(UNCERTAIN, 0.0))


_IS_DONE = Job.status == JobStatus.DONE.value


def _scores(session: Session, period: Period, release: str) -> Iterator[Sequence[Any]]:
    text, image = aliased(Score), aliased(Score)
    query = (
        select(Job.model, text.probabilities, image.probabilities)
        .outerjoin(text, (text.job_id == Job.id) & (text.modality == Modality.TEXT.value))
        .outerjoin(image, (image.job_id == Job.id) & (image.modality == Modality.IMAGE.value))
        .where(within(period), _IS_DONE, Job.release == release)
    )
    yield from session.execute(query, execution_options={"yield_per": AT_ONCE}).partitions()


def _stacked(scores: Sequence[bytes | None], classes: int) -> Floats:
    """Probabilities `(rows, classes)`; not a number where none are kept, or something else."""
    missing = np.full(classes, np.nan, PROBABILITY_TYPE).tobytes()
    joined = b"".join(one if one and len(one) == len(missing) else missing for one in scores)
    rows = np.frombuffer(joined, PROBABILITY_TYPE).reshape(-1, classes)
    return np.where(is_distribution(rows)[:, None], rows, np.float32(np.nan))


def _labelled(session: Session, period: Period, release: str | None) -> Sequence[Row[Any]]:
    query = (
        select(
            Job.id,
            Job.model,
            Job.prdtypecode,
            Job.confidence,
            Job.result,
            Job.label,
            Review.chance,
            Review.random_chance,
            Review.reason,
        )
        .outerjoin(Review, Review.job_id == Job.id)
        .where(within(period), _IS_DONE, Job.labelled_at.is_not(None), Job.label.is_not(None))
        .order_by(Job.id)
    )
    return session.execute(query.where(Job.release == release) if release else query).all()


def _drawn(session: Session, period: Period, release: str | None) -> Counter[str]:
    query = (
        select(Review.reason, func.count().label("drawn"))
        .join(Job, Job.id == Review.job_id)
        .where(within(period), _IS_DONE)
        .group_by(Review.reason)
    )
    query = query.where(Job.release == release) if release else query
    return Counter({row.reason: row.drawn for row in session.execute(query)})


def _columns(rows: Sequence[Row[Any]], weights: Sequence[float]) -> Labelled:
    found = Labelled()
    for row, weight in zip(rows, weights, strict=True):
        said = (row.result or {}).get("modalities") or {}
        found.job_ids.append(row.id)
        found.truth.append(row.label)
        found.confidences.append(row.confidence or 0.0)
        found.weights.append(weight)
        found.answers[FUSION].append(row.prdtypecode if row.model == FUSION else None)
        for modality in Modality:
            found.answers[modality.value].append(said.get(modality.value, {}).get("prdtypecode"))
    return found
