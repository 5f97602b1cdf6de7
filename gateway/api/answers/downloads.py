"""Files of a catalog that people download."""

from collections.abc import Iterator
from typing import Any

from gateway.api.services import Services
from gateway.catalogs.output.results import Kind
from gateway.identity.principal import Principal
from gateway.web.heavy_work import Download
from gateway.web.openapi import documented_headers
from shared.db.models import Catalog

_MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
#: OpenAPI responses of a route that returns a file of a catalog.
CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/csv": {"schema": {"type": "string"}}},
        "headers": documented_headers("Content-Disposition"),
    }
}


def download(
    services: Services,
    principal: Principal,
    pieces: Iterator[bytes],
    catalog: Catalog,
    what: str,
    kind: Kind,
) -> Download:
    """Respond with a file of a catalog.

    Args:
        services: The services of the gateway.
        principal: The user, whose downloads take turns with those of others.
        pieces: Content of the file.
        catalog: The catalog, after which the file is named.
        what: The file's name after that of the catalog: `results` or `errors`.
        kind: Format of the file.
    """
    stem = "".join(one if one.isascii() and one.isalnum() else "-" for one in catalog.name)
    name = f"{stem.strip('-')[:100] or 'catalog'}-{what}.{kind}"
    return Download(
        services.heavy_work,
        principal.id,
        pieces,
        media_type=_MEDIA[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
