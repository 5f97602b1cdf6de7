"""Parameters and documented response headers that several routes share."""

from typing import Annotated, Any

from fastapi import Header, Path, Query, Response

from gateway.web.openapi import documented_headers
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


#: OpenAPI responses of a route that returns an image.
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES
        }
    }
}


def image_response(content: bytes) -> Response:
    """Respond with an image as it was uploaded."""
    return Response(content, media_type=media_type(content))


def located(status: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that responds with `Location`."""
    return {status: {"headers": documented_headers("Location")}}
