"""Mapping of unsuccessful HTTP responses to client errors."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from rayon.errors import FieldError, Limited, RayonError, Refused, SignedOut, Unreachable


def error_of(response: httpx.Response) -> RayonError:
    """Return the error for a response whose body has been read."""
    status = response.status_code
    body = _document(response)
    detail = str(body.get("detail") or body.get("title") or f"HTTP {status}")
    if status == httpx.codes.UNAUTHORIZED:
        return SignedOut(detail)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Limited(detail, retry_after=_retry_after(response))
    if status >= 500:
        return Unreachable(detail, status=status, retry_after=_retry_after(response))
    if response.has_redirect_location:
        where = response.headers["Location"]
        return Unreachable(f"{response.url} redirects to {where}; use that URL.", status=status)
    return Refused(
        detail,
        status=status,
        title=str(body.get("title", "")),
        type=str(body.get("type", "about:blank")),
        errors=tuple(
            FieldError(str(one.get("field", "")), str(one.get("message", "")))
            for one in body.get("errors") or ()
        ),
    )


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after(response: httpx.Response) -> float | None:
    """Return the delay in seconds; the header holds seconds or a date (RFC 9110)."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
