"""Exception handlers, which respond with problem documents (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from gateway.web.validation_messages import body_message, message_of
from shared.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    Limited,
    NotFound,
    RayonError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from shared.files import FULL_WAIT_SECONDS, is_disk_full

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"
#: Default of `Retry-After` in responses with status 503.
RETRY_AFTER_SECONDS = 5
#: Invalid fields named in a response. A body can have any number of unknown fields.
MAX_ERRORS = 100
#: Characters of an invalid field that a response repeats.
MAX_NAME = 80


class Refused(HTTPException):
    """An error while a body is read. FastAPI reports any other exception as a malformed body."""

    def __init__(self, error: RayonError) -> None:
        super().__init__(error.status, error.detail)
        self.error = error


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    code: str = "about:blank",
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document as a response; `errors` names the invalid fields."""
    body: dict[str, object] = {
        "type": code if code == "about:blank" else f"urn:rayon:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status_code=status, media_type=PROBLEM, headers=headers)


def install(app: FastAPI) -> None:
    """Register handlers that respond to every error with a problem document."""
    app.add_exception_handler(RayonError, _on_rayon_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DataError, _on_unstorable)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_unexpected)


def problems_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the problem documents that any route may return."""
    kinds: tuple[type[RayonError], ...] = (
        InvalidInput,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        TooLarge,
        Limited,
        Unavailable,
    )
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        400: {
            "description": "Malformed request",
            "content": {PROBLEM: {"schema": reference}},
        },
        **{
            kind.status: {"description": kind.title, "content": {PROBLEM: {"schema": reference}}}
            for kind in sorted(kinds, key=lambda kind: kind.status)
        },
    }


def of_error(error: RayonError) -> JSONResponse:
    """Return an error of Rayon as a problem document."""
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_seconds or RETRY_AFTER_SECONDS)
    if isinstance(error, Limited):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    errors = (
        [{"field": ".".join(str(part) for part in error.field), "message": error.detail}]
        if error.field
        else None
    )
    return problem(
        error.status, error.title, error.detail, code=error.code, errors=errors, headers=headers
    )


async def _on_rayon_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RayonError)  # noqa: S101 - narrows the type; Starlette dispatches by it
    if error.status >= 500:
        log.warning("request_failed", error=str(error), code=error.code)
    return of_error(error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - see above
    invalid, known = error.errors(), _known_fields(request)
    errors = [
        {"field": _field(item), "message": message_of(item, known)} for item in invalid[:MAX_ERRORS]
    ]
    detail = "; ".join(f"`{item['field']}`: {item['message']}" for item in errors)
    if len(invalid) > MAX_ERRORS:
        detail = f"{detail}; and {len(invalid) - MAX_ERRORS} more"
    return problem(422, InvalidInput.title, detail, code=InvalidInput.code, errors=errors)


def _known_fields(request: Request) -> list[str]:
    """Return the names of the fields of the JSON body that the route reads."""
    route = request.scope.get("route")
    body = (
        route.body_field.field_info.annotation
        if isinstance(route, APIRoute) and route.body_field
        else None
    )
    return list(body.model_fields) if isinstance(body, type) and issubclass(body, BaseModel) else []


def _field(error: dict[str, Any]) -> str:
    # The first part of the location is `body`, `query` or `path`. If the body is not JSON, the
    # second part is a position in it and not a field.
    location = error["loc"]
    is_whole = len(location) < 2 or error["type"] == "json_invalid"
    return str(location[0]) if is_whole else ".".join(str(part)[:MAX_NAME] for part in location[1:])


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - see above
    if isinstance(error, Refused):
        return of_error(error.error)
    if error.status_code == TooLarge.status:
        return of_error(TooLarge(str(error.detail)))
    headers = dict(error.headers) if error.headers else None
    phrase = HTTPStatus(error.status_code).phrase
    return problem(error.status_code, phrase, _http_detail(request, error), headers=headers)


def _http_detail(request: Request, error: HTTPException) -> str:
    if error.detail != HTTPStatus(error.status_code).phrase:
        return body_message(str(error.detail))
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"Expected a path of the API. Received: {request.url.path[:100]!r}"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"Expected {allowed}. Received: {request.method[:20]}"
    return str(error.detail)


async def _on_unstorable(_request: Request, error: Exception) -> JSONResponse:
    # PostgreSQL cannot store NUL in a text, for example. The statement stays out of the log,
    # because it contains values of the request.
    log.info("value_refused", error=str(getattr(error, "orig", error)))
    return of_error(
        InvalidInput("Expected values that the database can store. Received: one that it cannot")
    )


async def _on_os_error(request: Request, error: Exception) -> JSONResponse:
    if not is_disk_full(error):
        return await _on_unexpected(request, error)
    log.error("disk_full", error=str(error))
    return of_error(
        Unavailable(
            "A disk is full. Expected room. Received: no space left",
            retry_after_seconds=FULL_WAIT_SECONDS,
        )
    )


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_crashed", exc_info=error)
    return problem(
        500,
        RayonError.title,
        "This is a defect in Rayon. Its log has the details.",
        code=RayonError.code,
        # This handler runs outside of the middleware that adds this header to other responses.
        headers={"X-Request-ID": request.state.trace_id},
    )
