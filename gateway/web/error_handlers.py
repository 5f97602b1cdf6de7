"""Errors as problem documents (RFC 9457)."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

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

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"
#: A client that was told 503 may ask again after this many seconds.
RETRY_AFTER_SECONDS = 5
#: Of fields at fault that are named; a body may have very many that nobody knows.
MAX_ERRORS = 100


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    code: str = "about:blank",
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Make a problem document; `errors` names the fields at fault."""
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
    """Answer every error with a problem document."""
    app.add_exception_handler(RayonError, _on_rayon_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DataError, _on_unstorable)
    app.add_exception_handler(Exception, _on_unexpected)


def problems_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The problem documents that any route may answer with, for the documentation."""
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
            "description": "Not HTTP as it should be",
            "content": {PROBLEM: {"schema": reference}},
        },
        **{
            kind.status: {"description": kind.title, "content": {PROBLEM: {"schema": reference}}}
            for kind in sorted(kinds, key=lambda kind: kind.status)
        },
    }


def of_error(error: RayonError) -> JSONResponse:
    """The problem document of one of our errors."""
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
    assert isinstance(error, RayonError)  # noqa: S101 - for the type; Starlette dispatches by it
    if error.status >= 500:
        log.warning("request_failed", error=str(error), code=error.code)
    return of_error(error)


async def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - see above
    found = error.errors()
    errors = [
        # The first part says where the field was sought: body, query, path.
        {"field": _field(one), "message": one["msg"]}
        for one in found[:MAX_ERRORS]
    ]
    detail = "; ".join(f"`{one['field']}`: {one['message']}" for one in errors)
    if len(found) > MAX_ERRORS:
        detail = f"{detail}; and {len(found) - MAX_ERRORS} more"
    return problem(422, InvalidInput.title, detail, code=InvalidInput.code, errors=errors)


def _field(found: dict[str, Any]) -> str:
    where = found["loc"]
    # A body that is no JSON at all has a position instead of a field.
    is_whole = len(where) < 2 or found["type"] == "json_invalid"
    return str(where[0]) if is_whole else ".".join(str(part) for part in where[1:])


async def _on_http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - see above
    if error.status_code == TooLarge.status:
        return of_error(TooLarge(str(error.detail)))
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, str(error.detail), str(error.detail), headers=headers)


async def _on_unstorable(_request: Request, error: Exception) -> JSONResponse:
    # Such as NUL in a text, which PostgreSQL cannot store. The statement stays out of the log.
    log.info("value_refused", error=str(getattr(error, "orig", error)))
    return of_error(InvalidInput("Expected values that can be stored. Received: one that cannot"))


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_crashed", exc_info=error)
    return problem(
        500,
        RayonError.title,
        "This is a defect in Rayon; its log tells more.",
        code=RayonError.code,
        # This handler runs outside of our middleware, which names the trace otherwise.
        headers={"X-Request-ID": request.state.trace_id},
    )
