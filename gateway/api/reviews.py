"""Answers selected for review, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.api.parameters import IMAGE, Cursor, Limit, ReviewId, image_response
from gateway.api.services import ServicesDep, SignedIn
from gateway.jobs.responses import job_out
from gateway.quality import reviews
from gateway.quality.reviews import Reason
from gateway.quality.schemas.labels import ReviewOut, ReviewPage
from shared.db.models import Job, Review

PREFIX = "/v1/reviews"

router = APIRouter(prefix=PREFIX, tags=["operations"])


@router.get("")
def list_reviews(
    services: ServicesDep,
    _operator: SignedIn,
    labelled: Annotated[
        bool | None,
        Query(description="True for labelled reviews, false for open ones; all by default."),
    ] = None,
    reason: Annotated[
        Reason | None, Query(description="Reason of the selection; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ReviewPage:
    """List answers selected for review, newest first.

    Label them with `PUT /v1/jobs/{job_id}/label`.
    """
    with services.unit_of_work.reading() as session:
        found, following = reviews.page(
            session, labelled=labelled, reason=reason, cursor=cursor, limit=limit
        )
        items = [review_out(row.Review, row.Job) for row in found]
    return ReviewPage(items=items, next_cursor=following)


@router.get(
    "/{review_id}/image",
    response_class=Response,
    responses=IMAGE,
    # Generated clients use this name.
    operation_id="picture_v1_reviews__review_id__image_get",
)
def image(services: ServicesDep, _operator: SignedIn, review_id: ReviewId) -> Response:
    """Return the image of the product as it was uploaded."""
    with services.unit_of_work.reading() as session:
        uri = reviews.image_uri(session, review_id)
    return image_response(services.storage.get(uri))


def review_out(review: Review, job: Job) -> ReviewOut:
    """Return the response body of a review."""
    return ReviewOut(
        job_id=job.id,
        chosen_at=review.chosen_at,
        reason=review.reason,
        chance=review.chance,
        designation=job.designation,
        description=job.description,
        image=f"{PREFIX}/{job.id}/image" if job.image_uri else None,
        result=job_out(job).result,
        release=job.release,
        catalog_id=job.catalog_id,
        label=job.label,
        labelled_at=job.labelled_at,
        labelled_by=job.labelled_by,
    )
