"""The OpenAPI document: summaries of the operations and the headers of responses."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.security.base import SecurityBase

from gateway.web.schemas import Problem

Json = dict[str, Any]

#: Description and type of each documented header of a response.
_HEADERS = {
    "Content-Disposition": ("Name under which a browser saves the file.", "string"),
    "ETag": ("Identifies the content, for `If-None-Match`.", "string"),
    "Location": ("Path of the created object, or the address to continue at.", "string"),
    "Preference-Applied": ("Preference that the response follows, such as `wait=10`.", "string"),
    "RateLimit": ("Remaining requests `r`, and seconds `t` until more are allowed.", "string"),
    "RateLimit-Policy": ("Limit `q` on requests in a window of `w` seconds.", "string"),
    "Retry-After": ("Seconds to wait before the request is repeated.", "integer"),
    "Upload-Offset": ("Bytes of the upload that have arrived.", "integer"),
    "WWW-Authenticate": ("Scheme to authenticate with: `Bearer`.", "string"),
    "X-Request-ID": (
        "ID of the trace of the request, which logs contain: 32 hexadecimal digits.",
        "string",
    ),
}
#: Headers by the status of the response; all responses have `X-Request-ID`.
_BY_STATUS = {
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
_RATE = ("RateLimit", "RateLimit-Policy")
_FIRST_SENTENCE = re.compile(r"(.+?)\.(?:\s|$)", re.DOTALL)


def document_of(
    app: FastAPI, schemes: Sequence[SecurityBase], needs_scheme: Callable[[str, str], bool]
) -> Json:
    """Return the OpenAPI document of an application, with the schema of problem documents.

    Args:
        app: The application.
        schemes: Security schemes, each of which suffices.
        needs_scheme: Returns True if a method and path need one of the schemes.
    """
    document = FastAPI.openapi(app)
    components = document["components"]
    components["securitySchemes"] = {
        scheme.scheme_name: jsonable_encoder(scheme.model, by_alias=True, exclude_none=True)
        for scheme in schemes
    }
    components["schemas"].setdefault(Problem.__name__, Problem.model_json_schema())
    components["headers"] = {
        name: {"description": text, "schema": {"type": kind}}
        for name, (text, kind) in _HEADERS.items()
    }
    for method, path, operation in _operations(document):
        operation["summary"] = _summary(operation["description"])
        if needs_scheme(method, path):
            operation["security"] = [{scheme.scheme_name: []} for scheme in schemes]
        for status, response in operation["responses"].items():
            names = _header_names(status, is_counted="security" in operation)
            response.setdefault("headers", {}).update(documented_headers(*names))
    return document


def documented_headers(*names: str) -> Json:
    """Return the description of headers for the `headers` of an OpenAPI response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def _summary(description: str) -> str:
    """Return the first sentence. FastAPI would derive a summary from the name of a function."""
    found = _FIRST_SENTENCE.match(description)
    return " ".join((found[1] if found else description).split())


def _header_names(status: str, *, is_counted: bool) -> Iterator[str]:
    yield "X-Request-ID"
    yield from _BY_STATUS.get(status, ())
    if is_counted and (status < "400" or status == "429"):
        yield from _RATE
