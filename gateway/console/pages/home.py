"""The first page after signing in: what needs a person, a new catalog, and the latest ones."""

from fastapi import APIRouter, Response

from gateway.api import catalogs
from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.schemas import CatalogOut
from gateway.console.attention import COUNTED, matters
from gateway.console.form import Mistakes
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.db.models import CatalogStatus, Role

#: Catalogs on the page: the unfinished ones, and the latest of all.
UNFINISHED_SHOWN, LATEST_SHOWN = 10, 5

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("")
def home(visit: SignedVisit) -> Response:
    """Show what needs a person to operators, and the catalogs of the visitor."""
    found = _catalogs(visit)
    return visit.page(
        "home.html",
        catalogs=found,
        is_running=any(one.status in UNFINISHED for one in found),
        is_operator=visit.user.role is not Role.CLIENT,
        matters=matters(visit) if visit.user.role is not Role.CLIENT else [],
        counted=COUNTED,
        max_bytes=visit.services.catalogs.settings.max_bytes,
        mistakes=Mistakes(),
    )


def _catalogs(visit: Visit) -> list[CatalogOut]:
    """Return the unfinished catalogs and the latest ones, the unfinished first."""
    services, user = visit.services, visit.user
    unfinished = [
        one
        for status in UNFINISHED
        for one in catalogs.list_catalogs(
            services, user, CatalogStatus(status), limit=UNFINISHED_SHOWN
        ).items
    ]
    latest = catalogs.list_catalogs(services, user, limit=LATEST_SHOWN).items
    found = {one.id: one for one in (*unfinished, *latest)}
    newest_first = sorted(found.values(), key=lambda one: one.id, reverse=True)
    return sorted(newest_first, key=lambda one: one.status not in UNFINISHED)
