"""Answers around a promotion, read from the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.orm import Session

from shared.contracts import Lane
from shared.db.models import HAS_PRODUCT, Job, JobStatus, Promotion, Review
from shared.lifecycle.label_trust import is_trusted_label
from shared.skipping import skipping
from trainer.datasets.labelled.drawn_answers import RANDOM
from trainer.monitoring.promotion_watch.replies import ANSWER, Product, Reply

#: Failures that a release does not cause: the image is not one, or is gone; messages were lost.
NOT_OF_A_RELEASE = frozenset({"image_unreadable", "image_missing", "delivery_failed"})
#: Age at the promotion of the oldest answers that the new ones are compared with.
LONGEST_AGO = timedelta(days=30)

_COLUMNS = (
    Job.id,
    Job.created_at,
    Job.finished_at,
    Job.lane,
    Job.model,
    Job.status,
    Job.designation,
    Job.description,
    Job.image_uri,
    Job.prdtypecode,
    Job.confidence,
    Job.result,
    Job.error_code,
    Job.label,
)


@dataclass(frozen=True)
class Answer:
    """A final job, as the comparison needs it.

    Attributes:
        seconds: Time from submission to the end.
        is_interactive: True for single jobs, False for rows of catalogs.
        is_failed: True if it failed for a reason that may be the release's.
        is_degraded: True if it lacks a modality for such a reason.
        replies: Category and confidence by modality, with `fusion` for the whole answer.
        label: True category, if a person assigned one.
    """

    product: Product
    submitted_at: datetime
    finished_at: datetime
    seconds: float
    is_interactive: bool
    is_failed: bool
    is_degraded: bool
    replies: Mapping[str, Reply]
    label: int | None

    @property
    def identity(self) -> tuple[str, str, str | None]:
        """Content of the product: the same product sent twice is one observation."""
        return self.product.designation, self.product.description, self.product.image_uri


@dataclass(frozen=True)
class Observations:
    """Answers around a promotion, oldest first.

    Attributes:
        before: Last answers of the release before.
        after: First answers of the promoted release.
        labelled: Answers of the promoted release that were drawn at random for review and labelled
            by a trusted person. Labels that people give unasked are left out: they are given to
            wrong answers.
    """

    before: Sequence[Answer]
    after: Sequence[Answer]
    labelled: Sequence[Answer]


def observe(session: Session, line: Promotion, most: int) -> Observations:
    """Read the answers around a promotion, at most `most` of each kind."""
    before = _final(line.previous_version or "").where(
        Job.finished_at < line.promoted_at, Job.finished_at >= line.promoted_at - LONGEST_AGO
    )
    # Jobs may name a release before it is promoted.
    after = _final(line.version).where(
        Job.finished_at >= line.promoted_at, Job.created_at >= line.promoted_at
    )
    labelled = (
        after.join(Review, Review.job_id == Job.id)
        .where(Review.reason == RANDOM, Job.label.is_not(None), is_trusted_label())
        .order_by(Job.labelled_at, Job.id)
    )
    newest = session.execute(before.order_by(Job.finished_at.desc(), Job.id.desc()).limit(most))
    first = session.execute(after.order_by(Job.finished_at, Job.id).limit(most))
    return Observations(
        before=_answers(newest)[::-1],
        after=_answers(first),
        labelled=_answers(session.execute(labelled.limit(most))),
    )


def distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers that can be compared, the first one of each product."""
    first: dict[tuple[str, str, str | None], Answer] = {}
    for answer in answers:
        if answer.replies and any(answer.identity):
            first.setdefault(answer.identity, answer)
    return list(first.values())


def _final(release: str) -> Select[Any]:
    return select(*_COLUMNS).where(Job.release == release, _is_final(), HAS_PRODUCT)


def _is_final() -> ColumnElement[bool]:
    return Job.status.in_((JobStatus.DONE.value, JobStatus.FAILED.value))


def _answers(rows: Iterable[Row[Any]]) -> list[Answer]:
    answers = []
    for row in rows:
        with skipping("promotion_watch", row.id):
            answers.append(_answer(row))
    return answers


def _answer(row: Row[Any]) -> Answer:
    result = row.result or {}
    modalities = result.get("modalities") or {}
    replies = {
        name: Reply(int(one["prdtypecode"]), float(one["confidence"]))
        for name, one in modalities.items()
    }
    if row.model == ANSWER and row.prdtypecode is not None:
        replies[ANSWER] = Reply(row.prdtypecode, row.confidence or 0.0)
    return Answer(
        product=Product(
            id=row.id,
            designation=row.designation,
            description=row.description,
            image_uri=row.image_uri,
            modalities=sorted(modalities),
        ),
        submitted_at=row.created_at,
        finished_at=row.finished_at,
        seconds=(row.finished_at - row.created_at).total_seconds(),
        is_interactive=row.lane == Lane.INTERACTIVE.value,
        is_failed=row.status == JobStatus.FAILED.value and _is_of_a_release(row.error_code),
        is_degraded=_is_of_a_release(result.get("degraded")),
        replies=replies,
        label=row.label,
    )


def _is_of_a_release(codes: str | None) -> bool:
    """Return True if any of the codes, separated by semicolons, may be caused by a release."""
    return bool({code.strip() for code in (codes or "").split(";")} - {"", *NOT_OF_A_RELEASE})
