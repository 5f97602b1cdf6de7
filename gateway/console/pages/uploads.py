"""Files that the script of an import sends in pieces: the routes of the API, for the cookie."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from markupsafe import Markup

from gateway.api.importing import uploads as api
from gateway.catalogs.importing.schemas import UploadCreate, UploadOut
from gateway.console.explanations import explain
from gateway.console.languages import translations_of
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import RayonError

router = APIRouter(prefix=f"{CONSOLE}/uploads", include_in_schema=False)


@router.post("", status_code=201)
def create(visit: SignedVisit, wanted: UploadCreate) -> UploadOut:
    """Announce a file."""
    with _explained(visit):
        return api.create_upload(visit.services, visit.user, wanted, Response())


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
    with _explained(visit):
        return await api.append_piece(visit.services, visit.user, request, upload_id, offset)


@router.delete("/{upload_id}")
def delete(visit: SignedVisit, upload_id: str) -> Response:
    """Delete an upload."""
    return api.delete_upload(visit.services, visit.user, upload_id)


@contextmanager
def _explained(visit: Visit) -> Iterator[None]:
    """Make a refusal a sentence for people, which the script shows."""
    try:
        yield
    except RayonError as error:
        shown = explain(error.detail, visit.language, translations_of(visit.language))
        error.detail = shown.striptags() if isinstance(shown, Markup) else shown
        raise
