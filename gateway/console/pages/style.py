"""The style of the console: type, space, colours and controls on one page."""

from fastapi import APIRouter, Response

from gateway.console.visit import SignedVisit
from gateway.identity.browser_cookie import CONSOLE

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("/style")
def style(visit: SignedVisit) -> Response:
    """Show every control as it is used on the pages."""
    return visit.page("style.html")
