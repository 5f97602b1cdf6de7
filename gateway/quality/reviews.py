"""Answers chosen for review; `trainer.monitoring.performance.reviews` draws the sample."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from gateway.web.paging import cursor_after, fetch_page, read_cursor
from shared.db.models import Job, Review
from shared.errors import NotFound
from shared.lifecycle.label_trust import is_trusted_label

Reason = Literal["random", "uncertain"]


def page(
    session: Session,
    *,
    labelled: bool | None,
    reason: Reason | None,
    cursor: str | None,
    limit: int,
) -> tuple[Sequence[Row[Review, Job]], str | None]:
    """Return a page of reviews and their jobs, newest job first, and the next page's cursor.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    query = select(Review, Job).join(Job, Job.id == Review.job_id).order_by(Review.job_id.desc())
    if labelled is not None:
        # A client who labels a job of its own must not take it from the reviewers.
        query = query.where(is_trusted_label() if labelled else ~is_trusted_label())
    if reason is not None:
        query = query.where(Review.reason == reason)
    if cursor is not None:
        query = query.where(Review.job_id < read_cursor(cursor))
    found, has_more = fetch_page(session, query, limit)
    return found, cursor_after(found[-1].Review.job_id) if has_more else None


def image_uri(session: Session, job_id: str) -> str:
    """Return the URI of the image of a job under review.

    Raises:
        NotFound: The job was not chosen for review, or has no image.
    """
    query = select(Job.image_uri).join(Review, Review.job_id == Job.id).where(Job.id == job_id)
    uri = session.scalar(query)
    if uri is None:
        raise NotFound(f"No review of {job_id!r} with an image")
    return uri
