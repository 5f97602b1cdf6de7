"""Query parameters that decide which answers are accepted, and the resulting thresholds."""

from typing import Annotated

from fastapi import Query

from gateway.api.services import Services
from gateway.catalogs.output.acceptance import Acceptance
from gateway.quality.precision import dial
from gateway.quality.precision.dial import UNSTATED, Precision
from shared.db.models import Catalog
from shared.errors import NotFound, ReleaseUnloadable, Unavailable
from shared.inference.releases.confidence import HeldOutConfidence

#: Model of catalogs that are answered from text and image.
BOTH = "fusion"

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


def precision_of(
    services: Services, catalog: Catalog, target: float, *, by_category: bool
) -> Precision:
    """Return which answers of a catalog to accept for a target."""
    stated = _stated(services, catalog)
    with services.unit_of_work.reading() as session:
        return dial.precision(session, catalog.id, target, by_category=by_category, stated=stated)


def acceptance_of(
    services: Services, catalog: Catalog, target: float | None, *, by_category: bool
) -> Acceptance | None:
    """Return the thresholds for a target; `None` without one."""
    if target is None:
        return None
    return precision_of(services, catalog, target, by_category=by_category).acceptance


def _stated(services: Services, catalog: Catalog) -> HeldOutConfidence:
    """Return what the release states about confidences, for the most frequent kind of answers.

    Releases of earlier versions state nothing.
    """
    kind = "text" if catalog.model == BOTH and not catalog.has_images else catalog.model
    try:
        figures = services.releases.manifest(catalog.release).figures
    except (NotFound, ReleaseUnloadable, Unavailable):
        return UNSTATED
    return HeldOutConfidence.read(kind, figures) or UNSTATED
