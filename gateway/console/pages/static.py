"""Style sheets, scripts and icons."""

from fastapi import APIRouter, Response

from gateway.console.assets import assets, media_type
from gateway.console.visit import POLICY
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import NotFound

router = APIRouter(prefix=CONSOLE, include_in_schema=False)
#: A year; the address changes with the content.
KEPT = "public, max-age=31536000, immutable"


@router.get("/static/{digest}/{name}")
def static(digest: str, name: str) -> Response:
    """Return a file; old pages get the present one, which they may not keep."""
    found = assets()
    if name not in found.files:
        raise NotFound(f"No file {name!r}")
    caching = KEPT if digest == found.digest else "no-store"
    headers = {"Cache-Control": caching, "Content-Security-Policy": POLICY}
    return Response(found.files[name], media_type=media_type(name), headers=headers)
