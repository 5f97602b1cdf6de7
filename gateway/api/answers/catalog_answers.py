"""Answers of a catalog, and the precision dial."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Row

from gateway.api.answers.accepting import ByCategory, Target, acceptance_of, precision_of
from gateway.api.answers.categories import known_categories, named
from gateway.api.catalogs import PREFIX, found_catalog
from gateway.api.parameters import CatalogId, Cursor, Limit
from gateway.api.services import Services, ServicesDep, SignedIn
from gateway.catalogs.output import answers
from gateway.catalogs.output.acceptance import Acceptance
from gateway.catalogs.output.answers import Filter, LabelState, Sort
from gateway.catalogs.output.schemas import (
    AnswerOut,
    AnswerPage,
    CategoryCountList,
    CategoryCountOut,
)
from gateway.catalogs.output.text_search import LONGEST
from gateway.jobs.schemas import JobError
from gateway.quality.precision import dial
from gateway.quality.precision.dial import Precision
from gateway.quality.precision.selection import Selection, wilson
from gateway.quality.schemas.precision import (
    CategoryPrecision,
    LabelEvidence,
    PrecisionOut,
    SelectionOut,
)
from shared.db.models import Catalog, JobStatus, row_of_job
from shared.errors import InvalidInput

router = APIRouter(prefix=PREFIX, tags=["catalogs"])


@router.get("/{catalog_id}/answers")
def list_answers(
    services: ServicesDep,
    principal: SignedIn,
    catalog_id: CatalogId,
    category: Annotated[
        int | None, Query(description="Code of the answer; all categories by default.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        Query(ge=0, le=1, allow_inf_nan=False, description="Smallest confidence; any by default."),
    ] = None,
    max_confidence: Annotated[
        float | None,
        Query(ge=0, le=1, allow_inf_nan=False, description="Largest confidence; any by default."),
    ] = None,
    text: Annotated[
        str,
        Query(
            max_length=LONGEST,
            description="Words that title or description contain, up to five; neither case nor "
            "accents matter.",
        ),
    ] = "",
    status: Annotated[
        JobStatus | None, Query(description="Status of the rows; all by default.")
    ] = None,
    label: Annotated[
        LabelState | None,
        Query(
            description="`none`: without a label. `any`: with a label. `equal`: the label is the "
            "answer. `other`: the label is another category. All rows by default."
        ),
    ] = None,
    target: Target = None,
    accepted: Annotated[
        bool | None,
        Query(
            description="True for the answers that are accepted for `target`, false for the other "
            "answers; all rows by default."
        ),
    ] = None,
    by_category: ByCategory = False,
    foreign: Annotated[
        bool | None,
        Query(
            description="True for the answers whose product may belong to none of the categories, "
            "false for the other answers; all rows by default."
        ),
    ] = None,
    sort: Annotated[
        Sort,
        Query(
            description="`row`: in the order of the table. `confidence`: least sure answer first. "
            "`-confidence`: surest first. By confidence, only rows with an answer are listed."
        ),
    ] = "row",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AnswerPage:
    """List the rows of a catalog that have a job, with their answers.

    Rejected rows have none; `GET /v1/catalogs/{catalog_id}/errors` lists them.
    """
    catalog = found_catalog(services, principal, catalog_id)
    if accepted is not None and target is None:
        raise InvalidInput("`accepted` needs a `target`. Received: none", field=("target",))
    wanted = Filter(
        status, category, min_confidence, max_confidence, text, label, accepted, foreign
    )
    acceptance = acceptance_of(services, catalog, target, by_category=by_category)
    return answer_page(services, catalog.id, wanted, acceptance, sort, cursor, limit)


@router.get("/{catalog_id}/answers/categories")
def list_categories(
    services: ServicesDep, principal: SignedIn, catalog_id: CatalogId
) -> CategoryCountList:
    """List the categories of a catalog's answers with their counts."""
    catalog = found_catalog(services, principal, catalog_id)
    with services.unit_of_work.reading() as session:
        counted = answers.category_counts(session, catalog.id)
    known = known_categories(services, catalog.release)
    return CategoryCountList(
        items=[
            CategoryCountOut(
                prdtypecode=one.code, rows=one.rows, labelled=one.labelled, **named(known, one.code)
            )
            for one in counted
        ]
    )


@router.get("/{catalog_id}/precision")
def show_precision(
    services: ServicesDep,
    principal: SignedIn,
    catalog_id: CatalogId,
    target: Annotated[
        float,
        Query(
            gt=0,
            le=1,
            allow_inf_nan=False,
            description="Wanted share of right answers among the accepted ones.",
        ),
    ] = 0.98,
    by_category: ByCategory = False,
) -> PrecisionOut:
    """Return which answers to accept so that a target share of them is right.

    Answers are accepted from a confidence upwards, the lowest for which the precision reaches the
    target with a confidence of 90 %. While a catalog runs, its answers so far count.
    """
    catalog = found_catalog(services, principal, catalog_id)
    found = precision_of(services, catalog, target, by_category=by_category)
    return precision_out(services, catalog, found)


def answer_page(
    services: Services,
    catalog_id: str,
    wanted: Filter,
    acceptance: Acceptance | None,
    sort: Sort,
    cursor: str | None,
    limit: int,
) -> AnswerPage:
    """Return the response body of a page of answers."""
    with services.unit_of_work.reading() as session:
        rows, following = answers.page(session, catalog_id, wanted, acceptance, sort, cursor, limit)
    return AnswerPage(items=[_answer(row, acceptance) for row in rows], next_cursor=following)


def precision_out(services: Services, catalog: Catalog, found: Precision) -> PrecisionOut:
    """Return the response body of the precision dial."""
    groups = sorted(found.by_category.items(), key=lambda one: (-one[1].rows, one[0]))
    known = known_categories(services, catalog.release) if groups else {}
    return PrecisionOut(
        **_selection(found.whole),
        target=found.target,
        by_category=found.acceptance.by_category is not None,
        method="confidences" if found.is_estimate else "labels",
        is_estimate=found.is_estimate,
        labelled=found.labelled,
        labels_needed=dial.ENOUGH_LABELS,
        held_out=found.held_out,
        categories=[
            CategoryPrecision(
                prdtypecode=code, category=named(known, code)["category"], **_selection(one)
            )
            for code, one in groups
        ],
    )


def _answer(row: Row[Any], acceptance: Acceptance | None) -> AnswerOut:
    result = row.result if row.status == JobStatus.DONE.value and row.result else {}
    is_accepted = None
    if acceptance is not None and row.confidence is not None:
        is_accepted = acceptance.accepts(row.prdtypecode, row.confidence, row.label, row.is_foreign)
    return AnswerOut(
        row=row_of_job(row.id),
        job_id=row.id,
        title=row.title,
        has_image=row.image_uri is not None,
        status=row.status,
        prdtypecode=row.prdtypecode,
        category=result.get("category"),
        category_path=result.get("category_path") or [],
        confidence=row.confidence,
        degraded=result.get("degraded"),
        degraded_message=result.get("degraded_message"),
        error=JobError(code=row.error_code, message=row.error_message or "")
        if row.error_code
        else None,
        novelty=result.get("novelty"),
        is_foreign=row.is_foreign,
        label=row.label,
        is_accepted=is_accepted,
    )


def _selection(found: Selection) -> dict[str, Any]:
    evidence = None
    if found.labelled:
        interval = wilson(found.right, found.labelled)
        evidence = LabelEvidence(
            rows=found.labelled, right=found.right, low=interval.low, high=interval.high
        )
    shown = SelectionOut(
        is_reached=found.threshold is not None,
        reachable=found.reachable,
        threshold=found.threshold,
        rows=found.rows,
        accepted=found.accepted,
        share=found.accepted / found.rows if found.rows else 0.0,
        review=found.review,
        foreign=found.foreign,
        expected_precision=found.precision,
        low=found.interval.low if found.interval else None,
        high=found.interval.high if found.interval else None,
        labels=evidence,
    )
    return dict(shown)
