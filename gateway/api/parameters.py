"""Parameters and documented response headers that several routes share."""

from enum import IntEnum
from typing import Annotated, Any

from fastapi import Header, Path, Query, Response

from gateway.web.openapi import documented_headers
from shared.contracts import THUMBNAIL_PIXELS
from shared.image_formats import MEDIA_TYPES, media_type

#: Maximum of `wait`, in seconds. Proxies and clients often give up an idle request after 60.
MAX_WAIT_SECONDS = 30

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items to return.")]
Cursor = Annotated[
    str | None,
    Query(description="`next_cursor` of the previous page. Omit it for the first page."),
]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="Seconds to wait for the final state. 0 responds at once.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Key that identifies this submission, such as a random UUID. A repeated "
        "request with the same key and content returns what the first one created; the same key "
        "with other content is refused with 409.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=S` (RFC 7240) to wait up to S seconds for the final state, at most "
        f"{MAX_WAIT_SECONDS}. If it comes in time, the response is 201 with the final job, else "
        "202. Other preferences are ignored."
    ),
]

AlertId = Annotated[str, Path(description="ID of the drift alert, a UUID.")]
CatalogId = Annotated[str, Path(description="ID of the catalog, a UUID.")]
DatasetName = Annotated[str, Path(description="Name of the dataset, without a version.")]
JobId = Annotated[str, Path(description="ID of the job, a UUID.")]
KeyId = Annotated[
    str, Path(description="ID of the API key, a UUID: `id`, neither its prefix nor the key itself.")
]
LetterId = Annotated[str, Path(description="ID of the dead letter, a UUID.")]
ReleaseVersion = Annotated[
    str, Path(description="Version of the release, such as `3`, or an alias, such as `champion`.")
]
ReviewId = Annotated[str, Path(description="ID of the review, a UUID: `job_id` of its job.")]
RunId = Annotated[str, Path(description="ID of the training run, a UUID.")]
SessionId = Annotated[str, Path(description="ID of the session, a UUID.")]
Username = Annotated[str, Path(description="Name of the account.")]


class ThumbnailSize(IntEnum):
    """Sizes of thumbnails, in pixels."""

    SMALL, MEDIUM, LARGE = THUMBNAIL_PIXELS


Size = Annotated[
    ThumbnailSize | None,
    Query(
        description="Most pixels of the width and of the height, for a thumbnail in WebP. The "
        "image as it was uploaded by default."
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        max_length=255,
        description="`ETag` of an earlier response. If the image is still the same, the response "
        "is 304, without a body.",
    ),
]


#: OpenAPI responses of a route that returns an image.
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES
        }
    }
}


#: OpenAPI responses of a route whose images browsers may keep.
KEPT_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {**IMAGE[200], "headers": documented_headers("ETag")},
    304: {"description": "The image is the same as that of `If-None-Match`."},
}
#: The browser of one person may keep the image of a single job for a week, since it never changes.
_KEPT = "private, max-age=604800, immutable"
#: A repair replaces the image of a catalog row, so the browser asks whether it is still the same.
_ASKED = "private, no-cache"


def image_response(content: bytes) -> Response:
    """Respond with an image as it was uploaded."""
    return Response(content, media_type=media_type(content))


def etag_of(image_uri: str, size: ThumbnailSize | None) -> str:
    """Return the `ETag` of an image or its thumbnail: the digest of its content, and the size."""
    return f'"{image_uri.rpartition("/")[2]}-{int(size) if size else "full"}"'


def kept_image(content: bytes, etag: str, *, may_change: bool) -> Response:
    """Respond with an image that the browser may keep."""
    headers = _cache_headers(etag, may_change=may_change)
    return Response(content, media_type=media_type(content), headers=headers)


def same_image(etag: str, *, may_change: bool) -> Response:
    """Respond that the image which the browser has kept is the right one."""
    return Response(status_code=304, headers=_cache_headers(etag, may_change=may_change))


def _cache_headers(etag: str, *, may_change: bool) -> dict[str, str]:
    return {"Cache-Control": _ASKED if may_change else _KEPT, "ETag": etag}


def located(status: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that responds with `Location`."""
    return {status: {"headers": documented_headers("Location")}}
