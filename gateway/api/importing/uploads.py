"""Uploads in pieces, which go on after a lost connection."""

import tempfile
from functools import partial
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from gateway.api.parameters import located
from gateway.api.services import Services, ServicesDep, SignedIn
from gateway.catalogs.importing.partial_uploads import PartialFile
from gateway.catalogs.importing.schemas import UploadCreate, UploadOut
from gateway.identity.principal import Principal
from gateway.web.openapi import documented_headers
from shared.errors import TooLarge

PREFIX = "/v1/uploads"
#: Media type of a piece (draft-ietf-httpbis-resumable-upload-10, section 6).
PIECE = "application/partial-upload"
_PIECE = {
    "requestBody": {
        "required": True,
        "content": {PIECE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
UploadId = Annotated[str, Path(description="ID of the upload, a UUID.")]
Offset = Annotated[
    int,
    Header(
        alias="Upload-Offset",
        ge=0,
        description="Number of bytes before the piece: the `offset` of the upload.",
    ),
]

router = APIRouter(prefix=PREFIX, tags=["catalogs"])


@router.post("", status_code=201, responses=located(201))
def create_upload(
    services: ServicesDep, principal: SignedIn, wanted: UploadCreate, response: Response
) -> UploadOut:
    """Announce a file that is sent in pieces, to be named by `POST /v1/catalogs`.

    Send its pieces in order with `PATCH /v1/uploads/{upload_id}`. After a lost connection,
    `GET /v1/uploads/{upload_id}` returns the `offset` to go on from.
    """
    largest = services.catalogs.settings.max_bytes
    if wanted.size > largest:
        raise TooLarge(f"Expected a file of at most {largest} bytes. Received: {wanted.size}")
    services.require_space(principal, wanted.size)
    # Bytes that were announced before count as if they had arrived.
    announced = services.catalogs.parts.announced_bytes(principal)
    services.catalogs.require_room(principal, wanted.size + announced)
    made = services.catalogs.parts.create(principal, wanted.name, wanted.size)
    response.headers["Location"] = f"{PREFIX}/{made.id}"
    return upload_out(made)


@router.get("/{upload_id}")
def show_upload(services: ServicesDep, principal: SignedIn, upload_id: UploadId) -> UploadOut:
    """Return an upload and the offset of its next piece."""
    return upload_out(services.catalogs.parts.find(principal, upload_id))


@router.patch(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    openapi_extra=_PIECE,
    responses={204: {"headers": documented_headers("Upload-Offset")}},
)
async def append_piece(
    services: ServicesDep,
    principal: SignedIn,
    request: Request,
    upload_id: UploadId,
    offset: Offset,
) -> Response:
    """Append a piece. What arrives of a piece before the connection is lost is kept.

    A piece that begins elsewhere than at the `offset` is refused with 409.
    """
    size = int(request.headers.get("content-length") or 0)
    found = await run_in_threadpool(services.catalogs.parts.find, principal, upload_id)
    found.require_next(offset, size)
    with services.catalogs.uploads.counted(principal.id, size), tempfile.TemporaryFile() as piece:
        await _read(request, piece, found.size - offset)
        found = await run_in_threadpool(
            partial(_append, services, principal, upload_id, offset, piece)
        )
    return Response(status_code=204, headers={"Upload-Offset": str(found.offset)})


@router.delete("/{upload_id}", status_code=204, response_class=Response)
def delete_upload(services: ServicesDep, principal: SignedIn, upload_id: UploadId) -> Response:
    """Delete an upload. One that no catalog has taken is deleted after a day."""
    services.catalogs.parts.remove(principal, upload_id)
    return Response(status_code=204)


def upload_out(found: PartialFile) -> UploadOut:
    """Return the response body of an upload."""
    return UploadOut(
        id=found.id,
        name=found.name,
        size=found.size,
        offset=found.offset,
        expires_at=found.expires_at,
    )


async def _read(request: Request, piece: BinaryIO, most: int) -> None:
    """Copy the body to a file, until the connection is lost or more than `most` bytes are read."""
    try:
        async for content in request.stream():
            piece.write(content)
            if piece.tell() > most:
                return
    except ClientDisconnect:
        return


def _append(
    services: Services, principal: Principal, upload_id: str, offset: int, piece: BinaryIO
) -> PartialFile:
    size = piece.tell()
    piece.seek(0)
    return services.catalogs.parts.append(principal, upload_id, offset, piece, size)
