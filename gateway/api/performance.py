"""Performance of the answers."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from gateway.api.services import ServicesDep, SignedIn
from gateway.quality import performance
from gateway.quality.schemas.performance import PerformanceList, PerformanceOut

router = APIRouter(prefix="/v1/performance", tags=["monitoring"])


@router.get("")
def list_performance(
    services: ServicesDep,
    _operator: SignedIn,
    kind: Literal["test", "labelled", "volunteered", "estimated"] | None = None,
    modality: Literal["fusion", "text", "image"] | None = None,
    release: Annotated[str | None, Query(max_length=32)] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PerformanceList:
    """List F1 on the test set, from labels, and estimated without labels; newest first."""
    with services.unit_of_work.reading() as session:
        found, following = performance.page(
            session, cursor, limit, kind=kind, modality=modality, release=release
        )
        items = [PerformanceOut.model_validate(one, from_attributes=True) for one in found]
    return PerformanceList(items=items, next_cursor=following)
