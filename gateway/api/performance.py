"""Classification performance over time."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from gateway.api.parameters import Cursor, Limit
from gateway.api.services import ServicesDep, SignedIn
from gateway.quality import performance
from gateway.quality.schemas.performance import PerformanceList, PerformanceOut

router = APIRouter(prefix="/v1/performance", tags=["monitoring"])


@router.get("")
def list_performance(
    services: ServicesDep,
    _operator: SignedIn,
    kind: Annotated[
        Literal["test", "labelled", "volunteered", "estimated", "not_estimated"] | None,
        Query(description="Kind of measurement; all by default."),
    ] = None,
    modality: Annotated[
        Literal["fusion", "text", "image"] | None,
        Query(description="Modality of the measured answers; all by default."),
    ] = None,
    release: Annotated[
        str | None, Query(max_length=32, description="Version of the release; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PerformanceList:
    """List F1 measurements, newest first: on the test set, from labels, or estimated (CBPE).

    Where products are too unlike those on which the release was measured, the kind is
    `not_estimated`, without an F1, in place of `estimated`.
    """
    with services.unit_of_work.reading() as session:
        found, following = performance.page(
            session, cursor, limit, kind=kind, modality=modality, release=release
        )
        items = [PerformanceOut.model_validate(one, from_attributes=True) for one in found]
    return PerformanceList(items=items, next_cursor=following)
