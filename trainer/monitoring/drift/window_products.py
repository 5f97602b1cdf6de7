"""Reads the products of a window from the database, with their scores and images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from shared.categories import CategorySet
from shared.contracts import Modality
from shared.db.models import Job, JobStatus, Score, now
from shared.errors import NotFound
from shared.skipping import is_systemic, skipping
from shared.storage import Storage
from trainer.monitoring.performance.answers import PROBABILITY_TYPE
from trainer.monitoring.performance.cbpe import is_distribution
from trainer.reference.descriptors import Texts, describe_image, describe_texts
from trainer.reference.sample import Products

Floats = NDArray[np.float64]

#: Age of the newest answers read. A transaction that takes longer to commit is missed.
SETTLED = timedelta(seconds=5)
#: Ids per query; both databases accept more.
PIECE = 1_000
#: Maximum number of images read per window: each takes 2 ms, and more add no precision.
MOST_IMAGES = 500
#: Name of the loop over answers in the metrics and the logs.
LOOP = "drift"


@dataclass(frozen=True)
class Answered:
    """A job that was answered, or that failed because of its product."""

    id: str
    finished_at: datetime
    designation: str
    description: str
    image_uri: str | None
    prdtypecode: int | None


def next_answers(
    session: Session, release: str, after: datetime | None, most: int
) -> list[Answered]:
    """Return the answers of a release after a moment, oldest first, up to the end of a slice.

    Args:
        session: Read-only.
        release: Version that answered.
        after: End of the previous window; `None` starts at the first answer.
        most: Maximum number of answers, exceeded only to complete the last slice.
    """
    wanted = _answered(release).order_by(Job.finished_at, Job.id)
    if after is not None:
        wanted = wanted.where(Job.finished_at > after)
    answers = [_answer(row) for row in session.execute(wanted.limit(most))]
    if len(answers) == most:
        # All answers of a slice have the same time. A window that ended within a slice would lose
        # the rest of it.
        last = answers[-1]
        rest = _answered(release).where(Job.finished_at == last.finished_at, Job.id > last.id)
        answers += [_answer(row) for row in session.execute(rest.order_by(Job.id))]
    return answers


def products_of(
    session: Session, storage: Storage, answered: Sequence[Answered], categories: CategorySet
) -> tuple[Sequence[Answered], Products]:
    """Describe answered products, reading the images of a sample of them.

    Returns:
        The answers that can be described, and their products in the same order.

    Raises:
        Unavailable: If the storage does not answer.
    """
    answered, described = _described(answered)
    texts = [(answer.designation, answer.description) for answer in answered]
    column = {code: place for place, code in enumerate(categories.codes)}
    answers = [column.get(answer.prdtypecode or 0, -1) for answer in answered]
    return answered, Products(
        texts,
        described,
        _images(storage, answered),
        _scores(session, answered, len(categories)),
        np.array(answers, np.int64),
    )


def _answered(release: str) -> Select[Any]:
    columns = (getattr(Job, name) for name in Answered.__annotations__)
    final = (JobStatus.DONE.value, JobStatus.FAILED.value)
    return select(*columns).where(
        Job.release == release, Job.finished_at < now() - SETTLED, Job.status.in_(final)
    )


def _answer(row: Row[Any]) -> Answered:
    return Answered(**row._mapping)


def _described(answered: Sequence[Answered]) -> tuple[Sequence[Answered], Texts]:
    """Describe the texts of answers, without those whose texts raise an error."""
    texts = [(answer.designation, answer.description) for answer in answered]
    try:
        return answered, describe_texts(texts)
    except Exception as error:
        if is_systemic(error):
            raise
    # One text stops all others of a call, so each is tried by itself.
    kept = []
    for answer in answered:
        with skipping(LOOP, answer.id):
            describe_texts([(answer.designation, answer.description)])
            kept.append(answer)
    return kept, describe_texts([(answer.designation, answer.description) for answer in kept])


def _images(storage: Storage, answered: Sequence[Answered]) -> dict[int, Floats | None]:
    stored = [
        (place, answer.image_uri) for place, answer in enumerate(answered) if answer.image_uri
    ]
    chosen = np.unique(np.linspace(0, len(stored) - 1, min(len(stored), MOST_IMAGES)).astype(int))
    images: dict[int, Floats | None] = {}
    for place, uri in (stored[number] for number in chosen):
        with skipping(LOOP, answered[place].id):
            try:
                content = storage.get(uri)
            except NotFound:
                # The image is past its retention time, or its catalog was deleted.
                continue
            images[place] = None
            images[place] = _finite(describe_image(content))
    return images


def _finite(numbers: Floats | None) -> Floats | None:
    if numbers is not None and not np.isfinite(numbers).all():
        raise ValueError(f"Expected finite descriptors. Received: {numbers.tolist()}")
    return numbers


def _scores(session: Session, answered: Sequence[Answered], classes: int) -> dict[Modality, Floats]:
    place = {answer.id: number for number, answer in enumerate(answered)}
    scores = {modality: np.full((len(answered), classes), np.nan) for modality in Modality}
    for job_id, modality, probabilities in _stored_scores(session, list(place)):
        with skipping(LOOP, job_id):
            row = np.frombuffer(probabilities, PROBABILITY_TYPE)
            if len(row) != classes or not is_distribution(row[None])[0]:
                raise ValueError(f"Expected {classes} probabilities. Received: {len(row)} numbers")
            scores[Modality(modality)][place[job_id]] = row
    return scores


def _stored_scores(session: Session, ids: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
    columns = select(Score.job_id, Score.modality, Score.probabilities)
    for start in range(0, len(ids), PIECE):
        piece = columns.where(
            Score.job_id.in_(ids[start : start + PIECE]), Score.probabilities.is_not(None)
        )
        for row in session.execute(piece):
            yield row.job_id, row.modality, row.probabilities
