"""Reads answered products from the database, as many as a window has, with their scores."""

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
from shared.storage import Storage
from trainer.monitoring.performance.answers import PROBABILITY_TYPE
from trainer.reference.descriptors import describe_image, describe_texts
from trainer.reference.sample import Products

Floats = NDArray[np.float64]

#: An answer whose transaction takes longer than this would be passed over.
SETTLED = timedelta(seconds=5)
#: Rows of one question; both databases take more.
PIECE = 1_000
#: Images of a window that are looked at: 2 ms each, and more make no effect clearer.
MOST_IMAGES = 500


@dataclass(frozen=True)
class Answered:
    """A job that was answered, or failed for its product."""

    id: str
    finished_at: datetime
    designation: str
    description: str
    image_uri: str | None
    prdtypecode: int | None


def next_answers(
    session: Session, release: str, after: datetime | None, most: int
) -> list[Answered]:
    """Answers of a release that follow a moment, oldest first, up to the end of a slice.

    Args:
        session: Only read.
        release: The version that answered.
        after: End of the window before; `None` begins with the first answer.
        most: So many at most, but for the rest of the last one's moment.
    """
    wanted = _answered(release).order_by(Job.finished_at, Job.id)
    if after is not None:
        wanted = wanted.where(Job.finished_at > after)
    found = [_of(row) for row in session.execute(wanted.limit(most))]
    if len(found) == most:
        # A slice is answered in one moment; a window that ended within it would lose the rest.
        last = found[-1]
        rest = _answered(release).where(Job.finished_at == last.finished_at, Job.id > last.id)
        found += [_of(row) for row in session.execute(rest.order_by(Job.id))]
    return found


def products_of(
    session: Session, storage: Storage, answered: Sequence[Answered], categories: CategorySet
) -> Products:
    """Describe answered products; the images of some of them are read.

    Raises:
        Unavailable: The storage does not answer.
    """
    texts = [(one.designation, one.description) for one in answered]
    column = {code: place for place, code in enumerate(categories.codes)}
    answers = [column.get(one.prdtypecode or 0, -1) for one in answered]
    return Products(
        texts,
        describe_texts(texts),
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


def _of(row: Row[Any]) -> Answered:
    return Answered(**row._mapping)


def _images(storage: Storage, answered: Sequence[Answered]) -> dict[int, Floats | None]:
    shown = [(place, one.image_uri) for place, one in enumerate(answered) if one.image_uri]
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(len(shown), MOST_IMAGES)).astype(int))
    found: dict[int, Floats | None] = {}
    for place, uri in (shown[number] for number in chosen):
        try:
            found[place] = describe_image(storage.get(uri))
        except NotFound:
            # It is older than images are kept, or its catalog was deleted.
            continue
    return found


def _scores(session: Session, answered: Sequence[Answered], classes: int) -> dict[Modality, Floats]:
    place = {one.id: number for number, one in enumerate(answered)}
    scores = {modality: np.full((len(answered), classes), np.nan) for modality in Modality}
    for job_id, modality, kept in _stored_scores(session, list(place)):
        row = np.frombuffer(kept, PROBABILITY_TYPE)
        if len(row) == classes:
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
