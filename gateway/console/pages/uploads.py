"""Files that the script of an import sends in pieces: the routes of the API, for the cookie."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from markupsafe import Markup

from gateway.api.importing import uploads as api
from gateway.catalogs.importing.schemas import UploadCreate, UploadOut
from gateway.console.explanations import explain
from gateway.console.languages import translations_of
from gateway.console.visit import SignedVisit
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import RayonError

router = APIRouter(prefix=f"{CONSOLE}/uploads", include_in_schema=False)


@router.post("", status_code=201)
def create(visit: SignedVisit, wanted: UploadCreate) -> UploadOut:
    """Announce a file. A refusal is a sentence for people, which the script shows."""
    try:
        return api.create_upload(visit.services, visit.user, wanted, Response())
    except RayonError as error:
        language = visit.language
        shown = explain(error.detail, language, translations_of(language))
        error.detail = shown.striptags() if isinstance(shown, Markup) else shown
        raise


@router.get("/{upload_id}")
def show(visit: SignedVisit, upload_id: str) -> UploadOut:
    """Return an upload and the offset of its next piece."""
    return api.show_upload(visit.services, visit.user, upload_id)


@router.patch("/{upload_id}")
async def append(
    visit: SignedVisit,
    request: Request,
    upload_id: str,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0)],
) -> Response:
    """Append a piece."""
    return await api.append_piece(visit.services, visit.user, request, upload_id, offset)


@router.delete("/{upload_id}")
def delete(visit: SignedVisit, upload_id: str) -> Response:
    """Delete an upload."""
    return api.delete_upload(visit.services, visit.user, upload_id)
