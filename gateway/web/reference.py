"""The API reference at `/docs`: Swagger UI, served without scripts from elsewhere or inline.

The package `fastapi-swagger` ships the files of Swagger UI (Apache-2.0), so the page works without
internet access and under a policy that allows neither other hosts nor inline code.
"""

from collections.abc import Callable
from functools import partial
from html import escape
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

PATH = "/docs"
#: Swagger UI needs nothing but its own files, images in its style sheet and the API.
POLICY = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    b"style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
#: All addresses are relative to the page, so that it also works below a path of a proxy.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""


def install(app: FastAPI) -> None:
    """Add the page and its files to an application made with `docs_url=None`."""
    page = _PAGE.format(title=f"{escape(app.title)} API")
    _add(app, PATH, lambda: HTMLResponse(page))
    _add(app, f"{PATH}/start.js", lambda: Response(_START, media_type="text/javascript"))
    for name in ASSETS:
        _add(app, f"{PATH}/{name}", partial(_asset, name))


def _asset(name: str) -> FileResponse:
    return FileResponse(str(files("fastapi_swagger") / "resources" / name))


def _add(app: FastAPI, path: str, answer: Callable[[], Response]) -> None:
    app.add_api_route(path, answer, include_in_schema=False, response_class=Response)
