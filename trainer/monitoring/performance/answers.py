"""Answers of a period: stored probabilities, and labels given by people."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session, aliased

from shared.contracts import Modality
from shared.db.models import Job, JobStatus, Review, Score
from shared.inference.releases.access import ServedReleases
from shared.inference.releases.fusion_model import FusionModel
from shared.lifecycle.label_trust import is_trusted_label
from shared.skipping import skipping
from trainer.datasets.labelled.drawn_answers import labelled_chance
from trainer.monitoring.performance.cbpe import Expectation, is_distribution
from trainer.monitoring.performance.known import combined, known_answers
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.shift import Known
from trainer.reference.sample import Sample

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

#: The full answer of a product, beside its modalities.
FUSION = "fusion"
MODALITIES = (FUSION, Modality.TEXT.value, Modality.IMAGE.value)
#: Rows per read, so that a month of a million jobs does not have to fit in memory.
AT_ONCE = 4_000
#: Answers to keep of a period, to compare them with the held-out ones.
KEPT = 1_500
PROBABILITY_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Fusing:
    """Categories of a release, its fusion model if it has two modalities, and known answers.

    Attributes:
        codes: Codes of the categories.
        fusion: The fusion model.
        known: Held-out answers by modality; none of a release whose reference does not have them.
    """

    codes: tuple[int, ...]
    fusion: FusionModel | None
    known: Mapping[str, Known] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: ServedReleases, version: str) -> "Fusing":
        """Load from the registry. Raises `NotFound` and `Unavailable` as the registry does."""
        manifest = registry.manifest(version)
        both = len(manifest.modalities) > 1
        folder, codes = registry.folder(version), tuple(manifest.category_set.codes)
        fusion = FusionModel.load(folder / "fusion") if both else None
        known: Mapping[str, Known] = {}
        with skipping("performance", version):
            reference = Sample.load(folder)
            if reference is not None:
                known = known_answers(reference, len(codes), fusion, FUSION)
        return cls(codes, fusion, known)


@dataclass
class Collected:
    """Answers of one modality: their expected confusions, and evenly spaced ones of them."""

    expectation: Expectation
    _kept: list[Floats] = field(default_factory=list)
    _every: int = 1

    @property
    def sample(self) -> NDArray[np.float64]:
        """Probabilities of the kept answers, shape `(rows, classes)`, at most `2 * KEPT`."""
        return np.concatenate(self._kept).astype(np.float64)

    def add(self, rows: Floats) -> None:
        """Add probabilities, shape `(rows, classes)`. Raises `InvalidInput` if they are not."""
        first = -self.expectation.rows % self._every
        self.expectation.add(rows)
        self._kept.append(rows[first :: self._every])
        while sum(map(len, self._kept)) > 2 * KEPT:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._every *= 2


@dataclass
class Labelled:
    """Answers with the category that a person assigned, column by column.

    Attributes:
        job_ids: Job of each row.
        truth: Category assigned by a person.
        answers: Category answered, by modality; `None` where the modality was not used.
        confidences: Confidence of each answer.
        weights: Number of answers that each row represents.
    """

    job_ids: list[str] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)
    answers: dict[str, list[int | None]] = field(
        default_factory=lambda: {m: [] for m in MODALITIES}
    )
    confidences: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def of(self, modality: str) -> tuple[Codes, Codes, NDArray[np.float64]]:
        """Return truth, answers and weights of the rows that a modality answered."""
        answers = self.answers[modality]
        rows = [row for row, answer in enumerate(answers) if answer is not None]
        return (
            np.array([self.truth[row] for row in rows], np.int64),
            np.array([answers[row] for row in rows], np.int64),
            np.array([self.weights[row] for row in rows], np.float64),
        )


def within(period: Period) -> ColumnElement[bool]:
    """Return the SQL condition that selects the jobs finished in a period."""
    return (Job.finished_at >= period.begins_at) & (Job.finished_at < period.ends_at)


def releases_of(session: Session, period: Period) -> dict[str, int]:
    """Count the jobs that each release answered in a period."""
    query = (
        select(Job.release, func.count().label("jobs"))
        .where(within(period), _IS_DONE)
        .group_by(Job.release)
    )
    return {row.release: row.jobs for row in session.execute(query)}


def collect(session: Session, period: Period, release: str, fusing: Fusing) -> dict[str, Collected]:
    """Return the answers of a period from a release's stored probabilities, by modality.

    `fusion` covers the jobs that requested it: combined as in `worker_fusion.combine`, or the only
    modality that was scored.
    """
    classes = len(fusing.codes)
    found = {modality: Collected(Expectation.of(classes)) for modality in MODALITIES}
    for rows in _scores(session, period, release):
        text, image = (_stacked([row[at] for row in rows], classes) for at in (1, 2))
        has_text, has_image = (np.isfinite(scores[:, 0]) for scores in (text, image))
        answered = combined(text, image, fusing.fusion)
        requested = np.array([row.model == FUSION for row in rows]) & (has_text | has_image)
        found[FUSION].add(answered[requested])
        found[Modality.TEXT.value].add(text[has_text])
        found[Modality.IMAGE.value].add(image[has_image])
    return {modality: part for modality, part in found.items() if part.expectation.rows}


def reviewed(session: Session, period: Period, release: str | None = None) -> Labelled:
    """Return the answers that were drawn for review and labelled, weighted to represent all.

    These figures can start a training, so only trusted labels count: a client can label its own
    answers, drawn ones too, and so decide what they measure.

    See `trainer.datasets.labelled.drawn_answers` for the weights.
    """
    drawn = _drawn(session, period, release)
    rows = [row for row in _labelled(session, period, release) if row.chance and row.is_trusted]
    done = Counter(row.reason for row in rows)
    share = {reason: done[reason] / drawn[reason] for reason in done}
    weights = [1 / labelled_chance(row, share) for row in rows]
    return _columns(rows, weights)


def volunteered(session: Session, period: Period, release: str | None = None) -> Labelled:
    """Return the answers that people labelled unasked, a biased sample with equal weights.

    Labels of all users count: these figures are feedback of the users, and nothing depends on them.
    """
    rows = [row for row in _labelled(session, period, release) if not row.chance]
    return _columns(rows, [1.0] * len(rows))


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
    """Return probabilities `(rows, classes)`; NaN where missing or not a distribution."""
    missing = np.full(classes, np.nan, PROBABILITY_TYPE).tobytes()
    joined = b"".join(row if row and len(row) == len(missing) else missing for row in scores)
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
            is_trusted_label().label("is_trusted"),
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
    labelled = Labelled()
    for row, weight in zip(rows, weights, strict=True):
        answers: dict[str, int | None] = {}
        with skipping("performance", row.id):
            by_modality = (row.result or {}).get("modalities") or {}
            answers = {name: one.get("prdtypecode") for name, one in by_modality.items()}
        labelled.job_ids.append(row.id)
        labelled.truth.append(row.label)
        labelled.confidences.append(row.confidence or 0.0)
        labelled.weights.append(weight)
        labelled.answers[FUSION].append(row.prdtypecode if row.model == FUSION else None)
        for modality in Modality:
            labelled.answers[modality.value].append(answers.get(modality.value))
    return labelled
