"""The first page after signing in."""

from fastapi import APIRouter, Response

from gateway.api import catalogs
from gateway.console.visit import SignedVisit
from gateway.identity.browser_cookie import CONSOLE

#: Catalogs on the page.
SHOWN = 5

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("")
def home(visit: SignedVisit) -> Response:
    """Show the latest catalogs of the visitor."""
    services, user = visit.services, visit.user
    return visit.page(
        "home.html",
        catalogs=catalogs.list_catalogs(services, user, limit=SHOWN).items,
    )
