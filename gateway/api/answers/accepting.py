"""Query parameters that decide which answers are accepted, and the resulting thresholds."""

from typing import Annotated

from fastapi import Query

from gateway.api.services import Services
from gateway.catalogs.output.acceptance import Acceptance
from gateway.quality.precision import dial

Target = Annotated[
    float | None,
    Query(
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Wanted share of right answers among the accepted ones, such as 0.98. Omit it "
        "to accept nothing.",
    ),
]
ByCategory = Annotated[
    bool,
    Query(description="True for a threshold for each category, so that each reaches the target."),
]


def acceptance_of(
    services: Services, catalog_id: str, target: float | None, *, by_category: bool
) -> Acceptance | None:
    """Return the thresholds for a target; `None` without one."""
    if target is None:
        return None
    with services.unit_of_work.reading() as session:
        return dial.precision(session, catalog_id, target, by_category=by_category).acceptance
